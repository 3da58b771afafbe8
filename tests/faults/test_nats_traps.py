"""Each trap of the bus's server and of its Python client that the wire steps around, on a real server."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import psutil
import pytest
from nats.aio.client import Client

from shared.bus import Bus, Delivery, Wire
from shared.bus.connecting import _insist
from shared.bus.nats import READ_S, NatsWire
from shared.codec import decode, encode
from shared.envelope import Verdict
from shared.errors import LogFault, NotPermitted, Refused, Unreachable, Unresolved
from tests.ground import ENV, LOG, Double, Doubled, Felt, Founded, NatsGround, Noted, noted, play_nats, until
from tests.load import Load

Play = Callable[[Callable[[NatsGround], Coroutine[Any, Any, None]]], None]
EVENTS = f"{ENV}.trial.desk.event.>"
NOTED = f"{ENV}.trial.desk.event.a.noted"
DEAD_PORT = 1  #: nobody listens there
ATTEMPTS = 5
OWN = (f"{ENV}.trial.desk.event.*.noted",)
REPLY_NO_TEXT = b"PUB test.trial.felt.ann \xff\xfe 1\r\nx\r\n"
STATUS_NO_TEXT = b"HPUB test.trial.felt.ann 16 17\r\nNATS/1.0 \xff\xfe\xfd\r\n\r\nx\r\n"


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a body on a real server."""
    return lambda body: play_nats(body, tmp_path, links=False)


async def size(bus: Bus) -> int:
    """How many entries the log has, all of them readable."""
    return len([verdict async for verdict in bus.replay()])


def client_of(wire: Wire) -> Client:
    """The stock client under a wire, for doing what the wire would not."""
    assert isinstance(wire, NatsWire)
    return wire.client


# A server that dies or freezes


@pytest.mark.spec("X-07")
def test_closing_ends_what_reconnects(play: Play) -> None:
    """A wire that is closed while the client reconnects leaves nothing behind, even if a cancellation is swallowed."""

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk")
        client = client_of(wire)

        async def stubborn() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

        task = client._reconnection_task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await wire.close()
        assert task.done()

    play(body)


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("ended", [False, True], ids=["calm", "in a cancelled task"])
def test_closing_goes_on_where_the_end_of_the_connection_was_cancelled(play: Play, *, ended: bool) -> None:
    """A wire is closed in order, and who waits on it is told, though what reconnects was cancelled while it waited for
    the same connection's end.

    The stock client's `close` raises that cancellation in whoever closes.
    """

    async def closing(wire: NatsWire, told: list[str]) -> None:
        try:
            await asyncio.sleep(60 if ended else 0)
        finally:
            await wire.close()
            told.append("closed")

    async def body(ground: NatsGround) -> None:
        wire, told = await ground.wire("desk"), list[str]()
        client = client_of(wire)
        transport: Any = client._transport
        reconnecting = client._reconnection_task = asyncio.create_task(transport.wait_closed())
        lost = client._disconnected_cb

        async def disconnected() -> None:
            told.append("disconnected")
            await cast("Callable[[], Coroutine[Any, Any, None]]", lost)()

        client._disconnected_cb = disconnected
        task = asyncio.create_task(closing(cast("NatsWire", wire), told))
        await asyncio.sleep(0)
        if ended:
            task.cancel()
        await asyncio.wait((task,))
        assert (["disconnected", "closed"], ended, True) == (told, task.cancelled(), reconnecting.cancelled())

    play(body)


@pytest.mark.spec("X-07")
def test_who_is_cancelled_while_closing_learns_of_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is cancelled while it waits for the end of its connection is cancelled, and does not go on."""

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk")
        transport: Any = client_of(wire)._transport
        waits = asyncio.Event()

        async def endless() -> None:
            waits.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(transport, "wait_closed", endless)
        task = asyncio.create_task(wire.close())
        await waits.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

    play(body)


@pytest.mark.spec("X-07")
def test_a_cancellation_that_a_refusal_overtakes_ends_the_reconnecting(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled at the very moment at which its server refuses it, a client that reconnects stops, though the refusal
    is all that it is told of: a program that forgot to close it still ends.
    """

    async def overtaken(*_: object) -> None:
        cast("asyncio.Task[None]", asyncio.current_task()).cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        raise ConnectionRefusedError

    async def body(ground: NatsGround) -> None:
        client = client_of(await ground.wire("desk"))
        monkeypatch.setattr(Client, "_connect_to_server", overtaken)
        await ground.server.stop()
        await until(lambda: client._reconnection_task is not None)
        done, _ = await asyncio.wait({cast("asyncio.Task[None]", client._reconnection_task)}, timeout=5)
        monkeypatch.undo()
        assert done
        await ground.server.start()

    play(body)


