"""Eyes of an ONNX detector: its file by its digest, in a process of its own that is killed when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import msgspec

from organs.vision.picture import Picture
from organs.vision.port import Sight, surest
from organs.vision.talk import LENGTH_BYTES, MAX_FRAME_BYTES, Answer, Found, Look, No, Ready, framed
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.extras import how_to_install, lacking
from shared.models import ModelFolder
from shared.ollama import ModelFailed
from shared.subjects.vision import Seen
from shared.world import within

DETECT_S = constant(20.0, "s", "NIM-17")
INSTALL = "eyes install FILE"
SUFFIX = ".onnx"
NEEDED = ("onnxruntime", "PIL")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


class OnnxEyes:
    """Starts its process when it is first asked. One picture at a time; what is asked waits its turn."""

    engine = "onnx"

    def __init__(self, files: ModelFolder, digest: str) -> None:
        self.files, self.model = files, digest
        self._turn = asyncio.Lock()
        self._process: DetectorProcess | None = None

    @property
    def pid(self) -> int | None:
        """The process that sees, if one runs."""
        return None if self._process is None else self._process.pid

    async def look(self, picture: Picture, least_ppm: int) -> Sight:
        async with self._turn:
            try:
                if self._process is None:
                    self._process = await self._started()
                answer = await self._process.ask(Look(picture.raw, least_ppm))
            except BaseException:
                await self._end()
                raise
        match answer:
            case Found():
                seen = [Seen(label, ppm, *box) for label, ppm, box in answer.things]
                return Sight(surest(seen, least_ppm), answer.cost_ulf)
            case No(about="picture"):
                raise Refused(Refusal("E001", answer.reason))
            case No():
                raise ModelFailed(f"the detector gave no answer: {answer.reason}")
            case Ready():
                raise ModelFailed("the detector's process answers out of turn")

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _started(self) -> DetectorProcess:
        check_extra()
        raw = await asyncio.to_thread(self.files.read, self.model)
        return await DetectorProcess.start(raw)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


class DetectorProcess:
    """One process with one loaded model. Owns its child."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.ready: Ready

    @property
    def pid(self) -> int:
        return self._child.pid

    @classmethod
    async def start(cls, raw: bytes) -> DetectorProcess:
        """Start a process and give it a model's file. Refused F002 where the file is no detector."""
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "organs.vision.worker",
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        process = cls(child)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(process.end)
            process.ready = await process.begin(raw)
            undo.pop_all()
        return process

    async def begin(self, raw: bytes) -> Ready:
        """Send the model's file and wait until it is loaded. Refused F002, also where the library dies of it."""
        try:
            answer = await within(DETECT_S, self._exchange(raw))
        except TimeoutError:
            raise Refused(Refusal("F002", f"the detector was not loaded within {DETECT_S:g} s")) from None
        except (OSError, EOFError) as error:
            ended = _ending(await self._child.wait())
            raise Refused(Refusal("F002", f"the detector's process ended as it loaded the file ({ended})")) from error
        match answer:
            case Ready():
                return answer
            case No():
                raise Refused(Refusal("F002", f"the file is no detector that can be used here: {answer.reason}"))
            case Found():
                raise ModelFailed("the detector's process answers out of turn")

    async def ask(self, look: Look) -> Answer:
        """Return what the process answers. ModelFailed where it died, or takes too long."""
        try:
            return await within(DETECT_S, self._exchange(msgspec.msgpack.encode(look)))
        except TimeoutError:
            raise ModelFailed(f"the detector gave no answer in {DETECT_S:g} s") from None
        except (OSError, EOFError) as error:
            ended = _ending(await self._child.wait())
            raise ModelFailed(f"the detector's process ended while it looked ({ended}); ask again") from error

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)  # Popen.kill polls, and takes the status from asyncio
        await self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()

    async def _exchange(self, body: bytes) -> Answer:
        """Send a frame and return the answer. OSError or EOFError where the process is gone."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(framed(body))
        await self._child.stdin.drain()
        size = int.from_bytes(await self._child.stdout.readexactly(LENGTH_BYTES), "big")
        if size > MAX_FRAME_BYTES:
            raise ModelFailed(f"the detector's process announces {size} bytes")
        raw = await self._child.stdout.readexactly(size)
        try:
            return msgspec.msgpack.decode(raw, type=Answer)
        except msgspec.MsgspecError as error:
            raise ModelFailed(f"the detector's process sent something that is no answer: {error}") from error


async def try_out(raw: bytes) -> Ready:
    """Load a detector's file, let go of it, and return what it says of itself. Refused F002."""
    process = await DetectorProcess.start(raw)
    await process.end()
    return process.ready


def check_extra() -> None:
    """Raise Refused B011 where the extra `eyes` is not installed."""
    if missing := lacking(*NEEDED):
        found = f"an ONNX detector needs {' and '.join(missing)}, which this installation lacks"
        raise Refused(Refusal("B011", f"{found}: {how_to_install('eyes')}; or set vision_url and vision_model"))


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"status {code}"
