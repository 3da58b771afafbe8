"""The notary as an organ: at every beat it reads what is new; it signs every 1,000 leaves or 10 s, and at its end."""

from __future__ import annotations

from typing import ClassVar

from organs.notary.notary import Inconsistent, Notary
from organs.notary.ports import FolderShelf, MemoryShelf, Shelf
from shared.config import Settings
from shared.constant import constant
from shared.envelope import leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.errors import KeyFault, Refusal, Refused
from shared.journal import record
from shared.keys import RemoteSigner
from shared.log.checkpoint import Checkpoint
from shared.log.store import NoTiles
from shared.log.tiles import TileWriter
from shared.part.organ import Organ, OwnLog
from shared.subjects.log import Checkpointed, NotaryRefused, Proof, ProofRequest
from shared.subjects.system import Tick
from shared.world import SimWorld, World

SIGN_LEAVES = constant(1_000, "leaves", "X-04")
SIGN_S = constant(10.0, "s", "X-04")


class NotaryOrgan(Organ):
    """Keeps the tree of the log and signs it with this part's own key, which signs nothing else.

    It needs no durable consumer: its tree says how far it has read, and the log is read from there.
    """

    name: ClassVar[str] = NOTARY_PART
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(100_000, "micro-lifeforce", "NIM-10")
    holds_key: ClassVar[bool] = True

    def __init__(self, shelf: Shelf, world: World) -> None:
        self.shelf, self.world = shelf, world
        self.trouble = ""  #: why nothing is signed, empty while all is well
        self._signed_at_s = world.elapsed_s()

    @classmethod
    def build(cls, settings: Settings, world: World) -> NotaryOrgan:
        return cls(FolderShelf.of(settings), world)

    @classmethod
    def simulate(cls, world: SimWorld) -> NotaryOrgan:
        return cls(MemoryShelf(), world)

    def again(self, world: SimWorld) -> NotaryOrgan:
        return NotaryOrgan(self.shelf, world)

    async def open(self, log: OwnLog) -> None:
        """Go on after the last checkpoint; Inconsistent if the log does not hold what it commits to."""
        self.log = log
        (signer,) = log.signers
        if isinstance(signer, RemoteSigner):
            raise KeyFault(
                "the notary's key signs checkpoints, which the signing proxy does not: keep it here, or on a token"
            )
        try:
            self.notary = Notary(self.shelf, signer, log.env)
        except Inconsistent:
            await self._make_tiles_again()
            self.notary = Notary(self.shelf, signer, log.env)
        await self._check_end()

    async def close(self) -> None:
        """Sign what is left, so that a drained log is signed whole."""
        await self._read()
        await self._sign()

    async def on_tick(self, tick: Tick) -> list[Checkpointed | NotaryRefused]:
        """Read what is new and sign when it is time; refuse, and say so, where the log contradicts what was signed."""
        try:
            await self._check_end()
            said = await self._read()
            if self.world.elapsed_s() - self._signed_at_s >= SIGN_S:
                said += await self._sign()
        except Inconsistent as finding:
            return self._refuse(str(finding))
        self.trouble = ""
        return list(said)

    async def on_proof(self, request: ProofRequest) -> Proof | Refusal:
        """Return the proof file of one entry under the last checkpoint."""
        try:
            return Proof(request.index, str(self.notary.prove(request.index)))
        except Refused as no:
            return no.refusal

    async def _read(self) -> list[Checkpointed]:
        """Take every new entry; sign whenever enough have come."""
        said: list[Checkpointed] = []
        while entries := await self.log.entries(self.notary.size):
            self.notary.take(entries)
            if self.notary.pending >= SIGN_LEAVES:
                said += await self._sign()
        return said

    async def _sign(self) -> list[Checkpointed]:
        if not self.notary.pending:
            return []
        newest = await self.log.newest()  # a later epoch forbids signing what came before it once more
        book = await self.log.keys_until(self.notary.size - 1 if newest is None else newest.index)
        signed = self.notary.sign(book, self.world.now_ns() // 1_000_000_000)
        if signed is None:
            return []
        self._signed_at_s = self.world.elapsed_s()
        return [Checkpointed(signed.origin, signed.size, signed.root, self.notary.note)]

    async def _check_end(self) -> None:
        """Hold that the log still ends at or after the last leaf, with the entry that leaf was made of."""
        if not self.notary.size:
            return
        newest = await self.log.newest()
        if newest is None or newest.index < self.notary.size - 1:
            there = 0 if newest is None else newest.index + 1
            raise Inconsistent(f"the log has {there} entries, {self.notary.size} were read: its tail is gone")
        last = newest if newest.index == self.notary.size - 1 else (await self.log.entries(self.notary.size - 1))[0]
        self.notary.check_last(last)

    async def _make_tiles_again(self) -> None:
        """Make lost or damaged tiles from the log, after holding that it has the root that was signed."""
        note = self.shelf.recall()
        assert note is not None, "only what was signed can be lost"
        signed = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
        if await self._write_tiles(TileWriter(NoTiles()), signed.size) != signed.root:
            raise Inconsistent(f"neither the tiles nor the log have the root that was signed at {signed.size} entries")
        await self._write_tiles(TileWriter(self.shelf.tiles), signed.size)
        record(self.name, "tiles_made_again", size=signed.size)

    async def _write_tiles(self, writer: TileWriter, size: int) -> bytes:
        while writer.size < size:
            entries = (await self.log.entries(writer.size))[: size - writer.size]
            if not entries or [entry.index for entry in entries] != list(
                range(writer.size, writer.size + len(entries))
            ):
                raise Inconsistent(f"entry {writer.size} or one soon after is missing, {size} entries were signed")
            writer.extend([leaf_of(entry) for entry in entries])
        writer.seal()
        return writer.root()

    def _refuse(self, reason: str) -> list[Checkpointed | NotaryRefused]:
        """Say once what is wrong; until it is right again nothing is signed."""
        if reason == self.trouble:
            return []
        self.trouble = reason
        record(self.name, "log_inconsistent", detail=reason)
        return [NotaryRefused(self.notary.signed.size if self.notary.signed else 0, reason)]
