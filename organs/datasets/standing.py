"""What stands against a dataset, in the words of the policy that decides whether it may teach."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from shared.policy import TRAINING, Policies
from shared.subjects.datasets import DatasetFacts
from shared.training.permission import learned

PROPOSAL = "proposal"  #: the one row that is about a job, and not about its datasets
APPROVABLE = ("origin", "licence", "restrictions", "pii")  #: rows; what a dataset is for, nobody can approve away


def against(facts: DatasetFacts, approved: Collection[str], policies: Policies, env: str) -> list[str]:
    """Return every concern that is not approved: `use:evaluate`, `weights`, `licence:X`, `restriction:X`, `pii`."""
    return _concerns(facts, approved, policies, env, of=None)


def approvable(facts: DatasetFacts, policies: Policies, env: str) -> list[str]:
    """Return the concerns that somebody may approve, whether or not somebody did."""
    return _concerns(facts, (), policies, env, of=APPROVABLE)


def _concerns(
    facts: DatasetFacts, approved: Collection[str], policies: Policies, env: str, *, of: Collection[str] | None
) -> list[str]:
    given: dict[str, Any] = {
        "environment": env,
        "heavy": False,
        "steps": 1,
        "proposal": "accepted",
        "datasets": [msgspec.to_builtins(learned(facts.name, facts, approved))],
    }
    rows = [row for row in policies.evaluate(TRAINING, given).rows if not row.holds and row.name != PROPOSAL]
    return [concern for row in rows if of is None or row.name in of for concern in row.reason.split(", ")]
