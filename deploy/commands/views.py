"""`views list`, `verify` and `rebuild`: the log's views in PostgreSQL, looked at, held against the log, built anew."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from deploy.attach import operator
from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.records import Compared, PostgresRecords, catch_up, digests, verify
from organs.records.building import Difference
from organs.records.building import rebuild as build_anew
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.errors import ConfigFault, Exit
from shared.home import Running

VERIFIED = constant("nimmerverse_verified", "schema name", "X-05")


def list_views(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every table of every view: version, rows, next index, digest."""
    rows = finish(_list(loaded, terminal))
    lines = [
        f"{row['table']:<14} {row['view']} revision {row['revision']} ({row['declaration'][:8]})  "
        + (
            f"{row['rows']:>8} rows  next index {row['next_index']}  digest {row['digest'][:16]}"
            if row["current"]
            else "declared otherwise in this version: rebuilt at the next start of the organ `records`"
        )
        for row in rows
    ]
    terminal.give(rows, "\n".join(lines) or "no views yet")
    return Exit.OK


def verify_views(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Compare every table with one that is built from the log at the same index; 11 unless all are equal."""
    index, compared = finish(_verify(loaded, terminal, args.trust))
    odd = [table for table in compared if table.live != table.rebuilt]
    lines = [line for table in compared for line in _told(table)]
    verdict = (
        f"{len(odd)} of {len(compared)} tables differ from the log; `nimmerverse views rebuild` builds them anew"
        if odd
        else f"all {len(compared)} tables are what the log says at index {index}"
    )
    found = [{**asdict(table), "equal": table.live == table.rebuilt} for table in compared]
    terminal.give({"ok": not odd, "next_index": index, "tables": found}, "\n".join([*lines, verdict]))
    return Exit.TAMPERED if odd else Exit.OK


def rebuild_views(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Build every view anew from the log and put it in the place of the present one, which can be read until then."""
    rows, index = finish(_rebuild(loaded, terminal))
    terminal.give(
        {"ok": True, "next_index": index, "rows": rows}, f"rebuilt from {index} entries: {sum(rows.values())} rows"
    )
    return Exit.OK


@asynccontextmanager
async def _views(loaded: Loaded, terminal: Terminal) -> AsyncGenerator[tuple[Bus, PostgresRecords]]:
    """Yield a bus that reads the log, and its views; nothing is written into them by whoever is started for this."""
    async with operator(loaded, terminal.note, ()) as bus:
        running = Running.read(loaded.settings) if loaded.settings.nats_url is None else None
        url = running.database_url if running else loaded.settings.database_url
        if not url:
            raise ConfigFault(
                "no database is known here: set NIMMERVERSE_DATABASE_URL to the one that the organ `records` writes"
            )
        records = PostgresRecords(url)
        try:
            yield bus, records
        finally:
            await records.close()


async def _list(loaded: Loaded, terminal: Terminal) -> list[dict[str, Any]]:
    async with _views(loaded, terminal) as (_, records):
        stored = await records.stored()
        if not stored:
            return []
        held = {view.name: view.declaration for view in stored}
        current = [view for view in records.views if held.get(view.name) == view.declaration]
        async with records.snapshot() as still:
            found, next_index = await digests(still, current), still.next_index
    names = {view.name for view in current}
    return [
        {
            "view": view.name,
            "table": table,
            "revision": view.revision,
            "declaration": view.declaration,
            "current": view.name in names,
            "rows": found[table].rows if table in found else None,
            "next_index": next_index,
            "digest": found[table].digest if table in found else None,
        }
        for view in stored
        for table in view.tables
    ]


async def _verify(loaded: Loaded, terminal: Terminal, trust: str | None) -> tuple[int, list[Compared]]:
    async with _views(loaded, terminal) as (bus, records):
        held = {view.name: view.declaration for view in await records.stored()}
        odd = [view.name for view in records.views if held.get(view.name) != view.declaration]
        if odd:
            raise ConfigFault(
                f"the database holds the views {', '.join(odd)} declared otherwise than this version does, or not at "
                "all; `nimmerverse views rebuild` builds them anew"
            )
        fresh = PostgresRecords(records.dsn, VERIFIED)
        try:
            await fresh.claim()
            await fresh.drop()
            try:
                return await verify(records, fresh, bus, bus.replay(trust))
            finally:
                await fresh.remove()
        finally:
            await fresh.close()


async def _rebuild(loaded: Loaded, terminal: Terminal) -> tuple[dict[str, int], int]:
    async with _views(loaded, terminal) as (bus, records):
        if not await records.stored():
            await records.open()
        await build_anew(records, bus)
        await catch_up(records, bus)
        async with records.snapshot() as held:
            found = await digests(held, records.views)
            return {name: table.rows for name, table in found.items()}, held.next_index


def _told(table: Compared) -> list[str]:
    """Return what people are told of one table."""
    if table.live == table.rebuilt:
        return [f"✓ {table.table:<14} {table.live.rows:>8} rows  digest {table.live.digest[:16]}"]
    first = f"✗ {table.table:<14} {table.live.rows:>8} rows  digest {table.live.digest[:16]}"
    lines = [f"{first}, from the log {table.rebuilt.rows} rows, {table.rebuilt.digest[:16]}"]
    if table.difference is not None:
        where = ", ".join(f"{name} {value}" for name, value in table.difference.key.items())
        lines += [f"    first at {where}: {what}" for what in _in_words(table.difference)]
    return lines


def _in_words(odd: Difference) -> list[str]:
    if odd.found is None or odd.expected is None:
        return ["the row is missing" if odd.found is None else "this row does not come from the log"]
    return [f"{name} is {odd.found[name]!r}, the log says {odd.expected[name]!r}" for name in odd.columns]
