"""Ternary resonant gates: agreement opens them, contradiction closes them, silence relaxes them."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerves.gate.dynamics import (
    CLOSED_PPM,
    OPEN_PPM,
    REFRACTORY_MS,
    WINDOW_MS,
    Collapse,
    collapse,
    noisy_or,
    pushed,
    relaxed,
)
from nerves.gate.nerve import UNRESOLVED, GateTrust, weight_of
from nerves.gate.nodes import NODES, Node, after, node_weight
from nerves.gate.weights import DAY_MS, learned, seed_of
from nerves.gate.window import MAX_WAVES
from shared.codec import decode, encode
from shared.errors import Refusal, Refused
from shared.subjects.gates import (
    GateRequest,
    GateTransition,
    NodeChanged,
    ReflexActed,
    ReflexFired,
    ReflexGranted,
    Share,
    SignalVerified,
    WavesCorrelated,
    WeightChanged,
)
from shared.subjects.meaning import UNKNOWN, WaveFelt
from tests.gates import START_MS, Gate, felt, reflexive, vector

FULL = 1_000_000
GAPS = st.integers(0, WINDOW_MS)


def labels(gate: Gate) -> list[str]:
    """The states it went to."""
    return [each.after for each in gate.all_of(GateTransition)]


@pytest.mark.spec("NIM-04", "NIM-05")
@pytest.mark.parametrize("order", list(permutations([("math", 600_000), ("calculate", 500_000)])))
def test_the_seeds_example(order: tuple[tuple[str, int], ...]) -> None:
    """Math at 0.6 and calculate at 0.5 collapse to 0.80 and open the gate once, in either order, 100 ms apart."""
    gate = Gate()
    for number, (source, confidence) in enumerate(order):
        gate.hear(felt(number, source, confidence, taken_ms=gate.now_ms + 100), 100)
    [verified] = gate.all_of(SignalVerified)
    assert 800_000 == verified.confidence_ppm
    assert ("nervous.cells.calculate", "nervous.cells.math") == verified.sources
    assert ["OPEN"] == labels(gate)


@given(st.permutations([("math", 600_000), ("calculate", 500_000)]), GAPS)
@pytest.mark.spec("NIM-05")
def test_the_seeds_example_at_any_distance(order: list[tuple[str, int]], gap_ms: int) -> None:
    """The two open the gate in either order however far apart within the window."""
    gate = Gate()
    for number, (source, confidence) in enumerate(order):
        gate.hear(felt(number, source, confidence, taken_ms=gate.now_ms + gap_ms * number), gap_ms * number)
    assert 1 == len(gate.all_of(SignalVerified))


@pytest.mark.spec("NIM-04")
def test_a_collapse_weighs_each_wave_by_its_similarity() -> None:
    """At the similarity that is measured the seed's example amounts to less than 0.80, and still opens."""
    gate = Gate()
    gate.hear(felt(1, "math", 600_000))
    gate.hear(felt(2, "calculate", 500_000, similarity_ppm=600_000))
    [verified] = gate.all_of(SignalVerified)
    assert 720_000 == verified.confidence_ppm


@given(st.lists(st.tuples(st.integers(0, FULL), GAPS), min_size=1, max_size=30))
@pytest.mark.spec("NIM-05")
def test_one_source_alone_never_opens(waves: list[tuple[int, int]]) -> None:
    """However sure, however often: one source holds a gate at its threshold at most."""
    gate = Gate()
    for number, (confidence, gap_ms) in enumerate(waves):
        gate.hear(felt(number, "a", confidence, taken_ms=gate.now_ms + gap_ms), gap_ms)
        assert gate.window.state_ppm <= OPEN_PPM
    assert [] == gate.all_of(SignalVerified)


@pytest.mark.spec("NIM-05")
def test_a_whisper_is_no_second_source() -> None:
    """A second source that counts less than a tenth agrees with nobody."""
    gate = Gate()
    gate.hear(felt(1, "a", FULL))
    gate.hear(felt(2, "b", 90_000))
    assert [] == gate.all_of(SignalVerified)
    gate.hear(felt(3, "c", 100_000))
    assert 1 == len(gate.all_of(SignalVerified))


