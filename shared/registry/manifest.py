"""What a promotion's signers sign: a model, how it came to be, what was measured of it, by which rules, and for where.

Canonical JSON, named by its BLAKE3 digest. A ballot is about that digest, so whatever of it changes asks for new words.
"""

from __future__ import annotations

import msgspec

from shared.canonical import canonical, digest_of
from shared.registry.family import Family
from shared.subjects.registry import Digest, Target

MANIFEST_TYPE = "application/vnd.nimmerverse.promotion+json"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A promotion, whole."""

    family: str
    model: Digest
    record: Digest  #: of the run; empty where none is known
    datasets: list[Digest]
    evaluations: list[Digest]  #: reports, in order
    policy: Digest
    target: Target
    emergency: bool  #: a word about what takes every word is none about what takes two

    @property
    def digest(self) -> Digest:
        """What ballots are about."""
        return digest_of(self)

    @property
    def text(self) -> str:
        """What that is the digest of."""
        return canonical(self).decode()


def manifest_of(  # noqa: PLR0913 - each word of a manifest is its own fact
    family: str, known: Family, model: Digest, target: Target, policy: Digest, *, emergency: bool
) -> Manifest:
    """Return what is to be signed for a promotion, by what is known of the family now."""
    facts = known.models.get(model)
    reports = sorted({note.digest for note in known.notes if note.evidence == "evaluation" and note.model == model})
    record, datasets = (facts.record, list(facts.datasets)) if facts is not None else ("", [])
    return Manifest(family, model, record, datasets, reports, policy, target, emergency)
