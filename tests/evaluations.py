"""Organisms that evaluate: a store, the organs that know what is in it, and benches that behave as a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from organs.anchor import AnchorOrgan
from organs.artifacts import ArtifactsOrgan
from organs.datasets import DatasetsOrgan
from organs.evaluator import EvaluatorOrgan
from organs.evaluator.bench import EngineBench
from organs.evaluator.boundary_family import BoundaryFamily
from organs.evaluator.port import Bench
from organs.evaluator.simulated import SimBench
from organs.evaluator.toxicity_family import ToxicityFamily
from shared.artifacts import ArtifactStore, FolderStore, MemoryStore
from shared.part import Part
from shared.world import SimWorld, World

#: The shipped families, the boundary's with so few states that a real model answers them in seconds.
FAMILIES = {"boundary": BoundaryFamily(drawn=80), "toxicity": ToxicityFamily()}
#: A program that begins like a model and ends with the first question.
DYING = """
import os, signal
def load(options, data):
    def ask(header, data):
        if data != b"[]":
            os.kill(os.getpid(), signal.SIGKILL)
        return {}, b"[]"
    return ask
"""
#: One that answers with fewer answers than there were questions.
SILENT = """
def load(options, data):
    return lambda header, data: ({}, b"[]")
"""


def evaluating(world: World, store: ArtifactStore, bench: Bench) -> list[Part]:
    """The parts that evaluation takes."""
    anchor = AnchorOrgan.simulate(world.fork("anchor") if isinstance(world, SimWorld) else SimWorld("dev", 7))
    organs: Sequence[Part] = (anchor, ArtifactsOrgan(store), DatasetsOrgan(store, None))
    return [*organs, EvaluatorOrgan(world, store, None, bench, FAMILIES)]


def simulated(world: World) -> list[Part]:
    """The same with a memory for a store, and models that are their rules."""
    return evaluating(world, MemoryStore(), SimBench())


def real(folder: Path, world: World, bench: Bench | None = None) -> list[Part]:
    """The same with a folder for a store, and models in processes of their own."""
    return evaluating(world, FolderStore(folder / "artifacts", world), bench or EngineBench())


def program(folder: Path, text: str) -> Path:
    """A bench's program in a file."""
    path = folder / "bench_program.py"
    path.write_text(text)
    return path
