"""`keys`: every key the log knows, whose it is, and from which index to which it may sign."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from shared.codec import decode
from shared.envelope import Verdict
from shared.envelope.keybook import ROOT_PART
from shared.message import lookup
from shared.subjects.keys import Genesis, KeyIntroduced, KeyRevoked, KeyRotated

KEYS = Table(
    "keys",
    ("key_id",),
    (
        Column("key_id", "text", "the id of the public key"),
        Column("public", "bytea", "the public key"),
        Column("part", "text", "the part that speaks with it"),
        Column("owner", "text", "the person or office that holds it"),
        Column("state", "text", "current, rotated or revoked"),
        Column("first_index", "bigint", "the first index of the log it may sign"),
        Column("last_index", "bigint", "the last index it may sign; empty: no end yet", optional=True, merge="first"),
    ),
    "every key of the log",
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Fold the key events of one entry, as the key book of every reader does."""
    cls, index = lookup(verdict.entry.subject), verdict.entry.index
    for _, event in verdict.admitted():
        data = bytes(event.data)
        if cls is Genesis:
            for root in decode(Genesis, data).roots:
                yield _current(root.key_id, root.public, ROOT_PART, root.owner, 0)
        elif cls is KeyIntroduced:
            new = decode(KeyIntroduced, data)
            yield _current(new.key_id, new.public, new.part, new.owner, index + 1)
        elif cls is KeyRotated:
            new = decode(KeyRotated, data)
            yield KEYS.update(key_id=new.old_key_id, state="rotated", last_index=index)
            fresh = {"key_id": new.key_id, "state": "current"}
            yield KEYS.copy((new.old_key_id,), **fresh, public=new.public, first_index=index + 1, last_index=None)
        elif cls is KeyRevoked:
            yield KEYS.update(key_id=decode(KeyRevoked, data).key_id, state="revoked", last_index=index)


VIEW = View("keys", 1, (KEYS,), project)


def _current(key_id: str, public: bytes, part: str, owner: str, first: int) -> Change:
    return KEYS.insert(key_id=key_id, public=public, part=part, owner=owner, state="current", first_index=first)
