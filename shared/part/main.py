"""A part as a process of its own: `python -m cells.math_cell`, a container, or `nimmerverse part` beside what runs.

It needs the bus's address and its own connection key; only a part that decides needs a signing key. SIGTERM drains it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.bus import Bus, Wire, at_work
from shared.bus.connecting import connect
from shared.config import Loaded, load
from shared.constant import constant
from shared.errors import UNJUDGED, ConfigFault, Exit, Fault, Refusal, Refused, Unreachable
from shared.home import Keys, Running, nkey_path
from shared.journal import configure, record
from shared.keys import Signer
from shared.part.declare import Part, declaration
from shared.part.grant import FRESH_KEY, endorse, grant_request
from shared.part.metrics import serve as serve_on
from shared.part.runner import Runner
from shared.settings import Settings
from shared.world import RealWorld, World

OPERATOR = "operator"
OWNER = "host"
LOOK_S = constant(0.5, "s", "X-07")


Worlds = Callable[[str], World]


def main(part: type[Part], worlds: Worlds = RealWorld, through: str = "") -> int:
    """Run one part from the environment's settings until SIGTERM; return the exit code. For the rest see `serve`."""
    try:
        loaded = load(os.environ, {}, socket.gethostname())
        asyncio.run(serve(part, loaded, worlds=worlds, through=through))
    except (Fault, Refused) as failure:
        sys.stderr.write(f"{part.name}: {failure}\n")
        return int(failure.exit if isinstance(failure, Fault) else Exit.REFUSED)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)


def say_it_works(runner: Runner) -> None:
    """Print that a part works, and how to stop it."""
    sys.stdout.write(f"{sentence(runner)}\n")
    sys.stdout.flush()


def sentence(runner: Runner) -> str:
    """Return what people are told when a part works."""
    part, env = runner.part, runner.bus.env
    return f"{part.name} {part.version} works in {env} ({runner.greeted}); stop it with Ctrl-C or SIGTERM"


async def serve(
    cls: type[Part],
    loaded: Loaded,
    works: Callable[[Runner], None] = say_it_works,
    *,
    worlds: Worlds = RealWorld,
    through: str = "",
) -> None:
    """Join the bus the settings point to, be granted where that is needed, and work until SIGTERM or SIGINT.

    `works` is called once, when the part has started. Beside an organism that ends, the part waits for the next one.
    `worlds` makes the World of an environment; `through` is a running organism's bus where another address leads to it.
    """
    settings = loaded.settings
    configure(settings.log_level, sys.stderr)
    running = Running.read(settings) if settings.nats_url is None else None
    if settings.nats_url is None and running is None:
        raise ConfigFault(
            f"no bus to join: nothing runs on {settings.home} for {settings.env}; start `nimmerverse up` there, or set "
            "NIMMERVERSE_NATS_URL to a server's address"
        )

    def start(running: Running | None) -> Coroutine[Any, Any, Runner]:
        reached = replace(running, url=through or running.url) if running else None
        return _started(cls, settings, reached, worlds(settings.env))

    carried = [await start(running)]
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    served = serve_metrics(settings, carried)
    works(carried[0])
    try:
        while await _outlived(carried[0], settings, running, stopping):
            record(cls.name, "part_waits")
            joined = await _joined_next(settings, start, stopping)
            if joined is None:
                return
            running, carried[0] = joined
    finally:
        served()


def serve_metrics(settings: Settings, runners: Collection[Runner]) -> Callable[[], None]:
    """Serve Prometheus metrics where the settings ask for it; return the close."""
    if settings.metrics_port is None:
        return lambda: None
    port, close = serve_on(settings.metrics_port, runners)
    sys.stderr.write(f"metrics at http://127.0.0.1:{port}/metrics\n")
    return close


async def _started(cls: type[Part], settings: Settings, running: Running | None, world: World) -> Runner:
    """Return a runner of the part, granted and started."""
    if running is not None:
        settings = settings.model_copy(update={"database_url": settings.database_url or running.database_url})
    part = cls.build(settings, world)
    signers = await _keys(part, settings, running, world)
    wire = await _connect(settings, running, part.name)
    working = [at_work(signer, world, wire, part.name, part.version) for signer in signers]
    runner = Runner(
        part, Bus(world, wire, part.name, part.version, working), beat_s=settings.beat_ms / 1000, alone=True
    )
    await runner.start()
    return runner


async def _outlived(runner: Runner, settings: Settings, running: Running | None, stopping: asyncio.Event) -> bool:
    """Wait for the stop, for a broken part or for the organism's end, then drain; say whether the organism ended.

    The next one does not know this part's connection: what was granted has to be asked for again.
    """
    try:
        while not await _within(stopping):
            runner.raise_if_broken()
            if running is not None and not runner.bus.wire.connected and Running.read(settings) != running:
                return True
        return False
    finally:
        await runner.stop()


async def _joined_next(
    settings: Settings, start: Callable[[Running], Awaitable[Runner]], stopping: asyncio.Event
) -> tuple[Running, Runner] | None:
    """Wait until another organism runs on this home, and join it; None at the stop.

    One that cannot be reached, or does not answer, may be just about to end too, so it is tried again.
    """
    while True:
        running = Running.read(settings)
        if running is not None:
            try:
                return running, await start(running)
            except Unreachable as fault:
                record("part", "join_failed", detail=str(fault))
        if await _within(stopping):
            return None


async def _within(stopping: asyncio.Event) -> bool:
    """Say whether the stop was asked for within a moment."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await stopping.wait()
    except TimeoutError:
        return False


async def _keys(part: Part, settings: Settings, running: Running | None, world: World) -> list[Signer]:
    """Return the part's signing keys, after the steward of a running organism has admitted the part."""
    declared = declaration(part)
    if running is None and not declared.decides() and not part.holds_key:
        return []
    keys = Keys(settings, world)
    signer = keys.signer(part.name, OWNER)
    if running is not None:
        nkey = keys.nkey(part.name)
        asked = grant_request(declared, settings.env, nkey, signer, OWNER)
        operator = Bus(world, await _connect(settings, running, OPERATOR), OPERATOR, part.version, [])
        try:
            answer = await operator.request(asked, timeout_s=15)
            if isinstance(answer, Refusal) and answer.detail.startswith(FRESH_KEY):
                # the old secret is kept until the log knows the new key, so a crash between can be repeated
                new = keys.stage_rotation(part.name)
                again = grant_request(declared, settings.env, nkey, new, OWNER)
                answer = await operator.request(endorse(again, settings.env, signer), timeout_s=15)
                if not isinstance(answer, Refusal):
                    signer = keys.commit_rotation(part.name)
        finally:
            await operator.drain()
        if isinstance(answer, Refusal):
            if answer.code in UNJUDGED:
                raise Unreachable(f"the steward does not grant {part.name} now: {answer}")
            raise Refused(answer)
    return [signer]


async def _connect(settings: Settings, running: Running | None, name: str) -> Wire:
    if running is not None:
        return await connect(
            running.url, name, nkey=nkey_path(settings, name), private_inbox=name != OPERATOR, fast=settings.fast
        )
    assert settings.nats_url is not None
    nkey: Path | None = settings.nats_nkey
    return await connect(settings.nats_url, name, nkey=nkey, creds=settings.nats_creds, fast=settings.fast)
