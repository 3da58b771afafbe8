"""The memory organ (the seed calls it *iris*): what was remembered, found again by what it means.

Its decisions hold the words, their provenance and their vectors, so what Chroma holds is a view: dropped and read from
the log again it is the same row for row. Whatever is told of a row is first held to the entry that says it, because
others may write into Chroma's files. Nothing here makes up a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import msgspec

from organs.memory.chroma import ChromaPassages
from organs.memory.embedder import BusEmbedder, Embedder, GramEmbedder
from organs.memory.folding import READ_AT_ONCE, TRAILS, Changing, apply, differing, is_of, recall, sealed_vector
from organs.memory.plain import PlainPassages
from organs.memory.port import KINDS, Mark, Passages, Row, checked_vector, digest_of
from organs.memory.retention import MORTAL, PASSAGE_ID_BYTES, consolidated, episodes_of, expired, id_of
from shared.constant import constant
from shared.errors import Damaged, Fault, Refusal, Refused
from shared.home import place
from shared.journal import record
from shared.log.entry import Position
from shared.message import Request
from shared.part.organ import AskingLog, Organ
from shared.settings import Settings
from shared.subjects.gates import OutcomeJudged
from shared.subjects.meaning import MeaningRequest
from shared.subjects.memory import (
    BATCH_PASSAGES,
    FORGET_IDS,
    LISTED,
    PASSAGE_BYTES,
    QUERY_BYTES,
    ForgetRequest,
    Forgotten,
    Kept,
    MemoryKind,
    MemoryListed,
    MemoryListRequest,
    MemoryRebuildRequest,
    MemoryReply,
    MemoryRequest,
    MemoryStatus,
    MemoryStatusRequest,
    Passage,
    Recalled,
    Remembered,
    RememberRequest,
)
from shared.subjects.privacy import PersonErased
from shared.subjects.system import Tick
from shared.vault import PersonKeys, people_of, simulated_people
from shared.world import SimWorld, World, now_ms

TENDED_MS = constant(60_000, "ms", "BIZ-15")
SEALED = "sealed"  #: stands for the name of where a passage about a person comes from
RETENTION = "retention"  #: the source of what time took away


class MemoryOrgan(Organ):
    """Remembers, forgets and finds. It needs vectors to remember and to find, and says so where there are none."""

    name: ClassVar[str] = "memory"
    version: ClassVar[str] = "1.0.0"
    rests: ClassVar[bool] = True
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-07")
    asks: ClassVar[tuple[type[Request], ...]] = (MeaningRequest,)

    def __init__(self, world: World, passages: Passages, keys: PersonKeys, embedder: Embedder | None = None) -> None:
        self.world, self.passages, self.keys = world, passages, keys
        self._given = embedder
        self._one_change = asyncio.Lock()  #: a change reads how far memory is, and writes it: one after the other
        self._differs = False  #: whether something was found that is not what the log says
        self._looked = 0  #: outcomes before this index are episodes already
        self._news = True  #: whether there may be outcomes from there on
        self._tended_ms = self._again_ms = 0

    @classmethod
    def build(cls, settings: Settings, world: World) -> MemoryOrgan:
        return cls(world, ChromaPassages(place(settings) / "memory"), people_of(settings, world))

    @classmethod
    def simulate(cls, world: SimWorld) -> MemoryOrgan:
        return cls(world, PlainPassages(), simulated_people(world), GramEmbedder())

    def again(self, world: SimWorld) -> MemoryOrgan:
        return MemoryOrgan(world, self.passages, self.keys, self._given)

    async def open(self, log: AskingLog) -> None:
        """Open what is kept; where it was lost, or is of another log, it is read from the log again."""
        self.log = log
        self.embedder: Embedder = self._given or BusEmbedder(log)
        mark = await self.passages.open()
        if mark.next_index and not await is_of(log, mark):
            record(self.name, "memory_lost", detail="it holds what stands in another log; it is read anew")
            mark = Mark()
        if not mark.next_index:
            await self._read_anew(None)
        self._looked = (await self.passages.mark()).looked

    async def close(self) -> None:
        await self.passages.close()

    # Remembering and forgetting

    async def on_remember(self, asked: RememberRequest) -> list[Remembered | Forgotten]:
        """Decide to remember passages, with what they mean. Refused B003 for one too long, B011 without vectors."""
        for passage in asked.passages:
            _bounded(passage.text, PASSAGE_BYTES, "a passage")
        kept = await self._kept(asked.passages, asked.person)
        first = kept[0].sealed
        source = asked.source if first is None else first.person.hex()
        stay = {one.id for one in kept}
        old = [row.id for row in await self._of(source) if row.id not in stay] if asked.renews else []
        return [Remembered(source, self.embedder.name, tuple(kept), ()), *_forgotten(source, old)]

    async def on_forget(self, asked: ForgetRequest) -> list[Forgotten]:
        """Decide to forget passages. Refused L005 where one is not there; then none is forgotten."""
        with self._noticing():
            found = await self.passages.find(asked.ids)
            await self._hold_to_log(found)
        missing = sorted({*asked.ids} - {row.id for row in found})
        if missing:
            raise Refused(Refusal("L005", f"there is no passage {missing[0]!r}; `nimmerverse memory list` lists them"))
        by_source: dict[str, list[str]] = {}
        for row in found:
            by_source.setdefault(row.source, []).append(row.id)
        return [one for source, ids in sorted(by_source.items()) for one in _forgotten(source, ids)]

    async def on_tick(self, tick: Tick) -> list[Remembered | Forgotten]:
        """Remember outcomes as episodes; once a minute, see what is kept no longer and what has become one.

        Where a difference from the log was found, read that first.
        """
        if self._differs:
            await self._rebuild()
        now = now_ms(self.world)
        if self._news and now >= self._again_ms and (said := await self._outcomes(now)):
            return [said]
        if now < self._tended_ms + TENDED_MS:
            return []
        self._tended_ms = now
        with self._noticing():
            rows = await self.passages.of_kinds(MORTAL)
            if gone := expired(rows, now):
                return [Forgotten(RETENTION, tuple(gone[:FORGET_IDS]), "expired")]
            become = consolidated(rows, now)
            if become is None:
                return []
            await self._hold_to_log([row for row in rows if row.id in become[1]])
            return [_remembered(*become)]

    # What the log says

    async def on_judged(self, judged: OutcomeJudged) -> None:
        """Note that there is an outcome to remember; a tick does, for it needs somebody to say what it means."""
        self._news = True

    async def on_remembered(self, remembered: Remembered, at: Position) -> None:
        """Hold what was remembered."""
        await self._apply(remembered, at)

    async def on_forgotten(self, forgotten: Forgotten, at: Position) -> None:
        """Let go of what was forgotten."""
        await self._apply(forgotten, at)

    async def on_erased(self, erased: PersonErased, at: Position) -> None:
        """Let go of everything about a person, so that no byte of it is left."""
        await self._apply(erased, at)

    # Finding

    async def on_search(self, asked: MemoryRequest) -> list[MemoryReply]:
        """Return the nearest passages, each held to what the log says of it.

        Refused B003 for too long a text, B011 without vectors, L006 where one of them differs.
        """
        _bounded(asked.text, QUERY_BYTES, "a question")
        [vector] = await self._vectors([asked.text])
        with self._noticing():
            found = await self.passages.nearest(vector, asked.limit, asked.kinds)
            await self._hold_to_log([row for row, _ in found])
        near = tuple(recalled(row, ppm) for row, ppm in found if ppm >= asked.least_ppm)
        return [MemoryReply(near, await self.passages.count(), self.embedder.name)]

    async def on_list(self, asked: MemoryListRequest) -> list[MemoryListed]:
        """Return the next passages in the order of their ids. Refused L006 where one is not what the log says."""
        with self._noticing():
            rows = await self.passages.page(asked.after, LISTED, asked.source)
            await self._hold_to_log(rows)
        return [MemoryListed(tuple(recalled(row, 0) for row in rows))]

    async def on_status(self, asked: MemoryStatusRequest) -> list[MemoryStatus]:
        """Say how much is remembered, and with `whole` of which kinds, and the digest. Refused L006."""
        return [await self._status(whole=asked.whole)]

    async def on_rebuild(self, asked: MemoryRebuildRequest) -> list[MemoryStatus]:
        """Read everything from the log again, and say what is remembered then."""
        await self._rebuild()
        return [await self._status(whole=True)]

    # Holding to the log

    async def _hold_to_log(self, rows: Sequence[Row]) -> None:
        """Raise Damaged, with its id, where a row is not what the log says."""
        odd = await differing(rows, self.log, (await self.passages.mark()).next_index)
        if odd:
            raise Damaged(f"passage {odd[0].id} is not what the log says")

    @contextmanager
    def _noticing(self) -> Generator[None]:
        """Refuse what is not as the log says it, and have it read from there again at the next beat."""
        try:
            yield
        except Damaged as damage:
            self._differs = True
            record(self.name, "memory_differs", detail=str(damage))
            again = "memory reads itself from the log again: ask once more in a moment, or `nimmerverse memory rebuild`"
            raise Refused(Refusal("L006", f"{damage}; {again}")) from damage

    async def _rebuild(self) -> None:
        """Read from the log again what was applied of it; what came since then is still to be handed over."""
        async with self._one_change:
            await self._read_anew((await self.passages.mark()).next_index)
        self._differs = False

    async def _read_anew(self, stop: int | None) -> None:
        fresh = PlainPassages()
        await recall(fresh, self.log, self.keys, stop=stop)
        await self.passages.renew(list(fresh.rows.values()), fresh.read)

    # How

    async def _status(self, *, whole: bool) -> MemoryStatus:
        async with self._one_change:  # all of it is said of one moment
            count, mark = await self.passages.count(), await self.passages.mark()
            if not whole:
                return MemoryStatus(count, {}, mark.next_index, "")
            with self._noticing():
                kinds: dict[MemoryKind, int] = {kind: len(await self.passages.of_kinds([kind])) for kind in KINDS}
                return MemoryStatus(count, kinds, mark.next_index, await digest_of(self.passages))

    async def _apply(self, said: Changing, at: Position) -> None:
        async with self._one_change:
            await apply(self.passages, said, at.index, self.keys)

    async def _vectors(self, texts: Sequence[str]) -> list[bytes]:
        return [checked_vector(vector) for vector in await self.embedder.embed(texts)]

    async def _kept(self, passages: Sequence[Passage], person: str = "") -> list[Kept]:
        vectors = await self._vectors([passage.text for passage in passages])
        return [
            await self._sealed(passage, vector, person) if person else _open(passage, vector)
            for passage, vector in zip(passages, vectors, strict=True)
        ]

    async def _sealed(self, passage: Passage, vector: bytes, person: str) -> Kept:
        """Return a passage of which the log sees no word, its file's name neither.

        Its id is drawn at random: by a digest of its words they could be guessed.
        """
        drawn, about = self.world.entropy(PASSAGE_ID_BYTES).hex(), (passage.about_ms, passage.due_ms, 1)
        words, meaning = await self.keys.seal(person, passage.text), await sealed_vector(vector, person, self.keys)
        origin = msgspec.structs.replace(passage.origin, name=SEALED, heading="")
        return Kept(drawn, passage.kind, "", b"", origin, *about, words, meaning)

    async def _of(self, source: str) -> list[Row]:
        found, after = list[Row](), ""
        while rows := await self.passages.page(after, FORGET_IDS, source):
            found, after = [*found, *rows], rows[-1].id
        return found

    async def _outcomes(self, now: int) -> Remembered | None:
        """Return the decision that remembers the next outcomes of the log; None while nobody says what they mean."""
        passages, reached = list[Passage](), self._looked
        for verdict in await self.log.judged(reached, READ_AT_ONCE):
            found = episodes_of(verdict)
            if len(passages) + len(found) > BATCH_PASSAGES:
                break
            passages, reached = [*passages, *found], verdict.entry.index + 1
        try:
            kept = await self._kept(passages)
        except (Refused, Fault) as trouble:
            record(self.name, "memory_waits", detail=str(trouble))
            self._again_ms = now + TENDED_MS
            return None
        self._news, self._looked = reached > self._looked, reached
        if not kept:
            async with self._one_change:
                await self.passages.apply([], [], msgspec.structs.replace(await self.passages.mark(), looked=reached))
            return None
        return Remembered(TRAILS, self.embedder.name, tuple(kept), ())


def recalled(row: Row, similarity_ppm: int) -> Recalled:
    """Return a row as it is told to others."""
    about = (row.source, row.about_ms, row.due_ms, row.heard)
    return Recalled(row.id, row.kind, row.text, row.origin, *about, similarity_ppm, row.sealed)


def _open(passage: Passage, vector: bytes) -> Kept:
    about = (passage.about_ms, passage.due_ms, 1)
    return Kept(id_of(passage), passage.kind, passage.text, vector, passage.origin, *about, None, None)


def _remembered(row: Row, episodes: Sequence[str]) -> Remembered:
    """Return the decision that puts one passage in the place of several episodes."""
    about = (row.about_ms, row.due_ms, row.heard)
    kept = Kept(row.id, row.kind, row.text, row.vector, row.origin, *about, None, None)
    return Remembered(row.source, row.embedder, (kept,), tuple(episodes))


def _forgotten(source: str, ids: Sequence[str]) -> list[Forgotten]:
    return [Forgotten(source, tuple(ids[at : at + FORGET_IDS]), "asked") for at in range(0, len(ids), FORGET_IDS)]


def _bounded(text: str, most: int, what: str) -> None:
    found = len(text.encode())
    if found > most:
        raise Refused(Refusal("B003", f"{what} of {found} bytes, at most {most} may be"))
