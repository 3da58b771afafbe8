"""The provenance nerve: one lane for each corpus, its batches numbered without a gap, until it is finished.

It sees no post. Whoever ingests puts a batch into the store and asks; what is decided says which bytes those were, and
where the next batch begins, so that an ingest that died goes on exactly there. By which rules a corpus may be taken in
says the policy `data_quality`, whoever asks (COL-12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, TypeAlias, cast

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.log.batch import MAX_RECORDS
from shared.part import Garden, Nerve
from shared.part.metrics import Declared, Readings
from shared.part.runner import Runner
from shared.policy import Policies
from shared.subjects.provenance import (
    BatchSealed,
    BeginCorpus,
    CorpusBegun,
    CorpusFinished,
    CorpusStated,
    CorpusStatus,
    FinishCorpus,
    Intake,
    SealBatch,
    Tally,
)
from shared.subjects.system import Decided

Heard: TypeAlias = BeginCorpus | SealBatch | FinishCorpus | CorpusStatus
Said: TypeAlias = CorpusBegun | BatchSealed | CorpusFinished | CorpusStated | Decided

PACKAGE = "nimmerverse.data_quality"
MAX_WORDS_CHARS = constant(200, "characters", "X-12")  # of a source's name, a licence, a restriction, a scorer
MAX_RESTRICTIONS = constant(32, "restrictions", "X-12")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NO_POST = Tally()


class Corpus(msgspec.Struct, frozen=True):
    """Where a corpus stands; the fold of its lane."""

    intake: Intake | None = None
    batches: int = 0
    posts: int = 0
    tally: Tally = _NO_POST
    personal: int = 0
    exposed: int = 0
    next_offset: int = 0
    last: BatchSealed | None = None
    dataset: str = ""


class Nothing(msgspec.Struct, frozen=True):
    """The window: all that it decides from is in the log or in the request."""


def _batches(runner: Runner) -> Readings:
    states = cast("dict[str, Corpus]", runner.mind.states if runner.mind else {})
    return {(): sum(state.batches for state in tuple(states.values()))}


class ProvenanceNerve(Nerve[Corpus, Nothing]):
    """What whoever ingests asks for in; what a corpus is made of out."""

    name: ClassVar[str] = "provenance"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    unchecked: ClassVar[Mapping[str, str]] = {
        "rerun": "of made-up requests few can be decided; tests/spec/test_provenance.py runs its decisions again"
    }
    cost_ulf: ClassVar[int] = constant(100_000, "micro-lifeforce", "COL-01")
    metrics: ClassVar[tuple[Declared, ...]] = (
        Declared(
            "provenance_batches_total",
            "counter",
            ("part",),
            "Batches sealed in the log of every corpus that this part was asked about since it started.",
            "COL-13",
            _batches,
        ),
    )

    def __init__(self) -> None:
        self.policies = Policies.shipped()

    def digests(self) -> dict[str, str]:
        return {"policy": self.policies.digest}

    def entity(self, message: Heard) -> str | None:
        return message.corpus

    def evolve(self, state: Corpus, decision: CorpusBegun | BatchSealed | CorpusFinished) -> Corpus:
        match decision:
            case CorpusBegun():
                return msgspec.structs.replace(state, intake=decision.intake)
            case BatchSealed():
                return msgspec.structs.replace(
                    state,
                    batches=total(decision.number, 1),
                    posts=total(state.posts, decision.posts),
                    tally=added(state.tally, decision.tally),
                    personal=total(state.personal, decision.personal),
                    exposed=total(state.exposed, decision.exposed),
                    next_offset=decision.next_offset,
                    last=decision,
                )
            case CorpusFinished():
                return msgspec.structs.replace(state, dataset=decision.dataset)

    def decide(
        self, state: Corpus, window: Nothing, message: Heard, now_ms: int
    ) -> tuple[Nothing, list[Said] | Refusal]:
        match message:
            case CorpusStatus():
                return window, [_stated(state, message.corpus)]
            case BeginCorpus():
                return window, _begun(state, message, self.policies)
            case SealBatch() | FinishCorpus() if state.intake is None:
                return window, Refusal("C007", f"found {message.corpus[:80]!r}; begin it first")
            case SealBatch():
                return window, _sealed(state, message)
            case FinishCorpus():
                return window, _finished(state, message)


def total(one: int, more: int) -> int:
    """Return a sum that can be written; what would be larger was never counted here."""
    return max(-(2**63), min(one + more, 2**63 - 1))


def added(one: Tally, more: Tally) -> Tally:
    """Return two tallies as one."""
    return Tally(*(total(getattr(one, fate), getattr(more, fate)) for fate in Tally.__struct_fields__))


def counted(tally: Tally) -> int:
    """Return how many posts a tally counts."""
    return sum(getattr(tally, fate) for fate in Tally.__struct_fields__)


def _stated(state: Corpus, corpus: str) -> CorpusStated:
    return CorpusStated(
        corpus=corpus,
        intake=state.intake,
        batches=state.batches if state.intake is not None else -1,
        posts=state.posts,
        tally=state.tally,
        personal=state.personal,
        exposed=state.exposed,
        next_offset=state.next_offset,
        dataset=state.dataset,
    )


def _again(kind: str, corpus: str) -> list[Said]:
    """Answer what stands in the log already; where it stands, its lane says and not a nerve's state."""
    return [Decided(f"provenance.corpus.event.{corpus}.{kind}", "", -1, -1, duplicate=True, proof="")]


