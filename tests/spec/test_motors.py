"""Who may move a body, how its motors follow, and what they do when nobody says anything any more."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cells.distance_cell import DistanceCell
from organs.motors import Authority, BenchMotors, Drive, Motion, MotorsOrgan
from organs.motors.authority import FASTEST_CDEG_S, FASTEST_MM_S, RANKS, REST
from organs.motors.drive import ACCELERATION, STEP_MS
from organs.motors.outcomes import SIGNALS, Signals
from shared.config import load
from shared.errors import Refusal, Refused
from shared.part import Part
from shared.subjects.body import (
    CRUISE_MM_S,
    HOLD_MS,
    STOPPING_MM,
    TURN_CDEG_S,
    CollisionDecided,
    CollisionReason,
    Commander,
    Helm,
    MotorReply,
    MotorRequest,
)
from shared.subjects.gates import Outcome, OutcomeRequest, ReflexActed
from shared.world import RealWorld, SimWorld, World, now_ms, simulate
from tests.organisms import Living, live_nats

NOW_MS = 1_767_225_600_000
AHEAD = Helm("body", "exploration", 1, NOW_MS).forward()


def helm(commander: Commander = "exploration", number: int = 1, at_ms: int = NOW_MS) -> Helm:
    """Who commands."""
    return Helm("body", commander, number, at_ms)


def code(judged: Motion | Refusal) -> str:
    """The refusal's code; nothing where a command is obeyed."""
    return judged.code if isinstance(judged, Refusal) else ""


# Who may move it


@pytest.mark.spec("NIM-12")
def test_a_command_is_obeyed_for_as_long_as_it_holds() -> None:
    """A command moves the body until it ends by its own words, and not at all once it has ended."""
    assert Motion(CRUISE_MM_S, 0, NOW_MS + HOLD_MS) == Authority("body").judge(AHEAD, NOW_MS)
    assert "B010" == code(Authority("body").judge(AHEAD, NOW_MS + HOLD_MS))


@pytest.mark.spec("NIM-12")
def test_a_clock_that_is_ahead_moves_it_no_longer() -> None:
    """However far ahead a commander's clock is, its command holds no longer than it may by the motors' own."""
    ahead = Authority("body").judge(helm(at_ms=NOW_MS + 20_000).forward(), NOW_MS)
    assert Motion(CRUISE_MM_S, 0, NOW_MS + HOLD_MS) == ahead
    assert "B010" == code(Authority("body").judge(helm(at_ms=NOW_MS + 40_000).forward(), NOW_MS))


@pytest.mark.spec("NIM-12")
def test_numbers_fence() -> None:
    """After a command no earlier one of the same commander is obeyed; the same number renews, others' do not count."""
    motors = Authority("body")
    assert ["", "", "M001", ""] == [
        code(motors.judge(helm(number=number).forward(), NOW_MS)) for number in (5, 5, 4, 6)
    ]
    assert "" == code(motors.judge(helm("charging", 1).forward(), NOW_MS))


@pytest.mark.spec("NIM-12", "NIM-13")
def test_the_higher_rank_moves_it() -> None:
    """Collision outranks a person, a person charging, charging exploration, each for as long as its command holds."""
    ranks: tuple[Commander, ...] = ("collision", "person", "charging", "exploration")
    for higher, lower in pairwise(ranks):
        motors = Authority("body")
        assert "" == code(motors.judge(helm(lower).forward(), NOW_MS))
        assert "" == code(motors.judge(helm(higher).turn(TURN_CDEG_S), NOW_MS))
        assert "M002" == code(motors.judge(helm(lower, 2).forward(), NOW_MS + HOLD_MS - 1))
        assert "" == code(motors.judge(helm(lower, 3, NOW_MS + HOLD_MS).forward(), NOW_MS + HOLD_MS))


