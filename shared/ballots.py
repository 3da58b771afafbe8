"""Ballots: one subject for each voter in each role, and a signature that other tools verify without this log.

    statement  canonical JSON of {about, choice, evidence, role, voter}: keys in order, no spaces
    signed     DSSE PAE(BALLOT_TYPE, statement), Ed25519 by the voter's own key

The envelope around a ballot is signed by the same key and binds the reason too; admission proves that one. Who holds a
ballot alone, beside a promoted model for instance, verifies the signature inside it.
"""

from __future__ import annotations

from typing import Final, cast, get_args

import msgspec

from shared.envelope.envelope import pae
from shared.errors import KeyFault, Refusal, Refused
from shared.keys import RemoteSigner, Signer, verify
from shared.message import EVENT_TOKEN, encode_token
from shared.subjects.consensus import AiBallot, Ballot, Choice, Role

BALLOT_TYPE: Final = "application/vnd.nimmerverse.ballot+json"
CLASSES: Final[dict[Role, type[Ballot]]] = {cls.tokens[-1]: cls for cls in get_args(Ballot)}
AI: Final[Role] = "ai"
REVIEWER: Final = "reviewer"  #: the one part that votes in the AI's role; a ballot of any other is void
#: The roles of people: whatever an AI does not vote in.
PEOPLES: Final[tuple[Role, ...]] = tuple(role for role in CLASSES if role != AI)
_STEM: Final = (*AiBallot.tokens[:2], EVENT_TOKEN)


def role_of(ballot: Ballot) -> Role:
    """Return the role in which a ballot is cast: its subject says it, so that no key speaks in another."""
    return cast("Role", type(ballot).tokens[-1])


def statement(ballot: Ballot) -> bytes:
    """Return the canonical JSON of what a voter says."""
    said = {
        "about": ballot.about,
        "choice": ballot.choice,
        "evidence": ballot.evidence,
        "role": role_of(ballot),
        "voter": ballot.voter,
    }
    return msgspec.json.encode(said, order="deterministic")


def signed_ballot(  # noqa: PLR0913, PLR0917 - each word of a ballot is its own fact
    signer: Signer | RemoteSigner,
    role: Role,
    voter: str,
    about: str,
    choice: Choice,
    reason: str,
    evidence: str = "",
    family: str = "",
) -> Ballot:
    """Return a ballot with the voter's signature inside. Refused G009 without a reason.

    KeyFault where the key is behind the signing proxy: that signs envelopes alone.
    """
    if isinstance(signer, RemoteSigner):
        raise KeyFault("the signing proxy signs decisions alone: keep a voter's key in a keyring, or on a token")
    if not reason.strip():
        raise Refused(Refusal("G009", "say why with --reason TEXT: the log keeps a vote with its reason"))
    ballot = CLASSES[role](voter, about, choice, reason, evidence, b"", family)
    return msgspec.structs.replace(ballot, signature=signer.sign(pae(BALLOT_TYPE, statement(ballot))))


def verify_ballot(ballot: Ballot, public: bytes) -> bool:
    """Say whether the signature inside a ballot is that of this key over what it says."""
    return verify(public, pae(BALLOT_TYPE, statement(ballot)), ballot.signature)


def ballot_grants(env: str, voter: str, roles: list[Role]) -> list[str]:
    """Return the subjects that a voter's key is entitled to: their own lane, and these roles alone."""
    return sorted(CLASSES[role].signing_pattern(env, voter) for role in roles)


def roles_granted(env: str, voter: str, patterns: list[str]) -> list[Role]:
    """Return the roles in which a key may vote; none where it may sign anything besides its own ballots."""
    stem = ".".join((env, *_STEM, encode_token(voter), ""))
    found: list[Role] = [role for role in CLASSES if stem + role in patterns]
    return found if len(found) == len(patterns) else []


def ai_ballots(env: str) -> str:
    """Return the subject of the AI's ballots, the reviewer's own; people's are introduced, never asked for."""
    return AiBallot.signing_pattern(env, REVIEWER)


def is_ballot(pattern: str, env: str) -> bool:
    """Say whether a grant's pattern reaches any ballot."""
    return pattern.split(".")[:3] == [env, *_STEM[:2]]
