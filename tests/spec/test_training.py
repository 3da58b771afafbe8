"""Training jobs: what is taken, how a job moves, what its workers agree on, and when a run counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import msgspec
import pytest

from deploy.recheck import reruns_of
from nerves.policy import PolicyNerve
from nerves.training import TrainingNerve
from nerves.training.job import Job
from nerves.training.nerve import Nothing
from organs.trainer.memory import SimCrew, SimTeam
from organs.trainer.port import Attempt, CrewFailed
from organs.trainer.power import RECHECK_S
from organs.trainer.repeating import altered
from shared.artifacts import MemoryStore, read
from shared.bus import Delivery
from shared.canonical import canonical
from shared.codec import decode
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Refusal, Refused
from shared.keys import LocalSigner
from shared.message import Request
from shared.part import Part
from shared.part.organ import Organ
from shared.policy import Policies
from shared.registry.rejudging import Trainings
from shared.subjects.consensus import ProposalFacts, ProposalState, ProposalStated, ProposalStatus, TrainingData
from shared.subjects.datasets import DatasetFacts, RegisterDataset
from shared.subjects.energy import PowerWindow, PowerWindowRequest, WindowReason
from shared.subjects.policy import DraftPolicy, Effect, MovePolicy, PolicyState
from shared.subjects.system import Decided
from shared.subjects.training import (
    CancelJob,
    CheckpointVoted,
    CountVotes,
    JobJudged,
    JobMoved,
    JobProgressed,
    JobSpec,
    JobState,
    JobStated,
    JobStatus,
    JobSubmitted,
    JudgeJob,
    MoveJob,
    RecordReproduction,
    RecordRun,
    RegisterWorkers,
    Reproduced,
    RunRecorded,
    SubmitJob,
    WorkersRegistered,
    WorkerVote,
)
from shared.training.jobs import ENDED, JOB_ATTEMPTS, job_of
from shared.training.permission import learned, refusal
from shared.training.record import MAX_RECORD_BYTES, RunRecord, compare, read_record
from shared.training.votes import Tally, count, vote
from shared.world import SimWorld, World
from tests.ground import ENV, Founded, SimGround, play_sim
from tests.organisms import Living, live_sim
from tests.parts import own_metrics, stage
from tests.run_teller import TellerOrgan, TellRun
from tests.trainings import boundary_spec, changed, facts, line_spec, pairs, sim_parts, stored, trail_lines
from tests.voters import counted

DATASET = "d" * 64
SPEC = line_spec(DATASET)
JOB = job_of(SPEC, "me")
NERVE = TrainingNerve()
STATES: tuple[JobState, ...] = (
    *("pending", "waiting", "running", "paused", "preempted"),
    *("completed", "failed", "cancelled", "refused"),
)
KEYS = {f"worker-{rank}": LocalSigner(bytes([rank + 1]) * 32) for rank in range(100)}
ONE, OTHER = "1" * 64, "2" * 64
FOREIGN, LOST, PERSONAL = "5" * 64, "6" * 64, "7" * 64


def decided(state: Job, *messages: Request) -> tuple[Job, list[Any]]:
    """The state after some requests, and the decisions of the last."""
    said: list[Any] = []
    for message in messages:
        _, outputs = NERVE.decide(state, Nothing(), cast("Any", message), 1_000)
        assert not isinstance(outputs, Refusal), outputs
        said = list(outputs)
        for decision in said:
            state = NERVE.evolve(state, decision)
    return state, said


def refused(state: Job, message: Request) -> str:
    """The code that a request is refused with."""
    _, outputs = NERVE.decide(state, Nothing(), cast("Any", message), 1_000)
    assert isinstance(outputs, Refusal), outputs
    return outputs.code


def moved(state: JobState, attempt: int = 1, step: int = 0, job: str = JOB) -> MoveJob:
    """What the trainer says."""
    return MoveJob(job, state, "because", attempt, step, -1, 0)


def judging(**about: Any) -> JudgeJob:  # noqa: ANN401 - fields of facts
    """What the trainer says of the job's one dataset."""
    return JudgeJob(JOB, "dev", [learned(DATASET, facts(**about), [])], "")


def running(workers: int = 2) -> Job:
    """A job whose workers are registered."""
    spec = changed(SPEC, workers=workers)
    state = Job(spec=spec, state="running", learned=(DATASET,), attempt=1)
    keys = {name: key.public for name, key in list(KEYS.items())[:workers]}
    return decided(state, RegisterWorkers(JOB, 1, keys))[0]


def votes(step: int, digests: Sequence[str], job: str = JOB) -> list[WorkerVote]:
    """One worker's vote after the other."""
    return [vote(KEYS[f"worker-{rank}"], job, step, f"worker-{rank}", each) for rank, each in enumerate(digests)]


# What is taken


@pytest.mark.spec("ILL-02", "ZER-08")
@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("T002", {"backend": "petals"}),
        ("T002", {"backend": ""}),
        ("T003", {"hyperparameters": {"learning_rate_ppm": 0}}),
        ("T003", {"hyperparameters": {"learning_rate_ppm": 2_000_000}}),
        ("T003", {"hyperparameters": {"learning_rate_ppm": 1_000_001}}),
        ("T003", {"steps": 0}),
        ("T003", {"steps": 10_001}),
        ("T003", {"steps": -1}),
        ("T003", {"workers": 0}),
        ("T003", {"workers": 65}),
        ("T003", {"hyperparameters": {"batch": 0}}),
        ("T003", {"backend": "tinygrad", "hyperparameters": {"batch": 257}}),
        ("T003", {"backend": "tinygrad", "hyperparameters": {"epochs": 1_001}}),
        ("T003", {"backend": "hivemind", "hyperparameters": {"batch": 129}}),
        ("T003", {"backend": "hivemind", "base": ONE}),
        ("T003", {"hyperparameters": {"keep_every": 0}}),
        ("T003", {"hyperparameters": {f"h{n}": n for n in range(33)}}),
        ("T003", {"base": "latest"}),
        ("T003", {"reason": ""}),
        ("T003", {"family": "f" * 65}),
        ("T005", {"proposal": ""}),
        ("T006", {"datasets": []}),
        ("T006", {"datasets": ["d"]}),
        ("T006", {"datasets": [DATASET] * 33}),
    ],
)
def test_what_is_wrong_with_a_job_is_refused_by_name(code: str, fields: dict[str, Any]) -> None:
    """An unknown backend, a number out of its backend's range, no proposal, no dataset: each is refused by its code."""
    assert code == refused(Job(), SubmitJob(changed(SPEC, **fields), "me"))


