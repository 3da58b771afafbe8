"""A program of its own: llama.cpp with one loaded model, on a Unix socket that only its user may open.

It is started with its file's path, so it needs nothing of ours but itself. One line of JSON on its standard input says
what to load; one line on its standard output says that it is ready, or why it is not. It ends with its supervisor: the
kernel kills it when that process is gone, and the end of its standard input is the end of it too.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any, TextIO

PR_SET_PDEATHSIG = 1
ALL_LAYERS = 999


def main() -> None:
    """Load what is asked for, say so, and wait for the end."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp may print; only the one line goes out
    asked = json.loads(sys.stdin.readline())
    _die_with(int(asked["parent"]))
    try:
        kept = load(asked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor is told
        _say(said, {"error": str(error)})
        os._exit(1)
    _say(said, {"ready": kept.listening_address})
    sys.stdin.read()
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
