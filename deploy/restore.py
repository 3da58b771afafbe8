"""Going on after a loss: a backup takes the log's place, or the log goes on as it is; what is missing is named.

A restore is made beside what is there, checked against every checkpoint that is known, and only then takes its place;
what it replaces is kept. A new epoch begins, and names what is missing,

- where a checkpoint that is known (of the home, the backup, or given) or the log that is replaced goes on further;
- where nobody knows how far the log was signed: the home remembers nothing as new as the backup, as a new machine does,
  and no checkpoint as new was given. At least one entry is then named, for what followed the backup is unknown.

That the log is the beginning of what was signed is proven by a checkpoint's own tiles where they are whole, else by a
checkpoint that the log reaches. A home that remembers more is refused without either; a new machine, on which nothing
else remains, begins its epoch nevertheless: it signs under a new name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.backup import COPIED, FORMAT, digest_of, sync_tree
from deploy.embedded import Account, FolderLock, Identity, NatsServer, StorageLimits
from deploy.host import HOST_OWNER, ROOT
from deploy.signed import Claim, NotThatLog, claims_on, goes_on_from, hold_to_tiles, is_signed
from deploy.snapshot import SNAPSHOT_CHUNK_BYTES, put_back
from organs.notary.ports import notary_folder, tiles_folder
from shared.audit import LiveSource, Options, Report, verify
from shared.bus import Bus, Draft
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, Fault
from shared.files import private_folder, storing, sync_folder
from shared.home import Keys, Running, place
from shared.keys import Signer, load_or_create
from shared.settings import Settings
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, EpochStarted
from shared.version import VERSION
from shared.world import RealWorld, new_id

RESTORING = "restoring"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a restore is given: the backup and the note, if any, how long the log is that it replaces, and why."""

    backup: Path | None
    given: str | None
    replaced: int
    reason: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A log that goes on: how many entries it has, its epoch, and what is missing (None: nothing)."""

    entries: int
    epoch: int
    missing: tuple[int, int] | None
    kept: Path | None = None  #: where what was replaced lies
    unknown: bool = False  #: more may be missing than is named: nobody knows how far the log was signed
    unread: str = ""  #: why the log that was replaced could not be read, if it could not


async def restore(loaded: Loaded, backup: Path | None, reason: str, checkpoint: Path | None = None) -> Restored:
    """Put a backup in the place of the log, or go on with the log as it is; name what is missing in a new epoch.

    `checkpoint` holds the newest note that a witness or an auditor knows. NotThatLog, and nothing is changed, where the
    log does not fit what was signed.
    """
    settings = loaded.settings
    if settings.nats_url is not None:
        raise ConfigFault("a log is restored where its server runs; this one is somebody else's (see its operator)")
    if Running.read(settings) is not None:
        raise ConfigFault(f"an organism runs on {settings.home}; stop it first")
    if backup is not None:
        check_manifest(backup, settings)
    given = None if checkpoint is None else _read_note(checkpoint)
    home = place(settings)
    lock = FolderLock(home)
    await lock.acquire()
    copied = list[Path]()
    try:
        replaced, unread = (0, "") if backup is None else await _length_replaced(settings)
        staged = home / RESTORING
        shutil.rmtree(staged, ignore_errors=True)
        if backup is not None:
            _copy_keys(backup, settings, copied)
        async with _server(settings, staged if backup is not None else home) as wire:
            if backup is not None:
                await put_back(wire.client, json.loads((backup / "log" / "told.json").read_text()), _chunks(backup))
            found = await _go_on(wire, settings, _Asked(backup, given, replaced, reason))
        copied.clear()
        return _take_place(settings, staged if backup is not None else None, found, unread)
    finally:
        for path in copied:  # it was refused
            shutil.rmtree(path, ignore_errors=True)
        lock.release()


async def _go_on(wire: NatsWire, settings: Settings, asked: _Asked) -> Restored:
    """Judge the log on this server, and start a new epoch where it ends too early, or may."""
    world = RealWorld(settings.env)
    bus = Bus(world, wire, ROOT, VERSION, [])
    report = await _judged(bus)
    await bus.follow(KEYS_LANE.format(env=bus.env))
    claims = claims_on(settings, asked.backup, asked.given, bus.prefix.keys)
    beyond = await _held(bus, report, claims)
    entries, epoch = report.entries, len(report.epochs) + 1
    end = max([asked.replaced, *(claim.checkpoint.size for claim in beyond)])
    remembered = max((claim.age for claim in claims if claim.kept != "backup"), default=(0, 0))
    backed_up = max((claim.age for claim in claims if claim.kept == "backup"), default=(0, 1))
    unknown = asked.backup is not None and remembered < backed_up
    if end <= entries and not unknown:
        newest = max((claim for claim in claims if claim.kept == "home"), key=lambda claim: claim.age, default=None)
        named = None if newest is None else newest.named_in(report)  # cut off after it was named
        return Restored(entries, epoch, None if named is None else (named["index"], named["last_missing"]))
    missing, assumed = (entries, max(end - 1, entries)), epoch + 1
    bus.signers = [_root(bus, settings, world)]
    signed, proof = await goes_on_from(bus, claims, entries)
    reason = asked.reason + (f" (what followed the backup of {entries} entries is unknown)" if unknown else "")
    started = EpochStarted(KEYS_ENTITY, assumed, missing[0], missing[1], signed, proof, reason)
    await bus.append(Draft(started, new_id(world)))
    return Restored(entries + 1, assumed, missing, unknown=unknown)


async def _held(bus: Bus, report: Report, claims: Sequence[Claim]) -> list[Claim]:
    """Hold the log to every claim as far as it goes, NotThatLog if it does not fit; return those that go beyond it."""
    beyond, fitting, proven = list[Claim](), list[Claim](), False
    for claim in claims:
        named = claim.named_in(report)
        end = claim.checkpoint.size if named is None else named["index"]
        whole = await hold_to_tiles(bus, claim, min(end, report.entries))
        if end <= report.entries:
            fitting.append(claim)
            proven = proven or named is None  # by its root
        elif claim.kept == "backup" and not is_signed(claim, bus.prefix.keys):
            raise NotThatLog(f"the backup's checkpoint of {end} entries is not signed by the log's key")
        else:
            beyond.append(claim)
            proven = proven or whole
    if fitting:
        await _judged(bus, [claim.note for claim in fitting])
    ours = [claim for claim in beyond if claim.kept == "home"]
    if ours and not proven:
        raise NotThatLog(
            f"nothing proves that these {report.entries} entries begin the {ours[0].checkpoint.size} that were signed, "
            "for the tiles are damaged or gone; put a copy of the tiles back, or restore a backup that has its own"
        )
    return beyond


async def _judged(bus: Bus, against: Sequence[str] = ()) -> Report:
    """Verify the log on the bus; NotThatLog for any objection but an unknown signer, void entries, or no checkpoint.

    Against checkpoints it is read once more, for its root alone.
    """
    notes = tuple(note.encode() for note in against)
    options = Options(mode="links", against=notes) if notes else Options()
    report = await verify(LiveSource(bus.entries, "the restored log"), options)
    gone = report.missing is not None and report.completeness.exit is not Exit.LOST
    if not report.integrity.ok or gone or not report.fingerprint:
        why = report.integrity.detail or report.completeness.detail
        raise NotThatLog(f"the log to go on with does not hold: {why}; nothing was changed")
    return report


def _root(bus: Bus, settings: Settings, world: RealWorld) -> Signer:
    """Return the root's key, which begins an epoch alone; ConfigFault where it cannot, and no key is ever made."""
    elsewhere = (
        "a new epoch is needed, and the log's root signs it, whose key is not in this keyring; nothing was changed"
    )
    if bus.prefix.keys.threshold > 1:
        owners = bus.prefix.keys.threshold
        raise ConfigFault(f"a new epoch is needed, and {owners} owners of the root must sign it; nothing was changed")
    if settings.root_keys is not None or not (place(settings) / "keys" / "keyring.json").exists():
        raise ConfigFault(elsewhere)
    keys = Keys(settings, world)
    if ROOT not in keys.names():
        raise ConfigFault(elsewhere)
    root = keys.signer(ROOT, HOST_OWNER)
    if root.key_id not in bus.prefix.keys.keys:
        raise ConfigFault(elsewhere)
    return root


