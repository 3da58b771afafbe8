"""The real crew: a process for each worker, in a group of its own, on one thread, with torchrun's environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping

import msgspec

from organs.trainer.backends import Backends
from organs.trainer.frames import Agreed, Begin, Failed, Paced, Stop, line, read_said
from organs.trainer.port import Attempt, CrewFailed, Ended, P, T, Word
from shared.constant import constant
from shared.engine.process import LAST_WORDS_BYTES
from shared.files import private_folder
from shared.keys import LocalSigner
from shared.world import World

FRAME_BYTES = constant(1_000_000, "bytes", "X-12")
LAST_WORDS_S = constant(1.0, "s", "ILL-02")  # for a pipe to end after its process did
WORDS_WAITING = constant(1_000, "words", "X-12")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
LOOPBACK = "127.0.0.1"


class ProcessCrew:
    """Starts worker processes; what each backend needs is in an environment of its own."""

    def __init__(self, backends: Backends, world: World) -> None:
        self.backends, self.world = backends, world

    def missing(self, backend: str) -> str:
        return self.backends.missing(backend)

    async def aside(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    async def start(self, attempt: Attempt) -> ProcessTeam:
        team = ProcessTeam()
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(team.end)
            try:
                port = _free_port()
                for rank in range(attempt.spec.workers):
                    await self._join(team, attempt, rank, port)
            except OSError as no:
                begun, program = len(team.keys), self.backends.command(attempt.spec.backend)[0]
                raise CrewFailed(
                    f"{begun} of {attempt.spec.workers} workers began, then the system refused the next ({no}): have "
                    f"{program} run by hand, close other programs, or raise the limits of this one (ulimit -n, -u)"
                ) from no
            undo.pop_all()
        return team

    async def _join(self, team: ProcessTeam, attempt: Attempt, rank: int, port: int) -> None:
        name = f"worker-{rank}"
        out = attempt.place / name
        shutil.rmtree(out, ignore_errors=True)
        private_folder(out)
        seed = self.world.entropy(32)
        begin = Begin(
            parent=os.getpid(),
            job=attempt.job,
            worker=name,
            seed=seed,
            spec=attempt.spec,
            data=str(attempt.data),
            out=str(out),
            rank=rank,
            world_size=attempt.spec.workers,
            begun=str(attempt.begun.path) if attempt.begun else "",
            digest=attempt.begun.digest if attempt.begun else "",
            pace_ppm=attempt.pace_ppm,
        )
        child = await asyncio.create_subprocess_exec(
            *self.backends.command(attempt.spec.backend),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=FRAME_BYTES,
            start_new_session=True,
            env={**self._environment(attempt, rank, port), **self.backends.environment(attempt.spec.backend)},
        )
        await team.join(name, child, LocalSigner(seed).public, line(begin))

    def _environment(self, attempt: Attempt, rank: int, port: int) -> dict[str, str]:
        """Return what torchrun would tell this worker, and what has it compute the same bits every time."""
        given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        return given | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(attempt.spec.workers),
            "LOCAL_WORLD_SIZE": str(attempt.spec.workers),
            "MASTER_ADDR": LOOPBACK,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RESTART_COUNT": str(attempt.number - 1),
            "TORCHELASTIC_RUN_ID": attempt.job,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        }


class ProcessTeam:
    """The worker processes of one attempt. Owns them: `end` leaves none."""

    def __init__(self) -> None:
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._keys: dict[str, bytes] = {}
        self._words: asyncio.Queue[Word] = asyncio.Queue(WORDS_WAITING)
        self._listening: list[asyncio.Task[None]] = []
        self._ears: list[asyncio.Task[str]] = []  #: on what the workers complain of

    @property
    def keys(self) -> Mapping[str, bytes]:
        return self._keys

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children.values() if child.returncode is None]

    async def join(self, name: str, child: asyncio.subprocess.Process, key: bytes, first: bytes) -> None:
        """Take a process in, and tell it what to do."""
        self._children[name], self._keys[name] = child, key
        self._listening.append(asyncio.get_running_loop().create_task(self._listen(name, child)))
        await self._tell(child, first)

    async def hear(self) -> Word:
        return await self._words.get()

    async def pace(self, ppm: int) -> None:
        await self._tell_all(line(Paced(ppm)))

    async def agreed(self, step: int) -> None:
        await self._tell_all(line(Agreed(step)))

    async def stop(self) -> None:
        await self._tell_all(line(Stop()))

    async def end(self) -> None:
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # its own group: whatever it started and left goes too
            await child.wait()
            assert child.stdin is not None
            child.stdin.close()
            with contextlib.suppress(ConnectionError):
                await child.stdin.wait_closed()
        if self._ears:
            await asyncio.wait(self._ears, timeout=LAST_WORDS_S)
        for ear in self._ears:
            ear.cancel()

    async def _tell_all(self, told: bytes) -> None:
        for child in self._children.values():
            await self._tell(child, told)

    async def _tell(self, child: asyncio.subprocess.Process, told: bytes) -> None:
        assert child.stdin is not None
        with contextlib.suppress(ConnectionError):  # one that ended is heard of by its end
            child.stdin.write(told)
            await child.stdin.drain()

    async def _listen(self, name: str, child: asyncio.subprocess.Process) -> None:
        """Hand on every word of a worker, and how it ended."""
        assert child.stdout is not None
        words = asyncio.get_running_loop().create_task(_last_words(child))
        self._ears.append(words)
        try:
            while raw := await child.stdout.readline():
                await self._words.put((name, read_said(raw)))
        except (ValueError, msgspec.MsgspecError) as odd:
            await self._words.put((name, Failed("", f"it said what is no word: {odd}")))
        await self._words.put((name, _ending(await child.wait(), await words)))


async def _last_words(child: asyncio.subprocess.Process) -> str:
    assert child.stderr is not None
    kept = bytearray()
    while chunk := await child.stderr.read(4_096):
        kept += chunk
        del kept[:-LAST_WORDS_BYTES]
    lines = kept.decode(errors="replace").strip().splitlines()
    return lines[-1][:LAST_WORDS_BYTES] if lines else ""


def _ending(code: int, words: str) -> Ended:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"status {code}"
    return Ended(f"{how}: {words}" if words else how, code == 0)


def _free_port() -> int:
    """Return a port on which nobody listens now: the first worker will, where workers speak with each other."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        port: int = taken.getsockname()[1]
        return port
