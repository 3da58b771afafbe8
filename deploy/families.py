"""The families of models as a log's reader knows them, and what a person calls one of their versions."""

from __future__ import annotations

from collections import defaultdict

from shared.bus import Bus
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refusal, Refused
from shared.registry import Family, in_force
from shared.registry.family import DECISIONS, RegistryDecision
from shared.registry.lineage import Lineage

LEAST_DIGITS = 8


class Known:
    """Everything that a log says about models, read once from its beginning."""

    def __init__(self) -> None:
        self.decisions: defaultdict[str, list[tuple[RegistryDecision, int]]] = defaultdict(list)
        self.lineage = Lineage()

    @classmethod
    async def read(cls, bus: Bus) -> Known:
        """Read the log whole."""
        known = cls()
        async for verdict in bus.replay():
            known.take(verdict)
        return known

    def take(self, verdict: Verdict) -> None:
        """Take in what a judged entry says."""
        self.lineage.take(verdict)
        for decision, at in decisions_in(verdict, *DECISIONS):
            self.decisions[decision.family].append((decision, at.index))

    def family(self, name: str, *, index: int | None = None, at_ms: int | None = None) -> Family:
        """Return a family as it is, or was. Refused N001."""
        if name not in self.decisions:
            have = ", ".join(sorted(self.decisions)) or "none"
            raise Refused(Refusal("N001", f"found {name[:80]!r}; the log has {have}"))
        return in_force(self.decisions[name], index=index, at_ms=at_ms)

    def model(self, name: str, word: str) -> str:
        """Return the digest of a version: by digest, by its beginning, or by its version. Refused N001, N004."""
        models = self.family(name).models
        found = [model for model, facts in models.items() if word in (model, facts.version)]
        if not found and len(word) >= LEAST_DIGITS:
            found = [model for model in models if model.startswith(word)]
        if len(found) != 1:
            versions = ", ".join(facts.version for facts in models.values()) or "none"
            raise Refused(Refusal("N004", f"{name} has versions {versions}; {word[:80]!r} is {len(found)} of them"))
        return found[0]