async def _length_replaced(settings: Settings) -> tuple[int, str]:
    """Return how many entries the log that is replaced has, signed or not, or why it cannot be read."""
    home = place(settings)
    folder = home
    if not (home / "nats").exists() and (home / RESTORING / "nats").exists():  # cut off while it was moved aside
        aside = sorted(home.glob("replaced-*/nats"), key=lambda path: int(path.parent.name.rpartition("-")[2]))
        folder = aside[-1].parent if aside else home
    if not (folder / "nats").exists():
        return 0, ""
    try:
        async with _server(settings, folder) as wire:
            newest = await Bus(RealWorld(settings.env), wire, ROOT, VERSION, []).newest()
    except Fault as fault:
        return 0, str(fault)
    return 0 if newest is None else newest.index + 1, ""


def _take_place(settings: Settings, staged: Path | None, found: Restored, unread: str) -> Restored:
    """Let the restored log be the log. What it replaces is moved aside whole, and never deleted."""
    home = place(settings)
    aside = next(path for n in range(1, 10_000) if not (path := home / f"replaced-{n}").exists())
    with storing(home):
        if staged is not None:
            sync_tree(staged)
            _move(home / "nats", aside)
            (staged / "nats").rename(home / "nats")
            sync_folder(home)
            shutil.rmtree(staged, ignore_errors=True)
        if found.missing is not None:  # last: until then a start refuses, and the same command finishes it
            _move(tiles_folder(settings), aside)
            _move(notary_folder(settings), aside)
    return replace(found, kept=aside if aside.exists() else None, unread=unread)


