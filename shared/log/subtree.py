r"""A checkpoint's second signature, ML-DSA-44, which a quantum computer would not forge: a cosignature of kind 0x06.

    message   = 'subtree/v1\n\0' u8-length name u64 time u8-length origin u64 start=0 u64 end=size root
    signature = u64 time ‖ 2,420 bytes

Integers are big-endian. Whoever knows Ed25519 alone passes the line over. Source: C2SP tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from shared.log.checkpoint import Checkpoint
from shared.log.note import ML_DSA_44, TIME_BYTES, BadNote, NoteKey, NoteSignature, check_name, time_of

PUBLIC_BYTES: Final = 1312
SIGNATURE_BYTES: Final = 2420
_LABEL: Final = b"subtree/v1\n\0"

Verify = Callable[[bytes, bytes, bytes], bool]  #: (public key, message, signature) → whether it holds


class SecondSigner(Protocol):
    """Whatever signs with one ML-DSA-44 key, the context string empty."""

    @property
    def public(self) -> bytes:
        """The public key, 1,312 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return a signature of exactly these bytes, 2,420 bytes."""
        ...


def second_key(name: str, public: bytes) -> NoteKey:
    """Return the verifier key of a name's second signatures; BadNote if it is none."""
    if len(public) != PUBLIC_BYTES:
        raise BadNote(f"the ML-DSA-44 key of {name} has {len(public)} bytes, {PUBLIC_BYTES} are expected")
    return NoteKey(check_name(name), ML_DSA_44, public)


def sign_second(name: str, checkpoint: Checkpoint, signer: SecondSigner, time_s: int) -> NoteSignature:
    """Return the second signature of `name`, as of `time_s` (POSIX seconds)."""
    raw = signer.sign(message_of(name, checkpoint, time_s))
    assert len(raw) == SIGNATURE_BYTES, f"a signature has {len(raw)} bytes, expected {SIGNATURE_BYTES}"
    return NoteSignature(name, second_key(name, signer.public).key_id, time_s.to_bytes(TIME_BYTES, "big") + raw)


def second_holds(key: NoteKey, checkpoint: Checkpoint, line: NoteSignature, verify: Verify) -> bool:
    """Say whether a line is this key's second signature of the checkpoint."""
    if key.kind != ML_DSA_44 or not line.is_by(key) or len(line.signature) != TIME_BYTES + SIGNATURE_BYTES:
        return False
    message = message_of(key.name, checkpoint, time_of(line.signature))
    return verify(key.public, message, line.signature[TIME_BYTES:])


def message_of(name: str, checkpoint: Checkpoint, time_s: int) -> bytes:
    """Return what is signed."""
    end = checkpoint.size.to_bytes(8, "big")
    return b"".join(
        (_LABEL, _short(name), time_s.to_bytes(8, "big"), _short(checkpoint.origin), bytes(8), end, checkpoint.root)
    )


def _short(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(1, "big") + raw
