"""`registry export`: what other tools read of a model, written from the log into a folder (ILL-07, ILL-16, ILL-17)."""

from __future__ import annotations

import hashlib
from argparse import Namespace
from pathlib import Path

from blake3 import blake3

from deploy.attach import reader
from deploy.commands.task import finish
from deploy.families import Known
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from shared.artifacts import store_of
from shared.bus import Bus
from shared.config import Loaded
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Damaged, Exit, LogFault
from shared.exports import HEARD, Said, Story, Telling, exported
from shared.extras import how_to_install, lacking
from shared.files import private_folder, write_private
from shared.home import Keys
from shared.world import RealWorld

KIND, KEY = "attest", "models"  #: of the keyring's key that signs statements and models


def export(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write everything that the log and the store hold of a model into an empty folder."""
    if lacking("cryptography"):
        raise ConfigFault(f"a model's signature needs cryptography: {how_to_install('attest')}")
    folder: Path = args.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigFault(f"{folder} is not empty: a model's signature speaks of exactly what lies there; name another")
    world = RealWorld(loaded.settings.env)

    async def main() -> tuple[Story, bytes]:
        async with reader(loaded) as bus:
            model = (await Known.read(bus)).model(args.family, args.model)
            story = await read_story(bus, args.family, model)
        store = store_of(loaded.settings, world)
        await store.prepare()
        return story, b"".join([chunk async for chunk in store.open(model)])

    story, model = finish(main())
    _agree(story, model)
    attestor = Keys(loaded.settings, world).owned(KIND, KEY, OPERATOR, make=True)
    files = exported(story, model, attestor)
    for name, content in files.items():
        private_folder((folder / name).parent)
        write_private(folder / name, content)
    told = {"model": story.model, "folder": str(folder), "files": {n: blake3(c).hexdigest() for n, c in files.items()}}
    check = f"model_signing verify key {folder}/model --signature {folder}/model.sig --public_key {folder}/model.pub"
    terminal.give(told, "\n".join([*sorted(files), f"{story.name} is in {folder}; anybody checks it by `{check}`"]))
    return Exit.OK


async def read_story(bus: Bus, family: str, model: str) -> Story:
    """Return a model's story by the log's admitted decisions. Refused N001, N004."""
    telling = Telling("", family)
    async for verdict in bus.replay():
        if verdict.sealed is None:
            continue
        for decision, at in decisions_in(verdict, *HEARD):
            key = (await bus.keys_until(at.index)).keys.get(verdict.sealed.signatures[0].k)
            if key is None:
                raise LogFault(f"entry {at.index} was admitted, and its key is not among the log's")
            telling.hear(Said(decision, at, verdict.sealed.written_ms, key.public))
    telling.log = (await bus.keys_until(0)).fingerprint or ""
    return telling.story(model)


def _agree(story: Story, model: bytes) -> None:
    """Hold the stored bytes against the registration; Damaged where they are others."""
    wanted = (story.model, story.registered.decision.facts.sha256)
    found = (blake3(model).hexdigest(), hashlib.sha256(model).hexdigest())
    if found != wanted:
        raise Damaged(f"the store's bytes of {story.name} are {' and '.join(found)}, registered were {wanted}")