@pytest.mark.spec("NIM-05")
def test_silence_relaxes_a_gate() -> None:
    """An open gate is at 0.95 of its state after every 100 ms, and STABLE again within a second, by the beat alone."""
    gate = Gate()
    gate.hear(felt(1, "a"))
    gate.hear(felt(2, "b"))
    before = gate.window.state_ppm
    gate.tick(100)
    assert before * 95 // 100 == pytest.approx(gate.window.state_ppm, abs=1)
    gate.tick(1_000)
    assert ["OPEN", "STABLE"] == labels(gate)
    gate.tick(60_000)
    assert gate.window == gate.nerve.empty(), "nothing is left to remember"


@pytest.mark.spec("NIM-05")
def test_a_contradiction_closes_a_gate() -> None:
    """Two agree and it opens; a third says the opposite, and it is closed, not merely less open."""
    gate = Gate()
    gate.hear(felt(1, "a", region="obstacle"))
    gate.hear(felt(2, "b", region="obstacle"))
    gate.hear(felt(3, "c", 900_000, region="obstacle", polarity=-1))
    assert ["OPEN", "CLOSED"] == labels(gate)
    fresh = Gate()
    fresh.hear(felt(3, "c", 900_000, region="obstacle", polarity=-1))
    fresh.hear(felt(1, "a", region="obstacle"))
    fresh.hear(felt(2, "b", region="obstacle"))
    assert "CLOSED" == fresh.window.label
    assert [] == fresh.all_of(SignalVerified), "what is disputed opens nothing"


@pytest.mark.spec("NIM-05")
def test_a_duplicate_changes_nothing() -> None:
    """The same wave again, at once or after the gate opened by it, changes neither state nor log."""
    gate = Gate()
    for number, source in ((1, "a"), (1, "a"), (2, "b"), (2, "b"), (1, "a")):
        gate.hear(felt(number, source))
    assert 1 == len(gate.all_of(SignalVerified))
    assert 2 == len(gate.window.waves)


@pytest.mark.spec("NIM-05")
def test_it_forwards_once_then_rests() -> None:
    """While the same goes on being felt a gate forwards once, rests for 1,500 ms, relaxes, and only then again."""
    gate = Gate()
    for number in range(40):
        gate.hear(felt(number, "ab"[number % 2], taken_ms=gate.now_ms + 100), 100)
    opened = [each.taken_ms for each in gate.all_of(GateTransition) if each.after == "OPEN"]
    assert 3 == len(opened)
    assert all(b - a >= REFRACTORY_MS for a, b in pairwise(opened))
    assert 3 == len(gate.all_of(SignalVerified))


@pytest.mark.spec("NIM-05")
def test_late_and_future_waves_are_refused_by_name() -> None:
    """A wave felt longer ago than the window, or in the future, is refused with R001; a second late still counts."""
    gate = Gate()
    [late] = gate.hear(felt(1, "a", taken_ms=START_MS - WINDOW_MS - 1))
    [early] = gate.hear(felt(2, "a", taken_ms=START_MS + WINDOW_MS + 1))
    assert ["R001", "R001"] == [late.code, early.code]
    gate.hear(felt(3, "a"))
    gate.hear(felt(4, "b", taken_ms=START_MS - 1_000))
    assert 1 == len(gate.all_of(SignalVerified))


@given(st.integers(-WINDOW_MS, 30_000), st.integers(WINDOW_MS + 1, 3 * WINDOW_MS), st.sampled_from([-1, 1]))
@pytest.mark.spec("NIM-05")
def test_nothing_counts_for_longer_than_the_window(ahead_ms: int, after_ms: int, polarity: int) -> None:
    """However a wave is stamped, a window after it was heard it is forgotten, and neither supports nor denies."""
    gate = Gate()
    gate.hear(felt(1, "a", 900_000, polarity=polarity, taken_ms=START_MS + ahead_ms))
    gate.tick(after_ms)
    assert () == gate.window.waves
    gate.hear(felt(2, "b", 700_000, taken_ms=gate.now_ms))
    assert [] == gate.all_of(SignalVerified)
    gate.hear(felt(3, "c", 700_000, taken_ms=gate.now_ms))
    assert 1 == len(gate.all_of(SignalVerified))


