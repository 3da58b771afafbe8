"""Training of a toxicity model: logistic regression over hashed words, on one thread, the same bytes from the same run.

The lexicon's word is one of its inputs, so that what the posts do not teach stays as it was. Each step takes one batch
of an order drawn from the seed and the epoch, so a checkpoint holds no generator. A fifth of the posts, drawn from the
seed too, is held out: on it the model's log odds are moved so that the wanted share of toxic posts scores above the
keep-threshold. Only numpy computes here, in float64 and in one order, so neither the number of processors nor a kill
changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.fairness import Counts
from shared.toxicity.learned import BUCKETS, LearnedScorer, buckets, read_model, written
from shared.toxicity.lexicon import lexicon
from shared.toxicity.measures import KEEP_PPM, auc_ppm, outcome
from shared.toxicity.odds import MICRO, odds_micro
from shared.toxicity.words import passages, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_POSTS = constant(5, "posts", "COL-02")  # a bucket that fewer posts have weighs nothing: it would tell of them
HELD_OUT_PARTS = constant(5, "parts", "COL-02")
LEAST_OF_EACH = constant(20, "posts", "COL-02")  # toxic and clean posts, to learn from and held out
BATCH_SIZE = constant(256, "posts", "COL-02")
#: Each hyperparameter's default, least and largest.
HYPERPARAMETERS = {
    "learning_rate_ppm": (300_000, 1, 1_000_000),
    "decay_ppb": (30_000, 0, 1_000_000_000),
    "batch": (BATCH_SIZE, 1, 65_536),
    "drop_toxic_ppm": (955_000, 500_000, 999_000),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves: the model's file, each step's loss in millionths, and how the held-out posts fared."""

    weights: bytes
    losses_micro: list[int]
    held_out: Counts
    auc_ppm: int


@dataclass(frozen=True, slots=True)
class _Posts:
    """Posts as numbers: the buckets of all, where each post's begin, their scale, the lexicon's word, the label."""

    chosen: NDArray[np.int64]
    begins: NDArray[np.int64]
    scale: Floats
    said: Floats
    toxic: Floats


class Training:
    """One run, step by step. Refused T003 for a hyperparameter, T006 where the posts teach nothing."""

    def __init__(self, posts: Iterable[tuple[str, bool]], hyperparameters: Mapping[str, int], seed: int) -> None:
        import numpy as np

        objection = objection_to(hyperparameters)
        if objection is not None:
            raise Refused(objection)
        given = {name: row[0] for name, row in HYPERPARAMETERS.items()} | dict(hyperparameters)
        self.batch, self.seed, self.drop_toxic_ppm = given["batch"], seed, given["drop_toxic_ppm"]
        self._rate, self._decay = given["learning_rate_ppm"] / 1e6, given["decay_ppb"] / 1e9
        learned, self._held_out = _apart(posts, seed)
        self._posts = _numbers(learned)
        met = np.bincount(self._posts.chosen, minlength=BUCKETS)
        self._learns = np.concatenate([met >= LEAST_POSTS, [True, True]]).astype(np.float64)
        self._state: Floats = np.zeros(BUCKETS + 2)  #: the buckets' weights, the bias, the gain
        self._squares: Floats = np.zeros(BUCKETS + 2)
        self.losses: list[float] = []
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    @property
    def posts(self) -> int:
        """How many posts it learns from."""
        return len(self._posts.toxic)

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return int(self._learns.sum())

    def step(self) -> float:
        """Take one step of AdaGrad and return the batch's mean loss before it."""
        import numpy as np

        rows = self._rows()
        chosen, owners = self._chosen(rows)
        scale, said, toxic = self._posts.scale[rows], self._posts.said[rows], self._posts.toxic[rows]
        weighed = np.bincount(owners, self._state[chosen], len(rows)) * scale
        odds: Floats = weighed + self._state[BUCKETS] + self._state[BUCKETS + 1] * said
        against: Floats = np.where(toxic > 0, -odds, odds)
        loss = math.fsum(np.logaddexp(0.0, against)) / len(rows)
        off = (1.0 / (1.0 + np.exp(-odds)) - toxic) / len(rows)
        slope = np.bincount(chosen, (off * scale)[owners], BUCKETS + 2)
        slope[:BUCKETS] += self._decay * self._state[:BUCKETS]
        slope[BUCKETS:] = math.fsum(off), math.fsum(off * said)
        slope *= self._learns
        self._squares += slope**2
        self._state -= self._rate * slope / np.sqrt(self._squares + 1e-12)
        self.losses.append(loss)
        return loss

    def checkpoint(self) -> bytes:
        """Return all that the rest of the run depends on as a safetensors file."""
        import numpy as np
        from safetensors.numpy import save

        return save({"losses": np.array(self.losses), "squares": self._squares, "state": self._state})

    def resume(self, checkpoint: bytes) -> None:
        """Go on from a checkpoint. Refused T009 where it is none of this training."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            found = load(checkpoint)
            shapes = {name: (str(one.dtype), one.ndim, one.size) for name, one in found.items() if name != "losses"}
            losses = [float(loss) for loss in found["losses"]]
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _bad_checkpoint(str(error)[:120]) from None
        if not all(map(math.isfinite, losses)):
            raise _bad_checkpoint("a loss in it is no number")
        if shapes != dict.fromkeys(("squares", "state"), ("float64", 1, BUCKETS + 2)):
            raise _bad_checkpoint(f"it holds {shapes}")
        self.losses, self._squares, self._state = losses, found["squares"].copy(), found["state"].copy()

    def finished(self) -> Trained:
        """Return the model as it stands, moved to where the wanted share of toxic posts is dropped."""
        model = self._written(float(self._state[BUCKETS]))
        toxic = sorted(_odds(model, [text for text, label in self._held_out if label]))
        lowest = toxic[len(toxic) * (MICRO - self.drop_toxic_ppm) // MICRO]
        moved = self._written(float(self._state[BUCKETS]) + (odds_micro(KEEP_PPM) - lowest + 1_000) / MICRO)
        scores = moved[1].scores([text for text, _ in self._held_out])
        labels = [label for _, label in self._held_out]
        curve = [round(loss * MICRO) for loss in self.losses]
        return Trained(moved[0], curve, outcome(scores, labels), auc_ppm(scores, labels))

    def _written(self, bias: float) -> tuple[bytes, LearnedScorer]:
        raw = written(self._state[:BUCKETS], bias, float(self._state[BUCKETS + 1]))
        return raw, read_model(raw, blake3(raw).hexdigest())

    def _rows(self) -> NDArray[np.int64]:
        """Return the posts of the next step: an epoch is one shuffle of all of them."""
        import numpy as np

        size = min(self.batch, self.posts)
        epoch, place = divmod(len(self.losses), self.posts // size)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.posts)
        return self._order[1][place * size : (place + 1) * size]

    def _chosen(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the buckets of these posts, one after another, and to which of them each belongs."""
        import numpy as np

        begins, ends = self._posts.begins[rows], self._posts.begins[rows + 1]
        counts = ends - begins
        owners = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._posts.chosen[begins[owners] + within], owners


