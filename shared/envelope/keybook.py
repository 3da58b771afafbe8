"""The keys a log knows, each valid between two indices; a fold of the log's own key events."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace

from blake3 import blake3

from shared.codec import decode
from shared.errors import KeyFault, Refusal, Refused
from shared.keys import check_public, key_id_of
from shared.message import Message
from shared.subjects.keys import EpochStarted, Genesis, Grant, KeyIntroduced, KeyRevoked, KeyRotated

ROOT_PART = "root"
NOTARY_PART = "notary"  #: the part whose key signs checkpoints of the log
KeyEvent = Genesis | KeyIntroduced | KeyRotated | KeyRevoked | EpochStarted
KEY_EVENTS: tuple[type[KeyEvent], ...] = (Genesis, KeyIntroduced, KeyRotated, KeyRevoked, EpochStarted)


@dataclass(frozen=True, slots=True)
class Key:
    """A registered key: who owns it, which part speaks with it, what it may sign, from which index to which."""

    key_id: str
    public: bytes
    part: str
    owner: str
    grants: tuple[Grant, ...]
    first: int
    last: int | None = None

    def valid_at(self, index: int) -> bool:
        """Say whether the key may sign the entry at `index`."""
        return self.first <= index and (self.last is None or index <= self.last)

    def grant_for(self, subject: str) -> Grant | None:
        """Return the first grant whose pattern covers `subject`."""
        return next((grant for grant in self.grants if covers(grant.pattern, subject)), None)


@dataclass
class KeyBook:
    """Every key by id, and the log's genesis. Folded by `learn`, asked by admission."""

    trusted: str | None = None  #: fingerprint the reader trusts; None accepts any genesis and says so
    fingerprint: str | None = None
    threshold: int = 0
    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    epochs: list[int] = field(default_factory=list[int])  #: the index at which each epoch after the first began

    def candidates(self, env: str, cls: type[Message] | None, data: bytes) -> dict[str, Key]:
        """Return the keys that may prove a signature: the registered ones, or a first genesis's own roots."""
        if self.fingerprint is not None or cls is not Genesis:
            return self.keys
        genesis = decode(Genesis, data)
        grants = tuple(Grant(kind.pattern(env)) for kind in KEY_EVENTS)
        return {root.key_id: Key(root.key_id, root.public, ROOT_PART, root.owner, grants, 0) for root in genesis.roots}

    def owners_needed(self, cls: type[Message] | None, data: bytes) -> int:
        """Return how many distinct owners must sign a key event; 1 for everything else.

        Raises Refused R009 for a genesis whose threshold its own owners could never reach, or need not.
        """
        if cls is Genesis:
            genesis = decode(Genesis, data)
            owners = len({root.owner for root in genesis.roots})
            if not 1 <= genesis.threshold <= owners:
                raise Refused(Refusal("R009", f"the threshold is {genesis.threshold}, the root has {owners} owners"))
            return genesis.threshold
        return self.threshold if cls in (KeyIntroduced, KeyRevoked, EpochStarted) else 1

    def check(self, cls: type[Message] | None, data: bytes, index: int, signers: list[Key]) -> Refusal | None:
        """Judge what a key event says, beyond who signed it; None for every other class."""
        if cls is Genesis:
            return self._check_genesis(decode(Genesis, data), data, index)
        if cls is KeyRotated:
            return self._check_rotation(decode(KeyRotated, data), signers)
        if cls is KeyIntroduced:
            introduced = decode(KeyIntroduced, data)
            return _check_root(signers) or _check_new_key(introduced.key_id, introduced.public, self.keys)
        if cls is KeyRevoked:
            known = decode(KeyRevoked, data).key_id in self.keys
            return _check_root(signers) or (None if known else Refusal("R007", "the revoked key is not registered"))
        if cls is EpochStarted:
            return _check_root(signers) or self._check_epoch(decode(EpochStarted, data), index)
        return None

    def learn(self, env: str, cls: type[Message] | None, data: bytes, index: int) -> None:
        """Fold one admitted key event; every other class changes nothing."""
        if cls is Genesis:
            genesis = decode(Genesis, data)
            self.keys.update(self.candidates(env, cls, data))
            self.fingerprint, self.threshold = fingerprint_of(data), genesis.threshold
        elif cls is KeyIntroduced:
            new = decode(KeyIntroduced, data)
            self.keys[new.key_id] = Key(new.key_id, new.public, new.part, new.owner, tuple(new.grants), index + 1)
        elif cls is KeyRotated:
            new = decode(KeyRotated, data)
            old = self.keys[new.old_key_id]
            self.keys[old.key_id] = replace(old, last=index)
            self.keys[new.key_id] = replace(old, key_id=new.key_id, public=new.public, first=index + 1, last=None)
        elif cls is KeyRevoked:
            old = self.keys[decode(KeyRevoked, data).key_id]
            self.keys[old.key_id] = replace(old, last=index if old.last is None else min(old.last, index))
        elif cls is EpochStarted:
            self.epochs.append(index)

    def current(self, part: str) -> Key | None:
        """Return the newest key of `part` that has no last index, or None."""
        alive = [key for key in self.keys.values() if key.part == part and key.last is None]
        return max(alive, key=lambda key: key.first, default=None)

    def epoch_at(self, size: int) -> int:
        """Return the epoch that a log of so many entries is in."""
        return 1 + sum(index < size for index in self.epochs)

    def log_keys_at(self, size: int) -> list[Key]:
        """Return the keys that may sign a checkpoint of so many entries: those that might sign the entry after them."""
        return [key for key in self.keys.values() if key.part == NOTARY_PART and key.valid_at(size)]

    def _check_epoch(self, epoch: EpochStarted, index: int) -> Refusal | None:
        wanted, found = self.epoch_at(index) + 1, (epoch.epoch, epoch.first_missing, epoch.last_missing)
        if found[:2] != (wanted, index) or epoch.last_missing < index:
            said = f"epoch {found[0]}, missing {found[1]} to {found[2]}"
            return Refusal(
                "R007", f"epoch {wanted} begins here, and entry {index} is the first missing; it says {said}"
            )
        return None

    def _check_rotation(self, rotated: KeyRotated, signers: list[Key]) -> Refusal | None:
        if [key.key_id for key in signers] != [rotated.old_key_id]:
            return Refusal("R007", "a rotation is signed by its predecessor alone")
        return _check_new_key(rotated.key_id, rotated.public, self.keys)

    def _check_genesis(self, genesis: Genesis, data: bytes, index: int) -> Refusal | None:
        if self.fingerprint is not None or index != 0:
            return Refusal("R007", "a log has one genesis, its first entry")
        found = fingerprint_of(data)
        if self.trusted not in (None, found):
            return Refusal("R007", f"genesis fingerprint is {found}, trusted is {self.trusted}")
        seen: set[str] = set()
        for root in genesis.roots:
            no = _check_new_key(root.key_id, root.public, seen)
            if no is not None:
                return no
            seen.add(root.key_id)
        return None


