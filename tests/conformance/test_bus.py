"""What every bus does, whichever wire it speaks on: one behaviour over the simulated server and the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.bus import Bus, Context, Delivery, Draft, Outcome, Receipt, Writer, pull
from shared.bus import writer as writer_module
from shared.bus.bus import DEAD_PER_SECOND
from shared.bus.sim import Faults, SimWire
from shared.codec import decode, encode
from shared.envelope import Verdict
from shared.envelope.envelope import MAX_BATCH_ENTRIES, MAX_BLOCK_EVENTS, MAX_EVIDENCE_BYTES
from shared.errors import Fault, LogFault, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.keys import LocalSigner
from shared.log.entry import Entry
from shared.subjects.keys import KeyRevoked, KeyRotated
from shared.subjects.system import DeadLetter
from shared.world import new_id
from tests.ground import (
    ENV,
    LOG,
    PATIENCE_S,
    Body,
    Crossed,
    Double,
    Doubled,
    Felt,
    Founded,
    Ground,
    Noted,
    noted,
    play_nats,
    play_sim,
    until,
)

Play = Callable[[Body], None]
EVENTS = f"{ENV}.trial.desk.event.>"
LANE = f"{ENV}.trial.desk.event.a"


@pytest.fixture(params=["sim", "behind", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Run a body on the simulated server, as one and as replicas that may be behind, or on a real one."""
    if request.param == "behind":
        return lambda body: play_sim(body, faults=Faults(behind_s=0.1))
    if request.param == "sim":
        return play_sim
    return lambda body: play_nats(body, tmp_path, fast=request.param == "nats")


#: For what shows the most: also over nats-py's own parser and callbacks, as `bus_fast_lane = off` has it.
also_without_the_lane = pytest.mark.parametrize(
    "play", ["sim", "behind", "nats", "nats without the lane"], indirect=True
)


class Heard:
    """What a subscription received, and a wait for it."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.all.append(delivery)

    async def at_least(self, count: int) -> list[Delivery]:
        """Return once `count` messages arrived."""
        await until(lambda: len(self.all) >= count)
        return self.all


async def plain(ground: Ground, name: str, **wiring: tuple[str, ...]) -> Bus:
    """A bus that decides nothing: it has no signing key."""
    return Bus(ground.world, await ground.wire(name, **wiring), name, "1", [])


async def history(bus: Bus) -> list[Verdict]:
    """The whole log, judged, to the end that it really has."""
    if isinstance(bus.wire, SimWire):
        await bus.newest(len(bus.wire.server.streams[LOG].entries) - 1)
    return [verdict async for verdict in bus.replay()]


def numbers(verdicts: list[Verdict], who: str = "a") -> list[int]:
    """The numbers of the admitted decisions of one lane, in log order."""
    return [
        decode(Noted if verdict.entry.subject.endswith("noted") else Crossed, bytes(event.data)).n
        for verdict in verdicts
        if verdict.entry.subject.startswith(f"{ENV}.trial.desk.event.{who}.")
        for _, event in verdict.admitted()
    ]


def void(verdicts: list[Verdict]) -> list[str]:
    """The code of everything that is void."""
    return [refusal.code for verdict in verdicts for _, refusal in verdict.void()]


def places(receipts: list[Receipt]) -> list[tuple[int, int]]:
    """Where the receipts point."""
    return [(receipt.index, receipt.offset) for receipt in receipts]


class Handled:
    """A handler of a durable consumer that fails as told, and what it was given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.got: list[tuple[int, int, int]] = []

    async def __call__(self, verdict: Verdict) -> None:
        for offset, event in verdict.admitted():
            self.got.append((verdict.entry.index, offset, decode(Noted, bytes(event.data)).n))
        if self.failures:
            raise self.failures.pop(0)


# Signals


@pytest.mark.spec("X-02")
@also_without_the_lane
def test_a_signal_reaches_whoever_subscribed(play: Play) -> None:
    """A signal reaches each subscription whose pattern covers its subject, once, with its id, source and cause."""

    async def body(ground: Ground) -> None:
        bus, ear = await plain(ground, "desk"), await plain(ground, "ear")
        one, rest, other = Heard(), Heard(), Heard()
        await ear.subscribe(f"{ENV}.trial.*.felt.ann", one)
        await ear.subscribe(f"{ENV}.trial.>", rest)
        await ear.subscribe(f"{ENV}.trial.*.felt.bob", other)
        await bus.emit(Felt("ann", 1), Context(bytes(16), "talk"), bytes(range(16)))
        await bus.emit(Felt("cid", 2))
        assert [f"{ENV}.trial.desk.felt.ann", f"{ENV}.trial.desk.felt.cid"] == sorted(
            d.subject for d in await rest.at_least(2)
        )
        [first] = await one.at_least(1)
        assert Felt("ann", 1) == decode(Felt, first.data)
        wanted = {
            "ce-id": bytes(range(16)).hex(),
            "ce-source": "desk",
            "ce-correlation": "talk",
            "ce-causation": "00" * 16,
        }
        assert wanted == {name: first.headers[name] for name in wanted}
        assert [] == other.all
        assert (2, 0) == (bus.counters.emitted, bus.counters.dropped)

    play(body)


@pytest.mark.spec("X-02")
@also_without_the_lane
def test_a_closed_subscription_hears_nothing(play: Play) -> None:
    """After its close a subscription receives nothing more, and closing twice is allowed."""

    async def body(ground: Ground) -> None:
        bus, ear = await plain(ground, "desk"), await plain(ground, "ear")
        closed, rest = Heard(), Heard()
        subscription = await ear.subscribe(Felt.pattern(ENV), closed)
        await ear.subscribe(Felt.pattern(ENV), rest)
        await subscription.close()
        await subscription.close()
        await bus.emit(Felt("ann", 1))
        await rest.at_least(1)
        assert [] == closed.all

    play(body)