@pytest.mark.spec("NIM-12")
def test_a_stop_is_always_obeyed() -> None:
    """A stop that is late, outnumbered and outranked stops the body all the same, and takes nothing from its holder."""
    motors = Authority("body")
    motors.judge(helm("collision", 9).turn(TURN_CDEG_S), NOW_MS)
    assert REST == motors.judge(helm("exploration", 0, NOW_MS - 60_000).stop(), NOW_MS)
    assert "M002" == code(motors.judge(helm("exploration", 1).forward(), NOW_MS))


@pytest.mark.spec("NIM-12")
def test_what_these_motors_cannot_do() -> None:
    """What is too fast, and what is for another body, is refused by name."""
    fast = MotorRequest("body", "person", 1, "forward", 301, 0, NOW_MS, HOLD_MS)
    assert "M003" == code(Authority("body").judge(fast, NOW_MS))
    assert "B012" == code(Authority("other").judge(AHEAD, NOW_MS))


@pytest.mark.spec("NIM-06")
def test_a_reflex_holds_the_motors() -> None:
    """A reflex takes the motors once for each wave; nobody but the collision nerve moves them in the next moment."""
    motors = Authority("body")
    assert (True, False) == (motors.reflex(b"1", NOW_MS), motors.reflex(b"1", NOW_MS))
    assert "M002" == code(motors.judge(helm("person").forward(), NOW_MS + 299))
    assert "" == code(motors.judge(helm("collision").turn(TURN_CDEG_S), NOW_MS + 1))
    assert not motors.reflex(b"2", NOW_MS + 2)  # it is turning away already
    for n in range(2_000):
        motors.reflex(b"%d" % n, NOW_MS + HOLD_MS + 1)
    assert 1_000 == len(motors.reflexes)


REQUESTS = st.builds(
    MotorRequest,
    site=st.sampled_from(["body", "other"]),
    commander=st.sampled_from(RANKS),
    number=st.integers(0, 5),
    action=st.sampled_from(["forward", "turn", "stop"]),
    speed_mm_s=st.integers(-1_000, 1_000),
    rate_cdeg_s=st.integers(-36_000, 36_000),
    issued_ms=st.integers(NOW_MS - 2_000, NOW_MS + 60_000),
    hold_ms=st.integers(0, 1_000),
)


@pytest.mark.spec("NIM-12")
@given(st.lists(st.tuples(REQUESTS, st.integers(0, 500))))
def test_whoever_commands_whatever(requests: list[tuple[MotorRequest, int]]) -> None:
    """No motion outlasts a second or exceeds the limits; no number goes back; nobody is pushed aside from below."""
    motors, now = Authority("body"), NOW_MS
    for request, later_ms in requests:
        now += later_ms
        numbers, holder, until_ms = dict(motors.numbers), motors.holder, motors.held_until_ms
        motion = motors.judge(request, now)
        assert all(motors.numbers[commander] >= number for commander, number in numbers.items())
        if now < until_ms:
            assert RANKS.index(motors.holder) <= RANKS.index(holder)
        if isinstance(motion, Refusal):
            assert (numbers, holder, until_ms) == (motors.numbers, motors.holder, motors.held_until_ms)
            assert request.action != "stop" or request.site == "other"
            continue
        assert motion == REST or now < motion.until_ms <= now + 1_000
        assert abs(motion.speed_mm_s) <= FASTEST_MM_S
        assert abs(motion.rate_cdeg_s) <= FASTEST_CDEG_S
        assert motion == REST or request.number >= numbers.get(request.commander, 0)


# How the motors follow


def driven(*commands: tuple[int, int, int], until_ms: int) -> tuple[Drive, list[str]]:
    """A drive that was given (at, speed, rate) each for 400 ms, and the states it went through."""
    drive, states = Drive(), list[str]()
    for at_ms in range(STEP_MS, until_ms + 1, STEP_MS):
        for when, speed, rate in commands:
            if at_ms - STEP_MS <= when < at_ms:
                drive.command(speed, rate, when + HOLD_MS)
        drive.step(at_ms)
        if not states or states[-1] != drive.state:
            states.append(drive.state)
    return drive, states


