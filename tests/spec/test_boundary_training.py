"""Training the boundary's model: repeatable byte for byte, adaptable by thin matrices, served as it was learned."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from blake3 import blake3
from safetensors.torch import load as tensors_of

from deploy.cli import build_parser
from deploy.commands import train as command
from deploy.terminal import Terminal
from shared.boundary.evaluate import states
from shared.boundary.llama import serve
from shared.boundary.task import TASK, Call, write_call
from shared.boundary.tokens import EOS, PAD, Vocabulary
from shared.boundary.training.batches import exact_ppm
from shared.boundary.training.descent import Watch, rate
from shared.boundary.training.export import weights, with_weights
from shared.boundary.training.lora import adapt, fold
from shared.boundary.training.network import Network, Shape
from shared.boundary.training.pictures import sparkline, svg
from shared.boundary.training.plan import Record, read_record
from shared.boundary.training.reinforce import advantages, reward, sample
from shared.boundary.training.trails import Trail, Trails, made_up, made_up_changed, read_trails, written
from shared.boundary.training.training import MODEL, RECORD, TRAILS, WEIGHTS, train
from shared.boundary.translator import RULES, Rules, translate
from shared.canonical import canonical
from shared.config import load
from shared.errors import ConfigFault, Exit, Refused
from shared.world import RealWorld
from tests.boundaries import SMALL, STEPS, left, small_plan, small_training, some_trails

CHANGED = Rules(dock_percent=25)
LINE = (
    b'{"call":{"function":"idle","args":{}},'
    b'"state":{"battery":90,"front":200,"left":1,"right":2,"math":3,"speech":4,"speed":5}}\n'
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A small training and its record."""
    folder = tmp_path_factory.mktemp("training") / "learned"
    return folder, small_training(folder)


# The same plan, the same bytes


@pytest.mark.spec("NIM-14", "ILL-05")
def test_the_same_plan_leaves_the_same_bytes(learned: tuple[Path, Record], tmp_path: Path) -> None:
    """Carried out again a plan leaves the same weights, model, trails, picture and record; another seed does not."""
    folder, record = learned
    again = small_training(tmp_path / "again")
    assert record.digest == again.digest
    assert left(folder) == left(tmp_path / "again")
    assert record.model != small_training(tmp_path / "other", seed=6).model


@pytest.mark.spec("NIM-14", "ILL-05")
def test_a_record_names_everything(learned: tuple[Path, Record]) -> None:
    """The record names trails, weights and model by the digests of the files beside it, and reads back as itself."""
    folder, record = learned
    files = left(folder)
    assert record == read_record(files[RECORD])
    assert [record.plan.data, record.weights, record.model] == [
        blake3(files[name]).hexdigest() for name in (TRAILS, WEIGHTS, MODEL)
    ]
    assert {"torch", "numpy", "safetensors", "gguf"} == set(record.surroundings.packages)
    assert (1, True) == (record.surroundings.threads, record.surroundings.deterministic)
    assert STEPS == record.outcome.curve[-1][0]
    for bad in (b"", b"{}", files[RECORD].replace(b'":', b'": ', 1)):
        with pytest.raises(Refused, match="B002"):
            read_record(bad)


@pytest.mark.spec("NIM-14")
def test_what_a_plan_does_not_name_is_not_trained_on(tmp_path: Path) -> None:
    """Trails, task or beginning other than the plan's are refused before anything is written."""
    plan = small_plan(some_trails())
    watch = Watch(tmp_path / "out", lambda _: None, RealWorld("dev"))
    other = msgspec.structs.replace(TASK, name="another")
    for task, trails, base in (
        (TASK, made_up(TASK, 100, seed=9), b""),
        (other, some_trails(), b""),
        (TASK, some_trails(), b"weights"),
    ):
        with pytest.raises(ConfigFault, match="the plan names"):
            train(plan, task, trails, base, watch)
    assert not watch.folder.exists()


# Trails


@pytest.mark.spec("NIM-14", "NIM-18")
def test_trails_read_back_as_they_were_written(tmp_path: Path) -> None:
    """Made-up trails survive a file, whatever order its fields have; their digest is of what they say."""
    trails = some_trails()
    path = tmp_path / "trails.jsonl"
    path.write_bytes(written(trails.all))
    assert trails == read_trails(path, TASK)
    path.write_bytes(b"".join(msgspec.json.encode(trail, order="sorted") + b"\n" for trail in trails.all))
    assert trails == read_trails(path, TASK)
    assert trails.digest != made_up(TASK, 400, seed=4).digest


