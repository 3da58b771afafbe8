"""What the nerves of a body decide: to avoid, to explore, to get energy, and to stand still knowing too little."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerves.charging import ChargingNerve
from nerves.collision import CollisionNerve
from nerves.collision.steps import CLEAR_MM, COMPILED_ULF, RESCAN_MS, judged
from nerves.exploration import ExplorationNerve
from shared.errors import Refusal
from shared.habit import habit_of
from shared.message import Message
from shared.part import Nerve
from shared.subjects.body import (
    EVIDENCE_MS,
    BoxedInWave,
    ChargingDecided,
    CollisionDecided,
    DistanceWave,
    ExplorationDecided,
    LightWave,
    MotorRequest,
    MotorState,
    MotorWave,
    Quality,
    Range,
)
from shared.subjects.gates import ReflexActed
from shared.subjects.nervous import BatteryState, BatteryWave
from shared.subjects.system import Tick

START_MS = 1_767_225_600_000
BEAT_MS = 100


class Body:
    """A body under one nerve: what it feels comes ten times a second, what is decided and commanded is kept."""

    def __init__(self, nerve: Nerve[Any, Any]) -> None:
        self.nerve, self.state, self.window = nerve, nerve.start(), nerve.empty()
        self.now_ms = START_MS
        self.decided: list[Any] = []
        self.commands: list[MotorRequest] = []
        self.waves: list[BoxedInWave] = []
        self.refused: list[Refusal] = []

    def hear(self, message: Message) -> None:
        """Decide about one message as the runner does, and evolve."""
        self.window, said = self.nerve.decide(self.state, self.window, message, self.now_ms)
        if isinstance(said, Refusal):
            self.refused.append(said)
            return
        for one in said:
            if isinstance(one, MotorRequest):
                self.commands.append(one)
            elif isinstance(one, BoxedInWave):
                self.waves.append(one)
            else:
                self.state = self.nerve.evolve(self.state, one)
                self.decided.append(one)

    def see(self, *front_mm: int | None, times: int = 1, **more: Any) -> None:  # noqa: ANN401 - as `distance` has them
        """See these distances ahead, each so many beats long, with a motor that works."""
        for mm in front_mm:
            for _ in range(times):
                self.now_ms += BEAT_MS
                if isinstance(self.nerve, CollisionNerve):
                    self.hear(motor(self.now_ms))
                self.hear(distance(self.now_ms, mm, **more))

    def wait(self, ms: int) -> None:
        """Hear nothing for a while, then beat."""
        self.now_ms += ms
        self.hear(Tick("collision", "0" * 16, 1, self.now_ms))

    @property
    def said(self) -> list[str]:
        """The reasons of what was decided."""
        return [decision.reason for decision in self.decided]

    @property
    def doing(self) -> str:
        """The last command, while it holds."""
        last = self.commands[-1] if self.commands else None
        return last.action if last is not None and self.now_ms < last.issued_ms + last.hold_ms else ""


def distance(  # noqa: PLR0913, PLR0917 - a reading's fields, each with its default
    taken_ms: int,
    front_mm: int | None,
    left_mm: int | None = 500,
    right_mm: int | None = 900,
    sensor: str = "sonar",
    quality: Quality = "STABLE",
) -> DistanceWave:
    """One reading of one sensor; None is a direction in which it does not look."""
    front, left, right = (Range(mm, quality if mm is not None else "ABSENT") for mm in (front_mm, left_mm, right_mm))
    return DistanceWave("obstacle", 900_000, "", 1, "body", sensor, taken_ms, front, left, right)


def lost(taken_ms: int, sensor: str = "sonar") -> DistanceWave:
    """A reading that was lost."""
    nothing = Range(None, "LOST")
    return DistanceWave("distance", 0, "", 1, "body", sensor, taken_ms, nothing, nothing, nothing)


def motor(taken_ms: int, state: MotorState = "MOVING") -> MotorWave:
    """What the motors do."""
    return MotorWave("motor", 700_000, "", 1, "body", taken_ms, state, 200, 0, 0)


def collision() -> Body:
    """A body that sees that the way is clear."""
    body = Body(CollisionNerve("body"))
    body.see(2_000, times=2)
    assert ["ready"] == body.said
    return body


def evade(body: Body) -> int:
    """Let a body meet an obstacle and evade it; return what that cost."""
    before = len(body.decided)
    body.see(250, times=12)
    body.see(1_500, times=8)
    assert "IDLE" == body.state.state
    return sum(decision.cost_ulf for decision in body.decided[before:])


# Avoiding


@pytest.mark.spec("NIM-13")
def test_the_way_of_an_evasion() -> None:
    """At less than 30 cm: DETECT and stop, EVALUATE, EVADE, RESUME, and IDLE when what was expected is found."""
    body = collision()
    body.see(300)
    assert ("", ["ready"]) == (body.doing, body.said)
    body.see(299)
    assert ("stop", "DETECT") == (body.doing, body.state.state)
    body.see(280, times=9)
    assert ("stop", "EVALUATE") == (body.doing, body.state.state)
    body.see(280, times=2)
    assert ("turn", "EVADE") == (body.doing, body.state.state)
    body.see(1_500, times=2)
    assert ("stop", "RESUME") == (body.doing, body.state.state)
    body.see(1_500, times=2)
    assert "IDLE" == body.state.state
    assert ["ready", "obstacle", "evaluated", "obstacle", "clear", "verified"] == body.said
    last = body.decided[-1]
    assert ("confirmed", CLEAR_MM, CLEAR_MM, 5_000_000) == (
        last.outcome, last.expected_mm, last.found_mm, last.earned_ulf
    )  # fmt: skip


@pytest.mark.spec("NIM-13")
def test_the_more_is_verified_the_less_it_deliberates() -> None:
    """Deliberate costs 10 lifeforce, hybrid 5, reflex 2.5, as one evasion after the other is verified."""
    body = collision()
    costs = [evade(body) for _ in range(40)]
    assert [10_000_000] * 10 + [5_000_000] * 26 + [2_500_000] * 4 == costs
    assert (40, 0, 900_000) == (body.state.confirmed, body.state.failed, body.state.weight_ppm)
    assert ["deliberate", "hybrid", "hybrid", "reflex"] == [
        habit_of(ppm) for ppm in (299_999, 300_000, 800_000, 800_001)
    ]


@pytest.mark.spec("NIM-13", "NIM-10")
def test_a_reflex_is_compiled_once() -> None:
    """The hundredth verified evasion earns what a compiled reflex earns; none after it does again."""
    body = collision()
    for _ in range(103):
        evade(body)
    earned = [decision.earned_ulf for decision in body.decided if decision.reason == "verified"]
    assert [99] == [number for number, ulf in enumerate(earned) if ulf > COMPILED_ULF]


@pytest.mark.spec("NIM-06", "NIM-13")
def test_a_gates_reflex_is_acted_on_at_once() -> None:
    """Where a gate's reflex stopped the body, it turns without deliberating, and the decision says so."""
    body = collision()
    body.see(250)
    body.hear(ReflexActed("danger", b"1", 900_000, 1, 0, "danger ahead", body.now_ms, "nervous.cells.distance"))
    assert ("EVADE", "reflex", ("EVALUATE", "EVADE")) == (
        body.state.state, body.decided[-1].habit, body.decided[-1].path
    )  # fmt: skip
    other = collision()
    other.hear(ReflexActed("danger", b"1", 900_000, 1, 0, "danger ahead", other.now_ms, "nervous.cells.distance"))
    other.see(250)
    assert (("DETECT", "EVALUATE", "EVADE"), 0) == (
        other.decided[-1].path, other.decided[-1].at_ms - other.decided[-1].since_ms
    )  # fmt: skip


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize("domain", ["joy", "danger"])
def test_a_reflex_that_is_about_nothing_here(domain: str) -> None:
    """A reflex about something else, or that there is no danger, turns nothing."""
    body = collision()
    body.see(250)
    body.hear(
        ReflexActed(domain, b"1", 900_000, 1 if domain == "joy" else -1, 0, "", body.now_ms, "nervous.cells.distance")
    )
    assert body.state.state in ("DETECT", "EVALUATE")


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize(
    ("left", "right", "clockwise", "degraded"),
    [
        (500, 900, True, False),
        (900, 500, False, False),
        (900, None, False, True),
        (200, None, True, True),
        (None, 900, True, True),
        (None, 200, False, True),
        (None, None, True, True),
    ],
)
def test_which_way_it_turns(left: int | None, right: int | None, clockwise: bool, degraded: bool) -> None:  # noqa: FBT001
    """It turns to the side with more room; without a sensor at a side it still turns, and says that it is degraded."""
    body = collision()
    body.see(250, times=12, left_mm=left, right_mm=right)
    turning = body.decided[-1]
    assert ("EVADE", clockwise, degraded) == (body.state.state, turning.rate_cdeg_s > 0, turning.degraded)