@pytest.mark.spec("ZER-08")
@pytest.mark.parametrize(
    "fields",
    [
        {"hyperparameters": {"learning_rate_ppm": 1}},
        {"hyperparameters": {"learning_rate_ppm": 1_000_000}},
        {"steps": 10_000},
        {"steps": 1, "workers": 64},
        {"backend": "tinygrad", "hyperparameters": {"batch": 256, "epochs": 1_000}},
        {"backend": "hivemind", "hyperparameters": {"batch": 128}},
    ],
)
def test_what_is_just_in_its_range_is_taken(fields: dict[str, Any]) -> None:
    """The ends of every range belong to it."""
    spec = changed(SPEC, **fields)
    _, [submitted] = decided(Job(), SubmitJob(spec, "me"))
    assert (spec, job_of(spec, "me"), "me") == (submitted.spec, submitted.job, submitted.by)


@pytest.mark.spec("ILL-02")
def test_the_same_spec_by_the_same_person_is_the_same_job() -> None:
    """A job is submitted once; another reason, seed or person makes another one."""
    state, _ = decided(Job(), SubmitJob(SPEC, "me"))
    assert "T012" == refused(state, SubmitJob(SPEC, "me"))
    ids = {job_of(SPEC, "me"), job_of(SPEC, "you"), job_of(changed(SPEC, reason="again"), "me")}
    assert 3 == len({*ids, job_of(changed(SPEC, seed=8), "me")} - {JOB})
    assert JOB in ids


# How a job moves


#: Where the trainer may move a job: what ended it moves nowhere, and nothing to where a record or a person alone leads.
LEADS: dict[JobState, set[JobState]] = {
    "pending": {"waiting", "running", "refused", "failed"},
    "waiting": {"waiting", "running", "refused", "failed"},
    "running": {"running", "waiting", "paused", "preempted", "failed"},
    "paused": {"running", "waiting", "preempted", "failed"},
    "preempted": {"running", "waiting", "failed"},
}


@pytest.mark.spec("ILL-02", "COL-07")
@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_a_job_gets_only_where_its_state_leads(before: JobState, after: JobState) -> None:
    """Every pair of states: the ones that are listed are decided, all others are refused, T011, or T007 at the end."""
    state = Job(spec=SPEC, state=before, learned=(DATASET,), attempt=1)
    asked = moved(after, attempt=1 + (before == after == "running"))
    if before not in LEADS:
        assert "T007" == refused(state, asked)
    elif after in LEADS[before]:
        assert after == decided(state, asked)[0].state
    else:
        assert "T011" == refused(state, asked)


@pytest.mark.spec("ILL-02")
def test_retries_are_bounded_and_counted_since_the_last_agreement() -> None:
    """Five attempts that come to nothing are all; each checkpoint that is agreed on allows five more."""
    state = Job(spec=SPEC, state="running", learned=(DATASET,), attempt=1)
    for attempt in range(2, JOB_ATTEMPTS + 1):
        state, _ = decided(state, moved("running", attempt))
    assert "T011" == refused(state, moved("running", JOB_ATTEMPTS + 1))
    fruitful = msgspec.structs.replace(state, fruitful=JOB_ATTEMPTS)
    assert JOB_ATTEMPTS + 1 == decided(fruitful, moved("running", JOB_ATTEMPTS + 1))[0].attempt


@pytest.mark.spec("ILL-02")
def test_an_attempt_that_is_not_the_next_and_a_step_beyond_the_job_are_refused() -> None:
    """The trainer is believed only where it can be so."""
    state = Job(spec=SPEC, state="running", learned=(DATASET,), attempt=3)
    for odd in (moved("running", 3), moved("running", 5), moved("failed", 2), moved("paused", 3, 51)):
        assert "T011" == refused(state, odd)


@pytest.mark.spec("ILL-02", "COL-07")
def test_workers_that_hold_still_may_stop_too() -> None:
    """Workers are told to stop while their job is paused: it is preempted, and another trainer goes on with it."""
    state = Job(spec=SPEC, state="paused", attempt=1)
    assert "preempted" == decided(state, moved("preempted", 1, 10))[0].state


@pytest.mark.spec("ILL-02")
def test_a_job_is_cancelled_until_it_ends() -> None:
    """Whoever cancels ends a job in any state but the last ones; nobody cancels what is not there."""
    for state in STATES:
        job = Job(spec=SPEC, state=state)
        if state in ENDED:
            assert "T007" == refused(job, CancelJob(JOB, "enough"))
        else:
            assert "cancelled" == decided(job, CancelJob(JOB, "enough"))[0].state
    assert "T001" == refused(Job(), CancelJob(JOB, "enough"))


# What the workers agree on


@pytest.mark.spec("COL-09")
@pytest.mark.parametrize(
    ("registered", "agreeing", "agreed"),
    [
        *((0, 0, False), (1, 1, True), (2, 1, False), (2, 2, True), (3, 3, True)),
        *((100, 98, False), (100, 99, True), (101, 99, False)),
        *((550_000, 544_499, False), (550_000, 544_500, True)),
    ],
)
def test_agreement_takes_99_of_100_registered_workers(registered: int, agreeing: int, agreed: bool) -> None:  # noqa: FBT001
    """At 99 % exactly it is agreement, a single vote less is none, and nobody is never agreement."""
    assert agreed is Tally(registered, ONE, agreeing).agreed


@pytest.mark.spec("COL-09")
def test_all_votes_agreeing_is_agreement_and_says_who_saw_what() -> None:
    """Two workers with the same digest agree on it."""
    state, [voted] = decided(running(), CountVotes(JOB, 10, votes(10, [ONE, ONE])))
    assert (True, 2, 2, 1_000_000, ONE) == (
        *(voted.agreed, voted.registered, voted.agreeing),
        *(voted.fraction_ppm, voted.digest),
    )
    assert ({"worker-0": ONE, "worker-1": ONE}, [], 10) == (voted.votes, voted.void, state.agreed_step)


@pytest.mark.spec("COL-09")
def test_a_vote_that_is_not_a_registered_workers_own_never_counts() -> None:
    """Unsigned, signed by another, over something else, from nobody registered, or a second time: it is void."""
    good, other = votes(10, [ONE, ONE])
    cases = {
        "unsigned": WorkerVote("worker-1", ONE, b""),
        "signed by no key of this worker, or over something else": vote(KEYS["worker-0"], JOB, 10, "worker-1", ONE),
        "unregistered": vote(KEYS["worker-2"], JOB, 10, "worker-2", ONE),
        "voted already": good,
    }
    cases |= {"another step": vote(KEYS["worker-1"], JOB, 11, "worker-1", ONE)}
    cases |= {"another job": vote(KEYS["worker-1"], "other", 10, "worker-1", ONE)}
    cases |= {"another digest": WorkerVote("worker-1", OTHER, other.signature)}
    for why, bad in cases.items():
        _, [voted] = decided(running(), CountVotes(JOB, 10, [good, bad]))
        assert (False, 1) == (voted.agreed, voted.agreeing), why
        assert why.startswith("another") or f"{bad.worker}: {why}" in voted.void
        assert "voted already" == why or bad.worker not in voted.votes


