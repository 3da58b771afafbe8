"""What every view of the log does, in memory and in PostgreSQL: each entry once, in order, or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import astuple
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import msgspec
import pytest

from deploy.embedded import Postgres
from organs.records import (
    DecisionRow,
    MemoryRecords,
    OutOfOrder,
    PostgresRecords,
    Records,
    RecordsOrgan,
    catch_up,
    rebuild,
    rows_of,
)
from shared.envelope import Verdict
from shared.errors import LogFault, Unreachable
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
        assert await records.apply(verdict.entry.index, rows_of(verdict))
    return records


@pytest.mark.spec("NIM-10", "X-07")
def test_a_new_view_is_empty(make: Make, run: Run[Any]) -> None:
    """A new view expects entry 0 and shows nothing; opening it again changes nothing."""

    async def body() -> None:
        records = make()
        for _ in range(2):
            await records.open()
            assert (0, []) == (await records.next_index(), await records.newest(10))
        await records.close()

    run(body())


@pytest.mark.spec("X-07")
def test_an_entry_is_applied_once(make: Make, run: Run[Any]) -> None:
    """Applied again, and later again, an entry changes nothing and says so."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts)
        digest = await records.digest()
        for verdict in log.verdicts:
            assert not await records.apply(verdict.entry.index, rows_of(verdict))
        assert (len(log.verdicts), digest) == (await records.next_index(), await records.digest())
        await records.close()

    run(body())


@pytest.mark.spec("X-07")
def test_a_gap_is_a_fault(make: Make, run: Run[Any]) -> None:
    """An entry that comes too early is a LogFault, and the view stays as it was."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts[:5])
        digest = await records.digest()
        with pytest.raises(LogFault, match="expects entry 5, entry 7 came"):
            await records.apply(7, rows_of(log.verdicts[7]))
        assert (5, digest) == (await records.next_index(), await records.digest())
        assert await records.apply(5, rows_of(log.verdicts[5]))
        await records.close()

    run(body())


@pytest.mark.spec("NIM-10")
def test_a_rebuilt_view_is_the_same(make: Make, run: Run[Any]) -> None:
    """Dropped and rebuilt from the log a view has the same digest; so has every implementation."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts)
        live = await records.digest()
        assert live == await rebuild(records, log)
        assert live == await (await filled(MemoryRecords(), log.verdicts)).digest()
        assert live != await (await filled(MemoryRecords(), log.verdicts[:-1])).digest()
        assert live == await rebuild(records, Recorded([*log.verdicts, *log.verdicts[-1:]]), len(log.verdicts))
        await records.close()

    run(body())


@pytest.mark.spec("NIM-10")
def test_the_newest_rows_come_first(make: Make, run: Run[Any]) -> None:
    """The newest rows are shown newest first, as many as asked for, void ones with their code and nothing else."""

    async def body() -> None:
        log = recorded()
        rows = [row for verdict in log.verdicts for row in rows_of(verdict)]
        records = await filled(make(), log.verdicts)
        for limit in (0, 1, 7, 10_000):
            assert rows[::-1][:limit] == await records.newest(limit)
        void = [row for row in rows if row.refusal]
        assert {("", "", "", "", 0, "null", 0)} == {
            (r.source, r.version, r.event_id, r.cause, r.written_ms, r.data, r.evidence_bytes) for r in void
        }
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
        odd = forge.subject_of(forge.PLAIN, "a\0b")
        log.put(log.sealed(odd, [forge.event("odd", b"\x81\xa1n\x01")], forge.signer("ada's"), version="1\0"))
        assert all(rows_of(verdict) for verdict in log.verdicts)
        records = await filled(make(), log.verdicts)
        assert await records.digest() == await (await filled(MemoryRecords(), log.verdicts)).digest()
        await records.close()

    run(body())


@pytest.mark.spec("NIM-10")
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
        assert await (await filled(MemoryRecords(), log.verdicts)).digest() == await organ.records.digest()
        await organ.close()

    run(body())


