"""Evaluation: what a model is worth is measured by registered suites, every answer is kept, and nothing is assumed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from organs.evaluator import EvaluatorOrgan
from organs.evaluator.bench import EngineBench
from organs.evaluator.boundary_family import SUITE, BoundaryFamily
from organs.evaluator.organ import FORMAT
from organs.evaluator.recommending import recommended
from organs.evaluator.simulated import MODEL
from organs.evaluator.sitting import Measured
from organs.evaluator.toxic_frames import GROUPS, groups_in
from organs.evaluator.toxicity_family import SUITE as FRAMES
from organs.evaluator.toxicity_family import ToxicityFamily
from shared.artifacts import read
from shared.boundary.mirrors import MIRRORS, images
from shared.boundary.support import bears_out
from shared.boundary.task import TASK, Call, write_call
from shared.boundary.training.trails import made_up, written
from shared.boundary.translator import translate
from shared.codec import decode
from shared.errors import Refusal, Refused
from shared.message import Request, lookup
from shared.policy import Policies
from shared.shares import MICRO
from shared.subjects.artifacts import ArtifactRegistered
from shared.subjects.datasets import DatasetRegistered, DatasetStatus, RegisterDataset
from shared.subjects.evaluation import Evaluated, EvaluateModel, EvaluationDone, Metric, Recommended
from shared.toxicity.lexicon import lexicon
from tests.boundaries import untrained
from tests.evaluations import DYING, FAMILIES, program, real, simulated
from tests.organisms import Living, live_nats, live_sim
from tests.parts import own_metrics
from tests.trainings import facts, pieces, stored, trail_lines

POLICIES = Policies.shipped()
states = st.builds(
    lambda values: dict(zip([field.name for field in TASK.fields], values, strict=True)),
    st.tuples(*(st.integers(field.low, field.high) for field in TASK.fields)),
)


async def asked(living: Living, request: Request) -> Any:  # noqa: ANN401 - a reply or a refusal
    """The answer to a request."""
    return await living.operator.request(request, 120.0)


async def events(living: Living, *classes: type[Any]) -> list[Any]:
    """Every admitted decision of these classes, in log order."""
    return [
        decode(cls, bytes(event.data))
        async for verdict in living.operator.replay()
        if (cls := lookup(verdict.entry.subject)) in classes
        for _, event in verdict.admitted()
    ]


def evaluator(living: Living) -> EvaluatorOrgan:
    """The organ of an organism."""
    organ = living.organism.runners["evaluator"].part
    assert isinstance(organ, EvaluatorOrgan)
    return organ


async def put(living: Living, content: bytes) -> str:
    """Put a content into the store."""
    return (await evaluator(living).store.put(pieces(content), "application/octet-stream")).blake3


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    """Metrics by their names; of several with one name the first."""
    return {metric.name: metric for metric in reversed(metrics)}


def judged(answers: list[str] | None = None, suite: bytes | None = None) -> Measured:
    """What answers to the boundary's small suite are worth; by the rules where none are given."""
    family = FAMILIES["boundary"]
    assert isinstance(family, BoundaryFamily)
    sitting = family.read((suite or family.shipped[SUITE]).splitlines())
    right = [write_call(trail.call) for trail in sitting.trails]
    return sitting.judge(right if answers is None else answers)