@pytest.mark.spec("COL-09")
def test_other_digests_and_absent_workers_are_no_agreement() -> None:
    """One of two sees another digest, or none: no agreement, and nothing to go on from."""
    for given in (votes(10, [ONE, OTHER]), votes(10, [ONE]), []):
        state, [voted] = decided(running(), CountVotes(JOB, 10, given))
        assert (False, 0) == (voted.agreed, state.agreed_step)


@pytest.mark.spec("COL-09", "COL-08")
def test_a_step_that_was_agreed_on_is_never_agreed_on_otherwise() -> None:
    """After a restart all workers see another digest for the same step: a divergence, told as one."""
    state, _ = decided(running(), CountVotes(JOB, 10, votes(10, [ONE, ONE])))
    _, [voted] = decided(state, CountVotes(JOB, 10, votes(10, [OTHER, OTHER])))
    assert not voted.agreed
    assert ONE in voted.void[0]


@pytest.mark.spec("COL-09", "COL-08")
def test_an_earlier_step_is_never_agreed_on_otherwise_and_takes_nothing_back() -> None:
    """A run that began anew votes on its first steps again: only the same is agreed on, and the furthest stays."""
    far, _ = decided(running(), *(CountVotes(JOB, step, votes(step, [ONE, ONE])) for step in (10, 20, 50)))
    other, [voted] = decided(far, CountVotes(JOB, 10, votes(10, [OTHER, OTHER])))
    assert (False, 50, ONE) == (voted.agreed, other.agreed_step, other.agreed)
    assert ONE in voted.void[0]
    again, [same] = decided(other, CountVotes(JOB, 20, votes(20, [ONE, ONE])))
    assert (True, 50, 20) == (same.agreed, again.agreed_step, again.step)
    assert "T008" == refused(again, RecordRun(JOB, "r" * 64, "m" * 64, OTHER, [9, 5], 100))


@pytest.mark.spec("COL-09")
def test_workers_register_once_each_with_a_key_of_their_own() -> None:
    """Too few, one key for two, a key that proves nothing, an attempt that is not: refused."""
    state = Job(spec=SPEC, state="running", learned=(DATASET,), attempt=1)
    one, two = KEYS["worker-0"].public, KEYS["worker-1"].public
    for keys in ({"a": one}, {"a": one, "b": one}, {"a": one, "b": bytes(32)}, {"a": one, "b": b"short"}):
        assert "T003" == refused(state, RegisterWorkers(JOB, 1, keys))
    assert "T011" == refused(state, RegisterWorkers(JOB, 2, {"a": one, "b": two}))
    assert "T011" == refused(
        msgspec.structs.replace(state, state="paused"), RegisterWorkers(JOB, 1, {"a": one, "b": two})
    )


@pytest.mark.spec("COL-09")
def test_many_voters_are_counted_in_one_pass() -> None:
    """Of 1,000 voters 10 are absent: agreement; one more is another digest: none. A vote costs one verification."""
    signers = {f"v{n}": LocalSigner(n.to_bytes(32, "big")) for n in range(1, 1_001)}
    keys = {name: signer.public for name, signer in signers.items()}
    given = [vote(signer, JOB, 1, name, ONE) for name, signer in list(signers.items())[:990]]
    counted, void = count(JOB, 1, keys, iter(given))
    assert (990, True, []) == (counted.tally().agreeing, counted.tally().agreed, void)
    counted, _ = count(JOB, 1, keys, [vote(signers["v1"], JOB, 1, "v1", OTHER), *given[1:]])
    assert (989, False, ONE) == (counted.tally().agreeing, counted.tally().agreed, counted.tally().digest)


@pytest.mark.spec("COL-09")
@pytest.mark.parametrize(("silent", "agreeing", "agreed"), [(0, 1_994, True), (7, 1_980, True), (8, 1_978, False)])
def test_thousands_of_voters_with_bad_votes_among_them(silent: int, agreeing: int, agreed: bool) -> None:  # noqa: FBT001
    """Unsigned, forged, twice, a stranger's, for another digest: none counts; `python -m tests.voters N` counts N."""
    found = counted(2_000, silent)
    assert (2_000, agreeing, agreed) == (found.tally.registered, found.tally.agreeing, found.tally.agreed)
    forged = "signed by no key of this worker, or over something else"
    assert dict.fromkeys(("unsigned", forged, "voted already", "unregistered"), 2) == found.void


# When a run counts


@pytest.mark.spec("COL-09", "ILL-04")
def test_a_run_is_recorded_only_with_agreement_on_its_last_checkpoint() -> None:
    """Without votes, with votes on an earlier step, and with other weights than those voted on: T008."""
    state, recording = running(), RecordRun(JOB, "r" * 64, "m" * 64, ONE, [9, 5], 100)
    assert "T008" == refused(state, recording)
    earlier, _ = decided(state, CountVotes(JOB, 40, votes(40, [ONE, ONE])))
    assert "T008" == refused(earlier, recording)
    last, _ = decided(state, CountVotes(JOB, 50, votes(50, [OTHER, OTHER])))
    assert "T008" == refused(last, recording)
    agreed, _ = decided(state, CountVotes(JOB, 50, votes(50, [ONE, ONE])))
    ended, [recorded, ending] = decided(agreed, recording)
    assert ("completed", "r" * 64, 1_000_000, 2) == (
        ended.state,
        recorded.record,
        recorded.consensus_ppm,
        recorded.registered,
    )
    assert ("running", "completed") == (ending.before, ending.state)


@pytest.mark.spec("ILL-01", "ILL-03", "COL-10")
def test_a_run_names_its_base_and_all_that_policy_let_it_learn_from() -> None:
    """What taught the base taught the model: the run says so, and so whoever judges the model asks about it."""
    spec = changed(SPEC, base=ONE)
    begun = msgspec.structs.replace(running(), spec=spec, learned=(DATASET, PERSONAL))
    agreed, _ = decided(begun, CountVotes(JOB, 50, votes(50, [ONE, ONE])))
    _, [recorded, _] = decided(agreed, RecordRun(JOB, "r" * 64, "m" * 64, ONE, [9, 5], 100))
    assert (ONE, [DATASET, PERSONAL]) == (recorded.base, recorded.datasets)


