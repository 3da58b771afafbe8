"""A nerve killed at every step it takes, and several replicas of one nerve racing: always one history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from deploy.recheck import Rerun
from nerves.consensus import ConsensusNerve
from nerves.overload import OverloadNerve
from nerves.overload.nerve import LoadState
from nerves.registry import RegistryNerve
from shared.bus import Bus, Context
from shared.bus.sim import Faults
from shared.codec import decode
from shared.envelope import Verdict
from shared.errors import Refusal, Refused, Unreachable
from shared.message import Decision, Message
from shared.part import Nerve, declaration
from shared.part.mind import Decided as Outcome
from shared.part.mind import Mind
from shared.subjects.consensus import MakeProposal, ProposalStatus
from shared.subjects.nervous import LoadAssessed, VitalsWave
from shared.subjects.registry import FamilyStatus
from shared.subjects.system import Decided
from shared.world import new_id, now_ms, simulate
from tests.ground import ENV, Founded, SimGround, play_sim
from tests.mortal import FOREVER, Life, Theatre
from tests.parts import Add, Added, Heard, Sum, TallyNerve, raw, tallying
from tests.promotions import FAMILY, run, verified
from tests.proposals import PROPOSAL, ballot, facts, place

ADD = f"{ENV}.trial.tally.add.request"


async def told(bus: Bus, message: Add, message_id: bytes, wait_s: float = 1.0) -> Decided | None:
    """Send a command with its id; None when nobody answers, or not with a decision."""
    try:
        answer = await raw(bus, ADD, message, {"ce-id": message_id.hex()}, wait_s)
        return decode(Decided, answer.data)
    except (Refused, Unreachable):
        return None


async def insist(bus: Bus, message: Add, message_id: bytes) -> Decided:
    """Send a command again and again with the same id until it is decided."""
    async with asyncio.timeout(600):
        while True:
            answer = await told(bus, message, message_id, 8.0)
            if answer is not None:
                return answer


async def history(
    bus: Bus, nerve: Nerve[Any, Any], cls: type[Decision]
) -> tuple[list[tuple[bytes, Any]], dict[str, Any]]:
    """The nerve's (event id, decision) in log order and its folded states; nothing is void, everything can be rerun."""
    again, events = Rerun(nerve), list[tuple[bytes, Any]]()
    async for verdict in bus.replay():
        assert [] == verdict.void()
        for offset, same in again.take(verdict):
            assert same, f"decision at {verdict.entry.index} differs when run again"
            events.append((verdict.events[offset].id, decode(cls, bytes(verdict.events[offset].data))))
    return events, again.states


def places(verdicts: Sequence[Verdict]) -> dict[bytes, tuple[int, int]]:
    """Where each event stands."""
    return {event.id: (verdict.entry.index, offset) for verdict in verdicts for offset, event in verdict.admitted()}


# Killed at every step


Phase = tuple[bool, bool, bool]  #: when the nerve died: had it stored its decision, said its sum, answered


async def killed_while_adding(steps: int) -> tuple[list[tuple[bytes, Any]], Phase | None]:
    """Add 1, kill the nerve `steps` after it began to add 2, repeat that to its successor, and add 3."""
    ground = SimGround()
    theatre = Theatre(ground)
    _, signer = await tallying(ground)
    asker, life, sums = await theatre.asker(), Life(FOREVER), Heard()
    await asker.subscribe(Sum.pattern(ENV), sums)
    first = await theatre.carry_mortal(TallyNerve(), signer, life)
    ids = [bytes([n]) * 16 for n in (1, 2, 3)]
    await insist(asker, Add("ann", 1), ids[0])
    life.steps = life.taken + steps
    before = await told(asker, Add("ann", 2), ids[1])
    events, _ = await history(asker, TallyNerve(), Added)
    phase = (len(events) == 2, len(sums.all) == 2, before is not None) if life.over else None
    if not life.over:
        await first.halt()
        life.steps = 0
        life.step()
    successor = await theatre.carry_mortal(TallyNerve(), signer, Life(FOREVER))
    after = await insist(asker, Add("ann", 2), ids[1])
    await insist(asker, Add("ann", 3), ids[2])
    if before is not None:
        assert (before.index, before.offset, before.id) == (after.index, after.offset, after.id)
    events, states = await history(asker, TallyNerve(), Added)
    assert successor.mind is not None
    assert states["ann"] == successor.mind.state("ann")
    return events, phase


