"""Policies: rules in Rego, evaluated in this process, over whole numbers alone (COL-12, ILL-08, X-06)."""

from __future__ import annotations

from shared.policy.policies import ENGINE as ENGINE
from shared.policy.policies import TRAINING as TRAINING
from shared.policy.policies import Judged as Judged
from shared.policy.policies import Policies as Policies
from shared.policy.policies import PolicyRow as PolicyRow
