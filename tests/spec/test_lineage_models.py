"""Lineage of models: from one back to a post with a proof, and from a post or a person forward to every model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from blake3 import blake3
from msgspec.structs import replace

from deploy.proving import proved_post
from deploy.tour_audit import StepFailed
from deploy.tour_model import FIRST, traced
from shared.artifacts import MemoryStore
from shared.corpus import BATCH_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, Listed, Manifest, batch_of, line_of
from shared.corpus.batches import Content, encode_line
from shared.errors import Refused
from shared.log.entry import Position
from shared.registry.holding import holding, teaching
from shared.registry.lineage import Heard, Lineage, Node
from shared.subjects.datasets import DatasetFacts, DatasetRegistered, Transformation
from shared.subjects.provenance import BatchSealed, CorpusFinished, Fate, Intake, Tally
from shared.subjects.registry import ModelPromoted, ModelRegistered
from tests.promotions import FAMILY, MODEL, SECOND, Lane, facts, run

INTAKE = Intake("jsonl", "posts", "CC0-1.0", [], "en", 300_000, "", "0" * 64)
CORPUS, PERSON = "letters", "ab" * 16
DERIVED, THIRD = "d1" * 32, "3" * 64


async def _bytes(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


def _line(post: str, fate: Fate = "kept", person: str | None = None) -> Content:
    text, sealed = (None, [b"sealed"]) if person else (f"the text of {post}", None)
    return Content(post, fate, None, "en", None, person, None, text, sealed)


class Told:
    """A corpus of two batches in a store, and a log that says what became of it."""

    def __init__(self) -> None:
        self.store, self.lineage, self.index = MemoryStore(), Lineage(), 0
        self.roots: list[str] = []
        self.dataset = asyncio.run(self._dataset())

    def say(self, decision: Heard) -> int:
        """Have the log say something; return where."""
        self.index += 1
        self.lineage.hear(decision, Position(self.index, 0))
        return self.index

    async def _dataset(self) -> str:
        batches = [
            [_line("p1"), _line("p2", "toxic"), _line("p3", person=PERSON)],
            [_line("p4"), _line("p5", person="cd" * 16)],
        ]
        listed = [await self._batch(number, contents) for number, contents in enumerate(batches)]
        for one in listed:
            self.roots.append(one.root)
            self.say(
                BatchSealed(CORPUS, one.number, one.root, one.records, "0" * 64, one.posts, Tally(one.kept), 0, 0, 0)
            )
        return await self._finished(CORPUS, listed)

    async def _batch(self, number: int, contents: list[Content]) -> Listed:
        lines = [line_of(content, blake3(content.id.encode()).digest())[0] for content in contents]
        records = (
            await self.store.put(_bytes(b"".join(encode_line(line) + b"\n" for line in lines)), BATCH_MEDIA_TYPE)
        ).blake3
        kept = sum(line.fate == "kept" for line in lines)
        return Listed(number, batch_of(lines).root.hex(), records, len(lines), kept)

    async def _finished(self, corpus: str, listed: list[Listed]) -> str:
        raw = Manifest("posts", corpus, INTAKE, listed).bytes()
        dataset = (await self.store.put(_bytes(raw), MANIFEST_MEDIA_TYPE)).blake3
        self.say(CorpusFinished(corpus, len(listed), 5, Tally(4, 1), 2, 0, dataset))
        return dataset

    def taught_by(self, corpus: str, content: Content, *, sealed: bool) -> str:
        """A model that a corpus of one post taught; unless its batch is sealed, no root of it stands in the log."""

        async def whole() -> str:
            one = await self._batch(0, [content])
            if sealed:
                self.say(BatchSealed(corpus, 0, one.root, one.records, "0" * 64, 1, Tally(one.kept), 0, 0, 0))
            return await self._finished(corpus, [one])

        self.say(run(THIRD, job="job-4", datasets=[asyncio.run(whole())]))
        return THIRD


@pytest.fixture
def told() -> Told:
    """A dataset, one derived from it, a model that each taught, and one adapted from the second."""
    made = Told()
    about = DatasetFacts("letters", "train", "posts", CORPUS, [], [], "CC0-1.0", [], "sealed", 4)
    made.say(DatasetRegistered(made.dataset, "0" * 64, 10, about))
    shorter = replace(about, corpus="", sources=[made.dataset], transformations=[Transformation("cut 1", "0" * 64)])
    made.say(DatasetRegistered(DERIVED, "0" * 64, 10, shorter))
    made.say(run(datasets=[made.dataset]))
    made.say(ModelRegistered(FAMILY, MODEL, facts(datasets=[made.dataset])))
    made.say(run(SECOND, job="job-2", datasets=[DERIVED]))
    made.say(run(THIRD, job="job-3", datasets=["e" * 64], base=SECOND))
    return made


def names(node: Node, kind: str) -> list[str]:
    """Every name of a kind below a node, first to last."""
    own = [node.name] if node.kind == kind else []
    return [*own, *(name for below in node.came_from for name in names(below, kind))]


@pytest.mark.spec("ILL-16", "ILL-01", "COL-01")
def test_a_model_leads_back_to_a_post_with_a_proof(told: Told) -> None:
    """Model, run, dataset, corpus, batches with the log's own roots; a post's proof ends at one of these."""
    node = told.lineage.back(MODEL)
    assert node is not None
    assert ([MODEL], [told.dataset], [CORPUS]) == (
        names(node, "model"),
        names(node, "dataset"),
        names(node, "corpus"),
    )
    assert told.roots == names(node, "batch")
    proved, sealed = asyncio.run(proved_post(told.store, None, told.lineage, MODEL, "p4"))
    assert (told.dataset, 1, told.roots[1]) == (proved.dataset, proved.batch, proved.root)
    assert Position(2, 0) == sealed
    assert told.lineage.back("0" * 64) is None


@pytest.mark.spec("ILL-16", "COL-01")
@pytest.mark.parametrize(("corpus", "sealed"), [("forged", "none"), (CORPUS, "[0-9a-f]{64}")])
def test_a_root_that_the_log_does_not_hold_proves_nothing(corpus: str, sealed: str) -> None:
    """A manifest is consistent in itself and names a root that no BatchSealed has: refused, in the tour as well."""
    told = Told()
    model = told.taught_by(corpus, _line(FIRST), sealed=False)
    for walk in (
        proved_post(told.store, None, told.lineage, model, FIRST),
        traced(told.store, told.lineage, model),
    ):
        with pytest.raises(Refused, match=f"D005.*batch 0 of {corpus} has the root .* the log sealed {sealed}"):
            asyncio.run(walk)


@pytest.mark.spec("ILL-16", "COL-01")
@pytest.mark.parametrize(("fate", "leads"), [("kept", True), ("toxic", False)])
def test_the_tour_goes_from_the_post_forward(fate: Fate, leads: bool) -> None:  # noqa: FBT001
    """From the post itself, not from its dataset: one that was dropped leads to no model, and the step fails."""
    told = Told()
    model = told.taught_by("trails", _line(FIRST, fate), sealed=True)
    walk = traced(told.store, told.lineage, model)
    if leads:
        assert "leaf 0 of 1" in asyncio.run(walk)
        return
    with pytest.raises(StepFailed, match="does not lead forward"):
        asyncio.run(walk)


@pytest.mark.spec("ILL-16")
def test_what_a_dataset_was_derived_from_and_a_model_adapted_from_is_followed(told: Told) -> None:
    """A model adapted from one that a derived dataset taught leads back to the same batches."""
    node = told.lineage.back(THIRD)
    assert node is not None
    assert [THIRD, SECOND] == names(node, "model")
    assert told.roots == names(node, "batch")
    assert {"e" * 64, DERIVED, told.dataset} == {*told.lineage.datasets_of(THIRD)}


@pytest.mark.spec("ILL-16")
def test_a_post_leads_forward_to_every_model_that_it_taught(told: Told) -> None:
    """Directly, through a derived dataset, and through a model that another was adapted from; with what promoted it."""
    lane = Lane()
    lane.staged()
    promoted = lane.promote()
    assert isinstance(promoted, ModelPromoted)
    told.say(promoted)
    held = asyncio.run(holding(told.store, told.lineage, lambda line: line.id == "p4"))
    assert [(told.dataset, 1, "kept", True)] == [(one.dataset, one.batch, one.fate, one.root_in_log) for one in held]
    taught = told.lineage.forward(teaching(held))
    assert [MODEL, SECOND, THIRD] == [one.model for one in taught]
    assert [("prod",), (), ()] == [one.promoted for one in taught]
    assert (told.dataset, DERIVED, SECOND, THIRD) == taught[-1].through


@pytest.mark.spec("ILL-16")
def test_a_post_that_was_dropped_taught_nothing(told: Told) -> None:
    """It stands in its batch, and no model learned from it; of an unknown post nothing is held at all."""
    held = asyncio.run(holding(told.store, told.lineage, lambda line: line.id == "p2"))
    assert ["toxic"] == [one.fate for one in held]
    assert [] == told.lineage.forward(teaching(held))
    assert [] == asyncio.run(holding(told.store, told.lineage, lambda line: line.id == "p9"))


@pytest.mark.spec("ILL-16")
def test_a_person_leads_forward_by_their_pseudonym(told: Told) -> None:
    """Whoever was erased is found by the pseudonym that stays in the records: every model that their posts taught."""
    held = asyncio.run(holding(told.store, told.lineage, lambda line: line.person == PERSON))
    assert ["p3"] == [one.post for one in held]
    assert [MODEL, SECOND, THIRD] == [one.model for one in told.lineage.forward(teaching(held))]


@pytest.mark.spec("ILL-16", "X-12")
def test_what_names_itself_is_followed_once(told: Told) -> None:
    """A dataset that names itself as its source, and models that name each other, end the walk."""
    loop = DatasetFacts("loop", "train", "posts", "", ["77" * 32], [], "CC0-1.0", [], "none", 1)
    told.say(DatasetRegistered("77" * 32, "0" * 64, 1, loop))
    told.say(run("88" * 32, job="job-9", datasets=["77" * 32]))
    told.say(ModelRegistered(FAMILY, "88" * 32, facts(parents=["99" * 32])))
    told.say(ModelRegistered(FAMILY, "99" * 32, facts(parents=["88" * 32])))
    node = told.lineage.back("88" * 32)
    assert node is not None
    assert ["77" * 32, "77" * 32] == names(node, "dataset")[:2]
    assert ["88" * 32] == [one.model for one in told.lineage.forward(["77" * 32])]
