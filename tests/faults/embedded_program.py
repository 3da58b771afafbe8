"""A program with embedded servers, run as another process by the tests beside it: `embedded_program.py DEED FOLDER`.

It prints one line of JSON: what it runs, or the fault it met.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (asyncpg, nkeys and parts of nats-py ship no types)

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import nats

from deploy.embedded import Account, Identity, NatsServer, Postgres
from shared.errors import Fault
from shared.keys import nkey_pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEY = nkey_pair(bytes(32))
ACCOUNTS = (Account("dev", (Identity("all", KEY.public, (">",), (">",)),)),)


def say(**found: object) -> None:
    """Print one line of JSON at once."""
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


async def serve(folder: Path) -> None:
    """Run both servers until standard input closes."""
    async with NatsServer(folder / "nats", ACCOUNTS) as bus, Postgres(folder / "postgres") as records:
        say(pid=os.getpid(), nats=bus.child.pid, postgres=records.child.pid, url=bus.url)
        await asyncio.to_thread(sys.stdin.read)


async def answer(folder: Path) -> None:
    """Start both servers and ask each something."""
    async with NatsServer(folder / "nats", ACCOUNTS) as bus, Postgres(folder / "postgres") as records:
        client = await nats.connect(bus.url, nkeys_seed_str=KEY.seed)
        url = await records.ensure_database("nimmerverse_dev")
        database = await asyncpg.connect(url)
        say(
            uid=os.geteuid(),
            rtt_positive=await client.rtt() > 0,
            one=await database.fetchval("SELECT 1"),
            wrapped_in=Path(records.child.program.argv[0]).name,
            owner=(folder / "postgres/data").stat().st_uid,
        )
        await database.close()
        await client.close()


async def start_nats(folder: Path) -> None:
    """Start only the bus."""
    async with NatsServer(folder / "nats", ACCOUNTS):
        say(started="nats")


async def start_postgres(folder: Path) -> None:
    """Start only the records."""
    async with Postgres(folder / "postgres"):
        say(started="postgres")


DEEDS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "serve": serve,
    "answer": answer,
    "start-nats": start_nats,
    "start-postgres": start_postgres,
}


async def main(deed: str, folder: str) -> None:
    """Do one deed, or print the fault's class and sentence."""
    try:
        await DEEDS[deed](Path(folder))
    except Fault as fault:
        say(fault=type(fault).__name__, sentence=str(fault))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
