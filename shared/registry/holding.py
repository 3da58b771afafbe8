"""Which datasets hold a post, or any post of a person: every batch of every finished corpus is read.

Only what was kept teaches; a post that was dropped is found too, and said to be so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from shared.artifacts import ArtifactStore
from shared.corpus import Line, read_batch, read_manifest
from shared.registry.lineage import Lineage


class Held(msgspec.Struct, frozen=True):
    """One record in a dataset."""

    dataset: str
    corpus: str
    batch: int
    post: str
    fate: str
    root_in_log: bool  #: whether the log seals this batch with the root that the dataset's manifest names


async def holding(
    store: ArtifactStore, lineage: Lineage, wanted: Callable[[Line], bool], among: Collection[str] | None = None
) -> list[Held]:
    """Return the wanted records of every dataset that was taken from a corpus, or of those among them.

    Refused S002, D005; Damaged.
    """
    found: list[Held] = []
    for dataset, (corpus, _) in lineage.corpora.items():
        if among is not None and dataset not in among:
            continue
        for listed in (await read_manifest(store, dataset)).batches:
            sealed = lineage.root_of(corpus.corpus, listed.number)
            same = sealed is not None and sealed[0] == listed.root
            about = (dataset, corpus.corpus, listed.number)
            lines = await read_batch(store, listed.records)
            found += [Held(*about, line.id, line.fate, same) for line in lines if wanted(line)]
    return found


def teaching(held: list[Held]) -> list[str]:
    """Return the datasets in which a record was kept, and so may have taught."""
    return [*dict.fromkeys(one.dataset for one in held if one.fate == "kept")]
