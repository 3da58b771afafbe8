"""The supervisor: which models are loaded, where, for whom and until when.

Whoever wants to use a model stands in one line: one load at a time, and nobody is overtaken while a place is being
made. In the line at most 512 wait. A worker answers one request at a time, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, UnsetType

from organs.organd import lifecycle
from organs.organd.leases import NoLease, first_of, given_up, while_leased
from organs.organd.lifecycle import Life, State
from organs.organd.ports import (
    Device,
    Devices,
    Engine,
    Held,
    Lease,
    LeaseLost,
    Leases,
    LoadFailed,
    Models,
    NoRoom,
    NoSuchModel,
    QueueFull,
    Worker,
    WorkerDied,
)
from shared.constant import constant
from shared.errors import Fault
from shared.world import World, now_ms

WAITING = constant(512, "requests", "NIM-16")
RELEASE_S = constant(10.0, "s", "NIM-16")
RELEASE_SLACK_BYTES = constant(67_108_864, "bytes", "NIM-16")  # what a driver keeps for itself
RELEASE_LOOK_S = constant(0.05, "s", "NIM-16")


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of one model."""

    model: str
    number: int  #: counts from 1, over all models
    state: State
    before: State
    reason: str
    device: str
    pid: int
    token: int


@dataclass(slots=True)
class Slot:
    """One model as the supervisor knows it; only the supervisor changes it."""

    name: str
    life: Life = field(default_factory=Life)
    held: Held | None = None
    worker: Worker | None = None
    device: Device | None = None
    lease: Lease | None = None
    pid: int = 0  #: of its present worker, until its release is verified
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  #: of its present worker
    free_before: int = 0  #: bytes of its device, before it was loaded there
    used: int = 0  #: a count of uses over all models: the least is the longest unused
    timer: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class InUse:
    """A loaded model in the hands of one user."""

    held: Held
    worker: Worker
    load_ns: int  #: how long its user waited for it to be loaded


