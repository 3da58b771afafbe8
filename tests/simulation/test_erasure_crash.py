"""Killing the vault organ at each of its writes to the disk: whatever was ordered is finished, once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from deploy.organism import Organism
from deploy.sim_host import SimHost, Trouble
from organs.vault import VaultOrgan
from shared.bus import Bus
from shared.config import load
from shared.errors import Fault
from shared.keys import CHEAP
from shared.message import lookup
from shared.personal import Personal
from shared.subjects.privacy import EraseRequest, ErasureOrdered, PersonErased
from shared.vault import Erased, People, Store, Vault, erasures
from shared.world import SimWorld, simulate, within
from tests.ground import ENV, SEED

STEPS = 40


class Killed(BaseException):
    """The process ended here; nothing of it may run on."""


class Dying:
    """Stands in for the system call that brings a write to the disk, and ends the process at one of them."""

    def __init__(self, step: int) -> None:
        self.step, self.count, self.dead = step, 0, False
        self.real = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.count >= self.step:
            self.dead = True
        if self.dead:
            raise Killed
        self.real(descriptor)


@pytest.mark.spec("X-11")
def test_an_erasure_survives_a_kill_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at its first write, its second, and so on, the organ ends with one order, one erasure, nothing to open."""
    for step in range(1, STEPS):
        here = tmp_path / str(step)
        if not simulate(lambda here=here, step=step: _life(here, Dying(step), monkeypatch)):
            assert step > 10, "it was killed at every write of the rotation, of the backup and of the note"
            return
    raise AssertionError(f"an erasure takes more than {STEPS} writes")


async def _life(folder: Path, dying: Dying, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Erase a person from a vault with a backup; return whether the organ was killed on the way."""
    asyncio.get_running_loop().set_exception_handler(_but_killed)
    world = SimWorld(ENV, SEED)
    vault = Vault.create(folder / "vault", b"pass", world.entropy, CHEAP)
    people = _people(folder, world)
    ada, bob = await people.seal("Ada", "hers"), await people.seal("Bob", "his")
    vault.backup(folder / "copy")
    host = SimHost(world, Trouble())
    organism = Organism(host, load({}, {"env": ENV, "site": "here", "home": "/nonexistent"}, "here"))
    await organism.start([VaultOrgan(_people(folder, world.fork("first")))])
    operator = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying)
        try:
            await operator.request(EraseRequest(ada.person.hex(), "as asked", "operator"))
        except Fault:
            assert dying.dead
        await _settled(world, operator, dying)
    if dying.dead:
        runner = organism.runners.pop("vault")
        await runner.halt()
        await runner.bus.wire.close()
        again = VaultOrgan(_people(folder, world.fork("second")))
        organism.runners["vault"] = await organism.run(again)
    await _judge(world, operator, folder, ada, bob)
    await organism.stop()
    return dying.dead


def _but_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell whatever nobody heard of, but not the kills: they are meant."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


async def _settled(world: SimWorld, operator: Bus, dying: Dying) -> None:
    """Wait until the organ is dead, or has read its own last decision back."""
    for _ in range(200):
        if dying.dead:
            return
        await world.sleep(0.05)


async def _judge(world: SimWorld, operator: Bus, folder: Path, ada: Personal[str], bob: Personal[str]) -> None:
    """Wait until the erasure is complete, and look at the log, the vault and its copy."""
    people = _people(folder, world)

    async def complete() -> Erased:
        while True:
            try:
                await people.open(ada)  # the order comes back once its acknowledgement is overdue
            except Erased as erased:
                if erased.complete:
                    return erased
            await world.sleep(1)

    found = await within(600, complete())
    verdicts = [verdict async for verdict in operator.replay()]
    kinds = [lookup(verdict.entry.subject) for verdict in verdicts]
    assert (1, 1) == (kinds.count(ErasureOrdered), kinds.count(PersonErased))
    at = erasures(verdicts)[ada.person.hex()]
    assert (at.index, at.offset) == (found.index, found.offset)
    assert "his" == await people.open(bob)
    for place in (folder / "vault", folder / "copy"):
        vault = Vault.unlock(place, b"pass", world.entropy)
        assert (["Bob"], [bob.person.hex()]) == (vault.names("name"), vault.names("person"))
        assert [vault.folder / f"g{vault.generation}"] == [path for path in place.iterdir() if path.is_dir()]


def _people(folder: Path, world: SimWorld) -> People:
    async def unlocked() -> Store:
        return Vault.unlock(folder / "vault", b"pass", world.entropy)

    return People(unlocked, world.entropy)
