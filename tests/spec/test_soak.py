"""The soak's own arithmetic: when it strikes, what grows, what a log holds, who stands still, what is relayed."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.soak.copies import flip
from deploy.soak.judge import Filled, Held, Window, appends, growth, quota, strikes
from deploy.soak.outcome import Outcome, Struck
from deploy.soak.plan import KINDS, LEAD, STRUCK, Strike, schedule
from deploy.soak.proxy import Proxy
from deploy.soak.roles import still
from deploy.soak.samples import LIMIT_PERCENT, SAMPLE_S, Sample, Samples, trend
from deploy.soak.siege import SLOW_S
from deploy.soak.writer import INSTEAD, faults
from shared.world import SimWorld, simulate

PLANNED = st.tuples(st.integers(0, 2**32), st.floats(1, 4 * 3600))
EVENT_S = 10.0
MIB = 2**20
END = Window(600, 900)


# When it strikes


@pytest.mark.spec("X-07")
@given(planned=PLANNED)
def test_a_schedule_is_a_pure_function_of_its_seed_and_length(planned: tuple[int, float]) -> None:
    """The same seed and length strike the same, in order, at least once, inside the part of the soak that is struck."""
    seed, seconds = planned
    strikes = schedule(seed, seconds)
    assert strikes == schedule(seed, seconds)
    assert strikes
    assert sorted(strikes, key=lambda one: one.at_s) == list(strikes)
    assert all(LEAD * seconds - 1e-3 <= one.at_s <= STRUCK * seconds + 1e-3 and 0 <= one.draw < 1 for one in strikes)


@pytest.mark.spec("X-07")
@given(seed=st.integers(0, 2**32))
def test_every_round_strikes_every_kind_once(seed: int) -> None:
    """However long a soak is, no kind of fault comes a second time before all came; other seeds, other orders."""
    kinds = [one.kind for one in schedule(seed, 1_000)]
    rounds = [kinds[start : start + len(KINDS)] for start in range(0, len(kinds), len(KINDS))]
    assert all(len(set(each)) == len(each) for each in rounds)
    assert set(KINDS) == set(rounds[0])
    assert kinds != [one.kind for one in schedule(seed + 1, 1_000)]


# What it calls growth


def held(memory: Callable[[float], float], seconds: float = 900.0, role: str = "part") -> Samples:
    """What one process held at each look, by its time."""
    looks = [n * SAMPLE_S for n in range(int(seconds / SAMPLE_S))]
    return Samples({role: [Sample(at_s, 7, int(memory(at_s)), 20) for at_s in looks]})


@pytest.mark.spec("X-07")
@given(start=st.floats(1, 1e9), percent=st.floats(-50, 50))
def test_the_slope_of_a_line_is_the_lines(start: float, percent: float) -> None:
    """Of points on a straight line the slope is that line's, in percent of the mean per ten minutes, for sure."""
    points = [(at_s, start * (1 + percent / 100 * (at_s - 150) / 600)) for at_s in range(0, 301, 2)]
    line = trend([(float(at_s), value) for at_s, value in points])
    assert math.isclose(percent, line.percent, rel_tol=1e-6, abs_tol=1e-6)
    assert line.error < 1e-3


@pytest.mark.spec("X-07")
def test_a_planted_leak_is_found() -> None:
    """A process that takes 2 % more in ten minutes, under noise of 0.1 %, fails; one that does not holds."""
    chance = random.Random(7)
    noise = {n * SAMPLE_S: chance.gauss(0, 0.001) for n in range(1_000)}
    leaking = held(lambda at_s: 100 * MIB * (1 + 0.02 * at_s / 600 + noise[at_s]))
    steady = held(lambda at_s: 100 * MIB * (1 + noise[at_s]))
    assert [False, True] == [line.ok for line in growth(leaking, END, ["part"])]
    assert [True, True] == [line.ok for line in growth(steady, END, ["part"])]
    assert "+1.9" in growth(leaking, END, ["part"])[0].detail


