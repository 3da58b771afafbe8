"""`dataset sanitise`: of a dataset with people in it another one is derived, in which nobody is named."""

from __future__ import annotations

from argparse import Namespace
from functools import partial

import msgspec

from cells.toxicity_cell.scorer import NoScorer
from deploy.attach import operator
from deploy.commands.dataset import find, in_log
from deploy.commands.ingest import carry_out, ports_of, scorer_in_force
from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.provenance.ingest import Plan
from organs.provenance.remembering import folder_of
from organs.provenance.sanitised import Sanitised, check_source
from shared.artifacts import ArtifactStore, store_of
from shared.config import Loaded
from shared.corpus import Manifest, read_manifest
from shared.errors import Exit
from shared.policy import Policies
from shared.vault import People, people_of, vault_exists
from shared.version import VERSION
from shared.world import RealWorld


def sanitise(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Derive a dataset, from where an earlier run stood; each masked text is judged once more by its source's rules."""

    async def main() -> Exit:
        world = RealWorld(loaded.settings.env)
        store = store_of(loaded.settings, world)
        await store.prepare()
        people = people_of(loaded.settings, world) if vault_exists(loaded.settings) else None
        async with operator(loaded, terminal.note) as bus:
            dataset = await find(bus, args.dataset)
            facts = (await in_log(bus))[dataset].registered.facts
            check_source(facts.kind)
            manifest = await read_manifest(store, dataset)
            corpus: str = args.corpus or f"{facts.name[:100]}-sanitised"
            scorer = await scorer_in_force(bus, store, corpus) if manifest.intake.scorer else NoScorer()
            intake = msgspec.structs.replace(
                manifest.intake, reader="dataset", source=dataset, scorer=scorer.name, policy=Policies.shipped().digest
            )
            plan = Plan(
                corpus,
                intake,
                partial(_opened, manifest, store, people),
                facts.use,
                folder_of(loaded.settings, corpus),
                code=f"sanitise {VERSION}",
                sources=(dataset,),
                earlier=tuple(facts.transformations),
            )
            return await carry_out(plan, ports_of(bus, store, people_of(loaded.settings, world), scorer), terminal)

    return finish(main())


async def _opened(manifest: Manifest, store: ArtifactStore, people: People | None, offset: int) -> Sanitised:
    return Sanitised(manifest, store, people, offset)
