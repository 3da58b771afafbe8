"""The ports of organd: where models lie, where they may be loaded, what carries them; and what can go wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from shared.constant import constant
from shared.errors import Exit, Fault

FENCE_S = constant(1.0, "s", "NIM-16")  # a worker outlives the end of its lease by no more, whoever is frozen


class ModelFault(Fault):
    """Trouble with a model; `status` is what HTTP says of it."""

    status: ClassVar[int] = 500


class NoSuchModel(ModelFault):
    """No model of this name is held here."""

    status = 404
    exit = Exit.CONFIG


class BadRequest(ModelFault):
    """The request cannot be answered as it is."""

    status = 400
    exit = Exit.USAGE


class QueueFull(ModelFault):
    """As many requests wait as may wait."""

    status = 503
    retry = True
    exit = Exit.UNREACHABLE


class NoRoom(ModelFault):
    """No device has room for the model: it is too large, or another process holds the lease of every device."""

    status = 503
    retry = True
    exit = Exit.UNREACHABLE


class LoadFailed(ModelFault):
    """The model could not be loaded; the sentence says why, and when it may be tried again."""

    retry = True


class WorkerDied(ModelFault):
    """The model's process ended while it was asked; the next request loads the model again."""

    retry = True


class LeaseLost(ModelFault):
    """The device is this process's no more: its lease was not renewed in time, so the model's process was ended."""

    status = 503
    retry = True
    exit = Exit.UNREACHABLE


class BrokenFormat(ModelFault):
    """What the model said is not of the format that was asked for."""


class NotOffered(ModelFault):
    """This server does not do that; the sentence says what to do instead."""

    status = 501
    exit = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Device:
    """Where models may be loaded: a card, a slice of one, or this machine's processor."""

    id: str
    kind: Literal["cpu", "gpu"]
    total_bytes: int
    slots: int = 1  #: how many models it holds at once
    leased: bool = True  #: whether it is this process's only while it holds its lease


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model's file says of itself."""

    architecture: str
    context: int
    width: int  #: of its embeddings, in numbers
    parameters: int
    quantization: str
    embeds: bool
    template: str = ""  #: how a conversation becomes a prompt; empty where it was not made for any


@dataclass(frozen=True, slots=True)
class Held:
    """One model of the registry."""

    name: str  #: with its tag
    path: Path
    digest: str  #: SHA-256 of its file, hexadecimal
    size: int  #: bytes
    modified_ms: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model is asked: a prompt as it is, or a conversation that its own template writes."""

    prompt: str | None = None
    messages: Sequence[Mapping[str, str]] = ()
    piecewise: bool = True  #: whether the pieces are wanted as they come; else there is one
    schema: Mapping[str, Any] | None = None  #: JSON schema that the answer keeps to
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])  #: in llama.cpp's names


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of what a model says; the last one says why it ended, and counts."""

    text: str
    done_reason: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    prompt_ns: int = 0
    tokens_ns: int = 0


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings of some texts, each of length 1."""

    vectors: list[list[float]]
    prompt_tokens: int


class Worker(Protocol):
    """A process with one loaded model."""

    @property
    def pid(self) -> int: ...

    @property
    def context(self) -> int:
        """How many tokens it holds at once."""
        ...

    def complete(self, asked: Completion) -> AsyncGenerator[Piece]:
        """Yield what the model says, the last piece with a `done_reason`. Raises BadRequest, WorkerDied, BrokenFormat.

        Whoever stops listening stops the model.
        """
        ...

    async def embed(self, texts: Sequence[str], *, truncate: bool) -> Vectors:
        """Return a vector for each text. Raises BadRequest where one is too long and may not be cut, WorkerDied."""
        ...

    async def ended(self) -> str:
        """Return how the process ended, once it has."""
        ...

    async def end(self) -> None:
        """End the process; it is gone when this returns."""
        ...

    def memory_bytes(self) -> int:
        """Return how much memory of the machine it holds now."""
        ...


class Lease(Protocol):
    """One process's right to a device, until it is let go."""

    @property
    def token(self) -> int:
        """A number that only grows: a later lease of the same device has a greater one."""
        ...

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Files that a worker inherits, so that the lease lasts as long as the worker lives."""
        ...

    @property
    def lock(self) -> str:
        """Which file is locked, the same for whoever may lock it; empty where none is."""
        ...

    @property
    def until_s(self) -> float | None:
        """When it ends by the World's elapsed time unless it is renewed; None where it lasts as long as its files."""
        ...

    @property
    def ended(self) -> str:
        """Why it is a lease no more, empty while it is one."""
        ...

    def renewed(self, tell: Callable[[float], None]) -> None:
        """Have somebody told of each later end."""
        ...

    async def lost(self) -> str:
        """Return why it was lost, once it was."""
        ...

    async def let_go(self) -> None:
        """Give it back; it is called once, when nothing of it is used any more."""
        ...


class Leases(Protocol):
    """Whoever says which process may use a device."""

    async def take(self, device: Device) -> Lease | None:
        """Return the lease of a device, or None while another process holds it. Raises a Fault where nobody says."""
        ...


class Engine(Protocol):
    """Whatever loads models."""

    async def start(self, model: Held, device: Device, lease: Lease) -> Worker:
        """Return a worker that is ready. Raises LoadFailed; then no process is left."""
        ...


class Devices(Protocol):
    """The devices of this machine."""

    def all(self) -> tuple[Device, ...]: ...

    def free_bytes(self, device: Device) -> int:
        """Return how much memory of a device is free now."""
        ...

    def gone(self, pid: int) -> bool:
        """Say whether no process of this number is left."""
        ...


class Models(Protocol):
    """The models that are held here."""

    def names(self) -> list[str]: ...

    async def look(self, name: str) -> Held:
        """Return a model by its name, `latest` where it names no tag. Raises NoSuchModel, Damaged."""
        ...

    async def checked(self, name: str) -> Held:
        """Return a model whose bytes are those that its manifest names. Raises NoSuchModel, Damaged."""
        ...