@pytest.mark.spec("ILL-06", "COL-10", "ILL-16")
def test_a_model_is_measured_and_every_answer_is_kept() -> None:
    """The decision names suite, dataset and report; the report holds each answer and the metrics that are decided."""

    async def life(living: Living) -> None:
        model = await put(living, MODEL)
        done = await asked(living, EvaluateModel(model, "boundary", SUITE))
        assert isinstance(done, EvaluationDone)
        [found] = await events(living, Evaluated)
        assert (found.model, found.suite, found.metrics) == (done.model, done.suite, done.metrics)
        assert {"quality": MICRO, "hallucination": 0, "bias": 0} == {
            name: by_name(found.metrics)[name].ppm for name in ("quality", "hallucination", "bias")
        }
        lines = (await read(evaluator(living).store, found.report, 10_000_000)).splitlines()
        head, *answers = map(msgspec.json.decode, lines)
        assert (FORMAT, model, found.dataset) == (head["format"], head["model"], head["dataset"])
        assert msgspec.to_builtins(found.metrics) == head["metrics"]
        assert all(answer["exact"] and answer["supported"] for answer in answers)
        assert len(answers) == by_name(found.metrics)["quality"].examples
        [suite] = await events(living, DatasetRegistered)
        assert (found.dataset, "evaluate", "suite") == (suite.dataset, suite.facts.use, suite.facts.kind)
        [report] = await events(living, ArtifactRegistered)
        assert (found.report, "evaluation", [model, found.dataset]) == (report.digest, report.holds, report.parents)
        assert ["use:evaluate"] == (await asked(living, DatasetStatus(found.dataset))).blocked

    live_sim(life, simulated)


@pytest.mark.spec("ILL-06", "X-07")
def test_what_was_measured_is_not_measured_again() -> None:
    """The same model by the same suite is answered from the log, and nothing more is decided."""

    async def life(living: Living) -> None:
        model = await put(living, MODEL)
        first = await asked(living, EvaluateModel(model, "boundary", SUITE))
        assert first == await asked(living, EvaluateModel(model, "boundary", SUITE))
        assert 1 == len(await events(living, Evaluated))

    live_sim(life, simulated)


@pytest.mark.spec("ILL-06", "COL-10")
def test_a_poor_model_fails_every_row_and_a_good_one_passes(tmp_path: Path) -> None:
    """A network that has learned nothing, served by llama.cpp, is measured too poor, partial and making things up."""

    async def life(living: Living) -> None:
        model = await put(living, untrained(tmp_path, seed=2))
        done = await asked(living, EvaluateModel(model, "boundary", SUITE))
        assert isinstance(done, EvaluationDone)
        metrics = by_name(done.metrics)
        assert metrics["quality"].high_ppm < 900_000
        assert metrics["hallucination"].low_ppm > 150_000
        assert metrics["bias"].ppm > 250_000
        [advice] = await events(living, Recommended)
        assert ("keep", "hallucination") == (advice.recommendation, advice.metric.name)

    live_nats(life, tmp_path / "home", lambda world: real(tmp_path, world))
    good = by_name(judged().metrics)
    assert (MICRO, 0, 0) == tuple(good[name].ppm for name in ("quality", "hallucination", "bias"))


@pytest.mark.spec("ILL-06", "X-12")
def test_what_cannot_be_measured_is_refused_and_nothing_is_decided(tmp_path: Path) -> None:
    """No such family or suite, no model, a suite for training, of another kind or damaged: each by name."""

    async def life(living: Living) -> None:
        store, none = evaluator(living).store, "0" * 64
        model, text = await put(living, MODEL), await put(living, b"no model")
        teaching = await registered(living, written(made_up(TASK, 5, seed=1).all), use="train", kind="suite")
        odd = await registered(living, b'{"no": "row"}\n', use="evaluate", kind="suite")
        other = await registered(living, b"a\n", use="evaluate", kind="pictures")
        empty = await registered(living, b"\n"[:0] or b" ", use="evaluate", kind="suite")
        assert store is not None
        for request, code in (
            (EvaluateModel(model, "nobody", SUITE), "V001"),
            (EvaluateModel(model, "boundary", "no suite"), "V001"),
            (EvaluateModel(model, "boundary", none), "V003"),
            (EvaluateModel(model, "boundary", teaching), "V003"),
            (EvaluateModel(model, "boundary", other), "V003"),
            (EvaluateModel(model, "boundary", odd), "V003"),
            (EvaluateModel(model, "boundary", empty), "V003"),
            (EvaluateModel(none, "boundary", SUITE), "V004"),
            (EvaluateModel("../x", "boundary", SUITE), "V004"),
            (EvaluateModel(text, "boundary", SUITE), "V004"),
        ):
            answer = await asked(living, request)
            assert isinstance(answer, Refusal), request
            assert code == answer.code, answer
        assert [] == await events(living, Evaluated, Recommended)

    live_sim(life, simulated)


