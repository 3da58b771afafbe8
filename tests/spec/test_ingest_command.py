"""`ingest` and `dataset prove` as a person uses them: on an organism that lives, resumed, refused, erased."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from deploy.attach import operator
from shared.artifacts import FolderStore
from shared.config import load
from shared.corpus import Proved, check_proved
from shared.decisions import decisions_in
from shared.errors import Exit
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.message import Decision
from shared.subjects.anchor import AnchorAdvanced
from shared.subjects.provenance import BatchSealed, CorpusBegun, CorpusFinished
from shared.vault import open_vault, people_of
from shared.vault.records import kept_records
from shared.world import RealWorld
from tests.commands import NIMMERVERSE, ROOT, Home
from tests.corpora import post, written

PARTS = ("nerves.provenance", "organs.anchor", "organs.vault")
NOT_REGISTERED = int(Exit.REFUSED)
D = TypeVar("D", bound=Decision)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which an organism lives that can take posts in, and registers no dataset."""
    made = Home.at(tmp_path_factory.mktemp("ingest") / "home").without_records()
    settings = load(made.environ, {}, "here").settings
    Keys(settings, RealWorld("dev"), CHEAP)
    open_vault(settings, RealWorld("dev"), CHEAP)
    with made.up(*(word for part in PARTS for word in ("--part", part))):
        yield made


def decided(home: Home, cls: type[D]) -> list[D]:
    """Every decision of a class in the log, admitted."""

    async def whole() -> list[D]:
        async with operator(load(home.environ, {}, "here"), lambda _: None) as bus:
            return [one async for verdict in bus.replay() for one, _ in decisions_in(verdict, cls)]

    return asyncio.run(whole())


@pytest.mark.spec("COL-01", "COL-05")
def test_a_fresh_machine_ingests_real_text(home: Home) -> None:
    """Without a file it takes in what CPython says of its language; each batch is in the log and anchored."""
    done = home.run("ingest", "--json")
    assert NOT_REGISTERED == done.code
    [told] = done.documents
    assert (True, False, 0, "PSF-2.0") == (
        told["finished"],
        told["registered"],
        told["unanchored"],
        told["intake"]["licence"],
    )
    assert told["posts"] == sum(told["tally"].values()) > 2_000
    assert told["batches"] == -(-told["posts"] // 1_000)
    assert "B006" == told["refusal"]["code"]
    assert "datasets" in told["refusal"]["detail"]
    assert told == home.run("ingest", "--json").documents[0]
    corpus = told["corpus"]
    anchored = {one.what for one in decided(home, AnchorAdvanced) if one.method == "ots" and corpus in one.what}
    assert {*(f"batch {n} of {corpus}" for n in range(told["batches"])), f"dataset {corpus}"} == anchored
    for cls, count in ((CorpusBegun, 1), (BatchSealed, told["batches"]), (CorpusFinished, 1)):
        assert count == sum(one.corpus == corpus for one in decided(home, cls))


@pytest.mark.spec("COL-03")
def test_a_bad_line_ends_it_and_mended_it_goes_on(home: Home, tmp_path: Path) -> None:
    """The sentence names the line; nothing before it is taken in twice, and other rules are refused."""
    posts = [post(n) for n in range(1_500)]
    path = written(tmp_path / "mended.jsonl", [*posts[:1_200], {"id": "no text"}, *posts[1_200:]])
    done = home.run("ingest", str(path))
    assert int(Exit.REFUSED) == done.code
    assert "C004" in done.sentence
    assert "(line 1201)" in done.sentence
    written(path, posts)
    assert "C001" in home.run("ingest", str(path), "--keep", "0.2").sentence
    [told] = home.run("ingest", str(path), "--json").documents
    assert (1_500, 2, 1_500) == (told["posts"], told["batches"], told["tally"]["kept"])


@pytest.mark.spec("COL-03")
def test_standard_input_is_a_source(home: Home) -> None:
    """Posts come through a pipe; what has no name is given one."""
    raw = "".join(json.dumps(post(n)) + "\n" for n in range(30))
    for words, code in (((), Exit.CONFIG), (("--corpus", "piped"), Exit.REFUSED)):
        done = subprocess.run(
            [*NIMMERVERSE, "ingest", "-", "--json", *words],
            cwd=ROOT,
            env=home.environ,
            input=raw,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert int(code) == done.returncode, done
    assert 30 == json.loads(done.stdout)["posts"]


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("none.jsonl",), Exit.CONFIG, "there is no file none.jsonl"),
        (("pyproject.toml",), Exit.CONFIG, "choose --format jsonl, x, text, trails"),
        (("README.md", "--keep", "0.5"), Exit.REFUSED, "Q004"),
        (("--x-stream", "--corpus", "x"), Exit.CONFIG, "--x-token FILE"),
    ],
)
def test_what_cannot_be_taken_in_is_said_at_once(home: Home, words: tuple[str, ...], code: Exit, sentence: str) -> None:
    """A missing file, one of unknown kind, a limit that the policy does not allow, a stream without a token."""
    done = home.run("ingest", *words)
    assert int(code) == done.code
    assert sentence in done.sentence


@pytest.mark.spec("COL-04", "X-11")
def test_a_person_is_erased_and_every_proof_holds(home: Home, tmp_path: Path) -> None:
    """Before the erasure a post is proved with its record, after it without; its neighbours are proved and read on."""
    posts = [post(n, author="Ada Augusta" if n == 3 else "Robert" if n == 4 else None) for n in range(6)]
    [told] = home.run("ingest", str(written(tmp_path / "erased.jsonl", posts)), "--json").documents
    dataset = told["dataset"]

    def proved(number: int) -> Proved:
        out = tmp_path / f"{number}.json"
        home.held("dataset", "prove", dataset, f"post-{number}", "--out", str(out))
        found = msgspec.json.decode(out.read_bytes(), type=Proved)
        check_proved(found)
        return found

    before = [proved(number) for number in (3, 4, 5)]
    assert all(one.record and one.salt for one in before)
    home.held("audit", "erase", "Ada Augusta", "--reason", "she asked for it")
    after = [proved(number) for number in (3, 4, 5)]
    assert ["", before[1].record, before[2].record] == [one.record for one in after]
    assert "erased at" in after[0].erased
    assert [one.leaf for one in before] == [one.leaf for one in after]
    [sealed] = [one for one in decided(home, BatchSealed) if one.corpus == "erased"]
    assert {sealed.root} == {one.root for one in after}

    async def texts() -> list[str | None]:
        settings = load(home.environ, {}, "here").settings
        store = FolderStore(home.folder / "dev" / "artifacts", RealWorld("dev"))
        people = people_of(settings, RealWorld("dev"))
        return [one.text async for one in kept_records(store, dataset, people)]

    assert [one["text"] for n, one in enumerate(posts) if n != 3] == asyncio.run(texts())


@pytest.mark.spec("COL-04")
def test_a_proof_of_nothing_is_refused(home: Home) -> None:
    """No dataset under this digest, no digest at all, no post of this id."""
    assert "S002" in home.run("dataset", "prove", "ab" * 32, "x").sentence
    assert "S001" in home.run("dataset", "prove", "ab", "x").sentence
