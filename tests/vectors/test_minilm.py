"""The sentence model in numpy against embeddings that other implementations made of the same weights."""

from __future__ import annotations

import importlib
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from organs.meaning.minilm import MiniLM, installed
from organs.meaning.vector import cosines_ppm, quantised, rows
from tests.vectors.make_minilm_vectors import PATH, TEXTS
from tests.vectors.minilm_gguf import write_gguf

SHORT = -2  #: the last two texts are long


@pytest.fixture(scope="module")
def model() -> MiniLM:
    """The model, for all tests of this file."""
    return MiniLM(installed())


def reference() -> dict[str, np.ndarray]:
    """What torch's transformer layers made of each text."""
    kept = json.loads(PATH.read_text(encoding="utf-8"))
    return {text: np.frombuffer(b64decode(one), dtype="<f4") for text, one in kept.items()}


@pytest.mark.spec("NIM-04")
def test_it_agrees_with_torch(model: MiniLM) -> None:
    """No number of any embedding is further than 1e-5 from torch's own transformer layers and another tokenizer."""
    kept = reference()
    assert set(TEXTS) == set(kept)
    found = model.embed(list(kept))
    furthest = np.abs(found - np.stack(list(kept.values()))).max(axis=1)
    assert {} == {text[:40]: float(far) for text, far in zip(kept, furthest, strict=True) if far > 1e-5}


@pytest.mark.spec("NIM-04")
def test_a_text_has_the_same_numbers_in_any_company(model: MiniLM) -> None:
    """Alone or among others, in any order, a text's embedding is the same to the last bit."""
    texts = TEXTS[:SHORT]
    together = model.embed(texts)
    backwards = model.embed(texts[::-1])[::-1]
    alone = np.concatenate([model.embed([text]) for text in texts])
    assert (together == alone).all()
    assert (together == backwards).all()


@pytest.mark.spec("NIM-04")
def test_bytes_keep_the_meaning() -> None:
    """Between any two texts the cosine of their bytes is within 0.005 of the cosine of their floats."""
    found = np.stack(list(reference().values())).astype(np.float64)
    kept = rows([quantised(one) for one in found])
    assert np.abs(cosines_ppm(kept, kept) / 1e6 - found @ found.T).max() < 0.005


@pytest.mark.spec("NIM-04")
def test_no_more_than_256_tokens_are_read(model: MiniLM) -> None:
    """What follows the 256th token changes nothing."""
    many = "word " * 254
    assert 256 == len(model.tokens(many)) == len(model.tokens(many + "obstacle " * 50))
    assert (model.embed([many]) == model.embed([many + "obstacle " * 50])).all()


@pytest.mark.spec("NIM-04", "NIM-17")
def test_llama_cpp_agrees(tmp_path: Path) -> None:
    """The same weights as GGUF in llama.cpp, which takes its GELU from a table of half precision, agree to 0.9999."""
    path = tmp_path / "minilm.gguf"
    write_gguf(path)
    llama: Any = importlib.import_module("xllamacpp")  # compiled: nothing of it is typed
    parameters = llama.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_parallel = parameters.cpuparams.n_threads = 1
    parameters.embedding, parameters.verbosity = True, -1
    server = llama.Server(parameters)
    far = {}
    for text, one in list(reference().items())[:SHORT]:
        answer: Any = server.handle_embeddings({"input": text, "model": "minilm"})
        answer = answer if isinstance(answer, dict) else json.loads(answer)
        cosine = float(one @ np.array(answer["data"][0]["embedding"]))
        far |= {text: cosine} if cosine < 0.9999 else {}
    assert {} == far
