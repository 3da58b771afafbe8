"""The models of this user: what became of each of them, and asking them over the bus.

Over HTTP the same organ speaks Ollama's protocol (`shared/ollama.py`), which carries more at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.message import Ppm, Reply, Request, Signal

MODEL_CALL_MS = constant(120_000, "ms", "NIM-16")
#: Who may use a device: the bucket, how long a lease lasts that is not renewed, and the one part that may take one.
LEASES = "leases"
LEASE_TTL_S = constant(30, "s", "NIM-16")
LEASE_HOLDER = "organd"
TEXTS_AT_ONCE = constant(32, "texts", "X-12")

ModelState = Literal["unconfigured", "cold", "loading", "ready", "idle", "unloading", "verifying_release", "failed"]


class ModelChanged(Signal, subject="organs.models.changed.{model}", stream="transitions"):
    """One transition in the life of one model (NIM-16)."""

    model: str
    number: int  #: of this transition since organd started, over all models: signals may overtake each other
    state: ModelState
    before: ModelState
    reason: str  #: of a failure
    device: str  #: where it is loaded, empty where it is not
    pid: int  #: of its process, 0 where there is none
    token: int  #: fencing token of the lease that it is loaded under, 0 where everybody shares the device


class HeldModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model that is held here."""

    model: str
    digest: str  #: SHA-256 of its file, hexadecimal
    size_bytes: int
    state: ModelState
    embeds: bool


class ModelsReply(Reply, subject="organs.models.list.reply"):
    """Every model that is held, in the order of their names, and where they answer over HTTP."""

    models: list[HeldModel]
    url: str


class ModelsRequest(Request, subject="organs.models.list.request", reply=ModelsReply):
    """Ask which models there are."""


class GenerateReply(Reply, subject="organs.models.generate.reply", confidential=True):
    """What a model said; `length` says that it was cut short, so that it is no answer."""

    model: str
    text: str
    done_reason: str
    prompt_tokens: int
    answer_tokens: int
    took_ms: int  #: loading included
    compute_us: int  #: how long the model computed: what the answer cost


class GenerateRequest(
    Request, subject="organs.models.generate.request", reply=GenerateReply, confidential=True, ttl_ms=MODEL_CALL_MS
):
    """Ask a model; a prompt may hold personal data, so it is never kept or quoted."""

    model: str
    prompt: str
    system: str = ""
    schema: str = ""  #: JSON schema that the answer keeps to, as JSON; empty leaves it free
    temperature_ppm: Ppm = 0
    seed: int = 0
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 256


class EmbedReply(Reply, subject="organs.models.embed.reply", confidential=True):
    """A vector of length 1 for each text, in their order: 32-bit floats, little-endian."""

    model: str
    vectors: list[bytes]


class EmbedRequest(
    Request, subject="organs.models.embed.request", reply=EmbedReply, confidential=True, ttl_ms=MODEL_CALL_MS
):
    """Ask a model for the vectors of some texts."""

    model: str
    texts: Annotated[list[str], msgspec.Meta(max_length=TEXTS_AT_ONCE)]