@pytest.mark.spec("NIM-14")
def test_made_up_trails_are_the_rules_own() -> None:
    """Each made-up call is the translator's, every function is there, and every fiftieth trail is held out."""
    trails = some_trails()
    assert all(translate(trail.state) == trail.call for trail in trails.all)
    assert {function.name for function in TASK.functions} == {trail.call.function for trail in trails.all}
    assert (392, 8) == (len(trails.learned), len(trails.held_out))


@pytest.mark.spec("NIM-14", "X-12")
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        LINE.replace(b"90", b"101"),
        LINE.replace(b"90", b"9.5"),
        LINE.replace(b"idle", b"fly"),
        LINE.replace(b',"speed":5', b""),
        LINE.replace(b'{"call"', b'{"x":1,"call"'),
        LINE.replace(b'"args":{}', b'"args":{"cell":"motor"}'),
    ],
)
def test_a_line_that_is_no_trail_is_named(tmp_path: Path, line: bytes) -> None:
    """One bad line refuses the whole file, and the refusal says which line."""
    path = tmp_path / "trails.jsonl"
    path.write_bytes(LINE + line.rstrip(b"\n") + b"\n")
    with pytest.raises(Refused, match=r"F003.*trails\.jsonl, line 2"):
        read_trails(path, TASK)


@pytest.mark.spec("NIM-14")
def test_changed_rules_are_taught_beside_all_the_rest() -> None:
    """Of the trails of changed rules every second lies where they changed; where nothing changed there is nothing."""
    trails = made_up_changed(TASK, 60, 1, RULES, CHANGED).all
    assert all(translate(trail.state, CHANGED) == trail.call for trail in trails)
    assert all(translate(trail.state) != trail.call for trail in trails[1::2])
    assert {function.name for function in TASK.functions} == {trail.call.function for trail in trails[::2]}


# Learning


@pytest.mark.spec("NIM-14")
def test_the_loss_falls(learned: tuple[Path, Record]) -> None:
    """Even a small network on few steps foretells calls better at the end than at the beginning."""
    losses = [loss for _, loss in learned[1].outcome.curve]
    assert losses[0] / 2 > losses[-1]


@pytest.mark.spec("NIM-14")
def test_what_was_learned_is_what_is_served(tmp_path: Path) -> None:
    """A network that knows one call of each function by heart says exactly these through llama.cpp and its grammar."""
    one_each = {trail.call.function: trail for trail in some_trails().all}
    trails = Trails.of([*one_each.values()] * 10)
    plan = small_plan(trails, steps=100, batch=10)
    record = train(plan, TASK, trails, b"", Watch(tmp_path, lambda _: None, RealWorld("dev")))
    network = with_weights(SMALL, (tmp_path / WEIGHTS).read_bytes())
    assert 1_000_000 == record.outcome.exact_ppm == exact_ppm(network, TASK, trails.all)

    async def said() -> list[str]:
        model = serve(tmp_path / MODEL, TASK.schema, TASK.longest_call)
        answers = [await model.complete(TASK.prompt(trail.state), 1) for trail in one_each.values()]
        await model.close()
        return answers

    assert [write_call(trail.call) for trail in one_each.values()] == asyncio.run(said())


@pytest.mark.spec("NIM-14")
def test_one_token_at_a_time_is_the_same() -> None:
    """With what was computed before, a network foretells as it does when it reads everything at once."""
    network = Network(SMALL, 1)
    tokens = torch.tensor([Vocabulary(TASK).encode(TASK.prompt(some_trails().all[0].state))])
    at_once, _ = network(tokens)
    logits, past = network(tokens[:, :5])
    for place in range(5, tokens.shape[1]):
        logits, past = network(tokens[:, place : place + 1], past)
    assert torch.allclose(at_once[:, -1], logits[:, -1], atol=1e-5)


@pytest.mark.spec("NIM-14")
def test_the_learning_rate_rises_and_falls() -> None:
    """It rises in a line to its peak and falls along a cosine to two hundredths of it."""
    plan = small_plan(some_trails(), steps=100, warm_up=10, peak_ppm=1_000)
    rates = [rate(plan, step) for step in range(101)]
    assert sorted(rates[:9]) == rates[:9]
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert 2e-5 == pytest.approx(rates[100])


