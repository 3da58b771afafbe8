"""What is kept of every anchor: a record per digest and method that names its proof, and proofs by their own digest.

The proof is written first, then the record, then the log hears of it. Whatever a crash cut off is done again by the
next look: a proof without a record is forgotten, a record that the log has not heard of is said again.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
from blake3 import blake3

from organs.anchor.ports import ProofStore
from organs.anchor.state import State
from shared.errors import StorageFault
from shared.subjects.anchor import AnchorAdvanced, Method, StateName

METHODS: tuple[Method, ...] = ("ots", "rfc3161")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SUFFIX: dict[Method, str] = {"ots": "ots", "rfc3161": "tsr"}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One anchor as it stands; `logged` is the best state the log was heard to hold."""

    digest: str
    method: Method
    what: str
    state: StateName
    by: str
    proof_sha256: str
    proof_blake3: str
    proof_bytes: int
    logged: StateName = "none"

    @property
    def location(self) -> str:
        """The name of its proof in the store."""
        return f"proofs/{self.proof_sha256}.{_SUFFIX[self.method]}"

    @property
    def name(self) -> str:
        """Its own name in the store."""
        return f"anchors/{self.digest}.{self.method}"

    @property
    def worth(self) -> State:
        """Its state, in order."""
        return State.of(self.state)

    @property
    def is_logged(self) -> bool:
        """Whether the log holds this state or a better one."""
        return State.of(self.logged) >= self.worth

    def decision(self) -> AnchorAdvanced:
        """What the log has to hear."""
        digests = (bytes.fromhex(self.proof_blake3), bytes.fromhex(self.proof_sha256))
        return AnchorAdvanced(self.digest, self.what, self.method, self.state, self.by, *digests, self.proof_bytes)


class Kept:
    """Every anchor of this installation, in a proof store."""

    def __init__(self, store: ProofStore) -> None:
        self.store = store

    @staticmethod
    def location(folder: Path, record: Record) -> Path:
        """Return where the proof of a record lies, below the store's folder."""
        return folder / record.location

    async def find(self, digest: str, method: Method) -> Record | None:
        """Return the record of a digest and a method; StorageFault where it cannot be read as one."""
        name = f"anchors/{digest}.{method}"
        raw = await self.store.get(name)
        return None if raw is None else _record(name, raw)

    async def proof(self, record: Record) -> bytes:
        """Return the proof of a record; StorageFault where it is gone or is not what was written."""
        raw = await self.store.get(record.location)
        if raw is None or hashlib.sha256(raw).hexdigest() != record.proof_sha256:
            found = "is missing" if raw is None else "is not what was written"
            raise StorageFault(f"the proof {record.location} {found}; restore it, or take {record.name} away")
        return raw

    async def keep(  # noqa: PLR0913, PLR0917 - what a record holds
        self, digest: str, method: Method, what: str, state: State, by: str, proof: bytes
    ) -> Record:
        """Keep a proof and the record that names it, unless a better one is kept; return the record that stands."""
        before = await self.find(digest, method)
        found = (hashlib.sha256(proof).hexdigest(), blake3(proof).hexdigest(), len(proof))
        if before is not None and (before.worth > state or (before.worth == state and before.proof_sha256 == found[0])):
            return before
        logged = "none" if before is None else before.logged
        after = Record(digest, method, before.what if before else what, state.word, by, *found, logged)
        await self.store.put(after.location, proof)
        await self._write(after)
        return after

    async def hear(self, logged: AnchorAdvanced) -> None:
        """Remember that the log holds a state, so that it is not said again."""
        before = await self.find(logged.digest, logged.method) if _DIGEST.fullmatch(logged.digest) else None
        if before is not None and State.of(before.logged) < State.of(logged.state):
            await self._write(msgspec.structs.replace(before, logged=logged.state))

    async def names(self) -> list[str]:
        """Return the names of all records, in the order of their digests."""
        return await self.store.names("anchors")

    async def read(self, name: str) -> Record:
        """Return the record of a name; StorageFault where it cannot be read as one."""
        raw = await self.store.get(name)
        if raw is None:
            raise StorageFault(f"{name} is gone; restore it")
        return _record(name, raw)

    async def _write(self, record: Record) -> None:
        await self.store.put(record.name, msgspec.json.encode(record))


def _record(name: str, raw: bytes) -> Record:
    try:
        record = msgspec.json.decode(raw, type=Record)
    except msgspec.MsgspecError as error:
        raise StorageFault(f"{name} is no record of an anchor ({error}); restore it, or take it away") from error
    if record.name != name:
        raise StorageFault(f"{name} is the record of {record.name}; restore it, or take it away")
    return record
