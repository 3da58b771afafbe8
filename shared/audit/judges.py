"""Judging entries on several cores: each lane belongs to one process, which keeps its chain; all hear the key lane.

A reader that knows later keys judges as one that does not, and lanes may be read one by one (envelope/SPEC.md section
7), so the verdicts are those of one process.

    to a judge      u32 length ‖ MessagePack [case] first, then [[index, leaf, counted], …] each; length 0 ends it
    from a judge    u32 length ‖ MessagePack [events, [bad, …]] for each batch
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import BinaryIO
from zlib import crc32

import msgspec

from shared.audit.report import Bad
from shared.audit.source import Stored, read_leaf
from shared.constant import constant
from shared.envelope import Prefix, Verdict, admit
from shared.errors import Unreachable
from shared.keys import verify
from shared.message import lane_of

WORTH_IT = constant(20_000, "entries", "X-04")
_LENGTH_BYTES = 4

Share = list[tuple[int, bytes, bool]]
Found = tuple[int, list[Bad]]


class Case(msgspec.Struct, frozen=True):
    """What some entries are judged by: alone or in their lanes, and from which index on signatures are checked."""

    env: str
    chained: bool
    signatures_from: int


def judge(prefix: Prefix, stored: Stored, *, chained: bool, signatures_from: int) -> Verdict:
    """Return the verdict of one entry, folded into the prefix where entries are judged in their lanes."""
    proves = verify if stored.entry.index >= signatures_from else _proven_before
    verdict = admit(prefix, stored.entry, sealed=stored.sealed, proves=proves, chained=chained)
    if chained:
        prefix.fold(verdict)
    return verdict


def counted(verdict: Verdict) -> Found:
    """Return how many events of an entry are admitted, and those that are void."""
    void, entry = verdict.void(), verdict.entry
    if not void:
        return len(verdict.events), []
    ids = [event.id.hex() for event in verdict.events] or [""]
    bad = [Bad(entry.index, n, entry.index + 1, entry.subject, ids[n], str(no)) for n, no in void]
    return (len(verdict.events) - len(void) if verdict.refusal is None else 0), bad


class Judges:
    """Processes that judge; made for one pass by `start`, and closed after it."""

    def __init__(self, running: list[asyncio.subprocess.Process]) -> None:
        self._running = running
        self.events = 0
        self.bad: list[Bad] = []
        self._hearing = [asyncio.get_running_loop().create_task(self._hear(one)) for one in running]

    @classmethod
    async def start(cls, case: Case, jobs: int) -> Judges:
        """Return so many judges of a case."""
        pipe = asyncio.subprocess.PIPE
        words = (sys.executable, "-c", "from shared.audit.judges import serve; serve()")
        running = [await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe) for _ in range(jobs)]
        judges = cls(running)
        for one in running:
            await judges._send(one, case)
        return judges

    async def give(self, of_keys: Sequence[Stored], rest: Sequence[Stored]) -> None:
        """Have a batch judged; its key events are heard by all and counted by nobody here."""
        heard: Share = [(stored.entry.index, stored.leaf, False) for stored in of_keys]
        shares: list[Share] = [list(heard) for _ in self._running]
        for stored in rest:
            lane = lane_of(stored.entry.subject) or ""
            shares[crc32(lane.encode()) % len(shares)].append((stored.entry.index, stored.leaf, True))
        for one, share in zip(self._running, shares, strict=True):
            if share:
                await self._send(one, share)

    async def done(self) -> None:
        """Return when everything is judged. Raises Unreachable where a judge ended before."""
        for one in self._running:
            assert one.stdin is not None
            one.stdin.write(bytes(_LENGTH_BYTES))
            one.stdin.close()
        await asyncio.gather(*self._hearing)
        if any([await one.wait() for one in self._running]):
            raise Unreachable("a process that judged entries ended before its work was done")
        self.bad.sort(key=lambda bad: (bad.index, bad.offset))

    async def close(self) -> None:
        """End the processes, done or not."""
        for task in self._hearing:
            task.cancel()
        for one in self._running:
            if one.returncode is None:
                one.kill()
                await one.wait()

    async def _send(self, one: asyncio.subprocess.Process, value: object) -> None:
        assert one.stdin is not None
        raw = msgspec.msgpack.encode(value)
        one.stdin.write(len(raw).to_bytes(_LENGTH_BYTES, "big") + raw)
        try:
            await one.stdin.drain()
        except ConnectionError:
            raise Unreachable("a process that judged entries ended before its work was done") from None

    async def _hear(self, one: asyncio.subprocess.Process) -> None:
        assert one.stdout is not None
        while head := await one.stdout.read(1):
            length = int.from_bytes(head + await one.stdout.readexactly(_LENGTH_BYTES - 1), "big")
            found = msgspec.msgpack.decode(await one.stdout.readexactly(length), type=Found)
            self.events += found[0]
            self.bad += found[1]


def serve() -> None:
    """Be one of the processes."""
    main(sys.stdin.buffer, sys.stdout.buffer)


def main(given: BinaryIO, told: BinaryIO) -> None:
    """Judge what is given until it ends; this is all that one of the processes does."""
    case = msgspec.msgpack.decode(_frame(given), type=Case)
    prefix = Prefix(case.env, recalls=False)
    while raw := _frame(given):
        events, void = 0, list[Bad]()
        for index, leaf, counts in msgspec.msgpack.decode(raw, type=Share):
            stored = read_leaf(index, leaf)
            chained = case.chained or not counts
            more, bad = counted(judge(prefix, stored, chained=chained, signatures_from=case.signatures_from))
            if counts:
                events += more
                void += bad
        answer = msgspec.msgpack.encode((events, void))
        told.write(len(answer).to_bytes(_LENGTH_BYTES, "big") + answer)
        told.flush()


def _frame(given: BinaryIO) -> bytes:
    return given.read(int.from_bytes(given.read(_LENGTH_BYTES), "big"))


def _proven_before(*_of: bytes) -> bool:
    return True
