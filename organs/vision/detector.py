"""Eyes of an ONNX detector: its file by its digest, in a process of its own that begins with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from organs.vision.layout import Model
from organs.vision.picture import Picture
from organs.vision.port import Sight
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.engine import Engine, EngineFailed, EngineMissing, EngineNotBegun
from shared.errors import Refusal, Refused
from shared.extras import how_to_install, lacking
from shared.models import ModelFolder
from shared.ollama import ModelFailed
from shared.subjects.vision import Seen

DETECT_S = constant(20.0, "s", "NIM-17")
INSTALL = "eyes install FILE"
SUFFIX = ".onnx"
NEEDED = ("onnxruntime", "PIL")
PROGRAM = Path(__file__).with_name("onnx_child.py")
T = TypeVar("T")


class OnnxEyes:
    """Sees with a detector. Owns its process."""

    engine = "onnx"

    def __init__(self, files: ModelFolder, digest: str, program: Path = PROGRAM) -> None:
        self.files, self.model = files, digest
        self._process = Engine(program, given=self._file)

    @property
    def pid(self) -> int | None:
        """The process that sees, if one runs."""
        return self._process.pid

    async def look(self, picture: Picture, least_ppm: int) -> Sight:
        seen, cost_ulf = await _asked(self._process, {"least_ppm": least_ppm}, picture.raw, tuple[Seen, ...])
        return Sight(seen, cost_ulf)

    async def close(self) -> None:
        await self._process.close()

    async def _file(self) -> bytes:
        check_extra()
        return await asyncio.to_thread(self.files.read, self.model)


async def try_out(raw: bytes) -> Model:
    """Load a detector's file, let go of it, and return what it says of itself. Refused F002."""

    async def given() -> bytes:
        return raw

    process = Engine(PROGRAM, given=given)
    try:
        model, _ = await _asked(process, {}, b"", Model)
    finally:
        await process.close()
    return model


async def _asked(process: Engine, header: Mapping[str, int], data: bytes, kind: type[T]) -> tuple[T, int]:
    """Return what the process answers, and its cost. Refused E001 for a picture, F002 for a model. ModelFailed."""
    try:
        said, raw = await process.ask(header, data, DETECT_S)
    except EngineMissing as missing:
        raise _lacking(str(missing)) from None
    except EngineNotBegun as failed:
        raise Refused(Refusal("F002", f"the file is no detector that can be used here: {failed}")) from None
    except EngineFailed as failed:
        raise ModelFailed(f"the detector gave no answer: {failed}") from None
    if "no_picture" in said:
        raise Refused(Refusal("E001", str(said["no_picture"])[:MAX_REASON_CHARS]))
    try:
        return msgspec.msgpack.decode(raw, type=kind), int(said["cpu_us"])
    except msgspec.MsgspecError as error:
        raise ModelFailed(f"the detector's process sent what is no answer: {error}") from error


def check_extra() -> None:
    """Raise Refused B011 where the extra `eyes` is not installed."""
    if missing := lacking(*NEEDED):
        raise _lacking(" and ".join(missing))


def _lacking(what: str) -> Refused:
    found = f"an ONNX detector needs {what}, which this installation lacks"
    return Refused(Refusal("B011", f"{found}: {how_to_install('eyes')}; or set vision_url and vision_model"))
