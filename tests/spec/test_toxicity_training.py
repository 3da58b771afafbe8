"""Learning toxicity from labelled posts: the same bytes from the same run, killed or not, and nobody's words in it."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from cells.toxicity_cell import default_scorer, load_scorer
from organs.trainer.recipes import Given, Left, recipe_of
from shared.errors import Refused
from shared.subjects.training import JobSpec
from shared.toxicity.learned import BUCKETS, buckets
from shared.toxicity.measures import (
    KEEP_PPM,
    auc_ppm,
)
from shared.toxicity.training import HYPERPARAMETERS, LEAST_OF_EACH, LEAST_POSTS, Trained, Training, train_toxicity
from tests.labelled import KIND, RUDE, made_up

STEPS, SEED = 60, 7
DATASET = "d" * 64


@cache
def trained() -> Trained:
    """What the made-up posts teach."""
    return train_toxicity(made_up(), {}, SEED, STEPS)


@pytest.mark.spec("COL-02", "ILL-02")
def test_what_posts_teach() -> None:
    """Words that no lexicon has are toxic after training and were not before; the loss fell by more than half."""
    texts = [f"those {word} neighbours" for word in (*RUDE, *KIND)]
    assert [0] * 6 == default_scorer().scores(texts)
    scores = load_scorer(trained().weights, blake3(trained().weights).hexdigest()).scores(texts)
    assert [True] * 3 + [False] * 3 == [score > KEEP_PPM for score in scores]
    losses = trained().losses_micro
    assert (STEPS, 693_147) == (len(losses), losses[0])
    assert losses[-1] * 2 < losses[0]
    assert (1_000_000, 0) == (trained().auc_ppm, trained().held_out.false_positive)


@pytest.mark.spec("COL-02", "ILL-04")
def test_the_same_run_leaves_the_same_bytes() -> None:
    """Run again it leaves the same model and the same losses; another seed leaves another."""
    assert trained() == train_toxicity(iter(made_up()), {}, SEED, STEPS)
    assert trained().weights != train_toxicity(made_up(), {}, SEED + 1, STEPS).weights


@pytest.mark.spec("COL-02", "ILL-02")
@given(st.integers(0, STEPS))
@settings(max_examples=15)
def test_a_killed_run_goes_on_to_the_same_bytes(step: int) -> None:
    """Whichever checkpoint it goes on from, a run ends with the bytes that it would have had."""
    before = Training(made_up(), {}, SEED)
    for _ in range(step):
        before.step()
    after = Training(made_up(), {}, SEED)
    after.resume(before.checkpoint())
    assert before.checkpoint() == after.checkpoint()
    while len(after.losses) < STEPS:
        after.step()
    assert trained() == after.finished()


@pytest.mark.spec("COL-02")
def test_what_few_posts_have_is_not_in_the_model() -> None:
    """A bucket that fewer than five posts have weighs nothing, so a model tells nothing of what one person wrote."""
    rare = "xylophonist"
    posts = [*made_up(), *[(f"{rare} {RUDE[0]} number {n}", True) for n in range(LEAST_POSTS - 1)]]
    [bucket] = buckets([rare])
    assert bucket not in {one for text, _ in made_up() for one in buckets(text.split())}
    weights = load(train_toxicity(posts, {}, SEED, STEPS).weights)["weights"]
    assert 0 == weights[bucket]
    assert 0 != weights[buckets([RUDE[0]])[0]]


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_hyperparameters_have_bounds(name: str) -> None:
    """What lies outside a hyperparameter's bounds, and a name that is none, is refused before anything is read."""
    _, least, largest = HYPERPARAMETERS[name]
    for wrong in ({name: least - 1}, {name: largest + 1}, {f"{name}s": least}):
        with pytest.raises(Refused, match="T003"):
            Training(iter(()), wrong, SEED)


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize(
    "posts",
    [
        [],
        made_up(2 * LEAST_OF_EACH),
        [(text, True) for text, _ in made_up()],
        [(text, False) for text, _ in made_up()],
        [("the same text every time", n % 2 == 0) for n in range(1_000)],
    ],
    ids=["none", "few", "all toxic", "all clean", "one text"],
)
def test_too_little_teaches_nothing(posts: list[tuple[str, bool]]) -> None:
    """Without enough toxic and clean posts, both to learn from and held out, nothing is trained."""
    with pytest.raises(Refused, match="T006"):
        Training(posts, {}, SEED)


