"""What every port to passages does, in memory and in Chroma: it holds rows, finds them by nearness, and lets go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from organs.memory import ChromaPassages, Mark, Passages, PlainPassages, Row, digest_of
from organs.memory.embedder import gram_vector
from organs.memory.port import cosine_ppm, numbers
from shared.errors import Refused
from shared.personal import Personal
from shared.subjects.meaning import VECTOR_BYTES
from shared.subjects.memory import MemoryKind, Origin

pytestmark = pytest.mark.spec("BIZ-15", "NIM-18")

ADA, BOB = b"a" * 16, b"b" * 16
Open = Callable[[], Passages]


@pytest.fixture(params=["plain", "chroma"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Open the port anew on what it kept, as another process would."""
    plain = PlainPassages()
    return (lambda: plain) if request.param == "plain" else lambda: ChromaPassages(tmp_path / "memory")


def row(text: str, kind: MemoryKind = "semantic", source: str = "page", person: bytes = b"") -> Row:
    """A row of these tests: its id is its text, its vector its spelling."""
    sealed = Personal[str](person, b"c" * 72) if person else None
    origin = Origin("file", "page.md", "A heading", 3, 3 + len(text.encode()))
    words = "" if person else text
    return Row(text.ljust(4, "_"), kind, words, gram_vector(text), origin, source, "grams", 7, 0, 1, 5, sealed)


def run(opened: Open, body: Callable[[Passages], Coroutine[Any, Any, None]]) -> None:
    """Run a body on an opened port, and close it."""

    async def whole() -> None:
        passages = opened()
        await passages.open()
        try:
            await body(passages)
        finally:
            await passages.close()

    asyncio.run(whole())


def test_rows_come_back_as_they_were(opened: Open) -> None:
    """A row is read as it was written, also by the next process, with how far the log was read."""
    rows = [row("the battery is low", "working"), row("sealed", person=ADA), row("ein Rätsel ≥ 🙂")]
    mark = Mark(12, "ab", 3)

    async def write(passages: Passages) -> None:
        assert Mark() == await passages.mark()
        await passages.apply(rows, [], mark)

    async def read(passages: Passages) -> None:
        assert mark == await passages.mark()
        assert 3 == await passages.count()
        assert sorted(rows, key=lambda one: one.id) == await passages.page("", 10)
        assert [rows[0]] == await passages.of_kinds(["working", "episodic"])
        assert [rows[1]] == await passages.find([rows[1].id, "nobody"])

    run(opened, write)
    run(opened, read)


def test_the_nearest_come_first(opened: Open) -> None:
    """Rows are found by the cosine of their vectors, exactly, of the kinds that were asked for."""
    texts = ["the battery is low", "a battery is nearly empty", "an obstacle lies ahead", "two and two is four"]

    async def body(passages: Passages) -> None:
        assert [] == await passages.nearest(gram_vector("battery"), 3)
        await passages.apply([row(text) for text in texts], [], Mark(1))
        await passages.apply([row("battery", "working")], [], Mark(2))
        asked = gram_vector("the battery is low")
        found = await passages.nearest(asked, 3)
        assert ("the battery is low", 1_000_000) == (found[0][0].text, found[0][1])
        assert [cosine_ppm(asked, one.vector) for one, _ in found] == [ppm for _, ppm in found]
        assert ["battery"] == [one.text for one, _ in await passages.nearest(asked, 3, ["working"])]
        assert [] == await passages.nearest(asked, 3, ["prospective"])

    run(opened, body)


def test_a_row_is_replaced_and_removed_by_its_id(opened: Open) -> None:
    """The same id is the same row; an unknown id is removed without a word; pages go in the order of ids."""

    async def body(passages: Passages) -> None:
        await passages.apply([row("one"), row("two", source="other"), row("three")], [], Mark(1))
        await passages.apply([row("one", "working")], ["nobody", row("three").id], Mark(2))
        assert ["one_", "two_"] == [one.id for one in await passages.page("", 10)]
        assert ["two_"] == [one.id for one in await passages.page("one_", 10)]
        assert ["one_"] == [one.id for one in await passages.page("", 10, "page")]
        assert "working" == (await passages.page("", 1))[0].kind
        await passages.renew([], Mark())
        assert (0, Mark(), []) == (await passages.count(), await passages.mark(), await passages.page("", 10))
        await passages.apply([row("one")], [], Mark(1))
        assert 1 == await passages.count()
        await passages.renew([row("two"), row("three")], Mark(2))
        assert (["thre", "two_"], Mark(2)) == (
            [one.id[:4] for one in await passages.page("", 10)],
            await passages.mark(),
        )

    run(opened, body)