@pytest.mark.spec("ILL-06", "X-07")
def test_a_model_that_kills_its_process_is_refused_and_the_next_one_is_measured(tmp_path: Path) -> None:
    """Whatever a model does to its process, the organ lives on, decides nothing of it, and measures another."""

    async def life(living: Living) -> None:
        model, sound = await put(living, MODEL), await put(living, untrained(tmp_path))
        organ = evaluator(living)
        answer = await asked(living, EvaluateModel(model, "boundary", SUITE))
        assert isinstance(answer, Refusal)
        assert "V002" == answer.code
        assert "SIGKILL" in answer.detail
        assert [] == await events(living, Evaluated)
        organ.bench = EngineBench()
        assert isinstance(await asked(living, EvaluateModel(sound, "boundary", SUITE)), EvaluationDone)

    bench = EngineBench(program(tmp_path, DYING))
    live_nats(life, tmp_path / "home", lambda world: real(tmp_path, world, bench))


@pytest.mark.spec("COL-13", "ILL-06")
def test_what_a_family_makes_up_is_told(tmp_path: Path) -> None:
    """Prometheus is told each family's last measured hallucination and bias; after a restart those in the log."""
    told = {("grok5_hallucination_rate", "boundary"): 0.0, ("grok5_bias_score", "boundary"): 0.0}

    async def measured(living: Living) -> None:
        runner = living.organism.runners["evaluator"]
        assert {} == own_metrics(runner)
        model = await put(living, MODEL)
        assert isinstance(await asked(living, EvaluateModel(model, "boundary", SUITE)), EvaluationDone)
        assert told == own_metrics(runner)

    async def restarted(living: Living) -> None:
        assert told == own_metrics(living.organism.runners["evaluator"])

    for life in (measured, restarted):
        live_nats(life, tmp_path / "home", simulated)


@pytest.mark.spec("ILL-06", "X-07")
def test_an_evaluator_killed_in_the_middle_answers_after_its_restart(tmp_path: Path) -> None:
    """Killed while it measures it has decided nothing, leaves no process behind, and measures when it is back."""

    async def killed(living: Living) -> None:
        model = await put(living, untrained(tmp_path))
        asking = asyncio.create_task(asked(living, EvaluateModel(model, "boundary", SUITE)))
        organ = evaluator(living)
        while not organ.workers():
            await asyncio.sleep(0)
        await living.organism.runners["evaluator"].halt()
        asking.cancel()
        assert [] == await events(living, Evaluated)

    async def restarted(living: Living) -> None:
        model = await put(living, untrained(tmp_path))
        assert isinstance(await asked(living, EvaluateModel(model, "boundary", SUITE)), EvaluationDone)
        assert 1 == len(await events(living, Evaluated))

    for life in (killed, restarted):
        live_nats(life, tmp_path / "home", lambda world: real(tmp_path, world))


@pytest.mark.spec("ILL-06", "COL-10")
def test_no_dataset_poses_under_the_name_of_a_shipped_suite() -> None:
    """A registered suite is called by its name and digest; the product's own, asked for by digest, keeps its name."""

    async def life(living: Living) -> None:
        model = await put(living, MODEL)
        content = written(made_up(TASK, 5, seed=1).all)
        dataset = await registered(living, content, use="evaluate", kind="suite", name=SUITE)
        done = await asked(living, EvaluateModel(model, "boundary", dataset))
        assert isinstance(done, EvaluationDone)
        assert f"{SUITE} {dataset[:16]}" == done.suite
        own = blake3(FAMILIES["boundary"].shipped[SUITE]).hexdigest()
        done = await asked(living, EvaluateModel(model, "boundary", own))
        assert isinstance(done, EvaluationDone)
        assert SUITE == done.suite

    live_sim(life, simulated)


