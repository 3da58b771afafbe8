"""An ingest that is killed, again and again, at any step: no post is lost or doubled, and the roots are the same."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.artifacts import FolderStore
from shared.config import load
from shared.corpus import read_batch, read_manifest
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.subjects.provenance import CorpusStated
from shared.vault import open_vault
from shared.world import RealWorld
from tests.commands import ROOT, Home

PROGRAM = Path(__file__).with_name("ingest_program.py")
PARTS = ("nerves.provenance", "organs.anchor", "organs.vault")
POSTS = 4_600
SEED = 20


@dataclass
class Killing:
    """A data folder on which an organism lives, a file of posts, and what an undisturbed ingest of it gave."""

    home: Home
    file: Path
    calm: dict[str, Any]
    steps: int

    def ingest(self, corpus: str, die_at: int) -> subprocess.CompletedProcess[str]:
        """Take the file in, in a process that dies at a step."""
        words = ("ingest", str(self.file), "--corpus", corpus, "--json")
        command = [sys.executable, str(PROGRAM), str(die_at), *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.home.environ, capture_output=True, text=True, timeout=120, check=False
        )

    def begin(self, corpus: str) -> None:
        """Let a corpus take its salts from the secret that the calm one took them from."""
        folder = self.home.folder / "dev" / "provenance"
        (folder / corpus).mkdir(mode=0o700)
        (folder / corpus / "salts").write_bytes((folder / "calm" / "salts").read_bytes())

    def content(self, dataset: str) -> tuple[list[str], list[str]]:
        """The roots of a dataset's batches, and the id of every post in their order."""

        async def whole() -> tuple[list[str], list[str]]:
            store = FolderStore(self.home.folder / "dev" / "artifacts", RealWorld("dev"))
            batches = (await read_manifest(store, dataset)).batches
            ids = [line.id for one in batches for line in await read_batch(store, one.records)]
            return [one.root for one in batches], ids

        return asyncio.run(whole())

    def whole(self, told: dict[str, Any]) -> None:
        """Hold that an ingest ended as the undisturbed one did."""
        same = (*CorpusStated.__struct_fields__, "unanchored")
        same = tuple(name for name in same if name not in ("corpus", "dataset"))
        assert [self.calm[name] for name in same] == [told[name] for name in same]
        assert self.content(self.calm["dataset"]) == self.content(told["dataset"])


def posts() -> Iterator[dict[str, Any]]:
    """Posts of several people and of nobody, some twice, some empty, some in another language."""
    for n in range(POSTS):
        text = "" if n % 97 == 0 else "das ist nicht die Sprache der anderen" if n % 53 == 0 else f"this is post {n}"
        yield {"id": f"p{n}", "text": text, "author": f"@writer{n % 11}" if n % 3 else None}
        if n % 89 == 0:
            yield {"id": f"p{n}", "text": text, "author": f"@writer{n % 11}" if n % 3 else None}


@pytest.fixture(scope="module")
def killing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killing]:
    """The organism lives through all of it."""
    folder = tmp_path_factory.mktemp("killed")
    home = Home.at(folder / "home").without_records()
    settings = load(home.environ, {}, "here").settings
    Keys(settings, RealWorld("dev"), CHEAP)
    open_vault(settings, RealWorld("dev"), CHEAP)
    file = folder / "posts.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in posts()), encoding="utf-8")
    with home.up(*(word for part in PARTS for word in ("--part", part))):
        made = Killing(home, file, {}, 0)
        done = made.ingest("calm", 0)
        assert 7 == done.returncode, done  # it is finished, and nobody here registers datasets
        made.calm, made.steps = json.loads(done.stdout), int(done.stderr.splitlines()[-1])
        yield made


@pytest.mark.spec("COL-03")
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_ingest_goes_on(killing: Killing, kills: int) -> None:
    """Killed at so many steps drawn from a seed, each corpus ends with the same posts under the same roots."""
    chance = random.Random(f"{SEED}/{kills}")
    done, number = 0, 0
    while done < kills:
        corpus = f"killed{kills}-{number}"
        killing.begin(corpus)
        ended = None
        while ended is None:
            at = chance.randint(1, killing.steps * 2 // 3) if done < kills else 0
            found = killing.ingest(corpus, at)
            if found.returncode == -signal.SIGKILL:
                done += 1
                continue
            assert 7 == found.returncode, found
            ended = json.loads(found.stdout)
        killing.whole(ended)
        number += 1
