"""`decisions`: one row per event of the log; a void one has its refusal code and nothing trusted but its position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from organs.records.view import Change, Column, Row, Table, View
from shared.envelope import Verdict
from shared.envelope.envelope import parse_rfc3339
from shared.message import decode_token, lane_of

DECISIONS = Table(
    "decisions",
    ("index", "place"),
    (
        Column("index", "bigint", "the entry's index in the log"),
        Column("place", "bigint", "the event's offset within the entry"),
        Column("subject", "text", "where the entry was delivered"),
        Column("entity", "text", "what the decision is about, decoded from the subject"),
        Column("source", "text", "the part that signed"),
        Column("version", "text", "the part's version"),
        Column("event_id", "text", "the event's id, hexadecimal"),
        Column("cause", "text", "the id of what caused it, hexadecimal; empty where nothing did"),
        Column("written_ms", "bigint", "the signer's clock, milliseconds since 1970"),
        Column("broker_ns", "bigint", "the broker's clock, nanoseconds since 1970"),
        Column("data", "text", "the decision as canonical JSON"),
        Column("evidence_bytes", "bigint", "how much evidence the event carries"),
        Column("refusal", "text", "empty where the event is admitted, else the code that made it void"),
    ),
    "every event of the log, admitted or void",
    lookups=("subject", "event_id"),
)


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One row of the table, by name."""

    index: int
    place: int
    subject: str
    entity: str
    source: str
    version: str
    event_id: str
    cause: str
    written_ms: int
    broker_ns: int
    data: str
    evidence_bytes: int
    refusal: str


def row_of(row: Row) -> DecisionRow:
    """Return a row of the table with its columns' names."""
    return DecisionRow(*cast("tuple[Any, ...]", row))


def project(verdict: Verdict) -> Iterator[Change]:
    """Add the rows of one judged entry, whatever is in it."""
    entry = verdict.entry
    entity = _entity(entry.subject)
    if verdict.sealed is not None:
        a = verdict.sealed.attributes
        for place, event in verdict.admitted():
            yield DECISIONS.insert(
                index=entry.index,
                place=place,
                subject=entry.subject,
                entity=entity,
                source=a.source,
                version=a.version,
                event_id=event.id.hex(),
                cause=event.cause.hex(),
                written_ms=parse_rfc3339(a.time),
                broker_ns=entry.time_ns,
                data=_json(bytes(event.data)),
                evidence_bytes=len(event.evidence),
                refusal="",
            )
    for place, no in verdict.void():
        nothing = {"source": "", "version": "", "event_id": "", "cause": "", "data": "null"}
        where = {"subject": entry.subject, "entity": entity, "refusal": no.code}
        yield DECISIONS.insert(
            index=entry.index,
            place=place,
            written_ms=0,
            broker_ns=entry.time_ns,
            evidence_bytes=0,
            **where,
            **nothing,
        )


VIEW = View("decisions", 1, (DECISIONS,), project)


def _entity(subject: str) -> str:
    """Return the entity that a decision's subject names, as it is written where it is not canonical."""
    token = subject.split(".")[4] if lane_of(subject) is not None else ""
    try:
        return decode_token(token) if token else ""
    except ValueError:
        return token


def _json(data: bytes) -> str:
    """Return an admitted message as canonical JSON; admission lets nothing through that JSON has no word for."""
    return msgspec.json.encode(msgspec.msgpack.decode(data), order="deterministic").decode()
