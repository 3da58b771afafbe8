"""The real sentence model's own promises: what is not the model is never used, what is known is not computed again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organs.meaning.embedder import MiniLMEmbedder
from organs.meaning.minilm import NoModel, installed
from organs.meaning.vector import cosine_ppm, cosines_ppm, lengths, mean, quantised, rows
from shared.errors import Damaged, Exit
from shared.subjects.meaning import VECTOR_BYTES

#: What `quantised` can make: the largest component is 127, none is -128.
VECTORS = st.binary(min_size=VECTOR_BYTES - 1, max_size=VECTOR_BYTES - 1).map(
    lambda rest: b"\x7f" + rest.replace(b"\x80", b"\x81")
)


def copied(folder: Path) -> Path:
    """The model's two files in a folder of their own."""
    folder.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copyfile(installed() / name, folder / name)
    return folder


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.spec("NIM-04", "NIM-17")
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_another_model_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """One flipped bit in either file: the fault Damaged names the file and both digests, and nothing is embedded."""
    folder = copied(tmp_path / "model")
    flip(folder / name)
    embedder = MiniLMEmbedder(folder)
    with pytest.raises(Damaged, match=f"{name} has SHA-256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}}"):
        asyncio.run(embedder.vectors(["math"]))
    assert (0, Exit.TAMPERED) == (embedder.computed, Damaged.exit)


@pytest.mark.spec("NIM-17")
def test_a_missing_model_is_said_to_be_missing(tmp_path: Path) -> None:
    """Without its files the model is the fault NoModel, which says what to do; put there, it is found."""
    embedder = MiniLMEmbedder(tmp_path / "model")
    with pytest.raises(NoModel, match=r"model\.safetensors cannot be read .*install the locked packages"):
        asyncio.run(embedder.vectors(["math"]))
    copied(tmp_path / "model")
    assert 1 == len(asyncio.run(embedder.vectors(["math"])))


@pytest.mark.spec("NIM-04")
def test_a_model_that_is_loaded_is_not_read_again(tmp_path: Path) -> None:
    """What is asked once the model is loaded needs its files no more, and is answered as by any other."""

    async def body() -> None:
        embedder = MiniLMEmbedder(copied(tmp_path / "model"))
        await embedder.load()
        shutil.rmtree(tmp_path / "model")
        assert await MiniLMEmbedder().vectors(["math"]) == await embedder.vectors(["math"])

    asyncio.run(body())


@pytest.mark.spec("NIM-04", "X-12")
def test_what_was_computed_is_remembered_within_a_bound() -> None:
    """A text is computed once while it is among the last asked; what nobody asked for longest is forgotten first."""

    async def body() -> None:
        embedder = MiniLMEmbedder(remembered=2)
        counts = []
        for texts in (["a"], ["a", "a"], ["b"], ["a"], ["c"], ["a"], ["b"]):
            await embedder.vectors(texts)
            counts.append(embedder.computed)
        assert [1, 1, 2, 2, 3, 3, 4] == counts

    asyncio.run(body())


@pytest.mark.spec("NIM-04")
def test_importing_the_organ_loads_nothing_heavy() -> None:
    """The organ and its command are imported without numpy, the tokenizer or torch, whose threads they limit to one."""
    program = (
        "import sys, os, organs.meaning, deploy.commands.meaning\n"
        "print([n for n in ('numpy', 'tokenizers', 'torch', 'safetensors') if n in sys.modules],"
        " os.environ['OPENBLAS_NUM_THREADS'])"
    )
    root = str(Path(__file__).resolve().parents[2])
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert "[] 1\n" == done.stdout


@pytest.mark.spec("NIM-04")
@given(one=VECTORS, other=VECTORS)
def test_a_cosine_is_whole_numbers(one: bytes, other: bytes) -> None:
    """A cosine in ppm is within 16 millionths of the real one, symmetric and in bounds; a vector's own is 1,000,000."""
    a, b = (np.frombuffer(v, dtype=np.int8).astype(object) for v in (one, other))
    product, squares = int((a * b).sum()), int((a * a).sum()) * int((b * b).sum())
    expected = 1e6 * product / squares**0.5
    found = cosine_ppm(one, other)
    assert found == cosine_ppm(other, one)
    assert abs(found - expected) <= 16
    assert -1_000_000 <= found <= 1_000_000
    assert 1_000_000 == cosine_ppm(one, one)


@pytest.mark.spec("NIM-04")
@given(many=st.lists(VECTORS, min_size=1, max_size=5), others=st.lists(VECTORS, min_size=1, max_size=5))
def test_matrices_say_what_pairs_say(many: list[bytes], others: list[bytes]) -> None:
    """All cosines at once are the cosines of each pair, to the last ppm; with lengths known before, too."""
    ones, across = rows(many), rows(others)
    expected = [[int(cosines_ppm(rows([a]), rows([b]))[0, 0]) for b in others] for a in many]
    assert expected == cosines_ppm(ones, across).tolist() == cosines_ppm(ones, across, lengths(across)).tolist()


@pytest.mark.spec("NIM-04")
def test_the_largest_vectors_do_not_overflow() -> None:
    """Vectors of nothing but 127 and -127 have cosines of 1,000,000 and -1,000,000, to a millionth of rounding."""
    most, least = bytes([127]) * VECTOR_BYTES, bytes([0x81]) * VECTOR_BYTES
    assert 999_999 <= cosine_ppm(most, bytes([126]) * VECTOR_BYTES) <= 1_000_000
    assert -1_000_000 <= cosine_ppm(most, least) <= -999_999
    assert most == mean([most, most]) == mean([most])
    assert bytes(VECTOR_BYTES) == mean([most, least]) == mean([])


@pytest.mark.spec("NIM-04")
def test_only_a_direction_becomes_bytes() -> None:
    """Another shape, a number that is none and a vector of zeros are errors; the scale of a vector is not kept."""
    good = np.linspace(-1, 1, VECTOR_BYTES, dtype=np.float32)
    assert quantised(good) == quantised(good * 1e-20) == quantised(good * 1e20)
    for bad in (good[:-1], good[None], good * 0, good * np.inf, np.full(VECTOR_BYTES, np.nan)):
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="an embedding"):
            quantised(bad)
