r"""What a log and its witnesses say to each other: a checkpoint goes there, cosignatures come back.

    request = 'old ' decimal '\n' (base64(hash) '\n'){0,63} '\n' checkpoint note
    answer  = 200 and cosignature lines, or 409 and the size the witness has, as text/x.tlog.size

Source: C2SP tlog-witness.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.constant import constant
from shared.errors import ConfigFault
from shared.log.note import BadNote, NoteKey, NoteSignature, read_line, unbase64
from shared.log.tree import HASH_BYTES

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
MAX_HASHES = constant(63, "hashes", "X-04")
MAX_REQUEST_BYTES = constant(135_168, "bytes", "X-12")
MAX_LINES = constant(16, "cosignature lines", "X-12")
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n?")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """What a witness is asked: this note is the newest, and here is how it goes on from the `old` first leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def __bytes__(self) -> bytes:
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old}\n{hashes}\n{self.note}".encode()

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Return what is asked in these bytes; BadNote if it is malformed."""
        if len(body) > MAX_REQUEST_BYTES:
            raise BadNote(f"the request has {len(body)} bytes, at most {MAX_REQUEST_BYTES} are read")
        try:
            head, empty, note = body.decode().partition("\n\n")
        except UnicodeDecodeError:
            raise BadNote("the request is not UTF-8") from None
        first, *lines = head.split("\n")
        old = _OLD.fullmatch(first)
        if not empty or old is None:
            raise BadNote("a request begins with `old` and a size, then hashes, an empty line and a checkpoint")
        if len(lines) > MAX_HASHES:
            raise BadNote(f"the proof has {len(lines)} hashes, at most {MAX_HASHES} are read")
        proof = tuple(unbase64(line) for line in lines)
        if any(len(one) != HASH_BYTES for one in proof):
            raise BadNote(f"a hash of the proof does not have {HASH_BYTES} bytes")
        return cls(int(old[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an HTTP status, the content's type, and the content."""

    status: int
    kind: str
    body: bytes

    def size(self) -> int:
        """Return the size a witness says it has; BadNote if the answer says none."""
        found = _SIZE.fullmatch(self.body.decode("ascii", "replace"))
        if self.kind.partition(";")[0].strip() != SIZE_TYPE or found is None:
            raise BadNote(f"the witness answers {self.status} without the size it has")
        return int(found[1])

    def lines(self) -> list[NoteSignature]:
        """Return the signature lines of an answer, unproven; BadNote if it holds anything else."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            raise BadNote("the witness's answer is not UTF-8") from None
        lines = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(lines) > MAX_LINES:
            raise BadNote(f"the witness's answer is not 1 to {MAX_LINES} signature lines, each line ended")
        return [read_line(line) for line in lines]


def note_keys(text: str | None, setting: str) -> tuple[NoteKey, ...]:
    """Return the verifier keys of a setting: a list separated by commas, or a file with one a line.

    Empty lines and lines that begin with # are passed over. ConfigFault if one is no verifier key.
    """
    if not text:
        return ()
    listed = text.split(",")
    if "+" not in text:
        try:
            listed = Path(text).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ConfigFault(f"{setting} is {text!r}, neither verifier keys nor a file of them ({error})") from None
    try:
        return tuple(NoteKey.parse(one) for one in map(str.strip, listed) if one and not one.startswith("#"))
    except BadNote as bad:
        raise ConfigFault(f"{setting}: {bad}") from None
