"""What a trainer and its workers say to each other: one JSON line each way, nothing else."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from organs.trainer.recipes import Left
from shared.subjects.training import Digest, JobSpec


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line to a worker: all that it needs. The seed signs its votes and stands nowhere else."""

    parent: int
    job: str
    worker: str
    seed: bytes
    spec: JobSpec
    data: str
    out: str
    rank: int
    world_size: int
    begun: str  #: the file of the checkpoint to go on from; empty at the beginning
    digest: Digest  #: of that file
    pace_ppm: int


class Paced(msgspec.Struct, frozen=True, tag="paced"):
    """To a worker: the share of the time that it may compute; 0 has it hold still."""

    ppm: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """To a worker: stop at the next checkpoint."""


class Agreed(msgspec.Struct, frozen=True, tag="agreed"):
    """To a worker: its checkpoint of this step, and all before it, need not be kept any longer."""

    step: int


class Stepped(msgspec.Struct, frozen=True, tag="stepped"):
    """A worker is so far; told a few times a second, not after every step."""

    step: int
    loss_micro: int
    samples: int  #: since it began


class Voted(msgspec.Struct, frozen=True, tag="voted"):
    """A worker has a checkpoint, says which bytes it is by its signature, and where they lie."""

    step: int
    digest: Digest
    signature: bytes
    file: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A worker's run is over: what it left, and in which surroundings it computed."""

    left: Left
    weights: Digest
    model: Digest
    model_bytes: int
    environment: dict[str, str]
    sources: dict[str, Digest]


class StoppedAt(msgspec.Struct, frozen=True, tag="stopped"):
    """A worker stopped as it was told, after this step's checkpoint."""

    step: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A worker's last word. `code` is a refusal's, or empty: then another attempt may succeed."""

    code: str
    reason: str


Said: TypeAlias = Stepped | Voted | Finished | StoppedAt | Failed
Told: TypeAlias = Paced | Stop | Agreed

read_begin = msgspec.json.Decoder(Begin).decode
read_said = msgspec.json.Decoder(Said).decode
read_told = msgspec.json.Decoder(Told).decode


def line(frame: msgspec.Struct) -> bytes:
    """Return a frame as its line."""
    return msgspec.json.encode(frame) + b"\n"
