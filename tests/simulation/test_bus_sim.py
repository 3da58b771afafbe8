"""The bus under simulated time: seeds and faults, a writer cut off for ten minutes, and that a run can be repeated."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from shared.bus import Bus, Delivery, Draft, Receipt, Writer
from shared.bus.sim import Faults
from shared.codec import decode
from shared.envelope import Verdict, leaf_of
from shared.errors import Deadlock, LogFault, Refusal, Unreachable, Unresolved, WallClockUse
from shared.world import simulate
from tests.ground import ENV, LOG, Double, Doubled, Felt, Founded, SimGround, noted, play_sim
from tests.load import Ledger, judge
from tests.seeds import seeds

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(12)
AWAY_S = 600.0
TROUBLE = {
    "calm": Faults(),
    "drop": Faults(drop=0.1, duplicate=0.1),
    "lost acknowledgements": Faults(lose_ack=0.3),
    "lost appends": Faults(lose_append=0.3),
    "slow": Faults(delay_s=1.5),
    "everything": Faults(drop=0.1, duplicate=0.1, lose_ack=0.2, lose_append=0.2, delay_s=0.5),
}
REPEAT = "tests/simulation/test_bus_sim.py {seed} {trouble!r}"


@dataclass
class Story:
    """Three writers of two parts, one of them cut off in the middle and back ten minutes later, and some talk."""

    ground: SimGround
    ledger: Ledger = field(default_factory=Ledger)

    async def run(self) -> str:
        """Return the digest of the log once every append is settled; AssertionError if an invariant is broken."""
        calm, self.ground.server.faults = self.ground.server.faults, Faults()
        founded = await Founded.on(self.ground)
        desk, other = await founded.part("desk"), await founded.part("other")
        twin = Bus(self.ground.world, await self.ground.wire("desk"), "desk", "1", desk.signers)
        self.ground.server.faults = calm
        await asyncio.gather(
            self._one_by_one(desk, "a", 12),
            self._one_by_one(twin, "a", 8),
            self._sealed(other, "b"),
            self._away(twin),
            self._talk(desk, other, twin),
        )
        self.ground.server.faults = Faults()
        judge([verdict async for verdict in founded.root.replay()], self.ledger)
        return digest(self.ground)

    async def _one_by_one(self, bus: Bus, who: str, count: int) -> None:
        for n in range(count):
            size = 1 + int(3 * bus.world.chance())
            await self._settle(bus, [self._draft(bus, n, who) for _ in range(size)])

    async def _sealed(self, bus: Bus, who: str) -> None:
        writer = Writer(bus)
        await asyncio.gather(*(self._put(writer, self._draft(bus, n, who)) for n in range(60)))

    async def _away(self, bus: Bus) -> None:
        """Cut the link at a moment of its own choosing, and join it after ten minutes."""
        await bus.world.sleep(5 * bus.world.chance())
        await self.ground.cut(bus.wire)
        await bus.world.sleep(AWAY_S)
        await self.ground.restore(bus.wire)

    async def _talk(self, desk: Bus, other: Bus, twin: Bus) -> None:
        """Ask and be heard while messages are lost and doubled: a right answer or a typed one, and nothing invented."""
        emitted, heard, answers = set[int](), set[int](), set[asyncio.Task[None]]()

        def answer(delivery: Delivery) -> None:
            reply = Doubled(2 * decode(Double, delivery.data).n)
            answers.add(asyncio.ensure_future(desk.answer(delivery, reply)))

        await desk.subscribe(Double.pattern(ENV), answer)
        await desk.subscribe(Felt.pattern(ENV), lambda delivery: heard.add(decode(Felt, delivery.data).n))
        for n in range(20):
            for asker in (other, twin):
                try:
                    got = await asker.request(Double(n), timeout_s=2.0)
                except Unreachable:
                    assert not asker.wire.connected, "only a cut link is unreachable"
                    continue
                assert got == Doubled(2 * n) or (isinstance(got, Refusal) and got.code == "B006"), got
            await other.emit(Felt("other", n))
            emitted.add(n)
        assert heard <= emitted

    def _draft(self, bus: Bus, n: int, who: str) -> Draft:
        draft = noted(bus.world, n, who)
        self.ledger.asked[draft.event_id] = draft
        return draft

    async def _settle(self, bus: Bus, drafts: list[Draft]) -> None:
        while True:
            try:
                self.ledger.told += await within_deadline(bus, bus.append_many(drafts))
                return
            except Unresolved:
                self.ledger.unresolved += 1

    async def _put(self, writer: Writer, draft: Draft) -> None:
        while True:
            try:
                self.ledger.told.append(await writer.put(draft))
                return
            except Unresolved:
                self.ledger.unresolved += 1


async def within_deadline(bus: Bus, work: Coroutine[Any, Any, list[Receipt]]) -> list[Receipt]:
    """Hold that an append ends within its deadline, whatever its end is."""
    start_s = bus.world.elapsed_s()
    try:
        return await work
    finally:
        assert bus.world.elapsed_s() - start_s <= bus.deadline_s + 0.001, "every append resolves within its deadline"


def digest(ground: SimGround) -> str:
    """The digest of the log's leaves, in order."""
    hasher = blake3()
    for entry in ground.server.streams[LOG].entries:
        hasher.update(leaf_of(entry))
    return hasher.hexdigest()