def _move(path: Path, aside: Path) -> None:
    if path.exists():
        private_folder(aside)
        path.rename(aside / path.name)
        sync_folder(aside)
        sync_folder(path.parent)


@asynccontextmanager
async def _server(settings: Settings, folder: Path) -> AsyncGenerator[NatsWire]:
    """Yield a connection with every right to a server on this folder, with nobody else on it."""
    private_folder(folder)
    world = RealWorld(settings.env)
    nkey = folder / "restorer.nk"
    identity = Identity("restorer", load_or_create(nkey, world.entropy).public, (">",), (">",), responses=False)
    limits = StorageLimits(file_bytes=settings.disk_quota_mb * 2**20)
    server = NatsServer(folder / "nats", (Account(settings.env, (identity,), limits),))
    await server.start()
    try:
        wire = await connect(server.url, "restorer", nkey=nkey, private_inbox=False, fast=settings.fast)
        assert isinstance(wire, NatsWire)
        try:
            yield wire
        finally:
            await wire.close()
    finally:
        await server.stop()
        nkey.unlink(missing_ok=True)


def check_manifest(backup: Path, settings: Settings) -> None:
    """Compare every file of a backup with its manifest; NotThatLog by the first that differs."""
    try:
        manifest = json.loads((backup / "manifest.json").read_text())
        files: dict[str, dict[str, Any]] = manifest["files"]
        written = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotThatLog(f"{backup} is no backup: {error}") from None
    if written != FORMAT:
        raise NotThatLog(f"{backup} has format {written!r}, {FORMAT!r} is expected")
    if manifest["env"] != settings.env:
        raise NotThatLog(f"{backup} is of {manifest['env']}, this is {settings.env}")
    found = {str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file()} - {"manifest.json"}
    if found != files.keys():
        odd = min(found ^ files.keys())
        raise NotThatLog(f"{backup}: {odd} is {'missing' if odd in files else 'not part of the backup'}")
    for name, known in files.items():
        if digest_of(backup / name) != known:
            raise NotThatLog(f"{backup}: {name} was changed after the backup was made")


def _read_note(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise ConfigFault(
            f"{path} cannot be read ({error}); --checkpoint names a file with a signed checkpoint"
        ) from None


def _chunks(backup: Path) -> Iterator[bytes]:
    with (backup / "log" / "snapshot").open("rb") as file:
        while chunk := file.read(SNAPSHOT_CHUNK_BYTES):
            yield chunk


def _copy_keys(backup: Path, settings: Settings, copied: list[Path]) -> None:
    """Bring the keys of a backup to a home that has none, and tell in `copied` what was brought."""
    home = place(settings)
    if (home / "keys").exists():
        return
    if settings.passphrase_credential is None and not settings.passphrase_path.exists():
        raise ConfigFault(
            f"there is no {settings.passphrase_path}: put the passphrase of the backup's keys there first"
        )
    for name in reversed(COPIED):  # the keyring last: what a restore that was cut off left is brought again
        if not (backup / name).exists() or (home / name).exists():
            continue
        draft = home / f"{name}.{RESTORING}"
        with storing(draft):
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(backup / name, draft)
            sync_tree(draft)
            draft.rename(home / name)
            sync_folder(home)
        copied.append(home / name)
