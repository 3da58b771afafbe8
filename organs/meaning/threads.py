"""How many threads numpy's linear algebra and the tokenizer may use: one, set once, before numpy is first imported.

The libraries read these variables when they are loaded. A value that is set already, by whoever started the process,
stands; a larger one makes single texts slower and long lists of them faster.
"""

from __future__ import annotations

import os

from shared.constant import constant

BLAS_THREADS = constant(1, "threads", "NIM-04")

_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def limit_threads() -> None:
    """Set the variables where nobody did."""
    for variable in _VARIABLES:
        os.environ.setdefault(variable, str(BLAS_THREADS))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