def train_toxicity(
    posts: Iterable[tuple[str, bool]], hyperparameters: Mapping[str, int], seed: int, steps: int
) -> Trained:
    """Train from labelled posts (True is toxic) and return the model. Refused T003, T006."""
    training = Training(posts, hyperparameters, seed)
    for _ in range(steps):
        training.step()
    return training.finished()


def objection_to(hyperparameters: Mapping[str, int]) -> Refusal | None:
    """Return what is wrong with hyperparameters, T003, or None."""
    for name, value in hyperparameters.items():
        if name not in HYPERPARAMETERS:
            return Refusal("T003", f"unknown {name!r}, expected one of {', '.join(HYPERPARAMETERS)}")
        _, least, largest = HYPERPARAMETERS[name]
        if not least <= value <= largest:
            return Refusal("T003", f"{name} is {value}, expected {least} to {largest}")
    return None


def _apart(posts: Iterable[tuple[str, bool]], seed: int) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Return the posts to learn from and those held out; the same text is never in both."""
    key = seed.to_bytes(8, "big", signed=True)
    parts: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for text, toxic in posts:
        drawn = blake3(key + text.encode(errors="surrogatepass")).digest()[0]
        parts[drawn % HELD_OUT_PARTS == 0].append((text, toxic))
    for name, part in zip(("to learn from", "held out"), parts, strict=True):
        toxic = sum(label for _, label in part)
        if min(toxic, len(part) - toxic) < LEAST_OF_EACH:
            raise Refused(
                Refusal("T006", f"{toxic} toxic and {len(part) - toxic} clean posts {name}, {LEAST_OF_EACH} needed")
            )
    return parts


def _numbers(posts: Sequence[tuple[str, bool]]) -> _Posts:
    """Return posts as numbers; of a long one its first passage, which its label was given for."""
    import numpy as np

    found = [words(next(passages(text))) for text, _ in posts]
    chosen = [buckets(each) for each in found]
    counts = np.array([len(each) for each in chosen])
    return _Posts(
        np.array([bucket for each in chosen for bucket in each], np.int64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        1.0 / np.sqrt(np.maximum(counts, 1)),
        np.array([odds_micro(lexicon().passage_ppm(each)) for each in found]) / MICRO,
        np.array([float(label) for _, label in posts]),
    )


def _odds(model: tuple[bytes, LearnedScorer], texts: Sequence[str]) -> list[int]:
    return [max(model[1].passage_odds(words(passage)) for passage in passages(text)) for text in texts]


def _bad_checkpoint(what: str) -> Refused:
    return Refused(Refusal("T009", f"this is no checkpoint of a toxicity training: {what}"))
