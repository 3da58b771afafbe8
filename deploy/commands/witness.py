"""`audit witness`: cosign other people's logs, on an address of one's own, until stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from deploy.organism import HOST_OWNER
from deploy.terminal import Terminal
from organs.witness import Witness, memory_of, name_of, serve
from organs.witness.organ import PART
from shared.config import Loaded
from shared.errors import ConfigFault, Exit
from shared.home import Keys
from shared.journal import configure
from shared.keys import Signer
from shared.log.note import BadNote, NoteKey, check_name
from shared.log.witness import note_keys
from shared.world import RealWorld


def witness(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Cosign checkpoints of the named logs, each only if it goes on from the last one, until SIGTERM."""
    settings = loaded.settings
    configure(settings.log_level, sys.stderr)
    logs = _logs([*args.log, settings.witness_logs or ""])
    world = RealWorld(settings.env)
    signer = Keys(settings, world).signer(PART, HOST_OWNER)
    name = _name(args.name, signer)
    one = Witness(name, signer, logs, memory_of(settings), lambda: world.now_ns() // 1_000_000_000)
    host, port = args.listen
    url, close = serve(one, host, port)
    try:
        origins = sorted({key.name for key in logs})
        listed = "\n".join(f"  {origin}" for origin in origins)
        terminal.give(
            {"url": url, "key": str(one.key), "logs": origins},
            f"{one.key}\nwitness at {url} of\n{listed}\nCtrl-C or SIGTERM stops it",
        )
        sys.stdout.flush()
        asyncio.run(_until_stopped())
    finally:
        close()
    return Exit.OK


def _logs(given: Sequence[str]) -> tuple[NoteKey, ...]:
    """Return the verifier keys of the logs to cosign, each once."""
    logs = tuple(dict.fromkeys(key for text in given for key in note_keys(text, "--log or witness_logs")))
    if not logs:
        raise ConfigFault(
            "a witness needs the verifier key of a log: --log NAME+ID+KEY, a file of them, or witness_logs"
        )
    return logs


def _name(chosen: str | None, signer: Signer) -> str:
    try:
        return check_name(chosen if chosen is not None else name_of(signer))
    except BadNote as bad:
        raise ConfigFault(f"--name: {bad}") from None


async def _until_stopped() -> None:
    """Return at the first SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
