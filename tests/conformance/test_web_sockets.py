"""The bus through web sockets, and what nobody pays for who does not use them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded import find_nats_server
from shared.bus import Delivery
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.errors import Unreachable
from tests.cluster import free_ports
from tests.ground import until

LOADED = "import sys, deploy.cli, deploy.commands.run, shared.part.main; sys.exit('aiohttp' in sys.modules)"


async def reached(url: str) -> NatsWire:
    """Connect as soon as the server is up."""
    while True:
        try:
            return await connect(url, "desk", private_inbox=False)
        except Unreachable:
            await asyncio.sleep(0.05)


@pytest.mark.spec("X-07")
@pytest.mark.filterwarnings("ignore:parameter .timeout.:DeprecationWarning")  # nats-py says it to aiohttp
def test_a_server_is_reached_through_web_sockets(tmp_path: Path) -> None:
    """What is published comes back with its headers through a `ws://` address, and the wire closes."""
    [port], conf = free_ports(1), tmp_path / "nats.conf"
    conf.write_text(f'listen: "127.0.0.1:-1"\nwebsocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n')

    async def body() -> None:
        async with asyncio.timeout(30):
            wire, got = await reached(f"ws://127.0.0.1:{port}"), list[Delivery]()
            await wire.subscribe("trial.said", got.append)
            await wire.publish("trial.said", b"x", {"ce-id": "1"})
            await until(lambda: got)
            assert [Delivery("trial.said", b"x", headers={"ce-id": "1"})] == got
            await wire.close()

    with subprocess.Popen([find_nats_server(), "-c", conf], stderr=subprocess.DEVNULL) as server:
        try:
            asyncio.run(body())
        finally:
            server.kill()


@pytest.mark.spec("X-07")
def test_who_uses_no_web_sockets_loads_none() -> None:
    """The command line and a part of its own start without the library that web sockets take."""
    assert 0 == subprocess.run([sys.executable, "-c", LOADED], check=False).returncode
