"""ManifestSignature: what a promotion's signers signed, and each one's own signature, away from the log (ILL-07).

Each voter signed a statement of their own about the manifest's digest (shared/ballots.py), so there is one DSSE
envelope for each. A reader hashes `text`, finds that digest in every payload's `about`, verifies each envelope with the
voter's key, and compares the key with the one that the log introduced.
"""

from __future__ import annotations

from typing import Final

import msgspec
from blake3 import blake3

from shared.ballots import BALLOT_TYPE, role_of, statement, verify_ballot
from shared.exports.attest import Json, envelope
from shared.exports.story import Promotion, Said
from shared.keys import key_id_of
from shared.registry.manifest import MANIFEST_TYPE
from shared.subjects.consensus import Ballot, Role

MANIFEST_FORMAT: Final = "nimmerverse-manifest-signature-1"


class VoterSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One voter's word."""

    voter: str
    role: Role
    counted: bool  #: among the signatures that the promotion names
    public: str  #: Ed25519, hexadecimal digits
    place: str  #: of the ballot in the log
    reason: str
    dsse: Json


class ManifestSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A promotion's manifest with the signatures under it."""

    format: str
    manifest: str  #: BLAKE3 of the text
    media_type: str
    text: str  #: canonical JSON of the manifest; empty where the log no longer gives it
    place: str  #: of the promotion in the log
    signatures: list[VoterSignature]


def manifest_signature(promotion: Promotion) -> ManifestSignature:
    """Return a promotion's manifest and the passing words about it whose inner signature is the voter's own."""
    said = promotion.promoted.decision
    text = promotion.manifest.text if promotion.manifest is not None else ""
    assert not text or blake3(text.encode()).hexdigest() == said.manifest, "a manifest is named by its digest"
    counted = frozenset(said.signatures)
    words = [
        _word(ballot, counted)
        for ballot in promotion.ballots
        if ballot.decision.choice == "pass" and verify_ballot(ballot.decision, ballot.public)
    ]
    return ManifestSignature(MANIFEST_FORMAT, said.manifest, MANIFEST_TYPE, text, promotion.promoted.place, words)


def _word(ballot: Said[Ballot], counted: frozenset[str]) -> VoterSignature:
    said = ballot.decision
    role = role_of(said)
    return VoterSignature(
        said.voter,
        role,
        role == "signer" and said.voter in counted,
        ballot.public.hex(),
        ballot.place,
        said.reason,
        envelope(BALLOT_TYPE, statement(said), [(key_id_of(ballot.public), said.signature)]),
    )
