"""`bench`: one area, or all of them as a page that says on what machine and which commit they were measured."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from deploy.bench.areas import AREAS, Told
from deploy.bench.page import page, where
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import Exit
from shared.files import storing
from shared.world import RealWorld

ALL = "all"


def bench(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Measure one area, ours beside what it is made of; `all` is every area, and `--write` keeps it as a page."""
    world = RealWorld(loaded.settings.env)
    told: dict[str, Told] = {}
    for name in AREAS if args.area == ALL else (args.area,):
        terminal.note(f"{name}: {AREAS[name].what} …")
        told[name] = AREAS[name].measure(world, args.events)
        terminal.say(told[name].table)
    missed = [f"{name}: {what.strip()}" for name, one in told.items() for what in one.missed]
    out: Path | None = args.write
    if out is not None:
        command = f"nimmerverse bench {args.area} --events {args.events} --write {out}"
        with storing(out):
            out.write_text(page(AREAS, told, command), encoding="utf-8")
    if terminal.as_json:
        figures = {name: one.figures for name, one in told.items()}
        terminal.give({"ok": not missed, "missed": missed, "where": where(), "areas": figures})
    return Exit.FAILED if missed else Exit.OK
