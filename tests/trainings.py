"""Small trainings: a store with datasets in it, and an organism that trains on them, simulated or real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from nerves.training import TrainingNerve
from organs.artifacts import ArtifactsOrgan
from organs.trainer.backends import Backends
from organs.trainer.data import Materials
from organs.trainer.memory import SimCrew
from organs.trainer.organ import TrainerOrgan
from organs.trainer.port import Crew
from organs.trainer.processes import ProcessCrew
from shared.artifacts import ArtifactStore, FolderStore, MemoryStore
from shared.boundary.task import TASK
from shared.boundary.training.trails import made_up, written
from shared.corpus import BATCH_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, Listed, Manifest, batch_of, line_of
from shared.corpus.batches import Content, encode_line
from shared.part import Part
from shared.part.organ import Organ
from shared.subjects.datasets import DatasetFacts, DatasetRegistered, DatasetStated, DatasetStatus, RegisterDataset
from shared.subjects.provenance import Intake
from shared.subjects.training import JobSpec
from shared.world import SimWorld, World

BATCH = 1_000
EXEMPTION = "pilot"
SITE = "here"


async def pieces(raw: bytes) -> AsyncIterator[bytes]:
    """One content as a stream."""
    yield raw


async def stored(store: ArtifactStore, texts: Sequence[str], kind: str = "posts") -> str:
    """Put texts into a store as a dataset of nobody, and return its digest."""
    listed: list[Listed] = []
    for number, start in enumerate(range(0, len(texts), BATCH)):
        contents = [
            Content(f"p{start + place}", "kept", None, "en", None, None, None, text, None)
            for place, text in enumerate(texts[start : start + BATCH])
        ]
        lines = [line_of(content, bytes(32))[0] for content in contents]
        raw = b"".join(encode_line(line) + b"\n" for line in lines)
        known = await store.put(pieces(raw), BATCH_MEDIA_TYPE)
        listed.append(Listed(number, batch_of(lines).root.hex(), known.blake3, len(lines), len(lines)))
    intake = Intake("jsonl", "made up", "CC0-1.0", [], "en", 300_000, "", "")
    manifest = Manifest("trails" if kind == "trails" else "posts", f"some {kind}", intake, listed)
    return (await store.put(pieces(manifest.bytes()), MANIFEST_MEDIA_TYPE)).blake3


def pairs(count: int = 64) -> list[str]:
    """Points of the line y = 3x + 1."""
    return [f"{x / count} {3 * x / count + 1}" for x in range(count)]


def trail_lines(count: int = 400) -> list[str]:
    """Decisions of the boundary's rules, a line each."""
    return written(made_up(TASK, count, seed=3).all).decode().splitlines()


def line_spec(dataset: str, **changed: Any) -> JobSpec:  # noqa: ANN401 - fields of a spec
    """A job that takes a fraction of a second."""
    fields: dict[str, Any] = {
        "family": "line",
        "recipe": "line_recipe 1.0.0",
        "backend": "torch",
        "datasets": [dataset],
        "base": "",
        "hyperparameters": {"learning_rate_ppm": 100_000, "batch": 8},
        "seed": 7,
        "steps": 50,
        "workers": 2,
        "heavy": False,
        "reason": "a test",
        "proposal": EXEMPTION,
    }
    return JobSpec(**fields | changed)


def boundary_spec(dataset: str, **changed: Any) -> JobSpec:  # noqa: ANN401 - fields of a spec
    """A job for a boundary model that takes about a second."""
    sizes = {"width": 32, "inner": 32, "layers": 1, "heads": 2, "head": 16}
    small = {"learning_rate_ppm": 20_000, "batch": 8, "warm_up": 5, "keep_every": 5}
    fields = {"family": "boundary", "recipe": "boundary_recipe 1.0.0", "steps": 24, "hyperparameters": sizes | small}
    return line_spec(dataset, **fields | changed)


class DatasetsPart(Organ):
    """Answers for datasets that a test registered; who asks does not know that nothing stands behind it."""

    name: ClassVar[str] = "datasets"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = 1

    def __init__(self, known: dict[str, DatasetFacts] | None = None, blocked: Sequence[str] = ()) -> None:
        self.known, self.blocked = known if known is not None else {}, list(blocked)

    def again(self, world: SimWorld) -> DatasetsPart:
        """Begin anew with what was registered."""
        return DatasetsPart(self.known, self.blocked)

    async def on_register(self, request: RegisterDataset) -> list[DatasetRegistered]:
        """Register whatever is said."""
        self.known[request.dataset] = request.facts
        return [DatasetRegistered(request.dataset, request.sha256, request.size_bytes, request.facts)]

    async def on_status(self, request: DatasetStatus) -> list[DatasetStated]:
        """Say what was registered."""
        facts = self.known.get(request.dataset)
        return [DatasetStated(request.dataset, facts, [], self.blocked, 0, 0)]


def facts(kind: str = "pairs", **changed: Any) -> DatasetFacts:  # noqa: ANN401 - fields of facts
    """What is said of a dataset that may teach."""
    fields: dict[str, Any] = {"name": f"some {kind}", "use": "train", "kind": kind, "corpus": "", "sources": []}
    fields |= {"transformations": [], "licence": "CC0-1.0", "restrictions": [], "pii": "none", "records": 1}
    return DatasetFacts(**fields | changed)


def trainer(
    world: World, store: ArtifactStore, crew: Crew, folder: Path | None = None, *, metered: bool = False
) -> TrainerOrgan:
    """A trainer on a store that a test fills, at a site without a meter unless told otherwise."""
    return TrainerOrgan(world, SITE, folder, metered=metered, store=store, crew=crew, materials=Materials(store, None))


def sim_parts(
    store: MemoryStore, known: dict[str, DatasetFacts], crew: SimCrew, world: World, *, metered: bool = False
) -> list[Part]:
    """The parts that training takes, simulated."""
    return [TrainingNerve(), ArtifactsOrgan(store), DatasetsPart(known), trainer(world, store, crew, metered=metered)]


def real_parts(folder: Path, known: dict[str, DatasetFacts], world: World) -> list[Part]:
    """The same with worker processes, and the store in a folder."""
    store = FolderStore(folder / "artifacts", world)
    crew = ProcessCrew(Backends(folder / "backends"), world)
    return [TrainingNerve(), ArtifactsOrgan(store), DatasetsPart(known), trainer(world, store, crew, folder / "jobs")]


def changed(spec: JobSpec, **fields: Any) -> JobSpec:  # noqa: ANN401 - fields of a spec
    """A spec with other fields."""
    return msgspec.structs.replace(spec, **fields)
