"""The records in a worker's data folder: `{dataset}.jsonl`, one record a line, in the order of the dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.subjects.training import JobSpec

SUFFIX = ".jsonl"


def records(data: Path, spec: JobSpec) -> Iterator[dict[str, Any]]:
    """Yield every record of a job, dataset after dataset."""
    for dataset in spec.datasets:
        with (data / f"{dataset}{SUFFIX}").open("rb") as file:
            for line in file:
                yield json.loads(line)


def texts(data: Path, spec: JobSpec) -> Iterator[str]:
    """Yield the text of every record of a job."""
    for record in records(data, spec):
        yield record["text"]