# Adapting


@pytest.mark.spec("NIM-14")
def test_an_adapter_begins_by_saying_nothing(learned: tuple[Path, Record]) -> None:
    """A network with fresh adapters is the network without; folded it has its old shape and says what it said."""
    raw = (learned[0] / WEIGHTS).read_bytes()
    network, adapted = with_weights(SMALL, raw), with_weights(SMALL, raw)
    trained = adapt(adapted, 4, seed=1)
    tokens = torch.tensor([[2, 30, 40, 50]])
    assert torch.equal(network(tokens)[0], adapted(tokens)[0])
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.05)
    said = adapted(tokens)[0]
    fold(adapted)
    assert torch.allclose(said, adapted(tokens)[0], atol=1e-5)
    assert not torch.allclose(said, network(tokens)[0], atol=1e-2)
    assert tensors_of(raw).keys() == tensors_of(weights(adapted)).keys()


@pytest.mark.spec("NIM-14")
def test_adapting_moves_the_thin_matrices_alone(learned: tuple[Path, Record], tmp_path: Path) -> None:
    """Embedding and norms stay bit for bit, and the change of each weight has no more dimensions than its adapter."""
    raw = (learned[0] / WEIGHTS).read_bytes()
    small_training(tmp_path, base=raw, stage="adapt", rank=2, steps=8)
    before, after = tensors_of(raw), tensors_of((tmp_path / WEIGHTS).read_bytes())
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert sorted(name for name in before if name.startswith("blk") and "norm" not in name) == sorted(moved)
    for name in moved:
        assert 2 >= int(torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3))


@pytest.mark.slow
@pytest.mark.spec("NIM-14")
def test_a_changed_rule_is_learned_and_the_rest_is_kept(tmp_path: Path) -> None:
    """A changed threshold, of which a network got next to nothing right, is adapted to; what it did not touch stays.

    The short form of what `boundary evaluate --rule` measures of a whole training: a network a seventh as large.
    """
    shape = Shape(len(Vocabulary(TASK)), width=64, inner=128, layers=2, heads=4, head=16)
    drawn = [*islice(states(TASK, 1_128), 128, None)]
    trails = [Trail(translate(state, CHANGED), state) for state in drawn]
    apart = [[t for t in trails if (translate(t.state) != t.call) == changed] for changed in (True, False)]

    def trained(stage: str, taught: Trails, begun: bytes, **more: Any) -> bytes:  # noqa: ANN401 - fields of a plan
        plan = small_plan(taught, stage=stage, shape=shape, seed=1, batch=64, peak_ppm=8_000, warm_up=30, **more)
        train(plan, TASK, taught, begun, Watch(tmp_path / stage, lambda _: None, RealWorld("dev")))
        return (tmp_path / stage / WEIGHTS).read_bytes()

    def exact(raw: bytes) -> list[int]:
        return [exact_ppm(with_weights(shape, raw), TASK, some) for some in apart]

    base = trained("learn", made_up(TASK, 16_100, seed=1), b"", steps=250)
    changed = made_up_changed(TASK, 4_100, 1, RULES, CHANGED)
    adapted = trained("adapt", changed, base, base=blake3(base).hexdigest(), steps=60, rank=16, decay_ppm=0)
    (changed_before, rest_before), (changed_after, rest_after) = exact(base), exact(adapted)
    assert 60 < len(apart[0]) < 150
    assert 20_000 >= changed_before
    assert 950_000 <= changed_after
    assert 400_000 < rest_before < rest_after + 50_000


@pytest.mark.spec("NIM-14")
def test_reward_alone_repeats_itself_too(learned: tuple[Path, Record], tmp_path: Path) -> None:
    """Learning from sampled calls is as repeatable as learning from given ones."""
    raw = (learned[0] / WEIGHTS).read_bytes()
    kinds = {"stage": "reinforce", "rank": 2, "steps": 4, "group": 4, "temperature_ppm": 1_300_000, "drift_ppm": 10_000}
    first, again = (small_training(tmp_path / name, base=raw, **kinds) for name in ("first", "again"))
    assert canonical(first) == canonical(again)


