"""What an ingest remembers between two runs: the secret of its salts, and the cache of ids, built again where it lags.

Losing either costs nothing but time: salts lie beside their records, and the cache is read from what was sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from blake3 import blake3

from organs.provenance.seen import PRINT_BYTES, Mark, Seen
from shared.artifacts import ArtifactStore
from shared.corpus import Line, Listed, read_batch
from shared.errors import StorageFault
from shared.files import private_folder, write_private
from shared.home import place
from shared.log.batch import SALT_BYTES
from shared.message import encode_token
from shared.settings import Settings
from shared.subjects.provenance import BatchSealed
from shared.world import World


def folder_of(settings: Settings, corpus: str) -> Path:
    """Return where the ingest of a corpus keeps what it remembers."""
    return place(settings) / "provenance" / encode_token(corpus)


def salts_of(folder: Path, world: World) -> bytes:
    """Return the secret that the salts of nobody's posts come from, drawn on first use. StorageFault."""
    private_folder(folder)
    path = folder / "salts"
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        found = b""
    except OSError as error:
        raise StorageFault(f"{path} cannot be read ({error.strerror}); remove it, and another is made") from error
    if len(found) != SALT_BYTES:
        found = world.entropy(SALT_BYTES)
        write_private(path, found)
    return found


async def catch_up(
    seen: Seen, batches: int, store: ArtifactStore, sealed: Callable[[], Awaitable[Sequence[BatchSealed]]]
) -> None:
    """Bring the cache to where the log says the corpus stands; what it does not know is read. D005; Damaged."""
    if seen.batches == batches:
        return
    if not 0 <= seen.batches < batches:
        seen.begin_again()
    for batch in (await sealed())[seen.batches : batches]:
        lines = await read_batch(store, batch.records)
        listed = Listed(batch.number, batch.root, batch.records, batch.posts, batch.tally.kept)
        await asyncio.to_thread(seen.add, listed, batch.sha256, [_marked(line) for line in lines])


def _marked(line: Line) -> tuple[str, Mark]:
    content = line.content()
    kept = (content.text or "").encode() if content.sealed is None else b"".join(content.sealed)
    return line.id, Mark(line.person, blake3(kept).digest()[:PRINT_BYTES])
