"""The auditor: reads one log in order and says what is wrong with it, and where.

Four questions, each answered by itself: is every entry what the checkpoint commits to (integrity), is none missing
(completeness), how old is the word for it (freshness), and is the signer the trusted one (trust). Entries that are void
are named besides: they are in the log, they were refused, and take no effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.audit.reading import Options, Reading
from shared.audit.report import Bad, Report
from shared.audit.source import Source
from shared.envelope import read
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Exit, Refused
from shared.log.checkpoint import Checkpoint, SignedCheckpoint, epoch_of, log_keys, open_checkpoint, origin_of
from shared.log.entry import Entry
from shared.log.note import BadNote
from shared.log.tree import (
    BadProof,
    verify_consistency,
)
from shared.subjects.keys import EpochStarted


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


class _Audit(Reading):
    """One pass over one log, and what is to be said of it."""

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
        epoch = self._epoch_of(claim)
        if epoch is None or epoch > len(book.epochs) + 1:
            ours = origin_of(env, book.fingerprint or "", 1)
            raise _OtherLog(f"the checkpoint is of {claim.origin}, the entries of {ours}")
        trouble = f"the log knows no key that may sign {claim.size} entries"
        ends = (loss.first_missing for loss, _ in self.losses if loss.epoch > epoch)
        for key in book.log_keys_at(min([claim.size, *ends])):  # what ended it later stands in what was lost, or after
            try:
                opened = open_checkpoint(raw, key.public, claim.origin, self.options.witnesses)
            except BadNote as bad:
                trouble = str(bad)
            else:
                return opened, str(log_keys(claim.origin, key.public)[0])
        raise BadNote(trouble)

    def _epoch_of(self, claim: Checkpoint) -> int | None:
        """Return the epoch of this log that a checkpoint names; None where it names another log."""
        assert self.prefix is not None
        return epoch_of(claim.origin, self.prefix.env, self.prefix.keys.fingerprint or "")

    def _lost(self, claim: Checkpoint) -> bool:
        """Say whether the last of an earlier epoch's entries are gone, and what is; the checkpoint commits to them."""
        for loss, old in self.losses:
            if loss.epoch <= (self._epoch_of(claim) or 0) or loss.first_missing >= claim.size:
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
        elif old.size > loss.last_missing + 1 or (self._epoch_of(old) or loss.epoch) >= loss.epoch:
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


class _OtherLog(BadNote):
    """A checkpoint of another log than the entries."""


def _id_of(entry: Entry | None) -> str:
    """Return the id that an entry's envelope says it has, proven or not."""
    try:
        return read(entry.raw).attributes.id if entry is not None else ""
    except Refused:
        return ""
