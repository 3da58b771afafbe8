"""Sentence embeddings as 384 signed bytes, and whole-number arithmetic on them.

A model computes in floats, which differ between processors in their last digits. `quantised` is the one place where
they become bytes; from there on everything is counted in whole numbers, so what follows from recorded bytes is the
same everywhere. Products of bytes are summed in float32 or float64 by the processor's fast routines, and exactly:
every partial sum is a whole number below 2**24 or 2**53, in whatever order it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.constant import constant
from shared.subjects.meaning import VECTOR_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_COMPONENT = constant(127, "steps", "NIM-04")  # a component of the largest magnitude, in the vector's own unit
COSINE_ONE_PPM = constant(1_000_000, "ppm", "NIM-04")
LENGTH_PARTS = constant(1_024, "parts of a step", "NIM-04")  # a vector's length is counted in them: fine enough for ppm

assert VECTOR_BYTES * LARGEST_COMPONENT**2 < 1 << 24, "a sum of products is exact in float32"
assert VECTOR_BYTES * LARGEST_COMPONENT**2 * COSINE_ONE_PPM * LENGTH_PARTS**2 < 1 << 63


def quantised(embedding: NDArray[np.floating[Any]]) -> bytes:
    """Return a float embedding of 384 numbers as bytes: the largest magnitude is 127, halves go to the even number.

    ValueError for another shape, for a number that is none, and for a vector without direction.
    """
    import numpy as np

    if embedding.shape != (VECTOR_BYTES,) or not np.isfinite(embedding).all():
        raise ValueError(f"an embedding is {VECTOR_BYTES} finite numbers, found shape {embedding.shape}")
    most = float(np.abs(embedding).max())
    if most == 0.0:
        raise ValueError("an embedding has a direction, found only zeros")
    return np.rint(embedding.astype(np.float64) * (LARGEST_COMPONENT / most)).astype(np.int8).tobytes()


def rows(vectors: Sequence[bytes]) -> NDArray[np.float32]:
    """Return vectors as the rows of a matrix of whole numbers, held as float32. Shape (n, 384)."""
    import numpy as np

    flat = np.frombuffer(b"".join(vectors), dtype=np.int8)
    return flat.reshape(len(vectors), VECTOR_BYTES).astype(np.float32)


def lengths(matrix: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each row's length in 1/1024 of a step, rounded down; a row of zeros has length 1. Shape (n,)."""
    import numpy as np

    squares = (matrix.astype(np.int64) ** 2).sum(axis=1)
    found = [max(1, math.isqrt(int(square) * LENGTH_PARTS * LENGTH_PARTS)) for square in squares]
    return np.array(found, dtype=np.int64)


def cosines_ppm(
    ones: NDArray[np.float32],
    others: NDArray[np.float32],
    other_lengths: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the cosine of each row with each other row in millionths, to within 16. Shape (n, m)."""
    import numpy as np

    products = (ones @ others.T).astype(np.int64)
    across = lengths(others) if other_lengths is None else other_lengths
    found = products * (COSINE_ONE_PPM * LENGTH_PARTS * LENGTH_PARTS) // (lengths(ones)[:, None] * across[None, :])
    return np.clip(found, -COSINE_ONE_PPM, COSINE_ONE_PPM)


def cosine_ppm(one: bytes, other: bytes) -> int:
    """Return the cosine of two vectors in millionths; a vector with itself has 1,000,000, with one of zeros 0."""
    return COSINE_ONE_PPM if one == other and any(one) else int(cosines_ppm(rows([one]), rows([other]))[0, 0])


def mean(vectors: Sequence[bytes]) -> bytes:
    """Return the direction in which vectors point together, in whole numbers; of none, or of opposites, nowhere."""
    total = [sum(column) for column in zip(*(memoryview(vector).cast("b") for vector in vectors), strict=True)]
    most = max(map(abs, total), default=0)
    if most == 0:
        return bytes(VECTOR_BYTES)
    return bytes((2 * LARGEST_COMPONENT * one + most) // (2 * most) & 0xFF for one in total)
