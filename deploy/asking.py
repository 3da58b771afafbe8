"""Asking a part, and saying by its own refusal why there is no answer."""

from __future__ import annotations

from typing import TypeVar

from deploy.attach import operator
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.bus.bus import REQUEST_TIMEOUT_S
from shared.config import Loaded
from shared.errors import NotPermitted, Refusal, Refused
from shared.message import Reply, Request

UNHEARD = "B006"

R = TypeVar("R", bound=Reply)


async def asked(bus: Bus, request: Request, reply: type[R], timeout_s: float = REQUEST_TIMEOUT_S) -> R:
    """Return the answer to a request. Refused where it is a refusal."""
    answer = await bus.request(request, timeout_s)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, reply)
    return answer


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
