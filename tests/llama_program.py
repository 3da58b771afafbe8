"""llama.cpp's own server of the OpenAI protocol in a process of its own, which a test may kill: MODEL → its address."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main(model: str) -> None:
    """Serve a model until the process is killed or its standard input ends."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # its types are in its compiled part
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel = 4_096, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.hostnames, params.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
