"""`policy draft`, `move`, `ask`, `status`: the life of the policies that an operator adds."""

from __future__ import annotations

from argparse import Namespace
from typing import TypeVar

import msgspec

from deploy.attach import operator
from deploy.commands.policy import text_of
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import Exit, Refusal, Refused
from shared.message import Reply, Request
from shared.subjects.policy import (
    CheckPolicy,
    DraftPolicy,
    MovePolicy,
    PolicyEffect,
    PolicyStated,
    PolicyStatus,
)
from shared.subjects.system import Decided

R = TypeVar("R", bound=Reply)

PPM = 1_000_000


def draft(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Give an added policy its text."""
    request = DraftPolicy(args.name, text_of(str(args.file)), args.effect, OPERATOR)
    return _decided(loaded, terminal, request, f"{args.name} is a draft")


def move(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Move an added policy on, or back to draft."""
    request = MovePolicy(args.name, args.state, round(args.share * PPM), args.reason, OPERATOR)
    return _decided(loaded, terminal, request, f"{args.name} is {args.state}")


def ask(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Ask an added policy about a request; fails where its effect is not to allow it."""
    given = text_of(args.given)
    found = _answer(loaded, terminal, CheckPolicy(args.name, args.request, given), PolicyEffect)
    failed = "; ".join(f"{row.name}: {row.reason}" for row in found.judgement.rows if not row.holds)
    told = f"{found.policy} ({found.state}) says {found.says}, which is {found.effect} here"
    place = f"decided at ({found.index}, {found.offset})"
    terminal.give(msgspec.to_builtins(found), "\n".join(line for line in (told, failed, place) if line))
    return Exit.OK if found.effect == "allow" else Exit.FAILED


def status(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print where an added policy stands."""
    found = _answer(loaded, terminal, PolicyStatus(args.name), PolicyStated)
    share = f", {found.share_ppm / 10_000:.2f} % of requests" if found.state == "canary" else ""
    counted = f"objected to {found.objected} of its last {found.asked}" if found.asked else "was not asked since"
    told = f"{found.policy} is {found.state}{share}, effect {found.effect}, {counted}, judged in {found.digest[:16]}"
    terminal.give(msgspec.to_builtins(found), told)
    return Exit.OK


def _decided(loaded: Loaded, terminal: Terminal, request: Request, told: str) -> Exit:
    found = _answer(loaded, terminal, request, Decided)
    terminal.give(msgspec.to_builtins(found), f"{told}; decided at ({found.index}, {found.offset})")
    return Exit.OK


def _answer(loaded: Loaded, terminal: Terminal, request: Request, kind: type[R]) -> R:
    async def main() -> R:
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(request)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, kind)
        return answer

    return finish(main())