@pytest.mark.spec("X-07")
def test_attempts_that_fail_after_they_connected_leave_no_connection(tmp_path: Path) -> None:
    """Behind a relay whose server is gone each attempt to reconnect is closed before the next; then the link is back.

    The stock client forgets them: they stay half-open until the collector finds them.
    """

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk")
        link, client = ground.link(wire), client_of(wire)
        alive, link.target = link.target, lambda: DEAD_PORT
        link.cut()
        await link.join()
        [server] = client._server_pool
        gc.disable()
        try:
            await until(lambda: server.reconnects >= ATTEMPTS, 30.0)
            to_link = [each for each in psutil.Process().net_connections("tcp") if each.raddr[1:] == (link.port,)]
        finally:
            gc.enable()
        assert len(to_link) <= 1, to_link
        link.target = alive
        await until(lambda: client.is_connected, 30.0)

    play_nats(body, tmp_path)


@pytest.mark.spec("X-07")
def test_appends_resolve_when_the_server_is_killed(play: Play) -> None:
    """When the server is killed with appends in flight each of them resolves; none is lost, none is stored twice.

    The client's own `publish_async` futures never resolve after a kill.
    """

    async def body(ground: NatsGround) -> None:
        async with asyncio.timeout(30):
            ledger = await Load(ground, 480, 1).run()
        assert (480, 1) == (len(ledger.told), ground.restarts)

    play(body)


@pytest.mark.spec("X-07")
def test_a_pull_survives_the_death_of_the_server(play: Play) -> None:
    """After the server was killed twice a consumer receives what is appended later, in seconds.

    The server forgets pull requests, and the client does not ask again.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS)
        bus = await founded.part()
        got: list[int] = []

        async def handle(verdict: Verdict) -> None:
            got.append(verdict.entry.index)

        reader = await founded.part("reader", durables=("reader",))
        await reader.consume("reader", handle)
        appended = [(await bus.append(noted(ground.world, 0))).index]
        for turn in (1, 2):
            await until(lambda: set(appended) <= set(got))
            ground.kill()
            await until(lambda turn=turn: ground.restarts == turn)
            appended.append((await bus.append(noted(ground.world, turn))).index)
        await until(lambda: set(appended) <= set(got))

    play(body)


@pytest.mark.spec("X-07")
def test_a_closed_consumer_stays_closed_after_a_reconnect(play: Play) -> None:
    """A consumer closed before a reconnect asks for nothing after it, so that its successor receives everything."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS)
        bus, got = await founded.part(), list[int]()

        async def handle(verdict: Verdict) -> None:
            got.append(verdict.entry.index)

        reader = await founded.part("reader", durables=("reader",))
        await (await reader.consume("reader", handle)).close()
        ground.kill()
        await until(lambda: ground.restarts == 1)
        await until(lambda: reader.wire.connected)
        await reader.consume("reader", handle)
        expected = [(await bus.append(noted(ground.world, n))).index for n in range(20)]
        await until(lambda: expected == got)

    play(body)


@pytest.mark.spec("X-07")
def test_a_signal_counted_as_dropped_never_arrives(tmp_path: Path) -> None:
    """While the server is down each emission counts as dropped; none of those is kept back and delivered later.

    The client keeps up to two megabytes of them, delivers them late, and drops them in silence when it gives up.
    """

    async def body(ground: NatsGround) -> None:
        bus, heard = Bus(ground.world, await ground.wire("desk"), "desk", "1", []), list[int]()
        ear = await ground.wire("ear")
        await ear.subscribe(f"{ENV}.trial.>", lambda delivery: heard.append(decode(Felt, delivery.data).n))
        await bus.emit(Felt("ann", 0))
        await ground.cut(bus.wire)
        for n in range(1, 200):
            await bus.emit(Felt("ann", n))
        assert (1, 199) == (bus.counters.emitted, bus.counters.dropped)
        await ground.restore(bus.wire)
        await bus.emit(Felt("ann", 200))
        await until(lambda: 200 in heard)
        assert [0, 200] == heard

    play_nats(body, tmp_path)


