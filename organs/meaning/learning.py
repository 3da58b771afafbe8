"""Catalogues learned from labelled texts: a linear softmax head, prototypes of every label, a calibrated threshold.

Nothing is drawn: full batches, fixed numbers of steps, beginnings that depend on the examples alone. The same
examples in the same order give the same catalogue on the same processor with as many threads; else the last digits may
differ. So what is passed on is the catalogue itself, and from its whole numbers everybody concludes the same.

The threshold comes from in-scope examples alone, and is set where 5 % of them would be called unknown. They are a
validation set where one is given. Otherwise every tenth example of a label is held out, a catalogue is learned from
the others to judge those, and then from all; examples that were written together are easier than what comes later, so
expect more than 5 % then. No out-of-scope text is ever looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from organs.meaning.catalogue import MAX_LABELS, Catalogue, Head, Label, Region, check_name
from organs.meaning.sensing import Sensor
from organs.meaning.vector import COSINE_ONE_PPM, LENGTH_PARTS, mean, quantised, rows
from shared.constant import constant
from shared.errors import ConfigFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

HEAD_STEPS = constant(400, "steps", "NIM-04")  # these five: chosen on the validation part of clinc150
HEAD_SETTLING_STEPS = constant(160, "steps", "NIM-04")  # the last of them are smaller
HEAD_RATE = constant(0.05, "per step", "NIM-04")
HEAD_SETTLING_RATE = constant(0.01, "per step", "NIM-04")
HEAD_DECAY = constant(3e-6, "share", "NIM-04")
HEAD_MOMENTUM = constant(0.9, "share", "NIM-04")
HEAD_SQUARES = constant(0.999, "share", "NIM-04")
HEAD_SMALLEST = constant(1e-8, "share", "NIM-04")
LOGIT_SHARE = constant(20, "logits", "NIM-04")  # count as much as a cosine of 1
LABEL_PROTOTYPES = constant(4, "vectors of a label", "NIM-04")
MEANS_ROUNDS = constant(10, "rounds", "NIM-04")
HELD_OUT_OF = constant(10, "examples", "NIM-04")  # of so many one
FALSE_ESCALATION_PPM = constant(50_000, "ppm", "NIM-04")
LARGEST_WEIGHT = constant(32_767, "steps", "NIM-04")
MAX_LABELLED_TEXTS = constant(1_000_000, "examples", "NIM-04")
MAX_HEAD_NUMBERS = constant(100_000_000, "numbers", "NIM-04")  # of one matrix, examples by labels
PHRASES_SHOWN = constant(3, "phrases", "NIM-04")

Say = Callable[[str, int, int], None]  #: what is being done, how much of it is done, of how much


def _silent(what: str, done: int, of: int) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text, its vector and its label."""

    text: str
    vector: bytes
    label: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be learned: examples, each label's region (none: a label is its own), and in-scope examples apart."""

    examples: Sequence[Example]
    domains: Mapping[str, str] = field(default_factory=dict[str, str])
    validation: Sequence[Example] = ()


def learn(lesson: Lesson, model: str, version: str, say: Say = _silent) -> Catalogue:
    """Return the catalogue learned from examples whose vectors are of a model, named by its digest.

    ConfigFault for too few examples or labels, or a label that cannot be placed.
    """
    labels = _labels(lesson.examples, lesson.domains)
    kept, judged = lesson.examples, [one for one in lesson.validation if one.label in labels]
    if not judged:
        kept, judged = _split(lesson.examples)
    trial = _fitted(kept, labels, (model, version), lambda done, of: say("learning", done, of))
    threshold = threshold_for(Sensor(trial), [one.vector for one in judged], FALSE_ESCALATION_PPM)
    if kept is not lesson.examples:
        trial = _fitted(lesson.examples, labels, (model, version), lambda done, of: say("learning from all", done, of))
    return msgspec.structs.replace(trial, threshold_ppm=threshold, false_escalation_ppm=FALSE_ESCALATION_PPM)


