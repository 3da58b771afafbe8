"""`train submit` and `train reproduce` as a person uses them: the same bytes again, or where they part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import Exit
from tests.commands import Home
from tests.corpora import post, written
from tests.labelled import made_up

PARTS = (
    "nerves.provenance",
    "nerves.training",
    "nerves.policy",
    "organs.artifacts",
    "organs.anchor",
    "organs.datasets",
    "organs.trainer.organ",
)


TRAINED_S = 300.0  #: two workers import torch


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which they live."""
    home = Home.at(tmp_path_factory.mktemp("training") / "home", energy_meter="none").without_records().keyed()
    with home.up(*(word for part in PARTS for word in ("--part", part))):
        yield home


@pytest.fixture(scope="module")
def trained(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `train submit --wait` says of a small job that came to its end."""
    labelled = [(text, "toxic" if toxic else "clean") for text, toxic in made_up()]
    posts = [post(number, text, label=label) for number, (text, label) in enumerate(labelled)]
    path = written(tmp_path_factory.mktemp("posts") / "posts.jsonl", posts)
    about = ("--no-scorer", "--language", "any", "--licence", "CC0-1.0")
    [dataset] = home.held("ingest", str(path), *about, "--json").documents
    words = ("train", "submit", "toxicity", "--dataset", dataset["dataset"], "--steps", "20", "--exemption", "pilot")
    done = home.held(*words, "--hyper", "batch=32", "--wait", "--json", wait_s=TRAINED_S).documents[-1]
    assert "completed" == done["state"]
    return done


@pytest.mark.spec("ILL-04")
def test_a_recorded_run_is_reproduced(home: Home, trained: dict[str, Any]) -> None:
    """The same record comes out again, the log says so, and the command ends with 0."""
    [told] = home.held("train", "reproduce", trained["record"], "--json", wait_s=TRAINED_S).documents
    assert (trained["job"], trained["record"], "reproduced", "") == (
        *(told["job"], told["record"]),
        *(told["verdict"], told["detail"]),
    )
    assert told["index"] > 0


@pytest.mark.spec("ILL-04")
def test_a_run_with_another_field_diverges_at_that_field(home: Home, trained: dict[str, Any]) -> None:
    """What was changed is named with what it was, the log says so, and the command ends with 1."""
    done = home.run("train", "reproduce", trained["job"], "--alter", "batch=64", "--json", wait_s=TRAINED_S)
    [told] = done.documents
    assert (Exit.FAILED, "diverged") == (done.code, told["verdict"])
    assert "batch (was 32, is 64)" in told["detail"]
    assert told["index"] > 0