@pytest.mark.spec("X-07")
def test_a_frozen_server_is_noticed(play: Play) -> None:
    """With a frozen server an append ends within its deadline, the link counts as down within seconds, and after the
    thaw the same event is in effect once.

    At the client's default pings a frozen link takes six minutes to notice.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        draft, clock = noted(ground.world, 2), asyncio.get_running_loop()
        ground.server.child.send(signal.SIGSTOP)
        start_s = clock.time()
        bus.deadline_s = 3.0
        with pytest.raises(Unresolved):
            await bus.append(draft)
        assert clock.time() - start_s < 10.0
        await until(lambda: not bus.wire.connected)
        with pytest.raises(Unreachable):
            await bus.request(Double(1))
        ground.server.child.send(signal.SIGCONT)
        await until(lambda: bus.wire.connected)
        bus.deadline_s = founded.root.deadline_s
        receipt = await bus.append(draft)
        verdicts = [verdict async for verdict in bus.replay()]
        in_effect = [(v.entry.index, o) for v in verdicts for o, event in v.admitted() if event.id == draft.event_id]
        assert [(receipt.index, receipt.offset)] == in_effect

    play(body)


@pytest.mark.spec("X-07")
def test_a_reading_outlasts_a_server_that_stands_still(play: Play) -> None:
    """What changes nothing is asked again: readings of a server that stood still are answered."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        reader, lane = founded.root, Noted("a", 1).lane(ENV)
        ground.server.child.send(signal.SIGSTOP)
        readings = asyncio.gather(reader.newest(), reader.entries(0), reader.follow(lane))
        await asyncio.sleep(READ_S + 0.5)
        assert not readings.done()
        ground.server.child.send(signal.SIGCONT)
        newest, entries, verdicts = await readings
        assert newest is not None
        assert newest.index == entries[-1].index == verdicts[-1].entry.index

    play(body)


# A client that is silent, or changes what is not its own


