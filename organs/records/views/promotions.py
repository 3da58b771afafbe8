"""`promotions`: what was put in force, blocked and taken back, with the rows that did not hold (ILL-07, COL-11)."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, Value, View
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.subjects.registry import ModelPromoted, ModelRolledBack, PromotionBlocked

PROMOTIONS = Table(
    "promotions",
    ("index", "place"),
    (
        Column("index", "bigint", "the index of its entry"),
        Column("place", "bigint", "the event's offset within the entry"),
        Column("family", "text", "the models' family"),
        Column("model", "text", "the digest of the model"),
        Column("target", "text", "staging or prod"),
        Column("outcome", "text", "promoted, blocked or rolled_back"),
        Column("other", "text", "what it replaces, or what a rollback restores; empty where that is nothing"),
        Column("manifest", "text", "the digest of what signers sign; empty for a rollback"),
        Column("signatures", "text[]", "the voters whose signature counted"),
        Column("emergency", "boolean", "whether it rolls back unless it is ratified"),
        Column("failing", "text[]", "the rows that did not hold, each with its reason"),
        Column("policy", "text", "the digest of the policies that judged it; empty for a rollback"),
        Column("input_digest", "text", "the digest of what they were asked"),
        Column("actor", "text", "who asked for it"),
        Column("reason", "text", "why, as they said"),
        Column("at_ms", "bigint", "when, in milliseconds since 1970"),
    ),
    "promotions and rollbacks of models, the blocked ones too",
    lookups=("model",),
)

Moved = ModelPromoted | PromotionBlocked | ModelRolledBack


def project(verdict: Verdict) -> Iterator[Change]:
    """Add a row for each decision about what is in force."""
    for said, at in decisions_in(verdict, ModelPromoted, PromotionBlocked, ModelRolledBack):
        yield PROMOTIONS.insert(index=at.index, place=at.offset, **_about(said), **_judged(said))


def _about(said: Moved) -> dict[str, Value]:
    common: dict[str, Value] = {"family": said.family, "model": said.model, "target": said.target, "actor": said.by}
    common["at_ms"] = said.at_ms
    match said:
        case ModelPromoted():
            how = {"outcome": "promoted", "other": said.replaces, "reason": said.reason}
        case PromotionBlocked():
            how = {"outcome": "blocked", "other": "", "reason": ""}
        case ModelRolledBack():
            how = {"outcome": "rolled_back", "other": said.restores, "reason": said.reason}
    return common | how


def _judged(said: Moved) -> dict[str, Value]:
    """Return what a policy said; about a rollback none is asked."""
    if isinstance(said, ModelRolledBack):
        return {"manifest": "", "signatures": (), "emergency": False, "failing": (), "policy": "", "input_digest": ""}
    promoted = isinstance(said, ModelPromoted)
    return {
        "manifest": said.manifest,
        "signatures": tuple(said.signatures) if promoted else (),
        "emergency": said.emergency if promoted else False,
        "failing": tuple(f"{row.name}: {row.reason}" for row in said.judgement.rows if not row.holds),
        "policy": said.judgement.policy,
        "input_digest": said.judgement.input_digest,
    }


VIEW = View("promotions", 1, (PROMOTIONS,), project)
