"""The log's own keys and epochs: genesis, introduction, rotation, revocation. One lane, so that all fold them alike."""

from __future__ import annotations

import msgspec

from shared.message import Decision

KEYS_ENTITY = "root"
KEYS_LANE = "{env}.system.keys.event." + KEYS_ENTITY


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key may sign: a subject pattern, whether scores are required there, and how many owners must agree."""

    pattern: str
    scored: bool = False
    owners: int = 1


class RootKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One root key and the person or office that holds it."""

    key_id: str
    public: bytes
    owner: str


class Genesis(Decision, subject="system.keys.event.{scope}.genesis"):
    """Entry 0 of a log: its root keys and how many distinct owners must sign to introduce or revoke a key."""

    scope: str
    roots: list[RootKey]
    threshold: int
    one_host: bool  #: true where every root key lives on one machine: the root is then that host
    streams: list[str]  #: the streams created with the log


class KeyIntroduced(Decision, subject="system.keys.event.{scope}.introduced"):
    """A part's key is registered, valid from the next index on; signed by the root."""

    scope: str
    key_id: str
    public: bytes
    part: str
    owner: str
    roles: list[str]
    grants: list[Grant]


class KeyRotated(Decision, subject="system.keys.event.{scope}.rotated"):
    """A part's key is replaced; signed by the predecessor alone, which ends here."""

    scope: str
    old_key_id: str
    key_id: str
    public: bytes


class KeyRevoked(Decision, subject="system.keys.event.{scope}.revoked"):
    """A key ends at this index; signed by the root. `compromised_since_index` is what an auditor should look at."""

    scope: str
    key_id: str
    compromised_since_index: int | None
    reason: str


class EpochStarted(Decision, subject="system.keys.event.{scope}.epoch"):
    """A log that lost its tail goes on under a new name: which checkpoint it had, what is missing; signed by the root.

    Its own index is the first missing one: what stood from there to `last_missing` was signed once and is gone.
    """

    scope: str
    epoch: int
    first_missing: int
    last_missing: int
    old_checkpoint: str  #: the newest note of an earlier epoch that is at hand; empty where none had been signed
    proof: list[bytes]  #: RFC 6962 consistency of the entries below `first_missing` and those of `old_checkpoint`
    reason: str