@pytest.mark.spec("ILL-04")
def test_a_repetition_is_recorded_for_the_run_that_was() -> None:
    """What came of repeating is decided only about the record that the job has."""
    state = Job(spec=SPEC, state="completed", record=ONE)
    _, [said] = decided(state, RecordReproduction(JOB, ONE, "reproduced", ""))
    assert isinstance(said, Reproduced)
    assert "T010" == refused(state, RecordReproduction(JOB, OTHER, "reproduced", ""))


# The whole of it, simulated


class Lives:
    """What a simulated organism left: where a job stood at last, and what the log says of it."""

    def __init__(self) -> None:
        self.store, self.known = MemoryStore(), dict[str, DatasetFacts]()
        self.stated: JobStated | None = None
        self.said: list[Any] = []
        self.record: RunRecord | None = None
        self.rerun: list[bool] = []
        self.paces: list[int] = []
        self.trainings = Trainings(Policies.shipped())

    async def train(self, living: Living, spec: JobSpec, wait_s: float = 400.0) -> None:
        """Submit a job and wait until it has ended."""
        await self.submit(living, spec)
        await self.ended(living, job_of(spec, "me"), wait_s)

    async def submit(self, living: Living, spec: JobSpec) -> None:
        """Submit a job."""
        answer = await living.operator.request(SubmitJob(spec, "me"))
        assert isinstance(answer, Decided), answer

    async def stands(self, living: Living, spec: JobSpec) -> JobStated:
        """Where a job stands."""
        stated = await living.operator.request(JobStatus(job_of(spec, "me")))
        assert isinstance(stated, JobStated), stated
        return stated

    async def reached(self, living: Living, spec: JobSpec, state: JobState) -> None:
        """Wait until a job is in a state."""
        while (stated := await self.stands(living, spec)).state != state:
            assert stated.state not in ENDED, stated
            await living.world.sleep(1.0)

    async def ended(self, living: Living, job: str, wait_s: float = 400.0) -> None:
        """Wait until a job has ended, and read what the log says of it."""
        for _ in range(round(wait_s)):
            stated = await living.operator.request(JobStatus(job))
            assert isinstance(stated, JobStated)
            self.stated = stated
            if stated.state in ENDED:
                break
            await living.world.sleep(1.0)
        assert self.stated is not None
        if self.stated.record:
            self.record = read_record(await read(self.store, self.stated.record, MAX_RECORD_BYTES))
        classes = (JobSubmitted, JobJudged, JobMoved, WorkersRegistered, CheckpointVoted, RunRecorded)
        self.said, self.rerun, self.trainings = [], [], Trainings(Policies.shipped())
        reruns = list(reruns_of([living.organism.runners["training"].part]))
        async for verdict in living.operator.replay():
            self.trainings.take(verdict)
            self.said += [decision for decision, _ in decisions_in(verdict, *classes)]
            self.rerun += [same for rerun in reruns for _, same in rerun.take(verdict)]

    def hear(self, delivery: Delivery) -> None:
        """Take note of the pace at which a job goes."""
        pace = decode(JobProgressed, delivery.data).pace_ppm
        if [pace] != self.paces[-1:]:
            self.paces.append(pace)

    def path(self) -> list[str]:
        """The states that the job went through."""
        return [said.state for said in self.said if isinstance(said, JobMoved)]


async def _taught(lives: Lives, **changed_facts: Any) -> str:  # noqa: ANN401 - fields of facts
    dataset = await stored(lives.store, pairs())
    lives.known[dataset] = facts(**changed_facts)
    return dataset


def _live(spec: dict[str, Any], seed: int = 1, crash: float = 0.0, **changed_facts: Any) -> Lives:  # noqa: ANN401 - fields of facts
    lives = Lives()

    async def life(living: Living) -> None:
        await lives.train(living, line_spec(await _taught(lives, **changed_facts), **spec))

    live_sim(life, lambda world: sim_parts(lives.store, lives.known, SimCrew(world, crash), world), seed)
    return lives


@pytest.mark.spec("ILL-02", "COL-09", "ILL-04")
def test_a_job_goes_from_its_submission_to_a_recorded_run() -> None:
    """Ten checkpoints are agreed on by two workers, the record names them all, and every decision comes out again."""
    lives = _live({})
    assert ["running", "completed"] == lives.path()
    agreed = [(said.step, said.digest) for said in lives.said if isinstance(said, CheckpointVoted) and said.agreed]
    assert lives.record is not None
    assert (10, tuple(agreed)) == (len(agreed), lives.record.checkpoints)
    assert lives.record.weights == agreed[-1][1]
    assert lives.rerun
    assert all(lives.rerun)


@pytest.mark.spec("ILL-02", "COL-08")
@pytest.mark.parametrize("seed", range(3))
def test_workers_that_die_cost_attempts_and_no_bit(seed: int) -> None:
    """However often workers are killed, the run's record is the same, byte for byte."""
    calm, wild = _live({}), _live({}, seed, 0.1)
    assert calm.record is not None
    assert calm.record == wild.record
    begun = [said for said in wild.said if isinstance(said, JobMoved) and said.state == "running"]
    assert len(begun) > 1
    assert all("killed by SIGKILL" in said.reason for said in begun[1:])


@pytest.mark.spec("ILL-02")
def test_workers_that_always_die_end_the_job() -> None:
    """After five attempts that came to nothing the job has failed, and says of what."""
    lives = _live({}, crash=1.0)
    assert ["running"] * JOB_ATTEMPTS + ["failed"] == lives.path()
    assert lives.stated is not None
    assert "attempts came to nothing" in lives.stated.reason


@pytest.mark.spec("ILL-03", "ILL-08", "ZER-05")
@pytest.mark.parametrize(
    ("code", "spec", "said"),
    [
        ("T004", {"family": "unheard_of"}, {}),
        ("T004", {"recipe": "line_recipe 0.0.1"}, {}),
        ("T002", {"backend": "tinygrad"}, {}),
        ("T003", {"hyperparameters": {"momentum": 1}}, {}),
        ("T005", {"proposal": "nobody-made-this"}, {}),
        ("T005", {"steps": 2_000}, {}),
        ("Q004", {"steps": 2_001}, {}),
        ("Q004", {"workers": 5}, {}),
        ("T006", {}, {"kind": "trails"}),
        ("Q004", {}, {"licence": "unknown"}),
        ("Q004", {}, {"use": "evaluate"}),
        ("Q004", {}, {"restrictions": ["no-training"]}),
        ("Q004", {}, {"pii": "in_the_open"}),
        ("D002", {"datasets": [DATASET]}, {}),
    ],
)
def test_what_may_not_be_trained_is_refused_before_anything_starts(
    code: str, spec: dict[str, Any], said: dict[str, Any]
) -> None:
    """An unknown recipe, a dataset that may not teach, no accepted proposal: refused by name, and no worker starts."""
    lives = _live(spec, **said)
    assert ["refused"] == lives.path()
    assert lives.stated is not None
    assert lives.stated.reason.startswith(code)


