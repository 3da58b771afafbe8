"""The port to a relational view of the log, and the row it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

import msgspec
from blake3 import blake3

from shared.envelope import Verdict
from shared.envelope.envelope import parse_rfc3339
from shared.errors import LogFault
from shared.message import decode_token, lane_of


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision as the view shows it; a void one has its refusal code and nothing trusted besides its position."""

    index: int
    place: int  #: the offset within the entry
    subject: str
    entity: str
    source: str
    version: str
    event_id: str
    cause: str
    written_ms: int
    broker_ns: int
    data: str  #: canonical JSON of the message
    evidence_bytes: int
    refusal: str


class OutOfOrder(LogFault):
    """The view expects an earlier entry: it was dropped meanwhile, and catches up when the entry comes back."""

    retry = True


class Records(Protocol):
    """A view of decisions with the inbox row that says how far it has read, both changed in one transaction."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def next_index(self) -> int:
        """Return the index of the first entry that is not applied yet."""
        ...

    async def apply(self, index: int, rows: Sequence[DecisionRow]) -> bool:
        """Add one entry's rows if it is the next; False when it was applied before. Raises Unreachable, OutOfOrder."""
        ...

    async def newest(self, limit: int) -> list[DecisionRow]:
        """Return the newest rows, newest first."""
        ...

    async def digest(self) -> str:
        """Return one digest over every row in log order and the inbox row."""
        ...

    async def drop(self) -> None:
        """Forget everything: the log is the truth, this is a view."""
        ...


def rows_of(verdict: Verdict) -> list[DecisionRow]:
    """Return the rows of one judged entry, whatever is in it: admitted events, and void ones with their codes."""
    entry, out = verdict.entry, list[DecisionRow]()
    subject, entity = _text(entry.subject), _entity(entry.subject)
    if verdict.sealed is not None:
        a = verdict.sealed.attributes
        signed = (_text(a.source), _text(a.version))
        for place, event in verdict.admitted():
            ids = (event.id.hex(), event.cause.hex())
            rest = (parse_rfc3339(a.time), entry.time_ns, _json(bytes(event.data)), len(event.evidence), "")
            out.append(DecisionRow(entry.index, place, subject, entity, *signed, *ids, *rest))
    for place, refusal in verdict.void():
        nothing = ("", "", "", "", 0, entry.time_ns, "null", 0)
        out.append(DecisionRow(entry.index, place, subject, entity, *nothing, refusal.code))
    return sorted(out, key=lambda row: row.place)


def digest_of(rows: Sequence[DecisionRow], next_index: int) -> str:
    """Return the view's digest from its rows in log order: no serials, no wall time, only the log's own content."""
    hasher = blake3(next_index.to_bytes(8, "big"))
    for row in rows:
        hasher.update(msgspec.msgpack.encode(astuple(row)))
    return hasher.hexdigest()


def _entity(subject: str) -> str:
    """Return the entity that a decision's subject names, as it is written where it is not canonical."""
    token = subject.split(".")[4] if lane_of(subject) is not None else ""
    try:
        return _text(decode_token(token) if token else "")
    except ValueError:
        return _text(token)


def _text(text: str) -> str:
    """Return a text that every database can hold."""
    return text.replace("\0", "\\0")


def _json(data: bytes) -> str:
    """Return an admitted message as canonical JSON; admission lets nothing through that JSON has no word for."""
    return msgspec.json.encode(msgspec.msgpack.decode(data), order="deterministic").decode()
