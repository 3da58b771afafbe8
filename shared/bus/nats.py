"""The wire to a real nats-server, over nats-py; `shared/bus/connecting.py` opens it.

Traps of the client that this module steps around, each with a test in tests/faults: ordered consumers that lose
messages, `publish_async` futures that never resolve, pull requests that die on reconnect, publishes buffered while
disconnected and then gone, frozen links noticed after minutes, permission violations that reach only the error
callback, a read loop that ends when a pong finds its waiter gone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError, SlowConsumerError
from nats.errors import TimeoutError as NatsTimeout

from shared.bus.answers import NOBODY, Answers, read_delivery
from shared.bus.fastlane import Ear, Steady
from shared.bus.lines import Headers, read_headers
from shared.bus.pull import Pull
from shared.bus.refusals import Refusals
from shared.bus.wire import READ_BATCH, Consumer, Delivery, Moved, Sink, Subscription
from shared.constant import constant
from shared.errors import Fault, NoStream, Refusal, Refused, StorageFault, Unanswered, Unreachable, Unresolved
from shared.journal import record
from shared.log.entry import Entry

CONNECT_S = constant(5, "s", "X-07")
READ_S = constant(2.0, "s", "X-07")  #: for so many entries; who was asked may have died with the question
READ_ROUND = constant(50, "entries", "X-07")
RECONNECT_S = constant(0.05, "s", "X-07")
PONG_S = constant(60, "s", "X-07")  #: longer than a silent link lives
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
BATCH = "Nats-Batch-Id"
COMMIT = "Nats-Batch-Commit"
MOVED = 10071  #: wrong last sequence
IN_FLIGHT = 10164  #: another append to the lane is not settled yet; in a cluster without a majority for long
FULL = (10023, 10047, 10077, 10122)  #: insufficient resources, storage or account limits, maximum messages or bytes
#: What the server says of a stored entry; datetime would round its nanoseconds.
STORED = re.compile(rb"\r\nNats-Subject: ([^\r]+)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: ([^\r]+)\r\n")


class _Heard:
    """A subscription of a wire; closing it loses nothing that the server sent before."""

    def __init__(self, ear: Ear, flush: Callable[[], Awaitable[None]]) -> None:
        self._ear, self._flush = ear, flush

    async def close(self) -> None:
        """Have the server send nothing more, hear what it sent, and end."""
        try:
            await self._ear.hush()
            with suppress(Unreachable):  # the link is gone, and with it what was under way
                await self._flush()
            await self._ear.heard()
        finally:
            await self._ear.close()


class NatsWire:
    """One identity's connection to a nats-server; reconnects for ever, and never buffers while disconnected."""

    def __init__(self, client: Steady, identity: str) -> None:
        self.client, self.identity = client, identity
        self.slow = 0  #: messages dropped because a subscription's queue was full
        self._answers = Answers(client)
        self.refusals = Refusals(identity, self._answers.waiting)
        self._pulls: list[Pull] = []
        self._pings: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    @property
    def replicated(self) -> bool:
        return "cluster" in self.client._server_info  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the version is pinned

    def inbox(self) -> str:
        return self.client.new_inbox()

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        self._check_link()
        self.refusals.check("publish", subject)
        try:
            await self.client.send(subject, data, reply, headers)
        except NatsError as error:
            raise Unreachable(f"{self.identity} cannot publish on {subject}: {error}") from error

    async def confirm(self, subject: str) -> None:
        await self.refusals.race("publish", [subject], self._flush())
        self.refusals.check("publish", subject)

    async def subscribe(self, pattern: str, sink: Sink, queue: str = "") -> Subscription:
        loop = asyncio.get_running_loop()

        def hear(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
            loop.call_soon(sink, read_delivery(subject, reply, headers, data))  # what it raises is the loop's to tell

        self._check_link()
        ear = await self.client.listen(pattern, hear, queue)
        try:
            await self.refusals.race("subscribe", [pattern], self._flush())
        except Fault:
            await ear.close()
            raise
        return _Heard(ear, self._flush)

    async def request(self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float) -> Delivery:
        try:
            return await self._ask([subject], data, headers, timeout_s)
        except NoRespondersError:
            raise Refused(Refusal("B006", f"nobody listens on {subject}")) from None
        except NatsTimeout:
            raise Refused(Refusal("B006", f"no answer on {subject} within {timeout_s} s")) from None

    async def append(self, batch: Sequence[tuple[str, bytes]], lane: str, last: int, timeout_s: float) -> int:
        expected = {EXPECTED: str(last + 1), f"{EXPECTED}-Subject": f"{lane}.>"}
        subject = batch[-1][0]
        try:
            if len(batch) == 1:
                answer = await self._ask([subject], batch[0][1], expected, timeout_s)
            else:
                answer = await self._ask_batch(batch, expected, timeout_s)
        except NoRespondersError:
            why = "its cluster has no leader now" if self.replicated else "the steward creates the log's stream"
            raise Unreachable(f"no stream stores {subject}; {why}") from None
        except NatsTimeout:
            raise Unresolved(f"no acknowledgement on {lane} within {timeout_s} s") from None
        return _stored(answer.data, lane, last)

    async def swap(self, subject: str, data: bytes, last: int, timeout_s: float) -> int:
        headers = {EXPECTED: str(last + 1)} | ({} if data else {"KV-Operation": "DEL"})
        try:
            answer = await self._ask([subject], data, headers, timeout_s)
        except NoRespondersError:
            why = "its cluster has no leader now" if self.replicated else "the steward creates it"
            raise Unreachable(f"no bucket keeps {subject}; {why}") from None
        except NatsTimeout:
            raise Unresolved(f"no acknowledgement on {subject} within {timeout_s} s") from None
        return _stored(answer.data, subject, last)

    async def read(self, stream: str, start: int, pattern: str = "", limit: int = READ_BATCH) -> list[Entry]:
        body: dict[str, Any] = {"seq": start + 1, "batch": limit}
        if pattern:
            body["next_by_subj"] = pattern
        return (await self._read(stream, body))[0]

    async def horizon(self, stream: str, pattern: str, start: int) -> tuple[int, int]:
        found, end = await self._read(stream, {"seq": start + 1, "multi_last": [pattern]})
        return max((entry.index for entry in found), default=-1), int(end.get("Nats-UpTo-Sequence", 0)) - 1

    async def _read(self, stream: str, body: dict[str, Any]) -> tuple[list[Entry], Mapping[str, str]]:
        """Return the entries of one direct get and the headers that ended it."""
        self._check_link()
        subject = f"$JS.API.DIRECT.GET.{stream}"
        work = self._collected(subject, json.dumps(body).encode())
        found, end = await self.refusals.race("publish", [subject], work)
        status = end.get("Status", "")
        if status == NOBODY:
            raise NoStream(f"no server has the stream {stream}; it was deleted, or its folder is not the one it was")
        if not status:
            raise Unanswered(f"reading {stream}: not answered within {READ_S} s")
        if status not in ("204", "404"):
            raise Unreachable(f"reading {stream}: {status} {end.get('Description', 'no stream answers')}")
        return found, end

    async def _collected(self, subject: str, body: bytes) -> tuple[list[Entry], Mapping[str, str]]:
        found: list[Entry] = []
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Mapping[str, str]] = loop.create_future()
        patience = asyncio.timeout(READ_S)

        def collect(_: bytes, __: bytes, headers: bytes, data: bytes) -> None:
            entry = _entry(headers, data)  # a stored entry, whatever headers its writer gave it
            if entry is not None:
                found.append(entry)
                if len(found) % READ_ROUND == 0 and not patience.expired():
                    patience.reschedule(loop.time() + READ_S)
            elif not done.done():
                done.set_result(read_headers(headers))

        close: Callable[[], object] | None = None
        try:
            async with patience:
                close = await self._answers.hear(subject, body, collect)
                return found, await done
        except (TimeoutError, NatsError):
            return found, {}
        finally:
            if close is not None:
                close()

    async def last(self, stream: str, pattern: str) -> Entry | None:
        body = json.dumps({"last_by_subj": pattern}).encode()
        try:
            answer = await self._ask([f"$JS.API.DIRECT.GET.{stream}"], body, None, READ_S)
        except NoRespondersError:
            raise NoStream(f"there is no stream {stream}") from None
        except NatsTimeout:
            raise Unanswered(f"reading {stream}: not answered within {READ_S} s") from None
        headers = answer.headers
        return _entry(headers.raw, answer.data) if isinstance(headers, Headers) else None

    async def consume(self, stream: str, durable: str, consumer: Consumer) -> Subscription:
        self._check_link()
        pull = Pull(self.client, stream, durable, consumer)
        self._pulls.append(pull)
        try:
            await self.refusals.race("publish", [pull.subject], self._start(pull))
        except Fault:
            await pull.close()
            raise
        return pull

    async def _start(self, pull: Pull) -> None:
        await pull.start()
        await self._flush()
        if pull.unanswered:
            raise Unreachable(f"no durable consumer {pull.durable} on {pull.stream}; the steward creates it")

    async def close(self) -> None:
        """Stop pulling first (nats-py's drain stalls on unfetched messages), then flush and close."""
        self._closing = True
        for pull in self._pulls:
            await pull.close()
        with suppress(Unreachable):  # the link went down while closing: nothing is left that could be flushed
            await self._flush()
        try:
            with suppress(OSError):  # the link broke under the last bytes: closed all the same
                await self.client.close()
        finally:
            await self._end_reconnecting()

    async def _end_reconnecting(self) -> None:
        """End what reconnects: nats-py cancels it once, which `wait_for` may swallow, and then it goes on for ever."""
        task = self.client._reconnection_task  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the version is pinned
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=RECONNECT_S)

    async def on_error(self, error: Exception) -> None:
        """Learn what the server refused; nats-py reports it here alone, in lower case."""
        self.refusals.hear(str(error))
        if isinstance(error, SlowConsumerError):
            self.slow += 1

    async def on_disconnect(self) -> None:
        """Tell whoever waits for an answer that none can come."""
        self.refusals.lose()
        if not self._closing:
            record(self.identity, "link_lost")

    async def on_reconnect(self) -> None:
        """Pull again: the server forgot the requests."""
        record(self.identity, "link_back")
        for pull in self._pulls:
            pull.again()

    async def _ask(
        self, subjects: Sequence[str], data: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Delivery:
        """Request on the last of `subjects`; a refusal of any of them ends the wait."""
        self._check_link()
        try:
            return await (await self._answers.ask(subjects, data, headers, timeout_s))
        except (NoRespondersError, NatsTimeout):
            raise
        except NatsError as error:
            raise Unreachable(f"{self.identity} cannot ask on {subjects[-1]}: {error}") from error

    async def _ask_batch(
        self, batch: Sequence[tuple[str, bytes]], expected: dict[str, str], timeout_s: float
    ) -> Delivery:
        name = self.client.new_inbox().rsplit(".", 1)[1]
        for place, (subject, raw) in enumerate(batch, 1):
            headers = {BATCH: name, "Nats-Batch-Sequence": str(place)} | (expected if place == 1 else {})
            if place == len(batch):
                subjects = [sent for sent, _ in batch]
                return await self._ask(subjects, raw, headers | {COMMIT: "1"}, timeout_s)
            if place == 1:
                opened = await self._ask([subject], raw, headers, timeout_s)
                if opened.data:
                    return opened
            else:
                await self.publish(subject, raw, headers)
        raise AssertionError("an atomic batch has at least one entry")

    async def _flush(self) -> None:
        """Return when the server has seen what was sent.

        The ping itself is never given up while the link lives: a pong whose waiter is gone ends nats-py's read loop.
        """
        self._check_link()
        ping = asyncio.ensure_future(self.client.flush(timeout=PONG_S))
        self._pings.add(ping)
        ping.add_done_callback(self._ponged)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.shield(ping)
        except (TimeoutError, NatsError):
            raise Unreachable("the bus does not answer; it may be restarting") from None

    def _ponged(self, ping: asyncio.Task[None]) -> None:
        self._pings.discard(ping)
        if not ping.cancelled():
            ping.exception()  # looked at: whoever waited has given up already

    def _check_link(self) -> None:
        if not self.client.is_connected:
            raise Unreachable(f"{self.identity} has no link to the bus at the moment")


def _entry(raw: bytes, data: bytes) -> Entry | None:
    """Read a direct-get answer; None for a status.

    The server's own headers stand last, behind whatever a writer gave his message; read through nats-py, they may not.
    """
    if found := STORED.match(raw, raw.rfind(b"\r\nNats-Subject: ")):
        subject, sequence, stamp = found.groups()
        return Entry(int(sequence) - 1, subject.decode(), nanoseconds(stamp.decode()), data)
    headers = read_headers(raw)
    if "Nats-Sequence" not in headers:
        return None
    time_ns = nanoseconds(headers["Nats-Time-Stamp"])
    return Entry(int(headers["Nats-Sequence"]) - 1, headers["Nats-Subject"], time_ns, data)


def nanoseconds(stamp: str) -> int:
    """Return RFC 3339 with up to nine fractional digits (`2026-01-01T00:00:00.123456789Z`) as nanoseconds."""
    whole, _, rest = stamp.removesuffix("Z").partition(".")
    return _second_ns(whole) + int(rest.ljust(9, "0") or 0)


@lru_cache(maxsize=64)
def _second_ns(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp + "+00:00").timestamp()) * 1_000_000_000


class _ApiError(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    error: _ApiError | None = None


_read_ack = msgspec.json.Decoder(_Ack).decode


def _stored(data: bytes, lane: str, last: int) -> int:
    try:
        ack = _read_ack(data)
    except msgspec.MsgspecError as strange:
        raise Unresolved(f"what came in the place of an acknowledgement on {lane} is none: {strange}") from None
    error = ack.error
    if error is None:
        return ack.seq - 1
    if error.err_code == MOVED:
        raise Moved(lane, last, int(error.description.rpartition(": ")[2]) - 1)
    if error.err_code == IN_FLIGHT:
        raise Unresolved(f"another append to {lane} is in flight, and may have been this one")
    if error.err_code in FULL or "storage" in error.description or "resource" in error.description:
        raise StorageFault(
            f"the {'bucket' if lane.startswith('$KV.') else 'log'} cannot be written: {error.description} "
            f"({error.err_code}); free disk space or raise the quota"
        )
    raise Unresolved(f"the server refused an append on {lane}: {error.description} ({error.err_code})")
