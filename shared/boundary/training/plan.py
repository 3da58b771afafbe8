"""What a training is: a plan that says everything it depends on, and a record that also says what came of it.

Both are canonical JSON and named by their BLAKE3 digests. The same plan in the same surroundings leaves the same bytes.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Literal

import msgspec
import torch

from shared.boundary.training.network import Shape
from shared.boundary.training.trails import Origin
from shared.canonical import canonical, digest_of
from shared.constant import constant
from shared.errors import Refusal, Refused

Stage = Literal["learn", "adapt", "reinforce"]

LEARN_STEPS = constant(800, "steps", "NIM-14")
ADAPT_STEPS = constant(150, "steps", "NIM-14")
TRAINING_BATCH = constant(64, "trails", "NIM-14")
PEAK_PPM = constant(4_000, "ppm", "NIM-14")  # the highest learning rate
WARM_UP = constant(30, "steps", "NIM-14")
DECAY_PPM = constant(10_000, "ppm", "NIM-14")
RANK = constant(16, "dimensions", "NIM-14")
PACKAGES = ("torch", "numpy", "safetensors", "gguf")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that a training's outcome depends on besides its surroundings. Shares are in millionths."""

    stage: Stage
    task: str  #: digests of the task, the trails, and the weights it begins with; empty where they are new
    data: str
    origin: Origin | None = None  #: of the trails, where they come from a log
    base: str = ""
    shape: Shape
    seed: int
    steps: int
    batch: int = TRAINING_BATCH
    peak_ppm: int = PEAK_PPM
    warm_up: int = WARM_UP
    decay_ppm: int = DECAY_PPM
    rank: int = 0  #: of the low-rank adapters, where only these are trained
    group: int = 0  #: samples per state, where reward is what is trained by
    temperature_ppm: int = 0  #: of the sampling
    drift_ppm: int = 0  #: how much it costs to part from the base

    @property
    def digest(self) -> str:
        """BLAKE3 of its canonical JSON."""
        return digest_of(self)


class Surroundings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What computed: versions, processor, and the flags that make it repeatable."""

    python: str
    packages: dict[str, str]
    machine: str
    instructions: str  #: the widest that torch uses on this processor
    threads: int
    deterministic: bool

    @classmethod
    def here(cls) -> Surroundings:
        """Return what computes here, now."""
        return cls(
            platform.python_version(),
            {name: version(name) for name in PACKAGES},
            platform.machine(),
            torch.backends.cpu.get_cpu_capability(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )


class Reward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sampled calls of a training by reward earned."""

    curve: tuple[tuple[int, int], ...]  #: step, mean reward since the point before, in millionths
    right_ppm: int  #: of the samples: the right call itself
    taught_ppm: int  #: of the groups: one sample earned more than another, so that something could be learned


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How well a training went."""

    held_out: int  #: trails
    exact_ppm: int  #: of the trails that were held out, greedily
    curve: tuple[tuple[int, int], ...]  #: step, mean loss since the point before, in millionths
    reward: Reward | None = None  #: where reward is what was trained by


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of a plan. Holds no time of day: a repeat gives the same record."""

    plan: Plan
    surroundings: Surroundings
    parameters: int
    weights: str  #: BLAKE3 of the safetensors file
    model: str  #: BLAKE3 of the GGUF file
    model_bytes: int
    outcome: Outcome

    @property
    def digest(self) -> str:
        """BLAKE3 of its canonical JSON."""
        return digest_of(self)


def read_record(raw: bytes) -> Record:
    """Return the record in canonical JSON bytes; Refused B002."""
    try:
        record = msgspec.json.decode(raw, type=Record)
    except msgspec.MsgspecError as error:
        raise Refused(Refusal("B002", f"no training record: {error}")) from None
    if canonical(record) != raw.strip():
        raise Refused(Refusal("B002", "the training record is readable but not canonical JSON"))
    return record