@pytest.mark.spec("X-02")
def test_a_queue_group_shares_the_work(play: Play) -> None:
    """Of the members of a queue group exactly one receives each message."""

    async def body(ground: Ground) -> None:
        bus, ears = await plain(ground, "desk"), [await plain(ground, name) for name in ("left", "right")]
        heard = Heard()
        for ear in ears:
            await ear.subscribe(Felt.pattern(ENV), heard, queue="workers")
        for n in range(50):
            await bus.emit(Felt("ann", n))
        last = Heard()
        await ears[0].subscribe(f"{ENV}.trial.desk.felt.end", last)
        await bus.emit(Felt("end", 0))
        await last.at_least(1)
        await heard.at_least(51)
        assert [*range(50)] == sorted(decode(Felt, d.data).n for d in heard.all if "ann" in d.subject)

    play(body)


@pytest.mark.spec("X-07")
def test_a_signal_without_a_link_is_counted(play: Play) -> None:
    """A signal emitted while the link is down is counted as dropped in the bus's health, and is not sent later."""

    async def body(ground: Ground) -> None:
        bus, ear = await plain(ground, "desk"), await plain(ground, "ear")
        heard = Heard()
        await ear.subscribe(Felt.pattern(ENV), heard)
        await bus.emit(Felt("ann", 1))
        await ground.cut(bus.wire)
        for n in (2, 3):
            await bus.emit(Felt("ann", n))
        down = bus.health()
        assert (0, 1, 2) == (down["connected"], down["emitted"], down["dropped"])
        await ground.restore(bus.wire)
        await bus.emit(Felt("ann", 4))
        assert bus.health() == {**down, "connected": 1, "emitted": 2, "sent_bytes": 2 * down["sent_bytes"]}
        assert [1, 4] == [decode(Felt, d.data).n for d in await heard.at_least(2)]

    play(body)


@pytest.mark.spec("X-02")
def test_a_scheduled_signal_comes_unless_cancelled(play: Play) -> None:
    """A scheduled signal is emitted after its delay; a cancelled one never."""

    async def body(ground: Ground) -> None:
        bus, heard = await plain(ground, "desk"), Heard()
        await bus.subscribe(Felt.pattern(ENV), heard)
        bus.schedule(0.05, Felt("ann", 2))
        cancel = bus.schedule(0.01, Felt("ann", 1))
        cancel()
        start_s = ground.world.elapsed_s()
        assert [2] == [decode(Felt, d.data).n for d in await heard.at_least(1)]
        assert ground.world.elapsed_s() - start_s >= 0.049

    play(body)


@pytest.mark.spec("X-09")
def test_a_scheduled_signal_that_is_refused_is_counted(play: Play) -> None:
    """A scheduled signal that the server refuses counts as dropped: nobody waits for it who could be told."""

    async def body(ground: Ground) -> None:
        bus = await plain(ground, "desk", publish=(f"{ENV}.trial.else",))
        bus.schedule(0.001, Felt("ann", 1))
        await until(lambda: bus.counters.dropped == 1)

    play(body)


# Requests


async def doubling(ground: Ground) -> Bus:
    """A bus that answers: twice the number, a refusal of 13, and nothing for 0."""
    bus = await plain(ground, "doubler")
    answers: set[asyncio.Task[None]] = set()

    def receive(delivery: Delivery) -> None:
        n = decode(Double, delivery.data).n
        if n:
            reply = Refusal("B012", "13 is not doubled here") if n == 13 else Doubled(2 * n)
            answers.add(asyncio.get_running_loop().create_task(bus.answer(delivery, reply)))

    await bus.subscribe(Double.pattern(ENV), receive)
    return bus


@pytest.mark.spec("X-12")
@also_without_the_lane
def test_a_request_is_answered(play: Play) -> None:
    """A request returns its declared reply or the part's typed refusal; many at once do not mix."""

    async def body(ground: Ground) -> None:
        await doubling(ground)
        asker = await plain(ground, "asker")
        assert Doubled(42) == await asker.request(Double(21))
        assert Refusal("B012", "13 is not doubled here") == await asker.request(Double(13))
        many = await asyncio.gather(*(asker.request(Double(n)) for n in range(20, 60)))
        assert [Doubled(2 * n) for n in range(20, 60)] == many

    play(body)


@pytest.mark.spec("X-12")
@also_without_the_lane
def test_an_unanswered_request_is_refused(play: Play) -> None:
    """A request to nobody, and one that is not answered in time, return B006 and say which it was."""

    async def body(ground: Ground) -> None:
        asker = await plain(ground, "asker")
        nobody = await asker.request(Double(1))
        assert isinstance(nobody, Refusal)
        assert ("B006", True) == (nobody.code, "nobody listens" in nobody.detail)
        await doubling(ground)
        late = await asker.request(Double(0), timeout_s=0.05)
        assert isinstance(late, Refusal)
        assert ("B006", True) == (late.code, "within 0.05 s" in late.detail)

    play(body)


@pytest.mark.spec("X-12")
def test_a_request_without_a_link_is_unreachable(play: Play) -> None:
    """A request while the link is down raises Unreachable at once."""

    async def body(ground: Ground) -> None:
        asker = await plain(ground, "asker")
        await ground.cut(asker.wire)
        with pytest.raises(Unreachable):
            await asker.request(Double(1))

    play(body)


@pytest.mark.spec("X-12")
def test_a_strange_answer_is_refused(play: Play) -> None:
    """An answer that is not the declared reply in canonical bytes returns B002, never another class."""

    async def body(ground: Ground) -> None:
        liar, asker = await plain(ground, "liar"), await plain(ground, "asker")
        sent: set[asyncio.Task[None]] = set()

        def lie(delivery: Delivery) -> None:
            work = liar.wire.publish(delivery.reply, encode(Felt("ann", 1)))
            sent.add(asyncio.ensure_future(work))

        await liar.subscribe(Double.pattern(ENV), lie)
        answer = await asker.request(Double(1))
        assert isinstance(answer, Refusal)
        assert "B002" == answer.code

    play(body)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize("reply", [f"{LANE}.noted", "$JS.ACK.x", "", "INBOX.x"])
