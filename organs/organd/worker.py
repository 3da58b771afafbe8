"""A program of its own: llama.cpp with one loaded model, on a Unix socket that only its user may open.

It is started with its file's path, so it needs nothing of ours but itself. One line of JSON on its standard input says
what to load; one line on its standard output says that it is ready, or why it is not. It ends with its supervisor: the
kernel kills it when that process is gone, and the end of its standard input is the end of it too.

Where its lease has an end, each further line says a later one, and a guard, a process beside it, kills it at that
moment: also while it loads, when llama.cpp lets no other thread run, and also if its supervisor is frozen.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import time
from typing import Any, TextIO

PR_SET_PDEATHSIG = 1
ALL_LAYERS = 999
LOOK_S = 1.0  #: a machine that slept is noticed by then
#: The clock of the World's elapsed time (shared/world.py), the same in every process of this machine.
ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def main() -> None:
    """Load what is asked for, say so, and wait for the end."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp may print; only the one line goes out
    asked = json.loads(_line())
    _die_with(int(asked["parent"]))
    guard = _guarded(asked) if "until_s" in asked else 0
    try:
        kept = load(asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        _say(said, {"error": str(error)})
        os._exit(1)
    _say(said, {"ready": kept.listening_address})
    if guard:
        os.waitpid(guard, 0)  # it ends nothing but this process; without it there is no right to go on
    else:
        while _line():
            pass
    os._exit(0)


def load(asked: dict[str, Any]) -> Any:  # noqa: ANN401 - llama.cpp's server has no types
    """Return a running server with the model in it. Raises RuntimeError."""
    llama: Any = importlib.import_module("xllamacpp")
    gpu = asked["device"] != "cpu"
    if gpu and not any("GPU" in str(device["type"]) for device in llama.get_device_info()):
        raise RuntimeError("this build of llama.cpp finds no card, and the model was to be loaded on one")
    params = llama.CommonParams()
    params.model.path = asked["path"]
    params.hostnames = [asked["socket"]]
    params.api_keys = [asked["key"]]
    params.n_ctx, params.n_parallel = asked["context"], 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked["threads"]
    params.n_gpu_layers = ALL_LAYERS if gpu else 0
    params.embedding = asked["embeds"]
    if asked["embeds"]:
        params.n_batch = params.n_ubatch = asked["context"]
    params.ui = params.endpoint_slots = False
    params.verbosity, params.warmup = asked["verbosity"], False
    os.umask(0o077)
    return llama.Server(params)


def _guarded(asked: dict[str, Any]) -> int:
    """Start the guard of this process and return its number; it holds nothing that the lease depends on."""
    worker = os.getpid()
    guard = os.fork()
    if guard:
        return guard
    _die_with(worker)
    for descriptor in asked["descriptors"]:
        os.close(descriptor)
    _keep_until(float(asked["until_s"]))
    os.kill(worker, signal.SIGKILL)
    os._exit(0)


def _keep_until(until_s: float) -> None:
    """Return at the end of the lease, or of the supervisor; each line puts the first one off."""
    while (left_s := until_s - time.clock_gettime(ELAPSED)) > 0:
        if select.select([0], [], [], min(left_s, LOOK_S))[0]:
            line = _line()
            if not line:
                return
            until_s = float(line)


def _line() -> bytes:
    """Read one line and not a byte more, so that what follows can be waited for."""
    line = bytearray()
    while (read := os.read(0, 1)) not in (b"", b"\n"):
        line += read
    return bytes(line)


def _say(to: TextIO, what: dict[str, str]) -> None:
    to.write(json.dumps(what) + "\n")
    to.flush()


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone, also if that was a moment ago."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
