"""The signing proxy: envelopes in, signatures out, by a rule per caller."""

from __future__ import annotations

from organs.signer.organ import SignerOrgan as SignerOrgan
from organs.signer.rules import Rule as Rule
from organs.signer.rules import judge as judge
from organs.signer.rules import read_rules as read_rules