def test_answers_go_to_inboxes_only(play: Play, reply: str) -> None:
    """A caller that names anything but an inbox as reply subject gets B004, and nothing is published there."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        honest = await founded.part("desk")
        with pytest.raises(Refused) as caught:
            await honest.answer(Delivery(Double(1).subject(ENV), encode(Double(1)), {}, reply), Doubled(2))
        assert "B004" == caught.value.refusal.code
        assert 2 == len(await history(founded.root))

    play(body)


# Appends


@pytest.mark.spec("X-02", "X-03")
def test_an_append_returns_its_position(play: Play) -> None:
    """A receipt names the index and offset at which replay finds exactly this event, cause and evidence included."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        draft = Draft(Noted("a", 1), new_id(ground.world), bytes(16), b"why")
        receipt = await bus.append(draft)
        assert (Noted("a", 1).subject(ENV), draft.event_id, False, "pending") == (
            receipt.subject,
            receipt.event_id,
            receipt.duplicate,
            receipt.proof,
        )
        verdict = (await history(founded.root))[receipt.index]
        event = verdict.events[receipt.offset]
        assert (draft.event_id, draft.cause, draft.evidence) == (event.id, event.cause, event.evidence)
        assert draft.decision == decode(Noted, bytes(event.data))

    play(body)


@pytest.mark.spec("X-07")
def test_the_same_event_is_appended_once(play: Play) -> None:
    """The same event id again, by this bus, another or one started later, gives the first position and no new entry."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        draft = noted(ground.world, 1)
        first = await bus.append(draft)
        again = await bus.append(draft)
        later = Bus(ground.world, await ground.wire("desk"), "desk", "2", bus.signers)
        from_later = await later.append(draft)
        assert [(first.index, 0, True)] * 2 == [(r.index, r.offset, r.duplicate) for r in (again, from_later)]
        verdicts = await history(founded.root)
        assert [1] == numbers(verdicts)
        assert [] == [verdict for verdict in verdicts if verdict.void()]

    play(body)


@pytest.mark.spec("X-07")
def test_an_event_named_twice_in_one_append_is_stored_once(play: Play) -> None:
    """The same draft twice in one batch or one block is one event, both receipts name it, and nothing is void."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        one, two = noted(ground.world, 1), noted(ground.world, 2)
        batch = await bus.append_many([one, one, two])
        block = await bus.append_block([three := noted(ground.world, 3), two, three])
        assert [places(batch)[0]] * 2 == places(batch)[:2]
        assert places(batch)[2] == places(block)[1]
        assert places(block)[0] == places(block)[2]
        verdicts = await history(founded.root)
        assert ([1, 2, 3], []) == (numbers(verdicts), void(verdicts))

    play(body)


@pytest.mark.spec("X-02")
@also_without_the_lane
def test_a_batch_is_contiguous(play: Play) -> None:
    """Decisions of one lane, of several classes, appended together stand in neighbouring entries, in order."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        kinds = [Noted, Crossed, Noted, Noted]
        receipts = await bus.append_many([Draft(kind("a", n), new_id(ground.world)) for n, kind in enumerate(kinds)])
        first = receipts[0].index
        assert [(first + n, 0) for n in range(4)] == places(receipts)
        verdicts = await history(founded.root)
        assert ([0, 1, 2, 3], []) == (numbers(verdicts), void(verdicts))

    play(body)


@pytest.mark.spec("X-02", "X-09")
def test_a_batch_is_all_or_nothing(play: Play) -> None:
    """When the server refuses one entry of a batch, the caller gets NotPermitted, nothing is stored, and it goes on."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part("desk", publish=(f"{ENV}.trial.desk.event.*.noted",))
        kinds = [Noted, Noted, Crossed, Noted]
        for forbidden in (kinds, kinds[::-1], [Crossed, *kinds], [Noted, Crossed]):
            drafts = [Draft(kind("a", n), new_id(ground.world)) for n, kind in enumerate(forbidden)]
            with pytest.raises(NotPermitted):
                await bus.append_many(drafts)
        assert [] == numbers(await history(founded.root))
        await bus.append_many([noted(ground.world, n) for n in range(3)])
        assert [0, 1, 2] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-12")
def test_what_cannot_be_admitted_is_not_stored(play: Play) -> None:
    """Too many entries, too many events in a block, and too much evidence are refused before anything is stored."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        many = [noted(ground.world, n) for n in range(MAX_BATCH_ENTRIES + 1)]
        block = [noted(ground.world, n) for n in range(MAX_BLOCK_EVENTS + 1)]
        heavy = Draft(Noted("a", 1), new_id(ground.world), b"", bytes(MAX_EVIDENCE_BYTES + 1))
        for work in (bus.append_many(many), bus.append_block(block), bus.append_many([many[0], heavy])):
            with pytest.raises(Refused) as caught:
                await work
            assert "B003" == caught.value.refusal.code
        assert 2 == len(await history(founded.root))
        assert MAX_BATCH_ENTRIES == len(await bus.append_many(many[:-1]))

    play(body)


@pytest.mark.spec("X-02")
def test_a_block_is_one_entry(play: Play) -> None:
    """Decisions sealed as a block share one entry and have offsets 0, 1, 2, … in order."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        receipts = await bus.append_block([noted(ground.world, n) for n in range(5)])
        assert [(receipts[0].index, n) for n in range(5)] == places(receipts)
        verdicts = await history(founded.root)
        assert (3, [*range(5)]) == (len(verdicts), numbers(verdicts))

    play(body)


@pytest.mark.spec("X-07")
def test_a_block_repeated_in_part_adds_the_rest_only(play: Play) -> None:
    """Of a block whose events are partly in the log already, only the missing ones are appended."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        drafts = [noted(ground.world, n) for n in range(4)]
        first = await bus.append_block(drafts[:2])
        whole = await bus.append_block(drafts)
        assert places(first) == places(whole)[:2]
        assert [True, True, False, False] == [receipt.duplicate for receipt in whole]
        assert [0, 1, 2, 3] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-02")
def test_append_at_gives_way(play: Play) -> None:
    """append_at appends where the caller decided, and returns None without storing anything when the lane moved."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        other = Bus(ground.world, await ground.wire("desk"), "desk", "1", bus.signers)
        first = await bus.append_at(-1, [noted(ground.world, 1)])
        assert first is not None
        assert await other.append_at(-1, [noted(ground.world, 2)]) is None
        second = await other.append_at(first[0].index, [noted(ground.world, 3)])
        assert second is not None
        assert await bus.append_at(first[0].index, [noted(ground.world, 4)]) is None
        assert [1, 3] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-02", "X-07")
