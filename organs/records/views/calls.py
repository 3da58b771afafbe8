"""`calls`: what the function boundary was asked and what it said, and what a person said was right (NIM-18)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from organs.records.view import Change, Column, Table, View
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.subjects.boundary import Called, Corrected

CALLS = Table(
    "calls",
    ("index", "place"),
    (
        Column("index", "bigint", "the index of its entry"),
        Column("place", "bigint", "the event's offset within the entry"),
        Column("task", "text", "the digest of the boundary's task"),
        Column("state", "text", "what it was asked about, as JSON with its names in order"),
        Column("call", "text", "the function call, as canonical JSON"),
        Column("speaker", "text", "translator, model: and its digest, or person where it is a correction"),
        Column("attempts", "bigint", "how often a model was asked for it"),
    ),
    "the function calls of the boundary, and their corrections",
    lookups=("state",),
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Add a row for each call that was answered, and for each that a person said was right."""
    for said, at in decisions_in(verdict, Called, Corrected):
        speaker, attempts = (said.speaker, said.attempts) if isinstance(said, Called) else ("person", 0)
        yield CALLS.insert(
            index=at.index,
            place=at.offset,
            task=said.task,
            state=msgspec.json.encode(said.state, order="deterministic").decode(),
            call=said.call,
            speaker=speaker,
            attempts=attempts,
        )


VIEW = View("calls", 1, (CALLS,), project)
