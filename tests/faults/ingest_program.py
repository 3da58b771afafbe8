"""The command line in a process that dies at its n-th step: `ingest_program.py N WORD…`, 0 lets it live.

A step is whatever leaves the process or reaches it: a write brought to the disk, a block read, a request and its
answer. A process that lives says on standard error how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from deploy.cli import main
from shared.bus.nats import NatsWire
from shared.bus.wire import Delivery


def dying(last: int, words: list[str]) -> int:
    """Run a command and die at a step of it."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    fsync, read, replace, request = os.fsync, os.read, os.rename, NatsWire.request

    def counted(real: Any) -> Any:  # noqa: ANN401 - any function of the operating system
        def call(*args: Any, **more: Any) -> Any:  # noqa: ANN401 - as above
            step()
            return real(*args, **more)

        return call

    async def asked(
        self: NatsWire, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Delivery:
        step()
        answer = await request(self, subject, data, headers, timeout_s)
        step()
        return answer

    os.fsync, os.read, os.rename = counted(fsync), counted(read), counted(replace)
    NatsWire.request = asked
    code = main(words)
    sys.stderr.write(f"{count}\n")
    return code


if __name__ == "__main__":
    sys.exit(dying(int(sys.argv[1]), sys.argv[2:]))
