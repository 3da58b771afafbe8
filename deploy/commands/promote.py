"""`promote`, `rollback` and `registry manifest`: a model put in force on fresh evidence, or taken back."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from deploy.attach import operator
from deploy.commands.task import finish
from deploy.families import Known
from deploy.gate import svg, table
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import Exit, NotPermitted, Refusal, Refused, Unreachable
from shared.files import storing
from shared.message import EVENT_TOKEN, Reply, Request, encode_token
from shared.subjects.datasets import VerifyDataset
from shared.subjects.energy import PowerWindow, PowerWindowRequest
from shared.subjects.registry import (
    EvidenceNoted,
    Judgement,
    ManifestStated,
    ModelPromoted,
    ModelRolledBack,
    PromoteModel,
    PromotionBlocked,
    RollBackModel,
    StateManifest,
    Target,
)
from shared.subjects.system import Decided
from shared.world import within

VERIFIED_S = constant(600.0, "s", "COL-10")  # a dataset is read whole
NOTED_S = constant(10.0, "s", "COL-10")
LOOK_S = constant(0.05, "s", "COL-10")

R = TypeVar("R", bound=Reply)


def promote(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Gather fresh evidence, ask for a promotion, and show the gate's table; 7 where it is blocked."""
    target = cast("Target", args.to)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            known = await Known.read(bus)
            model = known.model(args.family, args.model)
            datasets = known.family(args.family).models[model].datasets
            await _fresh(bus, args.family, datasets, loaded.settings.site, terminal)
            asked = PromoteModel(args.family, model, target, OPERATOR, args.emergency, args.reason)
            placed = await _asked(bus, asked, Decided)
            decided = await _decision(bus, placed)
        _show(decided.judgement, f"{args.family} {model[:16]} to {target}", args.plot, terminal)
        told = msgspec.to_builtins(decided) | {"index": placed.index, "offset": placed.offset}
        if isinstance(decided, PromotionBlocked):
            no = "; ".join(f"{row.name} {row.reason}" for row in decided.judgement.rows if not row.holds)
            terminal.give(told | {"promoted": False}, f"BLOCKED at ({placed.index}, {placed.offset}): {no}")
            return Exit.REFUSED
        waits = "; it rolls back unless three signers ratify it within 48 hours" if decided.emergency else ""
        terminal.give(told | {"promoted": True}, f"{model} is in force at {target} from {placed.index} on{waits}")
        return Exit.OK

    return finish(main())


def manifest(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Tell what a promotion's signers sign, and what the gate would say now; nothing is decided."""
    target = cast("Target", args.to)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            model = (await Known.read(bus)).model(args.family, args.model)
            stated = await _asked(bus, StateManifest(args.family, model, target, args.emergency), ManifestStated)
        _show(stated.judgement, f"{args.family} {model[:16]} to {target}", args.plot, terminal)
        vote = f"`nimmerverse vote {stated.manifest} pass --family {args.family} --as NAME --role signer --reason TEXT`"
        terminal.give(msgspec.to_builtins(stated), f"{stated.manifest}\n{stated.text}\n{vote} signs it")
        return Exit.OK

    return finish(main())


def rollback(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Take back what is in force, and restore what was there before."""
    target = cast("Target", args.target)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            placed = await _asked(bus, RollBackModel(args.family, target, args.reason, OPERATOR), Decided)
            [verdict] = await bus.judged(placed.index, 1)
            [back] = [one for one, at in decisions_in(verdict, ModelRolledBack) if at.offset == placed.offset]
        told = msgspec.to_builtins(back) | {"index": placed.index, "offset": placed.offset}
        restored = f"{back.restores} is in force there again" if back.restores else "nothing is in force there now"
        terminal.give(told, f"{back.model} is taken back from {target} at {placed.index}; {restored}")
        return Exit.OK

    return finish(main())


async def _fresh(bus: Bus, family: str, datasets: list[str], site: str, terminal: Terminal) -> None:
    """Have power and every dataset looked at now, and wait until the registry has noted what was found.

    Where somebody does not answer the promotion is asked for all the same: the table then says what is missing.
    """
    places = list[tuple[int, int]]()
    for what, request, timeout_s in (
        ("power", PowerWindowRequest(site, family), NOTED_S),
        *((f"dataset {dataset[:16]}", VerifyDataset(dataset, family), VERIFIED_S) for dataset in datasets),
    ):
        try:
            answer = await bus.request(request, timeout_s)
        except NotPermitted:  # nobody here ever was who could answer
            answer = Refusal("B006")
        if isinstance(answer, PowerWindow | Decided):
            places.append((answer.index, answer.offset))
        else:
            terminal.note(f"{what}: {answer}")
    lane = ".".join((bus.env, *EvidenceNoted.tokens[:2], EVENT_TOKEN, encode_token(family)))

    async def noted() -> None:
        left = {*places}
        while left:
            for verdict in await bus.follow(lane):
                left -= {(note.index, note.offset) for note, _ in decisions_in(verdict, EvidenceNoted)}
            await bus.world.sleep(LOOK_S)

    try:
        await within(NOTED_S, noted())
    except TimeoutError:
        terminal.note("the registry has not noted all of it yet")


async def _decision(bus: Bus, placed: Decided) -> ModelPromoted | PromotionBlocked:
    """Return what the registry decided, as the log has it."""
    [verdict] = await bus.judged(placed.index, 1)
    for decided, at in decisions_in(verdict, ModelPromoted, PromotionBlocked):
        if at.offset == placed.offset:
            return decided
    raise Unreachable(f"entry {placed.index} has no decision about a promotion at {placed.offset}")


async def _asked(bus: Bus, request: Request, reply: type[R]) -> R:
    answer = await bus.request(request)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, reply)
    return answer


def _show(judgement: Judgement, title: str, plot: Path | None, terminal: Terminal) -> None:
    if not terminal.as_json:
        terminal.console.print(table(judgement))
    if plot is not None:
        with storing(plot):
            plot.write_text(svg(judgement, title), encoding="utf-8")