@pytest.mark.spec("NIM-01", "X-07")
def test_a_nerve_killed_at_any_step_leaves_one_history() -> None:
    """Killed before or after deciding, appending, reading back, evolving, emitting: its successor goes on from one log.

    The command is repeated with its id, as who asked must; the log and the state are those of a nerve that never died.
    """
    untouched, phase = simulate(lambda: killed_while_adding(FOREVER))
    assert (None, [1, 3, 6]) == (phase, [decision.total for _, decision in untouched])
    phases: list[Phase] = []
    while len(phases) < 1_000:
        found, phase = simulate(lambda: killed_while_adding(len(phases)))
        assert untouched == found, f"killed after {len(phases)} steps"
        if phase is None:
            break
        phases.append(phase)
    stored, said, answered = (True, False, False), (True, True, False), (True, True, True)
    assert sorted(phases) == phases, "later steps are later in the story"
    assert {(False, False, False), stored, said, answered} == set(phases), phases
    assert phases.count(stored) >= 3, "between storing and emitting lie reading back, admitting and evolving"


async def killed_while_hearing(steps: int) -> tuple[list[str], bool]:
    """Let the overload nerve hear busy readings, and kill it `steps` after the third began to arrive."""
    ground = SimGround()
    theatre = Theatre(ground)
    founded = await Founded.on(ground)
    signer = await founded.introduce("overload", LoadAssessed.pattern(ENV))
    sensor, life = await theatre.asker("sensor_cell"), Life(FOREVER)
    first = await theatre.carry_mortal(OverloadNerve(), signer, life)

    async def feel(times: int) -> None:
        for _ in range(times):
            taken_ms = now_ms(ground.world)
            await sensor.emit(VitalsWave("vitals", 900_000, "", 1, "here", "a" * 16, taken_ms, 950_000, 0, 0, 0))
            await ground.world.sleep(1.0)

    await feel(2)
    life.steps = life.taken + steps
    await feel(1)
    died = life.over
    if not died:
        await first.halt()
        life.steps = 0
        life.step()
    successor = await theatre.carry_mortal(OverloadNerve(), signer, Life(FOREVER))
    await feel(5)
    events, states = await history(sensor, OverloadNerve(), LoadAssessed)
    assert successor.mind is not None
    assert LoadState("OVERLOADED") == states["here"] == successor.mind.state("here")
    return [decision.level for _, decision in events], died


@pytest.mark.spec("NIM-01", "X-07")
def test_an_overload_is_decided_once_whenever_the_nerve_is_killed() -> None:
    """Killed at any step around its decision, its window lost, the nerve's successor repeats nothing."""
    kills, died = 0, True
    while died:
        steps = kills
        levels, died = simulate(lambda steps=steps: killed_while_hearing(steps))
        assert ["OVERLOADED"] == levels, f"killed after {steps} steps"
        kills += died
    assert kills >= 10, f"the nerve took only {kills} steps: something is not counted"


# Replicas


TROUBLE = (
    Faults(),
    Faults(drop=0.1, duplicate=0.1, delay_s=0.05),
    Faults(lose_ack=0.2, lose_append=0.2, delay_s=0.02),
    Faults(drop=0.2, duplicate=0.3, delay_s=0.5, lose_ack=0.1, lose_append=0.1),
)
COMMANDS = 6