@pytest.mark.spec("X-09")
def test_a_violation_is_an_error_of_the_call(play: Play) -> None:
    """Emit, append, batch, request, read and subscribe without permission raise NotPermitted at once.

    The client's own call succeeds in silence, or times out; the violation reaches its error callback alone.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        signer = await founded.introduce("desk")
        wire = await ground.wire("desk", publish=(f"{ENV}.trial.own",), subscribe=(f"{ENV}.trial.own",))
        bus = Bus(ground.world, wire, "desk", "1", [signer])
        await client_of(wire).publish(Felt("ann", 1).subject(ENV), b"")  # the trap: no error
        await client_of(wire).subscribe("other.>")  # the trap: no error
        async with asyncio.timeout(4.0):
            for attempt in (
                bus.emit(Felt("ann", 1)),
                bus.append(noted(ground.world, 1)),
                bus.append_many([noted(ground.world, n) for n in range(3)]),
                bus.request(Double(1)),
                bus.subscribe(f"{ENV}.>", lambda _: None),
                wire.read("LOG_other", 0),
                wire.last("LOG_other", ">"),
            ):
                with pytest.raises(NotPermitted):
                    await attempt
        assert wire.connected

    play(body)


@pytest.mark.spec("X-09")
def test_a_violation_that_nobody_waited_for_is_told_once(play: Play) -> None:
    """A publish that was refused while nobody waited makes the next one raise NotPermitted; once granted, it works."""

    async def body(ground: NatsGround) -> None:
        wire, subject = await ground.wire("desk", publish=(f"{ENV}.trial.own",)), Felt("ann", 1).subject(ENV)

        async def told() -> None:
            while True:
                await wire.publish(subject, b"")
                await asyncio.sleep(0)

        async with asyncio.timeout(5.0):
            with pytest.raises(NotPermitted):
                await told()
        await wire.confirm(f"{ENV}.trial.own")
        with suppress(NotPermitted):  # a second violation may have been on its way
            await wire.publish(subject, b"")
        await ground.permit("desk", (Felt.pattern(ENV),), ())
        await wire.publish(subject, b"")
        await wire.confirm(subject)

    play(body)


@pytest.mark.spec("X-07")
def test_a_refused_subscription_leaves_nothing_behind(play: Play) -> None:
    """A subscription that the server refused is forgotten: no later reconnect asks for it again."""

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk", subscribe=(f"{ENV}.trial.own",))
        before = len(client_of(wire)._subs)
        for _ in range(3):
            with pytest.raises(NotPermitted):
                await wire.subscribe("other.>", lambda _: None)
        assert before == len(client_of(wire)._subs)

    play(body)


@pytest.mark.spec("X-07")
def test_a_wait_that_is_given_up_does_not_deafen_the_wire(play: Play) -> None:
    """After calls that were cancelled while they waited for the server, the next ones are answered at once.

    The client's read loop ends when a pong arrives whose waiter was cancelled or timed out.
    """

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk", subscribe=(f"{ENV}.trial.own",))
        subject = f"{ENV}.trial.own"
        for _ in range(5):
            given_up = [asyncio.ensure_future(wire.confirm(subject)) for _ in range(5)]
            refused = asyncio.ensure_future(wire.subscribe("other.>", lambda _: None))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            with pytest.raises(NotPermitted):
                await refused
        async with asyncio.timeout(4.0):
            await wire.confirm(subject)

    play(body)


@pytest.mark.spec("X-07")
def test_a_pong_follows_all_that_was_said_before(play: Play) -> None:
    """A flush returns when the server has read what was said before; nats-py's own ping overtakes what waits."""

    async def body(ground: NatsGround) -> None:
        client = client_of(await ground.wire("hears"))
        said = bytearray()
        transport: Any = client._transport
        write, writelines = transport.write, transport.writelines
        transport.write = lambda data: (said.extend(data), write(data))
        transport.writelines = lambda lines: (said.extend(b"".join(lines)), writelines(lines))
        await client.subscribe(f"{ENV}.trial.heard")
        await client.publish(f"{ENV}.trial.said")
        await client.flush()
        assert [b"SUB", b"PUB", b"PING"] == [line.split()[0] for line in said.splitlines() if line]

    play(body)


@pytest.mark.spec("X-07")
def test_headers_of_the_caller_are_not_changed(play: Play) -> None:
    """Publish, request and redrive leave the caller's headers as they were; `js.publish(stream=…)` adds its own."""

    async def body(ground: NatsGround) -> None:
        wire = await ground.wire("desk")
        mine = {"ce-id": "1"}
        await wire.subscribe("dev.echo", lambda _: None)
        await wire.publish("dev.echo", b"", mine)
        await wire.publish("dev.echo", b"", MappingProxyType(mine))
        with pytest.raises(Refused):
            await wire.request("dev.echo", b"", mine, 0.01)
        assert {"ce-id": "1"} == mine

    play(body)


@pytest.mark.spec("X-07")
def test_closing_does_not_wait_for_what_was_not_handled(play: Play) -> None:
    """A bus that drains with many unhandled deliveries ends at once; the client's own drain stalls on them."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS)
        bus = await founded.part()
        await bus.append_many([noted(ground.world, n) for n in range(50)])
        reader, started = await founded.part("reader", durables=("reader",)), asyncio.Event()

        async def handle(_: Verdict) -> None:
            started.set()
            await asyncio.Event().wait()

        await reader.consume("reader", handle)
        await started.wait()
        async with asyncio.timeout(10.0):
            await reader.drain()

    play(body)


# Three thefts


@pytest.mark.spec("X-02", "X-07")
def test_no_message_id_suppresses_a_decision(play: Play) -> None:
    """Whatever message ids a neighbour publishes on the log, guessed or known, every decision is still appended.

    Deduplication is stream-wide: an id on the log would let a neighbour delete a decision with bytes of his own.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        thief = await ground.wire("thief", publish=(f"{ENV}.trial.desk.event.thief.noted",))
        for n in range(5):
            draft = noted(ground.world, n)
            prev = bus.prefix.lane(f"{ENV}.trial.desk.event.a").last
            guesses = [draft.event_id.hex(), draft.event_id.hex().upper(), str(n), f"a{prev}", f"{NOTED}.{prev}"]
            for guess in [*guesses, base64.b64encode(draft.event_id).decode()]:
                await thief.publish(f"{ENV}.trial.desk.event.thief.noted", b"garbage", {"Nats-Msg-Id": guess})
            await thief.confirm(f"{ENV}.trial.desk.event.thief.noted")
            receipt = await bus.append(draft)
            assert not receipt.duplicate
            stored = await ground.api(f"STREAM.MSG.GET.{LOG}", {"seq": receipt.index + 1})
            headers = base64.b64decode(stored["message"].get("hdrs", ""))
            assert b"nats-msg-id" not in headers.lower()

    play(body)


