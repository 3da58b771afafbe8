"""Commands of this program in processes of their own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping


async def run_apart(*words: str, env: Mapping[str, str] | None = None, quiet: bool = False) -> tuple[int, bytes]:
    """Run `nimmerverse words… --json` to its end; return its exit code and what it printed.

    It is in a session of its own, so that Ctrl-C is ours alone, and it ends when nobody waits for it any more. `quiet`
    drops what it says on standard error.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy", *words, "--json"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL if quiet else None,
        start_new_session=True,
        env=env,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return process.returncode or 0, out
