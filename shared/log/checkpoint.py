r"""A checkpoint: the log's name, its size and its root, as a signed note.

    origin '\n' size '\n' base64(root) '\n'

The log's key signs it twice: as a note, and as a cosignature that says when. Source: C2SP tlog-checkpoint.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from shared.keys import Signer
from shared.log.note import (
    COSIGNATURE,
    ED25519,
    ML_DSA_44,
    BadNote,
    Note,
    NoteKey,
    check_name,
    cosign,
    sign,
    time_of,
    unbase64,
)
from shared.log.tree import HASH_BYTES

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: under this origin, so many leaves have this root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Return the checkpoint a note's text says; BadNote if it says none, or has extension lines: ours never has."""
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1] or not _SIZE.fullmatch(lines[1]):
            raise BadNote("a checkpoint is three lines: origin, size, root")
        root = unbase64(lines[2])
        if len(root) != HASH_BYTES:
            raise BadNote(f"the checkpoint's root has {len(root)} bytes, expected {HASH_BYTES}")
        return cls(check_name(lines[0]), int(lines[1]), root)

    def signed(self, signer: Signer, time_s: int) -> Note:
        """Return the note by the log's own key: its signature, and its word for the time (POSIX seconds)."""
        assert Checkpoint.parse(self.text) == self, "a log signs only what a reader reads as it was meant"
        return Note(self.text, (sign(self.origin, self.text, signer), cosign(self.origin, self.text, signer, time_s)))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose note is signed by the log's own key, and when that key says it was (None: it does not)."""

    checkpoint: Checkpoint
    note: Note
    time_s: int | None
    witnesses: tuple[NoteKey, ...] = ()


def origin_of(env: str, fingerprint: str, epoch: int) -> str:
    """Return a log's name: one environment of one genesis, in one epoch."""
    return f"nimmerverse/{env}/{fingerprint[:32]}" + (f"/{epoch}" if epoch > 1 else "")


def epoch_of(origin: str, env: str, fingerprint: str) -> int | None:
    """Return the epoch of that log which a name is of; None for any other name."""
    first = origin_of(env, fingerprint, 1)
    if origin == first:
        return 1
    number = origin.removeprefix(f"{first}/")
    epoch = int(number) if _SIZE.fullmatch(number) else 0
    return epoch if origin == origin_of(env, fingerprint, epoch) != first else None


def log_keys(origin: str, public: bytes) -> tuple[NoteKey, NoteKey]:
    """Return the log's verifier keys: for the note, and for the cosignature that carries the time."""
    return NoteKey(origin, ED25519, public), NoteKey(origin, COSIGNATURE, public)


def open_checkpoint(
    raw: bytes | str, public: bytes, origin: str | None = None, witnesses: tuple[NoteKey, ...] = ()
) -> SignedCheckpoint:
    """Return a checkpoint that the log's key signed, with the witnesses that did; BadNote where it did not.

    `origin` is the name it must have; None takes the one it says.
    """
    note = Note.parse(raw)
    checkpoint = Checkpoint.parse(note.text)
    if origin is not None and checkpoint.origin != origin:
        raise BadNote(f"the checkpoint is of {checkpoint.origin}, expected {origin}")
    plain, timed = log_keys(checkpoint.origin, public)
    if plain not in note.by((plain, timed)):
        raise BadNote(f"the checkpoint of {checkpoint.origin} at {checkpoint.size} is not signed by the log's key")
    times = [time_of(signature.signature) for signature in note.signatures if signature.is_by(timed)]
    return SignedCheckpoint(checkpoint, note, max(times, default=None), _witnessed(checkpoint, note, witnesses))


def _witnessed(checkpoint: Checkpoint, note: Note, witnesses: tuple[NoteKey, ...]) -> tuple[NoteKey, ...]:
    """Return which witnesses signed; BadNote where one of them is named and its signature does not verify."""
    found = note.by(key for key in witnesses if key.kind != ML_DSA_44)
    for key in (key for key in witnesses if key.kind == ML_DSA_44):
        from shared.keys.mldsa import verify_mldsa
        from shared.log.subtree import second_holds

        lines = [line for line in note.signatures if line.is_by(key)]
        if any(not second_holds(key, checkpoint, line, verify_mldsa) for line in lines):
            raise BadNote(f"the signature of {key.name} ({key.key_id.hex()}) does not verify")
        found += [key] if lines else []
    return tuple(found)
