"""A post that taught a model, proved: its leaf leads to a root, and that root is the one that the log holds."""

from __future__ import annotations

from shared.artifacts import ArtifactStore
from shared.corpus import Proved
from shared.errors import Refusal, Refused
from shared.log.entry import Position
from shared.registry.lineage import Lineage
from shared.vault import People
from shared.vault.records import prove


async def proved_post(
    store: ArtifactStore, people: People | None, lineage: Lineage, model: str, post: str
) -> tuple[Proved, Position]:
    """Return a post's proof out of a dataset that taught a model, and where the log seals the root at which it ends.

    Refused C008 where no such dataset holds the post, D005 where the log sealed another root for its batch, or none;
    S002, P002; Damaged, BadProof.
    """
    for dataset in lineage.datasets_of(model):
        if dataset not in lineage.corpora:
            continue
        try:
            proved = await prove(store, dataset, post, people)
        except Refused as no:
            if no.refusal.code != "C008":
                raise
            continue
        return proved, _sealed(lineage, proved)
    raise Refused(Refusal("C008", f"{post[:80]!r} is in none of the datasets that taught {model[:16]}"))


def _sealed(lineage: Lineage, proved: Proved) -> Position:
    known = lineage.root_of(proved.corpus, proved.batch)
    if known is not None and known[0] == proved.root:
        return known[1]
    expected = f"the log sealed {known[0]}" if known is not None else "the log sealed none"
    raise Refused(Refusal("D005", f"batch {proved.batch} of {proved.corpus} has the root {proved.root}, {expected}"))
