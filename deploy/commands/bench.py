"""`bench`: one area, or all of them as a page that says on what machine and which commit they were measured."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from deploy.apart import run_apart
from deploy.bench.areas import AREAS, Told
from deploy.bench.page import page, where
from deploy.commands.task import finish
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import Exit, Fault
from shared.files import storing
from shared.world import RealWorld

ALL = "all"


@dataclass(frozen=True, slots=True)
class _Given:
    """What `bench AREA --json` prints: its area, or why there is none."""

    areas: dict[str, Told] = field(default_factory=dict[str, Told])
    error: str = "it ended without a word"
    exit: int = Exit.FAILED


def bench(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Measure one area, ours beside what it is made of; `all` is every area, and `--write` keeps it as a page."""
    env = loaded.settings.env
    told: dict[str, Told] = {}
    for name in AREAS if args.area == ALL else (args.area,):
        terminal.note(f"{name}: {AREAS[name].what} …")
        if args.area == ALL:
            told[name] = finish(measured_apart(env, name, args.events))
        else:
            told[name] = AREAS[name].measure(RealWorld(env), args.events)
        terminal.say(told[name].table)
    missed = [f"{name}: {what.strip()}" for name, one in told.items() for what in one.missed]
    out: Path | None = args.write
    if out is not None:
        command = f"nimmerverse bench {args.area} --events {args.events} --write {out}"
        with storing(out):
            out.write_text(page(AREAS, told, command), encoding="utf-8")
    if terminal.as_json:
        terminal.give({"ok": not missed, "missed": missed, "where": where(), "areas": told})
    return Exit.FAILED if missed else Exit.OK


async def measured_apart(env: str, name: str, events: int) -> Told:
    """Measure an area in a process of its own, so that none finds what another has left in memory."""
    _, out = await run_apart("bench", name, "--events", str(events), "--env", env)
    given = msgspec.json.decode(out, type=_Given) if out else _Given()
    if name not in given.areas:
        fault = Fault(f"{name} could not be measured: {given.error}")
        fault.exit = Exit(given.exit)
        raise fault
    return given.areas[name]
