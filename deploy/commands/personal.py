"""`audit erase` and `vault`: erasing a person, and looking after the vault."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import msgspec

from deploy.asking import seen
from deploy.attach import operator
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.config import Loaded
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal, Refused, Unreachable
from shared.keys.files import Entropy
from shared.log.entry import Position
from shared.message import Message
from shared.subjects.privacy import EraseRequest, PersonErased
from shared.subjects.system import Decided
from shared.vault import BackupUnreachable, People, Unknown, Vault, open_vault, vault_exists
from shared.vault.backup import reach
from shared.world import RealWorld

UNANSWERED = "B006"


def erase(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Erase a person: order it, wait until the log says that it is complete, and say where both stand."""

    async def main() -> Exit:
        world = RealWorld(loaded.settings.env)
        vault = _vault(loaded)
        if vault is None:
            raise Unknown("a person of this name")
        name = sys.stdin.readline().strip() if args.person == "-" else args.person
        people = _people(vault, world.entropy)
        found = await people.find(name)
        await people.refuse_names(found, args.reason)
        person = found.hex()
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(EraseRequest(person, args.reason, OPERATOR))
            if isinstance(answer, Refusal) and answer.code != UNANSWERED:
                raise Refused(answer)
            done, at = await _completed(bus, person, answer, args.timeout)
        places = {copy: str(place) for place, copy in vault.backups().items()}
        copies = [{"id": copy, "folder": places.get(copy, "")} for copy in done.copies]
        told = {
            "person": person,
            "ordered": [done.ordered_index, done.ordered_offset],
            "erased": [at.index, at.offset],
            "copies": copies,
        }
        copied = ", ".join(str(copy["folder"] or copy["id"]) for copy in copies) or "no backup, for none is registered"
        lines = [
            f"ordered at ({done.ordered_index}, {done.ordered_offset}), erased at ({at.index}, {at.offset})",
            f"the key, the name and the salts of {person} are destroyed in the vault and in {copied}",
            f"`nimmerverse registry taught-by {person}` names the models that their posts taught",
        ]
        terminal.give(told, "\n".join(lines))
        return Exit.OK

    return finish(main())


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say what the vault holds: how much of it, or with --names what it is called."""
    vault = _vault(loaded)
    people = vault.names("name") if vault else []
    erased = finish(_people(vault, vault.entropy).erasures()) if vault else []
    secrets = vault.names("secret") if vault else []
    backups = [_backup_row(vault, place, copy) for place, copy in (vault.backups() if vault else {}).items()]
    told = {
        "generation": vault.generation if vault else 0,
        "people": people if args.names else len(people),
        "erased": msgspec.to_builtins(erased),
        "secrets": secrets if args.names else len(secrets),
        "backups": backups,
    }
    lines = [
        f"generation {told['generation']}, {len(people)} people, {len(secrets)} secrets, {len(erased)} erased",
        *(f"erased   {one.person}  {one.complete or 'ordered, not complete yet'}" for one in erased),
        *(f"person   {name}" for name in people if args.names),
        *(f"secret   {name}" for name in secrets if args.names),
        *(
            f"backup   {row['id']}  {row['folder']}  {'reachable' if row['reachable'] else 'NOT REACHABLE'}"
            for row in backups
        ),
    ]
    terminal.give(told, "\n".join(lines))
    return Exit.OK


def backup(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Register and write a copy of the vault, rewrite all of them, or take one out of the register."""
    vault = open_vault(loaded.settings, RealWorld(loaded.settings.env))
    if args.forget:
        if args.folder is None or not vault.forget_backup(_absolute(args.folder)):
            raise ConfigFault("vault backup --forget needs the folder of a registered backup; see `vault list`")
        terminal.give({"forgotten": str(_absolute(args.folder))}, f"{args.folder} is no backup of this vault any more")
        return Exit.OK
    if args.folder is not None:
        vault.backup(_absolute(args.folder))
    ids = vault.rewrite_backups()
    terminal.give(
        {"copies": ids}, f"rewritten, every backup of the vault: {len(ids)}" if ids else "no backup is registered"
    )
    return Exit.OK


def rotate(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Seal the vault and its backups under a new key: whoever copied the former key has nothing of it."""
    vault = open_vault(loaded.settings, RealWorld(loaded.settings.env))
    with vault.hold():
        vault.rotate()
        ids = vault.rewrite_backups()
    terminal.give(
        {"generation": vault.generation, "copies": ids},
        f"generation {vault.generation} is in force, in the vault and {len(ids)} backups",
    )
    return Exit.OK


async def _completed(bus: Bus, person: str, answer: Message | Refusal, wait_s: float) -> tuple[PersonErased, Position]:
    """Return the event that completes an erasure, once it stands in the log and is admitted.

    Whoever gave no answer may have crashed after ordering it; then the order is carried out all the same.
    """
    lane = PersonErased.lane_about(bus.env, person)

    async def completed() -> tuple[PersonErased, Position] | None:
        return next((one for verdict in await bus.follow(lane) for one in decisions_in(verdict, PersonErased)), None)

    found = await seen(bus, wait_s, completed)
    if found is not None:
        return found
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, Decided)
    ordered = f"the erasure was ordered at ({answer.index}, {answer.offset}) and is not complete after {wait_s:g} s"
    todo = "it goes on by itself; look at `vault list` for a backup that cannot be reached"
    raise Unreachable(f"{ordered}: {todo}")


def _vault(loaded: Loaded) -> Vault | None:
    """Return the vault if there is one; looking at it makes none."""
    return open_vault(loaded.settings, RealWorld(loaded.settings.env)) if vault_exists(loaded.settings) else None


def _people(vault: Vault, entropy: Entropy) -> People:
    async def unlocked() -> Vault:
        return vault

    return People(unlocked, entropy)


def _backup_row(vault: Vault | None, place: Path, copy: str) -> dict[str, object]:
    assert vault is not None
    try:
        reach(place, vault.identity)
    except BackupUnreachable:
        reachable = False
    else:
        reachable = True
    return {"id": copy, "folder": str(place), "reachable": reachable}


def _absolute(folder: Path) -> Path:
    return Path.cwd() / folder.expanduser()
