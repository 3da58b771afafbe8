"""A model learned from labelled posts: weights of hashed words that correct what the lexicon says.

The log odds of a passage being toxic are those of the lexicon times a gain, plus a bias, plus the mean weight of its
different words times the root of their number. A word is known by the bucket that its checksum falls in, and by
nothing else: most buckets have several words, names of accounts and addresses are never hashed, and a file holds no
text. Whoever guesses a word can still ask what its bucket weighs, as of any model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.toxicity.lexicon import Lexicon, lexicon
from shared.toxicity.odds import MICRO, ODDS_LIMIT, odds_micro, share_ppm
from shared.toxicity.words import passages, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUCKETS = constant(16_384, "buckets", "COL-02")
MODEL_VERSION = constant(1, "version", "COL-02")
MAX_TOXICITY_BYTES = constant(300_000, "bytes", "COL-02")
MAX_LOG_ODDS = constant(1_000, "units of log odds", "COL-02")  # of a bias, a gain and all weights: what is more is none

#: The tensors of a model's file. `numbers`: version, bias and gain in millionths, and millionths in a weight's step.
SHAPES = {"weights": ("int16", (BUCKETS,)), "numbers": ("int64", (4,)), "lexicon": ("uint8", (32,))}


def buckets(found: Sequence[str]) -> list[int]:
    """Return the different buckets of a passage's words, in order."""
    return sorted({crc32(_plain(word).encode()) % BUCKETS for word in found})


def _plain(word: str) -> str:
    """Return the one form under which a word is learned: its last that is not shortened to single letters."""
    if word.isdecimal():
        return "0"
    return word if word.isalpha() else word.rstrip("$*!")


class LearnedScorer:
    """Scores with learned weights, in whole numbers. Made from a file's bytes by `read_model`."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], digest: str, known: Lexicon) -> None:
        _, bias, gain, step = (int(number) for number in tensors["numbers"])
        self.name = f"learned {MODEL_VERSION} {digest}"
        self._lexicon, self._bias, self._gain = known, bias, gain
        self._weights = [int(weight) * step for weight in tensors["weights"]]

    def scores(self, texts: Sequence[str]) -> list[int]:
        """Return each text's toxicity in millionths: that of its worst passage."""
        return [max(self.passage_ppm(words(passage)) for passage in passages(text)) for text in texts]

    def passage_ppm(self, found: Sequence[str]) -> int:
        """Return the toxicity of one passage's words in millionths."""
        return share_ppm(self.passage_odds(found))

    def passage_odds(self, found: Sequence[str]) -> int:
        """Return the log odds of one passage's words in millionths; no words are not toxic at all."""
        if not found:
            return -ODDS_LIMIT * MICRO
        chosen = buckets(found)
        said = self._gain * odds_micro(self._lexicon.passage_ppm(found)) // MICRO
        weighed = sum(self._weights[bucket] for bucket in chosen)
        return self._bias + said + weighed * MICRO // math.isqrt(len(chosen) * MICRO * MICRO)


def read_model(raw: bytes, digest: str) -> LearnedScorer:
    """Return the scorer in a file's bytes. Refused F002 where they are not what the digest names, or no model."""
    found = blake3(raw).hexdigest()
    if found != digest:
        raise _wrong(f"its digest is {found}, expected {digest}")
    return LearnedScorer(_tensors(raw), digest, lexicon())


def written(weights: NDArray[np.float64], bias: float, gain: float) -> bytes:
    """Return a model as the bytes of a safetensors file, its weights rounded to 65,535 steps."""
    import numpy as np
    from safetensors.numpy import save

    largest = float(np.abs(weights).max())
    step = max(math.ceil(largest * MICRO / np.iinfo(np.int16).max), 1)
    numbers = [MODEL_VERSION, round(bias * MICRO), round(gain * MICRO), step]
    return save(
        {
            "lexicon": np.frombuffer(bytes.fromhex(lexicon().digest), np.uint8),
            "numbers": np.array(numbers, np.int64),
            "weights": np.rint(weights * MICRO / step).astype(np.int16),
        }
    )


def _tensors(raw: bytes) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if len(raw) > MAX_TOXICITY_BYTES:
        raise _wrong(f"it has {len(raw)} bytes, at most {MAX_TOXICITY_BYTES} are read")
    try:
        tensors = load(raw)
    except (SafetensorError, KeyError, ValueError) as error:
        raise _wrong(f"it is no safetensors file ({str(error)[:120]})") from None
    shapes = {name: (str(tensor.dtype), tensor.shape) for name, tensor in tensors.items()}
    if shapes != SHAPES:
        raise _wrong(f"it holds {shapes}, expected {SHAPES}")
    version, *numbers = (int(number) for number in tensors["numbers"])
    if version != MODEL_VERSION or any(abs(number) > MAX_LOG_ODDS * MICRO for number in numbers):
        raise _wrong("its version is another, or a number is out of all bounds")
    if bytes(tensors["lexicon"]).hex() != lexicon().digest:
        raise _wrong(f"it corrects another lexicon than {lexicon().digest}; train it again")
    return tensors


def _wrong(what: str) -> Refused:
    return Refused(Refusal("F002", f"this is no toxicity model: {what}"))
