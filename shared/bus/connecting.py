"""Connecting to a real nats-server: one identity's wire, once the server has taken it, or one clear sentence why not.

One more trap of nats-py is stepped around here, with a test in tests/faults: a connect that swallows its own
cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from nats.errors import Error as NatsError

from shared.bus.fastlane import Steady
from shared.bus.nats import CONNECT_S, RECONNECT_S, NatsWire
from shared.bus.stock import prepare_for
from shared.bus.wire import INBOX, inbox_prefix
from shared.config import redact
from shared.constant import constant
from shared.errors import Unreachable

PING_S = constant(2, "s", "X-07")
CANCEL_AGAIN_S = constant(0.1, "s", "X-07")


async def _insist(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Wait for `work`; TimeoutError after so many seconds. A cancellation that it swallows is repeated."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
    if not done:
        if not task.cancelled():
            task.exception()
        raise TimeoutError
    task.result()


async def connect(  # noqa: PLR0913 - each says one thing of a connection
    url: str,
    identity: str,
    *,
    nkey: Path | None = None,
    creds: Path | None = None,
    private_inbox: bool = True,
    fast: bool = True,
) -> NatsWire:
    """Return a wire to `url`, of several with commas between to any that answers.

    Unreachable with one clear sentence when no server answers or it refuses the identity.
    """
    wires: list[NatsWire] = []

    async def on_error(error: Exception) -> None:
        for wire in wires:
            await wire.on_error(error)

    async def on_disconnect() -> None:
        for wire in wires:
            await wire.on_disconnect()

    async def on_reconnect() -> None:
        for wire in wires:
            await wire.on_reconnect()

    servers = url.split(",")
    prepare_for(servers)
    options: dict[str, Any] = {  # floats, which nats-py takes and types as int
        "reconnect_time_wait": RECONNECT_S,
        "connect_timeout": CONNECT_S / len(servers),
    }
    if nkey is not None:
        options["nkeys_seed"] = str(nkey)
    if creds is not None:
        options["user_credentials"] = str(creds)
    prefix = inbox_prefix(identity) if private_inbox else INBOX
    client = Steady(fast=fast)
    try:
        await _insist(
            client.connect(  # pyright: ignore[reportUnknownMemberType] - nats-py leaves some options untyped
                servers,
                name=identity,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                max_reconnect_attempts=-1,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                inbox_prefix=prefix.encode(),
                allow_reconnect=True,
                **options,
            ),
            CONNECT_S,
        )
    except (TimeoutError, OSError, NatsError) as error:
        await client.close()
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise Unreachable(
            f"no usable nats-server at {redact(url)} for {identity} ({why}); start one with `nimmerverse up`"
        ) from None
    wire = NatsWire(client, identity)
    wires.append(wire)
    return wire
