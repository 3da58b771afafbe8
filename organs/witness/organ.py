"""The witness as an organ: cosigns over HTTP, and compares what the bus shows with what it was shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from organs.witness.memory import FolderMemory, MemoryMemory, WitnessMemory
from organs.witness.service import LOOPBACK, serve
from organs.witness.witness import Fork, Witness
from shared.constant import constant
from shared.errors import StorageFault
from shared.home import place
from shared.journal import record
from shared.keys import Signer
from shared.log.note import NoteKey
from shared.log.witness import note_keys
from shared.part.organ import Organ, OwnLog, own_key
from shared.settings import Settings
from shared.subjects.log import Checkpointed, ForkSeen
from shared.subjects.system import Tick
from shared.world import SimWorld, World

PART = "witness"


def name_of(signer: Signer) -> str:
    """Return the name a witness cosigns under where none was chosen."""
    return f"nimmerverse-witness/{signer.key_id[:16]}"


def memory_of(settings: Settings) -> FolderMemory:
    """Return where a witness keeps what it cosigned."""
    return FolderMemory(place(settings) / PART)


class WitnessOrgan(Organ):
    """Trusts the logs it was configured for, cosigns with a key of its own, and says so when one shows two faces."""

    name: ClassVar[str] = PART
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(10_000, "micro-lifeforce", "NIM-10")
    holds_key: ClassVar[bool] = True

    def __init__(self, memory: WitnessMemory, world: World, logs: tuple[NoteKey, ...], port: int | None = None) -> None:
        self.memory, self.world, self.logs, self.port = memory, world, logs, port
        self.url = ""  #: where it answers, empty while it does not
        self._close: Callable[[], None] = _nothing

    @classmethod
    def build(cls, settings: Settings, world: World) -> WitnessOrgan:
        logs = note_keys(settings.witness_logs, "witness_logs")
        return cls(memory_of(settings), world, logs, settings.witness_port or 0)

    @classmethod
    def simulate(cls, world: SimWorld) -> WitnessOrgan:
        return cls(MemoryMemory(), world, ())

    def again(self, world: SimWorld) -> WitnessOrgan:
        return WitnessOrgan(self.memory, world, self.logs, self.port)

    async def open(self, log: OwnLog) -> None:
        signer = own_key(log)
        self.witness = Witness(name_of(signer), signer, self.logs, self.memory, self._now_s)
        if self.port is not None:
            self.url, self._close = serve(self.witness, LOOPBACK, self.port)
            record(self.name, "witness_listens", url=self.url, key=str(self.witness.key))

    async def close(self) -> None:
        self._close()
        self._close = _nothing

    async def on_checkpointed(self, signal: Checkpointed) -> list[ForkSeen]:
        """Compare a checkpoint of the bus with those seen before."""
        fork = self.witness.hear(signal.note)
        return [_told(fork)] if fork is not None else []

    async def on_tick(self, tick: Tick) -> list[ForkSeen]:
        """Say which forks were shown over HTTP since the last beat; what earlier ones said has left by now."""
        try:
            self.witness.remember_told()
        except StorageFault as fault:
            record(self.name, "witness_stuck", detail=str(fault))
        told: list[ForkSeen] = []
        while self.witness.forks:  # threads of the service may add to it meanwhile
            told.append(_told(self.witness.forks.pop(0)))
        return told

    def _now_s(self) -> int:
        return self.world.now_ns() // 1_000_000_000


def _told(fork: Fork) -> ForkSeen:
    record(PART, "fork_seen", origin=fork.origin, size=fork.size)
    return ForkSeen(fork.origin, fork.size, fork.first, fork.second)


def _nothing() -> None:
    """Nothing is open."""
