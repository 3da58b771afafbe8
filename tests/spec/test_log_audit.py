"""An auditor believes no tile that does not lead to the signed root."""

from __future__ import annotations

import asyncio

import pytest

from shared.audit.source import FolderSource
from shared.audit.verify import verify
from shared.envelope import fingerprint_of, leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.errors import Exit
from shared.log.checkpoint import Checkpoint, origin_of
from shared.log.store import MemoryTiles
from shared.log.tiles import CHECKPOINT, TileWriter
from shared.subjects.keys import Grant
from tests.forge import ADA, BOB, ENV, PLAIN, START_MS, Log, genesis, introduced, roots, signer

pytestmark = pytest.mark.spec("X-04")

SIZE, VOID = 300, 290


def signed() -> MemoryTiles:
    """The tiles of a signed log of which one late entry is void."""
    log, tiles = Log(), MemoryTiles()
    notary = introduced("the notary's", BOB, NOTARY_PART, [Grant(f"{ENV}.system.notary.event.*.>")])
    for message in (genesis(), notary, introduced("ada's", ADA)):
        log.key_event(message, *roots(ADA, BOB))
    while log.index < SIZE:
        log.say(PLAIN, f"event {log.index}", signer("stranger" if log.index == VOID else "ada's"))
    writer = TileWriter(tiles)
    writer.extend([leaf_of(entry) for entry in log.entries])
    writer.seal()
    origin = origin_of(ENV, fingerprint_of(bytes(log.verdicts[0].events[0].data)), 1)
    note = Checkpoint(origin, SIZE, writer.root()).signed(signer("the notary's"), START_MS // 1_000)
    tiles.put(CHECKPOINT, str(note).encode())
    return tiles


def test_a_changed_hash_hides_nothing() -> None:
    """Of a log with one bit changed in any tile of hashes, every entry is still judged, and that is named."""
    sound = signed()
    report = asyncio.run(verify(FolderSource(sound, "the log")))
    assert (Exit.VOID, [VOID]) == (report.exit, [bad.index for bad in report.void])
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"):
        tiles = MemoryTiles()
        tiles.files = dict(sound.files)
        tiles.files[path] = bytes([tiles.files[path][0] ^ 1]) + tiles.files[path][1:]
        report = asyncio.run(verify(FolderSource(tiles, "the log")))
        assert (Exit.TAMPERED, [VOID]) == (report.exit, [bad.index for bad in report.void]), path
