"""A program of its own: it loads the engine in the file that it is given, and answers the frames on its standard input.

It is started with its file's path, so it needs nothing of ours but what that file imports: `load(options, data)`
returns what makes of a request's header and bytes those of its answer. What either raises is this process's last word.
It ends with its parent: the kernel kills it when that process is gone, and the end of its standard input is the end of
it too.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1

Ask = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]
Load = Callable[[dict[str, Any], bytes], Ask]


def main() -> None:
    """Load the engine, say so, and answer until there is nothing more to answer."""
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print; only frames go out
    sys.excepthook = _last_word(said)
    options, data = _read(sys.stdin.buffer)
    die_with(int(options.pop("parent")))
    try:
        ask = _load(Path(sys.argv[1]))(options, data)
    except ImportError as error:
        _write(said, {"missing": str(error)}, b"")
        return
    del data  # a model's file may be large
    _write(said, {"ready": True}, b"")
    while True:
        try:
            header, data = _read(sys.stdin.buffer)
        except EOFError:
            os._exit(0)
        before = _cpu_us()
        answer, made = ask(header, data)
        _write(said, {**answer, "cpu_us": _cpu_us() - before}, made)


def _last_word(said: BinaryIO) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return the hook that tells the parent what this process ends of: the one place where any error is caught."""

    def tell(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        _write(said, {"error": f"{kind.__name__}: {error}"}, b"")

    return tell


def _load(file: Path) -> Load:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    load: Load = module.load
    return load


def _read(source: BinaryIO) -> tuple[dict[str, Any], bytes]:
    line = source.readline()
    if not line:
        raise EOFError
    header: dict[str, Any] = json.loads(line)
    return header, source.read(int(header.pop("bytes")))


def _write(to: BinaryIO, header: dict[str, Any], data: bytes) -> None:
    to.write(json.dumps({**header, "bytes": len(data)}).encode() + b"\n" + data)
    to.flush()


def _cpu_us() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round(1e6 * (used.ru_utime + used.ru_stime))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone, also if that was a moment ago."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
