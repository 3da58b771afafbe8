"""`void_entries`: what stands in the log and takes no effect, and why."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from shared.envelope import Verdict
from shared.errors import CODES

VOID = Table(
    "void_entries",
    ("index", "place"),
    (
        Column("index", "bigint", "the entry's index in the log"),
        Column("place", "bigint", "the event's offset within the entry; 0 where the whole entry is void"),
        Column("subject", "text", "where the entry was delivered"),
        Column("code", "text", "the refusal's code"),
        Column("reason", "text", "the refusal's name, and the sentence that says when it happens"),
    ),
    "every entry and event that admission refused",
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Add what is void. A refusal's own detail is left out: it is worded by the reader's code, not by the log."""
    for place, no in verdict.void():
        why = {"code": no.code, "reason": f"{no.name}: {CODES[no.code].when}"}
        yield VOID.insert(index=verdict.entry.index, place=place, subject=verdict.entry.subject, **why)


VIEW = View("void_entries", 1, (VOID,), project)