async def race(seed: int, replicas: int, faults: Faults) -> None:
    """Let replicas of one nerve hear the same commands about one entity at once, and judge the one history."""
    ground = SimGround(seed)
    theatre = Theatre(ground)
    _, signer = await tallying(ground)
    runners = [await theatre.carry_mortal(TallyNerve(), signer, Life(FOREVER)) for _ in range(replicas)]
    askers = [await theatre.asker(f"asker{n}") for n in range(COMMANDS)]
    ground.server.faults = faults
    commands = [(Add("ann", 2**n), bytes([n]) * 16) for n in range(COMMANDS)]
    asking = (insist(asker, *command) for asker, command in zip(askers, commands, strict=True))
    answers = await asyncio.gather(*asking)
    again = [await insist(asker, *command) for asker, command in zip(askers, commands, strict=True)]
    ground.server.faults = Faults()
    await ground.world.sleep(120)
    events, states = await history(askers[0], TallyNerve(), Added)
    assert {2**n for n in range(COMMANDS)} == {decision.n for _, decision in events}
    assert COMMANDS == len(events), "no command takes effect twice"
    assert 2**COMMANDS - 1 == states["ann"].total
    stored = places([verdict async for verdict in askers[0].replay()])
    for answer, repeat in zip(answers, again, strict=True):
        assert (answer.index, answer.offset) == (repeat.index, repeat.offset) == stored[bytes.fromhex(answer.id)]
    for runner in runners:
        runner.raise_if_broken()
        assert runner.mind is not None
        await runner.bus.follow(runner.mind.lane("ann"))
        assert states["ann"] == runner.mind.state("ann")


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("faults", TROUBLE, ids=["calm", "lossy", "unacknowledged", "all"])
def test_replicas_of_one_nerve_make_one_history(replicas: int, faults: Faults) -> None:
    """However replicas race and whatever is lost, doubled or late, each command takes effect once, at one position."""
    for seed in range(15):
        try:
            simulate(lambda seed=seed: race(seed, replicas, faults))
        except Exception as error:
            error.add_note(f"seed {seed}, {replicas} replicas, {faults}")
            raise


@pytest.mark.spec("X-07", "ILL-01", "ZER-02")
@pytest.mark.parametrize(
    ("nerve", "status", "begins", "goes_on"),
    [
        (ConsensusNerve(), ProposalStatus(PROPOSAL), MakeProposal(PROPOSAL, facts(), None), ballot("ai", "pass")),
        (RegistryNerve(), FamilyStatus(FAMILY), run(), verified()),
    ],
    ids=["a ballot", "evidence"],
)
@pytest.mark.parametrize("behind_s", [0.0, 1.0], ids=["one server", "servers behind"])
def test_a_replica_that_is_behind_drops_nothing(
    nerve: Nerve[Any, Any], status: Message, begins: Message, goes_on: Message, behind_s: float
) -> None:
    """What rests on another replica's decision is decided by one that looked at the lane before, and told by all."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        grants = [cls.signing_pattern(ENV, nerve.name) for cls in declaration(nerve).decides()]
        signer = await founded.introduce(nerve.name, *grants)
        one, other = [
            Mind(nerve, Bus(ground.world, await ground.wire(nerve.name), nerve.name, nerve.version, [signer]))
            for _ in range(2)
        ]

        async def ahead(_: list[object]) -> None: ...

        async def hear(mind: Mind, message: Message, index: int | None = None) -> Outcome:
            at = None if index is None else place(index)
            return await mind.decide(message, new_id(ground.world), Context(), ahead, at)

        for mind in (one, other):
            receipts, [no] = await hear(mind, status)
            assert ([], True) == (receipts, isinstance(no, Refusal))
        [first], _ = await hear(one, begins, one.bus.known)
        [second], _ = await hear(other, goes_on, first.index)
        assert first.index < second.index
        await ground.world.sleep(2 * behind_s)
        for mind in (one, other):
            receipts, [told] = await hear(mind, status)
            assert ([], False) == (receipts, isinstance(told, Refusal))
            assert other.states == mind.states

    for seed in range(10):
        play_sim(body, seed, Faults(behind_s=behind_s))