def rewarded(folder: Path, trails: Trails, base: bytes, **changed: Any) -> Record:  # noqa: ANN401 - fields of a plan
    """A small training by reward alone, begun with these weights."""
    plan = small_plan(
        trails,
        stage="reinforce",
        base=blake3(base).hexdigest(),
        rank=8,
        group=8,
        temperature_ppm=1_000_000,
        drift_ppm=10_000,
        decay_ppm=0,
        peak_ppm=5_000,
        **changed,
    )
    return train(plan, TASK, trails, base, Watch(folder, lambda _: None, RealWorld("dev")))


@pytest.mark.spec("NIM-14")
def test_reward_alone_makes_reward_rise(tmp_path: Path) -> None:
    """From a policy that is right now and then, reward rises by a sixth of its whole span in thirty steps."""
    trails = made_up(TASK, 2_000, seed=3)
    train(small_plan(trails, steps=60, batch=32), TASK, trails, b"", Watch(tmp_path, lambda _: None, RealWorld("dev")))
    record = rewarded(tmp_path / "after", trails, (tmp_path / WEIGHTS).read_bytes(), steps=30, batch=16)
    assert record.outcome.reward is not None
    rewards = [reward for _, reward in record.outcome.reward.curve]
    assert 30 == len(rewards)
    assert sum(rewards[:10]) / 10 + 160_000 < sum(rewards[20:]) / 10
    assert 50_000 < record.outcome.reward.right_ppm < 500_000
    assert record == read_record((tmp_path / "after" / RECORD).read_bytes())


@pytest.mark.spec("NIM-14")
def test_a_policy_whose_groups_earn_alike_stays_as_it_is(learned: tuple[Path, Record], tmp_path: Path) -> None:
    """Sampled so coldly that every group says one thing, a policy keeps every bit, and the record says so."""
    raw = (learned[0] / WEIGHTS).read_bytes()
    plan = small_plan(
        some_trails(),
        stage="reinforce",
        base=blake3(raw).hexdigest(),
        rank=4,
        group=6,
        temperature_ppm=1,
        drift_ppm=10_000,
        decay_ppm=0,
        steps=6,
    )
    record = train(plan, TASK, some_trails(), raw, Watch(tmp_path, lambda _: None, RealWorld("dev")))
    assert record.outcome.reward is not None
    assert 0 == record.outcome.reward.taught_ppm
    assert learned[1].weights == record.weights


@pytest.mark.spec("NIM-14")
def test_who_never_finds_the_reward_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy that knows nothing finds no right call to be rewarded for, and the command says that by name."""
    nothing = tmp_path / "nothing"
    train(
        small_plan(some_trails(), steps=1, peak_ppm=0),
        TASK,
        some_trails(),
        b"",
        Watch(nothing, lambda _: None, RealWorld("dev")),
    )
    loaded = load({}, {"home": str(tmp_path / "home")}, "here")
    asked = told(tmp_path / "out", "--from", str(nothing), "--reinforce", "--steps", "2")
    assert Exit.OK == command.boundary(asked, loaded, Terminal(None, as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert ["never_right", "nothing_taught"] == said["warnings"]
    assert (0, -1_000_000) == (said["outcome"]["reward"]["right_ppm"], said["outcome"]["reward"]["curve"][-1][1])
    assert Exit.OK == command.boundary(asked, loaded, Terminal(None, as_json=False))
    found = capsys.readouterr()
    assert "never_right: no sampled call was the right one" in found.err
    assert "reward   -1.000 at first, -1.000 at last; 0.00% of the samples were right" in found.out


@pytest.mark.spec("NIM-14")
def test_a_sample_is_worth_what_the_trail_says() -> None:
    """The call itself earns one, its function with other arguments 0.3, another call nothing, and no call minus one."""
    trail = Trail(Call("escalate", {"topic": "math", "confidence": 77}), {})
    near, other = Call("escalate", {"topic": "math", "confidence": 78}), Call("idle", {})
    texts = [write_call(trail.call), write_call(near), write_call(other), "escalate"]
    assert [1.0, 0.3, 0.0, -1.0] == [reward(TASK, text, trail) for text in texts]


@pytest.mark.spec("NIM-14")
def test_a_group_that_earns_alike_teaches_nothing() -> None:
    """Advantages are measured in the group's own deviations; where all earn the same they are zero."""
    found = advantages(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]))
    assert [0.0] * 4 == found[0].tolist()
    assert [-0.866] * 2 + [0.866] * 2 == pytest.approx(found[1].tolist(), abs=1e-3)
    for samples in range(2, 12):  # whose mean is not always the same number
        assert [0.0] * samples == advantages(torch.full((1, samples), 0.3))[0].tolist()


