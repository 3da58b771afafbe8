"""Going on after a loss: a backup takes the log's place, or the log goes on as it is; what is missing is named.

A restore is made beside what is there, checked against the tiles and against what the notary signed last, and only then
takes its place; what it replaces is kept. Where it ends before what was signed, a new epoch names what is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.backup import COPIED, FORMAT, digest_of
from deploy.embedded import Account, FolderLock, Identity, NatsServer, StorageLimits
from deploy.host import HOST_OWNER, ROOT
from deploy.snapshot import SNAPSHOT_CHUNK_BYTES, put_back
from organs.notary import FolderShelf
from organs.notary.ports import notary_folder, tiles_folder
from shared.audit import LiveSource, Options, Report, verify
from shared.bus import Bus, Draft
from shared.bus.nats import NatsWire, connect
from shared.config import Loaded, Settings
from shared.envelope import leaf_of
from shared.errors import ConfigFault, Exit, LogFault
from shared.files import private_folder, storing
from shared.home import Keys, Running, place
from shared.keys import load_or_create
from shared.log.checkpoint import Checkpoint
from shared.log.note import Note
from shared.log.store import FolderTiles
from shared.log.tiles import Tiles
from shared.log.tree import consistency_proof, leaf_hashes
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, EpochStarted
from shared.version import VERSION
from shared.world import RealWorld, new_id

RESTORING = "restoring"


class NotThatLog(LogFault):
    """A backup that is damaged, of another log, or does not fit what was signed."""

    exit = Exit.TAMPERED


@dataclass(frozen=True, slots=True)
class Restored:
    """A log that goes on: how many entries it has, its epoch, and what is missing (None: nothing)."""

    entries: int
    epoch: int
    missing: tuple[int, int] | None
    kept: Path | None  #: where what was replaced lies


async def restore(loaded: Loaded, backup: Path | None, reason: str) -> Restored:
    """Put a backup in the place of the log, or go on with the log as it is; name what is missing in a new epoch.

    NotThatLog, and nothing is changed, where it does not fit what was signed.
    """
    settings = loaded.settings
    if settings.nats_url is not None:
        raise ConfigFault("a log is restored where its server runs; this one is somebody else's (see its operator)")
    if Running.read(settings) is not None:
        raise ConfigFault(f"an organism runs on {settings.home}; stop it first")
    manifest = None if backup is None else _read_manifest(backup, settings)
    lock = FolderLock(place(settings))
    await lock.acquire()
    try:
        if backup is not None and not (place(settings) / "keys").exists():
            for name in COPIED:  # a new machine
                if (backup / name).exists():
                    _copy(backup / name, place(settings) / name)
        staged = place(settings) / RESTORING
        shutil.rmtree(staged, ignore_errors=True)
        async with _server(settings, staged if backup is not None else place(settings)) as wire:
            if backup is not None:
                assert manifest is not None
                await put_back(wire.client, json.loads((backup / "log" / "told.json").read_text()), _chunks(backup))
            found = await _go_on(wire, settings, backup, reason)
        return _take_place(settings, staged if backup is not None else None, found)
    finally:
        lock.release()


async def _go_on(wire: NatsWire, settings: Settings, backup: Path | None, reason: str) -> Restored:
    """Judge the log on this server, and start a new epoch where it ends before what was signed last."""
    world = RealWorld(settings.env)
    root = Keys(settings, world).signer(ROOT, HOST_OWNER)
    bus = Bus(world, wire, ROOT, VERSION, [root])
    report = await _judged(bus, None if backup is None else backup / "tiles")
    signed = FolderShelf.of(settings).recall()
    claim = None if signed is None else Checkpoint.parse(Note.parse(signed).text)
    epoch = len(report.epochs) + 1
    for named in report.epochs if claim is not None else []:
        if claim is not None and named["index"] < claim.size <= named["last_missing"] + 1:  # cut off after it was named
            return Restored(report.entries, epoch, (named["index"], named["last_missing"]), None)
    if claim is None or claim.size <= report.entries:
        if claim is not None and signed is not None:
            await _judged(bus, None, signed)
        return Restored(report.entries, epoch, None, None)
    await _hold_prefix(bus, settings, report.entries, claim.size)
    await bus.follow(KEYS_LANE.format(env=bus.env))
    if root.key_id not in bus.prefix.keys.keys:
        raise ConfigFault("a new epoch is signed by the log's root, whose keys are not in this keyring")
    missing, assumed = (report.entries, claim.size - 1), epoch + 1
    assert signed is not None
    tiles = Tiles(FolderTiles(tiles_folder(settings)), claim.size)
    proof = consistency_proof(tiles.node, report.entries, claim.size)
    started = EpochStarted(KEYS_ENTITY, assumed, missing[0], missing[1], signed, proof, reason)
    await bus.append(Draft(started, new_id(world)))
    return Restored(report.entries + 1, assumed, missing, None)


async def _judged(bus: Bus, tiles: Path | None, against: str | None = None) -> Report:
    """Verify the log on the bus; NotThatLog for any objection but an unknown signer, void entries, or no checkpoint."""
    source = LiveSource(bus.entries, "the restored log", None if tiles is None else FolderTiles(tiles))
    report = await verify(source, Options(against=() if against is None else (against.encode(),)))
    if not report.integrity.ok or report.missing is not None or not report.fingerprint:
        why = report.integrity.detail or report.completeness.detail
        raise NotThatLog(f"the log to go on with does not hold: {why}; nothing was changed")
    return report


async def _hold_prefix(bus: Bus, settings: Settings, entries: int, signed: int) -> None:
    """Hold that the log is the beginning of what was signed, by its tiles; NotThatLog if not, or if it is empty."""
    if entries == 0:
        raise NotThatLog(f"the log is empty, {signed} entries were signed; give a backup to restore")
    tiles, start = Tiles(FolderTiles(tiles_folder(settings)), signed), 0
    while start < entries:
        read = await bus.entries(start)
        hashes = leaf_hashes([leaf_of(entry) for entry in read])
        for entry, here, there in zip(read, hashes, tiles.leaf_hashes(start, start + len(read)), strict=True):
            if here != there:
                raise NotThatLog(f"entry {entry.index} is not the one that was signed; restore a backup instead")
        start += len(read)


def _take_place(settings: Settings, staged: Path | None, found: Restored) -> Restored:
    """Let the restored log be the log. What it replaces is moved aside whole, and never deleted."""
    home = place(settings)
    aside = next(path for n in range(1, 10_000) if not (path := home / f"replaced-{n}").exists())
    with storing(home):
        if staged is not None:
            _move(home / "nats", aside)
            (staged / "nats").rename(home / "nats")
            shutil.rmtree(staged, ignore_errors=True)
        if found.missing is not None:  # last: until then a start refuses, and the same command finishes it
            _move(tiles_folder(settings), aside)
            _move(notary_folder(settings), aside)
    return Restored(found.entries, found.epoch, found.missing, aside if aside.exists() else None)


def _move(path: Path, aside: Path) -> None:
    if path.exists():
        private_folder(aside)
        path.rename(aside / path.name)


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
        wire = await connect(server.url, "restorer", nkey=nkey, private_inbox=False)
        assert isinstance(wire, NatsWire)
        try:
            yield wire
        finally:
            await wire.close()
    finally:
        await server.stop()
        nkey.unlink(missing_ok=True)


def _read_manifest(backup: Path, settings: Settings) -> dict[str, Any]:
    """Return a backup's manifest after every file was compared with it; NotThatLog by the first that differs."""
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
    return manifest


def _chunks(backup: Path) -> Iterator[bytes]:
    with (backup / "log" / "snapshot").open("rb") as file:
        while chunk := file.read(SNAPSHOT_CHUNK_BYTES):
            yield chunk


def _copy(source: Path, target: Path) -> None:
    with storing(target):
        shutil.copytree(source, target, dirs_exist_ok=True)
