"""Calling a part's own code: the one place where whatever it raises becomes a Fault.

A Refused and a Fault pass as they are: they are answers. A broken assertion, a use of the machine's clock under
simulated time and a deadlock pass too: they are bugs of ours, and they stop the part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

from shared.constant import constant
from shared.errors import Deadlock, Fault, Refusal, Refused, WallClockUse
from shared.message import Message

T = TypeVar("T")

MAX_OUTPUTS = constant(1_000, "messages", "X-12")
STOPS = (AssertionError, WallClockUse, Deadlock)


class HandlerFailed(Fault):
    """The part's own code failed on a message; the message is dead-lettered with the error."""


async def own_code(part: str, running: Awaitable[T]) -> T:
    """Return what the part's own code returns; HandlerFailed for any error that is neither an answer nor a stop."""
    try:
        return await running
    except (Refused, Fault, *STOPS):
        raise
    except Exception as error:
        raise HandlerFailed(f"{part}: {type(error).__name__}: {error}") from error


async def collect(call: Callable[..., Iterable[Any]], message: Message) -> list[Any]:
    """Return what a cell yields on a message; HandlerFailed if it does not come to an end."""
    outputs = list(islice(call(message), MAX_OUTPUTS + 1))
    if len(outputs) > MAX_OUTPUTS:
        raise HandlerFailed(f"{call.__qualname__} yields more than {MAX_OUTPUTS} messages")
    return outputs


async def act(call: Callable[..., Awaitable[Any]], *heard: object) -> list[Any]:
    """Return what an organ says about what it heard, nothing for None."""
    outputs = await call(*heard)
    if outputs is None:
        return []
    return [outputs] if isinstance(outputs, Refusal | Message) else list(outputs)