@pytest.mark.spec("NIM-14")
def test_a_sample_ends_at_its_end_mark(learned: tuple[Path, Record]) -> None:
    """After its end mark a sampled call is padding, and the same generator draws the same samples."""
    network = with_weights(SMALL, (learned[0] / WEIGHTS).read_bytes())
    given = torch.tensor([Vocabulary(TASK).encode(TASK.prompt(some_trails().all[0].state))] * 16)
    one, two = (sample(network, given, 1.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    for row in one.tolist():
        end = row.index(EOS) if EOS in row else len(row)
        assert {PAD} >= set(row[end + 1 :])


# The command


def told(folder: Path, *words: str) -> Namespace:
    """What `train boundary` was asked."""
    return build_parser().parse_args(["train", "boundary", "--out", str(folder), *words])


@pytest.mark.spec("NIM-14", "X-06")
@pytest.mark.parametrize("name", ["torch", "gguf"])
def test_without_the_extra_it_says_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the extra is not installed the command says so, and how to install it, before it does anything."""
    monkeypatch.setitem(sys.modules, name, None)
    loaded = load({}, {"home": str(tmp_path / "home")}, "here")
    with pytest.raises(ConfigFault, match=rf"needs {name}.*nimmerverse\[train\]"):
        command.boundary(told(tmp_path / "out"), loaded, Terminal(None, as_json=True))
    assert [] == list(tmp_path.iterdir())


@pytest.mark.spec("NIM-14", "ILL-05")
def test_a_recorded_training_is_repeated_and_compared(learned: tuple[Path, Record], tmp_path: Path) -> None:
    """`--repeat` trains by a record and its trails: 0 where the record comes out again, 1 where it does not."""
    loaded = load({}, {"home": str(tmp_path / "home")}, "here")
    terminal = Terminal(None, as_json=True)
    folder, record = learned
    assert Exit.OK == command.boundary(told(tmp_path / "again", "--repeat", str(folder / RECORD)), loaded, terminal)
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / TRAILS).write_bytes((folder / TRAILS).read_bytes())
    (forged / RECORD).write_bytes(canonical(msgspec.structs.replace(record, model="0" * 64)))
    words = ("--repeat", str(forged / RECORD))
    assert Exit.FAILED == command.boundary(told(tmp_path / "other", *words), loaded, terminal)


@pytest.mark.spec("NIM-14", "X-12")
@pytest.mark.parametrize(
    "words",
    [
        ("--trails", "nowhere.jsonl"),
        ("--from", "nowhere"),
        ("--repeat", "nowhere/record.json"),
        ("--from", "LEARNED", "--rule", "dock=25"),
        ("--from", "LEARNED", "--rule", "dock_percent=x"),
        ("--trails", "FEW"),
    ],
)
def test_what_cannot_be_trained_is_said(learned: tuple[Path, Record], tmp_path: Path, words: tuple[str, ...]) -> None:
    """A missing file, an unknown rule, and too few trails for a batch are settings faults; no model comes of them."""
    few = tmp_path / "few.jsonl"
    few.write_bytes(LINE * 3)
    places = {"LEARNED": str(learned[0]), "FEW": str(few)}
    asked = told(tmp_path / "out", *(places.get(word, word) for word in words))
    with pytest.raises(ConfigFault):
        command.boundary(asked, load({}, {"home": str(tmp_path)}, "here"), Terminal(None, as_json=True))
    assert not (tmp_path / "out" / MODEL).exists()


@pytest.mark.spec("NIM-14")
def test_a_curve_can_be_looked_at() -> None:
    """The sparkline has a bar per point, the highest full; the drawing has a point per point and says its ends."""
    curve = ((10, 2_000_000), (20, 500_000), (30, 1))
    assert "█▃▁" == sparkline(curve)
    drawn = svg(curve, "learn")
    assert "learn: loss 2.000 to 0.0000" in drawn
    assert 3 == drawn.split('points="')[1].split('"')[0].count(",")
