"""What every view of the log does, in memory and in PostgreSQL: each entry once, in order, or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import msgspec
import pytest

from deploy.embedded import Postgres
from organs.records import (
    VIEWS,
    Change,
    Column,
    DatabaseRefused,
    MemoryRecords,
    NewerViews,
    OutOfOrder,
    PostgresRecords,
    Records,
    RecordsOrgan,
    Redeclared,
    Table,
    View,
    building,
    catch_up,
    digest,
    digests,
    fill,
    rebuild,
    verify,
)
from organs.records.port import tables_of
from organs.records.view import changes_of
from organs.records.views.costs import OBSERVATIONS, PROFILES
from organs.records.views.decisions import DECISIONS
from organs.records.views.keys import KEYS
from organs.records.views.lanes import LANES
from organs.records.views.parts import PARTS
from organs.records.views.trails import BEATS, TRAILS
from organs.records.views.void_entries import VOID
from shared.envelope import Verdict
from shared.errors import CODES, Exit, LogFault, Unreachable
from shared.journal import configure
from shared.message import Decision, DeclarationError, lane_of
from shared.subjects.cognition import Answered, Quote
from shared.subjects.gates import OutcomeJudged, ReflexFired, Share, SignalVerified, WeightChanged
from shared.subjects.keys import Grant
from shared.subjects.memory import Origin
from shared.subjects.system import PartGranted
from shared.subjects.thalamus import BeatClosed, CostsObserved, Escalated, Observed
from tests import forge
from tests.ground import PATIENCE_S, until

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
Make = Callable[[], Records]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for the whole module: the server's supervisor lives in it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL."""
    postgres = Postgres(tmp_path_factory.mktemp("records") / "postgres", on_restart=_restarts.append)
    loop.run(postgres.start())
    yield postgres
    loop.run(postgres.stop())


@pytest.fixture(scope="module")
def dsn(loop: asyncio.Runner, server: Postgres) -> str:
    """A database on it."""
    return loop.run(server.ensure_database("nimmerverse_dev"))


_schemas = count()
_restarts: list[object] = []


