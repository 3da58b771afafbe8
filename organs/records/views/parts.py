"""`parts`: the newest grant of every part."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.subjects.system import PartGranted

PARTS = Table(
    "parts",
    ("part",),
    (
        Column("part", "text", "the part's name"),
        Column("version", "text", "the version it was granted with"),
        Column("publish", "text[]", "the subjects it may publish"),
        Column("subscribe", "text[]", "the subjects it may hear"),
        Column("granted_index", "bigint", "the index of its newest grant"),
    ),
    "the newest grant of every part",
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Put the newest grant in the place of the one before."""
    for new, at in decisions_in(verdict, PartGranted):
        may = {"publish": tuple(new.publish), "subscribe": tuple(new.subscribe)}
        yield PARTS.put(part=new.part, version=new.version, **may, granted_index=at.index)


VIEW = View("parts", 1, (PARTS,), project)
