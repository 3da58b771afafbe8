"""The function boundary: a state becomes one typed function call, and every answer says who spoke (NIM-14)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.message import Decision, Reply, Request
from shared.subjects.system import Decided

CALL_ATTEMPTS = constant(3, "attempts", "NIM-14")

Digest = str  #: BLAKE3, 64 hexadecimal digits; whoever makes a file name of one checks it first
#: How a model can fail to say a call; shared/boundary/port.py says what each means.
Failing = Literal["length", "engine", "not_a_call", "not_loaded"]
ModelState = Literal["unconfigured", "cold", "loading", "ready", "failed"]


class Transformed(Reply, subject="cognitive.boundary.transform.reply"):
    """One function call, as canonical JSON, and who made it: `model:` and its digest, or `translator`."""

    call: str
    function: str
    speaker: str
    attempts: int  #: the model's; 0 where there is none
    task: Digest


class TransformRequest(Request, subject="cognitive.boundary.transform.request", reply=Transformed):
    """Ask for the function call of a state: the task's fields by name, all of them and no others."""

    state: dict[str, int]


class BoundaryStated(Reply, subject="cognitive.boundary.status.reply"):
    """Who would speak now, why the model is as it is, and what was asked since the start."""

    speaker: str
    model: str  #: the digest of the installed model, empty where the log names none
    state: ModelState
    reason: str
    task: Digest
    by_model: int
    by_translator: int
    nacked: int
    index: int  #: where the log's last word stands about what speaks, once that was done; -1 where it has none
    offset: int


class BoundaryStatus(Request, subject="cognitive.boundary.status.request", reply=BoundaryStated):
    """Ask who speaks at the boundary."""


class ModelInstalled(Decision, subject="cognitive.boundary.event.{model}.installed"):
    """From here on this model speaks at the boundary: no other file is ever loaded."""

    model: Digest
    size_bytes: int
    task: Digest
    plan: str  #: digest of the plan it was trained by, empty where its file names none
    exemption: str = ""  #: by which it speaks though the registry promotes it not; empty where it is promoted


class Called(Decision, subject="cognitive.boundary.event.{task}.called"):
    """The boundary answered: in this state it said this call, and this is who spoke. The answer says the same."""

    task: Digest
    state: dict[str, int]
    call: str
    speaker: str
    attempts: Annotated[int, msgspec.Meta(ge=0, le=CALL_ATTEMPTS)]


class Corrected(Decision, subject="cognitive.boundary.event.{task}.corrected"):
    """A person says which call is right in a state, whatever was said there before; to confirm one is to repeat it."""

    task: Digest
    state: dict[str, int]
    call: str


class BoundaryNacked(Decision, subject="cognitive.boundary.event.{model}.nacked"):
    """A model said no call in all its attempts; the translator answered in its place."""

    model: Digest
    state: dict[str, int]
    attempts: int
    failings: list[Failing]
    detail: str  #: of the last attempt
    call: str  #: what the translator said


class InstallModel(Request, subject="cognitive.boundary.install.request", reply=Decided):
    """Have the model file of this digest speak; it lies in the organ's folder already and is read whole first.

    Refused N006 where the registry promotes no such model here and no exemption that policy names allows it.
    """

    model: Digest
    exemption: str = ""


class CorrectCall(Request, subject="cognitive.boundary.correct.request", reply=Decided):
    """Say which call, as canonical JSON, is right in a state; models learn it from the log."""

    state: dict[str, int]
    call: str
