"""Taking a stream out of a server and putting it back as it was: sequences and times are kept (JetStream snapshots)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.constant import constant
from shared.errors import LogFault, StorageFault, Unreachable

SNAPSHOT_CHUNK_BYTES = constant(65_536, "bytes", "X-04")
SNAPSHOT_PATIENCE_S = constant(30.0, "s", "X-07")  #: between two chunks


async def take(client: Client, stream: str, write: Callable[[bytes], None]) -> dict[str, Any]:
    """Write a stream's snapshot chunk by chunk; return its configuration and state.

    LogFault where the server itself finds the stream damaged, Unreachable where it falls silent.
    """
    inbox, ended = client.new_inbox(), asyncio.Event()
    alive = asyncio.Event()
    status = ""

    async def receive(message: Msg) -> None:
        nonlocal status
        alive.set()
        if not message.data:
            status = (message.headers or {}).get("Status", "")
            ended.set()
            return
        write(message.data)
        if message.reply:
            await client.publish(message.reply, b"")

    hearing = await client.subscribe(inbox, cb=receive)  # pyright: ignore[reportUnknownMemberType] - its stubs
    try:
        asked = {"deliver_subject": inbox, "no_consumers": True, "jsck": True, "chunk_size": SNAPSHOT_CHUNK_BYTES}
        told = await _ask(client, f"$JS.API.STREAM.SNAPSHOT.{stream}", asked)
        while not ended.is_set():
            alive.clear()
            async with asyncio.timeout(SNAPSHOT_PATIENCE_S):
                await alive.wait()
    except TimeoutError:
        raise Unreachable(f"the snapshot of {stream} fell silent for {SNAPSHOT_PATIENCE_S:g} s") from None
    finally:
        await hearing.unsubscribe()
    if status not in ("", "204"):
        raise LogFault(f"the server broke off the snapshot of {stream} (status {status})")
    return {"config": told["config"], "state": told["state"]}


async def put_back(client: Client, told: dict[str, Any], chunks: Iterable[bytes]) -> None:
    """Make a stream again from its snapshot, on a server that has none of its name."""
    name = told["config"]["name"]
    answer = await _ask(client, f"$JS.API.STREAM.RESTORE.{name}", {"config": told["config"], "state": told["state"]})
    for chunk in (*chunks, b""):
        try:
            said = await client.request(answer["deliver_subject"], chunk, timeout=SNAPSHOT_PATIENCE_S)
        except NatsError as error:
            raise Unreachable(f"the server took no more of {name} ({type(error).__name__})") from error
        _check(json.loads(said.data) if said.data.startswith(b"{") else {}, f"restoring {name}")


async def _ask(client: Client, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await client.request(subject, json.dumps(body).encode(), timeout=SNAPSHOT_PATIENCE_S)
    except NatsError as error:
        raise Unreachable(f"JetStream does not answer {subject} ({type(error).__name__})") from error
    told: dict[str, Any] = json.loads(answer.data)
    _check(told, subject)
    return told


def _check(told: dict[str, Any], what: str) -> None:
    if "error" in told:
        text = f"{what}: {told['error'].get('description')} ({told['error'].get('err_code')})"
        raise StorageFault(text) if "resource" in text or "storage" in text else LogFault(text)
