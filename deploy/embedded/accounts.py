"""Who may connect to the embedded NATS server, and the configuration file that says so.

nats-server reads JSON as well as its own format. Rendering JSON leaves nothing to quote by hand, so no name or subject
can break out of its place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.bus.wire import INBOXES
from shared.errors import ConfigFault

if TYPE_CHECKING:
    from pathlib import Path

MAX_PAYLOAD_BYTES = 2**20
WRITE_DEADLINE = "5s"

_ENV = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PUBLIC = re.compile(r"U[A-Z2-7]{55}")
_PATTERN = re.compile(r"(?:(?:\*|[!-)+-\-/-=?-~]+)\.)*(?:\*|>|[!-)+-\-/-=?-~]+)")
_SYSTEM = "SYS"
_NAME = "nimmerverse-embedded"

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json]"


@dataclass(frozen=True, slots=True)
class Identity:
    """One part on the bus: its public user key and the only subjects it may publish and subscribe.

    An empty tuple allows nothing. `responses` lets it answer requests: publish to inboxes, whose names none can guess.
    """

    name: str
    public: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    responses: bool = False


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """How much JetStream may keep in memory and on disk, in bytes."""

    memory_bytes: int = 64 * 2**20
    file_bytes: int = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Account:
    """One environment: the identities that share its subjects and streams, and how much it may keep."""

    env: str
    identities: tuple[Identity, ...]
    limits: StorageLimits = field(default_factory=StorageLimits)


@dataclass(frozen=True, slots=True)
class Member:
    """One server's place in a cluster: its own name, the port where the others join it, and theirs."""

    name: str
    port: int
    routes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConf:
    """Everything of nats.conf that outlives a change of accounts. Port 0 lets the server choose."""

    port: int
    folder: Path
    limits: StorageLimits
    system: Identity | None
    monitoring: bool
    member: Member | None = None

    def text(self, accounts: tuple[Account, ...]) -> str:
        """The configuration file; raises ConfigFault where it would not mean what it says."""
        _check(accounts, self.system, self.limits)
        conf: dict[str, Json] = {
            "server_name": self.member.name if self.member else _NAME,
            "listen": f"127.0.0.1:{self.port or -1}",
            "ports_file_dir": str(self.folder),
            "max_payload": MAX_PAYLOAD_BYTES,
            "write_deadline": WRITE_DEADLINE,
            "logtime_utc": True,
            "jetstream": {
                "store_dir": str(self.folder / "store"),
                "sync_interval": "always",  # an acknowledged message is on disk
                "max_mem": self.limits.memory_bytes,
                "max_file": self.limits.file_bytes,
            },
        }
        users: dict[str, Json] = {account.env: _account(account) for account in accounts}
        if self.monitoring:
            conf["http"] = "127.0.0.1:-1"
        if self.member is not None:
            routes: list[Json] = [f"nats://127.0.0.1:{port}" for port in self.member.routes]
            conf["cluster"] = {"name": _NAME, "listen": f"127.0.0.1:{self.member.port}", "routes": routes}
        if self.system is not None:
            users[_SYSTEM] = {"users": [_user(self.system)]}
            conf["system_account"] = _SYSTEM
        conf["accounts"] = users
        return json.dumps(conf, indent=1, ensure_ascii=False) + "\n"


def _account(account: Account) -> Json:
    limits = account.limits
    return {
        "jetstream": {"max_mem": limits.memory_bytes, "max_file": limits.file_bytes},
        "users": [_user(identity) for identity in account.identities],
    }


def _user(identity: Identity) -> Json:
    permissions: dict[str, Json] = {
        "publish": _allowed((*identity.publish, *(INBOXES if identity.responses else ()))),
        "subscribe": _allowed(identity.subscribe),
    }
    return {"nkey": identity.public, "permissions": permissions}


def _allowed(patterns: tuple[str, ...]) -> Json:
    """An empty allow list would allow everything, so nothing is said as a denial of everything."""
    return {"allow": list(patterns)} if patterns else {"deny": [">"]}


def _check(accounts: tuple[Account, ...], system: Identity | None, limits: StorageLimits) -> None:
    identities = [identity for account in accounts for identity in account.identities]
    if not identities:
        raise ConfigFault("No account has an identity, and without one the bus is open to everybody; declare one.")
    everyone = [*identities, system] if system else identities
    _once("account", [account.env for account in accounts])
    _once("public key", [identity.public for identity in everyone])
    for account in accounts:
        _matches(_ENV, account.env, "an environment name of lower-case letters, digits, - and _")
        _once(f"identity in {account.env}", [identity.name for identity in account.identities])
    for identity in everyone:
        _matches(_PUBLIC, identity.public, f"the public NATS user key of {identity.name}")
        for pattern in (*identity.publish, *identity.subscribe):
            _matches(_PATTERN, pattern, f"a subject pattern for {identity.name}")
    _fits("memory", [account.limits.memory_bytes for account in accounts], limits.memory_bytes)
    _fits("disk", [account.limits.file_bytes for account in accounts], limits.file_bytes)


def _matches(expected: re.Pattern[str], found: str, what: str) -> None:
    if not expected.fullmatch(found):
        raise ConfigFault(f"{found!r} was given, expected {what}.")


def _once(what: str, found: list[str]) -> None:
    twice = [value for value, count in Counter(found).items() if count > 1]
    if twice:
        raise ConfigFault(f"The {what} {twice[0]!r} is declared more than once; each must be declared once.")


def _fits(what: str, parts: list[int], whole: int) -> None:
    if sum(parts) > whole:
        raise ConfigFault(
            f"The accounts may keep {sum(parts)} bytes on {what}, but the server only {whole}; raise its limit."
        )
