"""The thalamus alone: routes, the account of beats, measured prices, rest, and the modes of attention."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.costs import line_of
from deploy.commands.gates import turn
from nerves.thalamus import ThalamusNerve
from nerves.thalamus.account import ACCOUNT_MS, INCOME_ULF, MOST_ULF, START_ULF, Account, allowed
from nerves.thalamus.attention import DIALOGUE_DOMAIN, OVERWHELMED_GATES, REFLEX_MS, SETTLE_MS, mode_of
from nerves.thalamus.costs import PARTS
from nerves.thalamus.nerve import MIND, QUIET_BEATS, TELL_MS, Attention
from nerves.thalamus.routes import COGNITION, COSTS, ORGANS, Route, route
from shared.codec import encode
from shared.envelope.envelope import MAX_EVIDENCE_BYTES
from shared.message import Decision, Message
from shared.part.declare import declaration
from shared.subjects.cognition import Answered
from shared.subjects.gates import GateTransition, Outcome, OutcomeJudged, ReflexActed, SignalVerified
from shared.subjects.meaning import UNKNOWN
from shared.subjects.system import Heartbeat, LifeforceTold, Tick
from shared.subjects.thalamus import AttentionChanged, BeatClosed, CostsObserved, Escalated, Observed, Rested, Withheld
from tests.gates import START_MS

LF = 1_000_000


def verified(number: int, domain: str = "math", node_ppm: int = 100_000, *, ambiguous: bool = False) -> SignalVerified:
    """A signal that a gate hands on."""
    signal = number.to_bytes(16, "big")
    told = (800_000, "what", 100_000, node_ppm, ("a", "b"), None)
    return SignalVerified(domain, signal, *told, ambiguous=ambiguous, shares=(), at_ms=START_MS)


def beat_of(part: str, spent_ulf: int, handled: int = 0, boot: str = "b", energy_uj: int | None = None) -> Heartbeat:
    """A heartbeat that says what was used in all."""
    return Heartbeat(part, "1", boot, 1, handled, 0, 0, 0, spent_ulf, energy_uj, 3, 4, 5, spent_ulf, resting=False)


def answered(cost_ulf: int) -> Answered:
    """An answer to an escalation, and what it cost."""
    said = ("q", "escalation", bytes(16), UNKNOWN, "what", "quoted", "", 500_000)
    return Answered(*said, (), "memory", "", 300_000, cost_ulf, 80)  # pyright: ignore[reportArgumentType] - literals


@dataclass
class Mind:
    """A thalamus that decides as under its runner; every decision is made again from its evidence."""

    state: Account = field(default_factory=Account)
    window: Attention = field(default_factory=Attention)
    now_ms: int = START_MS // ACCOUNT_MS * ACCOUNT_MS
    said: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.nerve = ThalamusNerve()
        self.listens = {cls.template: cls for cls in declaration(self.nerve).hears}

    def hear(self, message: Any, after_ms: int = 0) -> list[Any]:  # noqa: ANN401 - any message that it hears
        """Let time pass, decide about a message, evolve, and return what it said."""
        self.now_ms += after_ms
        before, evidence = self.state, self.nerve.evidence(self.window, message, bytes(16), self.now_ms)
        self.window, said = self.nerve.decide(self.state, self.window, message, self.now_ms)
        decisions: list[Any] = [each for each in said if isinstance(each, Decision)]
        for decision in decisions:
            self.state = self.nerve.evolve(self.state, decision)
        assert [encode(each) for each in decisions] == self.nerve.decide_again(before, evidence, self.listens)
        assert len(evidence) <= MAX_EVIDENCE_BYTES
        self.said += said
        return list(said)

    def beats(self, count: int = 1) -> list[Any]:
        """Let beats of 30 seconds pass, and return what was said at their end."""
        return self.hear(Tick("thalamus", "b", 1, self.now_ms), count * ACCOUNT_MS)

    def all_of(self, cls: type[Message]) -> list[Any]:
        """Everything of one class that it said."""
        return [each for each in self.said if isinstance(each, cls)]


# Routes


@pytest.mark.spec("NIM-07")
@pytest.mark.parametrize(
    ("node_ppm", "tier"), [(800_000, 0), (799_999, 1), (600_000, 1), (599_999, 2), (300_000, 2), (299_999, 3), (0, 3)]
)
def test_a_signal_goes_by_its_best_node(node_ppm: int, tier: int) -> None:
    """From 0.8 on tier 0, from 0.6 on 1, from 0.3 on 2, else an organ; at the designed price of the tier."""
    assert Route(tier, "weight", COSTS[tier]) == route(verified(1, node_ppm=node_ppm), [])
    assert (0, 300_000, 2 * LF, 8 * LF, 20 * LF) == COSTS[:5]


@pytest.mark.spec("NIM-07")
def test_what_is_novel_ambiguous_or_odd_climbs() -> None:
    """Near no region: cognition at 20. Several candidates, the best below 0.5: an organ at 8; from 0.5 on, no riddle.
    Two of the last three failed: one tier up at half as much again.
    """
    assert (4, "novel_input", 20 * LF) == route(verified(1, UNKNOWN, 900_000), [])
    assert (3, "ambiguous_input", 8 * LF) == route(verified(1, node_ppm=499_999, ambiguous=True), [])
    assert (2, "weight", 2 * LF) == route(verified(1, node_ppm=500_000, ambiguous=True), [])
    odd: list[Outcome] = ["failed", "confirmed", "failed"]
    assert (3, "contextual_anomaly", 12 * LF) == route(verified(1, node_ppm=300_000), odd)
    assert (4, "contextual_anomaly", 30 * LF) == route(verified(1), odd)
    assert "weight" == route(verified(1), [*odd, "confirmed"]).why


# The account


@pytest.mark.spec("NIM-10")
def test_a_beat_wakes_no_more_than_its_shares() -> None:
    """Of 100 in a beat organs have 40 and cognition 50, in whatever order; what is beyond is withheld, and 10 are left
    to the virtual garden. The next beat has its own shares.
    """
    mind = Mind(Account(beat=START_MS // ACCOUNT_MS - 1))
    for number in range(7):
        mind.hear(verified(number))
        mind.hear(verified(100 + number, UNKNOWN))
    tiers = [each.tier for each in mind.all_of(Escalated)]
    assert (5, 2) == (tiers.count(ORGANS), tiers.count(COGNITION))
    assert 7 == len(mind.all_of(Withheld))
    assert {ORGANS: 0, COGNITION: 10 * LF} == {each.tier: each.left_ulf for each in mind.all_of(Withheld)}
    assert 20 * LF == mind.state.balance_ulf
    mind.beats()
    [woken] = mind.hear(verified(200, UNKNOWN))
    assert 130 * LF == woken.balance_ulf + woken.cost_ulf, "what was held is released, for the real cost is measured"


@pytest.mark.spec("NIM-10")
def test_what_is_spent_is_what_hearts_measured() -> None:
    """A beat's spending is what parts used since its last account, whatever an escalation's price was; the first
    heartbeat of a start only sets the mark; two copies of a part count both; a confirmed signal earns.
    """
    mind = Mind(Account(beat=START_MS // ACCOUNT_MS - 1))
    for spent, boot in ((50 * LF, "b"), (7 * LF, "c"), (53 * LF, "b"), (8 * LF, "c")):
        mind.hear(beat_of("gate", spent, boot=boot))
    mind.hear(verified(1))
    mind.hear(OutcomeJudged("math", bytes(16), "confirmed", 0, 0, 0, "", 8 * LF))
    closed = mind.beats()[0]
    assert isinstance(closed, BeatClosed)
    assert (8 * LF, 4 * LF, 8 * LF) == (closed.released_ulf, closed.spent_ulf, closed.earned_ulf)
    assert START_ULF - 4 * LF + 8 * LF + INCOME_ULF == closed.balance_ulf


@pytest.mark.spec("NIM-10")
def test_quiet_beats_wait_for_the_twentieth() -> None:
    """An account in which nothing was woken or earned is written every ten minutes, with all the income since."""
    mind = Mind(Account(0, START_MS // ACCOUNT_MS - 1))
    assert [] == mind.beats(QUIET_BEATS - 1)
    [closed] = mind.beats()
    assert MOST_ULF == closed.balance_ulf


@pytest.mark.spec("NIM-10")
def test_costs_are_observed_and_profiled() -> None:
    """Each account names what each part used and what one of its messages has cost: a mean that follows, and a spread;
    energy that is not reported is none, not zero.
    """
    mind = Mind(Account(beat=START_MS // ACCOUNT_MS - 1))
    mind.hear(beat_of("gate", 0))
    mind.hear(beat_of("math_cell", 0, energy_uj=0))
    for step, (spent, handled) in enumerate(((1_000, 10), (5_000, 20), (5_000, 20))):
        mind.hear(beat_of("gate", spent, handled))
        mind.hear(beat_of("math_cell", 10 * (step + 1), step + 1, energy_uj=7 * (step + 1)))
        mind.beats(QUIET_BEATS)
    first, second, third = (each.costs for each in mind.all_of(CostsObserved))
    assert Observed("gate", 10, 1_000, None, 0, 0, 1_000, 100, 0, 1) == first[0]
    assert Observed("math_cell", 1, 10, 7, 0, 0, 10, 10, 0, 1) == first[1]
    assert ("gate", 10, 4_000, 250, 150, 2) == tuple(
        getattr(second[0], name) for name in ("what", "messages", "cost_ulf", "mean_ulf", "spread_ulf", "observations")
    )
    assert ["math_cell"] == [each.what for each in third], "who used nothing is not observed"
    assert {"gate": 250, "math_cell": 10} == {profile.what: profile.mean_ulf for profile in mind.state.profiles}


@pytest.mark.spec("NIM-10")
def test_what_was_never_measured_is_no_zero() -> None:
    """For people, a part in no account yet costs nothing that is known, instead of 0 ± 0."""
    never, once = (Observed("gate", 0, 0, None, 0, 0, 0, 0, 0, accounts) for accounts in (0, 1))
    assert "gate           nothing is measured yet: no message of it in any account" == line_of(never)
    assert line_of(once).startswith("gate           0.000000 ± 0.000000 LF a message  of 1 accounts")


@pytest.mark.spec("NIM-11")
@pytest.mark.parametrize(
    ("ulf", "shown"),
    [
        (0, "0.0 LF"),
        (1, "0.000001 LF"),
        (300_000, "0.3 LF"),
        (999_999, "0.999999 LF"),
        (LF, "1.0 LF"),
        (-1, "-0.000001 LF"),
    ],
)
def test_a_small_amount_is_not_shown_as_none(ulf: int, shown: str) -> None:
    """Below one lifeforce people see every digit, from there on one."""
    line = turn(BeatClosed(MIND, 7, 0, ulf, 0, LF, 0), datetime.fromtimestamp(0, UTC)).plain
    assert f"7: spent {shown}, earned 0.0 LF, balance 1.0 LF" in line


@pytest.mark.spec("NIM-10", "NIM-07")
def test_the_price_of_cognition_is_measured() -> None:
    """It begins as designed; after three accounts with answers it is what they cost, mean and spread, from the log's
    own decisions, so that evidence makes the same route again.
    """
    mind = Mind(Account(beat=START_MS // ACCOUNT_MS - 1))
    for number in range(3):
        assert 20 * LF == mind.hear(verified(number, UNKNOWN))[0].cost_ulf
        mind.hear(answered(300_000))
        mind.beats()
    [cheap] = mind.hear(verified(9, UNKNOWN))
    assert 300_000 == cheap.cost_ulf
    assert {"tier 4": 3} == {profile.what: profile.observations for profile in mind.state.profiles}


@pytest.mark.spec("NIM-10")
def test_at_zero_who_may_rest_rests_until_there_is_a_beats_income() -> None:
    """At zero the thalamus decides so and says so every five seconds; with the first whole income it decides and says
    the opposite; every beat between has its account.
    """
    mind = Mind(Account(20 * LF, START_MS // ACCOUNT_MS - 1))
    mind.hear(beat_of("organd", 0))
    mind.hear(beat_of("organd", 60 * LF))
    said = mind.beats()
    assert [BeatClosed, CostsObserved, Rested, LifeforceTold] == [type(each) for each in said]
    assert (True, 0) == (said[2].resting, said[2].balance_ulf)
    assert said[3].resting
    tick = Tick("thalamus", "b", 1, 0)
    assert [] == mind.hear(tick, TELL_MS - 1)
    [again] = mind.hear(tick, 1)
    assert again.resting
    mind.hear(beat_of("organd", 85 * LF))
    mind.hear(tick, ACCOUNT_MS - TELL_MS)
    assert (5 * LF, True) == (mind.state.balance_ulf, mind.state.resting)
    said = mind.beats()
    assert [BeatClosed, Rested, LifeforceTold] == [type(each) for each in said]
    assert (False, False) == (said[1].resting, said[2].resting)
    assert [] == [each for each in mind.hear(tick, TELL_MS) if isinstance(each, LifeforceTold)]


SPENDING = st.lists(
    st.tuples(
        st.sampled_from(["signal", "novel", "heart", "outcome", "answer", "tick"]),
        st.integers(-(2**62), 2**62),
        st.integers(0, 40_000),
    ),
    max_size=40,
)


@given(SPENDING)
@pytest.mark.spec("NIM-10", "X-12")
def test_whatever_is_claimed_the_account_holds(events: list[tuple[str, int, int]]) -> None:
    """Whatever hearts, outcomes and answers claim: no balance leaves 0 to 200, no beat gives organs or cognition more
    than their shares, memory is bounded, and each decision comes out again.
    """
    mind = Mind()
    for number, (what, size, after_ms) in enumerate(events):
        match what:
            case "signal":
                mind.hear(verified(number), after_ms)
            case "novel":
                mind.hear(verified(number, UNKNOWN), after_ms)
            case "heart":
                mind.hear(beat_of(f"part{number % 3}", size, abs(size), energy_uj=size), after_ms)
            case "outcome":
                mind.hear(OutcomeJudged("math", bytes(16), "failed", 0, 0, 0, "", size), after_ms)
            case "answer":
                mind.hear(answered(size), after_ms)
            case _:
                mind.hear(Tick("thalamus", "b", 1, 0), after_ms)
        assert 0 <= mind.state.balance_ulf <= MOST_ULF
    for beat in {each.beat for each in mind.all_of(Escalated)}:
        woken = [each for each in mind.all_of(Escalated) if each.beat == beat]
        opening = woken[0].balance_ulf + woken[0].cost_ulf
        for tier, share in ((ORGANS, 40), (COGNITION, 50)):
            assert sum(each.cost_ulf for each in woken if each.tier == tier) <= opening * share // 100


@pytest.mark.spec("X-12")
def test_more_parts_than_are_counted() -> None:
    """With more parts than it counts the thalamus keeps the newest, within what evidence may hold."""
    mind = Mind()
    for number in range(2 * PARTS):
        mind.hear(beat_of(f"{number:062}", 2**50, 2**50, "f" * 16, 2**50))
    mind.beats()
    assert PARTS == len(mind.window.hearts)


@pytest.mark.spec("NIM-10")
def test_a_person_is_free() -> None:
    """Tier 5 has no share and no price: nothing keeps a person from being asked."""
    assert 0 == COSTS[5] <= allowed(Account(0), 5 * LF, 5, 1)


# Modes


@pytest.mark.spec("NIM-11")
@pytest.mark.parametrize("count", range(OVERWHELMED_GATES + 2))
def test_the_mode_over_all_there_can_be(count: int) -> None:
    """Over every combination: four gates overwhelm; else a reflex of the last two seconds leads; else an open speech
    gate is a dialogue; else an open gate alerts, and focuses if it woke somebody; else five seconds settle, then idle.
    """
    ages = (None, 0, REFLEX_MS - 1, REFLEX_MS, SETTLE_MS - 1, SETTLE_MS)
    for speech, escalated, reflex, quiet in product((False, True), (False, True), ages, ages):
        gates = [f"gate{n}" for n in range(count)]
        if speech and gates:
            gates[0] = DIALOGUE_DOMAIN
        acted, calm = reflex is not None and reflex < 2_000, quiet is not None and quiet < 5_000
        expected = (
            "OVERWHELMED"
            if count >= 4
            else "REFLEX"
            if acted
            else "DIALOGUE"
            if speech and gates
            else "FOCUSED"
            if gates and escalated
            else "ALERT"
            if gates
            else "SETTLE"
            if calm
            else "IDLE"
        )
        assert expected == mode_of(gates, escalated=escalated, reflex_ms=reflex, quiet_ms=quiet)


def turned(domain: str, after: str) -> GateTransition:
    """A gate's turn."""
    return GateTransition(domain, "STABLE", after, 0, 0, 0, 0, START_MS, ())  # pyright: ignore[reportArgumentType]


