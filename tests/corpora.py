"""An ingest to try: posts in a file, the nerve in this process, a store and people's keys in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cells.toxicity_cell.scorer import NoScorer, Scorer
from organs.provenance.desk import Desk
from organs.provenance.ingest import Asks, Ended, Ingest, Plan, Ports, Progress
from organs.provenance.lines import Bytes
from organs.provenance.post import Source
from organs.provenance.readers import FileSource, JsonLines
from shared.artifacts import ArtifactStore, MemoryStore
from shared.corpus import Listed, Manifest, read_manifest
from shared.policy import Policies
from shared.subjects.provenance import Intake
from shared.vault import People
from shared.vault.records import Record, records
from shared.vault.store import MemoryStore as MemoryVault
from shared.world import RealWorld, SimWorld

RULES = Intake(
    reader="jsonl",
    source="posts.jsonl",
    licence="CC0-1.0",
    restrictions=[],
    language="en",
    keep_ppm=300_000,
    scorer="words 1",
    policy=Policies.shipped().digest,
)


class Words:
    """A scorer that a test can read: each `bad` in a text is worth 0.15."""

    name = "words 1"

    def scores(self, texts: Sequence[str]) -> list[int]:
        return [min(150_000 * text.split().count("bad"), 1_000_000) for text in texts]


def post(number: int, text: str | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """One post as a line holds it."""
    return {"id": f"post-{number}", "text": text or f"this is what the post with number {number} has to say", **more}


def written(path: Path, posts: Sequence[dict[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in posts), encoding="utf-8")
    return path


class Place:
    """Where ingests of a test take place: all that outlives one of them."""

    def __init__(self, folder: Path, seed: int = 5) -> None:
        self.folder = folder
        self.desk: Asks = Desk()
        self.store: ArtifactStore = MemoryStore()
        self.vault = MemoryVault()
        self.world = RealWorld("dev")
        self.people = People(self._unlocked, SimWorld("dev", seed).entropy)
        self.told: list[int] = []

    async def _unlocked(self) -> MemoryVault:
        return self.vault

    def ports(self, scorer: Scorer | None = None) -> Ports:
        """All of it as an ingest is given it."""
        assert isinstance(self.desk, Desk)
        return Ports(self.desk, self.desk.sealed, self.store, self.people, scorer or Words(), self.world)

    def plan(self, path: Path, corpus: str, intake: Intake = RULES, reader: type[FileSource] = JsonLines) -> Plan:
        """A file as a plan names it."""

        async def opened(offset: int) -> Source:
            return reader(Bytes(path, offset), self.world.elapsed_s)

        size = path.stat().st_size if path.is_file() else None
        return Plan(corpus, intake, opened, "train", self.folder / corpus, size)

    def ingest(
        self, path: Path, corpus: str = "c", intake: Intake = RULES, reader: type[FileSource] = JsonLines
    ) -> Ended:
        """Take a file in, whole."""

        def told(reached: Progress) -> None:
            self.told.append(reached.posts)

        scorer = NoScorer() if not intake.scorer else Words()
        return asyncio.run(Ingest(self.plan(path, corpus, intake, reader), self.ports(scorer), told).run())

    def manifest(self, dataset: str) -> Manifest:
        """What a dataset is made of."""
        return asyncio.run(read_manifest(self.store, dataset))

    def records(self, dataset: str) -> list[Record]:
        """Every record of a dataset."""

        async def whole() -> list[Record]:
            return [one async for one in records(self.store, dataset, self.people)]

        return asyncio.run(whole())

    def roots(self, dataset: str) -> list[str]:
        """The roots of its batches."""
        return [listed.root for listed in self.manifest(dataset).batches]


def listed(place: Place, dataset: str, number: int) -> Listed:
    """One batch of a dataset."""
    return place.manifest(dataset).batches[number]
