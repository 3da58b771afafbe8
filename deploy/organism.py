"""An organism: the steward and its parts, each with its own World, wire, bus and runner. The same on every host."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.host import HOST_OWNER, ROOT, STEWARD, Host
from deploy.load import BUILT_IN, ON_REQUEST
from deploy.roots import read_roots
from organs.notary import Inconsistent, hold_to
from organs.steward import NeedsFreshKey, StewardOrgan
from shared.bus import Bus, at_work
from shared.config import Loaded
from shared.errors import KeyFault
from shared.files import write_private
from shared.home import Keys, place
from shared.keys import Signer
from shared.part import Part, Runner, declaration, grant_request
from shared.part.grant import endorse
from shared.subjects.keys import RootKey
from shared.subjects.system import GrantRequest
from shared.version import VERSION


class Organism:
    """Owns the steward and every runner it started; `stop` drains them in reverse."""

    def __init__(self, host: Host, loaded: Loaded) -> None:
        self.host, self.loaded = host, loaded
        self.settings = loaded.settings
        self.runners: dict[str, Runner] = {}
        self.fingerprint = ""

    async def start(self, parts: Sequence[Part]) -> None:
        """Prepare the ground, grant every part in order, greet as steward, then start them in order.

        DeclarationError before anything is written where a part is declared wrongly.
        """
        for part in parts:
            declaration(part)
        world = self.host.world(STEWARD)
        wire = await self.host.wire(STEWARD)
        signer = self.host.signer(STEWARD, HOST_OWNER)
        roots, threshold, root_signers = self._roots()
        bus = Bus(world, wire, STEWARD, StewardOrgan.version, [signer])
        shelf = self.host.shelf
        if shelf is not None:
            empty = await self.host.ground.subjects_of(bus.log) is None
            await hold_to(bus, shelf, empty=empty)
            await self._hold_to_begun(bus, empty=empty)
        root = Bus(world, wire, ROOT, StewardOrgan.version, root_signers)
        self.steward = StewardOrgan(self.host.ground, self.host.door, bus, root)
        if not root_signers:
            await self._check_introduced(parts, roots, threshold)
            bus.signers = [signer := self.host.signer(STEWARD, HOST_OWNER)]
        own = needs_of_steward(self.settings.env, self.host.nkey(STEWARD), signer)
        self.fingerprint = await self.steward.prepare(roots, threshold, own)
        if shelf is not None and not self._begun.exists():
            write_private(self._begun, self.fingerprint + "\n")
        await self.steward.record_start(self.loaded, VERSION)
        async with self.host.door.at_once():
            await self.steward.admit_people(self.host.nkey)
            for part in parts:
                await self.grant(part)
        self.runners[STEWARD] = Runner(self.steward, bus, handshake=False)
        await self.runners[STEWARD].start()
        for part in parts:
            self.runners[part.name] = await self.run(part)

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

    @property
    def _begun(self) -> Path:
        """Where a home remembers which log was begun in it, apart from the log and from what was signed of it."""
        return place(self.settings) / "begun"

    async def _hold_to_begun(self, bus: Bus, *, empty: bool) -> None:
        """Raise Inconsistent where a log was begun here and there is none: never is another put in its place."""
        if self._begun.exists() and (empty or await bus.newest(0) is None):
            raise Inconsistent(
                f"the log that was begun here as {self._begun.read_text().strip()} is gone; restore a backup with "
                f"`nimmerverse audit restore DIR --reason TEXT`, or remove {self._begun} to begin another log"
            )

    def _roots(self) -> tuple[list[RootKey], int, list[Signer]]:
        """Return the log's roots, how many owners must agree, and those of the root keys that this host holds.

        By default that is one key of this host: the root is then this host, and who holds its keyring is the root.
        """
        if self.settings.root_keys is not None:
            return *read_roots(self.settings.root_keys), []
        root = self.host.signer(ROOT, HOST_OWNER)
        return [RootKey(root.key_id, root.public, HOST_OWNER)], 1, [root]

    async def _check_introduced(self, parts: Sequence[Part], roots: Sequence[RootKey], threshold: int) -> None:
        """Raise KeyFault with the very ceremony to hold where the log does not know all that starts here.

        The root keys are somewhere else, so nobody here can introduce anybody. Keys that the owners introduced in
        place of others become this host's own first.
        """
        await self.steward.begin()
        book = self.steward.root.prefix.keys
        for name in (STEWARD, *(part.name for part in parts)):
            staged = self._keys().staged(name)
            if staged is not None and staged.key_id in book.keys:
                self._keys().commit_rotation(name)
        env, spelled = self.settings.env, {STEWARD: STEWARD} | {part.name: spelling(part) for part in parts}
        asked = [needs_of_steward(env, "", self.host.signer(STEWARD, HOST_OWNER))]
        asked += [
            grant_request(declaration(part), env, "", self.host.signer(part.name, HOST_OWNER), HOST_OWNER)
            for part in parts
        ]
        unknown = [spelled[name] for name in await self.steward.unknown(asked)]
        if unknown or book.fingerprint is None:
            raise KeyFault(_ceremony(env, book.fingerprint is None, unknown, roots, threshold))

    def _keys(self) -> Keys:
        """Return the host's keyring; KeyFault where its keys come from somewhere else."""
        keys: Keys | None = getattr(self.host, "keys", None)
        if keys is None:
            raise KeyFault("the keys of this host cannot be replaced; give the part a new one")
        return keys

    def raise_if_broken(self) -> None:
        """Raise what stopped a server of the host for good, or any part."""
        self.host.raise_if_broken()
        for runner in self.runners.values():
            runner.raise_if_broken()

    async def stop(self) -> None:
        """Drain every part, the newest first."""
        for runner in reversed(list(self.runners.values())):
            await runner.stop()
        self.runners.clear()


