"""What the trainer asks other parts, patiently: who is away may come back, and until then nothing is granted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from shared.artifacts import ArtifactStore
from shared.artifacts.port import CHUNK_BYTES
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import LogFault, Refusal, Refused, Unreachable
from shared.message import Decision, Reply, Request
from shared.part.organ import AskingLog
from shared.subjects.artifacts import Holds, RegisterArtifact
from shared.subjects.system import Decided
from shared.subjects.training import CheckpointVoted, CountVotes, MoveJob, RegisterWorkers, WorkerVote
from shared.world import World

JOB_PATIENCE_S = constant(300.0, "s", "ILL-02")  #: how long somebody who does not answer is asked again
JOB_AGAIN_S = constant(5.0, "s", "ILL-02")
NOWHERE: tuple[int, int] = (-1, 0)  #: of a power window that nothing rests on
_NOBODY = "B006"
_BAD_MOVE = "T011"

R = TypeVar("R", bound=Reply)
D = TypeVar("D", bound=Decision)


class Asking:
    """Asks until it is answered, for a while."""

    def __init__(self, log: AskingLog, world: World) -> None:
        self.log, self.world = log, world

    async def ask(self, request: Request, expected: type[R]) -> R:
        """Return the answer. Raises Refused, Unreachable where nobody answers for long."""
        until_s = self.world.elapsed_s() + JOB_PATIENCE_S
        while True:
            try:
                answer = await self.log.request(request)
            except Unreachable:
                answer = Refusal(_NOBODY)
            if not isinstance(answer, Refusal):
                assert isinstance(answer, expected)
                return answer
            if answer.code != _NOBODY:
                raise Refused(answer)
            if self.world.elapsed_s() >= until_s:
                raise Unreachable(f"nobody answered {type(request).__name__} for {JOB_PATIENCE_S:g} s")
            await self.world.sleep(JOB_AGAIN_S)

    async def tell(self, moved: MoveJob) -> None:
        """Say where a job is; one that got somewhere else meanwhile stays there."""
        try:
            await self.ask(moved, Decided)
        except Refused as no:
            if no.refusal.code != _BAD_MOVE:
                raise

    async def decision(self, request: Request, expected: type[D]) -> D:
        """Return what was decided, as the log has it. Raises as `ask`, and LogFault."""
        decided = await self.ask(request, Decided)
        for verdict in await self.log.judged(decided.index, 1, decided.index):
            for said, at in decisions_in(verdict, expected):
                if (at.index, at.offset) == (decided.index, decided.offset):
                    return said
        raise LogFault(f"the log does not hold what was decided at ({decided.index}, {decided.offset})")


class LogCourt:
    """Has the log decide about one run."""

    def __init__(self, asking: Asking, store: ArtifactStore, job: str) -> None:
        self.asking, self.store, self.job = asking, store, job
        self.window = NOWHERE  #: the decision that let the job start

    async def running(self, attempt: int, step: int, keys: Mapping[str, bytes], reason: str) -> None:
        await self.asking.ask(MoveJob(self.job, "running", reason, attempt, step, *self.window), Decided)
        await self.asking.ask(RegisterWorkers(self.job, attempt, dict(keys)), Decided)

    async def count(self, step: int, votes: Sequence[WorkerVote]) -> CheckpointVoted:
        return await self.asking.decision(CountVotes(self.job, step, list(votes)), CheckpointVoted)

    async def keep(self, step: int, raw: bytes) -> None:
        await self.register(raw, "checkpoint", f"step {step} of {self.job}", [])

    async def preempted(self, attempt: int, step: int) -> None:
        reason = "the workers stopped at their checkpoint, as they were told"
        await self.asking.ask(MoveJob(self.job, "preempted", reason, attempt, step, *NOWHERE), Decided)

    async def register(self, raw: bytes, holds: Holds, name: str, parents: list[str], media: str = "") -> str:
        """Put content into the store, and have the log say that it is there; return its digest."""
        kept = await self.store.put(_pieces(raw), media or "application/octet-stream")
        await self.asking.ask(RegisterArtifact(kept.blake3, holds, name, self.job, parents), Decided)
        return kept.blake3


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), CHUNK_BYTES):
        yield raw[start : start + CHUNK_BYTES]
