"""`audit …`: checking a log, from the bus or from files, and what can be taken out of it."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.attach import reader
from deploy.backup import back_up
from deploy.commands.task import finish
from deploy.restore import restore as go_back
from deploy.terminal import Terminal
from organs.notary.ports import FolderShelf
from shared.audit import BundleSource, FolderSource, LiveSource, Options, Report, Snapshot, Source, verify_bundle
from shared.audit import verify as verify_log
from shared.config import Loaded
from shared.errors import ConfigFault, Exit
from shared.files import write_private
from shared.log.checkpoint import Checkpoint
from shared.log.note import BadNote, Note, NoteKey
from shared.log.store import FolderTiles
from shared.world import RealWorld


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Check a log and print what was found; the exit code is the verdict."""
    world = RealWorld(loaded.settings.env)
    options = Options(
        trust=args.trust,
        mode=args.mode,
        against=tuple(_checkpoint(path) for path in args.against),
        now_s=world.now_ns() // 1_000_000_000,
        max_age_s=None if args.max_age is None else int(args.max_age),
        witnesses=tuple(_witness(text) for text in args.witness),
        quorum=args.quorum,
        known_void=frozenset(args.known_void),
        jobs=args.jobs or os.cpu_count() or 1,
        progress=_telling(terminal),
    )
    report = finish(_verified(args.source, loaded, options, args.state))
    terminal.give(report.as_json(), "\n".join(report.lines()))
    return report.exit


def backup(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write a backup and say what is in it."""
    made = finish(back_up(loaded, args.folder.absolute()))
    told = {"folder": str(made.folder), "entries": made.entries, "signed": made.signed, "bytes": made.bytes}
    text = (
        f"{made.folder}: {made.entries} entries, {made.signed} of them signed, {made.bytes // 1024} KiB. "
        "The passphrase is not in it: keep it somewhere else. Keys of persons never are."
    )
    terminal.give(told, text)
    return Exit.OK


def restore(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Put a backup in the log's place, or go on after a loss."""
    folder = None if args.folder is None else args.folder.absolute()
    done = finish(go_back(loaded, folder, args.reason, args.checkpoint))
    told = {"entries": done.entries, "epoch": done.epoch, "missing": done.missing, "kept": str(done.kept or "")}
    lost = (
        f"entries {done.missing[0]} to {done.missing[1]} are named as missing" if done.missing else "nothing is missing"
    )
    kept = f"; what was replaced lies in {done.kept}" if done.kept else ""
    notes = ""
    if done.unknown:
        notes += (
            "\nwhat followed the backup is unknown, more than that may be missing: if a witness or an auditor has a "
            "checkpoint, give the same command again with --checkpoint FILE before the next start"
        )
    if done.unread:
        notes += f"\nthe replaced log could not be read, what it held unsigned is not named: {done.unread}"
    text = f"the log goes on with {done.entries} entries in epoch {done.epoch}; {lost}{kept}{notes}"
    terminal.give(told | {"unknown": done.unknown, "unread": done.unread}, text)
    return Exit.OK


@asynccontextmanager
async def source_of(path: Path | None, loaded: Loaded) -> AsyncGenerator[Source]:
    """Yield the log in a folder or a bundle, or the live one of these settings."""
    if path is not None:
        source = _stored(path)
        try:
            yield source
        finally:
            if isinstance(source, BundleSource):
                source.close()
        return
    async with reader(loaded) as bus:
        shelf = FolderShelf.of(loaded.settings)
        remembered = shelf.recall()
        kept = [] if remembered is None else [remembered.encode()]
        yield LiveSource(bus.entries, f"the bus of {loaded.settings.env}", shelf.tiles, kept)


def _stored(path: Path) -> Source:
    if not path.exists():
        raise ConfigFault(f"there is no {path}; give a log folder or a bundle, or nothing for the live log")
    return FolderSource(Snapshot(FolderTiles(path)), str(path)) if path.is_dir() else BundleSource(path)


def _is_file(path: Path) -> bool:
    return path.is_file()


async def _verified(path: Path | None, loaded: Loaded, options: Options, state: Path | None) -> Report:
    known = _State.read(state)
    if path is not None and _is_file(path):
        report = await verify_bundle(path, known.applied(options))
    else:
        async with source_of(path, loaded) as source:
            report = await verify_log(source, known.applied(options))
    known.keep(state, report, options)
    return report


class _State:
    """What an earlier run has proven: so many entries, under this root, of this genesis."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    @classmethod
    def read(cls, path: Path | None) -> _State:
        """Return what the file says; nothing where there is none."""
        if path is None or not path.exists():
            return cls({})
        try:
            told = json.loads(path.read_text())
            checkpoint, size = str(told["checkpoint"]), int(told["size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigFault(f"{path} is no audit state ({error}); remove it, and the log is checked anew") from None
        return cls({"checkpoint": checkpoint, "size": size, "mode": told.get("mode")})

    def applied(self, options: Options) -> Options:
        """Return options that skip the signatures proven before, and hold the log to the checkpoint of that time."""
        if not self.told:
            return options
        kept = (*options.against, self.told["checkpoint"].encode())
        skip = self.told["size"] if self.told["mode"] == options.mode else 0
        return replace(options, against=kept, skip_signatures_below=skip)

    def keep(self, path: Path | None, report: Report, options: Options) -> None:
        """Write what is proven now; a log with any objection but an unknown signer is not."""
        if path is None or report.note is None or report.exit not in (Exit.OK, Exit.UNKNOWN_SIGNER):
            return
        told = {"checkpoint": report.note, "size": report.signed, "mode": options.mode}
        write_private(path.absolute(), json.dumps(told, indent=2) + "\n")


def _telling(terminal: Terminal) -> Callable[[int, int], None]:
    """Return what tells people how far a long check has come."""
    told = 0

    def progress(done: int, of: int) -> None:
        nonlocal told
        if done - told >= 20_000:  # noqa: PLR2004 - a line now and then
            told = done
            terminal.note(f"  {done} of {max(of, done)} entries checked …")

    return progress


def _witness(text: str) -> NoteKey:
    try:
        return NoteKey.parse(text)
    except BadNote as bad:
        raise ConfigFault(f"--witness: {bad}; expected name+id+key, as a witness prints it") from None


def _checkpoint(path: Path) -> bytes:
    raw = _bytes(path)
    try:
        Checkpoint.parse(Note.parse(raw).text)
    except BadNote as bad:
        raise ConfigFault(f"{path} is no checkpoint ({bad}); nothing is held against it") from None
    return raw


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror})") from None