def tell(seed: int, trouble: str) -> tuple[str, Ledger]:
    """Run the story; a failure names the one line that repeats it."""
    ledger = Ledger()

    async def whole() -> str:
        return await Story(SimGround(seed, TROUBLE[trouble]), ledger).run()

    try:
        return simulate(whole), ledger
    except BaseException as failure:
        failure.add_note("repeat with: python " + REPEAT.format(seed=seed, trouble=trouble))
        raise


@pytest.mark.spec("X-07", "X-08")
@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("seed", seeds(SEEDS, 4))
def test_every_append_is_in_effect_once(seed: int, trouble: str) -> None:
    """Whatever is lost, doubled or late, and with a writer cut off for ten minutes: every append resolves, what is
    acknowledged is admitted exactly once, and no entry is void.
    """
    _, ledger = tell(seed, trouble)
    assert ledger.told


@pytest.mark.spec("X-08")
def test_the_faults_really_happen() -> None:
    """Over the seeds the faults leave appends unresolved, and events that a repeat finds in the log already."""
    ledgers = [tell(seed, trouble)[1] for seed in SEEDS[:4] for trouble in ("lost acknowledgements", "everything")]
    assert sum(ledger.unresolved for ledger in ledgers) > len(ledgers)
    assert any(receipt.duplicate for ledger in ledgers for receipt in ledger.told)


# A writer that is away while its acknowledgement comes


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("lost", ["append", "acknowledgement"])
@pytest.mark.parametrize("patience_s", [30.0, 1200.0])
def test_a_writer_back_after_ten_minutes(lost: str, patience_s: float) -> None:
    """A writer cut off before its acknowledgement, and back after ten minutes, finds its event or appends it: once,
    with a fresh time, whether it waited all along or asked again.
    """

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        bus.deadline_s = patience_s
        draft = noted(ground.world, 1)
        ground.server.faults = Faults(lose_append=1.0) if lost == "append" else Faults(lose_ack=1.0)
        append = asyncio.ensure_future(bus.append(draft))
        await ground.world.sleep(1.0)
        await ground.cut(bus.wire)
        ground.server.faults = Faults()
        assert (3 if lost == "acknowledgement" else 2) == len(ground.server.streams[LOG].entries)
        await ground.world.sleep(AWAY_S)
        await ground.restore(bus.wire)
        try:
            receipt = await append
        except Unresolved:
            assert patience_s < AWAY_S
            receipt = await bus.append(draft)
        assert (2, lost == "acknowledgement") == (receipt.index, receipt.duplicate)
        assert [] == [v.void() for v in [v async for v in founded.root.replay()] if v.void()]
        assert 3 == len(ground.server.streams[LOG].entries)

    play_sim(body)


@pytest.mark.spec("X-04", "X-07")
def test_a_lost_end_of_the_log_is_told_whatever_happens_next() -> None:
    """Where the log ends before what was read already an append says so, also if the link is cut a moment later."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        receipts = [await bus.append(noted(ground.world, n)) for n in (1, 2)]
        await ground.remove(LOG, receipts[-1].index)
        append = asyncio.ensure_future(bus.append(noted(ground.world, 3)))
        await ground.world.sleep(1.0)
        await ground.cut(bus.wire)
        with pytest.raises(LogFault, match="ends before 3, which was read already"):
            await append

    play_sim(body)


@pytest.mark.spec("X-07", "X-12")
def test_an_unresolved_append_says_what_it_waited_for() -> None:
    """An append that got no answer says so, and blames other appends only where it waited for one."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        bus.deadline_s = 1.0
        ground.server.faults = Faults(delay_s=1e6)
        alone, behind = [asyncio.ensure_future(bus.append(noted(ground.world, n))) for n in (1, 2)]
        with pytest.raises(Unresolved, match="nothing was answered in time; the same event id makes a retry safe"):
            await alone
        with pytest.raises(Unresolved, match="other appends to the lane took all the time"):
            await behind

    play_sim(body)


