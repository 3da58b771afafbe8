"""Whether a job may be trained at all: its recipe, datasets, base and proposal, judged by policy before it starts.

Whoever does not answer has not said yes. The nerve `training` asks the policy, and the log keeps what it was told with
its judgement, so that anyone can evaluate it again.
"""

from __future__ import annotations

from collections.abc import Collection

from organs.trainer.asking import Asking
from organs.trainer.port import Crew
from organs.trainer.proposed import differences
from organs.trainer.recipes import Recipe, recipe_of
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.policy import Judged, Policies
from shared.policy.effects import final
from shared.policy.policies import canonical
from shared.registry.origins import Origins
from shared.subjects.consensus import ProposalStated, ProposalStatus
from shared.subjects.datasets import DatasetStated, DatasetStatus
from shared.subjects.policy import CheckPolicy, Effect, PolicyEffect
from shared.subjects.training import JobJudged, JobSpec, JudgeJob, Learned
from shared.training.jobs import LEARNED
from shared.training.permission import given, learned, refusal

LIGHT = "nimmerverse.light"
ORIGINS_AT_ONCE = constant(500, "entries", "X-12")
ACTION = "train"  #: what added policies are told is asked for
_NOT_IN_USE = "Q006"
_UNKNOWN_PROPOSALS = ("G001", "B006")  #: none of this id, or nobody who knows proposals: it may name an exemption


class Permission:
    """Judges jobs before they start."""

    def __init__(self, asking: Asking, crew: Crew, env: str, added: Collection[str]) -> None:
        """`added` are the policies in use that an operator added; the log says which, and it may change."""
        self.asking, self.crew, self.env, self.added = asking, crew, env, added
        self._origins, self._next = Origins(), 0

    async def check(self, job: str, spec: JobSpec) -> Recipe:
        """Return the recipe of a job that may be trained. Refused T002 to T006, T013, D002, D004, Q004."""
        recipe = self._recipe(spec)
        self._light(spec)
        datasets = [await self._dataset(digest, recipe) for digest in spec.datasets]
        datasets += [await self._dataset(digest) for digest in await self._behind(spec)]
        judged = await self.asking.decision(JudgeJob(job, self.env, datasets, await self._proposal(spec)), JobJudged)
        no = refusal(judged.judgement)
        if no is not None:
            raise Refused(no)
        about = {"action": ACTION, "family": spec.family, "backend": spec.backend}
        await self._added(job, about | given(spec, judged))
        return recipe

    async def _added(self, job: str, asked: dict[str, object]) -> None:
        """Ask every added policy that is in use; the harshest of their effects is final. Refused Q004."""
        said: dict[str, PolicyEffect] = {}
        for policy in sorted(self.added):
            try:
                request = CheckPolicy(policy, job, canonical(asked).decode())
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
        judged = Policies.shipped().evaluate(LIGHT, {"heavy": spec.heavy, "steps": spec.steps, "workers": spec.workers})
        no = judged.refusal()
        if no is not None:
            what_to_do = "submit it as heavy (--heavy), and it waits for the site's power"
            raise Refused(Refusal("Q004", f"{no.detail}; {what_to_do} ({_source(judged)})"))

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

    async def _behind(self, spec: JobSpec) -> list[str]:
        """Return the datasets that taught a job's base and are not its own, by the log now. Refused T006, T013."""
        if not spec.base:
            return []
        while verdicts := await self.asking.log.judged(self._next, ORIGINS_AT_ONCE):
            for verdict in verdicts:
                self._origins.take(verdict)
                self._next = verdict.entry.index + 1
        found = [dataset for dataset in self._origins.behind(spec.base) if dataset not in spec.datasets]
        if len(spec.datasets) + len(found) > LEARNED:
            what = f"{len(spec.datasets)} datasets, and {len(found)} that taught the base"
            raise Refused(Refusal("T006", f"the job learns from {what}; {LEARNED} may be in all"))
        return found

    async def _dataset(self, digest: str, recipe: Recipe | None = None) -> Learned:
        """Return what policy asks of one dataset; a recipe reads the job's own. Refused D002, D004, T006."""
        known = await self.asking.ask(DatasetStatus(digest), DatasetStated)
        facts = known.facts
        if facts is None:
            raise Refused(Refusal("D002", f"nobody registered {digest}"))
        if known.blocked:
            raise Refused(Refusal("D004", f"{facts.name}: {', '.join(known.blocked)}"))
        if recipe is not None and facts.kind not in recipe.kinds:
            raise Refused(
                Refusal("T006", f"{facts.name} holds {facts.kind}, {recipe.name} learns from {', '.join(recipe.kinds)}")
            )
        return learned(digest, facts, known.approved)

    async def _proposal(self, spec: JobSpec) -> str:
        """Return where a job's proposal stands; nothing where there is none of this id.

        Refused T005 where another training was accepted.
        """
        answer = await self.asking.log.request(ProposalStatus(spec.proposal))
        if isinstance(answer, Refusal):
            if answer.code not in _UNKNOWN_PROPOSALS:
                raise Refused(answer)
            return ""
        assert isinstance(answer, ProposalStated)
        beyond = differences(spec, answer.facts) if answer.state == "accepted" else []
        if beyond:
            raise Refused(Refusal("T005", f"{spec.proposal} was accepted for another training: {'; '.join(beyond)}"))
        return answer.state


def _source(judged: Judged) -> str:
    return f"policy {judged.policy[:16]}, input {judged.input_digest[:16]}"


def _failing(said: PolicyEffect) -> str:
    """Return which rows of an added policy do not hold, and by which input it said so."""
    rows = [f"{row.name}: {row.reason or 'does not hold'}" for row in said.judgement.rows if not row.holds]
    return f"{'; '.join(rows) or 'does not allow it'}; input {said.judgement.input_digest[:16]}"
