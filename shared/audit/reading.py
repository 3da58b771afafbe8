"""The auditor's pass: every entry of a source in order, judged, hashed and compared with the log's own tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.audit.judges import WORTH_IT, Case, Judges, counted, judge
from shared.audit.report import Bad, Report
from shared.audit.source import BadLeaf, Source, Stored, read_leaf
from shared.codec import decode
from shared.envelope import Prefix, Verdict
from shared.errors import Exit, LogFault, NoStream
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.note import BadNote, Note, NoteKey
from shared.log.store import NoTiles
from shared.log.tiles import HEIGHT, WIDTH, Tiles, TileStore, TileWriter
from shared.log.tree import (
    HASH_BYTES,
    BadProof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    verify_inclusion,
)
from shared.message import lookup
from shared.subjects.keys import EpochStarted

Mode = Literal["links", "signatures", "full"]


@dataclass(frozen=True)
class Options:
    """What an auditor wants to know, and what it knows already."""

    trust: str | None = None  #: the fingerprint of the genesis it trusts, from elsewhere
    mode: Mode = "full"  #: links: order, tree and checkpoint; signatures: and each envelope alone; full: admission
    against: tuple[bytes, ...] = ()  #: checkpoints it kept from earlier: the log must go on from each
    now_s: int | None = None  #: its clock, POSIX seconds; None judges no age
    max_age_s: int | None = None  #: how old the checkpoint may be
    witnesses: tuple[NoteKey, ...] = ()
    quorum: int = 0  #: how many of the witnesses must have cosigned
    known_void: frozenset[int] = frozenset()  #: void entries it knows of already
    skip_signatures_below: int = 0  #: entries it has proven before, under one of `against`; they count if it holds
    jobs: int = 1  #: on how many cores entries are judged
    progress: Callable[[int, int], None] = lambda _done, _all: None
    take: Callable[[Verdict], None] | None = None  #: hears every judged entry, in order; then one core judges


class _Compared(NoTiles):
    """Takes the full tiles of the tree that is read, and finds the first inner hash that the log's own tiles deny."""

    def __init__(self, store: TileStore | None) -> None:
        self.store = store
        self.differs: int | None = None  #: the first entry under that hash

    def put(self, path: str, data: bytes) -> None:
        level = path.split("/")[1]
        known = self.store.get(path) if self.store is not None and level not in ("entries", "0") else None
        if known is None or known == data or self.differs is not None:
            return
        number = int("".join(c for c in path.removeprefix(f"tile/{level}/") if c.isdigit()))
        same = (known[i : i + HASH_BYTES] == data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES))
        place = next((place for place, one in enumerate(same) if not one), 0)
        self.differs = (number * WIDTH + place) << (HEIGHT * int(level))