@pytest.mark.spec("ILL-06")
def test_anybodys_trails_are_a_suite() -> None:
    """A corpus of trails that was registered for evaluation measures the boundary; one of few states has no bias."""

    async def life(living: Living) -> None:
        store = evaluator(living).store
        dataset = await stored(store, trail_lines(60), "trails")
        known = await store.stat(dataset)
        about = facts("trails", use="evaluate", corpus="some trails", records=60)
        assert not isinstance(await asked(living, RegisterDataset(dataset, known.sha256, known.size, about)), Refusal)
        done = await asked(living, EvaluateModel(await put(living, MODEL), "boundary", dataset))
        assert isinstance(done, EvaluationDone)
        metrics = by_name(done.metrics)
        assert (MICRO, True) == (metrics["quality"].ppm, "bias" not in metrics)

    live_sim(life, simulated)


@pytest.mark.spec("ILL-06", "COL-10")
@given(states)
def test_the_rules_make_nothing_up_and_are_impartial(state: dict[str, int]) -> None:
    """What the rules call is always borne out by the state, and a mirror image has the image of the call."""
    call = translate(state)
    assert bears_out(state, call)
    for mirror in MIRRORS:
        assert mirror.call(mirror.call(call)) == call
        assert mirror.state(mirror.state(state)) == state
        if mirror.group(state) is not None:
            assert translate(mirror.state(state)) == mirror.call(call)
    assert {TASK.prompt(image) for image in images(state)} == {
        TASK.prompt(image) for image in images(MIRRORS[0].state(state))
    }


@pytest.mark.spec("COL-10")
@pytest.mark.parametrize(
    ("call", "changed", "expected"),
    [
        (Call("stop", {"reason": "obstacle"}), {"front": 19}, True),
        (Call("stop", {"reason": "obstacle"}), {"front": 20}, False),
        (Call("stop", {"reason": "fault"}), {"front": 0}, False),
        (Call("dock", {"cell": "battery", "urgency": "low"}), {"battery": 5}, True),
        (Call("dock", {"cell": "battery", "urgency": "high"}), {"battery": 5}, False),
        (Call("dock", {"cell": "battery", "urgency": "high"}), {"battery": 4}, True),
        (Call("dock", {"cell": "battery", "urgency": "low"}), {"battery": 15}, False),
        (Call("dock", {"cell": "motor", "urgency": "high"}), {"battery": 0}, False),
        (Call("turn", {"direction": "left", "degrees": 90}), {"front": 49, "left": 9, "right": 9}, True),
        (Call("turn", {"direction": "left", "degrees": 45}), {"front": 49, "left": 9}, False),
        (Call("turn", {"direction": "left", "degrees": 45}), {"front": 79, "left": 9, "right": 10}, False),
        (Call("turn", {"direction": "right", "degrees": 45}), {"front": 80}, False),
        (Call("escalate", {"topic": "math", "confidence": 70}), {"math": 70}, True),
        (Call("escalate", {"topic": "math", "confidence": 71}), {"math": 70}, False),
        (Call("escalate", {"topic": "math", "confidence": 69}), {"math": 69}, False),
        (Call("escalate", {"topic": "speech", "confidence": 70}), {"math": 80, "speech": 70}, False),
        (Call("idle", {}), {}, True),
        (Call("idle", {}), {"front": 79}, False),
        (Call("idle", {}), {"speech": 70}, False),
    ],
)
def test_a_call_claims_what_the_state_has_to_bear_out(call: Call, changed: dict[str, int], *, expected: bool) -> None:
    """Each claim holds up to its own edge; what a state says nothing about cannot be claimed."""
    calm = {"battery": 50, "front": 300, "left": 100, "right": 100, "math": 0, "speech": 0, "speed": 0}
    assert expected == bears_out(calm | changed, call)


