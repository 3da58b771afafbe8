"""What every kind of lease does: files of one user, a bucket on the bus, and what a simulation runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from organs.organd.bus_leases import BusLeases, Holder
from organs.organd.leases import FileLeases
from organs.organd.ports import Device, Lease, Leases
from organs.organd.simulated import SimLeases
from shared.bus import Bucket
from shared.subjects.models import LEASES
from shared.world import simulate
from tests.ground import ENV, Ground, play_nats, play_sim

CARD, OTHER = Device("GPU-1", "gpu", 1_000), Device("MIG-2", "gpu", 1_000)
Another = Callable[[], Awaitable[Leases]]  #: leases as another process has them
Body = Callable[[Another], Coroutine[Any, Any, None]]
Play = Callable[[Body], None]


def over_the_bus(body: Body) -> Callable[[Ground], Coroutine[Any, Any, None]]:
    """The body on a ground, each process another user's, with a local guard of its own."""

    async def play(ground: Ground) -> None:
        await ground.create_bucket()
        made = 0

        async def another() -> Leases:
            nonlocal made
            made += 1
            bucket = Bucket(await ground.wire(f"organd{made}"), ENV, LEASES)
            return BusLeases(SimLeases(), bucket, ground.world, Holder("here", made, made, f"boot{made}"))

        await body(another)

    return play


@pytest.fixture(params=["simulated", "files", "simulated bus", "bus"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Each kind of lease."""

    def shared(body: Body) -> None:
        leases = SimLeases()

        async def another() -> Leases:
            return leases

        simulate(lambda: body(another))

    def files(body: Body) -> None:
        async def another() -> Leases:
            return FileLeases(tmp_path / "leases")

        asyncio.run(body(another))  # type: ignore[arg-type]

    kinds: dict[str, Play] = {
        "simulated": shared,
        "files": files,
        "simulated bus": lambda body: play_sim(over_the_bus(body)),
        "bus": lambda body: play_nats(over_the_bus(body), tmp_path),
    }
    return kinds[request.param]


async def taken(leases: Leases, device: Device = CARD) -> Lease:
    """A lease that can be had."""
    lease = await leases.take(device)
    assert lease is not None
    return lease


@pytest.mark.spec("NIM-16")
def test_each_lease_has_a_greater_token(play: Play) -> None:
    """One at a time, in any process; let go of, it can be taken again, and numbers go on."""

    async def body(another: Another) -> None:
        ours, theirs = await another(), await another()
        tokens = list[int]()
        for one, other in ((ours, theirs), (theirs, ours), (ours, theirs)):
            lease = await taken(one)
            assert None is await other.take(CARD)
            assert None is await one.take(CARD)
            assert "" == lease.ended
            tokens.append(lease.token)
            await lease.let_go()
        assert sorted(set(tokens)) == tokens
        assert 0 < tokens[0]

    play(body)


@pytest.mark.spec("NIM-16")
def test_each_device_has_a_lease_of_its_own(play: Play) -> None:
    """Whoever holds one card says nothing of another, or of a slice."""

    async def body(another: Another) -> None:
        ours, theirs = await another(), await another()
        first, second = await taken(ours, CARD), await taken(theirs, OTHER)
        assert None is await ours.take(OTHER)
        await first.let_go()
        await second.let_go()
        await (await taken(ours, OTHER)).let_go()

    play(body)


@pytest.mark.spec("NIM-16")
def test_of_many_who_want_it_at_once_one_gets_it(play: Play) -> None:
    """Nobody waits, nobody shares, and everybody is told."""

    async def body(another: Another) -> None:
        wanting = [await another() for _ in range(5)]
        found = await asyncio.gather(*(leases.take(CARD) for leases in wanting))
        [held] = [lease for lease in found if lease is not None]
        await held.let_go()
        assert None is not await wanting[0].take(CARD)

    play(body)
