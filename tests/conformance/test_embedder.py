"""The port to a sentence model: one behaviour, held by the real model and by the simulated one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organs.meaning.embedder import MiniLMEmbedder
from organs.meaning.port import NOWHERE, Embedder
from organs.meaning.simulated import SimEmbedder
from organs.meaning.vector import LARGEST_COMPONENT, cosine_ppm
from shared.subjects.meaning import VECTOR_BYTES

TEXTS = ("the battery is low", "an obstacle ahead", "the battery is nearly empty", "障害物", "👋", "2 + 3 = 5")


@pytest.fixture(scope="module", params=[MiniLMEmbedder, SimEmbedder], ids=lambda kind: kind.__name__)
def make(request: pytest.FixtureRequest) -> Callable[[], Embedder]:
    """How an adapter of each kind is made."""
    return request.param


@pytest.fixture(scope="module")
def embedder(make: Callable[[], Embedder]) -> Embedder:
    """One adapter of each kind, for all tests of this file."""
    return make()


def vectors(embedder: Embedder, *texts: str) -> list[bytes]:
    """The vectors of texts."""
    return asyncio.run(embedder.vectors(texts))


def components(vector: bytes) -> list[int]:
    """A vector as numbers."""
    return list(memoryview(vector).cast("b"))


@pytest.mark.spec("NIM-04")
def test_a_vector_is_384_signed_bytes(embedder: Embedder) -> None:
    """Each text has one vector, in the order asked; its largest component is 127, and none is -128."""
    found = vectors(embedder, *TEXTS)
    assert [VECTOR_BYTES] * len(TEXTS) == [len(one) for one in found]
    assert {LARGEST_COMPONENT} == {max(map(abs, components(one))) for one in found}
    assert len(set(found)) == len(TEXTS)


@pytest.mark.spec("NIM-04")
def test_it_names_its_model(embedder: Embedder) -> None:
    """Its digest is 64 hexadecimal digits, so that vectors of two models are never taken for each other."""
    assert re.fullmatch("[0-9a-f]{64}", embedder.digest)


@pytest.mark.spec("NIM-04", "X-08")
def test_a_text_has_one_vector(make: Callable[[], Embedder], embedder: Embedder) -> None:
    """Asked again, alone, in other company or of another instance, a text has the same vector."""
    found = vectors(embedder, *TEXTS)
    assert found == vectors(make(), *TEXTS)
    assert found[::-1] == vectors(embedder, *TEXTS[::-1])
    assert found == [vectors(make(), text)[0] for text in TEXTS[:2]] + found[2:]
    assert [found[0]] * 3 == vectors(embedder, TEXTS[0], TEXTS[0], f"  {TEXTS[0]}\n")


@pytest.mark.spec("NIM-04")
def test_what_is_alike_is_near(embedder: Embedder) -> None:
    """Two texts about a battery are nearer to each other than to one about an obstacle."""
    low, obstacle, empty = vectors(embedder, *TEXTS[:3])
    assert cosine_ppm(low, empty) > 200_000 + max(cosine_ppm(low, obstacle), cosine_ppm(empty, obstacle))


@pytest.mark.spec("NIM-04")
def test_nothing_is_nowhere(embedder: Embedder) -> None:
    """An empty text, and one of blanks, has the vector of zeros, whose cosine with everything is 0."""
    assert [NOWHERE, NOWHERE] == vectors(embedder, "", " \t\n ")
    assert [] == vectors(embedder)
    assert 0 == cosine_ppm(NOWHERE, vectors(embedder, "something")[0])


@pytest.mark.spec("NIM-04", "X-12")
def test_a_long_text_is_read_to_a_bound(embedder: Embedder) -> None:
    """Of 100 kB the beginning is read: what follows 8,192 characters or 256 tokens changes nothing."""
    long = "obstacle " * 12_000
    assert vectors(embedder, long) == vectors(embedder, long + "battery")


@pytest.mark.spec("NIM-04")
def test_after_a_close_it_can_be_asked_again(make: Callable[[], Embedder]) -> None:
    """Closing lets go of what it holds; the next question is answered alike."""

    async def body() -> None:
        embedder = make()
        before = await embedder.vectors(TEXTS[:1])
        await embedder.close()
        assert before == await embedder.vectors(TEXTS[:1])
        await embedder.close()
        await embedder.close()

    asyncio.run(body())


@pytest.mark.spec("NIM-04")
def test_many_may_ask_at_once(make: Callable[[], Embedder], embedder: Embedder) -> None:
    """Questions asked at the same time are answered as if each came alone."""

    async def body() -> list[list[bytes]]:
        asked = make()
        return await asyncio.gather(*(asked.vectors([text]) for text in (*TEXTS, *TEXTS)))

    assert [[one] for one in vectors(embedder, *TEXTS, *TEXTS)] == asyncio.run(body())


@pytest.mark.spec("NIM-04", "X-12")
@settings(max_examples=30)
@given(text=st.text(max_size=60))
def test_any_text_has_a_vector(embedder: Embedder, text: str) -> None:
    """Whatever Unicode a text is made of, it has a vector, and is as near to itself as can be."""
    (found,) = vectors(embedder, text)
    assert VECTOR_BYTES == len(found)
    assert found == NOWHERE or cosine_ppm(found, found) == 1_000_000
