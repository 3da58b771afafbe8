"""Asking an organ that runs only where somebody started it."""

from __future__ import annotations

from deploy.attach import operator
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import NotPermitted, Refusal, Refused
from shared.message import Reply, Request

UNHEARD = "B006"


async def ask_organ(part: str, asked: Request, timeout_s: float, loaded: Loaded, terminal: Terminal) -> Reply:
    """Return the answer of an organ; Refused, with what to do where it does not run."""
    async with operator(loaded, terminal.note, (part,)) as bus:
        try:
            answer = await bus.request(asked, timeout_s)
        except NotPermitted:  # nobody here ever was the organ, so nobody may ask it
            answer = Refusal(UNHEARD)
    if not isinstance(answer, Refusal):
        return answer
    if answer.code == UNHEARD:
        raise Refused(Refusal(UNHEARD, f"{part} does not answer; start it with `nimmerverse part {part}`"))
    raise Refused(answer)