class Powerless(SimCrew):
    """Whatever it is asked to start, the system refuses."""

    async def start(self, attempt: Attempt) -> SimTeam:
        """Fail as the real crew does."""
        raise CrewFailed(f"0 of {attempt.spec.workers} workers began: no memory")


@pytest.mark.spec("ILL-02", "X-06")
def test_a_job_whose_workers_do_not_start_has_failed_and_says_of_what() -> None:
    """It is not pending for ever, and no other job waits for it."""
    lives = Lives()

    async def life(living: Living) -> None:
        dataset = await _taught(lives)
        for seed in (1, 2):
            await lives.train(living, line_spec(dataset, seed=seed))
            assert lives.stated is not None
            assert ("failed", "0 of 2 workers began: no memory") == (lives.stated.state, lives.stated.reason)

    live_sim(life, lambda world: sim_parts(lives.store, lives.known, Powerless(world), world))


@pytest.mark.spec("ILL-08", "X-06")
def test_a_job_runs_only_where_policy_let_it_start() -> None:
    """Not judged, judged and refused, or judged without one of its datasets: no worker starts, and none goes on."""
    state, _ = decided(Job(), SubmitJob(SPEC, "me"))
    assert "T011" == refused(state, moved("running"))
    assert "T006" == refused(state, JudgeJob(JOB, "dev", [learned(ONE, facts(), [])], ""))
    denied, [said] = decided(state, judging(pii="sealed"))
    assert (False, "Q004") == (said.judgement.allowed, str(refusal(said.judgement))[:4])
    assert "T011" == refused(denied, moved("running"))
    allowed, _ = decided(denied, judging())
    assert "running" == decided(allowed, moved("running"))[0].state
    assert "T011" == refused(decided(allowed, judging(pii="sealed"))[0], moved("running"))


@pytest.mark.spec("ILL-08", "COL-12")
@pytest.mark.parametrize(("outcome", "licence"), [("permitted", "CC0-1.0"), ("refused", "unknown")])
def test_whether_a_job_may_start_is_judged_the_same_again(outcome: str, licence: str) -> None:
    """The log has what policy was told with its judgement, of a start and of a refusal, and both come out again."""
    lives = _live({}, licence=licence)
    assert [(outcome, "same", "")] == [(one.outcome, one.verdict, one.detail) for one in lives.trainings.found]
    assert lives.rerun
    assert all(lives.rerun)


@pytest.mark.spec("ILL-08", "COL-12", "X-06")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("outcome", ("permitted", "other", "the policy says otherwise")),
        ("input", ("permitted", "other", "what stands before it gives the policy another input")),
        ("dataset", ("permitted", "other", f"the policy was told nothing of {DATASET}")),
        ("policy", ("permitted", "other_policies", "")),
        ("start", ("started", "other", "policy did not let it start")),
    ],
)
def test_a_start_that_its_input_does_not_bear_is_found(change: str, found: tuple[str, str, str]) -> None:
    """A judgement that its input contradicts, an input made better afterwards, a start without a judgement."""
    state, [submitted] = decided(Job(), SubmitJob(SPEC, "me"))
    _, [good] = decided(state, judging())
    _, [bad] = decided(state, judging(pii="sealed"))
    replace = msgspec.structs.replace
    said: dict[str, Any] = {
        "outcome": replace(bad, judgement=replace(bad.judgement, allowed=True, rows=good.judgement.rows)),
        "input": replace(bad, judgement=good.judgement),
        "dataset": replace(good, learned=[]),
        "policy": replace(good, judgement=replace(good.judgement, policy="0" * 64)),
        "start": JobMoved(JOB, "pending", "running", "begins", 1, 0, -1, 0),
    }
    trainings = Trainings(Policies.shipped())
    for index, decision in enumerate((submitted, said[change])):
        trainings.hear(decision, index)
    [one] = trainings.found
    assert found[:2] == (one.outcome, one.verdict)
    assert found[2] in one.detail


@pytest.mark.spec("ZER-01", "ZER-02")
@pytest.mark.parametrize(
    ("spec", "proposed", "said"),
    [
        ({}, {}, ""),
        ({"steps": 20, "hyperparameters": {}}, {}, ""),
        ({}, {"model_id": "line-2"}, "the family is line, proposed line-2"),
        ({}, {"family": "boundary"}, "the family is line, proposed boundary"),
        ({}, {"backend": "tinygrad"}, "the backend is torch, proposed tinygrad"),
        ({}, {"steps": 49}, "50 steps, proposed 49"),
        ({}, {"datasets": [DATASET]}, "was not proposed"),
        ({}, {"batch": 16}, "batch is 8, proposed 16"),
        ({}, {"learning_rate_ppm": 1}, "learning_rate_ppm is 100000, proposed 1"),
        ({}, {"training": None}, "the proposal says of no training"),
        ({}, {"base": ONE}, f"the base is none, proposed {ONE[:16]}"),
    ],
)
def test_an_accepted_proposal_opens_the_training_that_it_proposed(
    spec: dict[str, Any], proposed: dict[str, Any], said: str
) -> None:
    """Less than was proposed may be trained; another family, backend, dataset, batch or more steps may not."""
    lives = Lives()

    async def life(living: Living) -> None:
        await lives.train(living, line_spec(await _taught(lives), proposal="train-the-line", **spec))

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), Proposals(lives.known, proposed)]

    live_sim(life, parts)
    assert (["refused"] if said else ["running", "completed"]) == lives.path()
    if said:
        assert lives.stated is not None
        assert lives.stated.reason.startswith("T005")
        assert said in lives.stated.reason


