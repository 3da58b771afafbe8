"""The notary as an organ: at every beat it reads what is new; it signs every 1,000 leaves or 10 s, and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from organs.notary.cosigners import Cosigners
from organs.notary.notary import Inconsistent, Notary, TilesLost, last_signed, remembered
from organs.notary.ports import FolderShelf, MemoryShelf, Shelf
from organs.notary.witnesses import HttpPost
from shared.constant import constant
from shared.envelope import KeyBook, leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.errors import KeyFault, LogFault, Refusal, Refused, StorageFault
from shared.journal import record
from shared.keys import LocalSigner, Signer
from shared.keys.mldsa import MlDsaSigner
from shared.log.checkpoint import Checkpoint, log_keys
from shared.log.entry import Entry
from shared.log.note import NoteKey
from shared.log.store import NoTiles
from shared.log.subtree import SecondSigner, second_key
from shared.log.tiles import TileWriter
from shared.log.witness import note_keys
from shared.part.organ import Organ, OwnLog, own_key
from shared.settings import Settings
from shared.subjects.log import Checkpointed, NotaryRefused, Proof, ProofRequest
from shared.subjects.system import Tick
from shared.world import SimWorld, World

SIGN_LEAVES = constant(1_000, "leaves", "X-04")
SIGN_S = constant(10.0, "s", "X-04")
ASKED_S = constant(1.0, "s", "X-12")


Beside = Callable[[Signer], SecondSigner]  #: the signer whose key belongs to the notary's own


class NotaryOrgan(Organ):
    """Keeps the tree of the log and signs it with this part's own key, which signs nothing else.

    It needs no durable consumer: its tree says how far it has read, and the log is read from there.
    """

    name: ClassVar[str] = NOTARY_PART
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(100_000, "micro-lifeforce", "NIM-10")
    holds_key: ClassVar[bool] = True

    def __init__(
        self, shelf: Shelf, world: World, cosigners: Cosigners | None = None, beside: Beside | None = None
    ) -> None:
        self.shelf, self.world, self.cosigners, self.beside = shelf, world, cosigners, beside
        self.trouble = ""  #: why nothing is signed, empty while all is well
        self._holds = self._opened = False
        self._unsaid: list[Checkpointed | NotaryRefused] = []  #: what a refused request could not carry
        self._signed_at_s = world.elapsed_s()
        self._patrolled, self._patrolled_at_s = 0, -SIGN_S  #: the next entry to compare, and when one was
        self._asked: Checkpoint | None = None  #: the last one witnesses were asked about, and when
        self._asked_at_s = self._signed_at_s
        self._asking: asyncio.Task[None] | None = None
        self._told: NoteKey | None = None  #: the key that the journal names
        self._complete = False  #: every witness cosigned the last one

    @classmethod
    def build(cls, settings: Settings, world: World) -> NotaryOrgan:
        keys = note_keys(settings.witnesses, "witnesses")
        urls = (settings.witness_urls or "").split(",")
        cosigners = Cosigners(HttpPost(), urls, keys) if urls != [""] else None
        beside = _ml_dsa_44 if settings.second_signature == "ml-dsa-44" else None
        return cls(FolderShelf.of(settings), world, cosigners, beside)

    @classmethod
    def simulate(cls, world: SimWorld) -> NotaryOrgan:
        return cls(MemoryShelf(), world)

    def again(self, world: SimWorld) -> NotaryOrgan:
        return NotaryOrgan(self.shelf, world, self.cosigners, self.beside)

    async def open(self, log: OwnLog) -> None:
        """Go on after the last checkpoint; Inconsistent if the log does not hold what it commits to."""
        self.shelf.hold()
        self._holds = True
        self.log = log
        signer = own_key(log)
        second = self.beside(signer) if self.beside else None
        book = await self._keys()
        last = last_signed(self.shelf, signer.public, book)
        if last is not None:
            await self._hold_published(last[0])
        try:
            self.notary = Notary(self.shelf, signer, log.env, book, second)
        except TilesLost:
            assert last is not None, "only what was signed can be lost"
            await self._make_tiles_again(last[0])
            self.notary = Notary(self.shelf, signer, log.env, book, second)
        await self._check_end()
        self._opened = True

    async def close(self) -> None:
        """Sign what is left, so that a drained log is signed whole; nothing where it contradicts what was signed."""
        try:
            if self._opened:
                await self._end()
        finally:
            if self._holds:
                self.shelf.release()
                self._holds = False

    async def _end(self) -> None:
        try:
            await self._mend()
            await self._check_end()
            await self._patrol()
            await self._read()
            await self._sign()
        except Inconsistent as finding:
            self._refuse(str(finding))
        finally:
            if self._asking is not None:
                self._asking.cancel()
        if self.cosigners is not None and self.notary.signed is not None and not self.trouble:
            await self._cosign(self.cosigners, self.notary.signed)

    async def on_tick(self, tick: Tick) -> list[Checkpointed | NotaryRefused]:
        """Read what is new and sign when it is time; refuse, and say so, where the log contradicts what was signed."""
        try:
            await self._mend()
            await self._check_end()
            await self._patrol()
            said = await self._read()
            if self.trouble or self.world.elapsed_s() - self._signed_at_s >= SIGN_S:
                said += await self._sign()
            self.notary.settle()
        except Inconsistent as finding:
            return self._with_unsaid(self._refuse(str(finding)))
        self.trouble = ""
        self._ask_witnesses()
        return self._with_unsaid(said)

    async def on_proof(self, request: ProofRequest) -> list[Proof | Checkpointed | NotaryRefused] | Refusal:
        """Return the proof file of one entry under the last checkpoint; what nobody signed yet is signed for it."""
        said = await self._sign_for(request.index)
        try:
            try:
                proof = self.notary.prove(request.index)
            except LogFault:  # the tiles were damaged since the start
                await self._make_tiles_again(self.notary.signed)
                proof = self.notary.prove(request.index)
            return [*said, Proof(request.index, str(proof))]
        except Refused as no:
            self._unsaid += said
            if not self.trouble:
                return no.refusal
            return Refusal(no.refusal.code, f"{no.refusal.detail}, and nothing more is signed: {self.trouble}")

    async def _sign_for(self, index: int) -> list[Checkpointed | NotaryRefused]:
        """Sign now, although it is not time, because somebody wants the proof of an entry; at most once a second."""
        signed = 0 if self.notary.signed is None else self.notary.signed.size
        if index < signed or self.world.elapsed_s() - self._signed_at_s < ASKED_S:
            return []
        try:
            await self._mend()
            await self._check_end()
            said = await self._read()
            return [*said, *(await self._sign() if index < self.notary.size else [])]
        except Inconsistent as finding:
            return self._refuse(str(finding))

    async def _read(self) -> list[Checkpointed]:
        """Take every new entry; sign whenever enough have come."""
        said: list[Checkpointed] = []
        while entries := await self._next():
            self.notary.take(entries)
            if self.notary.pending >= SIGN_LEAVES:
                said += await self._sign()
        return said

    async def _next(self) -> list[Entry]:
        """Return the entries after the last leaf, read together with its own: what follows another is not taken."""
        size = self.notary.size
        found = await self.log.entries(max(size - 1, 0), size - 1)
        if not size:
            return found
        if not found or found[0].index != size - 1:
            raise Inconsistent(f"entry {size - 1} was read before and cannot be read any more")
        self.notary.check_last(found[0])
        return found[1:]

    async def _sign(self) -> list[Checkpointed]:
        if not self.notary.pending:
            return []
        newest = await self.log.newest()  # a later epoch forbids signing what came before it once more
        book = await self.log.keys_until(self.notary.size - 1 if newest is None else newest.index)
        signed = self.notary.sign(book, self.world.now_ns() // 1_000_000_000)
        if signed is None:
            return []
        self._signed_at_s = self.world.elapsed_s()
        key, _ = log_keys(signed.origin, self.notary.signer.public)
        if key != self._told:
            second = self.notary.second
            told = "" if second is None else str(second_key(signed.origin, second.public))
            record(self.name, "notary_signs", key=str(key), second=told)
            self._told = key
        return [Checkpointed(signed.origin, signed.size, signed.root, self.notary.note)]

    async def _check_end(self) -> None:
        """Hold that the log still ends at or after the last leaf, with the entry that leaf was made of."""
        if not self.notary.size:
            return
        end = self.notary.size - 1
        newest = await self.log.newest(end)
        if newest is None or newest.index < end:
            there = 0 if newest is None else newest.index + 1
            raise Inconsistent(f"the log has {there} entries, {self.notary.size} were read: its tail is gone")
        found = [newest] if newest.index == end else await self.log.entries(end, end)
        if not found:
            raise Inconsistent(f"entry {end} was read before and cannot be read any more")
        self.notary.check_last(found[0])

    async def _patrol(self) -> None:
        """Read some signed entries again, round and round, and compare them with the tiles."""
        if self.notary.signed is None or self.world.elapsed_s() - self._patrolled_at_s < SIGN_S:
            return
        found = await self.log.entries(self._patrolled)
        self._patrolled = self.notary.compare(self._patrolled, found)
        self._patrolled_at_s = self.world.elapsed_s()  # only now: what contradicts is looked at again at the next beat

    async def _keys(self) -> KeyBook:
        """Return the keys that the log knows by now."""
        newest = await self.log.newest()
        return KeyBook() if newest is None else await self.log.keys_until(newest.index)

    async def _hold_published(self, last: Checkpoint) -> None:
        """Hold that the log leads to a checkpoint that the memory does not hold, before it becomes the memory."""
        noted = remembered(self.shelf)
        if noted == last:
            return
        writer = TileWriter(NoTiles())
        for known in (last,) if noted is None else (noted, last):
            if await self._write_tiles(writer, known.size) != known.root:
                raise Inconsistent(
                    f"the log does not have the root that was signed at {known.size} entries, and what is published "
                    f"({last.size} entries) is more than the notary remembers: it is not this log's"
                )

    async def _mend(self) -> None:
        """Take up a broken append, and look at some tiles; those that are damaged are made again from the log."""
        try:
            self.notary.scrub()
            self.notary.mend()
        except TilesLost:
            await self._make_tiles_again(self.notary.signed)
            self.notary.mend()

    async def _make_tiles_again(self, signed: Checkpoint | None) -> None:
        """Make lost or damaged tiles from the log, after holding that it has the root that was signed."""
        assert signed is not None, "only what was signed can be lost"
        if await self._write_tiles(TileWriter(NoTiles()), signed.size) != signed.root:
            raise Inconsistent(f"neither the tiles nor the log have the root that was signed at {signed.size} entries")
        await self._write_tiles(TileWriter(self.shelf.tiles), signed.size)
        record(self.name, "tiles_made_again", size=signed.size)

    async def _write_tiles(self, writer: TileWriter, size: int) -> bytes:
        while writer.size < size:
            entries = (await self.log.entries(writer.size, size - 1))[: size - writer.size]
            if not entries or [entry.index for entry in entries] != list(
                range(writer.size, writer.size + len(entries))
            ):
                raise Inconsistent(f"entry {writer.size} or one soon after is missing, {size} entries were signed")
            writer.extend([leaf_of(entry) for entry in entries])
        writer.seal()
        return writer.root()

    def _refuse(self, reason: str) -> list[Checkpointed | NotaryRefused]:
        """Say once what is wrong; until it is right again nothing is signed."""
        said, self.trouble = bool(self.trouble), reason
        if said:
            return []
        record(self.name, "log_inconsistent", detail=reason)
        return [NotaryRefused(self.notary.signed.size if self.notary.signed else 0, reason)]

    def _with_unsaid(self, said: Sequence[Checkpointed | NotaryRefused]) -> list[Checkpointed | NotaryRefused]:
        """Return what is to be said, behind what a refused request could not carry."""
        whole, self._unsaid = [*self._unsaid, *said], []
        return whole

    def _ask_witnesses(self) -> None:
        """Begin to ask for cosignatures of the last checkpoint, beside the organ's work; later again."""
        signed, now_s = self.notary.signed, self.world.elapsed_s()
        if self.cosigners is None or signed is None or (self._asking is not None and not self._asking.done()):
            return
        if signed == self._asked and (self._complete or now_s - self._asked_at_s < SIGN_S):
            return
        self._asked, self._asked_at_s, self._complete = signed, now_s, False
        self._asking = asyncio.get_running_loop().create_task(self._cosign(self.cosigners, signed))

    async def _cosign(self, cosigners: Cosigners, signed: Checkpoint) -> None:
        lines = await cosigners.ask(self.notary.note, signed, self.notary.prove_growth)
        self._complete = len(lines) >= len(cosigners.urls)
        try:
            self.notary.add_lines(signed, lines)
        except (StorageFault, Inconsistent) as fault:  # the checkpoint stands without them
            record(self.name, "witness_failed", url="", detail=str(fault))


def _ml_dsa_44(signer: Signer) -> SecondSigner:
    """Return the ML-DSA-44 signer beside a key of the keyring. Raises KeyFault for a key that is not there."""
    if not isinstance(signer, LocalSigner):
        raise KeyFault("the second signature follows from the notary's key, which has to be in the keyring for that")
    return MlDsaSigner.beside(signer)