@pytest.mark.spec("X-07")
def test_leaking_files_are_found() -> None:
    """A process that forgets to close one file a minute fails by its handles."""
    samples = held(lambda _: 100 * MIB)
    samples.of["part"] = [Sample(s.at_s, s.pid, s.memory_bytes, 20 + int(s.at_s // 60)) for s in samples.of["part"]]
    assert [True, False] == [line.ok for line in growth(samples, END, ["part"])]


@pytest.mark.spec("X-07")
def test_what_became_due_is_no_leak() -> None:
    """A process may grow by what it is meant to keep of all it was told, and by no more; nobody else may."""
    looks = [n * SAMPLE_S for n in range(450)]

    def keeping(each: int, due: int) -> list[bool | None]:
        taken = [Sample(at_s, 7, 40 * MIB + int(each * at_s), 20, int(due * at_s)) for at_s in looks]
        return [line.ok for line in growth(Samples({"part": taken}), END, ["part"])]

    assert [True, True] == keeping(12_000, due=12_000)
    assert [False, True] == keeping(14_000, due=12_000)
    assert [False, True] == keeping(12_000, due=0)


@pytest.mark.spec("X-07")
def test_growth_before_the_last_third_does_not_count() -> None:
    """What a process takes while it is young and struck is no leak."""
    young = held(lambda at_s: 100 * MIB if at_s > 590 else at_s * MIB / 6)
    assert [True, True] == [line.ok for line in growth(young, END, ["part"])]


@pytest.mark.spec("X-07")
def test_what_cannot_be_judged_is_said_and_not_passed() -> None:
    """A soak that is too short, a process that was started again too late, and one nobody saw are not judged."""
    samples = held(lambda _: 100 * MIB)
    assert [None, None] == [line.ok for line in growth(held(lambda _: MIB, 120), Window(80, 120), ["part"])]
    assert [None, None] == [line.ok for line in growth(samples, END, ["nobody"])]
    late = [s if s.at_s < 850 else Sample(s.at_s, 8, s.memory_bytes, s.handles) for s in samples.of["part"]]
    lines = growth(Samples({"part": late}), END, ["part"])
    assert [None, None] == [line.ok for line in lines]
    assert lines[0].detail.endswith(
        "in 48 s: +0.00 ± 0.00 % in 10 min; its youngest process is too young, 100 s are needed"
    )


@pytest.mark.spec("X-07")
def test_what_comes_and_goes_slowly_is_judged_over_longer() -> None:
    """PostgreSQL opens files at each checkpoint, once in five minutes: a third of 300 s sees just one of them."""

    def judged(seconds: float, leak_s: float, slow: Mapping[str, float]) -> bool | None:
        looks = [n * SAMPLE_S for n in range(int(seconds / SAMPLE_S))]
        opened = [150 + int(at_s // leak_s) + 20 * (at_s % 300 > 150) for at_s in looks]
        samples = Samples({"part": [Sample(at_s, 7, MIB, each) for at_s, each in zip(looks, opened, strict=True)]})
        return growth(samples, Window(seconds * 2 / 3, seconds, slow), ["part"])[1].ok

    slow = dict.fromkeys(["handles of part"], SLOW_S)
    assert judged(900, math.inf, {}) is False
    assert judged(900, math.inf, slow) is None
    assert judged(3_600, math.inf, slow) is not False
    assert judged(3_600, 20, slow) is False


@pytest.mark.spec("X-07")
def test_scatter_is_no_leak() -> None:
    """A slope beyond the limit that the measurements' own scatter may pretend is not held against a process."""
    chance = random.Random(3)
    wild = held(lambda _: 100 * MIB * (1 + chance.gauss(0, 0.2)))
    line = growth(wild, END, ["part"])[0]
    assert line.ok is None
    assert f"scatters too much to be held against {LIMIT_PERCENT:g} %" in line.detail


def scattered(seed: int, percent: float, scatter: float, alike: float) -> Samples:
    """What a process held that grows so much in ten minutes, under noise whose neighbours are so much alike."""
    chance, noise = random.Random(seed), 0.0

    def memory(at_s: float) -> float:
        nonlocal noise
        noise = alike * noise + chance.gauss(0, scatter) * math.sqrt(1 - alike**2)
        return 100 * MIB * (1 + percent / 100 * at_s / 600 + noise)

    return held(memory)


def judged(percent: float, scatter: float, alike: float = 0.0) -> Counter[bool | None]:
    """How often, of a hundred seeds, such a process holds, fails and is not judged."""
    return Counter(growth(scattered(seed, percent, scatter, alike), END, ["part"])[0].ok for seed in range(100))


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("percent", [3.0, 10.0])
@pytest.mark.parametrize("scatter", [0.001, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_a_planted_leak_is_hardly_ever_passed(percent: float, scatter: float, alike: float) -> None:
    """However much the measurements scatter, of a hundred leaks of 3 % and of 10 % in ten minutes at most five hold."""
    assert judged(percent, scatter, alike)[True] <= 5


@pytest.mark.spec("X-07")
def test_a_level_process_is_passed_where_little_scatters_and_hardly_ever_failed() -> None:
    """Memory that stays as it is holds under noise of 0.3 %; under more it is not judged, and at most five fail."""
    assert Counter({True: 100}) == judged(0.0, 0.003)
    assert all(judged(0.0, scatter)[False] <= 5 for scatter in (0.01, 0.03, 0.1))


# What it finds in a log


ID = bytes(range(16))
OTHER = bytes(range(1, 17))


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    ("log", "ok", "said"),
    [
        (Held({ID: [(4, 0)]}), True, "1 acknowledged, 0 lost"),
        (Held({OTHER: [(4, 0)]}), False, f"1 lost, 0 not where it was told, 0 doubled, 0 void; lost: {ID.hex()}"),
        (Held({ID: [(4, 0), (9, 1)]}), False, f"doubled: {ID.hex()}"),
        (Held({ID: [(4, 0)], OTHER: [(5, 0), (6, 0)]}), False, f"doubled: {OTHER.hex()}"),
        (Held({ID: [(5, 0)]}), False, f"not where it was told: {ID.hex()}"),
        (Held({ID: [(4, 0)]}, ["(8, 0) R001"]), False, "void: (8, 0) R001"),
    ],
    ids=["whole", "lost", "doubled", "doubled, not acknowledged", "moved", "void"],
)
def test_a_lost_or_doubled_append_is_found(log: Held, said: str, *, ok: bool) -> None:
    """An acknowledged event that the log lacks, has twice or elsewhere, and a void entry, each fail and are named."""
    line = appends(log, {ID: (4, 0)})
    assert ok is line.ok
    assert said in line.detail


@pytest.mark.spec("X-07")
def test_nothing_acknowledged_is_nothing_proved() -> None:
    """A soak in which no append was acknowledged does not hold."""
    assert appends(Held(), {}).ok is False


@pytest.mark.spec("X-04")
@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=4), draw=st.floats(0, 1, exclude_max=True))
def test_a_flip_changes_one_bit_of_one_file(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], draw: float
) -> None:
    """Exactly one bit of all the files is another one, where it says."""
    folder = tmp_path_factory.mktemp("flip")
    files = [folder / str(n) for n in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(bytes(size))
    path, at = flip(files, Strike(0, "flip", draw))
    assert [(path, at)] == [(file, n) for file in files for n, byte in enumerate(file.read_bytes()) if byte]
    assert 1 == path.read_bytes()[at].bit_count()


# Which strikes count


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    ("landed", "interrupted", "ok", "said"),
    [
        (["bus", "flip"], False, True, "2 of 3 landed"),
        (["bus", "bus"], False, False, "2 of 3 landed, none of flip"),
        (["bus", "bus"], True, None, "2 of 3 landed, none of flip"),
    ],
    ids=["each kind", "a kind missed", "interrupted before"],
)
def test_a_kind_of_strike_that_never_landed_fails(
    landed: list[str], said: str, *, interrupted: bool, ok: bool | None
) -> None:
    """A soak proves nothing of a fault that it planned and that always missed; Ctrl-C may come before one."""
    assert (ok, said) == ((line := strikes(["bus", "flip", "bus"], landed, interrupted=interrupted)).ok, line.detail)


@pytest.mark.spec("X-07")
def test_a_missed_strike_is_not_counted() -> None:
    """The verdict in one line tells how many strikes landed."""
    struck = [Struck(1.0, "bus", "killed nats-server", landed=True), Struck(2.0, "flip", "missed: late", landed=False)]
    assert "nothing failed; 0 of 0 lines judged, 1 strikes" == Outcome(1, 60, 2, struck=struck).summary


# How the quota is met


@pytest.mark.spec("X-07", "X-10")
@pytest.mark.parametrize(
    ("filled", "ok", "said"),
    [
        ([], None, "nobody met it"),
        ([Filled({"w": {}})], None, "nobody met it"),
        ([Filled({"w": {"StorageFault": 3}}), Filled({"w": {}})], True, "met 1 times: refused as StorageFault"),
        ([Filled({"w": {"Unresolved": 1}})], False, "without room w was told Unresolved"),
        ([Filled({"v": {"StorageFault": 9}, "w": {"Unreachable": 1}})], False, "without room w was told Unreachable"),
        ([Filled({"w": {"StorageFault": 1}}, ["w"])], False, "w is acknowledged nothing since there is room again"),
    ],
    ids=["never full", "nobody wrote", "refused", "no refusal", "one no refusal", "never gone on"],
)
def test_a_full_quota_is_met_as_a_storage_fault_or_objected_to(
    filled: list[Filled], said: str, *, ok: bool | None
) -> None:
    """Whoever is told anything else than StorageFault while there is no room, or never goes on, is named."""
    line = quota(filled)
    assert ok is line.ok
    assert line.detail.startswith(said)


@pytest.mark.spec("X-07")
def test_what_a_writer_is_told_instead_is_counted_by_its_fault(tmp_path: Path) -> None:
    """Of a writer's log the lines count that say what it was told, not what others say there; without one, nothing."""
    log = tmp_path / "log"
    assert Counter[str]() == faults(log)
    said = [f"{INSTEAD}StorageFault: full: of", f"{INSTEAD}Unresolved: late", "Unresolved: not ours"]
    log.write_text("".join(f"{line}\n" for line in [*said, said[0]]))
    assert Counter({"StorageFault": 2, "Unresolved": 1}) == faults(log)


# Who stands still


@pytest.mark.spec("X-07")
def test_a_writer_that_stands_still_is_named(tmp_path: Path) -> None:
    """Of several files, those that no line is written to any more are named, and no sooner than the patience ends."""
    files = {name: tmp_path / name for name in ("quick", "stuck", "late")}
    files["stuck"].write_text("0 1 0\n")

    async def body() -> tuple[list[str], float]:
        world = SimWorld("dev", 1)

        async def writes() -> None:
            for name, after_s in (("quick", 1), ("late", 58)):
                await world.sleep(after_s)
                files[name].write_text("0 2 0\n")

        writing = asyncio.create_task(writes())
        stuck = await still(files, world, 60)
        await writing
        return stuck, world.elapsed_s()

    assert (["stuck"], 60) == simulate(body)


# What it relays


class Echo:
    """A server that sends back what it is sent, and a client of it behind a relay."""

    def __init__(self) -> None:
        self.heard = b""

    async def start(self) -> None:
        """Listen, and connect through a relay."""
        self.server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.proxy = await Proxy.to(lambda: self.server.sockets[0].getsockname()[1])
        await self.connect()

    async def connect(self) -> None:
        """Connect through the relay, and be sure that the server is reached."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        self.writer.write(b"hello")
        assert b"hello" == await self.reader.readexactly(5)

    async def stop(self) -> None:
        """Leave nothing behind."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()
        await self.proxy.close()
        self.server.close()

    @property
    def waiting(self) -> bool:
        """Whether the client was sent something that it did not read yet."""
        return bool(self.reader._buffer)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType] - nothing public says so

    async def hears(self, words: bytes) -> None:
        """Wait until the server has heard something."""
        while words not in self.heard:
            await asyncio.sleep(0.01)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()


def relayed(body: Callable[[Echo], Coroutine[Any, Any, None]]) -> None:
    """Run something against a server behind a relay."""

    async def whole() -> None:
        echo = Echo()
        await echo.start()
        try:
            async with asyncio.timeout(EVENT_S):
                await body(echo)
        finally:
            await echo.stop()

    asyncio.run(whole())


@pytest.mark.spec("X-07")
def test_a_cut_connection_is_broken_and_a_new_one_refused_until_it_is_joined() -> None:
    """A cut ends what is open, refuses what is new, and afterwards the same address leads there again."""

    async def body(echo: Echo) -> None:
        port = echo.proxy.port
        echo.proxy.cut()
        with suppress(ConnectionResetError):
            assert b"" == await echo.reader.read(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await echo.proxy.join()
        assert port == echo.proxy.port
        echo.writer.close()
        await echo.connect()

    relayed(body)


@pytest.mark.spec("X-07")
def test_a_frozen_direction_delivers_late_what_was_sent() -> None:
    """Frozen towards the server nothing arrives; frozen back, it arrives and the answer waits; thawed, all comes."""

    async def body(echo: Echo) -> None:
        echo.proxy.freeze("down")
        echo.writer.write(b"one")
        await echo.hears(b"one")
        assert not echo.waiting
        echo.proxy.thaw()
        assert b"one" == await echo.reader.readexactly(3)
        echo.proxy.freeze("up")
        echo.writer.write(b"two")
        await echo.writer.drain()
        assert b"two" not in echo.heard
        echo.proxy.thaw()
        assert b"two" == await echo.reader.readexactly(3)

    relayed(body)


@pytest.mark.spec("X-07")
def test_what_was_sent_into_a_frozen_link_arrives_though_its_sender_is_gone() -> None:
    """Whoever gave up a frozen connection is heard nevertheless once it thaws, as on a network that was slow."""

    async def body(echo: Echo) -> None:
        echo.proxy.freeze("up")
        echo.writer.write(b"late")
        echo.writer.close()
        await echo.writer.wait_closed()
        assert b"late" not in echo.heard
        echo.proxy.thaw()
        await echo.hears(b"late")

    relayed(body)


@pytest.mark.spec("X-07")
def test_a_relay_to_nobody_ends_its_clients() -> None:
    """Where the server is gone a client is let in and its connection is broken at once, as behind a load balancer."""

    async def body(echo: Echo) -> None:
        echo.server.close()
        await echo.server.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.proxy.port)
        with suppress(ConnectionResetError):
            assert b"" == await reader.read(1)
        writer.close()

    relayed(body)
