"""`models`: every version of every family that the log registered, with what it was made from (ILL-01)."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.subjects.registry import ModelRegistered

MODELS = Table(
    "models",
    ("family", "model"),
    (
        Column("family", "text", "the family, a lane of its own"),
        Column("model", "text", "the digest of the model's file"),
        Column("version", "text", "what it is called; a version never changes"),
        Column("code", "text", "name and version of the code that made it"),
        Column("job", "text", "the training job that left it"),
        Column("record", "text", "the digest of the run's record"),
        Column("datasets", "text[]", "digests of what taught it"),
        Column("parents", "text[]", "digests of the models it was adapted from"),
        Column("size_bytes", "bigint", "of the file"),
        Column("high_risk", "boolean", "whether three signers are asked for"),
        Column("watermark", "text", "the digest of the owner's mark; empty where it has none"),
        Column("registered_index", "bigint", "the index of its registration"),
    ),
    "models that were registered; what is in force of them is in promotions",
    lookups=("model",),
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Add a row for each model that was registered."""
    for said, at in decisions_in(verdict, ModelRegistered):
        yield MODELS.put(
            family=said.family,
            model=said.model,
            version=said.facts.version,
            code=said.facts.code,
            job=said.facts.job,
            record=said.facts.record,
            datasets=tuple(said.facts.datasets),
            parents=tuple(said.facts.parents),
            size_bytes=said.facts.size_bytes,
            high_risk=said.facts.high_risk,
            watermark=said.facts.watermark,
            registered_index=at.index,
        )


VIEW = View("models", 1, (MODELS,), project)