@pytest.mark.spec("NIM-12")
def test_the_motors_states() -> None:
    """IDLE, COMMANDED, ACCELERATING, MOVING, DECELERATING, STOPPED, IDLE: each costs what it was designed to cost."""
    drive, states = driven((100, 100, 0), until_ms=3_000)
    assert ["IDLE", "COMMANDED", "ACCELERATING", "MOVING", "DECELERATING", "STOPPED", "IDLE"] == states
    moving_steps = (HOLD_MS - 250) // STEP_MS  # from 100 mm/s on, until the command ends
    assert 1_900_000 + (moving_steps - 1) * 3_000 == drive.spent_ulf


@pytest.mark.spec("NIM-12")
def test_what_is_not_renewed_ends() -> None:
    """A body at cruise comes to rest within its braking distance after its last command ends; nobody has to say so."""
    drive, way_um = Drive(), 0
    for at_ms in range(STEP_MS, 3_001, STEP_MS):
        if at_ms <= 1_000:
            drive.command(CRUISE_MM_S, 0, at_ms + HOLD_MS)
        drive.step(at_ms)
        way_um += drive.speed_mm_s * STEP_MS if at_ms >= 1_000 + HOLD_MS else 0
    assert 0 == drive.speed_mm_s
    assert way_um <= CRUISE_MM_S**2 * 1_000 // (2 * ACCELERATION)
    assert CRUISE_MM_S**2 // (2 * ACCELERATION) < STOPPING_MM


@pytest.mark.spec("NIM-12")
def test_a_stall_lasts_until_it_is_told_to_move() -> None:
    """Stalled motors stay stalled, also when told to stop, until they are told to move again."""
    drive, _ = driven((0, 200, 0), until_ms=300)
    drive.stall()
    drive.command(0, 0, 10_000)
    drive.step(310)
    assert ("STALLED", 0) == (drive.state, drive.speed_mm_s)
    drive.command(0, TURN_CDEG_S, 10_000)
    drive.step(320)
    assert "COMMANDED" == drive.state


@pytest.mark.spec("NIM-12")
@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(-300, 300), st.integers(-18_000, 18_000)), max_size=8),
    st.integers(0, 3_000),
)
def test_whatever_is_commanded(commands: list[tuple[int, int, int]], more_ms: int) -> None:
    """No command makes the motors leap or exceed what was asked, and after all of them they rest."""
    drive = Drive()
    for at_ms in range(STEP_MS, 7_000 + more_ms, STEP_MS):
        for when, speed, rate in commands:
            if at_ms - STEP_MS <= when < at_ms:
                drive.command(speed, rate, when + HOLD_MS)
        before = drive.speed_mm_s, drive.rate_cdeg_s
        drive.step(at_ms)
        assert abs(drive.speed_mm_s - before[0]) <= ACCELERATION * STEP_MS // 1_000
        assert abs(drive.speed_mm_s) <= 300
    assert (0, 0, "IDLE") == (drive.speed_mm_s, drive.rate_cdeg_s, drive.state)


# The organ


def reflex(wave_id: bytes, domain: str = "danger") -> ReflexActed:
    """A gate's reflex."""
    return ReflexActed(domain, wave_id, 900_000, 1, 0, "danger ahead", NOW_MS, "nervous.cells.distance")


@pytest.mark.spec("NIM-12", "NIM-23")
def test_without_a_motor_nothing_is_pretended() -> None:
    """An organ without a motor refuses every command by name, a stop included, and takes a reflex quietly."""

    async def whole() -> None:
        settings = load({}, {"home": "/nonexistent", "site": "body"}, "body").settings
        organ = MotorsOrgan.build(settings, RealWorld("dev"))
        for request in (AHEAD, helm().stop()):
            with pytest.raises(Refused, match=r"B011.*no motor is configured"):
                await organ.on_move(request)
        await organ.on_reflex(reflex(b"1"))

    asyncio.run(whole())