class Reading:
    """One pass over one log."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.options = source, options
        self.report = Report(source.name, options.mode, unasked=_unasked(options))
        self.prefix: Prefix | None = None
        self.inner = _Compared(source.tiles)
        self.tree = TileWriter(self.inner)
        self.claims = self._claims()  #: every checkpoint that this log must fit, the newest last
        self.roots: dict[int, bytes] = {}  #: of the entries as they are read, at each claim's size
        self.wanted = sorted({claim.size for _, claim in self.claims})
        self.newest = next((claim for current, claim in reversed(self.claims) if current), None)
        self.tiles = Tiles(source.tiles, self.newest.size) if source.tiles is not None and self.newest else None
        self.tiles_hold = self._tiles_hold()
        self.chosen = False  #: only chosen entries are read, so no root can be made of them
        self.differs: int | None = None  #: the first entry whose leaf is not the one in the tiles
        self.suspect: Entry | None = None  #: that entry
        self.judges: Judges | None = None  #: other processes, where they are worth it
        self.losses: list[tuple[EpochStarted, Checkpoint | None]] = []  #: that the log names, and by which checkpoint

    # Reading

    async def read(self) -> None:
        """Judge every entry until the end, or until one is missing or out of place."""
        expected = 0
        try:
            async for batch in self.source.batches():
                for place, stored in enumerate(batch):
                    if stored.entry.index != expected + place:
                        await self._take(batch[:place], expected)
                        self._out_of_place(stored.entry, expected + place)
                        return
                await self._take(batch, expected)
                expected += len(batch)
                self.options.progress(expected, self.newest.size if self.newest else 0)
        except BadLeaf as bad:
            self.report.tampered(Bad(bad.index, 0, bad.index + 1, "", "", f"R005 MALFORMED: {bad}"))
        except (LogFault, NoStream) as gone:
            expected = self.report.entries
            self.report.gone(expected, max(expected, (self.newest.size if self.newest else 1) - 1), str(gone))

    async def hear_judges(self) -> None:
        """Take in what other processes found."""
        if self.judges is not None:
            await self.judges.done()
            self._count(self.judges.events, self.judges.bad)
            self.report.in_order()

    async def _judges(self, env: str) -> Judges | None:
        """Return other processes where so many are asked for, the log is long enough, and nobody hears each verdict."""
        size = self.newest.size if self.newest is not None else 0
        if self.options.jobs < 2 or size < WORTH_IT or self.options.take is not None:  # noqa: PLR2004 - one is this one
            return None
        case = Case(env, self.options.mode == "full", self.options.skip_signatures_below)
        return await Judges.start(case, self.options.jobs)

    def read_chosen(self, indices: Sequence[int]) -> None:
        """Judge these entries alone, until one of them is not in the tree."""
        self.chosen = True
        for index in indices if self.newest is not None else ():
            try:
                stored = self._proven_leaf(index)
            except BadLeaf as bad:
                self.report.tampered(Bad(index, 0, index + 1, "", "", f"R005 MALFORMED: {bad}"))
                return
            except BadProof as bad:
                self.report.tampered(Bad(index, 0, index + 1, "", "", str(bad)), Exit.BAD_PROOF)
                return
            except LogFault as gone:
                self.report.gone(index, index, str(gone))
                return
            if self.prefix is None:
                self.prefix = Prefix(stored.entry.subject.partition(".")[0], recalls=False)
            self._judge(stored)
            self.report.entries += 1
            self.report.newest_ms = stored.entry.time_ns // 1_000_000

    def _proven_leaf(self, index: int) -> Stored:
        """Return the entry of an enclosed leaf that leads to the newest checkpoint's root."""
        assert self.newest is not None
        assert self.tiles is not None
        leaf = self.tiles.store.get(f"leaf/{index}")
        if leaf is None:
            raise LogFault(f"leaf/{index} is missing")
        path = inclusion_proof(self.tiles.node, index, self.newest.size)
        verify_inclusion(index, self.newest.size, leaf_hash(leaf), path, self.newest.root)
        return read_leaf(index, leaf)

    async def _take(self, batch: list[Stored], start: int) -> None:
        if not batch:
            return
        if self.prefix is None:
            self.prefix = Prefix(batch[0].entry.subject.partition(".")[0], recalls=False)
            self.judges = await self._judges(self.prefix.env)
        leaves = [stored.leaf for stored in batch]
        self._compare(leaf_hashes(leaves), start)
        if self.differs is not None and self.suspect is None:
            self.suspect = batch[self.differs - start].entry
        ends = {size for size in self.wanted if start < size <= start + len(leaves)}
        ends |= {s.entry.index for s in batch if s.entry.index and lookup(s.entry.subject) is EpochStarted}
        for size in sorted(ends):
            self.tree.extend(leaves[self.tree.size - start : size - start])
            self.roots[size] = self.tree.root()
        self.tree.extend(leaves[self.tree.size - start :])
        whole = self.differs is None or not self.tiles_hold
        await self._judge_all(batch if whole else [s for s in batch if s.entry.index < (self.differs or 0)])
        self.report.entries += len(batch)
        self.report.newest_ms = batch[-1].entry.time_ns // 1_000_000

    def _judge(self, stored: Stored) -> None:
        """Judge an entry here: one of the key lane, or every one where this core judges alone."""
        prefix, entry = self.prefix, stored.entry
        assert prefix is not None
        of_keys = entry.subject.startswith(prefix.keys_lane)
        if self.options.mode == "links" and not of_keys:
            return
        chained = of_keys or self.options.mode == "full"
        verdict = judge(prefix, stored, chained=chained, signatures_from=self.options.skip_signatures_below)
        self._count(*counted(verdict))
        if of_keys and lookup(entry.subject) is EpochStarted:
            self._epoch(verdict)
        if self.options.take is not None:
            self.options.take(verdict)

    def _count(self, events: int, void: Sequence[Bad]) -> None:
        self.report.events += events
        for bad in void:
            if bad.index not in self.options.known_void:
                self.report.refused(bad)

    async def _judge_all(self, batch: list[Stored]) -> None:
        """Judge a batch: the key lane here and first, the rest on as many cores as are asked for."""
        assert self.prefix is not None
        if self.judges is None:
            for stored in batch:
                self._judge(stored)
            return
        lane = self.prefix.keys_lane
        of_keys = [stored for stored in batch if stored.entry.subject.startswith(lane)]
        for stored in of_keys:
            self._judge(stored)
        if self.options.mode != "links":
            await self.judges.give(of_keys, [s for s in batch if not s.entry.subject.startswith(lane)])

    def _epoch(self, verdict: Verdict) -> None:
        for _, event in verdict.admitted():
            e = decode(EpochStarted, bytes(event.data))
            self.losses.append((e, claim_in(e.old_checkpoint.encode())))
            missing = {"first_missing": e.first_missing, "last_missing": e.last_missing, "reason": e.reason}
            self.report.epochs.append({"epoch": e.epoch, "index": verdict.entry.index, **missing})

    def _compare(self, hashes: list[bytes], start: int) -> None:
        """Find the first entry that is not the one in the tiles."""
        if self.tiles is None or self.differs is not None or start >= self.tiles.size:
            return
        end = min(start + len(hashes), self.tiles.size)
        try:
            known = self.tiles.leaf_hashes(start, end)
        except LogFault:
            return  # tiles that are missing prove nothing; the root decides
        for place, (here, there) in enumerate(zip(hashes, known, strict=False)):
            if here != there:
                self.differs = start + place
                return

    def _out_of_place(self, entry: Entry, expected: int) -> None:
        if entry.index > expected:
            self.report.gone(expected, entry.index - 1, f"the next readable entry is {entry.index}")
        else:
            found = f"entry {entry.index} came where {expected} belongs"
            self.report.tampered(Bad(entry.index, 0, entry.index + 1, entry.subject, "", found))

    def _claims(self) -> list[tuple[bool, Checkpoint]]:
        """Return every checkpoint the log must fit: those kept apart first, its own newest last (True)."""
        raws = [(False, raw) for raw in (*self.options.against, *self.source.remembered())]
        own = self.source.checkpoint()
        raws += [(True, own)] if own is not None else []
        found: list[tuple[bool, Checkpoint]] = []
        self.notes: dict[int, bytes] = {}
        for current, raw in raws:
            try:
                claim = Checkpoint.parse(Note.parse(raw).text)
            except BadNote as bad:
                self.report.integrity.object(Exit.TAMPERED, f"a checkpoint cannot be read: {bad}")
                continue
            found.append((current, claim))
            self.notes[id(claim)] = raw
        return found

    def _tiles_hold(self) -> bool:
        """Say whether every tile leads to the root of the newest checkpoint; else they say nothing about an entry."""
        if self.tiles is None or self.newest is None:
            return False
        try:
            return self.tiles.lead_to(self.newest.root)
        except LogFault:
            return False


def _unasked(options: Options) -> dict[str, str]:
    """Return the questions that such an audit does not put."""
    unasked = {} if options.max_age_s is not None else {"freshness": "how old it may be was not said (--max-age)"}
    if options.mode == "links":
        unasked["admission"] = "of links alone no signature is checked"
    return unasked


def claim_in(note: bytes) -> Checkpoint | None:
    """Return what a note says, signed or not; None where it is no checkpoint."""
    try:
        return Checkpoint.parse(Note.parse(note).text)
    except BadNote:
        return None