def test_of_two_racing_writers_one_wins(play: Play) -> None:
    """Two writers that decide on the same last entry: in every round one appends its whole batch, the other nothing."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        left = await founded.part()
        right = Bus(ground.world, await ground.wire("desk"), "desk", "1", left.signers)
        last, expected = -1, list[int]()
        for turn in range(12):
            size = 1 + turn % 4
            mine, yours = ([noted(ground.world, 100 * turn + 10 * side + n) for n in range(size)] for side in (1, 2))
            results = await asyncio.gather(left.append_at(last, mine), right.append_at(last, yours))
            won = [receipts for receipts in results if receipts is not None]
            assert 1 == len(won), f"round {turn}: {results}"
            assert [(won[0][0].index + n, 0) for n in range(size)] == places(won[0])
            expected += [100 * turn + 10 * (1 if results[0] else 2) + n for n in range(size)]
            last = won[0][-1].index
        verdicts = await history(founded.root)
        assert (expected, []) == (numbers(verdicts), void(verdicts))

    play(body)


@pytest.mark.spec("X-07", "NIM-01")
def test_two_buses_of_one_part_write_one_history(play: Play) -> None:
    """Two replicas that append to one lane at once both succeed; the lane is one admitted chain with nothing void."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        left = await founded.part()
        right = Bus(ground.world, await ground.wire("desk"), "desk", "1", left.signers)
        work = [bus.append(noted(ground.world, n)) for n in range(20) for bus in (left, right)]
        receipts = await asyncio.gather(*work)
        verdicts = await history(founded.root)
        assert sorted([*range(20)] * 2) == sorted(numbers(verdicts))
        assert ([], 40) == (void(verdicts), len({receipt.index for receipt in receipts}))
        for bus in (left, right):
            await bus.follow(LANE)
        assert left.prefix.lane(LANE) == right.prefix.lane(LANE)

    play(body)


@pytest.mark.spec("X-09")
def test_a_bus_without_a_key_decides_nothing(play: Play) -> None:
    """A part without a signing key gets NotPermitted for an append, and nothing is stored."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await plain(ground, "desk")
        with pytest.raises(NotPermitted):
            await bus.append(noted(ground.world, 1))
        assert 2 > len(await history(founded.root))

    play(body)


@pytest.mark.spec("X-03")
@pytest.mark.parametrize(("skew_s", "ok"), [(-70.0, False), (-20.0, True), (20.0, True), (40.0, False)])
def test_a_wrong_clock_is_refused_by_the_brokers_time(play: Play, skew_s: float, *, ok: bool) -> None:
    """An event older than its ttl, or more than 30 s ahead, is R001 for its writer and void for every later reader."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        honest = await founded.part()
        world = ground.skewed(skew_s)
        bus = Bus(world, await ground.wire("desk"), "desk", "1", honest.signers)
        if ok:
            await bus.append(noted(world, 1))
        else:
            with pytest.raises(Refused) as caught:
                await bus.append(noted(world, 1))
            assert "R001" == caught.value.refusal.code
        await honest.append(noted(ground.world, 2))
        verdicts = await history(founded.root)
        assert ([1, 2] if ok else [2]) == numbers(verdicts)
        assert ([] if ok else ["R001"]) == void(verdicts)

    play(body)


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_an_append_without_a_link_resolves(play: Play) -> None:
    """An append while the link is down ends as Unresolved within its deadline, and succeeds once the link is back."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        bus.deadline_s = 0.3
        draft = noted(ground.world, 1)
        await ground.cut(bus.wire)
        start_s = ground.world.elapsed_s()
        with pytest.raises(Unresolved) as caught:
            await bus.append(draft)
        assert caught.value.retry
        assert ground.world.elapsed_s() - start_s < 5.0
        bus.deadline_s = 20.0
        waiting = asyncio.ensure_future(bus.append(draft))
        await ground.restore(bus.wire)
        receipt = await waiting
        assert (2, False) == (receipt.index, receipt.duplicate)
        assert [1] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-07")
def test_waiting_for_a_lane_counts_against_the_deadline(play: Play) -> None:
    """Many appends that wait for the same lane without a link all end within one deadline, not one after the other."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        bus.deadline_s = 0.5
        await ground.cut(bus.wire)
        start_s = ground.world.elapsed_s()
        ends = await asyncio.gather(*(bus.append(noted(ground.world, n)) for n in range(50)), return_exceptions=True)
        assert {Unresolved} == {type(end) for end in ends}
        assert ground.world.elapsed_s() - start_s < 10.0

    play(body)


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_an_append_without_a_stream_resolves(play: Play) -> None:
    """An append that no stream stores ends as a Fault within its deadline."""

    async def body(ground: Ground) -> None:
        world = ground.skewed(0.0)
        bus = Bus(world, await ground.wire("desk"), "desk", "1", [LocalSigner(world.entropy(32))])
        bus.env, bus.log, bus.deadline_s = "other", "LOG_other", 0.3
        with pytest.raises(Fault):
            await bus.append(noted(world, 1))

    play(body)


# The writer


