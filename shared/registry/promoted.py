"""Which model the log lets speak here: what the registry put in force, or what an exemption that policy names allows.

In prod that is what is in force at prod and nothing else. In every other environment it is what was put in force last,
at either target: a candidate at staging is tried there before it goes on.
"""

from __future__ import annotations

from shared.errors import Refusal
from shared.log.entry import Position
from shared.policy import Policies
from shared.registry import Family, Standing, evolved
from shared.registry.family import TARGETS, RegistryDecision
from shared.subjects.registry import Target

PROD = "prod"
EXEMPTIONS = "nimmerverse.exemptions"
NOWHERE = Position(-1, 0)


class Promoted:
    """The registry's word about one family, folded from the log."""

    def __init__(self, name: str, env: str) -> None:
        self.name, self.env = name, env
        self.family = Family()
        self.at = NOWHERE  #: of the last decision that was folded

    def take(self, decision: RegistryDecision, at: Position) -> bool:
        """Fold a decision about this family, once; say whether it was one that was not folded yet."""
        if decision.family != self.name or not is_after(at, self.at):
            return False
        self.family, self.at = evolved(self.family, decision), at
        return True

    def in_force(self, now_ms: int) -> Standing | None:
        """Return what is in force here."""
        return standing_in(self.family, self.env, now_ms)

    def refused(self, model: str, exemption: str, now_ms: int) -> Refusal | None:
        """Return why a model may not speak here; None where it is in force, or exempt by name."""
        standing = self.in_force(now_ms)
        if not exemption:
            if standing is not None and standing.model == model:
                return None
            found = "nothing" if standing is None else standing.model
            what = f"the registry has {found} of {self.name} in force for {self.env}"
            return Refusal("N006", f"{what}, not {model[:80]}")
        asked = {"exemption": exemption, "environment": self.env, "action": "install", "steps": 0, "heavy": False}
        judged = Policies.shipped().evaluate(EXEMPTIONS, asked)
        if judged.allowed:
            return None
        no = judged.refusal()
        return Refusal("N006", f"{exemption[:80]!r} exempts no installation in {self.env}: {no.detail if no else ''}")


def standing_in(family: Family, env: str, now_ms: int) -> Standing | None:
    """Return what of a family is in force in an environment.

    Of an emergency that ran out nothing is, until the registry says what is.
    """
    targets: tuple[Target, ...] = (PROD,) if env == PROD else TARGETS
    found = [standing for target in targets if (standing := family.at(target)) is not None]
    found = [standing for standing in found if not standing.expired(now_ms)]
    return max(found, key=lambda standing: standing.number, default=None)


def is_after(at: Position, other: Position) -> bool:
    """Say whether a place in the log comes after another."""
    return (at.index, at.offset) > (other.index, other.offset)