def fingerprint_of(genesis: bytes) -> str:
    """Return the 64 hex digits by which a log's genesis is trusted."""
    return blake3(genesis, derive_key_context="nimmerverse 2026 genesis fingerprint v1").hexdigest()


def scope_of(cls: type[KeyEvent], data: bytes) -> str:
    """Return the lane's entity that a key event itself names."""
    return decode(cls, data).scope


def covers(pattern: str, subject: str) -> bool:
    """Say whether a NATS pattern (`*` one token, `>` the rest) covers a subject."""
    wanted, found = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":  # noqa: S105 - a wildcard, not a password
            return len(found) > i
        if i >= len(found) or token not in ("*", found[i]):
            return False
    return len(wanted) == len(found)


def _check_root(signers: list[Key]) -> Refusal | None:
    if all(key.part == ROOT_PART for key in signers):
        return None
    return Refusal("R007", "only root keys introduce and revoke")


def _check_new_key(key_id: str, public: bytes, known: Container[str]) -> Refusal | None:
    """Refuse a key that is malformed, weak, misnamed or already known."""
    try:
        check_public(public)
    except KeyFault as fault:
        return Refusal("R007", str(fault))
    if key_id != key_id_of(public):
        return Refusal("R007", f"the key id is not {key_id_of(public)}, the id of its public key")
    return Refusal("R007", f"key {key_id} is already registered") if key_id in known else None
