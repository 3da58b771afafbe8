"""Speaking to an organism as its operator: one that runs, a configured server's, or one started for the moment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from deploy.host import OPERATOR, EmbeddedHost, RemoteHost, host_for
from deploy.load import BUILT_IN, find_part
from deploy.organism import Organism
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.config import Loaded
from shared.errors import ConfigFault
from shared.home import Running, nkey_path, place
from shared.part import Part
from shared.version import VERSION
from shared.world import RealWorld, World

Say = Callable[[str], None]


@asynccontextmanager
async def living(
    loaded: Loaded, names: Sequence[str] = BUILT_IN
) -> AsyncGenerator[tuple[EmbeddedHost | RemoteHost, Organism]]:
    """Start a host and an organism of the named parts, and stop both at the end.

    What is not ours may be no part, so it is looked at before anything starts; ours are imported meanwhile.
    """
    classes = {name: find_part(name) for name in names if name not in BUILT_IN}
    host = host_for(loaded.settings)
    ours = [name for name in names if name in BUILT_IN]
    _, found = await asyncio.gather(host.start(), _imported(ours, RealWorld(loaded.settings.env)))
    classes |= found
    organism = Organism(host, loaded)
    try:
        settings = loaded.settings.model_copy(update={"database_url": host.database_url or None})
        chosen = [name for name in names if name != "organs.records" or host.database_url]
        await organism.start([classes[name].build(settings, host.world(name)) for name in chosen])
        gc.freeze()  # every part lives as long as this process: a collection that looks at all of them is a pause
        host.announce(organism.fingerprint)
        yield host, organism
    finally:
        await organism.stop()
        await host.stop()


async def _imported(names: Sequence[str], world: World) -> dict[str, type[Part]]:
    """Import parts, and let whatever else starts come to its turn after each."""
    found = dict[str, type[Part]]()
    for name in names:
        found[name] = find_part(name)
        await world.sleep(0)
    return found


@asynccontextmanager
async def operator(loaded: Loaded, say: Say, names: Sequence[str] = BUILT_IN) -> AsyncGenerator[Bus]:
    """Yield a bus that may speak to every part and read the log.

    If none can be found an organism of its own is started, with the named parts.
    """
    settings = loaded.settings
    running = Running.read(settings) if settings.nats_url is None else None
    if running is not None:
        wire = await connect(
            running.url, OPERATOR, nkey=nkey_path(settings, OPERATOR), private_inbox=False, fast=settings.fast
        )
    elif settings.nats_url is not None:
        wire = await connect(
            settings.nats_url,
            OPERATOR,
            nkey=settings.nats_nkey,
            creds=settings.nats_creds,
            private_inbox=False,
            fast=settings.fast,
        )
    else:
        nothing = f"nothing runs on {settings.home} for {settings.env}"
        say(f"{nothing}: starting an organism for this command (`nimmerverse up` keeps one)")
        async with living(loaded, names) as (host, _):
            bus = Bus(RealWorld(settings.env), await host.wire(OPERATOR), OPERATOR, VERSION, [])
            try:
                yield bus
            finally:
                await bus.drain()
        return
    bus = Bus(RealWorld(settings.env), wire, OPERATOR, VERSION, [])
    try:
        yield bus
    finally:
        await bus.drain()


@asynccontextmanager
async def reader(loaded: Loaded) -> AsyncGenerator[Bus]:
    """Yield a bus that reads the log and changes nothing: where nothing runs, the bus's server alone is started.

    ConfigFault where there is no log to read.
    """
    settings = loaded.settings
    if settings.nats_url is not None or Running.read(settings) is not None:
        async with operator(loaded, lambda _: None) as bus:
            yield bus
        return
    if not (place(settings) / "nats").exists():
        raise ConfigFault(f"there is no log of {settings.env} in {settings.home}; the first `nimmerverse up` makes one")
    host = EmbeddedHost(settings)
    await host.start(database=False)
    try:
        bus = Bus(RealWorld(settings.env), await host.wire(OPERATOR), OPERATOR, VERSION, [])
        try:
            yield bus
        finally:
            await bus.drain()
    finally:
        await host.stop()
