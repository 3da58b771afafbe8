"""A TCP relay to a server of this machine whose connections are cut, or let nothing through in one direction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from shared.constant import constant

HOST = "127.0.0.1"
RELAY_BYTES = constant(65_536, "bytes", "X-07")

Direction = Literal["up", "down"]  #: from a client to the server, and back


class Proxy:
    """Relays connections, on one port all the while, to wherever `target` says that the server listens."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.target, self.port = target, 0
        self._listening: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thawed: dict[Direction, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self.thaw()

    @classmethod
    async def to(cls, target: Callable[[], int]) -> Proxy:
        """Open a relay to a server."""
        proxy = cls(target)
        await proxy.join()
        return proxy

    @property
    def url(self) -> str:
        """Where a client of the bus connects."""
        return f"nats://{HOST}:{self.port}"

    async def join(self) -> None:
        """Let clients through, from now on."""
        self._listening = await asyncio.start_server(self._greet, HOST, self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._listening:
            self._listening.close()
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self, direction: Direction) -> None:
        """Let nothing through in a direction: connections stay open by half, and what is sent waits."""
        self._thawed[direction].clear()

    def thaw(self) -> None:
        """Let everything through again, what waited first, even if whoever sent it is gone."""
        for thawed in self._thawed.values():
            thawed.set()

    async def close(self) -> None:
        """Cut, and leave nothing behind."""
        self.thaw()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        both = [writer]
        try:
            upstream, out = await asyncio.open_connection(HOST, self.target())
            both.append(out)
            self._writers.add(out)
            await asyncio.gather(self._pump(reader, out, "up"), self._pump(upstream, writer, "down"))
        except OSError:
            writer.transport.abort()
        finally:
            for each in both:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()
            self._writers -= set(both)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction) -> None:
        """Carry bytes one way until that side ends."""
        thawed = self._thawed[direction]
        with suppress(OSError):
            while data := await source.read(RELAY_BYTES):
                await thawed.wait()
                sink.write(data)
                await sink.drain()
        await thawed.wait()
        sink.transport.abort() if source.exception() else sink.close()