@pytest.mark.spec("NIM-13")
def test_in_a_corner_it_goes_on_turning_the_same_way() -> None:
    """An obstacle right after an evasion is evaded the same way round, or a corner would hold the body for ever."""
    body = collision()
    evade(body)
    body.see(250, times=12, left_mm=2_000, right_mm=100)
    assert body.decided[-1].rate_cdeg_s > 0


@pytest.mark.spec("NIM-13")
def test_one_false_reading_is_a_false_alarm() -> None:
    """A body that looks again and finds nothing goes on, and neither trusts itself more nor less."""
    body = collision()
    body.see(250)
    body.see(2_000, times=12)
    assert ("false_alarm", "IDLE", 100_000) == (body.said[-1], body.state.state, body.state.weight_ppm)


@pytest.mark.spec("NIM-13")
def test_what_is_found_decides_what_was_learned() -> None:
    """Off by up to 5 cm an evasion is confirmed, by up to 15 partial, else failed, and then it turns on."""
    assert ["confirmed", "confirmed", "partial", "partial", "failed"] == [
        judged(400, found) for found in (400, 350, 349, 250, 249)
    ]
    body = collision()
    body.see(250, times=12)
    body.see(1_500, times=2)
    body.see(100, times=2)
    assert ("not_clear", "EVADE", 1, 80_000) == (
        body.said[-1], body.state.state, body.state.failed, body.state.weight_ppm
    )  # fmt: skip