@pytest.mark.spec("X-09")
def test_a_neighbour_cannot_read_acknowledgements(play: Play) -> None:
    """An identity with its own private inbox hears no answer meant for another, whatever it subscribes to.

    With a shared `_INBOX.>` a neighbour sees every acknowledgement and every reply.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part("desk", subscribe=(f"{ENV}.trial.own",))
        nosy = await ground.wire("nosy", publish=(f"{ENV}.trial.own",), subscribe=(f"{ENV}.trial.own",))
        stolen: list[Delivery] = []
        for pattern in ("_INBOX.>", "_INBOX_P.>", "_INBOX_P.desk.>", "_INBOX_P.*.*", ">", "*.>", "*.*.*", "$JS.ACK.>"):
            with pytest.raises(NotPermitted):
                await nosy.subscribe(pattern, stolen.append)
        seen: list[str] = []
        await ground.admin.subscribe("_INBOX_P.desk.>", lambda delivery: seen.append(delivery.subject))
        await bus.append(noted(ground.world, 1))
        await until(lambda: seen)
        await nosy.confirm(f"{ENV}.trial.own")
        assert [] == stolen

    play(body)


@pytest.mark.spec("X-09")
def test_a_reply_subject_in_the_log_is_not_answered(play: Play) -> None:
    """A caller that names a log subject as its reply subject gets nothing written there: the answer is Refused B004.

    The server refuses it too: whoever answers may publish to inboxes and nowhere else.
    """

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        honest = await founded.part("desk", publish=(f"{ENV}.trial.own",), subscribe=(Double.pattern(ENV),))
        asked: list[Delivery] = []
        await honest.subscribe(Double.pattern(ENV), asked.append)
        thief = await ground.wire("thief", publish=(Double.pattern(ENV),))
        before = await size(founded.root)
        for reply in (NOTED, f"{ENV}.system.keys.event.root.introduced"):
            asked.clear()
            await thief.publish(Double.pattern(ENV), encode(Double(1)), None, reply)
            await until(lambda: asked)
            with pytest.raises(Refused) as caught:
                await honest.answer(asked[0], Doubled(2))
            assert "B004" == caught.value.refusal.code
        await honest.wire.confirm(f"{ENV}.trial.own")
        assert before == await size(founded.root)
        await client_of(honest.wire).publish(NOTED, b"written by a dishonest part")
        with pytest.raises(NotPermitted):
            await honest.wire.confirm(NOTED)
        assert before == await size(founded.root)

    play(body)


# A log that was tampered with


async def flip(ground: NatsGround, where: Callable[[bytes], int], *, killed: bool) -> None:
    """Flip one bit of the log's only block file while the server is down, and start it again."""
    if killed:
        ground.server.child.kill9()
    else:
        await ground.server.stop()
    [block] = (ground.folder / "server" / "store").rglob("*.blk")
    raw = bytearray(block.read_bytes())
    raw[where(bytes(raw))] ^= 1
    block.write_bytes(raw)
    if killed:
        await until(lambda: ground.restarts == 1)
    else:
        await ground.server.start()


