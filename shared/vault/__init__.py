"""The vault: people's keys and other secrets, sealed under a passphrase. Organs alone are handed what opens them."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

from shared.errors import KeyFault
from shared.files import private_folder
from shared.home import place
from shared.keys import MODERATE, Cost, obtain
from shared.settings import Settings
from shared.vault.erasures import erasures as erasures
from shared.vault.format import HEADER_NAME
from shared.vault.many import Keys as Keys
from shared.vault.many import ManyPeople as ManyPeople
from shared.vault.people import Erasure as Erasure
from shared.vault.people import People as People
from shared.vault.port import BackupUnreachable as BackupUnreachable
from shared.vault.port import Erased as Erased
from shared.vault.port import PersonKeys as PersonKeys
from shared.vault.port import Unknown as Unknown
from shared.vault.port import Unopenable as Unopenable
from shared.vault.store import MemoryStore as MemoryStore
from shared.vault.store import Store as Store
from shared.vault.vault import Vault as Vault
from shared.world import SimWorld, World


def vault_folder(settings: Settings) -> Path:
    """Return where an environment's vault lies."""
    return place(settings) / "vault"


def vault_exists(settings: Settings) -> bool:
    """Say whether an environment has a vault: it is made when the first person is enrolled."""
    return os.path.lexists(vault_folder(settings) / HEADER_NAME)


def open_vault(settings: Settings, world: World, cost: Cost = MODERATE) -> Vault:
    """Return the environment's vault, made on first use. Raises KeyFault, StorageFault."""
    folder = vault_folder(settings)
    private_folder(place(settings))
    passphrase = obtain(settings.passphrase_path, settings.passphrase_credential, world.entropy)
    if not vault_exists(settings):
        try:
            return Vault.create(folder, passphrase, world.entropy, cost)
        except KeyFault:
            if not vault_exists(settings):  # else another process made it first
                raise
    return Vault.unlock(folder, passphrase, world.entropy)


def people_of(settings: Settings, world: World) -> People:
    """Return the keys of people in an environment's vault, which is unlocked, beside the event loop, on first use."""

    async def unlock() -> Store:
        return await asyncio.to_thread(partial(open_vault, settings, world))

    return People(unlock, world.entropy)


def simulated_people(world: SimWorld, store: MemoryStore | None = None) -> People:
    """Return keys of people in memory; organs of one simulation share a store."""
    kept = store or MemoryStore()

    async def unlock() -> Store:
        return kept

    return People(unlock, world.entropy)