class Supervisor:
    """Loads models when they are needed, and makes sure that their memory comes back."""

    def __init__(self, models: Models, devices: Devices, engine: Engine, leases: Leases, world: World) -> None:
        self.models, self.devices, self.engine, self.leases, self.world = models, devices, engine, leases, world
        self.told: Callable[[Change], None] = lambda _: None  #: hears every transition
        self.slots: dict[str, Slot] = {}
        self._line = asyncio.Lock()
        self._waiting = self._uses = self._steps = 0
        self._changed = asyncio.Event()
        self._aside: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def use(self, name: str, keep_ms: int | UnsetType | None = UNSET) -> AsyncGenerator[InUse]:
        """A loaded model, for one user alone until he leaves; loaded first where it is not.

        `keep_ms` says how long it stays after its last use from now on, None for ever. Raises NoSuchModel, QueueFull,
        NoRoom, LoadFailed, Damaged.
        """
        started_s = self.world.elapsed_s()
        slot, worker, turn, load_s = await self._queued(name, started_s)
        lease, answered = slot.lease, False
        assert lease is not None
        try:
            if lease.ended:
                raise LeaseLost(f"model '{name}' left its device: {lease.ended}")
            if not isinstance(keep_ms, UnsetType):
                slot.life = lifecycle.keep(slot.life, keep_ms, self._now())
            assert slot.held is not None
            yield InUse(slot.held, worker, round(load_s * 1e9))
            answered = True
        except WorkerDied:
            await worker.end()  # a process that broke off is trusted no more
            while slot.worker is worker:
                await self._change()
            if lease.ended:
                raise LeaseLost(f"model '{name}' left its device while it was asked: {lease.ended}") from None
            raise
        finally:
            turn.release()
            self._give(slot, worker, answered=answered)

    async def unload(self, name: str) -> None:
        """Unload a model now, or after its last present use. Raises NoSuchModel."""
        slot = self.slots.get((await self.models.look(name)).name)
        if slot is None or slot.life.state not in lifecycle.LOADED:
            return
        slot.life = lifecycle.keep(slot.life, 0, self._now())
        if slot.life.state == "idle":
            await self._apart(self._unload(slot))

    def loaded(self) -> list[Slot]:
        """Return the loaded models, the last used first."""
        return sorted(
            (slot for slot in self.slots.values() if slot.life.state in lifecycle.LOADED), key=lambda s: -s.used
        )

    async def close(self) -> None:
        """End every worker; nothing of ours is left when this returns."""
        for slot in self.slots.values():
            worker = slot.worker
            if worker is not None:
                self._disarm(slot)
                slot.worker = None
                self._step(slot, lifecycle.stop(slot.life))
                await worker.end()
                self._step(slot, lifecycle.ended(slot.life))
                await self._release(slot, worker.pid)
        while self._aside:
            await asyncio.gather(*self._aside, return_exceptions=True)

    # The line

    async def _queued(self, name: str, started_s: float) -> tuple[Slot, Worker, asyncio.Lock, float]:
        """Return a model's slot and worker, once it is this user's turn; and how long it took to load it."""
        if self._waiting >= WAITING:
            raise QueueFull(f"{WAITING} requests wait already; try again later")
        self._waiting += 1
        try:
            while True:
                slot, worker, fresh = await self._take(name)
                load_s = self.world.elapsed_s() - started_s if fresh else 0.0
                turn = slot.turn
                try:
                    await turn.acquire()
                except asyncio.CancelledError:
                    self._give(slot, worker, answered=False)
                    raise
                if slot.worker is worker:
                    return slot, worker, turn, load_s
                turn.release()  # it died while others used it; it is loaded anew
        finally:
            self._waiting -= 1

    async def _take(self, name: str) -> tuple[Slot, Worker, bool]:
        """Become a user of a model; say whether it was loaded for this."""
        async with self._line:
            while True:
                held = await self._known(name)
                slot = self.slots.setdefault(held.name, Slot(held.name))
                if slot.life.state == "unconfigured":
                    self._step(slot, lifecycle.configure(slot.life))
                if slot.life.state in lifecycle.LOADED and slot.held == held:
                    assert slot.worker is not None
                    self._disarm(slot)
                    self._step(slot, lifecycle.take(slot.life))
                    break
                if slot.life.state == "idle":  # its file was replaced
                    await self._apart(self._unload(slot))
                elif slot.life.state in lifecycle.OCCUPYING:
                    await self._change()
                else:
                    await self._load(slot, held)
                    slot.used = self._used()
                    assert slot.worker is not None
                    return slot, slot.worker, True
            slot.used = self._used()
            return slot, slot.worker, False

    async def _known(self, name: str) -> Held:
        try:
            return await self.models.look(name)
        except NoSuchModel:
            for slot in self.slots.values():
                if slot.life.state in ("cold", "failed") and slot.name not in self.models.names():
                    self._step(slot, lifecycle.forget(slot.life))
            raise

    async def _load(self, slot: Slot, held: Held) -> None:
        wait_ms = slot.life.waits_ms(self._now())
        if wait_ms:
            raise LoadFailed(f"model '{slot.name}' failed ({slot.life.reason}); it is tried again in {wait_ms} ms")
        held = await self.models.checked(held.name)
        slot.device, slot.lease = await self._place(held)
        slot.free_before = self.devices.free_bytes(slot.device)
        slot.held, slot.turn = held, asyncio.Lock()
        self._step(slot, lifecycle.load(slot.life, self._now()))
        start = asyncio.get_running_loop().create_task(self.engine.start(held, slot.device, slot.lease))
        try:
            worker = await while_leased(slot.lease, start)
            self._on_its_card(slot, held)
        except Fault as fault:
            self._step(slot, lifecycle.died(slot.life, str(fault)))
            await self._apart(self._give_up(slot, start))
            raise LoadFailed(f"model '{slot.name}' could not be loaded: {fault}") from fault
        except BaseException:
            self._step(slot, lifecycle.unload(slot.life))
            await self._apart(self._give_up(slot, start))
            raise
        slot.worker, slot.pid = worker, worker.pid
        self._step(slot, lifecycle.loaded(slot.life))
        self._begin(self._watch(slot, worker))

    def _on_its_card(self, slot: Slot, held: Held) -> None:
        """Refuse a model that was to be on a card and is not: nothing falls back to the processor silently."""
        assert slot.device is not None
        taken = slot.free_before - self.devices.free_bytes(slot.device)
        if slot.device.kind == "gpu" and taken < held.size // 2:
            raise LoadFailed(f"it was to be loaded on {slot.device.id}, and took {taken} bytes of {held.size} there")

    async def _give_up(self, slot: Slot, start: asyncio.Task[Worker]) -> None:
        """End what was begun to load a model, and see that its memory is back."""
        pid = 0
        try:
            pid = await given_up(start)
        finally:
            if slot.life.state == "unloading":
                self._step(slot, lifecycle.ended(slot.life))
            await self._release(slot, pid)

    async def _place(self, held: Held) -> tuple[Device, Lease]:
        """Return a device with room and its lease; idle models make room, the longest unused first. Raises NoRoom."""
        while True:
            found, why = await self._free_place(held)
            if found is not None:
                return found
            idle = [slot for slot in self.slots.values() if slot.life.state == "idle"]
            if idle:
                await self._apart(self._unload(min(idle, key=lambda slot: slot.used)))
            elif any(slot.life.state in lifecycle.OCCUPYING for slot in self.slots.values()):
                await self._change()
            else:
                raise NoRoom(f"model '{held.name}' has no place: {why}")

    async def _free_place(self, held: Held) -> tuple[tuple[Device, Lease] | None, str]:
        """Return a device with room now, or why there is none."""
        why = list[str]()
        for device in self.devices.all():
            there = [s for s in self.slots.values() if s.device == device and s.life.state in lifecycle.OCCUPYING]
            if len(there) >= device.slots:
                why.append(f"{device.id} is full")
                continue
            if short := self._short(device, held):
                why.append(short)
                continue
            try:
                lease = await self.leases.take(device) if device.leased else NoLease()
            except Fault as fault:
                why.append(f"nobody says who holds the lease of {device.id} ({fault})")
                continue
            if lease is None:
                why.append(f"another process holds the lease of {device.id}")
            elif short := self._short(device, held):  # whoever held it was frozen, and is not gone yet
                await self._apart(lease.let_go())
                why.append(short)
            else:
                return (device, lease), ""
        return None, "; ".join(why)

    def _short(self, device: Device, held: Held) -> str:
        """Return what a device lacks for a model now; empty where it has room."""
        free = self.devices.free_bytes(device)
        return "" if held.size <= free else f"{device.id} has {free} bytes free, {held.size} are needed"

    # Leaving

    def _give(self, slot: Slot, worker: Worker, *, answered: bool) -> None:
        if slot.worker is worker:
            self._step(slot, lifecycle.give(slot.life, self._now(), answered=answered))
            if slot.life.state == "idle":
                self._disarm(slot)
                slot.timer = asyncio.get_running_loop().create_task(self._expire(slot))

    async def _expire(self, slot: Slot) -> None:
        """Unload an idle model when its time is over."""
        while slot.life.state == "idle" and slot.life.until_ms is not None:
            if lifecycle.expired(slot.life, self._now()):
                slot.timer = None
                await self._apart(self._unload(slot))
                return
            await self.world.sleep(max(1, slot.life.until_ms - self._now()) / 1000)

    async def _unload(self, slot: Slot) -> None:
        """Unload an idle model, and see that its memory is back."""
        worker = slot.worker
        if worker is None or slot.life.state != "idle":
            return
        slot.worker = None
        self._disarm(slot)
        self._step(slot, lifecycle.unload(slot.life))
        await worker.end()
        self._step(slot, lifecycle.ended(slot.life))
        await self._release(slot, worker.pid)

    async def _watch(self, slot: Slot, worker: Worker) -> None:
        """Notice that a process ended by itself, or that its lease is lost."""
        assert slot.lease is not None
        reason = await first_of(worker.ended(), slot.lease.lost())
        if slot.worker is worker:
            slot.worker = None
            self._disarm(slot)
            self._step(slot, lifecycle.died(slot.life, reason))
            await worker.end()
            await self._release(slot, worker.pid)

    async def _release(self, slot: Slot, pid: int) -> None:
        """Wait until a device holds nothing of a process any more, then let go of its lease."""
        assert slot.device is not None
        assert slot.lease is not None
        deadline_s = self.world.elapsed_s() + RELEASE_S
        while not (back := self._back(slot, slot.device, pid)) and self.world.elapsed_s() < deadline_s:
            await self.world.sleep(RELEASE_LOOK_S)
        await slot.lease.let_go()
        late = f"the memory of {slot.device.id} is not back {RELEASE_S:g} s after process {pid} was ended"
        now = self._now()
        self._step(slot, lifecycle.verified(slot.life, now) if back else lifecycle.held(slot.life, now, late))
        slot.lease = slot.device = None
        slot.pid = 0

    def _back(self, slot: Slot, device: Device, pid: int) -> bool:
        """Say whether a process is gone and, on a card that is still ours, whether its memory is free again."""
        assert slot.lease is not None
        ours = device.kind == "gpu" and not slot.lease.ended  # else what is missing may be the next holder's
        short = slot.free_before - self.devices.free_bytes(device) if ours else 0
        return (pid == 0 or self.devices.gone(pid)) and short <= RELEASE_SLACK_BYTES

    # Bookkeeping

    def _step(self, slot: Slot, life: Life) -> None:
        before, slot.life = slot.life.state, life
        if life.state != before:
            device = slot.device.id if slot.device else ""
            token = slot.lease.token if slot.lease else 0
            self._steps += 1
            self.told(Change(slot.name, self._steps, life.state, before, life.reason, device, slot.pid, token))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        """Wait until anything changes."""
        await self._changed.wait()

    def _disarm(self, slot: Slot) -> None:
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return task

    async def _apart(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something to its end, also if whoever waits for it leaves."""
        await asyncio.shield(self._begin(work))

    def _used(self) -> int:
        self._uses += 1
        return self._uses

    def _now(self) -> int:
        return now_ms(self.world)