@pytest.mark.spec("NIM-13")
def test_a_collision_is_known_and_evaded() -> None:
    """Motors that stall ran into something, seen or not: that costs, and is turned away from for at least a second."""
    body = collision()
    body.now_ms += BEAT_MS
    body.hear(motor(body.now_ms, "STALLED"))
    assert ("stalled", -10_000_000, "stop") == (body.said[-1], body.decided[-1].earned_ulf, body.doing)
    body.see(2_000, times=11)
    assert "EVADE" == body.state.state
    body.see(2_000, times=8)
    assert "EVADE" == body.state.state
    body.see(2_000, times=5)
    assert "verified" == body.said[-1]
    assert 0 == body.decided[-1].earned_ulf


@pytest.mark.spec("NIM-13")
def test_sensors_that_contradict_each_other_stop_it() -> None:
    """One sensor sees an obstacle, another a clear way: it stops, names that, and in the end believes the nearer."""
    body = collision()
    for _ in range(12):
        body.now_ms += BEAT_MS
        body.hear(motor(body.now_ms))
        body.hear(distance(body.now_ms, 2_000, sensor="infrared", left_mm=None, right_mm=None))
        body.hear(distance(body.now_ms, 250))
        assert body.doing in ("stop", "turn")
    assert ("contradiction", "EVADE") == (body.said[-1], body.state.state)
    assert "contradiction" in body.said[:2]


