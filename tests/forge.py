"""A log made by hand: keys from fixed seeds, every field open to misuse, each entry judged as it is put."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from shared.codec import encode
from shared.envelope import (
    Attributes,
    KeyBook,
    Prefix,
    Verdict,
    admit,
    derive_event_id,
    pack_event,
    read_event,
    rfc3339,
    seal,
)
from shared.envelope.admission import Proves
from shared.errors import Refused
from shared.keys import LocalSigner, Signer, verify
from shared.log import Entry
from shared.message import Decision
from shared.subjects.keys import EpochStarted, Genesis, Grant, KeyIntroduced, KeyRevoked, KeyRotated, RootKey

ENV = "dev"
START_MS = 1_767_225_600_000  #: 2026-01-01T00:00:00Z
TTL_MS = 60_000
PART = "nerves.math"
KEYS_LANE = f"{ENV}.system.keys.event.root"

ADA, BOB, CYD = "ada", "bob", "cyd"
PLAIN, SCORED, JOINT, STRICT = "added", "judged", "agreed", "weighed"
GRANTS = (
    Grant(f"{ENV}.nervous.math.event.*.{PLAIN}"),
    Grant(f"{ENV}.nervous.math.event.*.{SCORED}", scored=True),
    Grant(f"{ENV}.nervous.math.event.*.{JOINT}", owners=2),
    Grant(f"{ENV}.nervous.math.event.*.{STRICT}", scored=True, owners=2),
)


def signer(name: str) -> LocalSigner:
    """The key of a name, always the same."""
    return LocalSigner(blake3(name.encode()).digest())


def subject_of(kind: str, entity: str = "one") -> str:
    """The full subject of one of the part's decisions."""
    return f"{ENV}.nervous.math.event.{entity}.{kind}"


def event_id(name: str) -> bytes:
    """The 16-byte id of a name."""
    return derive_event_id(b"", PART, name, 0)


def event(name: str, data: bytes | None = None, *, cause: bytes = b"", evidence: bytes = b"") -> bytes:
    """The bytes of an event whose id comes from its name."""
    return pack_event(event_id(name), packed(n=1) if data is None else data, cause=cause, evidence=evidence)


def packed(**fields: object) -> bytes:
    """A MessagePack map."""
    return msgspec.msgpack.encode(fields)


def envelope(subject: str, events: Sequence[bytes], signers: Sequence[Signer], /, **changes: object) -> bytes:
    """The sealed envelope around `events`; `changes` are attributes by name, whatever they make of it."""
    try:
        first = read_event(events[0]).id
    except Refused:
        first = b""
    words = [*subject.split("."), "", "", "", "", ""]
    attributes = Attributes(
        id=first.hex(),
        source=PART,
        specversion="1.0",
        type=f"nimmerverse.{words[1]}.{words[2]}.{words[5]}",
        subject=subject,
        time=rfc3339(START_MS),
        ttlms=TTL_MS,
        agent="SOVEREIGN",
        boot="00" * 8,
        sequence=0,
        version="1.0.0",
        correlation="",
        prev=-1,
        batch=0,
        count=0,
        root=b"",
    )
    return seal(msgspec.structs.replace(attributes, **changes), events, signers)


class Log:
    """A log under construction. Its reader folds every entry, so `prefix` is what comes before the next one."""

    def __init__(self, trusted: str | None = None, proves: Proves = verify) -> None:
        self.prefix, self.proves = Prefix(ENV, KeyBook(trusted)), proves
        self.entries: list[Entry] = []
        self.verdicts: list[Verdict] = []

    @property
    def index(self) -> int:
        """The index of the next entry."""
        return len(self.entries)

    @property
    def now_ms(self) -> int:
        """The time of the next entry: one second after the one before."""
        return START_MS + 1_000 * self.index

    def entry(self, subject: str, raw: bytes, *, late_ms: int = 0) -> Entry:
        """The next entry, judged by nobody yet."""
        return Entry(self.index, subject, (self.now_ms + late_ms) * 1_000_000 + 7, raw)

    def sealed(self, subject: str, events: Sequence[bytes], /, *signers: Signer, **changes: object) -> Entry:
        """The next entry, honest except for what `changes` say."""
        honest = {
            "prev": self.prefix.lane(subject.rpartition(".")[0]).last,
            "time": rfc3339(self.now_ms),
            "sequence": self.index,
        }
        return self.entry(subject, envelope(subject, events, signers, **{**honest, **changes}))

    def put(self, entry: Entry) -> Verdict:
        """Judge an entry, fold it, and return the verdict."""
        assert entry.index == self.index
        verdict = admit(self.prefix, entry, proves=self.proves)
        self.prefix.fold(verdict)
        self.entries.append(entry)
        self.verdicts.append(verdict)
        return verdict

    def say(self, kind: str, name: str, *signers: Signer, entity: str = "one", **changes: object) -> Verdict:
        """Put one decision of the part."""
        return self.put(self.sealed(subject_of(kind, entity), [event(name)], *signers, **changes))

    def key_event(self, message: Decision, *signers: Signer, **changes: object) -> Verdict:
        """Put one key event."""
        what = event(f"{type(message).__name__} {self.index}", encode(message))
        return self.put(self.sealed(message.subject(ENV), [what], *signers, **{"source": "root", **changes}))


def genesis(threshold: int = 2, owners: Sequence[str] = (ADA, BOB, CYD)) -> Genesis:
    """A genesis with one root key for each owner."""
    roots = [RootKey(signer(f"root {o}").key_id, signer(f"root {o}").public, o) for o in owners]
    return Genesis(scope="root", roots=roots, threshold=threshold, one_host=True, streams=["LOG_dev"])


def roots(*owners: str) -> list[LocalSigner]:
    """The root keys of owners."""
    return [signer(f"root {owner}") for owner in owners]


def introduced(name: str, owner: str, part: str = PART, grants: Sequence[Grant] = GRANTS) -> KeyIntroduced:
    """The introduction of a named key."""
    key = signer(name)
    return KeyIntroduced("root", key.key_id, key.public, part, owner, ["decide"], list(grants))


def rotated(old: str, new: str) -> KeyRotated:
    """The replacement of a named key."""
    return KeyRotated("root", signer(old).key_id, signer(new).key_id, signer(new).public)


def revoked(name: str) -> KeyRevoked:
    """The end of a named key."""
    return KeyRevoked("root", signer(name).key_id, None, "lost")


def epoch(number: int, first: int, last: int, note: str = "a note", proof: list[bytes] | None = None) -> EpochStarted:
    """A loss that the log names."""
    return EpochStarted("root", number, first, last, note, proof or [], "lost")


def founded() -> Log:
    """A log with its genesis (two of three owners) and the part's keys `ada's` and `bob's`: three entries."""
    log = Log()
    for message in (genesis(), introduced("ada's", ADA), introduced("bob's", BOB)):
        assert log.key_event(message, *roots(ADA, BOB)).refusal is None
    return log
