"""The supervisor under simulated time: who is loaded where, for how long, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organs.organd.ports import (
    Completion,
    Device,
    Held,
    Lease,
    LoadFailed,
    NoRoom,
    NoSuchModel,
    Piece,
    QueueFull,
    WorkerDied,
)
from organs.organd.simulated import (
    GIGABYTE,
    SIM_LOAD_S,
    SimDevices,
    SimEngine,
    SimLease,
    SimLeases,
    SimModels,
    SimWorker,
)
from organs.organd.supervisor import RELEASE_S, WAITING, Change, Supervisor
from shared.world import SimWorld, simulate

A, B, C = "a:latest", "b:latest", "c:latest"


ASKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([0, 5_000, None])), max_size=12)


class Here:
    """A supervisor in a simulated World, and everything that it said."""

    def __init__(self, *, cards: int = 1, fails: int = 0, release_s: float = 0.2) -> None:
        self.world = SimWorld("dev", 7)
        self.devices = SimDevices(self.world, cards, release_s)
        self.engine = SimEngine(self.world, self.devices, fails)
        self.leases = SimLeases()
        self.models = SimModels("a", "b", "c")
        self.supervisor = Supervisor(self.models, self.devices, self.engine, self.leases, self.world)
        self.changes: list[Change] = []
        self.supervisor.told = self.changes.append

    async def use(self, name: str, seconds: float = 1.0, keep_ms: int | None = 300_000) -> None:
        """Use a model for so long."""
        async with self.supervisor.use(name, keep_ms):
            await self.world.sleep(seconds)

    def states(self, name: str) -> list[str]:
        """The states that a model went through."""
        return [change.state for change in self.changes if change.model == name]

    def loaded(self) -> list[str]:
        """The models that are loaded now."""
        return sorted(slot.name for slot in self.supervisor.loaded())


def live(body: Callable[[Here], Coroutine[Any, Any, None]], **what: Any) -> Here:  # noqa: ANN401 - Here's own
    """Run a body in a simulated World, and end the supervisor in good order."""
    made = list[Here]()

    async def whole() -> None:
        made.append(Here(**what))
        try:
            await body(made[0])
        finally:
            await made[0].supervisor.close()

    simulate(whole)
    return made[0]


@pytest.mark.spec("NIM-16")
def test_a_model_lives_through_every_state_and_says_each() -> None:
    """Asked for, it is loaded; unused for its time, it is unloaded, and cold once its memory is back."""

    async def body(here: Here) -> None:
        await here.use("a", keep_ms=60_000)
        await here.world.sleep(59.9)
        assert [A] == here.loaded()
        await here.world.sleep(0.2)
        assert [] == here.loaded()
        assert "verifying_release" == here.supervisor.slots[A].life.state
        await here.world.sleep(0.3)

    here = live(body)
    expected = ["cold", "loading", "ready", "idle", "unloading", "verifying_release", "cold"]
    assert expected == here.states(A)
    assert {"card-0"} == {change.device for change in here.changes[1:]}
    assert 1 == here.changes[-2].token


@pytest.mark.spec("NIM-16")
@pytest.mark.parametrize(("keep_ms", "after_s", "there"), [(0, 0.0, False), (300_000, 299.0, True), (None, 1e6, True)])
def test_how_long_it_stays_is_the_last_users_wish(keep_ms: int | None, after_s: float, there: bool) -> None:  # noqa: FBT001
    """0 unloads it with the last user, five minutes are five minutes, and for ever is for ever."""

    async def body(here: Here) -> None:
        await here.use("a", keep_ms=10_000)
        await here.use("a", keep_ms=keep_ms)
        await here.world.sleep(after_s + 0.001)
        assert there == (here.loaded() == [A])

    live(body)


@pytest.mark.spec("NIM-16")
def test_its_time_starts_when_nobody_uses_it_any_more() -> None:
    """While it is used it never leaves, however long that takes; a use that waits for its turn counts too."""

    async def body(here: Here) -> None:
        await asyncio.gather(*(here.use("a", 100.0, keep_ms=1_000) for _ in range(3)))
        assert [A] == here.loaded()
        await here.world.sleep(1.1)
        assert [] == here.loaded()

    assert 1 == live(body).states(A).count("loading")


@pytest.mark.spec("NIM-16")
def test_one_model_per_card_the_longest_unused_leaves_first() -> None:
    """A third model takes the place of the one that was used longest ago, after that one's memory is back."""

    async def body(here: Here) -> None:
        for name in ("a", "b", "a", "c"):
            await here.use(name)
        assert [A, C] == here.loaded()

    here = live(body, cards=2)
    order = [(change.model, change.state) for change in here.changes]
    assert order.index((B, "verifying_release")) < order.index((C, "loading"))
    released = [n for n, change in enumerate(order) if change == (B, "cold")][1]
    assert released < order.index((C, "loading"))
    tokens = [change.token for change in here.changes if change.state == "loading"]
    assert [1, 2, 3] == tokens