@pytest.mark.spec("NIM-13")
def test_with_no_way_out_it_stops_and_asks_for_help() -> None:
    """Once around and nowhere clear: it stands still, says so with a wave, and looks again only once a minute."""
    body = collision()
    body.see(200, times=60)
    assert ("BOXED_IN", "stop", 1) == (body.state.state, body.doing, len(body.waves))
    assert "boxed in" in body.waves[0].content
    body.see(200, times=RESCAN_MS // BEAT_MS - 20)
    assert {"stop"} == {command.action for command in body.commands[-500:]}
    body.see(200, times=80)
    assert (2, "BOXED_IN", "rescan") == (len(body.waves), body.state.state, body.said[-2])
    body.see(900, times=2)
    assert ("freed", "IDLE") == (body.said[-1], body.state.state)


@pytest.mark.spec("NIM-13")
def test_being_boxed_in_outlasts_a_silence() -> None:
    """A silent sensor does not make it forget that there is no way out."""
    body = collision()
    body.see(200, times=60)
    body.wait(EVIDENCE_MS + 1)
    assert ("silent", "DISABLED") == (body.said[-1], body.state.state)
    body.see(200, times=3)
    assert ("BOXED_IN", 1) == (body.state.state, len(body.waves))


# Too little is known


@pytest.mark.spec("NIM-13", "X-06")
def test_silence_stops_it() -> None:
    """When nothing was seen ahead for 0.4 s it is disabled and stopped, whatever it was doing; then it goes on."""
    body = collision()
    body.see(250, times=12)
    assert "turn" == body.doing
    for _ in range(5):
        body.now_ms += BEAT_MS
        body.hear(lost(body.now_ms))
    assert ("silent", "DISABLED", "stop") == (body.said[-1], body.state.state, body.doing)
    body.see(2_000)
    assert ("ready", "IDLE") == (body.said[-1], body.state.state)


@pytest.mark.spec("NIM-13")
def test_every_sensor_that_spoke_must_go_on_speaking() -> None:
    """One of two sensors falls silent: it may be the one that sees what is there; so the body stops, for a minute."""
    body = collision()
    body.hear(distance(body.now_ms, 2_000, sensor="infrared"))
    body.see(2_000, times=6)
    assert ("silent", "DISABLED") == (body.said[-1], body.state.state)
    body.see(2_000, times=600)
    assert ("ready", "IDLE") == (body.said[-1], body.state.state)


@pytest.mark.spec("NIM-13")
def test_without_a_front_sensor_it_is_disabled() -> None:
    """A body whose sensors look aside only is disabled, and its motors are stopped."""
    body = collision()
    body.see(None, times=2)
    assert ("no_front", "DISABLED", "stop") == (body.said[-1], body.state.state, body.doing)


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize("state", ["ABSENT", "EMPTY"])
def test_without_a_motor_it_is_disabled(state: MotorState) -> None:
    """Where there is no motor, or none with power, nothing can be evaded."""
    body = collision()
    body.hear(motor(body.now_ms + 1, state))
    assert ("no_motor", "DISABLED") == (body.said[-1], body.state.state)


@pytest.mark.spec("NIM-13")
def test_what_comes_late_or_from_the_future_says_nothing() -> None:
    """A reading older than what is known, repeated, or from a clock far ahead, changes nothing."""
    body = collision()
    body.see(2_000)
    window = body.window
    for taken_ms in (body.now_ms, body.now_ms - 200, body.now_ms + 60_000):
        body.hear(distance(taken_ms, 100))
    assert (window, "IDLE", ["R001"]) == (body.window, body.state.state, [no.code for no in body.refused])


AHEAD_MS = st.one_of(st.integers(1, EVIDENCE_MS + 1), st.integers(1_000, 30_000))


@pytest.mark.spec("NIM-13", "X-06")
@given(AHEAD_MS)
def test_a_clock_that_is_ahead_does_not_blind_avoiding(ahead_ms: int) -> None:
    """After one reading stamped ahead of time the next real ones count: the obstacle and the stall are decided."""
    body = collision()
    body.hear(distance(body.now_ms + ahead_ms, 2_000))
    body.see(60, times=2)
    assert (["ready", "danger", "evaluated"], "stop") == (body.said, body.doing)
    other = collision()
    other.hear(motor(other.now_ms + ahead_ms))
    other.now_ms += BEAT_MS
    other.hear(motor(other.now_ms, "STALLED"))
    assert "stalled" == other.said[-1]


@pytest.mark.spec("NIM-13", "X-06")
@given(AHEAD_MS)
def test_a_clock_that_is_ahead_keeps_nothing_fresh(ahead_ms: int) -> None:
    """What was stamped ahead of time is no evidence for longer than any other: heard last, it ends in 0.4 s."""
    body = collision()
    body.hear(distance(body.now_ms + ahead_ms, 2_000))
    body.wait(EVIDENCE_MS + 1)
    assert ("silent", "DISABLED") == (body.said[-1], body.state.state)
    explorer = Body(ExplorationNerve())
    explorer.see(2_000, times=3)
    explorer.hear(distance(explorer.now_ms + ahead_ms, 2_000))
    explorer.wait(EVIDENCE_MS + 1)
    assert ("silent", "BLIND") == (explorer.said[-1], explorer.state.state)


@pytest.mark.spec("NIM-13", "X-06")
@given(AHEAD_MS)
def test_a_clock_that_is_ahead_leads_nobody_on(ahead_ms: int) -> None:
    """Exploring and charging lead no body on towards what real readings show, whatever one stamped ahead said."""
    explorer, charger = Body(ExplorationNerve()), seeking()
    explorer.see(2_000, times=3)
    charger.hear(light(charger.now_ms, 0))
    charger.see(2_000)
    for body in (explorer, charger):
        assert "forward" == body.doing
        body.hear(distance(body.now_ms + ahead_ms, 2_000))
        before = len(body.commands)
        body.see(60, times=10)
        assert [] == [command for command in body.commands[before:] if command.action == "forward"]


@pytest.mark.spec("NIM-13")
@given(AHEAD_MS)
def test_a_clock_that_is_ahead_shows_no_light_for_ever(ahead_ms: int) -> None:
    """A light stamped ahead of time neither hides the next one nor stays lit longer than any other."""
    body = seeking()
    body.hear(light(body.now_ms + ahead_ms, 0))
    body.now_ms += BEAT_MS
    body.hear(light(body.now_ms, 9_000))
    body.see(2_000)
    assert "turn" == body.doing
    dark = seeking()
    dark.hear(light(dark.now_ms + ahead_ms, 0))
    dark.now_ms += 1_001
    dark.see(2_000)
    assert "" == dark.doing


@pytest.mark.spec("NIM-13")
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["front", "lost", "stalled", "reflex", "tick"]),
            st.integers(0, 2_500),
            st.integers(0, 500),
            st.sampled_from(["sonar", "infrared"]),
            st.sampled_from(["NOISY", "NORMAL", "STABLE"]),
        ),
        max_size=60,
    )
)
def test_it_never_drives_and_never_turns_blindly(felt: list[tuple[str, int, int, str, Quality]]) -> None:
    """Whatever is felt, avoiding never leads the body on, turns it only in EVADE, and never without fresh sight."""
    body = Body(CollisionNerve("body"))
    for what, mm, gap_ms, sensor, quality in felt:
        body.now_ms += gap_ms
        before = len(body.commands)
        match what:
            case "front":
                body.hear(motor(body.now_ms))
                body.hear(distance(body.now_ms, mm, sensor=sensor, quality=quality))
            case "lost":
                body.hear(lost(body.now_ms, sensor))
            case "stalled":
                body.hear(motor(body.now_ms, "STALLED"))
            case "reflex":
                body.hear(ReflexActed("danger", b"1", 900_000, 1, 0, "", body.now_ms, "nervous.cells.distance"))
            case _:
                body.wait(0)
        fresh = any(body.now_ms - glimpse.taken_ms <= EVIDENCE_MS for glimpse in body.window.sight.glimpses)
        for command in body.commands[before:]:
            assert command.action in ("stop", "turn")
            assert command.action == "stop" or (body.state.state == "EVADE" and fresh)
    assert all(decision.path and decision.number == n for n, decision in enumerate(body.decided, 1))


