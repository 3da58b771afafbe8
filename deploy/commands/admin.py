"""`config`, `keys`, `connect`, `doctor`, `completion`: looking after an installation."""

from __future__ import annotations

import json
import os
import shutil
import socket
from argparse import Namespace
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from deploy.attach import operator
from deploy.commands import ceremony
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.keychange import revoke, rotate
from deploy.terminal import Terminal
from deploy.usage import COMMANDS
from shared.config import Loaded, redact
from shared.constant import constant
from shared.envelope.keybook import ROOT_PART, Key
from shared.errors import ConfigFault, Exit, Fault, KeyFault, Refused, StorageFault, Unreachable
from shared.home import Keys, Running, nkey_path, place
from shared.keys import Keyring, Signer, obtain
from shared.settings import Settings
from shared.vault import Vault, vault_exists, vault_folder
from shared.world import RealWorld

MIN_FREE_MB = constant(200, "MB", "X-07")
WRITE_ERROR = "Critical write error:"  #: nats-server stores nothing more in a stream after this line


def config(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every effective setting with its origin."""
    rows = list(loaded.effective())
    wide, origin = max(len(r.name) for r in rows), max(len(r.value) for r in rows)
    lines = [f"{r.name:<{wide}}  {r.value or '-':<{origin}}  {r.origin}" for r in rows]
    terminal.give(
        [{"name": r.name, "value": r.value, "origin": r.origin, "description": r.description} for r in rows],
        "\n".join(lines),
    )
    return Exit.OK


def keys(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List, create or re-seal keys; see `nimmerverse keys --help`."""
    actions: dict[str, Callable[[Namespace, Loaded, Terminal], Exit]] = {
        "list": _list_keys,
        "passphrase": _change_passphrase,
        "log": _logged_keys,
        "rotate": _rotate_key,
        "revoke": _revoke_key,
        "generate": _generate_key,
        "owner": ceremony.make_owner,
        "propose": ceremony.propose,
        "cosign": ceremony.sign,
        "submit": ceremony.send,
    }
    return actions[args.action](args, loaded, terminal)


def connect(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print where the bus is and how to reach it by hand: URL, credentials, and a `nats` CLI context."""
    running = Running.read(loaded.settings)
    if loaded.settings.nats_url is None and running is None:
        raise Unreachable(
            f"nothing runs on {loaded.settings.home} for {loaded.settings.env}; start it with `nimmerverse up`"
        )
    url = running.url if running else redact(str(loaded.settings.nats_url))
    nkey = nkey_path(loaded.settings, OPERATOR) if running else loaded.settings.nats_nkey
    context = {
        "description": f"nimmerverse {loaded.settings.env}",
        "url": url,
        "nkey": str(nkey or ""),
        "creds": str(loaded.settings.nats_creds or ""),
    }
    told: dict[str, Any] = {
        "url": url,
        "nkey": str(nkey or ""),
        "context": context,
        "trust": running.fingerprint if running else None,
    }
    if running:
        told["database_url"] = running.database_url
    text = (
        f"url     {url}\nnkey    {nkey or '-'}\ntrust   {running.fingerprint if running else '-'}\n"
        f"records {running.database_url if running else loaded.settings.database_url or '-'}\n\n"
        "a context for the nats command line (save it as ~/.config/nats/context/nimmerverse.json, "
        f"then `nats --context nimmerverse sub '{loaded.settings.env}.>'`):\n{json.dumps(context, indent=2)}"
    )
    terminal.give(told, text)
    return Exit.OK


def doctor(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Look at everything that has to be right, and say what to do about what is not."""
    checks: list[tuple[str, Callable[[Loaded], str]]] = [
        ("settings", _settings),
        ("folder", _folder),
        ("space", _space),
        ("nats-server", _nats_server),
        ("postgres", _postgres),
        ("keys", _keys),
        ("running", _running),
    ]
    found: list[dict[str, Any]] = []
    for name, look in checks:
        try:
            found.append({"check": name, "ok": True, "detail": look(loaded)})
        except (Fault, Refused) as trouble:
            found.append({"check": name, "ok": False, "detail": str(trouble)})
    well = all(row["ok"] for row in found)
    lines = [f"{'✓' if row['ok'] else '✗'} {row['check']:<12} {row['detail']}" for row in found]
    terminal.give({"ok": well, "checks": found}, "\n".join(lines))
    return Exit.OK if well else Exit.FAILED


def completion(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print a completion script for bash, zsh or fish."""
    names = " ".join(sorted(COMMANDS))
    scripts = {
        "bash": f"complete -W '{names}' nimmerverse ./run",
        "zsh": f'compdef \'_arguments "1: :({names})" "*: :_files"\' nimmerverse',
        "fish": f"complete -c nimmerverse -n __fish_use_subcommand -f -a '{names}'",
    }
    terminal.give({"shell": args.shell, "script": scripts[args.shell]}, scripts[args.shell])
    return Exit.OK


def _list_keys(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    keys = Keys(loaded.settings, RealWorld(loaded.settings.env))
    rows = [
        {"name": k.name, "owner": k.owner, "purpose": k.purpose, "key_id": k.key_id, "public": k.public.hex()}
        for k in keys.ring.describe()
    ] + [_on_token(name, keys.signer(name, "")) for name in keys.settings.keys_on_token]
    terminal.give(
        rows,
        "\n".join(f"{r['name']:<24} {r['key_id']}  {r['owner']}  {r['purpose']}" for r in rows)
        or "no keys yet; `up` makes them",
    )
    return Exit.OK


def _generate_key(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make a key on the PKCS#11 token; keys of the keyring make themselves."""
    name = _named(args)
    made = _on_token(name, Keys(loaded.settings, RealWorld(loaded.settings.env)).generate(name))
    terminal.give(
        made, f"{name}: {made['key_id']} was made{made['purpose'].removeprefix('sign,')}, and never leaves it"
    )
    return Exit.OK


def _on_token(name: str, signer: Signer) -> dict[str, str]:
    where = f"sign, on {signer}"
    return {"name": name, "owner": "token", "purpose": where, "key_id": signer.key_id, "public": signer.public.hex()}


def _change_passphrase(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Seal the whole keyring anew under the passphrase in a file; the old one opens it for the last time."""
    settings, world = loaded.settings, RealWorld(loaded.settings.env)
    if args.file is None:
        raise ConfigFault("keys passphrase needs --file PATH with the new passphrase (mode 0600)")
    old = obtain(settings.passphrase_path, settings.passphrase_credential, world.entropy)
    if not args.file.exists():
        raise KeyFault(f"there is no {args.file}; write the new passphrase into it, readable by you alone (mode 0600)")
    new = obtain(args.file, None, world.entropy)
    _change_vault(settings, old, new, world)
    Keyring.unlock(place(settings) / "keys", old).change_passphrase(old, new, world.entropy)
    terminal.give(
        {"ok": True},
        f"keyring and vault are sealed anew; give the new passphrase with NIMMERVERSE_PASSPHRASE_FILE={args.file}",
    )
    return Exit.OK


def _change_vault(settings: Settings, old: bytes, new: bytes, world: RealWorld) -> None:
    """Seal the vault, if there is one, anew; repeated after a crash, it is found sealed already."""
    if not vault_exists(settings):
        return
    folder = vault_folder(settings)
    try:
        vault = Vault.unlock(folder, old, world.entropy)
    except KeyFault:
        Vault.unlock(folder, new, world.entropy).rewrite_backups()
    else:
        vault.change_passphrase(new)


def _rotate_key(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Replace a part's signing key; the log says so, signed by the old one."""
    part = _named(args)
    old, new, index = finish(rotate(loaded, part))
    terminal.give(
        {"part": part, "old": old, "new": new, "index": index},
        f"{part}: {old} ends at {index}, {new} speaks from {index + 1} on",
    )
    return Exit.OK


def _revoke_key(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """End a part's signing key; the log says so, signed by the root."""
    part = _named(args)
    old, index = finish(revoke(loaded, part, args.reason))
    terminal.give(
        {"part": part, "old": old, "index": index},
        f"{part}: {old} ends at {index}; the next start introduces a new key",
    )
    return Exit.OK


def _named(args: Namespace) -> str:
    if len(args.names) != 1:
        raise ConfigFault(
            f"keys {args.action} needs the part whose key it is: nimmerverse keys {args.action} math_cell"
        )
    return args.names[0]


def _logged_keys(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the keys as the log knows them: who, what for, from which index to which."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            end = await bus.newest()
            await bus.learn_keys(end.index if end else -1)
            book = bus.prefix.keys
        known = sorted(book.keys.values(), key=lambda key: key.first)
        rows = [_logged_row(key) for key in known]
        owners = sorted({key.owner for key in known if key.part == ROOT_PART})
        root = (
            f"{book.threshold} of {', '.join(owners)}" if len(owners) > 1 else f"one owner, {owners[0]}: trust it whole"
        )
        lines = [f"genesis {book.fingerprint}, threshold {book.threshold}", f"root: {root}", *map(_logged_line, known)]
        terminal.give({"genesis": book.fingerprint, "threshold": book.threshold, "keys": rows}, "\n".join(lines))
        return Exit.OK

    return finish(main())


def _logged_row(key: Key) -> dict[str, Any]:
    may_sign = [grant.pattern for grant in key.grants]
    shown = {"key_id": key.key_id, "part": key.part, "owner": key.owner, "first": key.first, "last": key.last}
    return shown | {"may_sign": may_sign}


def _logged_line(key: Key) -> str:
    last, may_sign = "-" if key.last is None else str(key.last), ", ".join(grant.pattern for grant in key.grants)
    return f"{key.key_id}  {key.part:<14} from {key.first} to {last}  {may_sign}"


def _settings(loaded: Loaded) -> str:
    origins = [row.origin for row in loaded.effective()]
    return f"{len(origins) - origins.count('default')} of {len(origins)} differ from their defaults"


def _folder(loaded: Loaded) -> str:
    home = loaded.settings.home
    if not home.exists():
        return f"{home} does not exist yet; the first start makes it"
    if not os.access(home, os.W_OK):
        raise ConfigFault(f"{home} is not writable by this user; choose another with NIMMERVERSE_HOME")
    return f"{home}, mode {home.stat().st_mode & 0o777:o}"


def _space(loaded: Loaded) -> str:
    place = next(p for p in (loaded.settings.home, *loaded.settings.home.parents) if p.exists())
    free = shutil.disk_usage(place).free // 2**20
    if free < MIN_FREE_MB:
        raise ConfigFault(
            f"{free} MB are free at {place}, at least {MIN_FREE_MB} MB are expected; free some or move NIMMERVERSE_HOME"
        )
    return f"{free} MB free, the log may use {loaded.settings.disk_quota_mb} MB"


def _nats_server(loaded: Loaded) -> str:
    from deploy.embedded import find_nats_server

    if loaded.settings.nats_url is not None:
        return _reachable(loaded.settings.nats_url)
    return str(find_nats_server())


def _postgres(loaded: Loaded) -> str:
    from deploy.embedded.cluster import find_binaries

    url = loaded.settings.database_url
    if url is None:
        return str(find_binaries())
    return _reachable(url, 5432) if urlsplit(url).hostname else "configured: a database_url with a socket is set"


def _keys(loaded: Loaded) -> str:
    if not (place(loaded.settings) / "keys" / "keyring.json").exists():
        return "none yet; the first start makes them"
    keys = Keys(loaded.settings, RealWorld(loaded.settings.env))
    found = f"{len(keys.ring.names())} keys, unlocked with {loaded.settings.passphrase_path}"
    there = [f"{name} on {keys.signer(name, '')}" for name in loaded.settings.keys_on_token]
    return "; ".join([found, *there])


def _running(loaded: Loaded) -> str:
    running = Running.read(loaded.settings)
    if running is None:
        return "nothing runs on this folder; start it with `nimmerverse up`"
    answers = f"process {running.pid}, {_reachable(running.url)}"
    lost = [line for line in _server_log(loaded).splitlines() if WRITE_ERROR in line]
    if lost:
        found = lost[-1].partition(WRITE_ERROR)[2].strip()
        raise StorageFault(f"{answers}, but it could not write ({found}); free some space, then start `up` again")
    return answers


def _server_log(loaded: Loaded) -> str:
    """Return what the embedded nats-server wrote since it last started."""
    path = place(loaded.settings) / "nats" / "nats.log"
    return path.read_text(errors="replace").rpartition("Starting nats-server")[2] if path.exists() else ""


def _reachable(urls: str, port: int = 4222) -> str:
    """Say that the first address of a list takes connections; Unreachable if it does not."""
    at = urlsplit(urls.partition(",")[0])
    where = f"{at.hostname}:{at.port or port}"
    try:
        with socket.create_connection((at.hostname, at.port or port), timeout=3):
            return f"{where} answers"
    except OSError as error:
        raise Unreachable(f"nothing answers at {where} ({error})") from error
