"""Three real nats-servers as one cluster on loopback, whose members are killed, frozen, left down and started again."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from deploy.embedded import Member, NatsServer
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.errors import Fault, Refused
from tests.ground import ANY, ENV, LOG, NatsGround

MEMBERS = 3
PATIENCE_S = 30.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, all of them different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class ClusterGround(NatsGround):
    """A cluster of real servers, each with the same accounts; every stream is kept by all of them."""

    copies = MEMBERS

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, links=False)
        routes = free_ports(MEMBERS)
        self.servers = {
            name: NatsServer(folder / name, self._accounts(), member=Member(name, route, tuple(routes)))
            for name, route in zip("abc", routes, strict=True)
        }

    @property
    def url(self) -> str:
        """Every member's address."""
        return ",".join(server.url for server in self.servers.values())

    async def wire(
        self,
        identity: str,
        publish: tuple[str, ...] = ANY,
        subscribe: tuple[str, ...] = ANY,
        durables: tuple[str, ...] = (),
        at: str = "",
    ) -> NatsWire:
        """Return a new connection of `identity`, to a named member or to any."""
        self._allow(identity, publish, subscribe, durables)
        await self._reload()
        url = self.servers[at].url if at else self.url
        wire = await connect(url, identity, nkey=self._seed_file(identity))
        self._wires[wire] = None
        return wire

    async def api(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the JetStream API until a leader answers; an error that stays fails the test."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    answer = await self.admin.request(f"$JS.API.{subject}", json.dumps(body).encode(), None, 2.0)
                    found = json.loads(answer.data)
                except (Refused, Fault):
                    await asyncio.sleep(0.05)
                    continue
                if found.get("error", {}).get("code") != 503:
                    break
                await asyncio.sleep(0.05)
        assert "error" not in found, found["error"]
        return found

    async def leader(self, stream: str = LOG) -> str:
        """The member that leads a stream now."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                name = (await self.api(f"STREAM.INFO.{stream}", {}))["cluster"].get("leader", "")
                if name:
                    return name
                await asyncio.sleep(0.02)

    async def crash(self, name: str) -> None:
        """Kill a member with -9, and return when its supervisor has started it again."""
        child = self.servers[name].child
        before = child.restarts
        child.kill9()
        await child.restarted(before + 1)

    async def strike(self) -> None:
        await self.crash(await self.leader())

    async def down(self, name: str) -> None:
        """Kill a member with -9 and leave it down."""
        self.servers[name].child.kill9()
        await self.servers[name].stop()

    async def up(self, name: str) -> None:
        """Start a member that was left down."""
        await self.servers[name].start()

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(server.start() for server in self.servers.values()))
        self.admin = await connect(self.url, "admin", nkey=self._seed_file("admin"))
        await self.create_stream(LOG, f"{ENV}.*.*.event.>")
        return self

    async def __aexit__(self, *_: object) -> None:
        for wire in self._wires:
            await wire.close()
        await self.admin.close()
        await asyncio.gather(*(server.stop() for server in self.servers.values()))

    async def _reload(self) -> None:
        running = [server for server in self.servers.values() if server._running]
        await asyncio.gather(*(server.reload(self._accounts()) for server in running))