@pytest.mark.spec("X-04")
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("part", ["first", "middle", "last"])
def test_a_flipped_byte_is_not_skipped(play: Play, part: str, *, killed: bool) -> None:
    """One flipped bit on disk makes replay raise a LogFault; the server itself skips the entry, or forgets the rest."""

    def where(raw: bytes) -> int:
        marks = [at for at in range(len(raw)) if raw.startswith(NOTED.encode(), at)]
        return {"first": 60, "middle": marks[len(marks) // 2] + len(NOTED) + 20, "last": len(raw) - 40}[part]

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        for n in range(20):
            await bus.append(noted(ground.world, n))
        assert 22 == await size(bus)
        await flip(ground, where, killed=killed)
        await until(lambda: bus.wire.connected)
        with pytest.raises(LogFault):
            await size(bus)

    play(body)


@pytest.mark.spec("X-04")
def test_a_deleted_entry_is_not_skipped(play: Play) -> None:
    """An entry that an administrator deleted makes replay raise a LogFault that names it."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        receipts = [await bus.append(noted(ground.world, n)) for n in range(5)]
        await ground.remove(LOG, receipts[2].index)
        with pytest.raises(LogFault, match=f"entry {receipts[2].index} is missing"):
            await size(bus)

    play(body)


@pytest.mark.spec("X-04")
def test_a_purged_log_is_not_empty(play: Play) -> None:
    """A log that an administrator purged is a LogFault for whoever read it before, not an empty log."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        await ground.api(f"STREAM.PURGE.{LOG}", json.loads("{}"))
        with pytest.raises(LogFault):
            await size(bus)

    play(body)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("wire", "fast"),
    [
        (REPLY_NO_TEXT, True),
        (REPLY_NO_TEXT, False),
        (STATUS_NO_TEXT, True),
        (STATUS_NO_TEXT, False),
        (b"HPUB test.trial.felt.ann 16 17\r\nNATS/1.0\r\n\xff\xfe\r\n\r\nx\r\n", True),
        (b"HPUB test.trial.felt.ann 3 4\r\n7\r\nx\r\n", True),
    ],
    ids=["reply", "reply, no lane", "status", "status, no lane", "header", "number"],
)
def test_bytes_that_are_no_text_do_not_deafen(tmp_path: Path, wire: bytes, *, fast: bool) -> None:
    """A reply subject or header of bytes that are no text is dropped, and the next message arrives.

    The client's own read loop ends with the first of them. Headers that begin as sizes do cost it its place in the
    wire; in the fast lane they are headers.
    """

    async def body(ground: NatsGround) -> None:
        ear = Bus(ground.world, await ground.wire("ear"), "ear", "1", [])
        mouth = Bus(ground.world, await ground.wire("mouth"), "mouth", "1", [])
        got: list[Delivery] = []
        pattern = Felt.pattern(ENV)
        await ear.subscribe(pattern, got.append)
        subject = Felt("ann", 1).subject(ENV).encode()
        client = client_of(mouth.wire)
        for _ in range(3):
            await client._send_command(wire.replace(b"test.trial.felt.ann", subject))
            await client._flush_pending()
        await mouth.emit(Felt("ann", 2))
        await until(lambda: any(d.data == encode(Felt("ann", 2)) for d in got))
        assert client_of(ear.wire).is_connected

    play_nats(body, tmp_path, links=False, fast=fast)


@pytest.mark.spec("X-07", "X-12")
@pytest.mark.parametrize("fast", [True, False], ids=["lane", "no lane"])
def test_what_a_listener_raises_does_not_deafen(tmp_path: Path, *, fast: bool) -> None:
    """Whatever is raised by who hears a signal is told to the event loop's handler, and the next signal arrives."""

    async def body(ground: NatsGround) -> None:
        ear = Bus(ground.world, await ground.wire("ear"), "ear", "1", [])
        mouth = Bus(ground.world, await ground.wire("mouth"), "mouth", "1", [])
        got, raised = list[bytes](), list[BaseException]()
        asyncio.get_running_loop().set_exception_handler(lambda _, told: raised.append(told["exception"]))

        def hear(delivery: Delivery) -> None:
            got.append(delivery.data)
            raise AssertionError("a listener's own fault")

        await ear.subscribe(Felt.pattern(ENV), hear)
        for number in (1, 2):
            await mouth.emit(Felt("ann", number))
        await until(lambda: len(got) == 2)
        assert [AssertionError] * 2 == [type(error) for error in raised]

    play_nats(body, tmp_path, links=False, fast=fast)


@pytest.mark.spec("X-07")
def test_a_swallowed_cancellation_is_repeated() -> None:
    """An attempt to connect that swallows its cancellations is given up all the same, in its time."""
    swallowed: list[int] = []

    async def stubborn() -> None:
        while len(swallowed) < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.append(1)
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(_insist(stubborn(), 0.01))
    assert 3 == len(swallowed)
