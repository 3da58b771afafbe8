"""The side of an engine that asks: it starts the process when first needed, keeps it warm, and replaces it.

Both ways go frames: a line of JSON, then as many bytes as its `bytes` says. An error is a frame too, and the last one
of its process: it is an answer, so nobody is asked again, and the next request finds a new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Fault
from shared.world import within

START_S = constant(30.0, "s", "NIM-16")
ENGINE_TRIES = constant(2, "processes", "NIM-16")
LAST_WORDS_BYTES = constant(2_000, "bytes", "X-12")
SAID_CHARS = constant(200, "characters", "X-12")
ENGINE_ANSWER_BYTES = constant(10_000_000, "bytes", "X-12")
_PROGRAM = Path(__file__).with_name("program.py")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")

Answer = tuple[dict[str, Any], bytes]
Given = Callable[[], Awaitable[bytes]]


class EngineMissing(Fault):
    """What the engine is made of is not installed here."""


class EngineFailed(Fault):
    """The engine answered with an error, no answer, or nothing in time; the next request finds a new process."""

    retry = True


class EngineNotBegun(EngineFailed):
    """The engine's process told an error, ended or said nothing as it began, with what it was given to begin with."""


class EngineDied(EngineFailed):
    """The engine's process ended while it was asked, and so did the one that took its place."""


async def nothing() -> bytes:
    """Return what most engines are given to begin with."""
    return b""


class Engine:
    """One engine. Owns its process, of which there is one at most.

    Each process begins with the options and with the bytes that `given` returns then, such as a model's file.
    """

    def __init__(self, program: Path, options: Mapping[str, Any] | None = None, given: Given = nothing) -> None:
        self.program, self.options, self.given = program, dict(options or {}), given
        self._child: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._words = bytearray()
        self._asking = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process, None where there is none."""
        return None if self._child is None else self._child.pid

    async def ask(self, header: Mapping[str, Any], data: bytes, patience_s: float) -> Answer:
        """Return the answer to one request; where the process ends meanwhile, a new one is asked, once.

        Raises EngineMissing, EngineNotBegun, EngineFailed, EngineDied, and what `given` raises.
        """
        ending = ""
        async with self._asking:
            for _ in range(ENGINE_TRIES):
                try:
                    return await self._ask(header, data, patience_s)
                except (EOFError, ConnectionError):
                    ending = await self._ended()
            raise EngineDied(f"{self.program.stem} ended while it was asked, {ENGINE_TRIES} times ({ending})")

    async def close(self) -> None:
        """End the process."""
        async with self._asking:
            await self._end()

    async def _ask(self, header: Mapping[str, Any], data: bytes, patience_s: float) -> Answer:
        child = self._child or await self._start()
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._end)  # half an answer would be taken for the next one's
            try:
                answer = await within(patience_s, _exchange(child, header, data))
            except TimeoutError:
                raise EngineFailed(f"{self.program.stem} said nothing within {patience_s:g} s; it was ended") from None
            except ValueError as odd:
                raise EngineFailed(f"{self.program.stem} said what is no answer ({odd}); it was ended") from None
            except (EOFError, ConnectionError):
                undo.pop_all()  # `ask` asks it how it ended
                raise
            if "error" in answer[0]:
                raise EngineFailed(f"{self.program.stem}: {_told(answer[0])}")
            undo.pop_all()
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        given = await self.given()
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_PROGRAM),
            str(self.program),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        self._child = child
        self._words.clear()
        self._listening = asyncio.get_running_loop().create_task(self._listen(child))
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._end)
            said = await self._begun(child, given)
            if "missing" in said:
                raise EngineMissing(said["missing"])
            if "error" in said:
                raise EngineNotBegun(f"{self.program.stem} does not begin: {_told(said)}")
            undo.pop_all()
        return child

    async def _begun(self, child: asyncio.subprocess.Process, given: bytes) -> dict[str, Any]:
        try:
            said, _ = await within(START_S, _exchange(child, {"parent": os.getpid(), **self.options}, given))
        except TimeoutError:
            raise EngineNotBegun(f"{self.program.stem} did not begin within {START_S:g} s") from None
        except ValueError as odd:
            raise EngineNotBegun(f"{self.program.stem} said what is no answer as it began ({odd})") from None
        except (EOFError, ConnectionError):
            raise EngineNotBegun(f"{self.program.stem} ended as it began ({await self._ended()})") from None
        return said

    async def _ended(self) -> str:
        """Wait for the end of the process, and return how it ended and its last words."""
        code = await self._end()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        lines = self._words.decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1][:SAID_CHARS]}" if lines else how

    async def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)  # Popen.kill polls, and takes the status from asyncio's watcher
        code = await child.wait()
        assert child.stdin is not None
        child.stdin.close()
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening
        return code

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Keep the last words of the process."""
        assert child.stderr is not None
        while chunk := await child.stderr.read(4_096):
            self._words += chunk
            del self._words[:-LAST_WORDS_BYTES]


async def _exchange(child: asyncio.subprocess.Process, header: Mapping[str, Any], data: bytes) -> Answer:
    """Send one frame and return the next. EOFError or ConnectionError where none comes, ValueError for no frame."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps({**header, "bytes": len(data)}).encode() + b"\n" + data)
    await child.stdin.drain()
    line = await child.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer, size = _header(line)
    return answer, await child.stdout.readexactly(size)


def _header(line: bytes) -> tuple[dict[str, Any], int]:
    """Return a frame's header and how many bytes follow it. ValueError where it is none."""
    try:
        answer: dict[str, Any] = json.loads(line)
        size = int(answer.pop("bytes"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {str(error)[:SAID_CHARS]}") from None
    if not 0 <= size <= ENGINE_ANSWER_BYTES:
        raise ValueError(f"it announces {size} bytes, at most {ENGINE_ANSWER_BYTES} may follow")
    return answer, size


def _told(answer: Mapping[str, Any]) -> str:
    """Return the error in an answer, short enough for a refusal's one line."""
    return " ".join(str(answer["error"]).split())[:MAX_REASON_CHARS]