@pytest.mark.spec("ILL-01", "ILL-03", "ILL-08", "X-06")
@pytest.mark.parametrize(
    ("base", "said"),
    [
        (OTHER, "T013 UNKNOWN_BASE"),
        (PERSONAL, "T013 UNKNOWN_BASE"),
        (ONE, "Q004 DENIED: nimmerverse.training: pii: pii"),
        (FOREIGN, "Q004 DENIED: nimmerverse.training: origin: weights"),
        (LOST, "D002 NO_DATASET"),
    ],
)
def test_a_job_does_not_go_on_from_what_may_not_teach(base: str, said: str) -> None:
    """Unknown weights, data in their place, what persons' data taught, weights from elsewhere: no worker starts."""
    lives = Lives()

    async def life(living: Living) -> None:
        trails = await stored(lives.store, trail_lines(20), "trails")
        lives.known[trails] = facts("trails")
        for request in (
            TellRun("a" * 64, ONE, [1], (PERSONAL,)),
            TellRun("b" * 64, LOST, [1], ("c" * 64,)),
            RegisterDataset(PERSONAL, "", 1, facts("posts", pii="sealed")),
            RegisterDataset(FOREIGN, "", 1, facts("weights")),
        ):
            assert isinstance(await living.operator.request(request), Decided)
        await lives.train(living, boundary_spec(trails, base=base))

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), TellerOrgan()]

    live_sim(life, parts)
    assert lives.stated is not None
    assert said == lives.stated.reason[: len(said)]
    assert ["refused"] == lives.path()


@pytest.mark.spec("ILL-01", "ILL-03", "ILL-08")
def test_policy_is_told_of_what_taught_the_base() -> None:
    """A job whose base clean data taught may start, and its judgement names these data; it is judged the same again."""
    lives, trails = Lives(), list[str]()

    async def life(living: Living) -> None:
        trails.append(await stored(lives.store, trail_lines(20), "trails"))
        lives.known |= {trails[0]: facts("trails"), PERSONAL: facts("posts")}
        await living.operator.request(TellRun("a" * 64, ONE, [1], (PERSONAL,)))
        await lives.train(living, boundary_spec(trails[0], base=ONE))

    live_sim(life, lambda world: [*sim_parts(lives.store, lives.known, SimCrew(world), world), TellerOrgan()])
    [judged] = [said for said in lives.said if isinstance(said, JobJudged)]
    assert [*trails, PERSONAL] == [each.dataset for each in judged.learned]
    assert [("permitted", "same")] == [(one.outcome, one.verdict) for one in lives.trainings.found]
    unsaid, trainings = msgspec.structs.replace(judged, learned=judged.learned[:1]), Trainings(Policies.shipped())
    for said in (*(said for said in lives.said if isinstance(said, JobSubmitted | RunRecorded)), unsaid):
        trainings.hear(said, 0)
    assert f"the policy was told nothing of {PERSONAL}" == trainings.found[-1].detail


SHORT_ALONE = """package nimmerverse.added.short

import rego.v1

rows := [data.nimmerverse.rows.at_most("steps", object.get(input, "steps", null), 49)]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)
"""
UP: tuple[PolicyState, ...] = ("simulating", "canary", "active")


@pytest.mark.spec("ILL-08", "X-06")
@pytest.mark.parametrize(
    ("effect", "states", "steps", "said"),
    [
        ("deny", UP, 50, "Q004 DENIED: deny by the added policy short (steps: TOO_HIGH"),
        ("quarantine", UP, 50, "Q004 DENIED: quarantine by the added policy short (steps: TOO_HIGH"),
        ("remediate", UP, 50, "Q004 DENIED: remediate by the added policy short (steps: TOO_HIGH"),
        ("deny", UP, 49, ""),
        ("deny", (), 50, ""),
        ("deny", UP[:1], 50, ""),
        ("deny", (*UP, "draft"), 50, ""),
    ],
)
def test_an_added_policy_that_is_active_forbids_a_training(
    effect: Effect, states: tuple[PolicyState, ...], steps: int, said: str
) -> None:
    """Whatever it does not allow does not begin; while it is a draft or only simulated it stands in nobody's way."""
    lives = Lives()

    async def life(living: Living) -> None:
        dataset = await _taught(lives)
        await living.operator.request(DraftPolicy("short", SHORT_ALONE, effect, "me"))
        for state in states:
            share = 1_000_000 if state == "canary" else 0
            moved_on = await living.operator.request(MovePolicy("short", state, share, "to try", "me"))
            assert isinstance(moved_on, Decided)
        await living.world.sleep(1.0)
        await lives.train(living, line_spec(dataset, steps=steps))

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), PolicyNerve()]

    live_sim(life, parts)
    assert (["refused"] if said else ["running", "completed"]) == lives.path()
    if said:
        assert lives.stated is not None
        assert lives.stated.reason.startswith(said)


@pytest.mark.spec("ILL-08", "X-06")
def test_where_no_added_policy_answers_nothing_is_trained() -> None:
    """The log has an active policy and nobody who judges by it: the job comes to nothing, and says who was missing."""
    lives = Lives()

    async def life(living: Living) -> None:
        dataset = await _taught(lives)
        await living.operator.request(DraftPolicy("short", SHORT_ALONE, "deny", "me"))
        await living.operator.request(MovePolicy("short", "simulating", 0, "to try", "me"))
        await living.world.sleep(1.0)
        await living.organism.runners.pop("policy").stop()
        await lives.train(living, line_spec(dataset), 600)

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), PolicyNerve()]

    live_sim(life, parts)
    assert ["failed"] == lives.path()
    assert lives.stated is not None
    assert "nobody answered CheckPolicy" in lives.stated.reason


class Meters(Organ):
    """A site's power as a test wants it: the windows one after the other, the last one stays."""

    name: ClassVar[str] = "meters"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = 1

    def __init__(self, windows: list[tuple[bool, WindowReason, int, int]]) -> None:
        self.windows = windows

    async def on_window(self, asked: PowerWindowRequest) -> list[PowerWindow]:
        """Answer with the next window."""
        allowed, reason, scale, throttle = self.windows.pop(0) if len(self.windows) > 1 else self.windows[0]
        about = {"scale_ppm": scale, "delay_s": 30, "throttle_ppm": throttle, "off_peak": False}
        return [PowerWindow(asked.site, allowed, reason, **about, index=3, offset=0)]


Window = tuple[bool, WindowReason, int, int]
OPEN: Window = (True, "OK", 1_000_000, 1_000_000)
SLOW: Window = (True, "OK", 20_000, 1_000_000)
LARGE: Window = (False, "GRID_CONSTRAINT", 0, 500_000)
SHORT: Window = (False, "GRID_CONSTRAINT", 0, 20_000)
CLOSED: Window = (False, "OFFPEAK_REQUIRED", 500_000, 0)


class Proposals(Organ):
    """Every proposal stands as `state` says: to train the line on the datasets that are known, or something else."""

    name: ClassVar[str] = "proposals"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = 1

    def __init__(self, known: dict[str, DatasetFacts], proposed: dict[str, Any] | None = None) -> None:
        self.known, self.proposed = known, proposed if proposed is not None else {}
        self.state: ProposalState = "accepted"

    async def on_status(self, asked: ProposalStatus) -> list[ProposalStated]:
        """Say that it is accepted."""
        said: dict[str, Any] = {"model_id": "line", "steps": 50, "datasets": list(self.known), "backend": "torch"}
        said |= {"learning_rate_ppm": 100_000, "batch": 8, "family": ""} | self.proposed
        family = said.pop("family")
        training = TrainingData(**said) if self.proposed != {"training": None} else None
        about = ("somebody", "the line once more", "", "research", "low", training, "", "", family)
        return [ProposalStated(asked.proposal, ProposalFacts(*about), None, "pass", "pass", self.state, [])]


