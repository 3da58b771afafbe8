"""`models`: the models of this home, and a server for them without a bus."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace

import msgspec

from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.organd import FOLDER, OrgandOrgan, Registry, where
from shared.config import Loaded
from shared.errors import Damaged, Exit, Unreachable
from shared.journal import configure
from shared.ollama import OllamaClient, RunningModel
from shared.world import RealWorld


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the models that are held here; one whose manifest is damaged is named, and the status says so."""
    registry = _registry(loaded)
    rows, lines, damaged = list[dict[str, object]](), list[str](), False
    for name in registry.names():
        try:
            held = finish(registry.look(name))
        except Damaged as fault:
            damaged = True
            rows.append({"model": name, "damaged": str(fault)})
            lines.append(f"{name}  DAMAGED: {fault}")
            continue
        facts = held.facts
        rows.append({"model": name, "size_bytes": held.size, "sha256": held.digest, **msgspec.to_builtins(facts)})
        kind = "embeds" if facts.embeds else "says"
        what = f"{facts.architecture} {facts.quantization} {kind}, {facts.context} tokens"
        lines.append(f"{name}  {held.size} B  {what}  {held.digest[:12]}")
    none = f"no model is held in {registry.folder}; `nimmerverse models add FILE NAME` adds one"
    terminal.give({"models": rows}, "\n".join(lines) or none)
    return Exit.TAMPERED if damaged else Exit.OK


def add(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Copy a model's file into this home."""
    held = _registry(loaded).add(args.file, args.name)
    terminal.give(
        {"model": held.name, "size_bytes": held.size, "sha256": held.digest},
        f"{held.name} is held: {held.size} B, SHA-256 {held.digest}",
    )
    return Exit.OK


def remove(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Take a model away; where it is loaded, it leaves when its time is over."""
    name = _registry(loaded).remove(args.name)
    terminal.give({"removed": name}, f"{name} is held here no more")
    return Exit.OK


def running(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the models that are loaded."""
    url = where(loaded.settings.home)
    if url is None:
        found = f"nobody serves the models of {loaded.settings.home}"
        raise Unreachable(f"{found}: `nimmerverse models serve`, or `nimmerverse up --part organs.organd`")

    async def ask() -> list[RunningModel]:
        async with OllamaClient(url) as client:
            return await client.running()

    rows = finish(ask())
    lines = [f"{row.name}  {row.size} B  {row.context_length} tokens  until {row.expires_at}" for row in rows]
    terminal.give({"models": msgspec.to_builtins(rows)}, "\n".join(lines) or "no model is loaded")
    return Exit.OK


def serve(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Answer as Ollama does until SIGINT or SIGTERM."""
    configure(loaded.settings.log_level, sys.stderr)

    async def main() -> Exit:
        organ = OrgandOrgan.build(loaded.settings, RealWorld(loaded.settings.env))
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        url = await organ.serve()
        try:
            terminal.give({"url": url}, f"models answer at {url}; stop it with Ctrl-C or SIGTERM")
            await stopping.wait()
        finally:
            await organ.close()
        return Exit.OK

    return finish(main())


def bench(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Measure a model through organd beside llama.cpp asked directly."""
    from deploy.bench.models import measure

    found = finish(measure(loaded.settings, args.name, args.calls))
    told = {name: round(getattr(found, name), 2) for name in (*found.__slots__, "overhead_ms")}
    lines = [
        f"a call: {found.direct_ms:.2f} ms directly, {found.organd_ms:.2f} ms through organd, median of {args.calls}",
        f"the first piece of a stream: {found.first_piece_ms:.2f} ms",
        f"unloaded, its memory back, and loaded again: {found.load_ms:.0f} ms",
        f"its process holds {found.worker_mb:.1f} MB",
    ]
    terminal.give(told, "\n".join(lines))
    return Exit.OK


def _registry(loaded: Loaded) -> Registry:
    return Registry(loaded.settings.home / FOLDER, RealWorld(loaded.settings.env))