# Exploring


@pytest.mark.spec("NIM-13")
def test_it_explores_in_legs() -> None:
    """Straight on while it is surely clear, a turn after eight seconds, and on again, each decided and numbered."""
    body = Body(ExplorationNerve())
    body.see(2_000, times=81)
    assert ["clear", "leg_over"] == body.said
    assert "turn" == body.doing
    body.see(2_000, times=40)
    assert ["turned", "forward"] == [body.said[-1], body.doing]
    assert [1, 2, 3] == [decision.leg for decision in body.decided]


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize(("mm", "quality"), [(299, "STABLE"), (2_000, "NOISY")])
def test_it_leads_nowhere_that_is_not_surely_clear(mm: int, quality: Quality) -> None:
    """With an obstacle ahead, or a noisy sight, exploring renews no command, and the body comes to rest by itself."""
    body = Body(ExplorationNerve())
    body.see(2_000, times=3)
    assert "forward" == body.doing
    body.see(mm, times=4, quality=quality)
    assert "" == body.doing


@pytest.mark.spec("NIM-13", "X-06")
def test_a_blind_explorer_stops() -> None:
    """When nothing is heard of the way ahead it stops, says that it is blind, and goes on when it sees again."""
    body = Body(ExplorationNerve())
    body.see(2_000, times=3)
    body.wait(EVIDENCE_MS + 1)
    assert ("silent", "BLIND", "stop") == (body.said[-1], body.state.state, body.doing)
    body.see(2_000)
    assert ("clear", "forward") == (body.said[-1], body.doing)
    body.see(None)
    assert ("no_front", "stop") == (body.said[-1], body.doing)


# Getting energy


def battery(taken_ms: int, charge_ppm: int, *, charging: bool = False) -> BatteryWave:
    """A reading of the battery, with the state that the battery cell gives it."""
    low: BatteryState = "CRITICAL" if charge_ppm < 50_000 else "LOW"
    state: BatteryState = "MONITORING" if charging or charge_ppm >= 200_000 else low
    return BatteryWave("battery", 900_000, "", 1, "body", taken_ms, state, charge_ppm, charging)