@pytest.mark.spec("X-07")
def test_the_writer_coalesces_and_keeps_the_order(play: Play) -> None:
    """What waits is written as blocks: every put has its own position, in order, in far fewer entries than events."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        writer = Writer(await founded.part())
        receipts = await asyncio.gather(*(writer.put(noted(ground.world, n)) for n in range(250)))
        assert places(receipts) == sorted(set(places(receipts)))
        verdicts = await history(founded.root)
        assert [*range(250)] == numbers(verdicts)
        assert len(verdicts) - 2 <= 5

    play(body)


@pytest.mark.spec("X-12")
def test_the_writers_queue_is_bounded(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many decisions wait the next put is refused with B008, and those that wait are still written."""
    monkeypatch.setattr(writer_module, "MAX_WAITING", 20)

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        writer = Writer(await founded.part())
        ends = await asyncio.gather(*(writer.put(noted(ground.world, n)) for n in range(30)), return_exceptions=True)
        assert ["B008"] * 10 == [end.refusal.code for end in ends if isinstance(end, Refused)]
        assert [*range(20)] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-07", "X-12")
def test_one_bad_decision_does_not_take_its_neighbours_along(play: Play) -> None:
    """A put with too much evidence is refused alone with B003; everything that waits beside it is written."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        writer = Writer(await founded.part())
        heavy = Draft(Noted("a", 99), new_id(ground.world), b"", bytes(MAX_EVIDENCE_BYTES + 1))
        drafts = [noted(ground.world, 0), heavy, noted(ground.world, 1)]
        ends = await asyncio.gather(*(writer.put(draft) for draft in drafts), return_exceptions=True)
        assert [Receipt, Refused, Receipt] == [type(end) for end in ends]
        assert [0, 1] == numbers(await history(founded.root))

    play(body)


@pytest.mark.spec("X-07")
def test_every_put_resolves_when_the_writer_is_misused(play: Play) -> None:
    """Decisions of two subjects in one writer are an AssertionError for everyone who waits, never silence."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        writer = Writer(await founded.part())
        drafts = [noted(ground.world, 1, "a"), noted(ground.world, 2, "b")]
        async with asyncio.timeout(10):
            ends = await asyncio.gather(*(writer.put(draft) for draft in drafts), return_exceptions=True)
        assert [AssertionError, AssertionError] == [type(end) for end in ends]

    play(body)


# Replay


@pytest.mark.spec("X-04")
@also_without_the_lane
def test_replay_yields_every_entry(play: Play) -> None:
    """Replay yields the verdict of each entry from 0 to the end, without a gap, also beyond one read."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        for start in range(0, 600, 100):
            await bus.append_many([noted(ground.world, start + n) for n in range(100)])
        verdicts = await history(founded.root)
        assert [*range(602)] == [verdict.entry.index for verdict in verdicts]
        assert ([*range(600)], []) == (numbers(verdicts), void(verdicts))
        stamps = [verdict.entry.time_ns for verdict in verdicts]
        assert stamps == sorted(stamps)
        assert all(abs(stamp - ground.world.now_ns()) < 60 * 10**9 for stamp in stamps)

    play(body)


@pytest.mark.spec("X-04")
def test_replay_of_an_empty_log_is_empty(play: Play) -> None:
    """A log without entries replays to nothing; a log that does not exist is Unreachable."""

    async def body(ground: Ground) -> None:
        bus = await plain(ground, "reader")
        assert [] == await history(bus)
        bus.log = "LOG_none"
        with pytest.raises(Unreachable):
            await history(bus)

    play(body)


@pytest.mark.spec("X-04")
@pytest.mark.parametrize("index", [0, 3, 6])
def test_replay_of_a_log_with_a_gap_raises(play: Play, index: int) -> None:
    """When an entry is missing, the first or another, replay raises a LogFault that names it; it never skips."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        for n in range(6):
            await bus.append(noted(ground.world, n))
        await ground.remove(LOG, index)
        with pytest.raises(LogFault, match=f"entry {index} is missing"):
            await history(founded.root)

    play(body)


@pytest.mark.spec("X-04", "X-07")
def test_an_append_to_a_lane_that_lost_its_end_resolves(play: Play) -> None:
    """When the log lost what this bus had read already, its next append ends as a LogFault."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        last = await bus.append(noted(ground.world, 2))
        await ground.remove(LOG, last.index)
        with pytest.raises(LogFault):
            await bus.append(noted(ground.world, 3))

    play(body)


@pytest.mark.spec("X-03")
@also_without_the_lane
def test_garbage_on_the_log_is_void(play: Play) -> None:
    """Bytes that somebody entitled to publish wrote past the bus are void and named, and honest appends go on."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        for raw in (b"", b"\xc1", b"{}", bytes(60_000)):
            await bus.wire.publish(f"{LANE}.noted", raw)
        await bus.append(noted(ground.world, 2))
        verdicts = await history(founded.root)
        assert ([1, 2], ["R005"] * 4) == (numbers(verdicts), void(verdicts))

    play(body)


# Durable consumption


async def consuming(ground: Ground, *, ack_wait_s: float = 30.0) -> tuple[Founded, Bus]:
    """A log with one durable consumer on the desk's decisions, and the bus that appends them."""
    founded = await Founded.on(ground)
    await ground.create_durable(LOG, "reader", EVENTS, ack_wait_s)
    return founded, await founded.part()


