"""Commands as processes of their own that need not import everything first: each is forked from one that did.

What a person's command does after its imports is the same, in a process of its own: arguments, environment, folder,
outputs, signals and exit code. A second of importing is saved each time; the tests start a thousand commands.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Protocol, cast

#: A start looks whether any other command has ended; of two threads that see the end at once one reads no exit code.
_ONE_AT_A_TIME = threading.Lock()


class _Detached(Protocol):
    def detach(self) -> int: ...


class Forked:
    """One command. As far as it goes, what subprocess.Popen is to a program."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str], cwd: Path) -> None:
        self.args = words
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        self.stdout: IO[str] = os.fdopen(out, encoding="utf-8")  # closed by whoever reads it
        self.stderr: IO[str] = os.fdopen(err, encoding="utf-8")
        given = (tuple(words), dict(environ), str(cwd), DupFd(to_out), DupFd(to_err))
        self._process: BaseProcess = _context().Process(target=_command, args=given)
        try:
            with _ONE_AT_A_TIME:
                self._process.start()
        finally:
            os.close(to_out)
            os.close(to_err)
        self.pid = cast("int", self._process.pid)

    @property
    def returncode(self) -> int | None:
        """The exit code where it has ended."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code; None while it lives."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Have it end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def preload() -> None:
    """Import what commands import; the process that they are forked from does, once."""
    import deploy.commands

    for module in pkgutil.iter_modules(deploy.commands.__path__):
        importlib.import_module(f"deploy.commands.{module.name}")


_contexts: list[ForkServerContext] = []


def _context() -> ForkServerContext:
    if not _contexts:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.forking"])
        _contexts.append(context)
    return _contexts[0]


def _command(words: Sequence[str], environ: Mapping[str, str], cwd: str, *outputs: _Detached) -> None:
    """Be the command."""
    from deploy.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, start=1):
        own = output.detach()
        os.dup2(own, number)
        os.close(own)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115 - a line at a time, as Python's
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    sys.argv = ["nimmerverse", *words]
    sys.exit(main(cast("Sequence[str]", words)))