def test_thousands_are_put_in_the_place_of_others(opened: Open) -> None:
    """More rows than Chroma takes at once are written all the same, and read again."""
    rows = [row(f"{n:04}") for n in range(6_000)]

    async def body(passages: Passages) -> None:
        await passages.renew(rows, Mark(1))
        assert len(rows) == await passages.count()
        assert rows == await passages.of_kinds(["semantic"])

    run(opened, body)


@pytest.mark.spec("X-11")
def test_a_person_is_erased(opened: Open) -> None:
    """Every row about a person goes, those about others stay, and the next process sees the same."""

    async def erase(passages: Passages) -> None:
        await passages.apply([row("hers", person=ADA), row("his", person=BOB), row("nobody's")], [], Mark(1))
        assert 1 == await passages.erase(ADA.hex(), Mark(2))
        assert 0 == await passages.erase(ADA.hex(), Mark(3))

    async def read(passages: Passages) -> None:
        assert ["his_", "nobody's"] == [one.id for one in await passages.page("", 10)]
        assert (2, Mark(3)) == (await passages.count(), await passages.mark())
        assert "his_" == (await passages.nearest(gram_vector("hers"), 3))[0][0].id

    run(opened, erase)
    run(opened, read)


@pytest.mark.parametrize("vector", [b"", bytes(VECTOR_BYTES), b"x" * (VECTOR_BYTES - 1)])
def test_what_is_no_vector_is_refused_by_name(opened: Open, vector: bytes) -> None:
    """A vector of another length, or of zeros alone, is B002 and changes nothing."""

    async def body(passages: Passages) -> None:
        odd = Row("odd1", "semantic", "odd", vector, Origin("file", "f", "", 0, 1), "s", "grams", 0, 0, 1, 5)
        for refused in (passages.apply([row("one"), odd], [], Mark(1)), passages.nearest(vector, 1)):
            with pytest.raises(Refused) as no:
                await refused
            assert "B002" == no.value.refusal.code
        assert (0, Mark()) == (await passages.count(), await passages.mark())

    run(opened, body)


def test_the_digest_knows_no_order(opened: Open) -> None:
    """Written one by one, all at once, backwards, or after others that are gone: the digest is the same."""
    rows = [row(f"passage {n} about {n * n}") for n in range(20)]
    digests = set[str]()

    async def body(passages: Passages) -> None:
        for batches in ([rows], [rows[::-1]], [[one] for one in random.Random(3).sample(rows, 20)]):
            await passages.renew([], Mark())
            await passages.apply([row("gone")], [], Mark(1))
            for batch in batches:
                await passages.apply(batch, ["gone"], Mark(2))
            digests.add(await digest_of(passages))
        await passages.apply([row("passage 3 about 9", "working")], [], Mark(3))
        assert {await digest_of(passages)}.isdisjoint(digests)

    run(opened, body)
    assert 1 == len(digests)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(vectors=st.lists(st.binary(min_size=VECTOR_BYTES, max_size=VECTOR_BYTES).filter(any), min_size=1, max_size=8))
def test_any_vector_is_kept_to_the_bit(opened: Open, vectors: list[bytes]) -> None:
    """Whatever the numbers are, they are read back as they were: the digest may rest on them."""
    rows = [
        Row(f"id{n}", "semantic", "t", one, Origin("file", "f", "", 0, 1), "s", "grams", 0, 0, 1, 5)
        for n, one in enumerate(vectors)
    ]

    async def body(passages: Passages) -> None:
        await passages.renew([], Mark())
        await passages.apply(rows, [], Mark(1))
        assert vectors == [one.vector for one in await passages.page("", 10)]
        assert max(map(cosine_ppm, vectors, [vectors[0]] * 8)) == (await passages.nearest(vectors[0], 1))[0][1]

    run(opened, body)


@given(
    a=st.binary(min_size=VECTOR_BYTES, max_size=VECTOR_BYTES), b=st.binary(min_size=VECTOR_BYTES, max_size=VECTOR_BYTES)
)
def test_the_cosine_is_what_mathematics_says(a: bytes, b: bytes) -> None:
    """The integer cosine is the real one within a millionth, symmetric, 0 for opposites, and 1 with itself."""
    x, y = numbers(a), numbers(b)
    size = (sum(n * n for n in x) * sum(n * n for n in y)) ** 0.5
    real = max(0.0, sum(n * m for n, m in zip(x, y, strict=True)) / size) if size else 0.0
    assert abs(real * 1_000_000 - cosine_ppm(a, b)) <= 1
    assert cosine_ppm(a, b) == cosine_ppm(b, a)
    assert (1_000_000 if any(a) else 0) == cosine_ppm(a, a)