async def runner_for(host: Host, part: Part, beat_s: float, world_name: str = "") -> Runner:
    """Return a runner for a part that was granted before, on its own World, wire and signing key."""
    world, wire = host.world(world_name or part.name), await host.wire(part.name)
    signer = at_work(host.signer(part.name, HOST_OWNER), world, wire, part.name, part.version)
    bus = Bus(world, wire, part.name, part.version, [signer])
    return Runner(part, bus, beat_s=beat_s)


def needs_of_steward(env: str, nkey: str, signer: Signer) -> GrantRequest:
    """Return what the steward itself needs, decisions that no handler of it names among it."""
    own = grant_request(declaration(StewardOrgan.__new__(StewardOrgan)), env, nkey, signer, HOST_OWNER)
    return msgspec.structs.replace(own, grants=[f"{env}.system.steward.event.>"])


def spelling(part: Part) -> str:
    """Return how a part is named on the command line: one of ours by its name, another by its file."""
    ours = {name.rpartition(".")[2] for name in (*BUILT_IN, *ON_REQUEST)}
    return part.name if part.name in ours else inspect.getfile(type(part))


def _ceremony(env: str, new: bool, unknown: Sequence[str], roots: Sequence[RootKey], threshold: int) -> str:  # noqa: FBT001 - read once, beside its call
    owners = ", ".join(sorted({root.owner for root in roots}))
    what = "the genesis and the keys of" if new else "the keys of"
    propose = " ".join(["nimmerverse keys propose", "genesis" if new else "introduce", *unknown])
    return (
        f"the root keys of {env} are with their owners, so this start introduces nobody; the log lacks {what} "
        f"{', '.join(unknown) or 'nobody'}. Run `{propose} > ceremony.json`, have {threshold} of {owners} each run "
        "`nimmerverse keys cosign ceremony.json --keyring FOLDER --key NAME --passphrase-file FILE`, then "
        "`nimmerverse keys submit ceremony.json`, and start again."
    )