def _in_power(windows: list[Window], *, heavy: bool = True) -> Lives:
    lives = Lives()

    async def life(living: Living) -> None:
        await living.operator.subscribe(JobProgressed.pattern(ENV), lives.hear)
        dataset = await _taught(lives)
        await lives.train(living, line_spec(dataset, heavy=heavy, proposal="train-the-line"), 6_000)

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), Meters(windows), Proposals(lives.known)]

    live_sim(life, parts)
    return lives


@pytest.mark.spec("COL-07")
def test_a_heavy_job_waits_for_the_window_and_says_for_what() -> None:
    """With the window closed it waits; when it opens it begins, and names the decision that it rests on."""
    lives = _in_power([CLOSED, CLOSED, LARGE, OPEN])
    moves = [said for said in lives.said if isinstance(said, JobMoved)]
    assert ["waiting", "waiting", "running", "completed"] == [said.state for said in moves]
    assert ["power: OFFPEAK_REQUIRED", "power: GRID_CONSTRAINT"] == [said.reason for said in moves[:2]]
    assert [3, 3, 3, -1] == [said.window_index for said in moves]


@pytest.mark.spec("COL-07")
def test_a_running_heavy_job_is_throttled_held_and_let_go_and_its_outcome_is_the_same() -> None:
    """A closed window has it hold still, a short grid throttles it, and no bit of what it leaves depends on that."""
    calm, wild = _in_power([OPEN]), _in_power([SLOW, CLOSED, CLOSED, SHORT, OPEN])
    assert ["running", "paused", "running", "completed"] == wild.path()
    assert [20_000, 0, 20_000, 1_000_000] == wild.paces
    assert calm.record is not None
    assert wild.record is not None
    assert calm.record == wild.record


@pytest.mark.spec("COL-07")
def test_where_nobody_reads_the_meters_a_heavy_job_waits_and_a_light_one_does_not() -> None:
    """No answer about power is no power for the heavy job, which waits with NO_READING; a light one passes it by."""
    lives = Lives()

    async def life(living: Living) -> None:
        dataset = await _taught(lives)
        heavy = line_spec(dataset, heavy=True, proposal="train-the-line")
        await lives.submit(living, heavy)
        await living.world.sleep(60.0)
        stated = await lives.stands(living, heavy)
        assert ("waiting", "power: NO_READING") == (stated.state, stated.reason)
        await lives.train(living, line_spec(dataset))
        assert "waiting" == (await lives.stands(living, heavy)).state

    live_sim(life, lambda world: [*sim_parts(lives.store, lives.known, SimCrew(world), world), Proposals(lives.known)])
    assert ["waiting", "running", "completed"] == lives.path()


@pytest.mark.spec("COL-06", "COL-07")
def test_a_light_job_asks_as_well_and_a_short_grid_keeps_it_from_beginning() -> None:
    """No job begins over 250 MW, whether or not it says that it is heavy; the decision that lets it stands with it."""
    lives = _in_power([LARGE, LARGE, OPEN], heavy=False)
    moves = [said for said in lives.said if isinstance(said, JobMoved)]
    assert [("waiting", "power: GRID_CONSTRAINT"), ("running", "begins at 100%")] == [
        (said.state, said.reason) for said in moves[:-1]
    ]
    assert [3, 3, -1] == [said.window_index for said in moves]


@pytest.mark.spec("COL-06", "COL-07")
def test_a_short_grid_throttles_a_running_light_job() -> None:
    """Over 250 MW it goes on with half of the time."""
    lives = _in_power([SLOW, LARGE], heavy=False)
    assert (["running", "completed"], [20_000, 500_000]) == (lives.path(), lives.paces)


@pytest.mark.spec("COL-06", "X-06")
def test_at_a_site_with_a_meter_a_light_job_waits_for_a_reading() -> None:
    """Where readings are expected, none is no power, for whichever job."""
    lives = Lives()

    async def life(living: Living) -> None:
        spec = line_spec(await _taught(lives))
        await lives.submit(living, spec)
        await living.world.sleep(2 * RECHECK_S)
        stated = await lives.stands(living, spec)
        assert ("waiting", "power: NO_READING") == (stated.state, stated.reason)

    live_sim(life, lambda world: sim_parts(lives.store, lives.known, SimCrew(world), world, metered=True))


@pytest.mark.spec("COL-06", "COL-07")
@pytest.mark.parametrize(("heavy", "path"), [(False, ["refused"]), (True, ["running", "completed"])])
def test_a_large_job_says_that_it_is_heavy_or_is_refused(heavy: bool, path: list[str]) -> None:  # noqa: FBT001
    """What was accepted with more steps than a light job has does not begin as one; the refusal says what to do."""
    lives = Lives()

    async def life(living: Living) -> None:
        spec = line_spec(await _taught(lives), steps=2_001, heavy=heavy, proposal="train-the-line")
        await lives.train(living, spec)

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        there = [Meters([OPEN]), Proposals(lives.known, {"steps": 10_000})]
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), *there]

    live_sim(life, parts)
    assert path == lives.path()
    assert lives.stated is not None
    if not heavy:
        said = "Q004 DENIED: nimmerverse.light: steps: TOO_HIGH (found 2001, <= 2000); submit it as heavy (--heavy)"
        assert lives.stated.reason.startswith(said)


@pytest.mark.spec("COL-07", "ZER-05")
def test_what_waited_for_power_begins_only_if_it_still_may() -> None:
    """A proposal that was rejected while its job waited opens nothing any more."""
    lives, meters = Lives(), Meters([CLOSED])
    proposals = Proposals(lives.known)

    async def life(living: Living) -> None:
        spec = line_spec(await _taught(lives), heavy=True, proposal="train-the-line")
        await lives.submit(living, spec)
        await lives.reached(living, spec, "waiting")
        proposals.state, meters.windows = "rejected", [OPEN]
        await lives.ended(living, job_of(spec, "me"))

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), meters, proposals]

    live_sim(life, parts)
    assert ["waiting", "refused"] == lives.path()