async def reader(ground: Ground, name: str = "reader") -> Bus:
    """A bus that may consume the durable `reader`, and nothing else on the log."""
    hears = (f"{ENV}.system.dead.>",)
    return await plain(ground, name, publish=(f"{ENV}.system.dead.>", EVENTS), subscribe=hears, durables=("reader",))


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_a_durable_consumer_receives_every_event(play: Play) -> None:
    """Each admitted event arrives with its position, in order, older and newer ones alike, and a void one never."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground)
        before = await bus.append_block([noted(ground.world, n) for n in range(3)])
        await bus.wire.publish(f"{LANE}.noted", b"garbage")
        handled = Handled()
        other = await reader(ground)
        await other.consume("reader", handled)
        after = await bus.append_many([noted(ground.world, n) for n in range(3, 450)][:100])
        await until(lambda: len(handled.got) >= 103)
        expected = [(i, o, n) for n, (i, o) in enumerate(places([*before, *after]))]
        assert expected == handled.got
        assert 1 == other.counters.void

    play(body)


@pytest.mark.spec("X-07")
def test_a_long_backlog_arrives_whole(play: Play) -> None:
    """More entries than several pulls can carry arrive completely and once."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground)
        for start in range(0, 700, 100):
            await bus.append_many([noted(ground.world, start + n) for n in range(100)])
        handled = Handled()
        await (await reader(ground)).consume("reader", handled)
        await until(lambda: len(handled.got) >= 700)
        assert [*range(700)] == [n for _, _, n in handled.got]

    play(body)


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_what_is_not_acknowledged_comes_again(play: Play) -> None:
    """What a consumer that died had not acknowledged goes to its successor; what it had acknowledged stays away."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground, ack_wait_s=10.0)
        first, second = await bus.append(noted(ground.world, 1)), await bus.append(noted(ground.world, 2))
        seen: list[int] = []

        async def dies(entry: Entry, _: int) -> Outcome:
            seen.append(entry.index)
            if entry.index == second.index:
                await asyncio.Event().wait()
            return Outcome("ack")

        crashing = await reader(ground)
        await crashing.wire.consume(LOG, "reader", dies)
        await until(lambda: len(seen) == 2)
        await crashing.wire.close()
        later: list[tuple[int, int]] = []

        async def works(entry: Entry, deliveries: int) -> Outcome:
            later.append((entry.index, deliveries))
            return Outcome("ack")

        successor = await reader(ground)
        await successor.wire.consume(LOG, "reader", works)
        third = await bus.append(noted(ground.world, 3))
        await until(lambda: len(later) >= 2)
        assert [first.index, second.index] == seen
        assert [(second.index, 2), (third.index, 1)] == sorted(later)

    play(body)


@pytest.mark.spec("X-07")
def test_a_retryable_fault_comes_back_later(play: Play) -> None:
    """A handler's fault that allows a retry brings the event back after a delay until it succeeds, then never again."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground)
        handled = Handled(Unreachable("the records are down"), Unreachable("still"))
        other = await reader(ground)
        await other.consume("reader", handled)
        start_s = ground.world.elapsed_s()
        first = await bus.append(noted(ground.world, 1))
        await until(lambda: len(handled.got) >= 3)
        assert ground.world.elapsed_s() - start_s >= 0.5
        second = await bus.append(noted(ground.world, 2))
        await until(lambda: len(handled.got) >= 4)
        assert [(first.index, 0, 1)] * 3 + [(second.index, 0, 2)] == handled.got
        assert 0 == other.counters.dead

    play(body)


@pytest.mark.spec("X-07")
def test_what_comes_back_holds_back_what_follows(play: Play) -> None:
    """Of a consumer that takes one entry at a time, as every part's is, nothing newer comes before what comes back."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS, at_once=1)
        bus = await founded.part()
        receipts = await bus.append_many([noted(ground.world, n) for n in range(2)])
        handled = Handled(Unreachable("the records are down"))
        await (await reader(ground)).consume("reader", handled)
        await until(lambda: len(handled.got) >= 3)
        first, second = places(receipts)
        assert [(*first, 0), (*first, 0), (*second, 1)] == handled.got

    play(body)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Refused(Refusal("B012", "13 is not computable")), "B012"),
        (LogFault("13 contradicts"), "B009"),
        (ZeroDivisionError("13"), "B009"),
        (AssertionError("13"), "B009"),
    ],
)
def test_a_poison_message_is_dead_lettered(play: Play, failure: Exception, code: str) -> None:
    """A message the handler cannot use is dead-lettered once with its reason, and the next ones are still handled."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground)
        dead, handled = Heard(), Handled(failure)
        other = await reader(ground)
        await other.subscribe(DeadLetter.pattern(ENV), dead)
        await other.consume("reader", handled)
        for n in (13, 14):
            await bus.append(noted(ground.world, n))
        await until(lambda: len(handled.got) >= 2)
        [delivery] = await dead.at_least(1)
        letter = decode(DeadLetter, delivery.data)
        assert ("reader", f"{LANE}.noted", code, True) == (letter.part, letter.original, letter.code, letter.whole)
        assert "13" in letter.detail
        assert [13, 14] == [n for _, _, n in handled.got]

    play(body)


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_consumption_survives_a_cut_link(play: Play) -> None:
    """A consumer whose link was cut and came back receives what was appended meanwhile."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground, ack_wait_s=1.0)
        handled = Handled()
        other = await reader(ground)
        await other.consume("reader", handled)
        await bus.append(noted(ground.world, 1))
        await until(lambda: handled.got)
        await ground.cut(other.wire)
        await bus.append(noted(ground.world, 2))
        await ground.restore(other.wire)
        await bus.append(noted(ground.world, 3))
        await until(lambda: len({n for _, _, n in handled.got}) == 3)

    play(body)


@pytest.mark.spec("X-07")
@also_without_the_lane
def test_what_is_held_at_the_end_is_handed_back(play: Play) -> None:
    """A consumer that ends in good order gives back what it holds: its successor need not wait for the ack wait."""

    async def body(ground: Ground) -> None:
        _, bus = await consuming(ground, ack_wait_s=10 * PATIENCE_S)
        await bus.append_many([noted(ground.world, n) for n in range(5)])
        holding, held = asyncio.Event(), await reader(ground)

        async def hold(_: Verdict) -> None:
            holding.set()
            await asyncio.Event().wait()

        subscription = await held.consume("reader", hold)
        await holding.wait()
        await subscription.close()
        await held.drain()
        handled = Handled()
        await (await reader(ground)).consume("reader", handled)
        await until(lambda: len(handled.got) >= 5)
        assert {*range(5)} == {n for _, _, n in handled.got}

    play(body)


@pytest.mark.spec("X-07")
def test_long_work_is_not_taken_away(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes longer than the ack wait keeps its entry: it is delivered once."""

    async def body(ground: Ground) -> None:
        monkeypatch.setattr(pull, "PROGRESS_S", 0.2)
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS, ack_wait_s=3.0, at_once=1)
        bus = await founded.part()
        receipts = await bus.append_many([noted(ground.world, n) for n in range(3)])
        delivered: list[tuple[int, int]] = []

        async def work(entry: Entry, deliveries: int) -> Outcome:
            delivered.append((entry.index, deliveries))
            if len(delivered) == 1:
                await ground.world.sleep(4.0)
            return Outcome("ack")

        await (await reader(ground)).wire.consume(LOG, "reader", work)
        await until(lambda: len(delivered) >= 3)
        assert [(receipt.index, 1) for receipt in receipts] == delivered

    play(body)