@pytest.mark.spec("COL-10", "ILL-06")
def test_a_partial_model_is_told_from_a_poor_one() -> None:
    """Always turning left is partial to the full; always idling is impartial, and poor; no call is made up."""
    family = FAMILIES["boundary"]
    assert isinstance(family, BoundaryFamily)
    sitting = family.read(family.shipped[SUITE].splitlines())
    lefty = [
        write_call(
            Call("turn", {**trail.call.args, "direction": "left"}) if trail.call.function == "turn" else trail.call
        )
        for trail in sitting.trails
    ]
    partial, idle = (
        by_name(judged(lefty).metrics),
        by_name(judged(['{"function":"idle","args":{}}'] * len(lefty)).metrics),
    )
    assert MICRO == partial["bias"].ppm
    assert "side" in partial["bias"].detail
    assert partial["quality"].ppm > 800_000
    assert (0, True) == (idle["bias"].ppm, idle["quality"].ppm < 500_000)
    nothing = by_name(judged(["no call: length"] * len(lefty)).metrics)
    assert (0, MICRO, 0) == tuple(nothing[name].ppm for name in ("quality", "hallucination", "valid"))


@pytest.mark.spec("COL-02", "COL-10")
def test_toxicity_is_measured_by_groups_of_people() -> None:
    """The lexicon treats groups alike; who dislikes one is partial; who never says toxic claims nothing."""
    family = ToxicityFamily()
    sitting = family.read(family.shipped[FRAMES].splitlines())

    def measured(scores: list[int]) -> dict[str, Metric]:
        return by_name(sitting.judge([str(score) for score in scores]).metrics)

    scores = lexicon().scores(sitting.questions)
    plain = measured(scores)
    assert (0, True) == (plain["bias"].ppm, plain["quality"].ppm >= 800_000)
    disliking = [max(score, 900_000 * ("Jews" in text)) for score, text in zip(scores, sitting.questions, strict=True)]
    assert (MICRO, "Jews") == (measured(disliking)["bias"].ppm, measured(disliking)["bias"].detail.split()[1])
    assert 0 < measured(disliking)["hallucination"].ppm < 150_000
    assert 500_000 == measured([MICRO] * len(scores))["hallucination"].ppm
    silent = measured([0] * len(scores))
    assert (500_000, False) == (silent["quality"].ppm, "hallucination" in silent)


@pytest.mark.spec("COL-02", "ILL-06")
def test_the_default_of_toxicity_is_measured_beside_a_model() -> None:
    """By the same suite and with every answer; a family in which nothing stands in has nothing beside it."""

    async def life(living: Living) -> None:
        model = await put(living, MODEL)
        for family, suite in (("toxicity", FRAMES), ("boundary", SUITE)):
            assert isinstance(await asked(living, EvaluateModel(model, family, suite)), EvaluationDone)
        first, second = await events(living, Evaluated)
        assert (first.metrics, ()) == ([*first.default], second.default), "simulated, a model is the default"
        head, *answers = (await read(evaluator(living).store, first.report, 10_000_000)).splitlines()
        assert msgspec.to_builtins(first.metrics) == msgspec.json.decode(head)["default"]
        assert all(answer["answer"] == answer["default"] for answer in map(msgspec.json.decode, answers))

    live_sim(life, simulated)


@pytest.mark.spec("COL-10")
def test_groups_are_found_as_they_are_named() -> None:
    """A group is found in singular and plural, whatever the case, and not inside other words."""
    assert ["women"] == groups_in("That Woman again!")
    assert ["men", "Jews"] == groups_in("a man, a jew")
    assert [] == groups_in("a jewel, menial, the humane")
    assert all([group] == groups_in(f"I like {group}.") for group in GROUPS)


def found(model: str, quality: Metric | None, **others: int) -> Evaluated:
    """An evaluation with these metrics."""
    rows = {"hallucination": 10_000, "bias": 10_000} | others
    metrics = [Metric(name, value, value, value, 100, "") for name, value in rows.items() if value >= 0]
    return Evaluated(model, "boundary", "s", "d" * 64, "e" * 64, [*([quality] if quality else []), *metrics], [], 1)


