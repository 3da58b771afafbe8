"""From a suite's name to its lines: the product's own are registered when first used, anybody's when they were."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec
from blake3 import blake3

from organs.evaluator.sitting import Family
from shared.artifacts import CHUNK_BYTES, ArtifactStore, read
from shared.constant import constant
from shared.corpus import CORPORA
from shared.errors import Damaged, Refusal, Refused
from shared.message import Request
from shared.subjects.datasets import DatasetFacts, DatasetStated, DatasetStatus, RegisterDataset, Transformation
from shared.vault import People
from shared.vault.records import kept_records

MAX_SUITE_BYTES = constant(64_000_000, "bytes", "X-12")
MAX_QUESTIONS = constant(100_000, "questions", "X-12")
SUITE_NAME_CHARS = constant(200, "characters", "X-12")
DIGEST_CHARS = constant(
    16, "characters", "ILL-06"
)  # behind a registered suite's name: a plain one is the product's own
MEDIA_TYPE = "application/x-ndjson"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_encode = msgspec.json.Encoder(order="deterministic").encode


class Ask(Protocol):
    """Whoever passes a request on, and returns its answer. Raises Refused."""

    async def __call__(self, request: Request) -> object: ...


class Suite(msgspec.Struct, frozen=True):
    """A suite whose dataset is registered."""

    name: str
    dataset: str
    lines: list[bytes]


class Suites:
    """Finds suites. Owns nothing."""

    def __init__(self, store: ArtifactStore, people: People | None, ask: Ask, families: Mapping[str, Family]) -> None:
        self.store, self.people, self.ask, self.families = store, people, ask, families

    async def find(self, family: str, suite: str) -> Suite:
        """Return a suite of a family: one of the product's own by name, or a registered dataset by its digest.

        Refused V001 where there is none, V003 where its dataset is not what was registered, or for anything else.
        """
        known = self.families.get(family)
        if known is None:
            found = f"no model of {family[:80]!r} is measured here"
            raise Refused(Refusal("V001", f"{found}; measured are {', '.join(self.families)}"))
        for name, content in known.shipped.items():
            if suite in {name, blake3(content).hexdigest()}:
                return await self._own(family, name, content)
        if not _DIGEST.fullmatch(suite):
            own = ", ".join(known.shipped) or "none"
            found = f"{family} has no suite {suite[:80]!r}"
            raise Refused(Refusal("V001", f"{found}; its own are {own}, others are named by their dataset's digest"))
        return await self._registered(known, suite)

    async def _own(self, family: str, suite: str, content: bytes) -> Suite:
        """Put one of the product's own into the store and have it registered; again, nothing changes."""
        kept = await self.store.put(_pieces(content), MEDIA_TYPE)
        lines = content.splitlines()
        facts = DatasetFacts(
            name=f"{family}: {suite}",
            use="evaluate",
            kind="suite",
            corpus="",
            sources=[],
            transformations=[Transformation(f"suite {suite}", kept.blake3)],
            licence="LicenseRef-own",
            restrictions=[],
            pii="none",
            records=len(lines),
        )
        await self.ask(RegisterDataset(kept.blake3, kept.sha256, kept.size, facts))
        return Suite(suite, kept.blake3, lines)

    async def _registered(self, family: Family, dataset: str) -> Suite:
        stated = await self.ask(DatasetStatus(dataset))
        assert isinstance(stated, DatasetStated)
        facts = stated.facts
        if facts is None:
            raise Refused(Refusal("V003", f"nobody registered {dataset}"))
        if facts.use != "evaluate" or facts.kind not in family.kinds:
            found = f"{facts.name} is registered to {facts.use}, with {facts.kind}"
            raise Refused(Refusal("V003", f"{found}; expected to evaluate, with {', '.join(family.kinds)}"))
        try:
            lines = [line async for line in self._lines(dataset, facts.kind)]
        except Damaged as fault:
            raise Refused(Refusal("V003", str(fault))) from None
        except Refused as no:
            raise Refused(Refusal("V003", f"{facts.name}: {no.refusal}")) from None
        if not 0 < len(lines) <= MAX_QUESTIONS:
            raise Refused(Refusal("V003", f"{facts.name} has {len(lines)} lines, expected 1 to {MAX_QUESTIONS}"))
        return Suite(f"{facts.name[:SUITE_NAME_CHARS]} {dataset[:DIGEST_CHARS]}", dataset, lines)

    async def _lines(self, dataset: str, kind: str) -> AsyncIterator[bytes]:
        """Yield a dataset's lines: a trail is its text, a post what is known of it."""
        if kind not in CORPORA:
            for line in (await read(self.store, dataset, MAX_SUITE_BYTES)).splitlines():
                yield line
            return
        async for record in kept_records(self.store, dataset, self.people):
            text = record.text or ""
            yield text.encode() if kind == "trails" else _encode({"text": text, "label": record.label})


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), CHUNK_BYTES):
        yield raw[start : start + CHUNK_BYTES]