@pytest.mark.spec("COL-07")
def test_a_job_that_holds_still_has_no_seat_and_takes_it_again_before_it_goes_on() -> None:
    """While a job is paused another one runs; when power is back the first goes on only after the other is done."""
    lives, meters = Lives(), Meters([SLOW])

    async def life(living: Living) -> None:
        dataset = await _taught(lives)
        first, second = (line_spec(dataset, heavy=True, proposal="train-the-line", seed=seed) for seed in (1, 2))
        await lives.submit(living, first)
        await lives.reached(living, first, "running")
        meters.windows = [CLOSED]
        await lives.reached(living, first, "paused")
        meters.windows = [SLOW]
        await lives.submit(living, second)
        await lives.reached(living, second, "running")
        await living.world.sleep(2 * RECHECK_S)
        assert "paused" == (await lives.stands(living, first)).state
        meters.windows = [OPEN]
        await lives.ended(living, job_of(first, "me"), 6_000)
        jobs = [job_of(each, "me") for each in (first, second)]
        moves = [(jobs.index(said.job), said.state) for said in lives.said if isinstance(said, JobMoved)]
        assert [
            *((0, "running"), (0, "paused"), (1, "running")),
            *((1, "completed"), (0, "running"), (0, "completed")),
        ] == moves

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), meters, Proposals(lives.known)]

    live_sim(life, parts)


@pytest.mark.spec("COL-07", "ILL-02")
def test_a_trainer_that_leaves_while_a_job_holds_still_has_it_gone_on_with() -> None:
    """Its workers do not reach a checkpoint in time; the next trainer waits for power, and goes on from the last."""
    lives, meters = Lives(), Meters([SLOW])

    async def life(living: Living) -> None:
        spec = line_spec(await _taught(lives), heavy=True, proposal="train-the-line")
        await lives.submit(living, spec)
        await lives.reached(living, spec, "running")
        meters.windows = [CLOSED]
        await lives.reached(living, spec, "paused")
        part = living.organism.runners["trainer"].part
        await living.organism.runners.pop("trainer").stop()
        assert isinstance(living.world, SimWorld)
        living.organism.runners["trainer"] = await living.organism.run(part.again(living.world.fork("next")))
        await lives.reached(living, spec, "waiting")
        meters.windows = [OPEN]
        await lives.ended(living, job_of(spec, "me"))

    def parts(world: World) -> list[Part]:
        assert isinstance(world, SimWorld)
        return [*sim_parts(lives.store, lives.known, SimCrew(world), world), meters, Proposals(lives.known)]

    live_sim(life, parts)
    assert ["running", "paused", "waiting", "running", "completed"] == lives.path()


# Records


RECORD = RunRecord(
    product="1",
    spec=SPEC,
    sources={"a.py": ONE},
    environment={"python": "3.11"},
    data={DATASET: ONE},
    checkpoints=((5, ONE), (10, OTHER), (50, ONE)),
    curve=((5, 9),),
    parameters=2,
    measured={},
    weights=ONE,
    model=ONE,
    model_bytes=10,
    media_type="application/octet-stream",
)
replace = msgspec.structs.replace


@pytest.mark.spec("ILL-04")
def test_a_repetition_names_what_differs_and_where_it_parted() -> None:
    """The same bytes are reproduced; others diverged, with the field that was changed and the checkpoint."""
    parted = {"checkpoints": ((5, ONE), (10, ONE), (50, OTHER)), "weights": OTHER}
    assert ("reproduced", "") == _compared()
    assert ("reproduced", "") == _compared(spec=changed(SPEC, workers=3, reason="again"))
    assert ("diverged", "checkpoint 10") == _compared(**parted)
    batch = changed(SPEC, hyperparameters={**SPEC.hyperparameters, "batch": 9})
    assert ("diverged", "field hyperparameters.batch (was 8, is 9); checkpoint 10") == _compared(spec=batch, **parted)
    assert ("diverged", "field environment.python (was 3.11, is 3.12); checkpoint 10") == _compared(
        environment={"python": "3.12"}, **parted
    )
    assert ("reproduced", "though field environment.python (was 3.11, is 3.12)") == _compared(
        environment={"python": "3.12"}
    )
    assert ("diverged", "after the last checkpoint, in model") == _compared(model=OTHER)


def _compared(**fields: Any) -> tuple[str, str]:  # noqa: ANN401 - fields of a record
    found = compare(RECORD, replace(RECORD, **fields))
    return found.verdict, found.detail


@pytest.mark.spec("ILL-04")
@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"\xff", canonical(RECORD) + b"\n", canonical(RECORD).replace(b'"1"', b'"1" ', 1)]
)
def test_bytes_that_are_not_exactly_one_record_are_refused(raw: bytes) -> None:
    """A record is canonical JSON of the format, or T010."""
    assert RECORD == read_record(canonical(RECORD))
    with pytest.raises(Refused, match="T010"):
        read_record(raw)


@pytest.mark.spec("ILL-04")
def test_what_is_altered_for_a_repetition_is_a_field_of_the_job() -> None:
    """A hyperparameter, seed, steps or workers may be altered; anything else is named as what it is not."""
    assert 9 == altered(SPEC, ["batch=9"]).hyperparameters["batch"]
    assert (9, 3) == (altered(SPEC, ["seed=9"]).seed, altered(SPEC, ["workers=3"]).workers)
    for odd in ("batch", "batch=x", "momentum=1", "proposal=1"):
        with pytest.raises(ConfigFault, match="FIELD=NUMBER"):
            altered(SPEC, [odd])


@pytest.mark.spec("COL-13", "COL-09")
def test_the_agreement_on_a_running_job_is_told() -> None:
    """Prometheus is told which fraction of a job's workers agreed last, too few of them too, until the job ends."""

    async def body(ground: SimGround) -> None:
        async with stage(ground) as here:
            signer = await (await Founded.on(ground)).introduce("training", f"{ENV}.lifecycle.training.>")
            runner = await here.carry(TrainingNerve(), [signer])
            desk = await here.asker()

            async def asked(request: Request) -> dict[tuple[str, str], float]:
                assert isinstance(await desk.request(request), Decided)
                return own_metrics(runner)

            keys = {name: key.public for name, key in list(KEYS.items())[:2]}
            spec = changed(SPEC, workers=2)
            job = job_of(spec, "me")
            begun = (SubmitJob(spec, "me"), judging(), moved("running", job=job), RegisterWorkers(job, 1, keys))
            for request in begun:
                assert {} == await asked(request)
            for step, digests, fraction in ((10, [ONE, ONE], 1.0), (20, [ONE, OTHER], 0.5), (20, [], 0.0)):
                told = await asked(CountVotes(job, step, votes(step, digests, job)))
                assert {("checkpoint_consensus_fraction", job): fraction} == told
            assert {} == await asked(CancelJob(job, "enough"))

    play_sim(body)