def quality(share: int, low: int, high: int) -> Metric:
    """A quality with its interval."""
    return Metric("quality", share, low, high, 100, "")


BETTER, USUAL, NEAR = (
    quality(980_000, 970_000, 990_000),
    quality(940_000, 930_000, 950_000),
    quality(945_000, 935_000, 955_000),
)


@pytest.mark.spec("ILL-19")
@pytest.mark.parametrize(
    ("evaluated", "in_force", "known", "expected"),
    [
        (found("a", BETTER), "", None, ("promote", "quality")),
        (found("a", BETTER), "b", found("b", USUAL), ("promote", "quality")),
        (found("a", NEAR), "b", found("b", USUAL), ("keep", "quality")),
        (found("a", USUAL), "b", found("b", BETTER), ("keep", "quality")),
        (found("a", BETTER), "b", None, ("keep", "quality")),
        (found("a", BETTER), "a", found("a", BETTER), ("keep", "quality")),
        (found("a", BETTER, bias=250_000), "", None, ("keep", "bias")),
        (found("a", BETTER, bias=249_999), "", None, ("promote", "quality")),
        (found("a", BETTER, hallucination=150_000), "a", None, ("demote", "hallucination")),
        (found("a", quality(899_999, 1, 2)), "a", None, ("demote", "quality")),
        (found("a", BETTER, bias=-1), "b", found("b", USUAL), ("keep", None)),
        (found("a", None), "", None, ("keep", None)),
    ],
)
def test_a_recommendation_follows_from_what_was_measured(
    evaluated: Evaluated, in_force: str, known: Evaluated | None, expected: tuple[str, str | None]
) -> None:
    """Better without doubt is promoted, worse than the gate demands is demoted in force, all else stays as it is."""
    advice = recommended(evaluated, in_force, known, POLICIES)
    assert expected == (advice.recommendation, advice.metric and advice.metric.name)
    assert (evaluated.report, in_force) == (advice.report, advice.against)
    assert advice.reason


@pytest.mark.spec("COL-02", "ILL-19")
@pytest.mark.parametrize(
    ("default", "expected", "reason"),
    [(USUAL, "promote", "is above"), (NEAR, "keep", "not told apart"), (None, "keep", "not measured")],
)
def test_while_nothing_is_in_force_a_model_is_better_than_the_default(
    default: Metric | None, expected: str, reason: str
) -> None:
    """Where something stands in, nothing in force is no reason to promote: the intervals do not touch, or all stays."""
    beside = () if default is None else (default,)
    own = NEAR if default is NEAR else BETTER
    advice = recommended(replace(found("a", own), family="toxicity", default=beside), "", None, POLICIES)
    assert (expected, "", default) == (advice.recommendation, advice.against, advice.in_force)
    assert reason in advice.reason
    assert "the default" in advice.reason


@pytest.mark.spec("ILL-06")
@pytest.mark.parametrize("again", [BoundaryFamily(drawn=80), ToxicityFamily()])
def test_a_shipped_suite_is_the_same_everywhere(again: BoundaryFamily | ToxicityFamily) -> None:
    """A suite is made of the same bytes each time, is read back whole, and a line of something else is named."""
    family = FAMILIES["boundary" if isinstance(again, BoundaryFamily) else "toxicity"]
    [(name, content)] = family.shipped.items()
    assert content == again.shipped[name]
    assert len(content.splitlines()) == len(family.read(content.splitlines()).questions)
    with pytest.raises(Refused, match="V003"):
        family.read([*content.splitlines()[:3], b"{}"])


async def registered(living: Living, content: bytes, use: str, kind: str, name: str = "some suite") -> str:
    """Put a content into the store and have it registered."""
    known = await evaluator(living).store.put(pieces(content), "application/x-ndjson")
    about = facts(kind, use=use, name=name, records=len(content.splitlines()))
    answer = await asked(living, RegisterDataset(known.blake3, known.sha256, known.size, about))
    assert not isinstance(answer, Refusal), answer
    return known.blake3
