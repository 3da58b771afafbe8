"""A program of its own: it loads the engine in the file that it is given, and answers the frames on its standard input.

It is started with its file's path, so it needs nothing of ours but that file: `load(options)` returns what makes of a
request's header and bytes those of its answer. It ends with its parent: the kernel kills it when that process is
gone, and the end of its standard input is the end of it too.
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
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1

Ask = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]


def main() -> None:
    """Load the engine, say so, and answer until there is nothing more to answer."""
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print; only frames go out
    options, _ = _read(sys.stdin.buffer)
    _die_with(int(options.pop("parent")))
    try:
        ask = _load(Path(sys.argv[1]))(options)
    except ImportError as error:
        _write(said, {"missing": str(error)}, b"")
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        _write(said, {"error": str(error)}, b"")
        return
    _write(said, {"ready": True}, b"")
    while True:
        try:
            header, data = _read(sys.stdin.buffer)
        except EOFError:
            os._exit(0)
        before = _cpu_us()
        try:
            answer, made = ask(header, data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
            answer, made = {"error": f"{type(error).__name__}: {error}"}, b""
        _write(said, {**answer, "cpu_us": _cpu_us() - before}, made)


def _load(file: Path) -> Callable[[dict[str, Any]], Ask]:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    load: Callable[[dict[str, Any]], Ask] = module.load
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


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone, also if that was a moment ago."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
