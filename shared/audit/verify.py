"""The auditor: reads one log in order and says what is wrong with it, and where.

Four questions, each answered by itself: is every entry what the checkpoint commits to (integrity), is none missing
(completeness), how old is the word for it (freshness), and is the signer the trusted one (trust). Entries that are void
are named besides: they are in the log, they were refused, and take no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shared.audit.judges import WORTH_IT, Case, Judges, counted, judge
from shared.audit.report import Bad, Report
from shared.audit.source import BadLeaf, Source, Stored, read_leaf
from shared.codec import decode
from shared.envelope import Prefix, Verdict, read
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Exit, LogFault, NoStream, Refused
from shared.log.checkpoint import Checkpoint, SignedCheckpoint, log_keys, open_checkpoint, origin_of
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
    verify_consistency,
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


async def verify(source: Source, options: Options | None = None) -> Report:
    """Read the whole source and return what was found; no bad input makes it raise."""
    wanted = options or Options()
    audit = _Audit(source, wanted)
    try:
        await audit.read()
        await audit.hear_judges()
    finally:
        if audit.judges is not None:
            await audit.judges.close()
    audit.conclude()
    if wanted.skip_signatures_below and not audit.proven_before():
        return await verify(source, replace(wanted, skip_signatures_below=0))
    return audit.report


async def verify_chosen(source: Source, indices: Sequence[int], options: Options | None = None) -> Report:
    """Check chosen entries of a log by their leaves (`leaf/<index>`) and the tiles above them; nothing between is seen.

    Each is in the signed tree, its signatures hold, its keys were entitled to it. Entries of the key lane are folded.
    """
    audit = _Audit(source, replace(options or Options(), mode="signatures"))
    audit.report.mode = "signatures"
    audit.report.unasked |= {"completeness": "these are chosen entries"}
    audit.report.limits = "the entries between these, a later key event, the lanes' chains: this is a partial bundle"
    audit.read_chosen(indices)
    audit.conclude()
    return audit.report


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


class _Audit:
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
            self.losses.append((e, _claim(e.old_checkpoint.encode())))
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

    # Concluding

    def proven_before(self) -> bool:
        """Say whether the entries whose signatures were skipped are those under a checkpoint that was kept."""
        skipped = self.options.skip_signatures_below
        kept = (claim for current, claim in self.claims if not current and claim.size == skipped)
        return any(self.roots.get(skipped) == claim.root for claim in kept)

    def conclude(self) -> None:
        """Compare what was read with what was signed, and answer the four questions."""
        report, book = self.report, self.prefix.keys if self.prefix is not None else None
        report.fingerprint = (book.fingerprint if book else "") or ""
        report.keys = [
            {
                "key_id": key.key_id,
                "public": key.public.hex(),
                "part": key.part,
                "owner": key.owner,
                "first": key.first,
                "last": key.last,
            }
            for key in (book.keys.values() if book else ())
        ]
        for current, claim in self.claims:
            self._fits(claim, current=current)
        for loss, old in self.losses if not self.chosen else ():
            self._follows(loss, old)
        if self.newest is None and not report.entries:
            report.completeness.object(Exit.INCOMPLETE, "there is nothing: no entry and no checkpoint")
        elif self.newest is None:
            report.completeness.object(Exit.INCOMPLETE, "no checkpoint says how long the log is")
        if not report.fingerprint:
            report.completeness.object(Exit.INCOMPLETE, "the log has no genesis")
        self._fresh()
        self._trusted()

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

    def _fits(self, claim: Checkpoint, *, current: bool) -> None:
        """Hold one checkpoint against what was read: its signature, its name, its size, its root."""
        report = self.report
        if not report.entries and claim.size and report.first_bad is None:
            report.gone(0, claim.size - 1, f"a checkpoint commits to {claim.size} entries")
        if current and self.differs is not None and self.tiles_hold:  # whoever signed these tiles
            self._wrong_root(claim, current=True)
        signed = self._signed(claim, current=current)
        if signed and not self.chosen and (current or not self._lost(claim)):
            self._holds(claim, current=current)

    def _holds(self, claim: Checkpoint, *, current: bool) -> None:
        """Hold the size and root of a checkpoint against what was read."""
        report = self.report
        if report.entries < claim.size:
            report.gone(report.entries, claim.size - 1, f"a checkpoint commits to {claim.size} entries")
        elif self.roots[claim.size] != claim.root:
            self._wrong_root(claim, current=current)
        elif current and self.tiles is not None:
            denied = [index for index in (self.differs, self.inner.differs) if index is not None]
            if denied or not self.tiles_hold:
                report.tampered(self._bad(min(denied, default=0), "the entries are as signed, the tiles are not"))

    def _tell(self, claim: Checkpoint, signed: SignedCheckpoint) -> None:
        """Report what the newest checkpoint says of itself."""
        report = self.report
        report.origin, report.signed, report.signed_at_s = claim.origin, claim.size, signed.time_s
        report.witnesses, report.note = [key.name for key in signed.witnesses], str(signed.note)
        report.root = claim.root.hex() if self.chosen else self.roots.get(claim.size, b"").hex()
        if len(signed.witnesses) < self.options.quorum:
            why = f"{len(signed.witnesses)} witnesses cosigned, {self.options.quorum} are wanted"
            report.trust.object(Exit.WRONG_SIGNER, why)

    def _wrong_root(self, claim: Checkpoint, *, current: bool) -> None:
        if not current and self._agrees_with_newest():
            report_at, code = claim.size, Exit.FORKED
            why = f"two checkpoints of {claim.origin} contradict each other at {claim.size} entries"
        else:
            report_at, code = self._first_suspect(claim.size), Exit.TAMPERED
            why = "it is not the entry that was signed"
            if self.differs is None:
                why = f"the first {claim.size} entries have another root than was signed; no tile says which is changed"
        self.report.tampered(self._bad(report_at, why), code)

    def _bad(self, index: int, why: str) -> Bad:
        """Return a finding about an entry, with its name where it was read."""
        entry = self.suspect if self.suspect is not None and self.suspect.index == index else None
        return Bad(index, 0, index + 1, entry.subject if entry else "", _id_of(entry), why)

    def _agrees_with_newest(self) -> bool:
        return self.newest is not None and self.roots.get(self.newest.size) == self.newest.root

    def _first_suspect(self, size: int) -> int:
        """Return the first entry that may be the changed one: by the tiles, its own refusal, or what still fits."""
        void = next((bad.index for bad in self.report.void), size)
        good = [c.size for _, c in self.claims if self.roots.get(c.size) == c.root]
        return self.differs if self.differs is not None else min(void, max(good, default=0))

    def _signed(self, claim: Checkpoint, *, current: bool) -> bool:
        """Say whether one of the log's own keys signed a checkpoint; the objection, where none did."""
        if self.prefix is None or self.prefix.keys.fingerprint is None:
            return False
        try:
            signed, key = self._opened(self.notes[id(claim)], claim)
        except _OtherLog as other:
            self.report.integrity.object(Exit.MIXED, str(other))
            return False
        except BadNote as bad:
            why = f"the checkpoint over {claim.size} entries does not count: {bad}"
            self.report.integrity.object(Exit.WRONG_SIGNER, why)
            return False
        if current:
            self.report.log_key = key
            self._tell(claim, signed)
        return True

    def _opened(self, raw: bytes, claim: Checkpoint) -> tuple[SignedCheckpoint, str]:
        """Return a checkpoint as one of the log's own keys signed it, and that key; BadNote where none did."""
        assert self.prefix is not None
        book, env = self.prefix.keys, self.prefix.env
        fingerprint = book.fingerprint or ""
        if claim.origin not in {origin_of(env, fingerprint, e) for e in range(1, len(book.epochs) + 2)}:
            raise _OtherLog(f"the checkpoint is of {claim.origin}, the entries of {origin_of(env, fingerprint, 1)}")
        trouble = f"the log knows no key that may sign {claim.size} entries"
        ends = (loss.first_missing for loss, _ in self.losses if loss.epoch > _epoch_of(claim))
        for key in book.log_keys_at(min([claim.size, *ends])):  # what ended it later stands in what was lost, or after
            try:
                opened = open_checkpoint(raw, key.public, claim.origin, self.options.witnesses)
            except BadNote as bad:
                trouble = str(bad)
            else:
                return opened, str(log_keys(claim.origin, key.public)[0])
        raise BadNote(trouble)

    def _lost(self, claim: Checkpoint) -> bool:
        """Say whether the last of an earlier epoch's entries are gone, and what is; the checkpoint commits to them."""
        for loss, old in self.losses:
            if loss.epoch <= _epoch_of(claim) or loss.first_missing >= claim.size:
                continue
            why = f"epoch {loss.epoch} names {loss.first_missing} to {loss.last_missing} as lost ({loss.reason})"
            if old != claim:
                why += "; that the entries before are the same, this checkpoint cannot show"
            if old is not None and (old.origin, old.size) == (claim.origin, claim.size) and old.root != claim.root:
                why = f"two checkpoints of {claim.origin} contradict each other at {claim.size} entries"
                self.report.tampered(self._bad(loss.first_missing, why), Exit.FORKED)
            self.report.lost(loss.first_missing, claim.size - 1, why)
            return True
        return False

    def _follows(self, loss: EpochStarted, old: Checkpoint | None) -> None:
        """Hold an epoch to the checkpoint it names: the log's own, of an earlier epoch, over the entries before it."""
        first, why = loss.first_missing, ""
        if not loss.old_checkpoint:  # none had been signed
            return
        if old is None:
            why = "that is no checkpoint"
        elif old.size > loss.last_missing + 1 or _epoch_of(old) >= loss.epoch:
            why = f"that is of {old.origin}, over {old.size} entries"
        else:
            here, there = (first, self.roots[first]), (old.size, old.root)
            (small, small_root), (large, large_root) = sorted((here, there), key=lambda one: one[0])
            try:
                self._opened(loss.old_checkpoint.encode(), old)
                verify_consistency(small, large, loss.proof, small_root, large_root)
            except (BadNote, BadProof) as bad:
                why = str(bad)
        if why:
            why = f"epoch {loss.epoch} does not go on from the checkpoint that it names: {why}"
            lane = self.prefix.keys_lane if self.prefix else ""
            self.report.tampered(Bad(first, 0, first + 1, f"{lane}.epoch", "", why))

    def _fresh(self) -> None:
        report, now_s = self.report, self.options.now_s
        if now_s is None:
            return
        latest = now_s + CLOCK_SKEW_MS // 1000
        if report.signed_at_s is not None and report.signed_at_s > latest:
            report.freshness.object(Exit.FUTURE, f"the checkpoint was signed {report.signed_at_s - now_s} s from now")
        if report.newest_ms is not None and report.newest_ms // 1000 > latest:
            report.freshness.object(
                Exit.FUTURE, f"the last entry was stored {report.newest_ms // 1000 - now_s} s from now"
            )
        age_s = None if report.signed_at_s is None else now_s - report.signed_at_s
        if self.options.max_age_s is not None and (age_s is None or age_s > self.options.max_age_s):
            told = "its age is unknown" if age_s is None else f"it is {age_s} s old"
            report.freshness.object(
                Exit.STALE, f"{told}; a checkpoint of the last {self.options.max_age_s} s is wanted"
            )

    def _trusted(self) -> None:
        trust, found = self.options.trust, self.report.fingerprint
        if trust is None:
            why = (
                "nobody said which genesis to trust; compare its fingerprint with one you have from elsewhere (--trust)"
            )
            self.report.trust.object(Exit.UNKNOWN_SIGNER, why)
        elif trust != found:
            self.report.trust.object(Exit.WRONG_SIGNER, f"the genesis is {found or 'missing'}, you trust {trust}")

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


class _OtherLog(BadNote):
    """A checkpoint of another log than the entries."""


def _claim(note: bytes) -> Checkpoint | None:
    """Return what a note says, signed or not; None where it is no checkpoint."""
    try:
        return Checkpoint.parse(Note.parse(note).text)
    except BadNote:
        return None


def _epoch_of(claim: Checkpoint) -> int:
    """Return the epoch that a checkpoint's origin names."""
    return int(claim.origin.rpartition("/")[2]) if claim.origin.count("/") > 2 else 1  # noqa: PLR2004 - env, log, epoch


def _id_of(entry: Entry | None) -> str:
    """Return the id that an entry's envelope says it has, proven or not."""
    try:
        return read(entry.raw).attributes.id if entry is not None else ""
    except Refused:
        return ""
