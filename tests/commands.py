"""The command line as a person uses it: each command a process of its own, on a data folder of its own.

Ours is forked from a process that has imported it already (see forked.py); with any other program it is started anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nats
import psutil
from nats.aio.client import Client

from shared.config import load
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.world import RealWorld
from tests.forked import Forked

ROOT = Path(__file__).resolve().parents[1]
NIMMERVERSE = (sys.executable, "-m", "deploy")
EVENT_S = 60.0
BEAT_MS = "50"
#: A database nobody serves: given, no PostgreSQL is started; parts that keep no records never ask for it.
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """What it printed, each line a JSON document; fails where one is not."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def sentence(self) -> str:
        """The one sentence it ended with on standard error, without its name; notes and its journal may come before."""
        *notes, line = self.err.splitlines()
        assert line.startswith("nimmerverse: "), self.err
        assert [] == [note for note in notes if not note.startswith(("{", "nothing runs on "))], self.err
        return line.removeprefix("nimmerverse: ")


class Living:
    """A command that goes on until it is stopped; its lines are heard as they come."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._news: queue.Queue[str | None] = queue.Queue()
        self._open = 2  #: outputs that may still bring something
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    def said(self, wanted: Callable[[str], object], wait_s: float = EVENT_S) -> str:
        """Return the first line, of either output, that is wanted; fails when it does not come in time."""
        return self._first(wanted, (self.lines, self.errors), wait_s)

    def document(self, wait_s: float = EVENT_S) -> Any:  # noqa: ANN401 - JSON
        """Return the first JSON document it prints."""
        return json.loads(self._first(lambda line: line.startswith("{"), (self.lines,), wait_s))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Done:
        """Send a signal, wait for the end and return it."""
        self.process.send_signal(number)
        return self.end()

    def end(self, wait_s: float = EVENT_S) -> Done:
        """Wait for the end and return it."""
        code = self.process.wait(wait_s)
        for reader in self._readers:
            reader.join()
        return Done(code, "".join(f"{line}\n" for line in self.lines), "".join(f"{line}\n" for line in self.errors))

    def _first(self, wanted: Callable[[str], object], outputs: tuple[list[str], ...], wait_s: float) -> str:
        while True:
            found = next((line for lines in outputs for line in list(lines) if wanted(line)), None)
            if found is not None:
                return found
            if self._open == 0:
                said = "\n".join([*self.lines, *self.errors])
                raise AssertionError(f"{self.process.args!r} did not say it; it said:\n{said}")
            try:
                self._open -= self._news.get(timeout=wait_s) is None
            except queue.Empty:
                self._open = 0

    def _read(self, source: IO[str], into: list[str]) -> None:
        with source:
            for line in source:
                into.append(line.rstrip("\n"))
                self._news.put(line)
        self._news.put(None)


@dataclass(frozen=True)
class Home:
    """A data folder, the settings beside it, and how the command line is called."""

    folder: Path
    settings: Mapping[str, str]
    program: Sequence[str] = NIMMERVERSE
    cwd: Path = ROOT

    @classmethod
    def at(cls, folder: Path, *, program: Sequence[str] = NIMMERVERSE, cwd: Path = ROOT, **settings: str) -> Home:
        """A home in `folder`, with a quick beat and these settings."""
        return cls(folder, {"home": str(folder), "beat_ms": BEAT_MS, "site": "here"} | settings, program, cwd)

    def without_records(self) -> Home:
        """The same without PostgreSQL."""
        return Home(self.folder, {**self.settings, "database_url": NO_DATABASE}, self.program, self.cwd)

    def set(self, **settings: str) -> Home:
        """The same with other settings."""
        return Home(self.folder, {**self.settings, **settings}, self.program, self.cwd)

    def keyed(self) -> Home:
        """The same, with a keyring that opens quickly."""
        Keys(load(self.environ, {}, "here").settings, RealWorld("dev"), CHEAP)
        return self

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its commands: nothing of ours, so that no setting of the tester's leaks in."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        given = {f"NIMMERVERSE_{name.upper()}": value for name, value in self.settings.items()}
        return kept | {"PYTHONPATH": str(ROOT)} | given

    def run(self, *words: str, wait_s: float = EVENT_S) -> Done:
        """Run a command to its end."""
        living = Living(self._begun(words))
        try:
            return living.end(wait_s)
        except subprocess.TimeoutExpired:
            living.process.kill()
            living.end()
            raise

    def held(self, *words: str, wait_s: float = EVENT_S) -> Done:
        """Run a command that must end with 0."""
        done = self.run(*words, wait_s=wait_s)
        assert done.code == 0, f"{words} ended with {done.code}: {done.out}{done.err}"
        return done

    @contextmanager
    def living(self, *words: str) -> Iterator[Living]:
        """Start a command that stays; it is stopped at the end, whatever happens."""
        process = self._begun(words)
        living = Living(process)
        try:
            yield living
        finally:
            if process.poll() is None:
                everybody = family(process.pid)
                process.terminate()
                try:
                    process.wait(EVENT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                for left in psutil.wait_procs(everybody, timeout=5)[1]:
                    left.kill()
            living.end()

    def _begun(self, words: Sequence[str]) -> subprocess.Popen[str] | Forked:
        if self.program == NIMMERVERSE:
            return Forked(words, self.environ, self.cwd)
        return subprocess.Popen(
            [*self.program, *words],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def up(self, *words: str) -> Iterator[Living]:
        """Start an organism and wait until it says what it runs."""
        with self.living("up", "--json", *words) as living:
            told = living.document()
            assert "parts" in told, told
            yield living


def family(pid: int) -> list[psutil.Process]:
    """Every process below one; below one that is gone there is none."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def all_gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether every one of these ends in time."""
    _, alive = psutil.wait_procs(processes, timeout=EVENT_S)
    return not alive


def as_stranger(home: Home, deed: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    """Do something with a stock client that knows nothing but what `connect` printed."""
    [told] = home.held("connect", "--json").documents
    context = told["context"]

    async def whole() -> None:
        client = await nats.connect(context["url"], nkeys_seed=context["nkey"], allow_reconnect=False)
        try:
            async with asyncio.timeout(EVENT_S):
                await deed(client)
        finally:
            await client.close()

    asyncio.run(whole())
