"""What `bench bus` is compared with: raw nats-py and FastStream, each as its own documentation has it done.

Nothing here is used by the product. Both clients are untyped here: their own annotations leave most of it open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from nats.aio.client import Client

from shared.constant import constant

FETCH = constant(100, "messages", "X-07")
Decode = Callable[[bytes], object]


class Message(Protocol):
    """What a message of either is used for here."""

    @property
    def data(self) -> bytes: ...

    @property
    def body(self) -> bytes: ...

    async def respond(self, data: bytes) -> None: ...


class RawNats:
    """nats-py alone, on a connection of its own."""

    def __init__(self) -> None:
        self.client: Any = Client()

    async def connect(self, url: str, seed_file: Path) -> None:
        """Connect as the product does: with an nkey."""
        await self.client.connect(url, nkeys_seed=str(seed_file))
        self.stream: Any = self.client.jetstream()

    async def handle(self, stream: str, durable: str, count: int, decode: Decode, batch: int = FETCH) -> None:
        """Fetch, decode and acknowledge so many messages of a durable consumer."""
        subscription = await self.stream.pull_subscribe_bind(durable, stream)
        done = 0
        while done < count:
            for message in await subscription.fetch(min(batch, count - done), timeout=5):
                decode(message.data)
                await message.ack()
                done += 1
        await self.client.flush()
        await subscription.unsubscribe()

    async def publish(self, messages: Iterable[tuple[str, bytes]], in_flight: int) -> None:
        """Publish with `publish_async`, so many at a time, unconditionally: what it is asked is less than ours does."""
        stream: Any = self.client.jetstream(publish_async_max_pending=in_flight)
        for subject, data in messages:
            await stream.publish_async(subject, data)
        await stream.publish_async_completed()

    async def replay(self, stream: str, pattern: str, count: int, decode: Decode) -> None:
        """Read a stream with the ordered consumer's callback."""
        done, seen = asyncio.Event(), 0

        async def hear(message: Message) -> None:
            nonlocal seen
            decode(message.data)
            seen += 1
            if seen == count:
                done.set()

        subscription = await self.stream.subscribe(pattern, stream=stream, cb=hear, ordered_consumer=True)
        await done.wait()
        await subscription.unsubscribe()

    async def answer(self, subject: str) -> None:
        """Answer every request with its own bytes."""

        async def echo(message: Message) -> None:
            await message.respond(message.data)

        await self.client.subscribe(subject, cb=echo)
        await self.client.flush()  # its ping overtakes the subscription; the next one's does not
        await self.client.flush()

    async def close(self) -> None:
        """Disconnect."""
        await self.client.close()


def faststream() -> Any:  # noqa: ANN401 - a module that need not be installed
    """Return FastStream's module for NATS, or None where the extra `bench` is not installed."""
    try:
        return import_module("faststream.nats")
    except ImportError:
        return None


class FastStream:
    """FastStream's pull subscriber, on a broker of its own; it decodes with the same function."""

    def __init__(self, url: str, seed_file: Path, decode: Decode) -> None:
        self.nats, self.decode = faststream(), decode
        security = self.nats.NatsNKey.from_seed(seed_file.read_text().strip())
        self.broker: Any = self.nats.NatsBroker(url, security=security, apply_types=False, logger=None)

    async def connect(self) -> None:
        """Connect, and start the broker: what is measured begins with a subscription, as on the other sides."""
        await self.broker.start()

    async def handle(self, stream: str, durable: str, pattern: str, count: int) -> None:
        """Handle so many messages of a durable consumer."""
        done, seen = asyncio.Event(), 0

        async def read(message: Message) -> object:
            return self.decode(message.body)

        async def handle(_: object) -> None:
            nonlocal seen
            seen += 1
            if seen == count:
                done.set()

        subscriber = self.broker.subscriber(
            pattern,
            stream=self.nats.JStream(stream, declare=False),
            durable=durable,
            pull_sub=self.nats.PullSub(batch_size=FETCH),
            decoder=read,
        )
        subscriber(handle)
        await subscriber.start()
        await done.wait()
        await subscriber.stop()

    async def close(self) -> None:
        """Stop the broker."""
        await self.broker.stop()
