"""Leases over the bus, so that no two organds take one device, whosever and wherever they are (NIM-16).

    take     compare-and-set on the device's key: the revision of this write is the fencing token
    renew    every RENEW_S, compare-and-set on the own revision
    end      HOLD_S after the last write that was acknowledged was *sent*; the worker's own guard ends it FENCE_S later
    expiry   LEASE_TTL_S after the last write, by the bus; what is left by then was time to see the memory back

The bus says who may use a device. The local lease beside it, a file that the worker inherits, is a second guard within
its reach: whoever does not get it does not ask the bus, and whoever holds it knows that no earlier holder of the same
file is left, and need not wait for the end of that one's lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from organs.organd.ports import Device, Lease, Leases
from shared.bus import Bucket
from shared.bus.wire import Moved
from shared.constant import constant
from shared.errors import Fault, Refused, Unreachable, Unresolved
from shared.message import encode_token
from shared.world import World, now_ms, within

RENEW_S = constant(5.0, "s", "NIM-16")
RENEW_AGAIN_S = constant(1.0, "s", "NIM-16")  # after a renewal that was not acknowledged
RENEW_CALL_S = constant(2.0, "s", "NIM-16")
HOLD_S = constant(18.0, "s", "NIM-16")
LEASE_LOOKS = constant(50, "readings", "NIM-16")
LEASE_LOOK_S = constant(0.02, "s", "NIM-16")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a lease is kept; the bucket's own time to live is longer by what it takes to see the memory back."""

    renew_s: float = RENEW_S
    again_s: float = RENEW_AGAIN_S
    call_s: float = RENEW_CALL_S
    hold_s: float = HOLD_S


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lease, for whoever reads the bucket by hand; `boot` is new at every start."""

    host: str
    user: int
    pid: int
    boot: str
    lock: str = ""  #: the local lease that it holds beside this one
    since_ms: int = 0


def holder_of(site: str, world: World) -> Holder:
    """Return who this process is."""
    return Holder(site, os.getuid(), os.getpid(), world.boot)


class BusLeases:
    """Leases of one process on the bus, each beside a local one."""

    def __init__(self, local: Leases, bucket: Bucket, world: World, holder: Holder, terms: Terms | None = None) -> None:
        self.local, self.bucket, self.world, self.holder = local, bucket, world, holder
        self.terms = terms or Terms()

    async def take(self, device: Device) -> BusLease | None:
        """Return the lease of a device, None while another process holds it. Raises Unreachable where nobody says."""
        local = await self.local.take(device)
        if local is None:
            return None
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(local.let_go)
            lease = await self._take(device, local)
            if lease is not None:
                undo.pop_all()
            return lease

    async def _take(self, device: Device, local: Lease) -> BusLease | None:
        key, known = self._key(device), await self.bucket.get(self._key(device))
        if known.data and not self._is_over(known.data, local):
            return None
        mine = msgspec.structs.replace(self.holder, lock=local.lock, since_ms=now_ms(self.world))
        claim, sent_s = msgspec.json.encode(mine), self.world.elapsed_s()
        try:
            token = await self.bucket.put(key, claim, known.revision, self.terms.call_s)
        except Refused:
            return None  # another was faster
        except Unresolved:
            found = await self.bucket.get(key)
            if found.data != claim:  # where it is stored later after all, this process finds it there, and it ends
                raise Unreachable("the bus did not say whether it was taken") from None
            token = found.revision
        return BusLease(self, key, claim, token, local, sent_s + self.terms.hold_s)

    def _key(self, device: Device) -> str:
        """Return a device's key: a card's own name is one of a kind, whatever its host is called there."""
        own = encode_token(device.id)
        return own if device.kind == "gpu" else f"{encode_token(self.holder.host)}.{own}"

    def _is_over(self, data: bytes, local: Lease) -> bool:
        """Say whether a lease on the bus was left behind by this process, or by an earlier holder of the local one."""
        try:
            found = msgspec.json.decode(data, type=Holder)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False  # whoever wrote that: it ends with its time
        return found.boot == self.holder.boot or (local.lock != "" and found.lock == local.lock)


class BusLease:
    """One held lease, renewed until it is let go or lost. Owns the task that renews it, and the local lease."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is held, where, as whom and until when
        self, leases: BusLeases, key: str, claim: bytes, token: int, local: Lease, until_s: float
    ) -> None:
        self.token, self.until_s, self.local = token, until_s, local
        self._bucket, self._world, self._terms = leases.bucket, leases.world, leases.terms
        self._key, self._claim = key, claim
        self._revision = token
        self._told: list[Callable[[float], None]] = []
        self._writing = asyncio.Lock()
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._renewing = asyncio.get_running_loop().create_task(self._renew())
        self._renewing.add_done_callback(self._ended)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self.local.descriptors

    @property
    def lock(self) -> str:
        return self.local.lock

    @property
    def ended(self) -> str:
        if self._lost.done():
            return self._lost.result()
        if self._world.elapsed_s() >= self.until_s:  # nobody was there to notice
            return f"its lease was not renewed for {self._terms.hold_s:g} s"
        return ""

    def renewed(self, tell: Callable[[float], None]) -> None:
        self._told.append(tell)

    async def lost(self) -> str:
        return await asyncio.shield(self._lost)

    async def let_go(self) -> None:
        async with self._writing:  # never in the middle of a write: its revision would be unknown
            self._renewing.cancel()
            with contextlib.suppress(Fault):  # the bus is away: it ends with its time
                await self._delete()
        await self.local.let_go()

    async def _renew(self) -> str:
        """Renew for as long as that goes well; return why it does not any more."""
        pause_s = self._terms.renew_s
        while True:
            await self._world.sleep(max(0.0, min(pause_s, self.until_s - self._world.elapsed_s())))
            async with self._writing:
                if self.ended:
                    return self.ended
                sent_s = self._world.elapsed_s()
                try:
                    await within(self.until_s - sent_s, self._write())
                except Refused:
                    return "its lease is over on the bus, or another's"
                except (Fault, TimeoutError):
                    pause_s = self._terms.again_s
                else:
                    pause_s, self.until_s = self._terms.renew_s, sent_s + self._terms.hold_s
                    for tell in self._told:
                        tell(self.until_s)

    async def _write(self) -> None:
        """Write the claim again. Refused where the key is another's."""
        try:
            self._revision = await self._bucket.put(self._key, self._claim, self._revision, self._terms.call_s)
        except Moved as moved:
            await self._adopt(moved.to + 1)
            self._revision = await self._bucket.put(self._key, self._claim, self._revision, self._terms.call_s)

    async def _delete(self) -> None:
        with contextlib.suppress(Refused):  # another's, or over
            try:
                await self._bucket.delete(self._key, self._revision, self._terms.call_s)
            except Moved as moved:
                await self._adopt(moved.to + 1)
                await self._bucket.delete(self._key, self._revision, self._terms.call_s)

    async def _adopt(self, revision: int) -> None:
        """Learn whether the newest write, of this revision, is an own one whose acknowledgement was lost.

        Of a cluster's servers one that is behind may answer; it is asked again.
        """
        found = await self._bucket.get(self._key)
        for _ in range(LEASE_LOOKS):
            if found.revision >= revision:
                break
            await self._world.sleep(LEASE_LOOK_S)
            found = await self._bucket.get(self._key)
        if found.data == self._claim:
            self._revision = found.revision

    def _ended(self, renewing: asyncio.Task[str]) -> None:
        """Nothing renews it any more: whatever the reason, it is lost, unless it was let go."""
        if renewing.cancelled() or self._lost.done():
            return
        error = renewing.exception()
        self._lost.set_result(f"renewing its lease failed ({error})" if error else renewing.result())
