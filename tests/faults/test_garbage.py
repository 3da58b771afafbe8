"""Garbage on every subject of a living organism: each piece has a named refusal, and every part stays alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.attach import living
from deploy.host import EmbeddedHost
from deploy.organism import Organism
from deploy.recheck import recheck
from organs.records import MemoryRecords, RecordsOrgan, digest, fill
from shared.bus import Bus, Context, Delivery, Draft
from shared.bus.bus import ERROR_CODE
from shared.codec import decode, encode, encode_json
from shared.config import load
from shared.envelope import Attributes, pack_event, seal
from shared.envelope.envelope import rfc3339
from shared.errors import Fault, NotPermitted, Refusal
from shared.keys import LocalSigner
from shared.message import MAX_MESSAGE_BYTES
from shared.subjects.nervous import AssessRequest, LoadAssessed, MathRequest, MathResponse, VitalsWave
from shared.subjects.system import DeadLetter, Decided
from shared.subjects.training import CountVotes, JobStatus, JudgeJob, MoveJob, RecordRun, RegisterWorkers
from shared.world import RealWorld, new_id, now_ms

SITE = "here"
BAD = {
    "wrong bytes": (b"\xc1\xff\x00garbage", {"B002"}),
    "empty": (b"", {"B002"}),
    "wrong schema": (encode_json(Refusal("B001")), {"B002"}),
    "not canonical": (b"\x81\xd9\x04text\xa12", {"B002"}),
    "deep JSON": (b'{"text":' + b"[" * 20_000, {"B002"}),
    "oversize": (b"{" + b"x" * (MAX_MESSAGE_BYTES + 1), {"B003"}),
}


def play(tmp_path: Path, body: Callable[[EmbeddedHost, Organism, Bus], Awaitable[None]]) -> None:
    """Run a body against a living organism and an operator's bus."""

    async def main() -> None:
        environ = {"NIMMERVERSE_HOME": str(tmp_path / "home"), "NIMMERVERSE_BEAT_MS": "50", "NIMMERVERSE_SITE": SITE}
        async with living(load(environ, {}, SITE)) as (host, organism):
            assert isinstance(host, EmbeddedHost)
            operator = Bus(RealWorld("dev"), await host.wire("operator"), "operator", "1", [])
            try:
                await body(host, organism, operator)
                await alive(organism, operator)
            finally:
                await operator.drain()

    asyncio.run(main())


async def alive(organism: Organism, operator: Bus) -> None:
    """Every part still works: the cell answers, the nerve decides, the view follows, nothing is broken."""
    organism.raise_if_broken()
    answer = await operator.request(MathRequest("6 * 7"), timeout_s=10)
    assert isinstance(answer, MathResponse)
    assert answer.exact == "42"
    async with asyncio.timeout(20):
        while not isinstance(decided := await operator.request(AssessRequest(SITE), timeout_s=10), Decided):
            await asyncio.sleep(0.05)
        records = organism.runners["records"].part
        assert isinstance(records, RecordsOrgan)
        while await records.records.next_index() <= decided.index:
            await asyncio.sleep(0.02)


@pytest.mark.spec("X-12")
def test_garbage_requests_are_refused_by_name(tmp_path: Path) -> None:
    """Bytes of every wrong kind, sent to every request subject, come back as a named refusal."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        for subject in (
            "nervous.cells.math.request",
            "nervous.overload.assess.request",
            "system.steward.grant.request",
        ):
            for name, (data, expected) in BAD.items():
                answer = await operator.wire.request(f"dev.{subject}", data, None, 5.0)
                assert answer.headers.get(ERROR_CODE) in expected, f"{name} on {subject}: {answer}"

    play(tmp_path, body)


@pytest.mark.spec("X-12")
def test_stale_and_future_requests_are_refused(tmp_path: Path) -> None:
    """A request that outlived its time, or comes from the future, is refused by name."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        for offset_ms, expected in ((-61_000, "B010"), (31_000, "R001")):
            headers = {"ce-id": new_id(operator.world).hex(), "ce-time": rfc3339(now_ms(operator.world) + offset_ms)}
            answer = await operator.wire.request(
                "dev.nervous.cells.math.request", encode(MathRequest("1")), headers, 5.0
            )
            assert expected == answer.headers.get(ERROR_CODE)

    play(tmp_path, body)