@pytest.mark.spec("X-12")
@also_without_the_lane
def test_a_missing_durable_is_named(play: Play) -> None:
    """Consuming a durable that nobody created is Unreachable and names it, never silence."""

    async def body(ground: Ground) -> None:
        bus = await plain(ground, "reader")
        with pytest.raises(Unreachable, match="absent"):
            await bus.consume("absent", Handled())

    play(body)


# Dead letters


@pytest.mark.spec("X-12")
def test_dead_letters_are_bounded_per_second(play: Play) -> None:
    """However much garbage arrives, at most so many dead letters leave per second; the rest is counted."""

    async def body(ground: Ground) -> None:
        bus, dead = await plain(ground, "desk"), Heard()
        await bus.subscribe(DeadLetter.pattern(ENV), dead)
        first_s = int(ground.world.elapsed_s())
        for n in range(4 * DEAD_PER_SECOND):
            await bus.dead(Delivery(f"{ENV}.trial.desk.felt.ann", b"%d" % n), Refusal("B002", "not MessagePack"))
        seconds = int(ground.world.elapsed_s()) - first_s + 1
        sent = bus.counters.dead - bus.counters.dead_dropped
        assert 4 * DEAD_PER_SECOND == bus.counters.dead
        assert DEAD_PER_SECOND <= sent <= DEAD_PER_SECOND * seconds
        assert sent == len(await dead.at_least(sent))

    play(body)


@pytest.mark.spec("X-12")
def test_a_dead_letter_can_be_driven_again(play: Play) -> None:
    """A dead letter holds subject, bytes and headers; redriven, the message arrives as it first did."""

    async def body(ground: Ground) -> None:
        bus, ear = await plain(ground, "desk"), await plain(ground, "ear")
        dead, again = Heard(), Heard()
        await ear.subscribe(DeadLetter.pattern(ENV), dead)
        original = Delivery(Felt("ann", 1).subject(ENV), encode(Felt("ann", 1)), {"ce-id": "00"}, "")
        await bus.dead(original, Refusal("B009", "the part was broken"))
        letter = decode(DeadLetter, (await dead.at_least(1))[0].data)
        await ear.subscribe(Felt.pattern(ENV), again)
        await bus.redrive(letter)
        [delivery] = await again.at_least(1)
        assert (original.subject, original.data) == (delivery.subject, delivery.data)
        assert "00" == delivery.headers["ce-id"]

    play(body)


@pytest.mark.spec("X-12")
def test_a_dead_letter_that_is_not_whole_stays_dead(play: Play) -> None:
    """An oversize message is kept in part, says so, and its redrive is refused with B003."""

    async def body(ground: Ground) -> None:
        bus, dead = await plain(ground, "desk"), Heard()
        await bus.subscribe(DeadLetter.pattern(ENV), dead)
        huge = Delivery("x" * 4000, bytes(500_000), {"h" * 9000: "é" * 9000} | {f"h{n}": "é" * 300 for n in range(50)})
        await bus.dead(huge, Refusal("B003", "é" * 9000))
        letter = decode(DeadLetter, (await dead.at_least(1))[0].data)
        assert not letter.whole
        with pytest.raises(Refused) as caught:
            await bus.redrive(letter)
        assert "B003" == caught.value.refusal.code

    play(body)


@pytest.mark.spec("X-12", "X-07")
def test_a_logged_decision_is_never_published_again(play: Play) -> None:
    """The redrive of a dead-lettered decision is refused: it stands in the log, and a second entry would be void."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        letter = DeadLetter("reader", f"{LANE}.noted", "B009", "", b"bytes", whole=True, headers={})
        with pytest.raises(Refused) as caught:
            await bus.redrive(letter)
        assert "R006" == caught.value.refusal.code
        assert 3 == len(await history(founded.root))

    play(body)


# Permissions


@pytest.mark.spec("X-09")
@also_without_the_lane
def test_the_server_refuses_what_a_part_does_not_own(play: Play) -> None:
    """Publish, subscribe, request, append and consume outside the permissions raise NotPermitted, every time."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        await ground.create_durable(LOG, "reader", EVENTS)
        signer = await founded.introduce("desk")
        wire = await ground.wire("desk", publish=(f"{ENV}.trial.own",), subscribe=(f"{ENV}.trial.own",))
        bus = Bus(ground.world, wire, "desk", "1", [signer])
        start_s = ground.world.elapsed_s()
        for _ in range(3):
            with pytest.raises(NotPermitted):
                await bus.emit(Felt("ann", 1))
            with pytest.raises(NotPermitted):
                await bus.subscribe(Felt.pattern(ENV), Heard())
            with pytest.raises(NotPermitted):
                await bus.subscribe(Felt.pattern(ENV), Heard(), queue="workers")
            with pytest.raises(NotPermitted):
                await bus.request(Double(1))
            with pytest.raises(NotPermitted):
                await bus.append(noted(ground.world, 1))
            with pytest.raises(NotPermitted):
                await bus.consume("reader", Handled())
        assert ground.world.elapsed_s() - start_s < 5.0
        assert 2 == len(await history(founded.root))
        assert 0 == bus.counters.emitted

    play(body)


@pytest.mark.spec("X-09")
def test_refusals_at_the_same_moment_all_arrive(play: Play) -> None:
    """Many emissions on one refused subject at once: each caller gets its own NotPermitted."""

    async def body(ground: Ground) -> None:
        bus = await plain(ground, "desk", publish=(f"{ENV}.trial.own",))
        ends = await asyncio.gather(*(bus.emit(Felt("ann", n)) for n in range(20)), return_exceptions=True)
        assert {NotPermitted} == {type(end) for end in ends}

    play(body)


