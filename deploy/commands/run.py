"""`up`, `tour`, `part` and `sim`: the commands that run something until it ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from deploy.attach import living
from deploy.commands.task import finish
from deploy.load import BUILT_IN, find_part
from deploy.terminal import Terminal
from shared.config import Loaded, redact
from shared.errors import Exit, StorageFault
from shared.home import Running
from shared.journal import configure
from shared.part import Runner
from shared.part.main import sentence, serve, serve_metrics


def up(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Start the servers and every part, and stay until stopped."""
    finish(_up(loaded, terminal, args.part or BUILT_IN))
    return Exit.OK


def tour(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Walk through a living organism; 0 only if every step held."""
    from deploy.tour import QUESTION, take

    report = Path(args.report) if args.report else None
    if report is not None and not report.absolute().parent.is_dir():
        raise StorageFault(
            f"--json {report}: there is no folder {report.absolute().parent}; make it or choose another place"
        )
    stay = terminal.interactive and not args.exit
    models = "none" if args.quick else "anew" if args.retrain else "once"
    question = args.ask
    if question is None and stay:
        told = "  The tour asks one question; Enter takes this one.\n  What shall the math cell compute?"
        question = input(f"{told} [{QUESTION}] ").strip() or None
    held = finish(take(loaded, terminal, question=question, stay=stay, report=report, models=models))
    return Exit.OK if held.ok else Exit.FAILED


def part(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Run one part: beside a running organism, on configured servers, or in an organism of its own."""

    def works(runner: Runner) -> None:
        part = {"part": runner.part.name, "version": runner.part.version}
        terminal.give(part | {"env": runner.bus.env, "greeted": runner.greeted}, sentence(runner))

    cls = find_part(args.name)
    if loaded.settings.nats_url is None and Running.read(loaded.settings) is None:
        where = f"{loaded.settings.home} for {loaded.settings.env}"
        terminal.note(f"nothing runs on {where}: {cls.name} gets an organism of its own")
        finish(_up(loaded, terminal, [args.name]))
    else:
        finish(serve(cls, loaded, works))
    return Exit.OK


def check(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Run the generic checks every part gets for free."""
    from shared.part.checks import check_part

    findings = [asdict(finding) for finding in check_part(find_part(args.name))]
    failed = [f for f in findings if not f["ok"]]
    lines = [f"{'✓' if f['ok'] else '✗'} {f['check']}: {f['detail']}" for f in findings]
    terminal.give({"part": args.name, "ok": not failed, "findings": findings}, "\n".join(lines))
    return Exit.FAILED if failed else Exit.OK


def sim(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Simulate the organism under virtual time and print its log's digest."""
    from deploy.sim_host import Trouble
    from deploy.simulation import run

    outcome = run(args.seed, args.minutes, Trouble.parse(args.faults))
    o = outcome
    text = (
        f"digest {o.digest}\n{o.events} events in {args.minutes:g} simulated minutes of seed {o.seed}; "
        f"{o.answered} of {o.asked} questions answered, {o.decided} decided, {o.crashes} crashes; every invariant held"
    )
    terminal.give(
        {
            "digest": o.digest,
            "events": o.events,
            "seed": o.seed,
            "asked": o.asked,
            "answered": o.answered,
            "decided": o.decided,
            "crashes": o.crashes,
        },
        text,
    )
    return Exit.OK


async def _up(loaded: Loaded, terminal: Terminal, names: list[str] | tuple[str, ...]) -> None:
    configure(loaded.settings.log_level, sys.stderr)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as closing:
        host, organism = await closing.enter_async_context(living(loaded, names))
        env, trust = loaded.settings.env, organism.fingerprint
        parts = {name: f"{r.part.version} ({r.greeted or 'steward'})" for name, r in organism.runners.items()}
        listed = "\n".join(f"  {name} {how}" for name, how in parts.items())
        terminal.give(
            {"url": redact(host.url), "env": env, "trust": trust, "parts": parts},
            f"up in {env} at {redact(host.url)}; trust {trust}\n{listed}\nCtrl-C or SIGTERM stops it",
        )
        sys.stdout.flush()
        closing.callback(serve_metrics(loaded.settings, organism.runners.values()))
        while not stopping.is_set():
            organism.raise_if_broken()
            try:
                async with asyncio.timeout(0.5):
                    await stopping.wait()
            except TimeoutError:
                continue
        terminal.say("draining …", "dim")