@pytest.fixture(params=["memory", "postgres"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make views: in memory, or each in a schema of its own."""
    if request.param == "memory":
        return MemoryRecords
    dsn = request.getfixturevalue("dsn")
    return lambda: PostgresRecords(dsn, f"view_{next(_schemas)}")


@pytest.fixture
def run(loop: asyncio.Runner) -> Run[Any]:
    """Run a body in the module's loop."""
    return loop.run


class Recorded:
    """A log that was made by hand, replayed to whoever asks."""

    def __init__(self, verdicts: list[Verdict]) -> None:
        self.verdicts = verdicts

    async def replay(self) -> AsyncIterator[Verdict]:
        """Every verdict, in order."""
        for verdict in self.verdicts:
            yield verdict

    async def judged(self, start: int, limit: int, known: int = -1) -> list[Verdict]:
        """The verdicts from an index on."""
        return self.verdicts[start : start + limit]


def recorded(length: int = 40) -> Recorded:
    """Keys, decisions with and without evidence, a sealed block, and everything that can be void."""
    log, random = forge.founded(), Random(length)
    ada, bob = forge.signer("ada's"), forge.signer("bob's")
    for n in range(length - len(log.entries)):
        subject, name = forge.subject_of(forge.PLAIN, f"e{random.randrange(4)}"), f"event {n}"
        match random.randrange(6):
            case 0:
                log.say(forge.PLAIN, f"event {max(n - 1, 0)}", ada, entity="e0")
            case 1:
                log.put(log.sealed(subject, [forge.event(name)], ada, prev=99))
            case 2:
                log.put(log.entry(subject, random.randbytes(80)))
            case 3:
                block = [forge.event(f"{name} {i}", evidence=bytes(i)) for i in range(5)]
                log.put(log.sealed(subject, [*block, block[0]], ada))
            case _:
                log.put(log.sealed(subject, [forge.event(name, cause=bytes(16))], bob))
    assert {"R005", "R006"} <= {no.code for verdict in log.verdicts for _, no in verdict.void()}
    return Recorded(log.verdicts)


async def filled(records: Records, verdicts: list[Verdict]) -> Records:
    """A view that has read these verdicts."""
    await records.open()
    for verdict in verdicts:
        assert 1 == await records.apply([verdict])
    return records


@pytest.mark.spec("X-05", "X-07")
def test_a_new_view_is_empty(make: Make, run: Run[Any]) -> None:
    """A new view expects entry 0 and shows nothing; opening it again changes nothing."""

    async def body() -> None:
        records = make()
        for _ in range(2):
            await records.open()
            assert (0, []) == (await records.next_index(), await records.newest(DECISIONS, 10))
        await records.close()

    run(body())


@pytest.mark.spec("X-07")
def test_an_entry_is_applied_once(make: Make, run: Run[Any]) -> None:
    """Applied again, and later again, an entry changes nothing and says so."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts)
        before = await digest(records)
        for verdict in log.verdicts:
            assert 0 == await records.apply([verdict])
        assert (len(log.verdicts), before) == (await records.next_index(), await digest(records))
        await records.close()

    run(body())


@pytest.mark.spec("X-07")
def test_a_gap_is_a_fault(make: Make, run: Run[Any]) -> None:
    """An entry that comes too early is a LogFault, and the view stays as it was."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts[:5])
        before = await digest(records)
        with pytest.raises(LogFault, match="expects entry 5, entry 7 came"):
            await records.apply(log.verdicts[7:8])
        assert (5, before) == (await records.next_index(), await digest(records))
        assert 1 == await records.apply(log.verdicts[5:6])
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_a_rebuilt_view_is_the_same(make: Make, run: Run[Any]) -> None:
    """Rebuilt from the log a view has the same digest, table by table; so has every implementation."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts)
        live = await digest(records)
        async with records.snapshot() as held:
            tables = await digests(held, VIEWS)
        assert [table.name for table in tables_of(VIEWS)] == [name for name, found in tables.items() if found.rows >= 0]
        await rebuild(records, log)
        assert live == await digest(records)
        memory = await filled(MemoryRecords(), log.verdicts)
        assert live == await digest(memory)
        async with memory.snapshot() as held:
            assert tables == await digests(held, VIEWS)
        assert live != await digest(await filled(MemoryRecords(), log.verdicts[:-1]))
        again = make()
        await again.open()
        await fill(again, Recorded([*log.verdicts, *log.verdicts[-1:]]).replay(), len(log.verdicts))
        assert live == await digest(again)
        await again.close()
        await records.close()

    run(body())


@pytest.mark.spec("X-05", "X-07")
def test_many_entries_are_one_step(make: Make, run: Run[Any]) -> None:
    """Entries applied together leave what they leave one by one; a gap among them applies none of them."""

    async def body() -> None:
        log = recorded(60)
        records = make()
        await records.open()
        assert 25 == await records.apply(log.verdicts[:25])
        with pytest.raises(OutOfOrder):
            await records.apply([*log.verdicts[25:30], *log.verdicts[31:40]])
        assert 25 == await records.next_index()
        assert 35 == await records.apply(log.verdicts[10:])
        assert await digest(await filled(MemoryRecords(), log.verdicts)) == await digest(records)
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_the_newest_rows_come_first(make: Make, run: Run[Any]) -> None:
    """The newest rows are shown newest first, as many as asked for, void ones with their code and nothing else."""

    async def body() -> None:
        log = recorded()
        rows = sorted(change.values for change in changes_of(VIEWS, log.verdicts)[DECISIONS])
        records = await filled(make(), log.verdicts)
        for limit in (0, 1, 7, 10_000):
            assert rows[::-1][:limit] == await records.newest(DECISIONS, limit)
        void = [dict(zip(DECISIONS.names, row, strict=True)) for row in rows if row[-1]]
        assert {("", "", "", "", 0, "null", 0)} == {
            tuple(
                row[name] for name in ("source", "version", "event_id", "cause", "written_ms", "data", "evidence_bytes")
            )
            for row in void
        }
        await records.close()

    run(body())


async def shown(records: Records, table: Table) -> list[dict[str, Any]]:
    """A table's rows in order, by column."""
    async with records.snapshot() as held:
        return [dict(zip(table.names, row, strict=True)) async for row in held.rows(table)]


@pytest.mark.spec("X-05")
def test_the_keys_are_the_key_books(make: Make, run: Run[Any]) -> None:
    """The view of the keys holds what the key book of a reader holds: parts, owners, validity, rotated and revoked."""

    async def body() -> None:
        log = forge.founded()
        log.key_event(forge.rotated("ada's", "ada's second"), forge.signer("ada's"), source=forge.PART)
        log.key_event(forge.revoked("bob's"), *forge.roots(forge.ADA, forge.BOB))
        log.key_event(forge.revoked("ada's"), *forge.roots(forge.ADA, forge.BOB))
        assert [] == [no for verdict in log.verdicts for _, no in verdict.void()]
        records = await filled(make(), log.verdicts)
        book = log.prefix.keys.keys
        states = {forge.signer(name).key_id: "revoked" for name in ("ada's", "bob's")}
        assert [
            {
                "key_id": key_id,
                "public": key.public,
                "part": key.part,
                "owner": key.owner,
                "state": states.get(key_id, "current"),
                "first_index": key.first,
                "last_index": key.last,
            }
            for key_id, key in sorted(book.items())
        ] == await shown(records, KEYS)
        await records.close()

    run(body())


W1, W2 = b"w1".ljust(16), b"w2".ljust(16)


def trail() -> list[Decision]:
    """What the organism decides about one signal and one reflex, from the wave to what was learnt."""
    share = Share("nervous.cells.sensor", W1, 1_000, 900_000, 950_000, 1)
    signal = W1
    quote = Quote("00", "it is low", Origin("file", "f", "", 0, 9), 500_000)
    return [
        SignalVerified(
            "battery",
            signal,
            950_000,
            "low",
            300_000,
            300_000,
            ("nervous.cells.battery",),
            None,
            ambiguous=False,
            shares=(share,),
            at_ms=1_000,
        ),
        Escalated("nyx", 4, "weight", "battery", signal, "low", 20_000_000, 80_000_000, 7),
        Answered(
            *("ab", "escalation", signal, "battery", "low", "quoted", "", 500_000),
            *((quote,), "memory", "", 300_000, 12_345, 80),
        ),
        ReflexFired("danger", W2, 5_000, 5_004, 990_000, "nervous.cells.distance"),
        OutcomeJudged("battery", signal, "confirmed", 10, 9, 1, "it was\0low", 5_000_000),
        WeightChanged("battery", signal, "confirmed", 300_000, 320_000, (), 2_000),
        OutcomeJudged("danger", W2, "failed", 1, 0, 1, "nothing was there", 0),
        Escalated("nyx", 5, "asked", "novel", b"", "is about no signal", 1, 1, 7),
        BeatClosed("nyx", 7, 20_000_000, 21_000_000, 5_000_000, 84_000_000, 2),
    ]


@pytest.mark.spec("NIM-18")
def test_a_trail_is_one_row(make: Make, run: Run[Any]) -> None:
    """What became of a signal is one row, whatever decided about it: states, costs, reward, outcome, latency."""

    async def body() -> None:
        log = forge.founded()
        mind = forge.introduced("mind's", forge.ADA, "mind", [Grant("dev.nervous.>"), Grant("dev.cognitive.>")])
        log.key_event(mind, *forge.roots(forge.ADA, forge.BOB))
        first = log.index
        for decision in trail():
            log.key_event(decision, forge.signer("mind's"), source="mind")
        assert [] == [no for verdict in log.verdicts for _, no in verdict.void()]
        records = await filled(make(), log.verdicts)
        battery, danger = await shown(records, TRAILS)
        judged_ms = forge.START_MS + 1_000 * (first + 4)
        assert battery == {
            "domain": "battery",
            "signal": W1.hex(),
            "first_index": first,
            "last_index": first + 5,
            "mind": "nyx",
            "mode": "deliberate",
            "states_visited": (
                *("verified", "escalated to tier 4: weight", "answered: quoted", "judged: confirmed", "weighed"),
            ),
            "cells_read": ("nervous.cells.battery",),
            "cells_commanded": (),
            "feedback": ("it was\\0low",),
            "outcome": "confirmed",
            "expected": 10,
            "found": 9,
            "lifeforce_cost_ulf": 20_000_000,
            "lifeforce_reward_ulf": 5_000_000,
            "lifeforce_net_ulf": -15_000_000,
            "measured_ulf": 12_345,
            "weight_before_ppm": 300_000,
            "weight_after_ppm": 320_000,
            "started_ms": 1_000,
            "completed_ms": judged_ms,
            "latency_ms": judged_ms - 1_000,
        }
        assert ("reflex", "failed", ("nervous.gate.reflex.danger",), 5_000) == tuple(
            danger[name] for name in ("mode", "outcome", "cells_commanded", "started_ms")
        )
        [beat] = await shown(records, BEATS)
        assert (7, -16_000_000, 2) == (beat["beat"], beat["net_ulf"], beat["escalations"])
        half = await filled(make(), log.verdicts[: first + 2])
        [open_] = await shown(half, TRAILS)
        assert (None, None, -20_000_000) == (open_["latency_ms"], open_["outcome"], open_["lifeforce_net_ulf"])
        await rebuild(records, Recorded(log.verdicts))
        assert await digest(records) == await digest(await filled(MemoryRecords(), log.verdicts))
        await half.close()
        await records.close()

    run(body())


@pytest.mark.spec("NIM-10")
def test_costs_are_a_row_each_account_and_a_profile(make: Make, run: Run[Any]) -> None:
    """Each account adds a row for each part; its profile is the newest, with all messages and all they cost."""

    async def body() -> None:
        log = forge.founded()
        mind = forge.introduced("mind's", forge.ADA, "mind", [Grant("dev.nervous.>")])
        log.key_event(mind, *forge.roots(forge.ADA, forge.BOB))
        for beat, energy_uj in ((1, None), (2, 70)):
            used = (10 * beat, 5, energy_uj, 100, 6, 1_000, 100 * beat, 9, beat)
            log.key_event(CostsObserved("nyx", beat, (Observed("gate", *used),)), forge.signer("mind's"), source="mind")
        records = await filled(make(), log.verdicts)
        observations = await shown(records, OBSERVATIONS)
        assert [(1, 10, None), (2, 20, 70)] == [(o["beat"], o["messages"], o["energy_uj"]) for o in observations]
        [profile] = await shown(records, PROFILES)
        assert ("gate", 200, 9, 2, 30, 2_000) == tuple(
            profile[name] for name in ("what", "mean_ulf", "spread_ulf", "observations", "messages", "cost_ulf")
        )
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
@pytest.mark.parametrize("of", [("a", "nobody"), ("a", "d")])
def test_a_difference_is_of_two_written_columns(of: tuple[str, str]) -> None:
    """A difference of a column that is not there, or of a difference, is a DeclarationError; nobody writes one."""
    columns = (
        Column("a", "bigint", "a"),
        Column("b", "bigint", "b"),
        Column("d", "bigint", "d", difference=("a", "b")),
    )
    with pytest.raises(DeclarationError):
        Table("odd", ("a",), (*columns, Column("e", "bigint", "e", difference=of)), "odd")
    with pytest.raises(DeclarationError, match="no column 'd' to write"):
        Table("even", ("a",), columns, "even").update(a=1, d=2)


@pytest.mark.spec("X-05")
def test_the_newest_grant_of_a_part_is_shown(make: Make, run: Run[Any]) -> None:
    """A part that is granted again has one row: the newest grant's."""

    async def body() -> None:
        log = forge.founded()
        steward = forge.introduced("steward's", forge.ADA, "steward", [Grant("dev.system.steward.event.>")])
        log.key_event(steward, *forge.roots(forge.ADA, forge.BOB))
        for version, publish in (("1", ["dev.a"]), ("2", ["dev.a", "dev.b\0"]), ("3", [])):
            granted = PartGranted("root", "math_cell", version, publish, ["dev.c"])
            log.key_event(granted, forge.signer("steward's"), source="steward")
        assert [] == [no for verdict in log.verdicts for _, no in verdict.void()]
        records = await filled(make(), log.verdicts[:-1])
        expected = {"part": "math_cell", "version": "2", "publish": ("dev.a", "dev.b\\0"), "subscribe": ("dev.c",)}
        assert [expected | {"granted_index": log.index - 2}] == await shown(records, PARTS)
        await records.apply(log.verdicts)
        expected = {"part": "math_cell", "version": "3", "publish": (), "subscribe": ("dev.c",)}
        assert [expected | {"granted_index": log.index - 1}] == await shown(records, PARTS)
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_lanes_and_void_entries_count_the_log(make: Make, run: Run[Any]) -> None:
    """Every lane shows its last index and its events in effect; everything void is listed with its code's sentence."""

    async def body() -> None:
        log = recorded(80)
        records = await filled(make(), log.verdicts)
        lanes = {row["lane"]: row for row in await shown(records, LANES)}
        counted = [lane_of(verdict.entry.subject) for verdict in log.verdicts]
        assert {lane: counted.count(lane) for lane in counted} == {lane: row["entries"] for lane, row in lanes.items()}
        assert sum(len(v.admitted()) for v in log.verdicts) == sum(row["events"] for row in lanes.values())
        assert len(log.verdicts) - 1 == max(row["last_index"] for row in lanes.values())
        assert [(v.entry.index, place, no.code) for v in log.verdicts for place, no in v.void()] == [
            (row["index"], row["place"], row["code"]) for row in await shown(records, VOID)
        ]
        assert all(CODES[row["code"]].when in row["reason"] for row in await shown(records, VOID))
        await records.close()

    run(body())


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "data",
    [
        {"n": 1},
        {},
        {"text": "\0 \u2028 \U0001f642"},
        {"x": float("nan"), "y": float("inf"), "z": -0.0},
        {"b": b"\xff\0", "deep": [[[[None, True, {"a": []}]]]]},
        {"ext": msgspec.msgpack.Ext(5, b"\0")},
        {1: "a number as a key", 2: 3},
        {b"bytes": 1},
        {"mixed": {1: 1, "1": 2}},
        {"big": 2**64 - 1, "small": -(2**63)},
    ],
)
def test_whatever_is_in_the_log_can_be_shown(make: Make, run: Run[Any], data: Any) -> None:  # noqa: ANN401 - any map
    """Whatever anyone entitled puts into the log, admitted or void, has its rows, the same in every view."""

    async def body() -> None:
        log = forge.founded()
        for entity in ("a", "=00", "=C3=BC", "not=canonical", "x" * 300):
            subject = forge.subject_of(forge.PLAIN, entity)
            event = forge.event(f"event {entity}", msgspec.msgpack.encode(data))
            log.put(log.sealed(subject, [event], forge.signer("ada's")))
        for n, long in enumerate(("x" * 20_000, "x" * 20_000 + "y", "x" * 800)):
            event = forge.event(f"long {n}", msgspec.msgpack.encode(data))
            log.put(log.sealed(forge.subject_of(forge.PLAIN, long), [event], forge.signer("ada's")))
        odd = forge.subject_of(forge.PLAIN, "a\0b")
        log.put(log.sealed(odd, [forge.event("odd", b"\x81\xa1n\x01")], forge.signer("ada's"), version="1\0"))
        assert all(changes_of(VIEWS, [verdict])[DECISIONS] for verdict in log.verdicts)
        records = await filled(make(), log.verdicts)
        assert await digest(records) == await digest(await filled(MemoryRecords(), log.verdicts))
        assert len({lane_of(verdict.entry.subject) for verdict in log.verdicts}) == len(await shown(records, LANES))
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_a_dropped_view_catches_up(make: Make, run: Run[Any]) -> None:
    """An organ whose view was dropped while it ran catches up from the log with the next entry, and misses none."""

    async def body() -> None:
        log = recorded()
        organ, behind = RecordsOrgan(make()), Recorded([])
        await organ.open(behind)
        for n, verdict in enumerate(log.verdicts):
            behind.verdicts.append(verdict)
            if n in (3, 20):
                await organ.records.drop()
            await organ.on_entry(verdict)
            if n == 30:
                await organ.on_entry(log.verdicts[12])
        assert await digest(await filled(MemoryRecords(), log.verdicts)) == await digest(organ.records)
        await organ.close()

    run(body())


class Dropping(MemoryRecords):
    """A view that somebody drops between two questions, some times."""

    drops = 0

    async def apply(self, verdicts: Sequence[Verdict]) -> int:
        """Be dropped, then apply."""
        if self.drops and verdicts[-1].entry.index == 9:
            self.drops -= 1
            await self.drop()
        return await super().apply(verdicts)


@pytest.mark.spec("X-05", "X-07")
@pytest.mark.parametrize("drops", [1, 3])
def test_a_view_dropped_at_the_worst_moment_is_tried_again(run: Run[Any], drops: int) -> None:
    """A drop between looking and applying is caught up with, or is trouble that passes, so the entry comes back."""

    async def body() -> None:
        log = recorded()
        short = Recorded(log.verdicts[:10])
        organ = RecordsOrgan(Dropping())
        await organ.open(short)
        for verdict in log.verdicts[:9]:
            await organ.on_entry(verdict)
        assert isinstance(organ.records, Dropping)
        organ.records.drops = drops
        if drops > 1:  # between catching up and applying, too
            with pytest.raises(OutOfOrder) as trouble:
                await organ.on_entry(log.verdicts[9])
            assert trouble.value.retry
        await organ.on_entry(log.verdicts[9])
        assert await digest(await filled(MemoryRecords(), log.verdicts[:10])) == await digest(organ.records)

    run(body())


@pytest.mark.spec("X-07")
def test_questions_at_once_do_not_disturb_each_other(make: Make, run: Run[Any]) -> None:
    """A view may be read while it is written, from the same process: nobody is disconnected."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts[:20])
        writing = [records.apply([v]) for v in log.verdicts[:20]]
        reading = [ask for _ in range(5) for ask in (records.next_index(), digest(records))]
        assert {0, 20, await digest(records)} == set(await asyncio.gather(*writing, *reading))
        await records.close()

    run(body())


# PostgreSQL alone


@pytest.mark.spec("X-07")
def test_rows_and_inbox_are_one_transaction(dsn: str, run: Run[Any]) -> None:
    """If one row of one view cannot be stored, no row of any view is, and the inbox stays where it was."""

    async def body() -> None:
        log = recorded()
        records = PostgresRecords(dsn, f"view_{next(_schemas)}")
        await filled(records, log.verdicts[:5])
        before = await digest(records)
        await by_hand(
            records,
            "insert into decisions select 7, 0, subject, entity, source, version, event_id, cause, "
            "written_ms, broker_ns, data, evidence_bytes, refusal from decisions limit 1",
        )
        with pytest.raises(asyncpg.UniqueViolationError):
            await records.apply(log.verdicts[5:10])
        await by_hand(records, "delete from decisions where index = 7")
        assert (5, before) == (await records.next_index(), await digest(records))
        assert 5 == await records.apply(log.verdicts[5:10])
        await records.close()

    run(body())


async def by_hand(records: PostgresRecords, statement: str) -> str:
    """What somebody with psql does."""
    connection: Any = await asyncpg.connect(records.dsn, server_settings={"search_path": records.schema})
    try:
        return await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.spec("X-05")
def test_a_view_may_be_rebuilt_by_another_process(dsn: str, run: Run[Any]) -> None:
    """While one process drops and rebuilds the view, another that applies entries sees only trouble that passes."""

    async def body() -> None:
        log = recorded()
        schema = f"view_{next(_schemas)}"
        organ, rebuilder = RecordsOrgan(PostgresRecords(dsn, schema)), PostgresRecords(dsn, schema)
        await organ.open(log)
        await rebuilder.open()

        async def apply_all() -> None:
            for verdict in log.verdicts:
                while True:
                    try:
                        await organ.on_entry(verdict)
                        break
                    except (OutOfOrder, Unreachable):
                        continue

        async def rebuild_again_and_again() -> None:
            for _ in range(5):
                await rebuilder.drop()
                try:
                    await catch_up(rebuilder, log)
                except (OutOfOrder, Unreachable):
                    continue

        async with asyncio.TaskGroup() as both:
            both.create_task(apply_all())
            both.create_task(rebuild_again_and_again())
        await catch_up(organ.records, log)
        assert await digest(await filled(MemoryRecords(), log.verdicts)) == await digest(rebuilder)
        await organ.close()
        await rebuilder.close()

    run(body())


@pytest.mark.spec("X-07")
def test_a_killed_postgresql_loses_and_repeats_nothing(server: Postgres, dsn: str, run: Run[Any]) -> None:
    """Kill -9 of PostgreSQL in the middle of applying, several times: the view goes on where it stood."""

    async def body() -> None:
        log, random = recorded(300), Random(7)
        records = PostgresRecords(dsn, f"view_{next(_schemas)}")
        await records.open()
        kills = sorted(random.sample(range(20, 280), 4))
        applied: list[int] = []
        for verdict in log.verdicts:
            index = verdict.entry.index
            applying = asyncio.ensure_future(records.apply([verdict]))
            before = len(_restarts)
            if index in kills:
                for _ in range(random.randrange(6)):
                    await asyncio.sleep(0)
                server.child.kill9()
            try:
                applied += [index] if await applying else []
            except Unreachable:
                await until(lambda before=before: len(_restarts) > before)
                assert await reached(records) in (index, index + 1)
                applied += [index] if await records.apply([verdict]) else []
        assert set(range(300)) - set(applied) <= set(kills), "only a killed commit may have happened unseen"
        assert (300, len(applied)) == (await records.next_index(), len(set(applied)))
        assert await digest(await filled(MemoryRecords(), log.verdicts)) == await digest(records)
        await records.close()

    run(body())


class Cutting:
    """A connection whose server process is killed right after the first statement of a kind."""

    def __init__(self, inner: Any, after: str) -> None:  # noqa: ANN401 - asyncpg has no types
        self.inner, self.after = inner, after

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the connection has
        found = getattr(self.inner, name)
        if name != self.after:
            return found

        async def cut(*arguments: object) -> object:
            result = await found(*arguments)
            os.kill(self.inner.get_server_pid(), signal.SIGKILL)
            return result

        return cut


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("after", ["fetchrow", "fetch", "executemany", "execute"])
def test_a_commit_that_was_cut_short_never_happened(dsn: str, run: Run[Any], after: str) -> None:
    """Killed after looking, after the rows, or after the inbox, before the commit: neither rows nor inbox moved."""

    async def body() -> None:
        log = recorded()
        records = PostgresRecords(dsn, f"view_{next(_schemas)}")
        await filled(records, log.verdicts[:5])
        before = await digest(records)
        records._connection = cast("Any", Cutting(records._connection, after))
        with pytest.raises(Unreachable):
            await records.apply(log.verdicts[5:6])
        assert 5 == await reached(records)
        assert before == await digest(records)
        assert 1 == await records.apply(log.verdicts[5:6])
        assert await digest(await filled(MemoryRecords(), log.verdicts[:6])) == await digest(records)
        await records.close()

    run(body())


async def reached(records: Records) -> int:
    """The view's next index, once its server answers again."""
    return await patiently(records.next_index)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a server that may be restarting."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await ask()
            except Unreachable:
                await asyncio.sleep(0.01)


# Declared otherwise


def letters(revision: int, *extra: Column, every: int = 1) -> View:
    """A view of these tests: how long each entry is."""
    columns = (Column("index", "bigint", "where"), Column("bytes", "bigint", "how long"), *extra)
    table = Table("letters", ("index",), columns, "the length of every entry")

    def project(verdict: Verdict) -> Iterator[Change]:
        more = dict.fromkeys((column.name for column in extra), "new")
        yield table.insert(index=verdict.entry.index, bytes=every * len(verdict.entry.raw), **more)

    return View("letters", revision, (table,), project)


OLD = letters(1)
NEW = letters(2, Column("word", "text", "what is new"), every=2)
[OTHER] = [view for view in VIEWS if view.name == "lanes"]


async def upgraded(dsn: str, schema: str, log: Recorded) -> PostgresRecords:
    """Views of the new declaration, opened by their organ."""
    organ = RecordsOrgan(PostgresRecords(dsn, schema, (NEW, OTHER)))
    await organ.open(log)
    assert isinstance(organ.records, PostgresRecords)
    return organ.records


async def begun(dsn: str, log: Recorded) -> PostgresRecords:
    """Views of the old declaration that have read the log."""
    records = PostgresRecords(dsn, f"view_{next(_schemas)}", (OLD, OTHER))
    await filled(records, log.verdicts)
    return records


async def expected_of(log: Recorded, *views: View) -> str:
    """The digest of views that have read the log."""
    return await digest(await filled(MemoryRecords(views), log.verdicts))


@pytest.mark.spec("X-05")
def test_a_view_declared_otherwise_is_rebuilt_at_open(dsn: str, run: Run[Any]) -> None:
    """A view that is declared otherwise is built anew from the log at open; the others stay as they are."""

    async def body() -> None:
        log = recorded()
        old = await begun(dsn, log)
        await by_hand(old, "comment on table lanes is 'untouched'")
        new = await upgraded(dsn, old.schema, log)
        assert await expected_of(log, NEW, OTHER) == await digest(new)
        connection: Any = await asyncpg.connect(dsn)
        assert "untouched" == await connection.fetchval(f"select obj_description('{old.schema}.lanes'::regclass)")
        left = "select count(*) from pg_namespace where nspname = $1"
        assert 0 == await connection.fetchval(left, f"{old.schema}_next")
        await connection.close()
        assert (await new.open()).stale == ()
        await old.close()
        await new.close()

    run(body())


@pytest.mark.spec("X-05", "X-07")
def test_who_was_replaced_writes_nothing_more(dsn: str, run: Run[Any]) -> None:
    """A process of the old version that goes on after a switch writes nothing, and is told so by name."""

    async def body() -> None:
        log = recorded()
        old = await begun(dsn, Recorded(log.verdicts[:20]))
        new = await upgraded(dsn, old.schema, log)
        with pytest.raises(Redeclared, match="rebuilt by another version") as trouble:
            await old.apply(log.verdicts[20:])
        assert trouble.value.retry
        assert 20 == await new.next_index()
        await catch_up(new, log)
        assert await expected_of(log, NEW, OTHER) == await digest(new)
        await old.close()
        await new.close()

    run(body())


@pytest.mark.spec("X-05", "X-06")
def test_a_newer_view_is_refused_by_name(dsn: str, run: Run[Any]) -> None:
    """A database of a newer version, or with a view this one does not know, is not opened nor changed."""

    async def body() -> None:
        log = recorded()
        schema = f"view_{next(_schemas)}"
        new = PostgresRecords(dsn, schema, (NEW, OTHER))
        await filled(new, log.verdicts)
        before = await digest(new)
        for views, named in (((OLD, OTHER), "view letters in revision 2"), ((NEW,), "view lanes in revision 1")):
            organ = RecordsOrgan(PostgresRecords(dsn, schema, views))
            with pytest.raises(NewerViews, match=named):
                await organ.open(log)
            await organ.close()
        assert Exit.CONFIG == NewerViews.exit
        assert before == await digest(new)
        await by_hand(new, "update inbox set layout = 2")
        with pytest.raises(NewerViews, match="layout 2"):
            await new.open()
        given_up = PostgresRecords(dsn, schema, (OLD,))
        await rebuild(given_up, log)
        assert await expected_of(log, OLD) == await digest(given_up)
        await given_up.close()
        await new.close()

    run(body())


async def nothing(_: int) -> None:
    """What is left to do where the successor has read everything."""


class Dying:
    """A connection whose server process is killed right after its n-th statement."""

    def __init__(self, inner: Any, after: int) -> None:  # noqa: ANN401 - asyncpg has no types
        self.inner, self.left = inner, after

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the connection has
        found = getattr(self.inner, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval", "executemany"):
            return found

        async def counted(*arguments: object) -> object:
            result = await found(*arguments)
            self.left -= 1
            if self.left == 0:
                os.kill(self.inner.get_server_pid(), signal.SIGKILL)
            return result

        return counted


@pytest.mark.spec("X-05", "X-07")
def test_a_switch_that_was_cut_short_leaves_the_old_view_or_the_new_one(dsn: str, run: Run[Any]) -> None:
    """Killed after any statement of the switch, readers find the old view whole or the new one whole, never both."""

    async def body() -> None:
        log = recorded(20)
        outcomes = set[str]()
        for after in count(1):
            old = await begun(dsn, log)
            new = PostgresRecords(dsn, old.schema, (NEW, OTHER))
            assert (NEW,) == (await new.open()).stale
            successor = await new.successor((NEW,))
            await fill(successor, log.replay(), len(log.verdicts))
            dying = Dying(new._connection, after)
            new._connection = cast("Any", dying)

            with suppress(Unreachable):
                await new.switch(successor, nothing)
            held = {view.name: view.declaration for view in await patiently(old.stored)}
            found = OLD if held["letters"] == OLD.declaration else NEW
            outcomes.add(found.declaration)
            reader = PostgresRecords(dsn, old.schema, (found, OTHER))
            assert await expected_of(log, found, OTHER) == await patiently(partial(digest, reader))
            healed = await upgraded(dsn, old.schema, log)
            assert await expected_of(log, NEW, OTHER) == await digest(healed)
            for records in (old, new, successor, reader, healed):
                await records.close()
            if dying.left > 0:
                break
        assert {OLD.declaration, NEW.declaration} == outcomes

    run(body())


@pytest.mark.spec("X-05", "X-07")
def test_a_rebuild_that_was_cut_short_is_gone_on_with(dsn: str, run: Run[Any]) -> None:
    """What a killed rebuild had read is not read again; what was begun for another declaration is thrown away."""

    async def body() -> None:
        log = recorded()
        old = await begun(dsn, log)
        new = PostgresRecords(dsn, old.schema, (NEW, OTHER))
        successor = await new.successor((NEW,))
        await successor.apply(log.verdicts[:25])
        await successor.close()
        again = await new.successor((NEW,))
        assert 25 == await again.next_index()
        await again.close()
        another = await new.successor((NEW, OTHER))
        assert 0 == await another.next_index()
        await another.close()
        assert await expected_of(log, OLD, OTHER) == await digest(old)
        done = await upgraded(dsn, old.schema, log)
        assert await expected_of(log, NEW, OTHER) == await digest(done)
        for records in (old, new, done):
            await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_a_rebuild_tells_how_far_it_is(make: Make, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild writes its progress into the journal, first to last."""

    async def body() -> None:
        monkeypatch.setattr(building, "AT_ONCE", 10)
        monkeypatch.setattr(building, "TOLD", 20)
        log = recorded(50)
        records = await filled(make(), log.verdicts)
        told = StringIO()
        configure("info", told)
        try:
            await rebuild(records, log, VIEWS[:2])
        finally:
            configure("error", sys.stderr)
        lines = [json.loads(line) for line in told.getvalue().splitlines()]
        assert [("views_rebuilding", 0), ("views_rebuilding", 20), ("views_rebuilding", 40), ("views_rebuilt", 50)] == [
            (line["event"], line.get("reached", line.get("entries"))) for line in lines
        ]
        assert {"decisions, keys"} == {line["views"] for line in lines}
        await records.close()

    run(body())


@pytest.mark.spec("X-05")
def test_a_view_is_read_while_it_is_rebuilt(dsn: str, run: Run[Any]) -> None:
    """Whoever reads during rebuilds and new entries finds every table whole at one index, every time."""

    async def body() -> None:
        log = recorded(120)
        records = await begun(dsn, Recorded(log.verdicts[:40]))
        memory = [await digest(await filled(MemoryRecords((OLD, OTHER)), log.verdicts[:n])) for n in range(40, 121)]
        done = asyncio.Event()
        writing = asyncio.ensure_future(apply_all(PostgresRecords(dsn, records.schema, (OLD, OTHER)), log, done))
        reading = asyncio.ensure_future(read_until(PostgresRecords(dsn, records.schema, (OLD, OTHER)), done))
        while not done.is_set():
            await rebuild(records, log)
        await writing
        seen = await reading
        assert seen
        assert seen <= set(memory)
        assert memory[-1] == await digest(records)
        await records.close()

    run(body())


async def apply_all(records: PostgresRecords, log: Recorded, done: asyncio.Event) -> None:
    """Apply a log entry by entry, again where a rebuild came between."""
    for verdict in log.verdicts:
        while True:
            try:
                await records.apply([verdict])
                break
            except Unreachable:
                continue
    await records.close()
    done.set()


async def read_until(records: PostgresRecords, done: asyncio.Event) -> set[str]:
    """Return every digest that was read until then."""
    seen = set[str]()
    while not done.is_set():
        with suppress(Unreachable):
            seen.add(await digest(records))
    await records.close()
    return seen


@pytest.mark.spec("X-05")
@pytest.mark.parametrize(
    ("deed", "key", "odd"),
    [
        ("update letters set bytes = 0 where index = 7", {"index": 7}, ("bytes",)),
        ("delete from letters where index in (9, 11)", {"index": 9}, ()),
        ("insert into letters values (-1, 0)", {"index": -1}, ()),
        ("delete from letters where index = 39", {"index": 39}, ()),
    ],
)
def test_the_first_row_that_differs_is_named(
    dsn: str, run: Run[Any], deed: str, key: dict[str, int], odd: tuple[str, ...]
) -> None:
    """A changed table is named with its first row that differs, in the order of the key; others are equal."""

    async def body() -> None:
        log = recorded()
        records = await begun(dsn, log)
        await by_hand(records, deed)
        index, [letters_, lanes] = await verify(records, MemoryRecords((OLD, OTHER)), log, log.replay())
        assert (40, None, lanes.live) == (index, lanes.difference, lanes.rebuilt)
        assert letters_.live != letters_.rebuilt
        assert letters_.difference is not None
        assert (key, odd) == (letters_.difference.key, letters_.difference.columns)
        await records.close()

    run(body())


# What cannot be


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        (("a", "a"), ("a",)),
        (("a",), ()),
        (("a",), ("b",)),
        (("A",), ("A",)),
        (("a b",), ("a b",)),
        (("a; drop table x",), ("a; drop table x",)),
    ],
)
def test_a_table_is_declared_well_or_not_at_all(columns: tuple[str, ...], key: tuple[str, ...]) -> None:
    """A name that is none, a key that names no column or a column twice is a DeclarationError where it is written."""
    with pytest.raises(DeclarationError):
        Table("fine", key, tuple(Column(name, "text", "") for name in columns), "")
    with pytest.raises(DeclarationError):
        Table("inbox", ("a",), (Column("a", "text", ""),), "")


@pytest.mark.parametrize(
    "values",
    [
        {"index": 1.0, "bytes": 1},
        {"index": 2**63, "bytes": 1},
        {"index": True, "bytes": 1},
        {"index": "1", "bytes": 1},
        {"index": 1},
        {"index": 1, "bytes": 1, "more": 1},
    ],
)
def test_a_projection_makes_what_was_declared(values: dict[str, Any]) -> None:
    """Another type, a float, a key out of bounds, a missing or an unknown column: DeclarationError."""
    with pytest.raises(DeclarationError):
        OLD.tables[0].insert(**values)


@pytest.mark.spec("X-05", "X-12")
@pytest.mark.parametrize(("said", "held"), [(2**63, 2**63 - 1), (2**64 - 1, 2**63 - 1), (-(2**63), -(2**63))])
def test_a_number_that_no_database_holds_is_the_nearest_that_one_does(said: int, held: int) -> None:
    """What is not part of a key may be any number of a decision: the view has the nearest, the entry the number."""
    assert (1, held) == OLD.tables[0].insert(index=1, bytes=said).values


def test_every_declaration_has_its_own_digest() -> None:
    """Whatever changes in a declaration changes its digest, and nothing else does."""
    assert letters(1).declaration == OLD.declaration
    others = (letters(2), letters(1, Column("word", "text", "")), letters(1, Column("word", "text", "", optional=True)))
    assert 4 == len({OLD.declaration, *(view.declaration for view in others)})


@pytest.mark.spec("X-05", "X-06")
@pytest.mark.parametrize("odd", ["database", "role", "right", "address"])
def test_a_database_that_refuses_is_named(server: Postgres, dsn: str, run: Run[Any], odd: str) -> None:
    """A missing database, role or right, or an unreadable address is one sentence with what to do."""

    async def body() -> None:
        if odd == "right":
            connection: Any = await asyncpg.connect(dsn)
            await connection.execute("create role reader login")
            await connection.close()
        as_role = partial(re.sub, r"//[^@]*@", string=dsn)
        wrong, what = {
            "database": (server.dsn("nowhere"), 'database "nowhere" does not exist; create it'),
            "role": (as_role("//nobody@"), 'role "nobody" does not exist; create the role'),
            "right": (as_role("//reader@"), "permission denied for database nimmerverse_dev; let it make schemas"),
            "address": ("mysql://here", "write the setting database_url as"),
        }[odd]
        records = PostgresRecords(wrong, f"view_{next(_schemas)}")
        with pytest.raises(DatabaseRefused, match=re.escape(what)) as trouble:
            await records.open()
        assert (True, Exit.CONFIG) == (trouble.value.retry, trouble.value.exit)
        await records.close()

    run(body())


@pytest.mark.spec("X-07")
def test_a_view_that_cannot_be_reached_says_so(tmp_path: Path, run: Run[Any]) -> None:
    """A missing server is Unreachable with one sentence, and worth a retry."""

    async def body() -> None:
        records = PostgresRecords(f"postgresql://nobody@/nothing?host={tmp_path}&port=5432")
        with pytest.raises(Unreachable, match="PostgreSQL does not answer"):
            await records.open()
        assert Unreachable.retry

    run(body())


def test_a_schema_is_a_name() -> None:
    """Nothing but a plain name becomes part of a statement."""
    for name in ("", "a b", "x; drop table y", 'x"'):
        with pytest.raises(ValueError, match="is not a schema name"):
            PostgresRecords("postgresql://x@y/z", name)
