"""An organism: the steward and its parts, each with its own World, wire, bus and runner. The same on every host."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from deploy.host import STEWARD, Host
from organs.steward import NeedsFreshKey, StewardOrgan
from shared.bus import Bus
from shared.config import Loaded
from shared.errors import KeyFault
from shared.home import Keys
from shared.part import Part, Runner, declaration, grant_request
from shared.part.grant import endorse
from shared.subjects.keys import RootKey
from shared.subjects.system import GrantRequest
from shared.version import VERSION

ROOT = "root"
HOST_OWNER = "host"


class Organism:
    """Owns the steward and every runner it started; `stop` drains them in reverse."""

    def __init__(self, host: Host, loaded: Loaded) -> None:
        self.host, self.loaded = host, loaded
        self.settings = loaded.settings
        self.runners: dict[str, Runner] = {}
        self.fingerprint = ""

    async def start(self, parts: Sequence[Part]) -> None:
        """Prepare the ground, greet as steward, then grant and start every part in order.

        DeclarationError before anything is written where a part is declared wrongly.
        """
        for part in parts:
            declaration(part)
        world = self.host.world(STEWARD)
        wire = await self.host.wire(STEWARD)
        signer = self.host.signer(STEWARD, HOST_OWNER)
        root = self.host.signer(ROOT, HOST_OWNER)
        bus = Bus(world, wire, STEWARD, StewardOrgan.version, [signer])
        self.steward = StewardOrgan(
            self.host.ground, self.host.door, bus, Bus(world, wire, ROOT, StewardOrgan.version, [root])
        )
        own = grant_request(declaration(self.steward), self.settings.env, self.host.nkey(STEWARD), signer, HOST_OWNER)
        grants = [f"{self.settings.env}.system.steward.event.>"]
        roots = [RootKey(root.key_id, root.public, HOST_OWNER)]
        self.fingerprint = await self.steward.prepare(roots, 1, _with_grants(own, grants))
        await self.steward.record_start(self.loaded, VERSION)
        self.runners[STEWARD] = Runner(self.steward, bus, handshake=False)
        await self.runners[STEWARD].start()
        for part in parts:
            await self.add(part)

    async def add(self, part: Part, world_name: str = "") -> Runner:
        """Grant a part and start it on its own connection."""
        await self.grant(part)
        runner = await self.run(part, world_name)
        self.runners[world_name or part.name] = runner
        return runner

    async def grant(self, part: Part) -> None:
        """Have the steward admit a part with what its declaration needs."""
        signer = self.host.signer(part.name, HOST_OWNER)
        asked = grant_request(declaration(part), self.settings.env, self.host.nkey(part.name), signer, HOST_OWNER)
        try:
            await self.steward.grant(asked, trusted=True)
        except NeedsFreshKey:
            new = self._keys().stage_rotation(part.name)
            again = grant_request(declaration(part), self.settings.env, asked.nkey, new, HOST_OWNER)
            await self.steward.grant(endorse(again, self.settings.env, signer), trusted=True)
            self._keys().commit_rotation(part.name)

    async def run(self, part: Part, world_name: str = "") -> Runner:
        """Start a granted part on a connection of its own and return its runner."""
        runner = await runner_for(self.host, part, self.settings.beat_ms / 1000, world_name)
        await runner.start()
        return runner

    def _keys(self) -> Keys:
        """Return the host's keyring; KeyFault where its keys come from somewhere else."""
        keys: Keys | None = getattr(self.host, "keys", None)
        if keys is None:
            raise KeyFault("the keys of this host cannot be replaced; give the part a new one")
        return keys

    def raise_if_broken(self) -> None:
        """Raise what stopped any part."""
        for runner in self.runners.values():
            runner.raise_if_broken()

    async def stop(self) -> None:
        """Drain every part, the newest first."""
        for runner in reversed(list(self.runners.values())):
            await runner.stop()
        self.runners.clear()


async def runner_for(host: Host, part: Part, beat_s: float, world_name: str = "") -> Runner:
    """Return a runner for a part that was granted before, on its own World, wire and signing key."""
    bus = Bus(
        host.world(world_name or part.name),
        await host.wire(part.name),
        part.name,
        part.version,
        [host.signer(part.name, HOST_OWNER)],
    )
    return Runner(part, bus, beat_s=beat_s)


def _with_grants(asked: GrantRequest, grants: list[str]) -> GrantRequest:
    return msgspec.structs.replace(asked, grants=grants)