@pytest.mark.spec("NIM-03")
@pytest.mark.parametrize("wrong", [-1, 1_000_001, 2**63])
def test_a_confidence_out_of_range_is_refused(wrong: int) -> None:
    """A confidence below 0 or above 1 cannot be read, so no gate ever weighs it."""
    raw = encode(felt(1, confidence_ppm=wrong))
    with pytest.raises(Refused, match="B002"):
        decode(WaveFelt, raw)


@pytest.mark.spec("NIM-04")
def test_the_unknown_resonates_only_with_its_like() -> None:
    """Near no region, two sources open the gate of the unknown where they mean the same, and not where they do not."""
    alike, apart = Gate(), Gate()
    for gate, second in ((alike, vector(0, 1)), (apart, vector(6, 7))):
        gate.hear(felt(1, "a", 900_000, region=UNKNOWN, meaning=vector(0, 1)))
        gate.hear(felt(2, "b", 900_000, region=UNKNOWN, meaning=second))
    assert 1 == len(alike.all_of(SignalVerified))
    assert [] == apart.all_of(SignalVerified)


@pytest.mark.spec("NIM-04", "NIM-08")
def test_the_correlation_matrix_is_published() -> None:
    """Each wave's meaning beside each other's: 1 on the diagonal, symmetric, exact; with the aggregate and result."""
    gate = Gate()
    gate.hear(felt(1, "a", meaning=vector(0, 1)))
    gate.hear(felt(2, "b", meaning=vector(1, 2)))
    [event] = gate.all_of(WavesCorrelated)
    assert (FULL, 500_000, 500_000, FULL) == event.matrix_ppm
    assert ("opened", 840_000) == (event.result, event.aggregate_ppm)


@pytest.mark.spec("NIM-06")
def test_a_gate_learns_from_outcomes() -> None:
    """Confirmed adds 0.02, failed takes 0.06, partial nothing, between 0 and 1; each outcome counts once."""
    gate = Gate()
    assert 100_000 == weight_of(gate.trust, "math", START_MS)
    for place, (outcome, weight) in enumerate((("confirmed", 120_000), ("partial", 120_000), ("failed", 60_000))):
        gate.tick(10_000)
        gate.hear(felt(2 * place, "a", taken_ms=gate.now_ms))
        gate.hear(felt(2 * place + 1, "b", taken_ms=gate.now_ms))
        signal = gate.all_of(SignalVerified)[-1].signal
        [changed] = gate.judge(signal, outcome)
        assert isinstance(changed, WeightChanged)
        assert weight == pytest.approx(weight_of(gate.trust, "math", gate.now_ms), abs=10)  # it fades meanwhile
        [again] = gate.judge(signal, outcome)
        assert isinstance(again, Refusal)
    assert (0, FULL) == (learned(10_000, "failed"), learned(990_000, "confirmed"))


@pytest.mark.spec("NIM-06")
def test_an_outcome_of_a_signal_that_was_never_handed_on_teaches_nothing() -> None:
    """Whoever reports on a signal that this gate did not hand on is refused."""
    gate = Gate()
    [no] = gate.judge(bytes(16), "confirmed")
    assert "B012" == no.code
    assert GateTrust() == gate.trust


@pytest.mark.spec("NIM-06")
@pytest.mark.parametrize(("domain", "weight"), [("danger", 900_000), ("battery", 300_000), ("math", 100_000)])
def test_what_a_gate_begins_with(domain: str, weight: int) -> None:
    """Danger begins at 0.9, battery at 0.3, a new gate at 0.1; unused trust fades by 0.01 a day to that."""
    assert weight == seed_of(domain) == weight_of(GateTrust(), domain, START_MS)
    earned = GateTrust(weight + 50_000, START_MS)
    assert weight + 20_000 == weight_of(earned, domain, START_MS + 3 * DAY_MS)
    assert weight == weight_of(earned, domain, START_MS + 300 * DAY_MS)


