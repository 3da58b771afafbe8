"""Finding the region of a vector: the nearest, or the one a learned head votes for; else unknown. Whole numbers only.

Of each label the nearest prototype counts. Without a head that cosine is the label's score, and a region is known if
its score reaches the threshold and leads the next region's by the margin. With a head the labels are ordered by the
head's votes, to which nearness adds a quarter of its weight; what leads is known if its vote and the whole of its
nearness together reach the threshold. (Votes alone are sure of themselves far away from every example.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from organs.meaning.catalogue import Catalogue
from organs.meaning.vector import COSINE_ONE_PPM, cosines_ppm, lengths, rows
from shared.constant import constant
from shared.subjects.meaning import UNKNOWN, VECTOR_BYTES, Candidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Whole = NDArray[np.int64]

CANDIDATES_SHOWN = constant(3, "regions", "NIM-04")
NEAR_SHARE = constant(4, "parts", "NIM-04")  # of nearness one part counts when labels are ordered; clinc150, validation
_BATCH = 256  #: vectors of one matrix


@dataclass(frozen=True, slots=True)
class Sensed:
    """What a vector means: its region or `unknown`, the label that led, and by how much."""

    region: str
    label: str  #: the one that led, also where the region is unknown
    candidates: tuple[Candidate, ...]
    score_ppm: int  #: is held against the threshold
    margin_ppm: int  #: is held against the margin; that of the only region there is has no end

    @property
    def similarity_ppm(self) -> int:
        """How near the vector is to its region; 0 where that is unknown."""
        return 0 if self.region == UNKNOWN else self.candidates[0].similarity_ppm


class Sensor:
    """A catalogue made ready: its prototypes and weights as matrices."""

    def __init__(self, catalogue: Catalogue) -> None:
        import numpy as np

        self.catalogue, self._np = catalogue, np
        self._prototypes = rows([vector for label in catalogue.labels for vector in label.prototypes])
        self._lengths = lengths(self._prototypes)
        ends = np.cumsum([len(label.prototypes) for label in catalogue.labels])
        self._starts = np.concatenate(([0], ends[:-1]))
        place = {name: n for n, name in enumerate(catalogue.names)}
        self._region_of = np.array([place[label.region] for label in catalogue.labels])
        head = catalogue.head
        if head is not None:
            weights = np.frombuffer(head.weights, dtype="<i2").reshape(-1, VECTOR_BYTES)
            self._weights, self._biases = weights.astype(np.float64).T, np.array(head.biases, dtype=np.int64)

    def sense(self, vector: bytes) -> Sensed:
        """Return what one vector means; a vector of zeros means nothing."""
        return self.senses([vector])[0]

    def senses(self, vectors: Sequence[bytes]) -> list[Sensed]:
        """Return what each vector means."""
        found = list[Sensed]()
        for start in range(0, len(vectors), _BATCH):
            found += self._batch(rows(vectors[start : start + _BATCH]))
        return found

    def _batch(self, vectors: NDArray[np.float32]) -> list[Sensed]:
        cosines = cosines_ppm(vectors, self._prototypes, self._lengths)
        nearness: Whole = self._np.maximum.reduceat(cosines, self._starts, axis=1)
        order, score = nearness, nearness
        if self.catalogue.head is not None:
            votes = self._votes(vectors)
            order, score = votes + nearness // NEAR_SHARE, votes + nearness
        said = [bool(vector.any()) for vector in vectors]
        return [self._judge(nearness[n], order[n], score[n], said[n]) for n in range(len(said))]

    def _votes(self, vectors: NDArray[np.float32]) -> Whole:
        """Return the head's votes in ppm. Shape (n, labels)."""
        assert self.catalogue.head is not None
        products = (vectors.astype(self._np.float64) @ self._weights).astype(self._np.int64)
        return products * self.catalogue.head.step // lengths(vectors)[:, None] + self._biases

    def _judge(self, nearness: Whole, order: Whole, score: Whole, said: bool) -> Sensed:  # noqa: FBT001 - of one row
        catalogue, np = self.catalogue, self._np
        best = np.full(len(catalogue.regions), -(1 << 62), dtype=np.int64)
        np.maximum.at(best, self._region_of, order)
        near = np.full(len(catalogue.regions), -COSINE_ONE_PPM, dtype=np.int64)
        np.maximum.at(near, self._region_of, nearness)
        ranked = [int(n) for n in np.argsort(-best, kind="stable")[:CANDIDATES_SHOWN]]
        led = int(np.argmax(order))
        margin = int(best[ranked[0]] - best[ranked[1]]) if len(ranked) > 1 else 1 << 62
        reached = int(score[led])
        known = said and reached >= catalogue.threshold_ppm and margin >= catalogue.margin_ppm
        candidates = tuple(Candidate(catalogue.names[n], max(0, int(near[n]))) for n in ranked)
        region = catalogue.names[ranked[0]] if known else UNKNOWN
        label = catalogue.labels[led].name if said else UNKNOWN
        return Sensed(region, label, candidates if said else (), reached, margin)
