"""The simulated adapters: models, devices and workers that follow from the seed, for the simulation alone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from organs.organd.leases import Lasting
from organs.organd.ports import (
    FENCE_S,
    BadRequest,
    Completion,
    Device,
    Facts,
    Held,
    Lease,
    LoadFailed,
    NoSuchModel,
    Piece,
    Vectors,
    WorkerDied,
)
from organs.organd.registry import full_name
from shared.constant import constant
from shared.world import SimWorld

SIM_LOAD_S = constant(0.2, "s", "NIM-16")
SIM_TOKEN_S = constant(0.01, "s", "NIM-16")
SIM_CONTEXT = constant(256, "tokens", "NIM-16")
SIM_WIDTH = constant(8, "numbers", "NIM-16")
GIGABYTE = 1_000_000_000
_SIZE = 100_000_000  #: more than the slack that a release is allowed
_CUT = 16


class SimModels:
    """Some models by name, and one that embeds."""

    def __init__(self, *names: str, embeds: str = "embed") -> None:
        self.held = {full_name(name): self._made(full_name(name), embeds=False) for name in names}
        self.held[full_name(embeds)] = self._made(full_name(embeds), embeds=True)

    def names(self) -> list[str]:
        return sorted(self.held)

    async def look(self, name: str) -> Held:
        found = self.held.get(full_name(name))
        if found is None:
            raise NoSuchModel(f"model '{name}' not found")
        return found

    async def checked(self, name: str) -> Held:
        return await self.look(name)

    def _made(self, name: str, *, embeds: bool) -> Held:
        facts = Facts("simulated", SIM_CONTEXT, SIM_WIDTH, 1_000, "F32", embeds, "{{ messages }}")
        digest = hashlib.sha256(name.encode()).hexdigest()
        return Held(name, Path(name), digest, _SIZE, 0, facts)


class SimDevices:
    """Some cards of a gigabyte each; what a worker held is free a moment after it ended."""

    def __init__(self, world: SimWorld, cards: int = 1, release_s: float = 0.2) -> None:
        self.world, self.release_s = world, release_s
        self.cards = tuple(Device(f"card-{n}", "gpu", GIGABYTE) for n in range(cards))
        self.others = 0  #: bytes of each card that somebody else holds
        self._held: dict[int, tuple[Device, int]] = {}
        self._ended_s: dict[int, float] = {}

    def all(self) -> tuple[Device, ...]:
        return self.cards

    def free_bytes(self, device: Device) -> int:
        held = [size for pid, (where, size) in self._held.items() if where == device and not self.gone(pid)]
        return device.total_bytes - sum(held) - self.others

    def gone(self, pid: int) -> bool:
        ended_s = self._ended_s.get(pid)
        return ended_s is not None and self.world.elapsed_s() >= ended_s + self.release_s

    def hold(self, device: Device, size: int) -> int:
        """Have a new process hold memory of a device; return its number."""
        pid = len(self._held) + 1
        self._held[pid] = (device, size)
        return pid

    def end(self, pid: int) -> None:
        """Begin to release what a process holds."""
        self._ended_s[pid] = self.world.elapsed_s()


class SimLeases:
    """Leases among those who share this object."""

    def __init__(self) -> None:
        self.tokens = 0
        self.held = set[Device]()

    async def take(self, device: Device) -> SimLease | None:
        if device in self.held:
            return None
        self.held.add(device)
        self.tokens += 1
        return SimLease(self, device)


class SimLease(Lasting):
    """A lease."""

    def __init__(self, leases: SimLeases, device: Device) -> None:
        self.token = leases.tokens
        self._leases, self._device = leases, device

    async def let_go(self) -> None:
        self._leases.held.discard(self._device)


class SimEngine:
    """Loads in a fifth of a second of simulated time; fails so often first, and may miss the card it was to use."""

    def __init__(self, world: SimWorld, devices: SimDevices, fails: int = 0, *, misses: bool = False) -> None:
        self.world, self.devices, self.fails, self.misses = world, devices, fails, misses
        self.workers: list[SimWorker] = []

    async def start(self, model: Held, device: Device, lease: Lease) -> SimWorker:
        await self.world.sleep(SIM_LOAD_S)
        if lease.ended:
            raise LoadFailed(f"its process ended ({lease.ended})")
        if self.fails:
            self.fails -= 1
            raise LoadFailed("as the seed wants it")
        pid = self.devices.hold(device, 0 if self.misses else model.size)
        self.workers.append(SimWorker(pid, model, self.world, self.devices, lease))
        return self.workers[-1]


class SimWorker:
    """Says what follows from what it was asked; ends by itself a little after its lease, as a real one's guard does."""

    def __init__(self, pid: int, model: Held, world: SimWorld, devices: SimDevices, lease: Lease) -> None:
        self.pid, self.context = pid, model.facts.context
        self.model, self.world, self.devices = model, world, devices
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._guard: asyncio.TimerHandle | None = None
        if lease.until_s is not None:
            self._extend(lease.until_s)
            lease.renewed(self._extend)

    async def complete(self, asked: Completion) -> AsyncGenerator[Piece]:
        prompt = asked.prompt if asked.prompt is not None else " ".join(turn["content"] for turn in asked.messages)
        tokens = len(prompt) // 4 + 1
        if tokens > self.context:
            raise BadRequest(f"request ({tokens} tokens) exceeds the available context size ({self.context} tokens)")
        whole = "{}" if asked.schema is not None else hashlib.sha256(prompt.encode()).hexdigest()[:8]
        for letter in whole:
            await self.world.sleep(SIM_TOKEN_S)
            self._living()
            yield Piece(letter)
        yield Piece("", "stop", tokens, len(whole), 0, round(len(whole) * SIM_TOKEN_S * 1e9))

    async def embed(self, texts: Sequence[str], *, truncate: bool) -> Vectors:
        await self.world.sleep(SIM_TOKEN_S)
        self._living()
        if not truncate and any(len(text) > _CUT * self.context for text in texts):
            raise BadRequest("input is too large to process")
        rows = [hashlib.sha256(text.encode()).digest()[:SIM_WIDTH] for text in texts]
        lengths = [sum(number * number for number in row) ** 0.5 or 1.0 for row in rows]
        vectors = [[number / length for number in row] for row, length in zip(rows, lengths, strict=True)]
        return Vectors(vectors, len(msgspec.json.encode(list(texts))))

    async def ended(self) -> str:
        return await asyncio.shield(self._end)

    async def end(self) -> None:
        self.kill("its process ended (killed by SIGKILL)")

    def kill(self, how: str) -> None:
        """End as a process does that is killed from outside."""
        if not self._end.done():
            self._end.set_result(how)
            self.devices.end(self.pid)
        if self._guard is not None:
            self._guard.cancel()

    def _extend(self, until_s: float) -> None:
        if self._guard is not None:
            self._guard.cancel()
        if not self._end.done():
            left_s = until_s + FENCE_S - self.world.elapsed_s()
            self._guard = asyncio.get_running_loop().call_later(left_s, self.kill, "its lease ended")

    def memory_bytes(self) -> int:
        return self.model.size

    def _living(self) -> None:
        if self._end.done():
            raise WorkerDied("the model's process ended while it was asked")