@pytest.mark.spec("X-07")
def test_a_replayed_command_is_decided_once(tmp_path: Path) -> None:
    """The same command, sent again and again, gets the position of its one decision."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        await alive(organism, operator)
        headers = {"ce-id": new_id(operator.world).hex(), "ce-time": rfc3339(now_ms(operator.world))}
        raw = encode(AssessRequest(SITE))
        answers = [
            decode(
                Decided, (await operator.wire.request("dev.nervous.overload.assess.request", raw, headers, 5.0)).data
            )
            for _ in range(3)
        ]
        assert len({(answer.index, answer.offset, answer.id) for answer in answers}) == 1

    play(tmp_path, body)


@pytest.mark.spec("X-12")
def test_garbage_signals_become_bounded_dead_letters(tmp_path: Path) -> None:
    """Five hundred bad waves make named dead letters, no more than the bound, and the nerve goes on."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        wave = VitalsWave.pattern("dev")
        for i in range(500):
            await operator.wire.publish(wave, b"\xc1" + i.to_bytes(2, "big"))
        nerve = organism.runners["overload"]
        async with asyncio.timeout(20):
            while nerve.work.refused < 500:
                await asyncio.sleep(0.02)
            kept = 500 - nerve.bus.counters.dead_dropped
            while len(letters := await _letters_of("overload", operator)) < kept:  # who hears any wave wrote some too
                await asyncio.sleep(0.02)
        assert {"B002"} == {letter.code for letter in letters}
        assert nerve.bus.counters.dead == 500
        assert kept == len(letters)
        assert 0 < kept < 500

    play(tmp_path, body)


async def _letters_of(part: str, operator: Bus) -> list[DeadLetter]:
    """The dead letters that one part wrote."""
    stored = await operator.wire.read("DEAD_dev", 0, limit=1_000)
    return [letter for each in stored if (letter := decode(DeadLetter, each.raw)).part == part]


@pytest.mark.spec("X-03", "X-12")
def test_garbage_in_the_log_is_void_by_name(tmp_path: Path) -> None:
    """A neighbour whom the server lets onto a lane writes garbage, forgeries, replays: each is void, with its code."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        await alive(organism, operator)
        log = f"dev.nervous.overload.event.{SITE}.assessed"
        await host.admit(
            "mallory", host.nkey("mallory"), [log, "$JS.API.DIRECT.GET.LOG_dev"], ["_INBOX_P.mallory.>"], answers=False
        )
        wire = await host.wire("mallory")
        real = await wire.last("LOG_dev", log)
        assert real is not None
        stranger = LocalSigner(bytes(range(32)))
        forged = forge(operator, log, stranger, real.index)
        for raw in (b"garbage", real.raw, forged, real.raw[:-1], b"\x80" * 60_000):
            await wire.publish(log, raw)
            await wire.confirm(log)
        await wire.close()
        await alive(organism, operator)
        found = await recheck(operator, organism.fingerprint, [runner.part for runner in organism.runners.values()])
        codes = sorted(text.split(": ", 1)[1].split()[0] for text in found.void)
        assert ["R002", "R005", "R005", "R005", "R006"] == codes
        assert [] == found.differing
        records = organism.runners["records"].part
        assert isinstance(records, RecordsOrgan)
        live, stop = "", -1
        while stop != await records.records.next_index():  # the log goes on, and the view with it
            stop = await records.records.next_index()
            live = await digest(records.records)
        fresh = MemoryRecords()
        await fill(fresh, operator.replay(), stop)
        assert live == await digest(fresh)

    play(tmp_path, body)


def forge(bus: Bus, subject: str, signer: LocalSigner, last: int) -> bytes:
    """Seal a decision as the overload nerve with a key the log never heard of."""
    decision = LoadAssessed(SITE, "OVERLOADED", "NORMAL", "asked", 3, 1, 1, 1, 1, 1)
    draft = Draft(decision, new_id(bus.world))
    context = Context()
    attributes = Attributes(
        id=draft.event_id.hex(), source="overload", specversion="1.0", type="nimmerverse.nervous.overload.assessed",
        subject=subject, time=rfc3339(now_ms(bus.world)), ttlms=60_000, agent="SOVEREIGN", boot=bus.world.boot,
        sequence=1, version="1.0.0", correlation=context.correlation, prev=last, batch=0, count=0, root=b"",
    )  # fmt: skip
    return seal(attributes, [pack_event(draft.event_id, encode(decision))], [signer])


@pytest.mark.spec("X-09")
def test_a_log_subject_as_reply_subject_moves_nobody(tmp_path: Path) -> None:
    """A caller that names a log subject as its reply subject gets no part to write there."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        log = f"dev.nervous.overload.event.{SITE}.assessed"
        before = await operator.wire.last("LOG_dev", "dev.>")
        for subject, request in (
            ("dev.nervous.cells.math.request", MathRequest("1")),
            ("dev.nervous.overload.assess.request", AssessRequest("nowhere")),
            ("$SRV.PING.math_cell", None),
        ):
            await operator.wire.publish(subject, encode(request) if request else b"", None, log)
        async with asyncio.timeout(10):
            while organism.runners["math_cell"].work.refused < 1 or organism.runners["overload"].work.refused < 1:
                await asyncio.sleep(0.02)
        entries = await operator.wire.read("LOG_dev", before.index + 1 if before else 0)
        assert all(entry.subject == log and b"pong" not in entry.raw for entry in entries)
        found = await recheck(operator, organism.fingerprint, [])
        assert [] == found.void

    play(tmp_path, body)