def _begun(state: Corpus, asked: BeginCorpus, policies: Policies) -> list[Said] | Refusal:
    if state.intake is None:
        wrong = _unfit(asked.intake)
        no = Refusal("B002", wrong) if wrong else _denied(asked.intake, policies)
        return no or [CorpusBegun(asked.corpus, asked.intake)]
    if state.intake != asked.intake:
        names = [
            name for name in Intake.__struct_fields__ if getattr(state.intake, name) != getattr(asked.intake, name)
        ]
        found = ", ".join(f"{name} {str(getattr(asked.intake, name))[:60]!r}" for name in names)
        was = ", ".join(f"{str(getattr(state.intake, name))[:60]!r}" for name in names)
        return Refusal("C001", f"{asked.corpus[:80]} was begun by {was}, now found: {found}")
    if state.dataset:
        return Refusal("C002", f"{asked.corpus[:80]} is the dataset {state.dataset}")
    return _again("begun", asked.corpus)


def _unfit(intake: Intake) -> str:
    """Say what is wrong with an intake's words; empty where nothing is."""
    words = [intake.source, intake.licence, intake.language, intake.scorer, intake.policy, *intake.restrictions]
    if any(len(word) > MAX_WORDS_CHARS for word in words):
        return f"a name has at most {MAX_WORDS_CHARS} characters"
    if not intake.source.strip() or not intake.licence.strip():
        return "say what it is read from and under which licence; `unknown` is a licence too"
    if len(intake.restrictions) > MAX_RESTRICTIONS:
        return f"{len(intake.restrictions)} restrictions, at most {MAX_RESTRICTIONS} may be"
    return ""


def _denied(intake: Intake, policies: Policies) -> Refusal | None:
    """Return Q004 where the policy would not keep a post that these rules keep, the most toxic of all."""
    if intake.policy != policies.digest:
        found = f"found {intake.policy[:16]!r}, == {policies.digest[:16]!r}, which judge here; take their release"
        return Refusal("Q004", f"{PACKAGE}: policy: OTHER ({found})")
    given = {
        "scored": bool(intake.scorer),
        "toxicity_ppm": intake.keep_ppm,
        "keep_ppm": intake.keep_ppm,
        "language": intake.language,
        "wanted_language": intake.language,
        "characters": 1,
    }
    return policies.evaluate(PACKAGE, given).refusal()


def _sealed(state: Corpus, asked: SealBatch) -> list[Said] | Refusal:
    made = BatchSealed(**{name: getattr(asked, name) for name in SealBatch.__struct_fields__})
    if made == state.last:
        return _again("sealed", asked.corpus)
    if state.dataset:
        return Refusal("C002", f"{asked.corpus[:80]} is the dataset {state.dataset}")
    if asked.number != state.batches:
        return Refusal("C003", f"found batch {asked.number}, expected {state.batches} at byte {state.next_offset}")
    wrong = _impossible(state, asked)
    return Refusal("B002", wrong) if wrong else [made]


def _impossible(state: Corpus, asked: SealBatch) -> str:
    """Say why a batch cannot be one; empty where it can."""
    if not 0 < asked.posts <= MAX_RECORDS or counted(asked.tally) != asked.posts:
        return f"a batch has 1 to {MAX_RECORDS} posts, each with one fate; found {asked.posts}"
    if min(getattr(asked.tally, fate) for fate in Tally.__struct_fields__) < 0:
        return "no fate is met by fewer than 0 posts"
    if asked.personal < 0 or asked.exposed < 0 or asked.personal + asked.exposed > asked.posts:
        return f"of {asked.posts} posts, {asked.personal} are of a person and {asked.exposed} name one"
    if asked.next_offset < state.next_offset:
        return f"the next batch begins at byte {asked.next_offset}, before this one at {state.next_offset}"
    if not all(_DIGEST.fullmatch(digest) for digest in (asked.root, asked.records, asked.sha256)):
        return "root, records and sha256 are 64 lower-case hexadecimal digits each"
    return ""


def _finished(state: Corpus, asked: FinishCorpus) -> list[Said] | Refusal:
    if state.dataset == asked.dataset and asked.batches == state.batches:
        return _again("finished", asked.corpus)
    if state.dataset:
        return Refusal("C002", f"{asked.corpus[:80]} is the dataset {state.dataset}")
    if not asked.batches and not state.batches:
        return Refusal("C003", "no post was found, and without one there is no dataset; see what the source holds")
    if asked.batches != state.batches:
        return Refusal("C003", f"found an end after {asked.batches} batches, expected it after {state.batches}")
    if not _DIGEST.fullmatch(asked.dataset):
        return Refusal("B002", "a dataset is 64 lower-case hexadecimal digits")
    totals = (state.batches, state.posts, state.tally, state.personal, state.exposed)
    return [CorpusFinished(asked.corpus, *totals, asked.dataset)]