@pytest.mark.spec("NIM-12", "NIM-23")
def test_a_machine_without_a_body_says_so_on_a_real_server(tmp_path: Path) -> None:
    """On a real server a person's command to a machine without motors comes back as that refusal, by name."""

    def bodiless(world: World) -> list[Part]:
        return [MotorsOrgan(None, "body", world), DistanceCell([], "body")]

    async def life(living: Living) -> None:
        answer = await living.operator.request(helm("person", at_ms=now_ms(living.world)).forward())
        assert isinstance(answer, Refusal)
        assert ("B011", True) == (answer.code, "nothing moved" in answer.detail)

    live_nats(life, tmp_path, bodiless)


@pytest.mark.spec("NIM-06", "NIM-12")
def test_a_reflex_stops_the_body_at_once() -> None:
    """On the way a reflex about danger stops the motors, once for each wave; one about something else does not."""

    async def whole() -> None:
        world = SimWorld("dev", 1)
        motors = BenchMotors(world)
        organ = MotorsOrgan(motors, "body", world)

        async def go() -> None:
            assert isinstance((await organ.on_move(helm(at_ms=now_ms(world)).forward()))[0], MotorReply)
            await world.sleep(0.3)
            await motors.beat()

        await go()
        await organ.on_reflex(reflex(b"1", "joy"))
        assert (CRUISE_MM_S, 0) == motors.drive.goal
        await organ.on_reflex(reflex(b"1"))
        assert (0, 0) == motors.drive.goal
        await world.sleep(1)
        await go()
        await organ.on_reflex(reflex(b"1"))
        assert (CRUISE_MM_S, 0) == motors.drive.goal

    simulate(whole)


def decided(
    reason: CollisionReason = "verified", outcome: Outcome | None = "confirmed", found_mm: int = 380
) -> CollisionDecided:
    """The last step of an evasion that began at NOW_MS and took two seconds."""
    return CollisionDecided(
        site="body",
        before="RESUME",
        path=("IDLE",),
        reason=reason,
        habit="hybrid",
        degraded=False,
        domain="obstacle",
        front_mm=900,
        left_mm=500,
        right_mm=500,
        rate_cdeg_s=TURN_CDEG_S,
        number=7,
        since_ms=NOW_MS,
        at_ms=NOW_MS + 2_000,
        expected_mm=400,
        found_mm=found_mm,
        outcome=outcome,
        confirmed=3,
        failed=1,
        weight_ppm=160_000,
        cost_ulf=0,
        earned_ulf=0,
    )


@pytest.mark.spec("NIM-08")
def test_what_became_of_a_warning() -> None:
    """The first signal of each domain is reported once, with what was expected and found; later ones say the same."""
    signals = Signals()
    signals.note("danger", b"one", NOW_MS - 500)
    signals.note("obstacle", b"two", NOW_MS + 500)
    signals.note("obstacle", b"two again", NOW_MS + 600)
    signals.note("obstacle", b"old", NOW_MS - 60_000)
    said = signals.judged(decided())
    assert [("danger", b"one", 400, 380, 50), ("obstacle", b"two", 400, 380, 50)] == [
        (r.domain, r.signal, r.expected, r.found, r.tolerance) for r in said
    ]
    assert [] == signals.judged(decided())


@pytest.mark.spec("NIM-08")
def test_a_false_alarm_was_no_obstacle() -> None:
    """A warning of something that was not there is reported as far off; a step in between reports nothing."""
    signals = Signals()
    signals.note("obstacle", b"one", NOW_MS)
    assert [] == signals.judged(decided("evaluated", None))
    assert [OutcomeRequest("obstacle", b"one", 0, 900, 50, "evasion 4: clear for 900 mm, 0 mm expected")] == (
        signals.judged(decided("false_alarm", None))
    )


@pytest.mark.spec("X-12")
def test_signals_nobody_reports_on_are_forgotten() -> None:
    """However many signals come, a bounded number of the newest is remembered."""
    signals = Signals()
    for n in range(3 * SIGNALS):
        signals.note("danger", b"%d" % n, NOW_MS)
    assert (SIGNALS, True) == (len(signals.noted), b"%d" % (3 * SIGNALS - 1) in signals.noted)