@pytest.mark.spec("NIM-16")
def test_a_model_in_use_is_never_put_out() -> None:
    """Who needs its place waits until it is used no more."""

    async def body(here: Here) -> None:
        first = asyncio.create_task(here.use("a", 50.0))
        await here.world.sleep(1.0)
        await here.use("b")
        assert first.done()

    here = live(body)
    assert here.states(A)[-1] == "cold"


@pytest.mark.spec("NIM-16")
@settings(max_examples=25)
@given(
    asks=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([0, 5_000, None])), max_size=12)
)
def test_no_two_models_ever_hold_one_card(asks: list[tuple[str, int, int | None]]) -> None:
    """Whoever asks for what, in whatever order: a card holds one model, everybody is answered, one loads at a time."""

    async def body(here: Here) -> None:
        async def ask(name: str, after: int, keep_ms: int | None) -> None:
            await here.world.sleep(after)
            await here.use(name, 1.5, keep_ms)

        await asyncio.gather(*(ask(*one) for one in asks))

    here = live(body, cards=2)
    held = dict[str, str]()
    loading = set[str]()
    for change in here.changes:
        loading.discard(change.model)
        if change.state == "loading":
            assert not loading
            loading.add(change.model)
            assert change.device not in held
            held[change.device] = change.model
        elif change.state in ("cold", "failed") and change.device:
            assert change.model == held.pop(change.device)


@pytest.mark.spec("NIM-16")
def test_the_queue_is_bounded() -> None:
    """512 may wait; the next one is told to come later, and everybody who waited is answered."""

    async def body(here: Here) -> None:
        answered = asyncio.create_task(here.use("a", 5.0))
        await here.world.sleep(SIM_LOAD_S + 1.0)
        waiting = [asyncio.create_task(here.use("a", 0.01)) for _ in range(WAITING)]
        await here.world.sleep(1.0)
        with pytest.raises(QueueFull, match="512"):
            async with here.supervisor.use("a"):
                pass
        await asyncio.gather(answered, *waiting)

    live(body)


@pytest.mark.spec("NIM-16")
def test_a_failed_load_is_tried_again_later_and_later() -> None:
    """The first failure may be repeated at once; then the model is left alone, for longer each time, and says so."""

    async def body(here: Here) -> None:
        for _ in range(2):
            with pytest.raises(LoadFailed, match="as the seed wants it"):
                await here.use("a")
        with pytest.raises(LoadFailed, match="tried again in"):
            await here.use("a")
        await here.world.sleep(1.0)
        await here.use("a")
        assert 0 == here.supervisor.slots[A].life.failures

    here = live(body, fails=2)
    assert 2 == here.states(A).count("failed")
    assert not here.supervisor.loaded()