@pytest.mark.spec("X-09")
def test_a_refused_ear_does_not_silence_the_voice(play: Play) -> None:
    """A subject that may be published but not heard, and one the other way round, are told apart."""

    async def body(ground: Ground) -> None:
        bus = await plain(
            ground, "desk", publish=(f"{ENV}.trial.desk.felt.ann",), subscribe=(f"{ENV}.trial.desk.felt.bob",)
        )
        with pytest.raises(NotPermitted):
            await bus.subscribe(f"{ENV}.trial.desk.felt.ann", Heard())
        await bus.emit(Felt("ann", 1))
        with pytest.raises(NotPermitted):
            await bus.emit(Felt("bob", 1))
        await bus.subscribe(f"{ENV}.trial.desk.felt.bob", Heard())

    play(body)


@pytest.mark.spec("X-09")
def test_a_later_grant_counts_at_once(play: Play) -> None:
    """A refused subject works as soon as the server grants it, and a withdrawn one is refused, without a reconnect."""

    async def body(ground: Ground) -> None:
        bus, ear = await plain(ground, "desk", publish=(f"{ENV}.trial.own",)), await plain(ground, "ear")
        heard = Heard()
        await ear.subscribe(Felt.pattern(ENV), heard)
        with pytest.raises(NotPermitted):
            await bus.emit(Felt("ann", 1))
        await ground.permit("desk", (Felt.pattern(ENV),), ())
        await bus.emit(Felt("ann", 2))
        await heard.at_least(1)
        await ground.permit("desk", (f"{ENV}.trial.own",), ())
        refused = 0
        for n in range(3, 6):
            try:
                await bus.emit(Felt("ann", n))
                await bus.wire.confirm(Felt("ann", n).subject(ENV))
            except NotPermitted:
                refused += 1
        assert 3 == refused
        assert [2] == [decode(Felt, d.data).n for d in heard.all]

    play(body)


@pytest.mark.spec("X-09")
def test_an_inbox_is_private(play: Play) -> None:
    """Nobody may listen on another identity's inbox, nor on all of them, however alike the names are."""

    async def body(ground: Ground) -> None:
        nosy = await plain(ground, "cells.desk", publish=(f"{ENV}.trial.own",), subscribe=(f"{ENV}.trial.own",))
        other = await plain(ground, "cells_desk", subscribe=(f"{ENV}.trial.own",))
        for pattern in (other.wire.inbox(), other.wire.inbox().rsplit(".", 1)[0] + ".>", "_INBOX.>", ">"):
            with pytest.raises(NotPermitted):
                await nosy.subscribe(pattern, Heard())

    play(body)


# Keys


@pytest.mark.spec("X-03")
def test_a_rotation_is_seen_by_running_buses(play: Play) -> None:
    """After a part rotated its key the old one is refused with R007 and the new one admitted, without any restart."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        other = Bus(ground.world, await ground.wire("desk"), "desk", "1", bus.signers)
        for each in (bus, other):
            await each.append(noted(ground.world, 1))
        [old], new = bus.signers, LocalSigner(ground.world.entropy(32))
        await bus.append(Draft(KeyRotated("root", old.key_id, new.key_id, new.public), new_id(ground.world)))
        with pytest.raises(Refused) as caught:
            await other.append(noted(ground.world, 2))
        assert "R007" == caught.value.refusal.code
        bus.signers = [new]
        await bus.append(noted(ground.world, 3))
        verdicts = await history(founded.root)
        assert ([1, 1, 3], ["R007"]) == (numbers(verdicts), void(verdicts))

    play(body)


@pytest.mark.spec("X-03")
def test_a_revocation_is_seen_by_running_buses(play: Play) -> None:
    """After the root revoked a key its next append is refused with R007; what it signed before stays admitted."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        revoked = KeyRevoked("root", bus.signers[0].key_id, None, "lost")
        await founded.root.append(Draft(revoked, new_id(ground.world)))
        with pytest.raises(Refused) as caught:
            await bus.append(noted(ground.world, 2))
        assert "R007" == caught.value.refusal.code
        verdicts = await history(founded.root)
        assert ([1], ["R007"]) == (numbers(verdicts), void(verdicts))

    play(body)


@pytest.mark.spec("X-03")
def test_a_stranger_is_void(play: Play) -> None:
    """What an unregistered key signs, and what a registered one signs beyond its grants, is refused and void."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        wire = await ground.wire("desk")
        stranger = Bus(ground.world, wire, "desk", "1", [LocalSigner(ground.world.entropy(32))])
        narrow = Bus(ground.world, wire, "desk", "1", [await founded.introduce("desk", Crossed.pattern(ENV))])
        codes: list[str] = []
        for bus in (stranger, narrow):
            with pytest.raises(Refused) as caught:
                await bus.append(noted(ground.world, 1))
            codes.append(caught.value.refusal.code)
        assert ["R002", "R007"] == codes
        verdicts = await history(founded.root)
        assert ([], ["R002", "R007"]) == (numbers(verdicts), void(verdicts))

    play(body)


# The end


@pytest.mark.spec("X-07")
def test_drain_waits_for_appends_in_flight(play: Play) -> None:
    """Drain returns when every append in flight has its receipt; scheduled signals are dropped, the link is closed."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        bus, heard = await founded.part(), Heard()
        await founded.root.subscribe(Felt.pattern(ENV), heard)
        bus.schedule(0.2, Felt("ann", 1))
        work = [asyncio.ensure_future(bus.append(noted(ground.world, n, f"e{n}"))) for n in range(30)]
        await asyncio.sleep(0)
        await bus.drain()
        assert all(task.done() for task in work)
        assert 30 == len({task.result().index for task in work})
        assert not bus.wire.connected
        await bus.emit(Felt("ann", 2))
        assert 1 == bus.counters.dropped
        await founded.root.emit(Felt("end", 3))
        assert [3] == [decode(Felt, d.data).n for d in await heard.at_least(1)]

    play(body)