@pytest.mark.spec("NIM-06")
def test_a_reflex_needs_a_grant_that_is_in_the_log() -> None:
    """Danger at 0.9 is granted at the first word of it, and not one wave earlier is acted on."""
    gate = Gate()
    first = gate.hear(felt(1, "a", region="danger"))
    assert [ReflexGranted] == [type(each) for each in first]
    second = gate.hear(felt(2, "a", region="danger"))
    assert [ReflexActed, ReflexFired] == [type(each) for each in second[:2]]
    asked = Gate().hear(GateRequest("danger"))
    assert [ReflexGranted, "GateReply"] == [type(asked[0]), type(asked[1]).__name__]


@pytest.mark.spec("NIM-06")
def test_a_reflex_acts_on_any_wave_but_rests() -> None:
    """One wave of one source is enough; within 100 ms no second act; a wave that says there is no danger acts never."""
    gate = reflexive()
    gate.hear(felt(1, "a", 300_000, region="danger"))
    gate.hear(felt(2, "b", FULL, region="danger"), 50)
    gate.hear(felt(3, "b", FULL, region="danger", polarity=-1), 100)
    gate.hear(felt(4, "b", FULL, region="danger"), 1)
    assert [1, 4] == [int.from_bytes(act.wave_id, "big") for act in gate.all_of(ReflexActed)]
    assert ReflexActed.urgent


@pytest.mark.spec("NIM-06")
def test_trust_that_falls_takes_the_reflex_back() -> None:
    """Two failures of a danger reflex take it below 0.8: the grant is withdrawn in the log, and it acts no more."""
    gate = reflexive()
    for number in (1, 2):
        gate.hear(felt(number, "a", region="danger", taken_ms=gate.now_ms + 5_000), 5_000)
        [act] = gate.all_of(ReflexActed)[-1:]
        gate.judge(act.wave_id, "failed", "danger")
    withdrawn = [(grant.granted, grant.weight_ppm) for grant in gate.all_of(ReflexGranted)]
    assert [(False, 780_000)] == withdrawn
    said = gate.hear(felt(9, "a", region="danger", taken_ms=gate.now_ms))
    assert [] == [each for each in said if isinstance(each, ReflexActed)]


def opened_by(gate: Gate, first: int, *sources: tuple[str, int]) -> SignalVerified:
    """Let sources say so (1) or not so (-1) in a window of their own, and return what the gate handed on."""
    gate.tick(10_000)
    for place, (source, polarity) in enumerate(sources):
        gate.hear(felt(first + place, source, 700_000, taken_ms=gate.now_ms, polarity=polarity))
    return gate.all_of(SignalVerified)[-1]


def nodes(gate: Gate) -> dict[str, int]:
    """What each source earned, in hundredths."""
    return {node.source.rpartition(".")[2]: round(node.weight_ppm / 10_000) for node in gate.trust.nodes}


@pytest.mark.spec("NIM-08", "NIM-07")
def test_an_outcome_teaches_each_source_that_had_a_share() -> None:
    """Sources that agreed with what was confirmed gain 0.02, with what failed they lose 0.06; whoever denied it, the
    other way; the best of those that agree goes with the signal, and the decision names each of them.
    """
    gate = Gate()
    first = opened_by(gate, 1, ("a", 1), ("b", 1))
    assert (100_000, 100_000) == (first.weight_ppm, first.node_ppm)
    [changed] = gate.judge(first.signal, "confirmed")
    assert [("nervous.cells.a", 100_000, 120_000), ("nervous.cells.b", 100_000, 120_000)] == [
        (node.source, node.before_ppm, node.after_ppm) for node in changed.nodes
    ]
    second = opened_by(gate, 10, ("a", 1), ("b", 1), ("c", 1))
    assert pytest.approx(120_000, abs=10) == second.node_ppm
    gate.judge(second.signal, "partial")
    assert {"a": 12, "b": 12} == nodes(gate)
    third = opened_by(gate, 20, ("b", 1), ("c", 1))
    gate.judge(third.signal, "failed")
    assert {"a": 12, "b": 6, "c": 4} == nodes(gate)


@pytest.mark.spec("NIM-08")
def test_who_denies_what_fails_was_right() -> None:
    """A source that denied a signal gains where the signal fails, and loses where it is confirmed."""
    for outcome, weights in (("failed", {"a": 4, "b": 4, "d": 12}), ("confirmed", {"a": 12, "b": 12, "d": 4})):
        gate = Gate()
        gate.hear(felt(1, "d", 200_000, polarity=-1))
        gate.hear(felt(2, "a", 900_000))
        gate.hear(felt(3, "b", 900_000))
        [verified] = gate.all_of(SignalVerified)
        gate.judge(verified.signal, outcome)
        assert weights == nodes(gate)


