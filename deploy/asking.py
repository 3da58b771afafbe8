"""Asking a part, and saying by its own refusal why there is no answer; waiting for what a part makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from deploy.attach import operator
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.bus.bus import REQUEST_TIMEOUT_S
from shared.config import Loaded
from shared.constant import constant
from shared.errors import NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.message import Reply, Request
from shared.world import within

UNHEARD = "B006"
LOOK_AGAIN_S = constant(0.05, "s", "X-07")

T = TypeVar("T")
R = TypeVar("R", bound=Reply)


async def asked(bus: Bus, request: Request, reply: type[R], timeout_s: float = REQUEST_TIMEOUT_S) -> R:
    """Return the answer to a request. Refused where it is a refusal."""
    answer = await bus.request(request, timeout_s)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, reply)
    return answer


async def seen(bus: Bus, wait_s: float, look: Callable[[], Awaitable[T | None]]) -> T | None:
    """Look until there is something to see; None where there is nothing in time.

    What was asked for goes on without whoever waits for it: a lost link, or a server that is behind, ends no wait.
    """

    async def found() -> T:
        while True:
            with suppress(Unreachable, Unresolved):
                if (sight := await look()) is not None:
                    return sight
            await bus.world.sleep(LOOK_AGAIN_S)

    try:
        return await within(wait_s, found())
    except TimeoutError:
        return None


async def ask_organ(part: str, request: Request, timeout_s: float, loaded: Loaded, terminal: Terminal) -> Reply:
    """Return the answer of an organ that runs only where it was started. Refused, with what to do if it was not."""
    async with operator(loaded, terminal.note, (part,)) as bus:
        try:
            answer = await bus.request(request, timeout_s)
        except NotPermitted:  # nobody here ever was the organ, so nobody may ask it
            answer = Refusal(UNHEARD)
    if not isinstance(answer, Refusal):
        return answer
    if answer.code == UNHEARD:
        raise Refused(Refusal(UNHEARD, f"{part} does not answer; start it with `nimmerverse part {part}`"))
    raise Refused(answer)