@pytest.mark.spec("X-07")
def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    """While a writer is away another replica decides on its lane; the writer's return finds both events, each once."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        twin = Bus(ground.world, await ground.wire("desk"), "desk", "1", bus.signers)
        ground.server.faults = Faults(lose_ack=1.0)
        mine, yours = noted(ground.world, 1), noted(ground.world, 2)
        append = asyncio.ensure_future(bus.append(mine))
        await ground.world.sleep(1.0)
        await ground.cut(bus.wire)
        ground.server.faults = Faults()
        seen = await twin.append(mine)
        new = await twin.append(yours)
        await ground.world.sleep(AWAY_S)
        await ground.restore(bus.wire)
        with pytest.raises(Unresolved):
            await append
        again = await bus.append(mine)
        assert (2, 2, 3) == (again.index, seen.index, new.index)
        assert [True, True, False] == [receipt.duplicate for receipt in (again, seen, new)]

    play_sim(body)


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("seed", seeds(SEEDS, 4))
def test_a_consumer_handles_everything_at_least_once(seed: int) -> None:
    """With lost acknowledgements, duplicates and a crash in the middle, every admitted event is handled."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", "dev.trial.>", 5.0)
        bus, handled = await founded.part(), set[bytes]()

        async def handle(verdict: Verdict) -> None:
            handled.update(event.id for _, event in verdict.admitted())

        ground.server.faults = TROUBLE["everything"]
        crashing = await founded.part("reader")
        await crashing.consume("reader", handle)
        drafts = [noted(ground.world, n) for n in range(40)]
        for n, draft in enumerate(drafts):
            await bus.append(draft)
            if n == 20:
                await crashing.wire.close()
                await (await founded.part("reader")).consume("reader", handle)
        async with asyncio.timeout(3600):
            while not {draft.event_id for draft in drafts} <= handled:
                await ground.world.sleep(1.0)

    play_sim(body, seed)


# A run can be repeated


@pytest.mark.spec("X-08")
def test_the_same_seed_gives_the_same_log() -> None:
    """Two runs of a seed give the same log, byte for byte; another seed gives another."""
    logs = [tell(seed, "everything")[0] for seed in (1, 1, 2)]
    assert (True, False) == (logs[0] == logs[1], logs[1] == logs[2])


@pytest.mark.spec("X-08")
def test_the_same_seed_gives_the_same_log_in_another_process() -> None:
    """Processes with different hash seeds give the same log for the same seed."""
    digests = {tell(3, "everything")[0]}
    for hash_seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, __file__, "3", "everything"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert 1 == len(digests)


@pytest.mark.spec("X-08")
@pytest.mark.parametrize(
    "planted",
    ["time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "uuid.uuid4", "random.random", "os.urandom"],
)
def test_a_planted_use_of_the_machine_is_caught(planted: str) -> None:
    """Code that asks the machine for time or chance in a simulation raises WallClockUse, which names the place."""
    module, name = planted.split(".")

    async def body(_: SimGround) -> None:
        asked = getattr(importlib.import_module(module), name)
        asked(*[1] * (name == "urandom"))

    with pytest.raises(WallClockUse, match=rf"test_bus_sim called {planted}\(\)"):
        play_sim(body)


@pytest.mark.spec("X-08")
def test_a_deadlock_is_found() -> None:
    """When every task waits and no timer is set the simulation raises Deadlock at once, it does not hang."""

    async def body(_: SimGround) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        play_sim(body)


@pytest.mark.spec("X-08")
def test_a_failure_names_the_line_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken invariant carries one line with its seed and its faults, and that line runs the same story."""

    def broken(*_: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setitem(globals(), "judge", broken)
    with pytest.raises(AssertionError, match="planted") as caught:
        tell(5, "drop")
    assert ["repeat with: python tests/simulation/test_bus_sim.py 5 'drop'"] == caught.value.__notes__


@pytest.mark.spec("X-08")
def test_ten_minutes_pass_in_no_time() -> None:
    """Simulated time jumps from timer to timer: the clock shows what the script asked for, to the nanosecond."""

    async def body(ground: SimGround) -> None:
        before = ground.world.now_ns()
        await ground.world.sleep(AWAY_S)
        assert round(AWAY_S * 1e9) == ground.world.now_ns() - before

    play_sim(body)


if __name__ == "__main__":
    print(tell(int(sys.argv[1]), sys.argv[2])[0])  # noqa: T201 - the line that repeats a failure prints the digest
