"""A command's asynchronous work: run to its end, or until a signal asks it to stop in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def still_wanted() -> None:
    """Raise CancelledError if this task was asked to stop and something it waited for did not pass that on.

    `asyncio.wait_for` of Python 3.11 returns its result instead where both come at once; a loop asks here each time.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end and return its result; SIGTERM cancels it as Ctrl-C does, and is a KeyboardInterrupt too.

    What the work started is stopped by its own `finally`; no exception is thrown into the middle of the event loop.
    """

    async def whole() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
