"""`lanes`: how far every lane goes, and how much took effect on it."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from shared.envelope import Verdict
from shared.message import lane_of

LANES = Table(
    "lanes",
    ("lane",),
    (
        Column("lane", "text", "the lane: everything that was decided about one entity"),
        Column("last_index", "bigint", "the index of its last entry, void or not"),
        Column("entries", "bigint", "how many entries stand on it", merge="add"),
        Column("events", "bigint", "how many events of them are in effect", merge="add"),
    ),
    "the lanes of the log",
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Move the entry's lane on; what is delivered outside of every lane moves none."""
    lane = lane_of(verdict.entry.subject)
    if lane is not None:
        yield LANES.put(lane=lane, last_index=verdict.entry.index, entries=1, events=len(verdict.admitted()))


VIEW = View("lanes", 1, (LANES,), project)
