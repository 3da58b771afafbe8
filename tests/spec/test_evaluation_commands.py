"""The commands of datasets and evaluation as a person uses them, on an organism with the organs that they ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from cells.toxicity_cell.scorer import default_scorer
from organs.evaluator.toxicity_family import SUITE, ToxicityFamily
from shared.errors import Exit
from shared.toxicity.training import Training
from tests.commands import Home
from tests.corpora import post, written
from tests.labelled import made_up

PARTS = (
    "nerves.provenance",
    "organs.vault",
    "organs.artifacts",
    "organs.anchor",
    "organs.datasets",
    "organs.evaluator",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which they live."""
    home = Home.at(tmp_path_factory.mktemp("evaluation") / "home").without_records().keyed()
    with home.up(*(word for part in PARTS for word in ("--part", part))):
        yield home


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of labelled posts of made-up words."""
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    rows = [{"text": text, "label": "toxic" if toxic else "clean"} for text, toxic in made_up(200)]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


@pytest.mark.spec("ILL-03")
def test_a_file_becomes_a_dataset_and_is_read_again(home: Home, posts: Path) -> None:
    """Registered twice it is where it was; status says what blocks it, verify that it is whole."""
    words = ("dataset", "register", str(posts), "--name", "posts", "--use", "train", "--licence", "CC-BY-NC-4.0")
    [first], [again] = (home.held(*words, "--json").documents for _ in range(2))
    assert (200, False, True) == (first["records"], first["duplicate"], again["duplicate"])
    assert first["index"] == again["index"]
    blocked = home.run("dataset", "status", "posts", "--json")
    assert (Exit.FAILED, ["licence:CC-BY-NC-4.0"]) == (blocked.code, blocked.documents[0]["blocked"])
    assert "may not teach: licence:CC-BY-NC-4.0" in home.run("dataset", "status", "posts").out
    approval = ("dataset", "approve", first["dataset"][:12], "licence:CC-BY-NC-4.0", "--reason", "for research alone")
    assert "approved at" in home.held(*approval).out
    assert "may teach" in home.held("dataset", "status", "posts").out
    assert "1 batches and 200 records are as they were" in home.held("dataset", "verify", "posts").out
    assert ["sound"] == [row["state"] for row in home.held("dataset", "list", "--json").documents][:1]
    changed = home.run(*words[:-1], "MIT", "--json")
    assert (Exit.REFUSED, "D001") == (changed.code, changed.documents[0]["kind"])
    nowhere = home.run("dataset", "verify", "nobody", "--json")
    assert (Exit.REFUSED, "D002") == (nowhere.code, nowhere.documents[0]["kind"])


@pytest.mark.spec("ILL-03", "X-11")
def test_a_dataset_with_people_is_sanitised(home: Home, tmp_path: Path) -> None:
    """What may not teach, because people are in it, has a derivative that may; it stands for what it came from."""
    said = [post(n, "ask @somebody about what it is to be", author="Ada" if n % 2 else None) for n in range(40)]
    home.held("ingest", str(written(tmp_path / "letters.jsonl", said)), "--licence", "CC0-1.0")
    assert "may not teach: pii" in home.run("dataset", "status", "letters").out
    [told], [again] = (home.held("dataset", "sanitise", "letters", "--json").documents for _ in range(2))
    assert (40, 0, 0, told) == (told["posts"], told["personal"], told["exposed"], again)
    status = home.held("dataset", "status", "letters-sanitised", "--json").documents[0]
    [source] = status["facts"]["sources"]
    assert (status["dataset"], [], "none") == (told["dataset"], status["blocked"], status["facts"]["pii"])
    assert home.run("dataset", "status", source, "--json").documents[0]["facts"]["name"] == "letters"
    made_by = [one["code"].split()[0] for one in status["facts"]["transformations"]]
    assert ["ingest", "sanitise"] == made_by
    assert "40 records are as they were" in home.held("dataset", "verify", "letters-sanitised").out
    wrong = home.run("dataset", "sanitise", "nothing", "--json")
    assert (Exit.REFUSED, "D002") == (wrong.code, wrong.documents[0]["kind"])


def lexicon_quality() -> int:
    """What the default is worth by the product's own suite."""
    family = ToxicityFamily()
    sitting = family.read(family.shipped[SUITE].splitlines())
    measured = sitting.judge([str(score) for score in default_scorer().scores(sitting.questions)])
    return next(one.ppm for one in measured.metrics if one.name == "quality")


@pytest.mark.spec("ILL-06", "COL-10", "ILL-19")
def test_a_model_is_measured_from_the_command_line(home: Home, posts: Path, tmp_path: Path) -> None:
    """A file is measured by a shipped suite and by a registered one, shown beside what is demanded, and drawn."""
    training = Training(iter(made_up()), {}, 7)
    for _ in range(20):
        training.step()
    model = tmp_path / "toxicity.safetensors"
    model.write_bytes(training.finished().weights)
    plot = tmp_path / "eval.svg"
    run = ("eval", "run", str(model), "--family", "toxicity", "--suite")
    by_frames = home.run(*run, SUITE, "--plot", str(plot), "--json")
    [found] = by_frames.documents
    assert lexicon_quality() == next(one["ppm"] for one in found["default"] if one["name"] == "quality")
    assert ["hallucination"] == found["missing"], "it knows made-up words alone, and calls nothing toxic"
    assert (Exit.FAILED, "keep") == (by_frames.code, found["recommended"][0]["recommendation"])
    assert "quality by frames 1" in plot.read_text()
    assert ET.fromstring(plot.read_text()).tag.endswith("svg")  # noqa: S314 - our own
    measures = tmp_path / "measures.jsonl"  # other bytes: under other facts the same ones are refused
    measures.write_bytes(posts.read_bytes().rpartition(b"\n{")[0])
    home.held("dataset", "register", str(measures), "--name", "measures")
    [other] = home.run(*run, "measures", "--json").documents
    assert ["bias"] == other["missing"], "its texts name no groups"
    shown = home.run("eval", "show", found["model"])
    assert Exit.FAILED == shown.code
    assert "not measured: MISSING" in shown.out
    nowhere = home.run("eval", "show", found["model"], "--plot", str(tmp_path / "nowhere" / "eval.svg"))
    assert (Exit.STORAGE, True) == (nowhere.code, "cannot be written" in nowhere.err)
    assert "speaks for: keep, hallucination is not measured" in shown.out
    suites = home.held("eval", "suites").out
    assert all(word in suites for word in ("reflexes 1", SUITE, "measures"))
