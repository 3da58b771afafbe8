"""`promote`, `rollback` and `registry manifest`: a model put in force on fresh evidence, or taken back."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import cast

import msgspec

from deploy.asking import asked
from deploy.attach import operator
from deploy.commands.task import finish
from deploy.families import Known
from deploy.gate import svg, table
from deploy.host import OPERATOR
from deploy.promoting import decision_at, gather
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.decisions import decisions_in
from shared.errors import Exit
from shared.files import storing
from shared.subjects.registry import (
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

HOUR_MS = 3_600_000


def promote(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Gather fresh evidence, ask for a promotion, and show the gate's table; 7 where it is blocked."""
    target = cast("Target", args.to)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            known = await Known.read(bus)
            model = known.model(args.family, args.model)
            datasets = known.family(args.family).models[model].datasets
            await gather(bus, args.family, datasets, loaded.settings.site, terminal.note)
            promotion = PromoteModel(args.family, model, target, OPERATOR, args.emergency, args.reason)
            placed = await asked(bus, promotion, Decided)
            decided = await decision_at(bus, placed)
        _show(decided.judgement, f"{args.family} {model[:16]} to {target}", args.plot, terminal)
        told = msgspec.to_builtins(decided) | {"index": placed.index, "offset": placed.offset}
        if isinstance(decided, PromotionBlocked):
            no = "; ".join(f"{row.name} {row.reason}" for row in decided.judgement.rows if not row.holds)
            terminal.give(told | {"promoted": False}, f"BLOCKED at ({placed.index}, {placed.offset}): {no}")
            return Exit.REFUSED
        said = f"{model} is in force at {target} from {placed.index} on{awaited(decided)}"
        terminal.give(told | {"promoted": True}, said)
        return Exit.OK

    return finish(main())


def manifest(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Tell what a promotion's signers sign, and what the gate would say now; nothing is decided."""
    target = cast("Target", args.to)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            model = (await Known.read(bus)).model(args.family, args.model)
            stated = await asked(bus, StateManifest(args.family, model, target, args.emergency), ManifestStated)
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
            placed = await asked(bus, RollBackModel(args.family, target, args.reason, OPERATOR), Decided)
            [verdict] = await bus.judged(placed.index, 1, placed.index)
            [back] = [one for one, at in decisions_in(verdict, ModelRolledBack) if at.offset == placed.offset]
        told = msgspec.to_builtins(back) | {"index": placed.index, "offset": placed.offset}
        restored = f"{back.restores} is in force there again" if back.restores else "nothing is in force there now"
        terminal.give(told, f"{back.model} is taken back from {target} at {placed.index}; {restored}")
        return Exit.OK

    return finish(main())


def awaited(promoted: ModelPromoted) -> str:
    """Return what a promotion still waits for, in the numbers that it was decided with."""
    if not promoted.emergency:
        return ""
    hours = (promoted.ratify_by_ms - promoted.at_ms) / HOUR_MS
    return f"; it rolls back unless {promoted.ratify_signatures} signers ratify it within {hours:g} hours"


def _show(judgement: Judgement, title: str, plot: Path | None, terminal: Terminal) -> None:
    if not terminal.as_json:
        terminal.console.print(table(judgement))
    if plot is not None:
        with storing(plot):
            plot.write_text(svg(judgement, title), encoding="utf-8")