def light(taken_ms: int, bearing: int | None, level: int = 500_000) -> LightWave:
    """A light from there."""
    return LightWave("light", 600_000, "", 1, "body", taken_ms, "NORMAL", level, 0, 0, direction_cdeg=bearing)


def seeking() -> Body:
    """A body whose battery is low."""
    body = Body(ChargingNerve())
    body.hear(battery(body.now_ms, 500_000))
    assert [] == body.said
    body.hear(battery(body.now_ms + 1, 199_999))
    assert ["low"] == body.said
    return body


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize(
    ("bearing", "doing", "clockwise"),
    [
        (0, "forward", None),
        (1_200, "forward", None),
        (1_300, "turn", True),
        (34_000, "turn", False),
        (None, "turn", True),
    ],
)
def test_it_seeks_the_light(bearing: int | None, doing: str, clockwise: bool | None) -> None:  # noqa: FBT001
    """Below 20 % it turns towards the light over the dock, and goes straight on when it is ahead."""
    body = seeking()
    body.hear(light(body.now_ms, bearing))
    body.see(2_000)
    rate = body.commands[-1].rate_cdeg_s
    assert (doing, clockwise) == (body.doing, rate > 0 if rate else None)


@pytest.mark.spec("NIM-13", "X-06")
def test_it_seeks_nothing_that_it_does_not_see() -> None:
    """In the dark, with a light long gone, or with no sight ahead, it commands nothing."""
    for level, later_ms, front_mm in ((0, 0, 2_000), (500_000, 1_100, 2_000), (500_000, 0, None)):
        body = seeking()
        body.hear(light(body.now_ms, 0, level))
        body.now_ms += later_ms
        body.see(front_mm)
        assert "" == body.doing


@pytest.mark.spec("NIM-13")
def test_it_goes_around_what_is_in_the_way() -> None:
    """Before an obstacle it commands nothing; past it, it first goes straight on, and then towards the light again."""
    body = seeking()
    body.hear(light(body.now_ms, 4_500))
    body.see(250)
    assert "" == body.doing
    body.see(2_000)
    assert "forward" == body.doing
    body.now_ms += 3_000
    body.hear(light(body.now_ms, 4_500))
    body.see(2_000)
    assert "turn" == body.doing


@pytest.mark.spec("NIM-13", "NIM-10")
def test_it_stays_at_the_dock_until_it_is_charged() -> None:
    """At the dock it stands still until nine tenths are full; that earns, and it is content again."""
    body = seeking()
    body.hear(battery(body.now_ms + 2, 150_000, charging=True))
    assert ("docked", "stop") == (body.said[-1], body.doing)
    body.see(2_000)
    assert "stop" == body.doing
    body.hear(battery(body.now_ms, 899_999, charging=True))
    assert "docked" == body.said[-1]
    body.hear(battery(body.now_ms, 900_000, charging=True))
    assert ("charged", "CONTENT", 10_000_000) == (body.said[-1], body.state.state, body.decided[-1].earned_ulf)


@pytest.mark.spec("NIM-13")
def test_an_end_of_energy_is_said_before_it_comes() -> None:
    """Low, then critical, then exhausted: each is decided once."""
    body = seeking()
    for charge_ppm in (100_000, 49_999, 20_000, 0, 0):
        body.hear(battery(body.now_ms, charge_ppm))
    assert ["low", "critical", "exhausted"] == body.said
    body.hear(battery(body.now_ms, 50_000, charging=True))
    assert "docked" == body.said[-1]
    body.hear(battery(body.now_ms, 50_000))
    assert ("undocked", "SEEK") == (body.said[-1], body.state.state)


@pytest.mark.spec("NIM-13")
def test_without_a_battery_nothing_is_sought() -> None:
    """A body on the mains, or one whose battery was taken out, seeks no dock."""
    body = seeking()
    absent = BatteryWave("battery", 900_000, "no battery", 1, "body", body.now_ms, "ABSENT", 0, charging=False)
    body.hear(absent)
    assert ("no_battery", "CONTENT") == (body.said[-1], body.state.state)
    body.hear(absent)
    assert ["low", "no_battery"] == body.said


@pytest.mark.spec("NIM-13")
def test_each_nerve_decides_on_lanes_of_its_own() -> None:
    """The three nerves of one body write three lanes, so that none waits for another."""
    lanes = {cls.pattern("dev").rsplit(".", 2)[0] for cls in (CollisionDecided, ExplorationDecided, ChargingDecided)}
    assert {f"dev.nervous.{name}.event" for name in ("collision", "exploration", "charging")} == lanes