@pytest.mark.spec("COL-02", "COL-08")
def test_only_a_checkpoint_is_gone_on_from() -> None:
    """Bytes cut short, a pickle and a finished model are refused, and the training stands where it stood."""
    training = Training(made_up(), {}, SEED)
    training.step()
    good = training.checkpoint()
    for bad in (good[:-8], pickle.dumps({"state": 1}), trained().weights, b""):
        with pytest.raises(Refused, match="T009"):
            training.resume(bad)
    assert good == training.checkpoint()


# The recipe


class Told:
    """What a recipe told, kept."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.steps: list[int] = []
        self.kept: dict[int, bytes] = {}

    def stepped(self, step: int, loss: float, samples: int) -> None:
        self.steps.append(step)

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def keep(self, step: int, checkpoint: bytes) -> None:
        self.kept[step] = checkpoint


def spec(**changed: object) -> JobSpec:
    """A job that trains the family on one dataset."""
    job = JobSpec(
        family="toxicity",
        recipe="toxicity_recipe 1.0.0",
        backend="torch",
        datasets=[DATASET],
        base="",
        hyperparameters={"keep_every": 20},
        seed=SEED,
        steps=STEPS,
        workers=2,
        heavy=False,
        reason="to see whether it learns",
        proposal="p1",
    )
    return msgspec.structs.replace(job, **changed)


def carried_out(folder: Path, begun: bytes | None = None, **changed: object) -> tuple[Left, bytes, Told]:
    """What a job leaves in a folder of its own."""
    data, out = folder / "data", folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    told = Told(20)
    left = recipe_of("toxicity").run(Given(spec(**changed), data, out, 0, 2, begun), told)
    return left, (out / left.model).read_bytes(), told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker's folder with the made-up posts as records of a dataset."""
    data = tmp_path / "data"
    data.mkdir()
    lines = [
        json.dumps({"id": f"p{n}", "label": "toxic" if toxic else "clean", "text": text})
        for n, (text, toxic) in enumerate(made_up())
    ]
    (data / f"{DATASET}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.spec("COL-02", "ILL-02")
def test_the_recipe_trains_the_family(folder: Path) -> None:
    """A job on labelled records leaves the model that the same posts leave, and one told of every step and checkpoint.

    Begun at any of its checkpoints it leaves the same.
    """
    left, model, told = carried_out(folder)
    assert trained().weights == model
    assert left.weights == left.model
    assert ([*range(1, STEPS + 1)], [20, 40, 60]) == (told.steps, [*told.kept])
    assert STEPS == left.curve[-1][0]
    assert left.curve[0][1] > left.curve[-1][1]
    assert (1_000_000, 0) == (left.measured["auc_ppm"], left.measured["dropped_clean"])
    assert 0 < left.parameters < BUCKETS
    for step, checkpoint in told.kept.items():
        again, same, later = carried_out(folder, checkpoint)
        assert (left, model, [*range(step + 1, STEPS + 1)]) == (again, same, later.steps)


@pytest.mark.spec("COL-02")
@pytest.mark.parametrize("record", [{"id": "x", "label": None, "text": "a"}, {"id": "x", "label": "toxic"}])
def test_a_record_without_a_label_teaches_nothing(folder: Path, record: dict[str, str]) -> None:
    """A record without a label or a text ends the job, and is named."""
    with (folder / "data" / f"{DATASET}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    with pytest.raises(Refused, match=r"T006.*'x'"):
        carried_out(folder)


@pytest.mark.spec("COL-02")
def test_the_recipe_checks_a_job_first() -> None:
    """A base, an unknown hyperparameter and a learning rate of 0 or 2 are refused; a good job is not."""
    recipe = recipe_of("toxicity")
    assert recipe.check(spec()) is None
    for wrong in (
        spec(base="b" * 64),
        spec(hyperparameters={"layers": 2}),
        spec(hyperparameters={"learning_rate_ppm": 0}),
        spec(hyperparameters={"learning_rate_ppm": 2_000_000}),
    ):
        refused = recipe.check(wrong)
        assert refused is not None
        assert "T003" == refused.code


# Measures


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_auc_is_the_share_of_pairs(rows: list[tuple[int, bool]]) -> None:
    """It is the share of pairs of a toxic and a clean text in the right order, ties by half."""
    pairs = [(toxic, clean) for toxic, is_toxic in rows if is_toxic for clean, other in rows if not other]
    right = sum(2 * (toxic > clean) + (toxic == clean) for toxic, clean in pairs)
    expected = right * 1_000_000 // (2 * len(pairs)) if pairs else 0
    assert expected == auc_ppm([score for score, _ in rows], [toxic for _, toxic in rows])
