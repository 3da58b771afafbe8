"""What lies in a user's data folder, by environment: keyring, connection keys, servers' data, what runs now.

home/passphrase              opens every keyring here
home/{env}/keys/             sealed signing keys             home/{env}/nats/       the embedded server's streams
home/{env}/nkeys/            connection keys by part         home/{env}/postgres/   the embedded database
home/{env}/running.json      where to find what runs now
home/models/                 models, for every environment   home/organd.json       where they answer now
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from shared.errors import ConfigFault, KeyFault
from shared.files import private_folder, write_private
from shared.keys import MODERATE, Cost, Keyring, LocalSigner, ProxiedKey, Signer, Token, load_or_create, obtain
from shared.settings import Settings
from shared.world import World

OWNED = "."  #: in the name of a key that is its owner's alone: no part speaks with it, the log never introduces it
CLOCK_STEP_S = 60.0  #: how far the machine's clock may be set between a process's start and a look at it, s


class Keys:
    """The signing and connection keys of a home folder, one unlock per keyring.

    Here alone is decided where a key lives: behind the signing proxy or on the PKCS#11 token if the settings name it
    there, else in the keyring.
    """

    def __init__(self, settings: Settings, world: World, cost: Cost = MODERATE) -> None:
        self.settings, self.entropy = settings, world.entropy
        private_folder(place(settings))
        passphrase = obtain(settings.passphrase_path, settings.passphrase_credential, self.entropy)
        folder = place(settings) / "keys"
        exists = (folder / "keyring.json").exists()
        self.ring = (
            Keyring.unlock(folder, passphrase) if exists else Keyring.create(folder, passphrase, self.entropy, cost)
        )
        self.token = token_of(settings)
        self.proxied = read_proxied(settings.signing_keys) if settings.signing_keys else {}

    def signer(self, name: str, owner: str) -> Signer:
        """Return a signing key of this environment. In the keyring it is made on first use, on the token never."""
        if name in self.proxied:
            return ProxiedKey(name, self.proxied[name])
        if self.token is not None and name in self.settings.keys_on_token:
            return self.token.signer(label_of(self.settings, name))
        if name not in self.ring.names():
            return self.ring.create_key(name, owner, "sign", self.entropy)
        return self.ring.signer(name)

    def generate(self, name: str) -> Signer:
        """Make a key on the token; KeyFault where the settings place it elsewhere or it exists already."""
        if self.token is None or name not in self.settings.keys_on_token:
            raise KeyFault(
                f"{name} does not live on a token, and the keyring makes its keys itself: add it to pkcs11_keys first."
            )
        return self.token.generate(label_of(self.settings, name))

    def staged(self, name: str) -> LocalSigner | None:
        """Return the key's successor where one is staged and not yet committed."""
        return self.ring.staged(name) if name in self.ring.names() else None

    def stage_rotation(self, name: str) -> LocalSigner:
        """Return the key's successor, kept beside it until `commit_rotation`; KeyFault for a key on the token."""
        self.check_here(name)
        return self.ring.stage_rotation(name, self.entropy)

    def commit_rotation(self, name: str) -> LocalSigner:
        """Make the staged successor the key of this name."""
        self.check_here(name)
        return self.ring.commit_rotation(name, self.entropy)

    def names(self) -> list[str]:
        """Return the names of the parts' keys: those of the keyring, and those the settings place elsewhere."""
        here = {name for name in self.ring.names() if OWNED not in name}
        return sorted({*here, *self.settings.keys_on_token, *self.proxied})

    def owned(self, kind: str, name: str, owner: str, *, make: bool) -> LocalSigner:
        """Return a key that is its owner's alone, for instance of a mark; KeyFault where there is none to be made."""
        full = f"{kind}{OWNED}{name}"
        if full in self.ring.names():
            return self.ring.signer(full)
        if not make:
            known = [
                one.removeprefix(f"{kind}{OWNED}") for one in self.ring.names() if one.startswith(f"{kind}{OWNED}")
            ]
            raise KeyFault(f"this home holds no {kind} key {name}; it holds {', '.join(known) or 'none'}")
        return self.ring.create_key(full, owner, kind, self.entropy)

    def check_here(self, name: str) -> None:
        """Raise KeyFault for a key on the token or behind the proxy: only its people can replace it there."""
        if name in self.proxied:
            raise KeyFault(
                f"the key of {name} is behind the signing proxy and cannot be replaced here: give its rule another "
                f"key, and name that one's public half in {self.settings.signing_keys}."
            )
        if name in self.settings.keys_on_token:
            raise KeyFault(
                f"the key of {name} lives on {self.token}, which cannot stage a successor: give it another label than "
                f"{label_of(self.settings, name)} there and run `nimmerverse keys generate {name}`; the next start "
                "introduces the new key and ends the old one."
            )

    def nkey(self, name: str) -> str:
        """Return the public connection key of a part, made on first use.

        It is never a signing key: the server chooses the bytes that a connection key signs.
        """
        return load_or_create(nkey_path(self.settings, name), self.entropy).public


def read_proxied(path: Path) -> dict[str, bytes]:
    """Return the public keys in a TOML file by the names of their parts; ConfigFault where it is anything else."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
        return {name: bytes.fromhex(text) for name, text in table.items()}
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}): signing_keys names a TOML file.") from error
    except (ValueError, TypeError) as error:
        raise ConfigFault(f"{path} is no list of public keys ({error}): each line is NAME = 64 hex digits.") from error


def token_of(settings: Settings) -> Token | None:
    """Return the PKCS#11 token that the settings name."""
    module, label, pin_file = settings.pkcs11_module, settings.pkcs11_token, settings.pkcs11_pin_file
    return Token(module, label, pin_file) if module and label and pin_file else None


def label_of(settings: Settings, name: str) -> str:
    """Return how a key of this environment is labelled on the token: environments share none."""
    return f"{settings.env}.{name}"


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