class Dropping(MemoryRecords):
    """A view that somebody drops between two questions."""

    dropped = False

    async def apply(self, index: int, rows: Any) -> bool:  # noqa: ANN401 - as the port declares
        """Be dropped once, then apply."""
        if index == 9 and not self.dropped:
            self.dropped = True
            await self.drop()
        return await super().apply(index, rows)


@pytest.mark.spec("NIM-10", "X-07")
def test_a_view_dropped_at_the_worst_moment_is_tried_again(run: Run[Any]) -> None:
    """A drop between looking and applying is trouble that passes, so the entry comes back."""

    async def body() -> None:
        log = recorded()
        organ = RecordsOrgan(Dropping())
        await organ.open(log)
        for verdict in log.verdicts[:9]:
            await organ.on_entry(verdict)
        with pytest.raises(OutOfOrder) as trouble:
            await organ.on_entry(log.verdicts[9])
        assert trouble.value.retry
        await organ.on_entry(log.verdicts[9])
        assert await (await filled(MemoryRecords(), log.verdicts)).digest() == await organ.records.digest()

    run(body())


@pytest.mark.spec("X-07")
def test_questions_at_once_do_not_disturb_each_other(make: Make, run: Run[Any]) -> None:
    """A view may be read while it is written, from the same process: nobody is disconnected."""

    async def body() -> None:
        log = recorded()
        records = await filled(make(), log.verdicts[:20])
        writing = [records.apply(v.entry.index, rows_of(v)) for v in log.verdicts[:20]]
        reading = [ask() for _ in range(5) for ask in (records.next_index, records.digest)]
        assert {False, 20, await records.digest()} == set(await asyncio.gather(*writing, *reading))
        await records.close()

    run(body())


# PostgreSQL alone


@pytest.mark.spec("X-07")
def test_rows_and_inbox_are_one_transaction(dsn: str, run: Run[Any]) -> None:
    """If one row cannot be stored, no row is, and the inbox stays where it was."""

    async def body() -> None:
        log = recorded()
        records = PostgresRecords(dsn, f"view_{next(_schemas)}")
        await filled(records, log.verdicts[:5])
        before = await records.digest()
        row = rows_of(log.verdicts[0])[0]
        twice = [DecisionRow(5, place, *astuple(row)[2:]) for place in (0, 1, 1)]
        with pytest.raises(asyncpg.UniqueViolationError):
            await records.apply(5, twice)
        assert (5, before) == (await records.next_index(), await records.digest())
        assert await records.apply(5, twice[:2])
        await records.close()

    run(body())


@pytest.mark.spec("NIM-10")
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
        assert await (await filled(MemoryRecords(), log.verdicts)).digest() == await rebuilder.digest()
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
            applying = asyncio.ensure_future(records.apply(index, rows_of(verdict)))
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
                applied += [index] if await records.apply(index, rows_of(verdict)) else []
        assert set(range(300)) - set(applied) <= set(kills), "only a killed commit may have happened unseen"
        assert (300, len(applied)) == (await records.next_index(), len(set(applied)))
        assert await (await filled(MemoryRecords(), log.verdicts)).digest() == await records.digest()
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
@pytest.mark.parametrize("after", ["fetchval", "executemany", "execute"])
def test_a_commit_that_was_cut_short_never_happened(dsn: str, run: Run[Any], after: str) -> None:
    """Killed after looking, after the rows, or after the inbox, before the commit: neither rows nor inbox moved."""

    async def body() -> None:
        log = recorded()
        records = PostgresRecords(dsn, f"view_{next(_schemas)}")
        await filled(records, log.verdicts[:5])
        digest = await records.digest()
        records._connection = cast("Any", Cutting(records._connection, after))
        with pytest.raises(Unreachable):
            await records.apply(5, rows_of(log.verdicts[5]))
        assert 5 == await reached(records)
        assert digest == await records.digest()
        assert await records.apply(5, rows_of(log.verdicts[5]))
        assert await (await filled(MemoryRecords(), log.verdicts[:6])).digest() == await records.digest()
        await records.close()

    run(body())


async def reached(records: Records) -> int:
    """The view's next index, once its server answers again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await records.next_index()
            except Unreachable:
                await asyncio.sleep(0.01)


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