@pytest.mark.spec("NIM-16")
def test_a_worker_that_dies_is_loaded_again_for_the_next() -> None:
    """Whoever used it is told; whoever waited for it is answered by a new one."""

    async def body(here: Here) -> None:
        async def asked() -> list[Piece]:
            async with here.supervisor.use("a") as use:
                return [piece async for piece in use.worker.complete(Completion("x"))]

        await asked()
        first = asyncio.create_task(asked())
        await here.world.sleep(0.015)
        second = asyncio.create_task(asked())
        here.engine.workers[0].kill("killed by the test")
        with pytest.raises(WorkerDied):
            await first
        assert "stop" == (await second)[-1].done_reason

    here = live(body)
    assert "killed by the test" in [change.reason for change in here.changes]
    assert 2 == len(here.engine.workers)


@pytest.mark.spec("NIM-16")
def test_memory_that_does_not_come_back_is_a_failure_that_says_so() -> None:
    """After ten seconds the model has failed, with the device and the process in its reason."""

    async def body(here: Here) -> None:
        await here.use("a", keep_ms=0)
        await here.world.sleep(RELEASE_S + 1)

    here = live(body, release_s=60.0)
    assert "failed" == here.states(A)[-1]
    assert "the memory of card-0 is not back 10 s after process 1 was ended" == here.changes[-1].reason


@pytest.mark.spec("NIM-16")
def test_whoever_leaves_while_it_loads_leaves_nothing_behind() -> None:
    """A load that nobody waits for any more is given up, the place is free, and the model has not failed."""

    async def body(here: Here) -> None:
        left = asyncio.create_task(here.use("a"))
        await here.world.sleep(SIM_LOAD_S / 2)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert "cold" == here.supervisor.slots[A].life.state
        await here.use("b")

    assert ["cold", "loading", "unloading", "verifying_release", "cold"] == live(body).states(A)


@pytest.mark.spec("NIM-16")
def test_whoever_leaves_just_as_it_is_loaded_leaves_nothing_behind() -> None:
    """A worker that is ready in the moment in which its user leaves is ended, before its device is anybody's again."""

    class Leaving(SimEngine):
        left: asyncio.Task[None]

        async def start(self, model: Held, device: Device, lease: Lease) -> SimWorker:
            worker = await super().start(model, device, lease)
            if worker.pid == 1:
                self.left.cancel()
            return worker

    async def body(here: Here) -> None:
        engine = here.supervisor.engine = here.engine = Leaving(here.world, here.devices)
        engine.left = asyncio.create_task(here.use("a"))
        await asyncio.wait((engine.left,))
        assert engine.left.cancelled()
        assert here.devices.gone(1)
        await here.use("b")

    assert ["cold", "loading", "unloading", "verifying_release", "cold"] == live(body).states(A)


@pytest.mark.spec("NIM-16")
def test_what_has_no_place_is_refused_with_the_reason() -> None:
    """A model larger than a card, a lease that another holds, and a model that is not there."""

    class Taken(SimLeases):
        async def take(self, device: Device) -> SimLease | None:
            return None

    async def body(here: Here) -> None:
        with pytest.raises(NoSuchModel):
            await here.use("nobody")
        here.supervisor.leases = Taken()
        with pytest.raises(NoRoom, match="another process holds the lease of card-0"):
            await here.use("a")
        here.supervisor.leases = here.leases
        here.devices.others = GIGABYTE - 10
        with pytest.raises(NoRoom, match="10 bytes free"):
            await here.use("a")

    assert ["cold"] == live(body).states(A)


@pytest.mark.spec("NIM-16")
def test_a_silent_fall_to_the_processor_is_an_error() -> None:
    """A model that was to be on a card and takes no memory there is refused, and its process is ended."""

    async def body(here: Here) -> None:
        here.engine.misses = True
        with pytest.raises(LoadFailed, match="was to be loaded on card-0, and took 0 bytes"):
            await here.use("a")
        await here.world.sleep(1.0)
        assert here.devices.gone(1)

    assert ["loading", "verifying_release", "failed"] == live(body).states(A)[-3:]