@pytest.mark.spec("NIM-11")
def test_each_change_of_mode_is_published_once() -> None:
    """A day of attention: each mode is said as it comes, with the one before, the open gates and the balance."""
    mind = Mind(Account(beat=START_MS // ACCOUNT_MS - 1))
    tick = Tick("thalamus", "b", 1, 0)
    mind.hear(turned("math", "OPEN"))
    mind.hear(turned("math", "OPEN"), 1)
    mind.hear(verified(1), 1)
    mind.hear(turned("speech", "OPEN"), 1)
    mind.hear(ReflexActed("danger", bytes(16), 900_000, 1, None, "", START_MS, "a"), 1)
    for domain in ("heat", "light", "danger"):
        mind.hear(turned(domain, "OPEN"), 1)
    for domain in ("heat", "light", "danger", "speech", "math"):
        mind.hear(turned(domain, "STABLE"), 500)
    mind.hear(tick, SETTLE_MS)
    changes = mind.all_of(AttentionChanged)
    modes = ["IDLE", *(change.mode for change in changes)]
    assert ["IDLE", "ALERT", "FOCUSED", "DIALOGUE", "REFLEX", "OVERWHELMED"] == modes[:6]
    assert ["SETTLE", "IDLE"] == modes[-2:]
    assert modes[:-1] == [change.before for change in changes]
    assert MIND == "nyx"
    assert "transitions" == AttentionChanged.stream
