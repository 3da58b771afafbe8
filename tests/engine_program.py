"""An engine for tests: it does what it is asked to, the worst included."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

FRAMES = 3  #: the first descriptor that a new process takes, where its frames go out


def load(options: dict[str, Any], given: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return the engine, or fail as the options say."""
    begin(options.get("begin", ""))

    def ask(header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        match header["do"]:
            case "compute":
                return {"sum": sum(range(int(header["terms"])))}, b""
            case "given":
                return {"pid": os.getpid()}, given
            case "echo":
                return {"pid": os.getpid()}, data
            case _:
                fail(header)
        return {"pid": os.getpid()}, b""

    return ask


def begin(how: str) -> None:
    """Begin, or not."""
    match how:
        case "missing":
            raise ModuleNotFoundError("No module named 'engine'")
        case "broken":
            raise ValueError("it was never any good")
        case "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            os.write(1, b"a library may print where frames go")


def fail(header: dict[str, Any]) -> None:
    """Fail as a request says."""
    match header["do"]:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            with Path(header["mark"]).open("a") as times:
                times.write("asked\n")
            raise ValueError("not\nthis")
        case "wait":  # the first process that is asked waits for ever
            mark = Path(header["mark"])
            if not mark.exists():
                mark.touch()
                signal.pause()
        case "babble":
            os.write(FRAMES, header["words"].encode() + b"\n")
        case _:
            raise AssertionError(header)