@pytest.mark.spec("X-09")
def test_publishing_outside_ones_permissions_is_typed(tmp_path: Path) -> None:
    """A part that publishes what it does not own is refused by the server and told so, by every way of publishing."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        bus = organism.runners["math_cell"].bus
        with pytest.raises(NotPermitted, match="math_cell"):
            await bus.emit(VitalsWave("vitals", 1, "forged", 1, SITE, "0" * 16, 1, 1, 1, 1, 1))
        decision = LoadAssessed(SITE, "NORMAL", "NORMAL", "asked", 3, 1, 1, 1, 1, 1)
        with pytest.raises(NotPermitted, match="math_cell"):
            await bus.append(Draft(decision, new_id(bus.world)))
        with pytest.raises(NotPermitted, match="math_cell"):
            await bus.request(AssessRequest(SITE))
        with pytest.raises(NotPermitted, match="math_cell"):
            await bus.subscribe("_INBOX_P.overload.>", lambda _: None)

    play(tmp_path, body)


@pytest.mark.spec("X-09", "COL-09", "ILL-04")
def test_a_run_is_made_not_handed_in(tmp_path: Path) -> None:
    """What the trainer alone says of a job, the server takes from the trainer, and from no operator."""
    job = "0" * 32
    said = (
        JudgeJob(job, "dev", [], ""),
        MoveJob(job, "running", "", 1, 0, -1, 0),
        RegisterWorkers(job, 1, {"one": bytes(32)}),
        CountVotes(job, 1, []),
        RecordRun(job, "1" * 64, "2" * 64, "3" * 64, [1], 1),
    )

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        trainer = organism.runners["trainer"].bus
        for request in said:
            answer = await trainer.request(request)
            assert isinstance(answer, Refusal)
            assert "T001" == answer.code
            with pytest.raises(NotPermitted, match="operator"):
                await operator.request(request)
        answer = await operator.request(JobStatus(job))
        assert isinstance(answer, Refusal)
        assert "T001" == answer.code

    play(tmp_path, body)


@pytest.mark.spec("X-12")
def test_an_identity_the_server_refuses_blocks_no_later_grant(tmp_path: Path) -> None:
    """A grant with a key that is none is refused, alone or with others at once, and the next part is admitted as if
    nothing had been.
    """

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        async def whole() -> None:
            await host.admit("whole", host.nkey("whole"), ["dev.a.b.c"], ["_INBOX_P.whole.>"], answers=False)

        async def broken() -> None:
            await host.admit("broken", "not a key", ["dev.a.b.c"], [], answers=False)

        async def both() -> None:
            async with host.at_once():
                await whole()
                await broken()

        for refused in (broken, both):
            with pytest.raises(Fault):
                await refused()
        await whole()
        await (await host.wire("whole")).close()

    play(tmp_path, body)


@pytest.mark.spec("X-09")
def test_a_reply_to_oneself_opens_nothing(tmp_path: Path) -> None:
    """A part that names a log subject, or the stream API, as the reply to its own message may not publish there."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        own, log = "dev.evil.a.b", f"dev.nervous.overload.event.{SITE}.assessed"
        await host.admit("evil", host.nkey("evil"), [own], [own, "_INBOX_P.evil.>"], answers=True)
        wire = await host.wire("evil")
        heard: asyncio.Queue[Delivery] = asyncio.Queue()
        await wire.subscribe(own, heard.put_nowait)
        for target in (log, "dev.system.keys.event.root.introduced", "$JS.API.STREAM.DELETE.LOG_dev"):
            await wire.publish(own, b"", None, target)
            delivery = await asyncio.wait_for(heard.get(), 5)
            await wire.publish(delivery.reply, b"forged")
            with pytest.raises(NotPermitted):
                await wire.confirm(delivery.reply)
        await wire.close()
        assert [] == (await recheck(operator, organism.fingerprint, [])).void

    play(tmp_path, body)


@pytest.mark.spec("X-12")
def test_headers_of_a_stored_entry_steer_no_reader(tmp_path: Path) -> None:
    """An entry stored with the server's own status headers is read, judged and passed like any other."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        await alive(organism, operator)
        log = f"dev.nervous.overload.event.{SITE}.assessed"
        await host.admit("mallory", host.nkey("mallory"), [log], ["_INBOX_P.mallory.>"], answers=False)
        wire = await host.wire("mallory")
        for headers in ({"Status": "204"}, {"Status": "408"}, {"Nats-Sequence": "1", "Nats-Subject": "dev.a.b.c"}):
            await wire.publish(log, b"x", headers)
            await wire.confirm(log)
        await wire.close()
        await alive(organism, operator)
        found = await recheck(operator, organism.fingerprint, [])
        assert len(found.void) == 3

    play(tmp_path, body)


@pytest.mark.spec("X-05")
def test_a_long_subject_does_not_stop_the_view(tmp_path: Path) -> None:
    """An entry on a subject of four thousand random characters is one void row, and the view goes on."""

    async def body(host: EmbeddedHost, organism: Organism, operator: Bus) -> None:
        long = f"dev.nervous.overload.event.{operator.world.entropy(1_900).hex()}.assessed"
        await host.admit("mallory", host.nkey("mallory"), [long], ["_INBOX_P.mallory.>"], answers=False)
        wire = await host.wire("mallory")
        await wire.publish(long, b"x")
        await wire.confirm(long)
        await wire.close()

    play(tmp_path, body)
