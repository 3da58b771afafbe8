r"""Signed notes: text signed by one or more keys, one line each, as other transparency logs write and read them.

    note      = text '\n' lines         text ends in '\n'; the last empty line parts them
    line      = '— ' name ' ' base64(key id ‖ signature) '\n'
    key id    = SHA-256(name ‖ '\n' ‖ kind ‖ public key)[:4]
    vkey      = name '+' hex(key id) '+' base64(kind ‖ public key)

Kinds: 0x01 Ed25519 over the text; 0x04 Ed25519 cosignature, 0x06 ML-DSA-44 cosignature, both with a time.
Source: C2SP signed-note and tlog-cosignature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.constant import constant
from shared.errors import Fault
from shared.keys import Signer, verify
from shared.keys.signer import PUBLIC_BYTES, SIGNATURE_BYTES

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
ML_DSA_44: Final = 0x06
MAX_NOTE_BYTES = constant(131_072, "bytes", "X-12")
MAX_NOTE_SIGNATURES = constant(64, "signatures", "X-12")
MAX_NAME_BYTES = constant(255, "bytes", "X-12")
TIME_BYTES: Final = 8
MAX_TIME_S: Final = 2**63 - 1
_KEY_ID_BYTES: Final = 4
_BAD_NAME = re.compile(r"[\s+\x00-\x1f]")


class BadNote(Fault):
    """A note, key or checkpoint that is not written as it must be, or whose known key did not sign it."""


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A verifier key: the name that signs, the kind of signature, and the public key."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line names this key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Return the key of a vkey line; BadNote if it is none, or if its id is not its own."""
        parts = text.strip().split("+", 2)
        if len(parts) != len(("name", "id", "key")):
            raise BadNote(f"{text!r} is no verifier key; it is written name+id+key")
        raw = unbase64(parts[2])
        if not raw:
            raise BadNote(f"the verifier key of {check_name(parts[0])} holds no key")
        key = cls(check_name(parts[0]), raw[0], raw[1:])
        if parts[1] != key.key_id.hex():
            raise BadNote(f"the verifier key of {key.name} has id {key.key_id.hex()}, it says {parts[1]}")
        if key.kind in (ED25519, COSIGNATURE) and len(key.public) != PUBLIC_BYTES:
            raise BadNote(f"the verifier key of {key.name} has {len(key.public)} bytes, {PUBLIC_BYTES} are expected")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line, proven or not."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    def is_by(self, key: NoteKey) -> bool:
        """Say whether the line claims to be by this key."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it; nothing is proven by reading it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line for signature in self.signatures)

    @classmethod
    def parse(cls, raw: bytes | str) -> Note:
        """Return the note in these bytes; BadNote if it is malformed."""
        text = _text(raw)
        body, empty, lines = text.rpartition("\n\n")
        if not empty or not lines.endswith("\n"):
            raise BadNote("a note is a text, an empty line and signature lines, each line ended; this is none")
        signatures = tuple(read_line(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_NOTE_SIGNATURES:
            raise BadNote(f"the note has {len(signatures)} signatures, at most {MAX_NOTE_SIGNATURES} are read")
        return cls(body + "\n", signatures)

    def by(self, keys: Iterable[NoteKey]) -> list[NoteKey]:
        """Return which of the keys signed; BadNote if one of them is named and its signature does not verify.

        Keys of a kind that is not verified here count for nothing.
        """
        found: list[NoteKey] = []
        for key in keys:
            if key.kind not in (ED25519, COSIGNATURE):
                continue
            lines = [signature for signature in self.signatures if signature.is_by(key)]
            if any(not signed(key, self.text, line.signature) for line in lines):
                raise BadNote(f"the signature of {key.name} ({key.key_id.hex()}) does not verify")
            if lines:
                found.append(key)
        return found

    def with_lines(self, more: Iterable[NoteSignature]) -> Note:
        """Return the note with further signature lines, each once."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


def sign(name: str, text: str, signer: Signer) -> NoteSignature:
    """Return an Ed25519 signature line of `name` under `text`."""
    return NoteSignature(name, NoteKey(name, ED25519, signer.public).key_id, signer.sign(text.encode()))


def cosign(name: str, text: str, signer: Signer, time_s: int) -> NoteSignature:
    """Return a cosignature: as of `time_s` (POSIX seconds) this is the largest consistent tree its key has seen."""
    signature = time_s.to_bytes(TIME_BYTES, "big") + signer.sign(_cosigned(text, time_s))
    return NoteSignature(name, NoteKey(name, COSIGNATURE, signer.public).key_id, signature)


def signed(key: NoteKey, text: str, signature: bytes) -> bool:
    """Say whether `key` signed `text`; of a kind unknown here it is no."""
    if key.kind == ED25519:
        return verify(key.public, text.encode(), signature)
    if key.kind == COSIGNATURE and len(signature) == TIME_BYTES + SIGNATURE_BYTES and time_of(signature) <= MAX_TIME_S:
        return verify(key.public, _cosigned(text, time_of(signature)), signature[TIME_BYTES:])
    return False


def time_of(cosignature: bytes) -> int:
    """Return the POSIX seconds a cosignature states."""
    return int.from_bytes(cosignature[:TIME_BYTES], "big")


def check_name(name: str) -> str:
    """Return a key's name if it is one; BadNote otherwise."""
    if not name or _BAD_NAME.search(name) or len(_utf8(name)) > MAX_NAME_BYTES:
        raise BadNote(f"{name!r} is no name of a key: it is empty, too long, or has a space, a control or a plus in it")
    return name


def unbase64(text: str) -> bytes:
    """Return the bytes of canonical base 64 text; BadNote otherwise."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise BadNote(f"{text[:60]!r} is not base 64") from None
    if base64.b64encode(raw).decode() != text:
        raise BadNote(f"{text[:60]!r} is not canonical base 64")
    return raw


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadNote(f"{text[:60]!r} cannot be written in UTF-8") from None


def _text(raw: bytes | str) -> str:
    data = raw if isinstance(raw, bytes) else _utf8(raw)
    if len(data) > MAX_NOTE_BYTES:
        raise BadNote(f"the note has {len(data)} bytes, at most {MAX_NOTE_BYTES} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadNote("the note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in text):
        raise BadNote("the note holds a control character")
    return text


def read_line(line: str) -> NoteSignature:
    """Return one signature line, without its line end; BadNote if it is none."""
    mark, _, rest = line.partition(" ")
    name, _, blob = rest.partition(" ")
    raw = unbase64(blob)
    if mark != "—" or len(raw) <= _KEY_ID_BYTES:
        raise BadNote(f"{line[:60]!r} is no signature line")
    return NoteSignature(check_name(name), raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])
