"""What an anchor is worth: five states in order, how a proof's state is found, and the gate that demands one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import cast

from organs.anchor.bitcoin import Block, Headers, check_header
from organs.anchor.ots import Bitcoin, Pending, Timestamp
from shared.errors import Refusal, Refused
from shared.settings import Settings
from shared.subjects.anchor import StateName

#: How the address of a calendar of this installation begins: no web address, so nobody asks the network for it.
LOCAL_URI = "urn:nimmerverse:calendar:"


class State(IntEnum):
    """The states in order of worth.

    NONE: no proof. PENDING_LOCAL: only this installation's own calendar or authority says so; no evidence for anybody
    else. PENDING: somebody outside accepted it, a public calendar or a time-stamp authority; that is their word.
    BITCOIN_UNCHECKED: the proof leads to a Bitcoin block that nobody looked at here. VERIFIED: it leads to the Merkle
    root of a block header that was checked here (organs/anchor/bitcoin.py says what that means).

    A token of an authority is one party's signed word: PENDING_LOCAL or PENDING, never more.
    """

    NONE = 0
    PENDING_LOCAL = 1
    PENDING = 2
    BITCOIN_UNCHECKED = 3
    VERIFIED = 4

    @property
    def word(self) -> StateName:
        """Its name in messages and settings."""
        return cast("StateName", self.name.lower())

    @classmethod
    def of(cls, word: StateName) -> State:
        """Return the state a word names."""
        return cls[word.upper()]


@dataclass(frozen=True, slots=True)
class Judged:
    """A proof's state, who stands behind it, the block where one was checked, and what a header contradicted."""

    state: State
    by: tuple[str, ...]
    block: Block | None = None
    objections: tuple[Refusal, ...] = ()


def judge(proof: Timestamp, headers: Headers) -> Judged:
    """Return what a proof is worth here and now. An attestation that a known header contradicts counts for nothing."""
    state, by, found, objections = State.NONE, list[str](), None, list[Refusal]()
    for message, attestation in proof.attested():
        match attestation:
            case Pending(uri):
                reached = State.PENDING_LOCAL if uri.startswith(LOCAL_URI) else State.PENDING
                by.append(uri)
            case Bitcoin(height):
                header = headers.header(height)
                try:
                    found = found if header is None else check_header(header, message)
                except Refused as no:
                    objections.append(no.refusal)
                    continue
                reached = State.BITCOIN_UNCHECKED if header is None else State.VERIFIED
                by.append(f"bitcoin block {height}")
            case _:
                continue
        state = max(state, reached)
    return Judged(state, tuple(sorted(set(by))), found, tuple(objections))


def require(state: State, minimum: State) -> Refusal | None:
    """Return None where a state is at least the minimum, else the refusal that names both."""
    if state >= minimum:
        return None
    return Refusal("A001", f"the anchor stands at {state.word}, {minimum.word} is the least that is accepted here")


def minimum_of(settings: Settings) -> State:
    """Return the least state this environment accepts: as set; else none in dev and pending elsewhere.

    dev works offline and promises nobody anything. Elsewhere somebody outside has to know the digest before anything
    rests on it, so that this installation alone cannot change its past; Bitcoin's word takes hours, which would hold
    up every release, so it is asked for by whoever can wait.
    """
    if settings.anchor_minimum is not None:
        return State.of(settings.anchor_minimum)
    return State.NONE if settings.env == "dev" else State.PENDING
