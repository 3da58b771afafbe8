"""What lies in a user's data folder, by environment: keyring, connection keys, servers' data, what runs now.

home/passphrase              opens every keyring here
home/{env}/keys/             sealed signing keys             home/{env}/nats/       the embedded server's streams
home/{env}/nkeys/            connection keys by part         home/{env}/postgres/   the embedded database
home/{env}/running.json      where to find what runs now
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from shared.config import Settings
from shared.files import private_folder, write_private
from shared.keys import MODERATE, Cost, Keyring, LocalSigner, load_or_create, obtain
from shared.world import World

CLOCK_STEP_S = 60.0  #: how far the machine's clock may be set between a process's start and a look at it, s


class Keys:
    """The keyring and connection keys under a home folder: created on first use, one unlock per keyring."""

    def __init__(self, settings: Settings, world: World, cost: Cost = MODERATE) -> None:
        self.settings, self.entropy = settings, world.entropy
        private_folder(place(settings))
        passphrase = obtain(settings.passphrase_path, settings.passphrase_credential, self.entropy)
        folder = place(settings) / "keys"
        exists = (folder / "keyring.json").exists()
        self.ring = (
            Keyring.unlock(folder, passphrase) if exists else Keyring.create(folder, passphrase, self.entropy, cost)
        )

    def signer(self, name: str, owner: str) -> LocalSigner:
        """Return a part's signing key of this environment, made on first use."""
        if name not in self.ring.names():
            return self.ring.create_key(name, owner, "sign", self.entropy)
        return self.ring.signer(name)

    def nkey(self, name: str) -> str:
        """Return the public connection key of a part, made on first use.

        It is never a signing key: the server chooses the bytes that a connection key signs.
        """
        return load_or_create(nkey_path(self.settings, name), self.entropy).public


def place(settings: Settings) -> Path:
    """Return the folder of one environment: nothing in it is shared with another."""
    return settings.home / settings.env


def nkey_path(settings: Settings, name: str) -> Path:
    """Return where a part's connection key lies."""
    return place(settings) / "nkeys" / f"{name}.nk"


@dataclass(frozen=True, slots=True)
class Running:
    """What a running embedded organism tells other processes of the same user."""

    url: str
    pid: int
    born_s: float  #: when it started: a later process may have its id
    env: str
    database_url: str
    fingerprint: str

    @staticmethod
    def path(settings: Settings) -> Path:
        """Return where it is written."""
        return place(settings) / "running.json"

    def write(self, settings: Settings) -> None:
        """Write it, readable by this user alone."""
        private_folder(self.path(settings).parent)
        write_private(self.path(settings), json.dumps(asdict(self)))

    @classmethod
    def read(cls, settings: Settings) -> Running | None:
        """Return what runs on this home, or None. A process that died without saying so does not count."""
        try:
            known = cls(**json.loads(cls.path(settings).read_text()))
            alive = abs(born_s(known.pid) - known.born_s) < CLOCK_STEP_S
        except (OSError, ValueError, TypeError, psutil.Error):
            return None
        return known if alive else None


def born_s(pid: int) -> float:
    """Return when a process started, in seconds since the Unix epoch; psutil.Error where there is none."""
    return psutil.Process(pid).create_time()
