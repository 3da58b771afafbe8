"""The unified verifier's half about policy: each promotion and each start of a training is judged again.

The other half is the log's own: whole, as signed, by whom. Together they say that what was in force was in force, and
what was trained was trained, for the reasons that the log gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias, cast, get_args

import msgspec

from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refused
from shared.policy import TRAINING, Policies
from shared.registry.family import Family, RegistryDecision, evolved
from shared.registry.gate import PACKAGE, asked
from shared.registry.manifest import manifest_of
from shared.registry.origins import Origins
from shared.subjects.datasets import DatasetRegistered
from shared.subjects.registry import Judgement, ModelPromoted, PromotionBlocked
from shared.subjects.training import JobJudged, JobMoved, JobSpec, JobSubmitted, RunRecorded
from shared.training.permission import given

Same: TypeAlias = Literal["same", "other", "other_policies"]
Heard: TypeAlias = JobSubmitted | JobJudged | JobMoved | RunRecorded | DatasetRegistered
HEARD: Final = cast("tuple[type[Heard], ...]", get_args(Heard))


class Rejudged(msgspec.Struct, frozen=True):
    """What came of judging one decision again."""

    index: int
    family: str
    about: str  #: the model, or the job
    target: str  #: empty where it is about a training
    outcome: Literal["promoted", "blocked", "permitted", "refused", "started"]
    verdict: Same
    detail: str


def rejudged(decisions: Iterable[tuple[RegistryDecision, int]], policies: Policies) -> Iterator[Rejudged]:
    """Yield each promotion of one family, judged again; decisions come in their order, with their indices."""
    family = Family()
    for decision, index in decisions:
        if isinstance(decision, ModelPromoted | PromotionBlocked):
            promoted = isinstance(decision, ModelPromoted)
            about = (index, decision.family, decision.model, decision.target, "promoted" if promoted else "blocked")
            yield Rejudged(*about, *_again(family, decision, policies))
        family = evolved(family, decision)


class Trainings:
    """Judges again whether each training might start, as a log is read. Fed with judged entries, in order."""

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self.found: list[Rejudged] = []
        self._origins = Origins()
        self._specs: dict[str, JobSpec] = {}
        self._permitted: set[str] = set()  #: jobs that policy let start when it was asked last

    def take(self, verdict: Verdict) -> None:
        """Take in what an entry's admitted decisions say."""
        for decision, at in decisions_in(verdict, *HEARD):
            self.hear(decision, at.index)

    def hear(self, decision: Heard, index: int) -> None:
        """Take in one decision."""
        match decision:
            case JobSubmitted():
                self._specs[decision.job] = decision.spec
            case JobJudged():
                allowed = decision.judgement.allowed
                (self._permitted.add if allowed else self._permitted.discard)(decision.job)
                self._say(index, decision.job, "permitted" if allowed else "refused", *self._start(decision))
            case JobMoved():
                if decision.state == "running" and decision.job not in self._permitted:
                    self._say(index, decision.job, "started", "other", "policy did not let it start")
            case RunRecorded() | DatasetRegistered():
                self._origins.hear(decision)

    def _say(
        self, index: int, job: str, outcome: Literal["permitted", "refused", "started"], verdict: Same, detail: str
    ) -> None:
        spec = self._specs.get(job)
        self.found.append(Rejudged(index, spec.family if spec else "", job, "", outcome, verdict, detail))

    def _start(self, decision: JobJudged) -> tuple[Same, str]:
        """Return whether what the policy was told gives the same judgement, and what differs first."""
        spec = self._specs.get(decision.job)
        if spec is None:
            return "other", "no such job was submitted before it"
        try:
            named = [*spec.datasets, *self._origins.behind(spec.base)]
        except Refused as no:
            return "other", no.refusal.detail
        unsaid = {*named} - {each.dataset for each in decision.learned}
        if unsaid:
            return "other", f"the policy was told nothing of {min(unsaid)}"
        return _compared(decision.judgement, TRAINING, given(spec, decision), self.policies)


def _again(family: Family, decision: ModelPromoted | PromotionBlocked, policies: Policies) -> tuple[Same, str]:
    """Return whether the same notes give the same judgement, and what differs first."""
    said = decision.judgement
    if decision.model not in family.models:
        return "other", "no such model was registered before it"
    about = (decision.family, family, decision.model, decision.target, said.policy)
    manifest = manifest_of(*about, emergency=_emergency(decision))
    verdict, detail = _compared(said, PACKAGE, asked(family, manifest, decision.at_ms), policies)
    if verdict != "other_policies" and manifest.digest != decision.manifest:
        return "other", f"the manifest is {manifest.digest}, the decision says {decision.manifest}"
    if verdict == "same" and said.allowed != isinstance(decision, ModelPromoted):
        return "other", "the policy says otherwise"
    return verdict, detail


def _compared(said: Judgement, package: str, asked_of: dict[str, object], policies: Policies) -> tuple[Same, str]:
    """Return whether a policy says of an input what a decision says that it said, and what differs first."""
    try:
        found = policies.again(said.policy, said.engine, package, asked_of).judgement()
    except Refused as no:
        return "other_policies", no.refusal.detail
    if found.input_digest != said.input_digest:
        return "other", "what stands before it gives the policy another input"
    return ("same", "") if found == said else ("other", "the policy says otherwise")


def _emergency(decision: ModelPromoted | PromotionBlocked) -> bool:
    """Return whether an emergency was declared; of a blocked one its rows say so."""
    if isinstance(decision, ModelPromoted):
        return decision.emergency
    return any(row.name.startswith("override_") for row in decision.judgement.rows)
