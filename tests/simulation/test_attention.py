"""Gates, thalamus and outcomes together, under simulated time, with drops, duplicates, lost words and crashes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.commands.costs import read_costs
from deploy.organism import Organism
from deploy.recheck import reruns_of
from deploy.sim_host import SimHost, Trouble
from deploy.simulation import Chaos, Judge
from nerves.gate import GateNerve
from nerves.outcome import OutcomeNerve
from nerves.thalamus import ThalamusNerve
from shared.bus import Bus, Delivery
from shared.bus.sim import Faults
from shared.codec import decode
from shared.config import load
from shared.envelope import Prefix
from shared.errors import Fault
from shared.message import Decision, Message, lookup
from shared.subjects.gates import (
    GateRequest,
    OutcomeJudged,
    OutcomeRequest,
    ReflexActed,
    ReflexFired,
    ReflexGranted,
    SignalVerified,
    WeightChanged,
)
from shared.subjects.meaning import UNKNOWN
from shared.subjects.thalamus import BeatClosed, Escalated, Observed, Routed, Withheld
from shared.world import SimWorld, now_ms, simulate
from tests.gates import felt, vector

REGIONS = ("math", "danger", UNKNOWN)
SETTLE_S = 90.0


@dataclass
class Life:
    """What was felt, what the log holds, and what was said on the bus."""

    decisions: list[Decision] = field(default_factory=list[Decision])
    heard: list[Message] = field(default_factory=list[Message])
    differing: int = 0
    digest: str = ""
    costs: dict[str, Observed] = field(default_factory=dict[str, Observed])
    balance_ulf: int | None = None

    def of(self, cls: type[Any]) -> list[Any]:
        """Every decision, or every signal, of one class."""
        return [each for each in (*self.decisions, *self.heard) if isinstance(each, cls)]


async def _live(seed: int, trouble: Trouble, seconds: int) -> Life:
    """Let two sources feel things, a body report what became of it, and everything else go wrong."""
    world = SimWorld("dev", seed)
    host = SimHost(world, trouble)
    judge = Judge(Prefix("dev"))
    host.server.witness = judge.witness
    organism = Organism(host, load({}, {"env": "dev", "site": "sim", "home": "/nonexistent"}, "sim"))
    calm, host.server.faults = host.server.faults, Faults()
    await organism.start([OutcomeNerve(), GateNerve(), ThalamusNerve()])
    await organism.add(GateNerve(), "gate-2")
    host.server.faults = calm
    bus = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
    life = Life()
    await bus.subscribe("dev.nervous.>", lambda delivery: _keep(life, delivery))
    chaos = Chaos(host, organism, world.fork("chaos"), trouble)
    task = asyncio.get_running_loop().create_task(chaos.live())
    await _feel(bus, life, world.fork("felt"), seconds)
    task.cancel()
    await chaos.calm()
    await world.sleep(SETTLE_S)
    judge.raise_if_broken()
    for runner in organism.runners.values():
        runner.raise_if_broken()
    parts = [organism.runners[name].part for name in ("gate", "outcome", "thalamus")]
    for verdict in judge.verdicts:
        cls = lookup(verdict.entry.subject)
        assert cls is not None
        for _, event in verdict.admitted():
            decision = decode(cls, bytes(event.data))
            assert isinstance(decision, Decision)
            life.decisions.append(decision)
    for rerun in reruns_of(parts):
        life.differing += sum(not same for verdict in judge.verdicts for _, same in rerun.take(verdict))
    life.digest = judge.hasher.hexdigest()
    life.costs, life.balance_ulf, _ = await read_costs(bus)
    await organism.stop()
    return life


def _keep(life: Life, delivery: Delivery) -> None:
    cls = lookup(delivery.subject)
    if cls in (ReflexActed, Routed):
        life.heard.append(decode(cls, delivery.data))


async def _feel(bus: Bus, life: Life, chance: SimWorld, seconds: int) -> None:
    """Feel two waves a second of a drawn region; report on every other verified signal or reflex that is seen."""
    for n in range(seconds):
        region = REGIONS[int(chance.chance() * len(REGIONS))]
        if n % 20 == 0:
            await _ask(bus, GateRequest("danger"))
        for place, source in enumerate("ab"):
            wave_id = 2 * n + place
            wave = felt(wave_id, source, 700_000, region=region, taken_ms=now_ms(bus.world), meaning=vector(0, 1))
            await bus.emit(wave, message_id=wave_id.to_bytes(16, "big"))
            await chance.sleep(0.1)
        acts = life.of(ReflexActed)
        if acts and n % 2:
            found = 0 if chance.chance() < 0.7 else 100
            await _ask(bus, OutcomeRequest("danger", acts[-1].wave_id, 0, found, 10, "a trial"))
        await chance.sleep(0.8)


async def _ask(bus: Bus, request: GateRequest | OutcomeRequest) -> None:
    try:
        await bus.request(request)
    except Fault:
        return  # whoever should answer is down; asked again another time


def repeated(things: Iterable[object]) -> list[object]:
    """What occurs more than once."""
    return [thing for thing, count in Counter(things).items() if count > 1]


@pytest.mark.spec("NIM-04", "NIM-05", "NIM-06", "NIM-07", "NIM-08", "NIM-10")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("faults", ["", "drop=0.05,duplicate=0.1,delay=0.3,lose_ack=0.05,lose_append=0.02,crash=6"])
def test_attention_is_one_history(seed: int, faults: str) -> None:
    """Whatever is lost, doubled or crashes: each wave opens, fires and is judged at most once, each verified signal is
    routed exactly once, nobody acts without a grant, the account never goes below zero, and every decision comes out
    again from its evidence.
    """
    life = simulate(lambda: _live(seed, Trouble.parse(faults), 120))
    assert 0 == life.differing
    verified = [each.signal for each in life.of(SignalVerified)]
    assert len(verified) > 10
    assert [] == repeated(verified)
    assert [] == repeated(each.wave_id for each in life.of(ReflexFired))
    assert [] == repeated(each.signal for each in life.of(OutcomeJudged))
    assert [] == repeated(each.signal for each in life.of(WeightChanged))
    climbed = [each.signal for each in (*life.of(Escalated), *life.of(Withheld))]
    assert [] == repeated(climbed)
    unknown = [each.signal for each in life.of(SignalVerified) if each.domain == UNKNOWN]
    assert set(unknown) <= set(climbed), "what is novel climbs, or it is written down why not"
    assert all(each.balance_ulf >= 0 for each in (*life.of(Escalated), *life.of(BeatClosed)))
    first = next(place for place, each in enumerate(life.decisions) if isinstance(each, ReflexGranted))
    assert all(place > first for place, each in enumerate(life.decisions) if isinstance(each, ReflexFired))
    acted = {each.wave_id for each in life.of(ReflexActed)}
    assert acted or faults
    if not faults:
        assert acted == {each.wave_id for each in life.of(ReflexFired)}
        assert set(verified) == {*climbed, *(each.signal for each in life.of(Routed))}


@pytest.mark.spec("NIM-10")
def test_what_was_measured_stands_in_the_log() -> None:
    """Each part that worked is observed, with what a message of it costs, and `costs` shows the last balance."""
    life = simulate(lambda: _live(5, Trouble.parse(""), 60))
    assert {"gate", "outcome", "thalamus"} <= set(life.costs)
    for part in ("gate", "outcome", "thalamus"):
        observed = life.costs[part]
        assert observed.messages > 0
        assert observed.moved_bytes > 0
        assert observed.cost_ulf > 0
        assert observed.energy_uj is None
    assert life.of(BeatClosed)[-1].balance_ulf == life.balance_ulf


@pytest.mark.spec("X-08")
def test_the_same_seed_gives_the_same_log() -> None:
    """Two lives of one seed, with crashes, write the same bytes."""
    trouble = Trouble.parse("drop=0.05,crash=6")
    one, two = (simulate(lambda: _live(11, trouble, 40)).digest for _ in range(2))
    assert one == two
