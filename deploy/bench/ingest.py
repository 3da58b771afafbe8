"""`bench ingest`: what taking posts in costs, beside scoring and hashing the very same bytes alone.

Both in one run, in processor time. The nerve decides in this process and the store is a folder; what a bus and an
anchor cost is for each batch of 1,000, and `bench` measures it. Absolute figures mean nothing on shared machines.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from blake3 import blake3

from cells.toxicity_cell.scorer import Scorer, default_scorer
from organs.provenance.desk import Desk
from organs.provenance.ingest import Ingest, Plan, Ports, Progress
from organs.provenance.lines import Bytes
from organs.provenance.post import Source
from organs.provenance.python_text import PythonText
from organs.provenance.readers import JsonLines
from shared.artifacts import ArtifactStore, FolderStore, read
from shared.corpus import MAX_ARTIFACT_BYTES, read_batch, read_manifest
from shared.log.batch import Batch, record_leaf
from shared.policy import Policies
from shared.subjects.provenance import Intake
from shared.vault import People, Store
from shared.vault.store import MemoryStore as MemoryVault
from shared.world import RealWorld

KIB = 1024


@dataclass(frozen=True, slots=True)
class IngestFigure:
    """One run: microseconds of processor time for each post, of ours and of what it is compared with."""

    posts: int
    kept: int
    ours_us: float
    alone_us: float
    ratio: float
    per_second: float  #: posts in a second of the clock
    grown_mib: float  #: how far the peak of resident memory in it lay above what there was before
    peak_mib: float


async def measure_ingest(world: RealWorld, posts: int) -> IngestFigure:
    """Take posts in that are made of real text, then score and hash the same bytes alone."""
    scorer = default_scorer()
    scorer.scores(["the first text is dearer: whatever is loaded once is loaded now"])
    with TemporaryDirectory(prefix="nimmerverse-bench-") as name:
        folder = Path(name)
        path = folder / "posts.jsonl"
        await asyncio.to_thread(_write, path, posts)
        store = FolderStore(folder / "artifacts", world)
        await store.prepare()
        before, began_s, cpu_s = _peak_mib(anew=True), world.elapsed_s(), world.cpu_s()
        dataset = await _ingested(world, path, store, scorer)
        elapsed_s, ours_s, peak = world.elapsed_s() - began_s, world.cpu_s() - cpu_s, _peak_mib()
        kept, alone_s = await _alone(world, store, dataset, scorer)
    ours_us, alone_us = ours_s / posts * 1e6, alone_s / posts * 1e6
    rates = (ours_us / alone_us, posts / elapsed_s, peak - before, peak)
    return IngestFigure(posts, kept, ours_us, alone_us, *rates)


async def _ingested(world: RealWorld, path: Path, store: ArtifactStore, scorer: Scorer) -> str:
    desk, vault = Desk(), MemoryVault()

    async def unlocked() -> Store:
        return vault

    async def opened(offset: int) -> Source:
        return JsonLines(Bytes(path, offset), world.elapsed_s)

    rules = ("jsonl", path.name, "PSF-2.0", list[str](), "en", 300_000, scorer.name, Policies.shipped().digest)
    plan = Plan("bench", Intake(*rules), opened, "train", path.parent / "bench")
    ports = Ports(desk, desk.sealed, store, People(unlocked, world.entropy), scorer, world)
    return (await Ingest(plan, ports, _untold).run()).stated.dataset


async def _alone(world: RealWorld, store: ArtifactStore, dataset: str, scorer: Scorer) -> tuple[int, float]:
    """Return how many were kept, and the processor seconds that scoring and hashing everything again take."""
    spent_s, kept = 0.0, 0
    for listed in (await read_manifest(store, dataset)).batches:
        raw = await read(store, listed.records, MAX_ARTIFACT_BYTES)
        lines = await read_batch(store, listed.records)
        pairs = [(bytes.fromhex(line.salt or ""), bytes(line.record)) for line in lines]
        texts = [line.content().text or "" for line in lines if line.score_ppm is not None]
        began_s = world.cpu_s()
        scorer.scores(texts)
        root = Batch.of([record_leaf(salt, record) for salt, record in pairs]).root
        digests = blake3(raw).hexdigest(), hashlib.sha256(raw).hexdigest()
        spent_s += world.cpu_s() - began_s
        assert (root.hex(), digests[0]) == (listed.root, listed.records), "the same bytes"
        kept += listed.kept
    return kept, spent_s


def _write(path: Path, posts: int) -> None:
    with path.open("wb") as file:
        for number, text in zip(range(posts), _texts(), strict=False):
            file.write(msgspec.json.encode({"id": f"post-{number}", "text": text, "created_at": number}) + b"\n")


def _texts() -> Iterator[str]:
    """Yield paragraphs of real text, none longer than a post, each round with its number."""
    paragraphs = [post.text[:280] for post in PythonText(0).posts]
    round_ = 0
    while True:
        yield from (f"{paragraph} {round_}" for paragraph in paragraphs)
        round_ += 1


def _peak_mib(*, anew: bool = False) -> float:
    """Return the peak of resident memory since it was begun `anew`; NaN where the system does not tell.

    What getrusage tells is of a whole life, and of what started the process.
    """
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.nan
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / KIB


def _untold(reached: Progress) -> None:
    pass


def table(figure: IngestFigure) -> str:
    """Return the figures for people."""
    f = figure
    times = f"{f.ratio:.2f} times"
    return (
        f"{f.posts:,} posts, {f.kept:,} kept, {f.per_second:,.0f} a second\n"
        f"{f.ours_us:.1f} µs of processor time each; scoring and hashing alone {f.alone_us:.1f} µs: {times}\n"
        f"memory peaked at {f.peak_mib:.0f} MiB, {f.grown_mib:.0f} MiB above what there was before"
    )