@pytest.mark.spec("NIM-06", "NIM-08")
def test_a_reflex_teaches_the_source_that_fired_it() -> None:
    """The source whose wave was acted on learns from what came of it, from what its gate began with."""
    gate = reflexive()
    gate.hear(felt(1, "a", region="danger"))
    [fired] = gate.all_of(ReflexFired)
    assert "nervous.cells.a" == fired.source
    gate.judge(fired.wave_id, "failed", "danger")
    assert {"a": 84} == nodes(gate)


@pytest.mark.spec("NIM-08", "X-12")
def test_nodes_fade_are_forgotten_and_bounded() -> None:
    """What a source earned fades by 0.01 a day to what its gate began with; then it is forgotten; 64 are remembered."""
    learned_last = Node("a", 130_000, START_MS)
    for days, weight in ((1, 120_000), (2, 110_000), (9, 100_000)):
        assert weight == node_weight((learned_last,), "math", "a", START_MS + days * DAY_MS)
    later = WeightChanged("math", bytes(16), "confirmed", 0, 0, (NodeChanged("b", 0, 200_000),), START_MS + 9 * DAY_MS)
    assert ["b"] == [node.source for node in after((learned_last,), later)]
    many = tuple(NodeChanged(f"{n:03}", 0, 500_000) for n in range(NODES + 5))
    crowd = after(
        (Node("old", 900_000, START_MS - 1),), WeightChanged("math", bytes(16), "confirmed", 0, 0, many, START_MS)
    )
    assert NODES == len(crowd)
    assert "old" not in {node.source for node in crowd}


WAVES = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from("abcd"),
        st.integers(0, FULL),
        st.integers(0, FULL),
        st.sampled_from([-1, 1]),
        st.integers(-2_000, 2_000),
        st.integers(0, 2_000),
        st.sampled_from(["confirmed", "failed", "partial", None]),
    ),
    max_size=60,
)


@given(WAVES, st.sampled_from(["math", "danger", UNKNOWN]))
@pytest.mark.spec("NIM-05", "NIM-06")
def test_whatever_is_felt(waves: list[tuple[int, str, int, int, int, int, int, str | None]], region: str) -> None:
    """Over any waves and outcomes the state stays in [-1, 1], memory is bounded, and each decision comes out again."""
    gate = Gate()
    for number, source, confidence, similarity, polarity, late_ms, gap_ms, outcome in waves:
        wave = felt(
            number,
            source,
            confidence,
            region=region,
            similarity_ppm=similarity,
            polarity=polarity,
            taken_ms=gate.now_ms + gap_ms + late_ms,
        )
        gate.hear(wave, gap_ms)
        if outcome and gate.trust.unresolved:
            gate.judge(gate.trust.unresolved[0].signal, outcome, region)
        assert len(gate.window.waves) <= MAX_WAVES
        assert len(gate.trust.unresolved) <= UNRESOLVED
    for verified in gate.all_of(SignalVerified):
        assert len(verified.sources) >= 2
        assert verified.confidence_ppm > OPEN_PPM


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, FULL), st.sampled_from([-1, 1])), max_size=8))
@pytest.mark.spec("NIM-05")
def test_the_order_of_waves_does_not_matter(waves: list[tuple[str, int, int]]) -> None:
    """What a window says is the same in whatever order its waves came."""
    shares = [Share(source, n.to_bytes(16, "big"), 0, size, FULL, side) for n, (source, size, side) in enumerate(waves)]
    said = collapse(shares)
    assert said == collapse(shares[::-1])
    assert -FULL <= said.value_ppm <= FULL
    stronger = collapse([*shares, Share("e", bytes(16), 0, 200_000, FULL, 1)])
    assert stronger.support_ppm >= said.support_ppm


