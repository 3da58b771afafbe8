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
from organs.records import Compared, PostgresRecords, digests, verify
from organs.records.rebuild import rebuild as build_anew
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.errors import ConfigFault, Exit
from shared.home import Running

VERIFIED = constant("nimmerverse_verified", "schema name", "X-05")


def list_views(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every table of every view: version, rows, next index, digest."""
    rows = finish(_list(loaded, terminal))
    wide = max(len(f"{row['view']}.{row['table']}") for row in rows)
    lines = [
        f"{row['view'] + '.' + row['table']:<{wide}}  revision {row['revision']} {row['declaration'][:8]}  "
        f"{row['rows']:>8} rows  next index {row['next_index']}  digest {row['digest'][:16]}  {row['state']}"
        for row in rows
    ]
    terminal.give(rows, "\n".join(lines))
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
        stored = {view.name: view for view in await records.stored()}
        if not stored:
            raise ConfigFault("the database holds no views yet; `nimmerverse up` or `views rebuild` makes them")
        same = [view for view in records.views if view.name in stored and _is_current(stored[view.name], view)]
        async with records.snapshot() as held:
            found, next_index = await digests(held, same), held.next_index
    rows: list[dict[str, Any]] = []
    for view in stored.values():
        state = "current" if view.name in {v.name for v in same} else "declared otherwise: rebuilt at the next start"
        for table in view.tables:
            counted = found.get(table)
            rows.append(
                {
                    "view": view.name,
                    "table": table,
                    "revision": view.revision,
                    "declaration": view.declaration,
                    "rows": counted.rows if counted else 0,
                    "next_index": next_index,
                    "digest": counted.digest if counted else "",
                    "state": state,
                }
            )
    return rows
