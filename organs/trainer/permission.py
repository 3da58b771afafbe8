"""Whether a job may be trained at all: its recipe, its datasets, its proposal, judged by policy before it starts.

Whoever does not answer has not said yes. A refusal carries the policy's digest and that of its input, so that anyone
can evaluate it again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from organs.trainer.asking import Asking
from organs.trainer.port import Crew
from organs.trainer.proposed import differences
from organs.trainer.recipes import Recipe, recipe_of
from shared.errors import Refusal, Refused
from shared.policy import TRAINING, Judged, Policies
from shared.policy.effects import final
from shared.policy.policies import canonical
from shared.subjects.consensus import ProposalStated, ProposalStatus
from shared.subjects.datasets import DatasetStated, DatasetStatus
from shared.subjects.policy import CheckPolicy, Effect, PolicyEffect
from shared.subjects.training import JobSpec

LIGHT = "nimmerverse.light"
ACTION = "train"  #: what added policies are told is asked for
_NOT_IN_USE = "Q006"
_UNKNOWN_PROPOSALS = ("G001", "B006")  #: none of this id, or nobody who knows proposals: it may name an exemption


class Permission:
    """Judges jobs before they start."""

    def __init__(self, asking: Asking, crew: Crew, policies: Policies, env: str, added: Collection[str]) -> None:
        """`added` are the policies in use that an operator added; the log says which, and it may change."""
        self.asking, self.crew, self.policies, self.env, self.added = asking, crew, policies, env, added

    async def check(self, job: str, spec: JobSpec) -> Recipe:
        """Return the recipe of a job that may be trained. Refused T002 to T006, D002, D004, Q004."""
        recipe = self._recipe(spec)
        self._light(spec)
        datasets = [await self._dataset(digest, recipe) for digest in spec.datasets]
        given: dict[str, Any] = {
            "environment": self.env,
            "heavy": spec.heavy,
            "steps": spec.steps,
            "datasets": datasets,
        }
        given |= await self._proposal(spec)
        judged = self.policies.evaluate(TRAINING, given)
        refusal = judged.refusal()
        if refusal is not None:
            code = "T005" if [row.name for row in judged.rows if not row.holds] == ["proposal"] else "Q004"
            raise Refused(Refusal(code, f"{refusal.detail} ({_source(judged)})"))
        await self._added(job, {"action": ACTION, "family": spec.family, "backend": spec.backend} | given)
        return recipe

    async def _added(self, job: str, given: dict[str, Any]) -> None:
        """Ask every added policy that is in use; the harshest of their effects is final. Refused Q004."""
        said: dict[str, PolicyEffect] = {}
        for policy in sorted(self.added):
            try:
                request = CheckPolicy(policy, job, canonical(given).decode())
                said[policy] = await self.asking.ask(request, PolicyEffect)
            except Refused as no:
                if no.refusal.code != _NOT_IN_USE:  # it was taken out of use just now
                    raise
        own: Effect = "allow"  # what the product's own policy said before
        effect = final((own, *(each.effect for each in said.values())))
        if effect != own:
            whose = [f"{policy} ({_failing(each)})" for policy, each in said.items() if each.effect == effect]
            raise Refused(Refusal("Q004", f"{effect} by the added policy {', '.join(whose)}"))

    def _light(self, spec: JobSpec) -> None:
        """Hold a job that says that it is light to what policy calls so. Refused Q004."""
        judged = self.policies.evaluate(LIGHT, {"heavy": spec.heavy, "steps": spec.steps, "workers": spec.workers})
        refusal = judged.refusal()
        if refusal is not None:
            what_to_do = "submit it as heavy (--heavy), and it waits for the site's power"
            raise Refused(Refusal("Q004", f"{refusal.detail}; {what_to_do} ({_source(judged)})"))

    def _recipe(self, spec: JobSpec) -> Recipe:
        recipe = recipe_of(spec.family)
        if spec.recipe != recipe.name:
            raise Refused(
                Refusal("T004", f"here {spec.family} is trained by {recipe.name}, the job wants {spec.recipe}")
            )
        if spec.backend not in recipe.backends:
            raise Refused(
                Refusal("T002", f"{recipe.name} computes with {', '.join(recipe.backends)}, not with {spec.backend}")
            )
        missing = self.crew.missing(spec.backend)
        if missing:
            raise Refused(Refusal("T002", missing))
        wrong = recipe.check(spec)
        if wrong is not None:
            raise Refused(wrong)
        return recipe

    async def _dataset(self, digest: str, recipe: Recipe) -> dict[str, Any]:
        """Return what policy asks of one dataset. Refused D002, D004, T006."""
        known = await self.asking.ask(DatasetStatus(digest), DatasetStated)
        facts = known.facts
        if facts is None:
            raise Refused(Refusal("D002", f"nobody registered {digest}"))
        if known.blocked:
            raise Refused(Refusal("D004", f"{facts.name}: {', '.join(known.blocked)}"))
        if facts.kind not in recipe.kinds:
            raise Refused(
                Refusal("T006", f"{facts.name} holds {facts.kind}, {recipe.name} learns from {', '.join(recipe.kinds)}")
            )
        return {
            "dataset": digest,
            "use": facts.use,
            "licence": facts.licence,
            "restrictions": list(facts.restrictions),
            "pii": facts.pii,
            "approved": list(known.approved),
        }

    async def _proposal(self, spec: JobSpec) -> dict[str, str]:
        """Return where a job's proposal stands; what is none is an exemption's name, and policy knows those.

        Refused T005 where another training was accepted.
        """
        answer = await self.asking.log.request(ProposalStatus(spec.proposal))
        if isinstance(answer, Refusal):
            if answer.code not in _UNKNOWN_PROPOSALS:
                raise Refused(answer)
            return {"exemption": spec.proposal}
        assert isinstance(answer, ProposalStated)
        beyond = differences(spec, answer.facts) if answer.state == "accepted" else []
        if beyond:
            raise Refused(Refusal("T005", f"{spec.proposal} was accepted for another training: {'; '.join(beyond)}"))
        return {"proposal": answer.state}


def _source(judged: Judged) -> str:
    return f"policy {judged.policy[:16]}, input {judged.input_digest[:16]}"


def _failing(said: PolicyEffect) -> str:
    """Return which rows of an added policy do not hold, and by which input it said so."""
    rows = [f"{row.name}: {row.reason or 'does not hold'}" for row in said.judgement.rows if not row.holds]
    return f"{'; '.join(rows) or 'does not allow it'}; input {said.judgement.input_digest[:16]}"
