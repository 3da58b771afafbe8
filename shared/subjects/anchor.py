"""The anchors: evidence from outside that a digest existed, what it is worth now, and where its proof lies."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, Reply, Request

Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
#: OpenTimestamps (a path to a Bitcoin block) or RFC 3161 (a signed token of a time-stamp authority).
Method = Literal["ots", "rfc3161"]
#: How much an anchor is worth, the least first; organs/anchor/state.py says what each means.
StateName = Literal["none", "pending_local", "pending", "bitcoin_unchecked", "verified"]


class AnchorAdvanced(Decision, subject="organs.anchor.event.{digest}.advanced"):
    """The proof of a digest by one method stands at this state; the proof itself is found by its digests."""

    digest: str  #: 64 hexadecimal digits
    what: str
    method: Method
    state: StateName
    by: str  #: the calendars, or the authority, whose word it is
    proof_blake3: bytes
    proof_sha256: bytes
    proof_bytes: int


class AnchorProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kept proof: its state, its digests, where it lies, and the bytes themselves where they are few."""

    method: Method
    state: StateName
    what: str
    by: str
    proof_blake3: bytes
    proof_sha256: bytes
    proof_bytes: int
    location: str  #: below `home/env/anchors`
    proof: bytes  #: empty where there are too many to send


class AnchorStatus(Reply, subject="organs.anchor.status.reply"):
    """What is known of a digest's anchors, and whether the best of them is enough for this environment."""

    digest: Sha256
    state: StateName  #: of the best proof
    minimum: StateName
    enough: bool
    proofs: list[AnchorProof]


class AnchorRequest(Request, subject="organs.anchor.stamp.request", reply=AnchorStatus):
    """Anchor the SHA-256 digest of something; the answer says how it stands now.

    Asked again, the state is answered; what can be improved is improved, and only what came further is decided.
    """

    digest: Sha256
    what: Annotated[str, msgspec.Meta(max_length=200)]  #: what the digest is of, in words: `checkpoint 1200`


class AnchorStatusRequest(Request, subject="organs.anchor.status.request", reply=AnchorStatus):
    """Ask how a digest is anchored."""

    digest: Sha256
