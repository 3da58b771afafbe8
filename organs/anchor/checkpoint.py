"""What of a log checkpoint is anchored: the text that its signatures are over."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from organs.anchor.kept import Kept, Record
from shared.errors import Refusal, Refused, StorageFault
from shared.home import place
from shared.settings import Settings

WHAT = "checkpoint "


def anchors_folder(settings: Settings) -> Path:
    """Return where an environment's proofs of time lie."""
    return place(settings) / "anchors"


def checkpoint_proofs(settings: Settings) -> list[tuple[str, bytes]]:
    """Return the proofs of time that were collected for this log's checkpoints, by names that say their size."""
    folder = anchors_folder(settings)
    found: list[tuple[str, bytes]] = []
    for path in sorted((folder / "anchors").glob("*")):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
            if record.what.startswith(WHAT) and record.state != "none":
                proof = Kept.location(folder, record)
                size = record.what.removeprefix(WHAT)
                found.append((f"checkpoint-{size}-{record.digest[:8]}{proof.suffix}", proof.read_bytes()))
        except (OSError, msgspec.MsgspecError) as error:
            raise StorageFault(f"{path} is no record of an anchor, or its proof is gone ({error})") from error
    return found


def checkpoint_digest(note: bytes) -> bytes:
    """Return the SHA-256 of a signed note's body: all up to and including the newline before the blank line.

    Signatures may be added later (witnesses do); what was anchored stays the same. Refused A002 for what is no note.
    """
    body, blank, signatures = note.partition(b"\n\n")
    if not (body and blank and signatures.startswith("— ".encode())):
        raise Refused(Refusal("A002", f"a signed note is expected, its text and signatures apart; found {note[:60]!r}"))
    return hashlib.sha256(body + b"\n").digest()