def threshold_for(sensor: Sensor, in_scope: Sequence[bytes], share_ppm: int) -> int:
    """Return the highest threshold that calls no more than a share of in-scope vectors unknown."""
    scores = sorted(sensed.score_ppm for sensed in sensor.senses(in_scope))
    return scores[len(scores) * share_ppm // COSINE_ONE_PPM]


def _labels(examples: Sequence[Example], domains: Mapping[str, str]) -> dict[str, str]:
    """Return each label with its region, in order. ConfigFault."""
    counts = dict[str, int]()
    for one in examples:
        counts[one.label] = counts.get(one.label, 0) + 1
    if len(examples) > MAX_LABELLED_TEXTS or not 1 < len(counts) <= MAX_LABELS:
        raise ConfigFault(
            f"found {len(examples)} examples of {len(counts)} labels; give at least two labels, at most {MAX_LABELS}, "
            f"and at most {MAX_LABELLED_TEXTS} examples"
        )
    if len(examples) * len(counts) > MAX_HEAD_NUMBERS:
        raise ConfigFault(
            f"{len(examples)} examples times {len(counts)} labels are more than {MAX_HEAD_NUMBERS}, more than fit in "
            "memory; give fewer of either"
        )
    few = [label for label, count in sorted(counts.items()) if count < HELD_OUT_OF]
    if few:
        raise ConfigFault(f"{few[0]!r} has {counts[few[0]]} examples; give at least {HELD_OUT_OF} of every label")
    stray = sorted(set(counts) - set(domains)) if domains else []
    if stray:
        raise ConfigFault(f"the label {stray[0]!r} is in no domain; add it to one")
    return {label: check_name(domains.get(label, label)) for label in sorted(counts)}


def _split(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Return the examples to learn from and those held out: of every label each tenth, its last among ten."""
    seen, kept, held = dict[str, int](), list[Example](), list[Example]()
    for one in examples:
        seen[one.label] = seen.get(one.label, 0) + 1
        (held if seen[one.label] % HELD_OUT_OF == 0 else kept).append(one)
    return kept, held


def _fitted(
    examples: Sequence[Example],
    labels: Mapping[str, str],
    made: tuple[str, str],
    say: Callable[[int, int], None],
) -> Catalogue:
    import numpy as np

    place = {label: n for n, label in enumerate(labels)}
    whole = rows([one.vector for one in examples])
    vectors = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    owners = np.array([place[one.label] for one in examples])
    head = whole_head(*softmax_head(vectors, owners, len(labels), say))
    own = {label: np.flatnonzero(owners == n) for label, n in place.items()}
    found = tuple(Label(name, region, prototypes_of(vectors[own[name]])) for name, region in labels.items())
    regions = [_region(name, [one for one in examples if labels[one.label] == name]) for name in _in_order(labels)]
    return Catalogue(made[1], made[0], tuple(regions), found, head, 0, 0, 0)


def _in_order(labels: Mapping[str, str]) -> list[str]:
    return sorted(set(labels.values()))


def _region(name: str, own: Sequence[Example]) -> Region:
    """Return a region: the mean of its examples, and a few of them for people to read."""
    inside = sorted({one.label for one in own})
    phrases = tuple(one.text[:200] for one in own[:: max(1, len(own) // PHRASES_SHOWN)][:PHRASES_SHOWN])
    about = f"learned from {len(own)} examples of {', '.join(inside)}"
    return Region(name, about, phrases, mean([one.vector for one in own]))


def softmax_head(
    vectors: Floats, owners: NDArray[np.int64], labels: int, say: Callable[[int, int], None]
) -> tuple[Floats, Floats]:
    """Return the weights (labels, 384) and biases (labels,) of least cross-entropy: Adam over the whole batch."""
    import numpy as np

    wanted = np.zeros((len(vectors), labels), dtype=np.float32)
    wanted[np.arange(len(vectors)), owners] = 1
    parameters = [np.zeros((vectors.shape[1], labels), dtype=np.float32), np.zeros(labels, dtype=np.float32)]
    means, squares = [np.zeros_like(one) for one in parameters], [np.zeros_like(one) for one in parameters]
    for step in range(1, HEAD_STEPS + 1):
        shares = vectors @ parameters[0] + parameters[1]
        shares -= shares.max(axis=1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=1, keepdims=True)
        shares -= wanted
        gradients = [vectors.T @ shares / np.float32(len(vectors)) + HEAD_DECAY * parameters[0], shares.mean(axis=0)]
        rate = HEAD_SETTLING_RATE if step > HEAD_STEPS - HEAD_SETTLING_STEPS else HEAD_RATE
        for n, gradient in enumerate(gradients):
            means[n] = HEAD_MOMENTUM * means[n] + (1 - HEAD_MOMENTUM) * gradient
            squares[n] = HEAD_SQUARES * squares[n] + (1 - HEAD_SQUARES) * gradient * gradient
            size = np.sqrt(squares[n] / (1 - HEAD_SQUARES**step)) + HEAD_SMALLEST
            parameters[n] -= np.float32(rate / (1 - HEAD_MOMENTUM**step)) * means[n] / size
        say(step, HEAD_STEPS)
    return parameters[0].T, parameters[1]


def whole_head(weights: Floats, biases: Floats) -> Head:
    """Return a head in whole numbers: the largest weight is 32,767, and 20 logits are worth a cosine of 1."""
    import numpy as np

    scale = LARGEST_WEIGHT / max(float(np.abs(weights).max()), HEAD_SMALLEST)
    whole = np.rint(weights.astype(np.float64) * scale).astype("<i2")
    step = max(1, round(COSINE_ONE_PPM * LENGTH_PARTS / (LOGIT_SHARE * scale)))
    shifts = [round(float(one) * COSINE_ONE_PPM / LOGIT_SHARE) for one in biases]
    return Head(whole.tobytes(), tuple(shifts), step)


def prototypes_of(vectors: Floats) -> tuple[bytes, ...]:
    """Return up to four vectors that stand for many: spherical k-means, begun at examples evenly apart in the file."""
    import numpy as np

    count = min(LABEL_PROTOTYPES, len(vectors))
    centres = vectors[np.linspace(0, len(vectors) - 1, count).astype(int)].copy()
    for _ in range(MEANS_ROUNDS):
        nearest = (vectors @ centres.T).argmax(axis=1)
        for n in range(count):
            if (nearest == n).any():
                total = vectors[nearest == n].sum(axis=0)
                centres[n] = total / np.linalg.norm(total)
    return tuple(dict.fromkeys(quantised(centre) for centre in centres))