@pytest.mark.spec("NIM-05")
def test_what_a_gate_did_on_the_way_goes_by_the_order() -> None:
    """Two that agree and then one that denies it open the gate and close it; with the denial first it never opens."""
    last, first = Gate(), Gate()
    for gate, sides in ((last, (1, 1, -1)), (first, (-1, 1, 1))):
        for number, (source, polarity) in enumerate(zip("abc" if sides[0] > 0 else "cab", sides, strict=True)):
            gate.hear(felt(number, source, 900_000, polarity=polarity))
    assert (["OPEN", "CLOSED"], 1) == (labels(last), len(last.all_of(SignalVerified)))
    assert (["CLOSED"], 0) == (labels(first), len(first.all_of(SignalVerified)))


@pytest.mark.spec("NIM-05", "X-12")
@pytest.mark.parametrize(
    ("before", "gone"),
    [
        ("b" + "a" * (MAX_WAVES - 1), 1),
        ("b" * 3 + "c" * 4 + "a" * (MAX_WAVES - 7), 7),
        ("ab" * (MAX_WAVES // 2), 0),
        ("b" + "ab" * (MAX_WAVES // 2 - 1) + "a", 0),
        ("abcde" * (MAX_WAVES // 5), 0),
    ],
)
def test_who_has_most_is_forgotten_first(before: str, gone: int) -> None:
    """Beyond its bound a window loses the oldest wave of whoever has most in it, of several of whoever came first."""
    gate = Gate()
    for number, source in enumerate(before):
        gate.hear(felt(number, source, 1))
    assert MAX_WAVES == len(gate.window.waves)
    gate.hear(felt(MAX_WAVES, "z", 1))
    left = [int.from_bytes(heard.share.wave_id, "big") for heard in gate.window.waves]
    assert [number for number in range(MAX_WAVES + 1) if number != gone] == left


@pytest.mark.spec("NIM-05", "X-12")
def test_a_flood_drowns_nobody() -> None:
    """However much one source says, another that agrees is still heard, and the two open the gate."""
    gate = Gate()
    gate.hear(felt(1, "quiet", 600_000))
    for number in range(2, 3 * MAX_WAVES):
        gate.hear(felt(number, "loud", 50_000))
    assert [] == gate.all_of(SignalVerified)
    gate.hear(felt(1_000, "other", 600_000))
    assert 1 == len(gate.all_of(SignalVerified))


@given(st.integers(-FULL, FULL), st.integers(0, 40_000), st.integers(0, 40_000))
@pytest.mark.spec("NIM-05")
def test_relaxation_goes_by_time_alone(state: int, first_ms: int, second_ms: int) -> None:
    """Relaxing in two steps is relaxing once, to a few millionths, and never turns a state's sign."""
    once, twice = relaxed(state, first_ms + second_ms), relaxed(relaxed(state, first_ms), second_ms)
    assert abs(once - twice) <= 2
    assert abs(once) <= abs(state)
    assert once * state >= 0


def test_relaxation_is_that_of_the_source_per_100_ms() -> None:
    """0.95 per 100 ms: 0.95, 0.9025 and so on, to a millionth."""
    assert pytest.approx([950_000, 902_500, 857_375], abs=1) == [relaxed(FULL, ms) for ms in (100, 200, 300)]


@pytest.mark.spec("NIM-05")
def test_noisy_or() -> None:
    """0.6 and 0.5 make 0.80, nothing makes nothing, certainty stays certainty."""
    assert [800_000, 0, FULL] == [noisy_or([600_000, 500_000]), noisy_or([]), noisy_or([FULL, 1])]


@pytest.mark.spec("NIM-05")
def test_a_contradiction_counts_twice() -> None:
    """Half-disputed evidence is worth nothing, wholly disputed evidence closes, also a gate that was open."""
    assert 0 == Collapse(800_000, 400_000, 2, 2).value_ppm
    assert -800_000 == Collapse(800_000, 800_000, 2, 2).value_ppm
    assert pushed(900_000, Collapse(800_000, 700_000, 2, 2)) == -600_000 < CLOSED_PPM


@pytest.mark.spec("NIM-05")
def test_a_grain_of_contradiction_does_not_make_one_source_two() -> None:
    """One source and a hardly audible contradiction leave the gate at its threshold."""
    assert OPEN_PPM == pushed(0, Collapse(900_000, 1, 1, 2))
