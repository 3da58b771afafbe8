"""The log as one part reads it: lanes folded in order, entries judged at any time, and verified replay.

In a cluster any replica answers a reading, and one may be behind: it shows a true beginning of the log. So what this
bus was acknowledged, was delivered or has read before, it reads until it is there (BEHIND_S); and that no further key
event stands before an entry it believes to whoever shows in the same answer that it holds that entry. Whatever is not
answered in time is asked again as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.bus.wire import READ_BATCH, Wire, stream_name
from shared.constant import constant
from shared.envelope import KeyBook, Lane, Prefix, Verdict, admit, recall
from shared.errors import LogFault, NoStream, Unanswered, Unresolved
from shared.log.entry import Entry
from shared.message import lane_of
from shared.subjects.keys import KEYS_LANE
from shared.world import World

T = TypeVar("T")
BEHIND_S = constant(5.0, "s", "X-07")
BEHIND_AGAIN_S = constant(0.01, "s", "X-07")


@dataclass
class Counters:
    """What a bus lost or refused since it started; owned by the bus, read by health and metrics."""

    emitted: int = 0
    sent_bytes: int = 0
    dropped: int = 0
    appended: int = 0
    void: int = 0
    dead: int = 0
    dead_dropped: int = 0


class Reading:
    """One part's view of its environment's log. The lane locks and the prefix belong to this object alone."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.world, self.wire = world, wire
        self.env = world.env
        self.log = stream_name("log", world.env)
        self.prefix = Prefix(world.env)
        self.counters = Counters()
        #: called with every verdict as it is folded, in lane order
        self.observers: list[Callable[[Verdict], None]] = []
        self.known = -1  #: the newest index that is known to be stored
        self._keys_read = 0  #: every key event below this index is folded
        self._keys_lane = KEYS_LANE.format(env=world.env)
        self._locks: dict[str, asyncio.Lock] = {}
        self._keys_lock = asyncio.Lock()

    async def follow(self, lane: str, held: int = -1) -> list[Verdict]:
        """Fold what is new on a lane into the prefix and return its verdicts, in order.

        With `held`, an index that is known to be stored, nothing of the lane up to there is missing: Unresolved where
        nobody who answers holds as much.
        """
        async with self._lock(lane):
            until = -1
            if held >= 0 and self.wire.replicated:
                until, reached = await self._horizon(lane, self.prefix.lane(lane).last + 1, held)
                if reached < held:
                    raise _behind(reached, held)
            return await self._follow(lane, until)

    async def judge(self, entry: Entry) -> Verdict:
        """Return the verdict of a delivered entry of the log, at any time and in any order."""
        lane = lane_of(entry.subject)
        if lane is None:
            await self.learn_keys(entry.index)
            self.counters.void += 1
            return admit(self.prefix, entry)
        async with self._lock(lane):
            if self.prefix.lane(lane).last < entry.index:
                await self._follow(lane, entry.index)
        verdict = recall(self.prefix, entry)
        self.counters.void += len(verdict.void())
        return verdict

    async def replay(self, trusted: str | None = None) -> AsyncIterator[Verdict]:
        """Yield the verdict of every entry from the genesis to the log's present end.

        LogFault at a gap, and where the log ends before what it says itself or what this bus has read already.
        """
        newest = await self.newest()
        end = max([newest.index if newest else -1, *(lane.last for lane in self.prefix.lanes.values())])
        if newest is None and await self.wire.read(self.log, 0, limit=1):
            raise LogFault("the log has entries, but the newest one cannot be read")
        prefix, index = Prefix(self.env), 0
        prefix.keys.trusted = trusted
        while index <= end:
            entries = await self.entries(index, end)
            if not entries:
                raise LogFault(f"the log ends at {index - 1}, but entry {end} was acknowledged")
            for entry in entries:
                if entry.index != index:
                    raise LogFault(f"entry {index} is missing: the next readable one is {entry.index}")
                verdict = admit(prefix, entry)
                prefix.fold(verdict)
                yield verdict
                index += 1

    async def entries(self, start: int, known: int = -1, limit: int = READ_BATCH) -> list[Entry]:
        """Return what is stored from index `start` on, as much as one reading gives; nothing is judged.

        `known` is an index that the caller knows to be stored: a replica that has not got as far is asked again.
        """
        return await self._read(start, limit=limit, known=known)

    async def newest(self, known: int = -1) -> Entry | None:
        """Return the last stored entry; one before `known` is not the last."""
        until = max(known, self.known)
        found = await self._held(
            lambda: self.wire.last(self.log, f"{self.env}.>"),
            lambda found: until < 0 or (found is not None and found.index >= until),
        )
        self.known = max(self.known, -1 if found is None else found.index)
        return found

    async def keys_until(self, index: int) -> KeyBook:
        """Return the keys as the log knows them up to an index, or further."""
        await self.learn_keys(index)
        return self.prefix.keys

    async def judged(self, start: int, limit: int, known: int = -1) -> list[Verdict]:
        """Return the verdicts of up to `limit` stored entries from index `start` on; LogFault at a gap.

        `known` is an index that the caller knows to be stored.
        """
        entries = await self._read(start, limit=limit, known=known)
        for index, entry in enumerate(entries, start):
            if entry.index != index:
                raise LogFault(f"entry {index} is missing: the next readable one is {entry.index}")
        return [await self.judge(entry) for entry in entries]

    async def _follow(self, lane: str, until: int = -1) -> list[Verdict]:
        """Fold the lane's new entries, keys first; `until` is an index known to be stored (it must appear)."""
        start = self.prefix.lane(lane).last + 1
        entries: list[Entry] = []
        while True:
            some = await self._read(start, f"{lane}.>", known=until)
            entries += some
            if not some or 0 <= until <= some[-1].index:
                break
            start = some[-1].index + 1
        if start <= until and (not entries or entries[-1].index < until):
            raise Unresolved(f"entry {until} of {lane} was acknowledged but cannot be read yet")
        if entries:
            await self.learn_keys(entries[-1].index)
        verdicts: list[Verdict] = []
        for entry in entries:
            if lane == self._keys_lane:
                verdicts.append(recall(self.prefix, entry))
                continue
            verdict = admit(self.prefix, entry)
            self.prefix.fold(verdict)
            verdicts.append(verdict)
            for observe in self.observers:
                observe(verdict)
        self.prefix.lanes.setdefault(lane, Lane())
        return verdicts

    async def learn_keys(self, until: int) -> None:
        """Fold every key event up to an index that is stored; Unresolved where nobody who answers holds it yet."""
        async with self._keys_lock:
            if self._keys_read > until:
                return
            newest = await self._newest_key(until) if self.wire.replicated else until
            while self._keys_read <= newest:
                entries = await self._read(self._keys_read, f"{self._keys_lane}.>", known=newest)
                for entry in entries:
                    self.prefix.fold(admit(self.prefix, entry))
                self._keys_read = (entries[-1].index if entries else newest) + 1
            self._keys_read = max(self._keys_read, until + 1)

    async def _newest_key(self, until: int) -> int:
        """Return the index of the newest key event that was not read, -1 for none, from one who holds `until`."""
        newest, reached = await self._horizon(self._keys_lane, self._keys_read, until)
        if reached < until and await self._has_keys():
            raise _behind(reached, until)
        return newest

    async def _horizon(self, lane: str, start: int, until: int) -> tuple[int, int]:
        """Return a lane's newest index from `start` on, -1 for none, and how far who says so holds the log."""
        return await self._held(lambda: self.wire.horizon(self.log, f"{lane}.>", start), lambda told: told[1] >= until)

    async def _has_keys(self) -> bool:
        """Say whether the log was begun with a key event; one that was not has none that count."""
        first = await self._read(0, limit=1, known=0)
        return not first or lane_of(first[0].subject) == self._keys_lane

    # Replicas that are behind

    async def _read(self, start: int, pattern: str = "", limit: int = READ_BATCH, *, known: int = -1) -> list[Entry]:
        """Return what is stored from `start` on; nothing only where what is `known` to be stored ends before.

        Where no pattern chooses, everything that this bus knows of counts as that.
        """
        until = known if pattern else max(known, self.known)
        found = await self._held(
            lambda: self.wire.read(self.log, start, pattern, limit), lambda found: found != [] or until < start
        )
        self.known = max(self.known, found[-1].index if found else -1)
        return found

    async def _held(self, reading: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
        """Repeat a reading while nobody answers it who holds what is known to be stored, for BEHIND_S at most."""
        give_up_s = self.world.elapsed_s() + BEHIND_S
        while True:
            late = self.world.elapsed_s() >= give_up_s
            try:
                found = await reading()
            except NoStream:
                if late or not self.wire.replicated:
                    raise
            except Unanswered:  # whoever asked, or was asked, stood still for a moment
                if late or not self.wire.connected:
                    raise
            else:
                if late or not self.wire.replicated or holds(found):
                    return found
            await self.world.sleep(BEHIND_AGAIN_S)

    def _lock(self, lane: str) -> asyncio.Lock:
        return self._locks.setdefault(lane, asyncio.Lock())


def _behind(reached: int, until: int) -> Unresolved:
    return Unresolved(f"who answers holds the log up to {reached}, not yet up to {until}")
