"""`artifact put`, `get`, `list`, `verify` and `archive`: content by its digest, and what the log says of it."""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.progress import Progress

from deploy.attach import operator
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from organs.artifacts import stated
from shared.artifacts import CHUNK_BYTES, ArtifactStore, checked_digest, store_of
from shared.bus import Bus
from shared.bus.bus import REQUEST_TIMEOUT_S
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.files import open_private, storing, sync_folder
from shared.subjects.artifacts import ArchiveArtifact, ArtifactArchived, ArtifactRegistered, RegisterArtifact
from shared.subjects.system import Decided
from shared.world import RealWorld

BIG_BYTES = constant(64_000_000, "bytes", "ILL-05")  # what takes long enough for a person to want to see it move
SLOW_BYTES_PER_S = constant(20_000_000, "bytes/s", "ILL-05")  # how slowly a disk may read before a command gives up

Finding = Literal["sound", "archived", "unregistered", "missing", "damaged", "differs"]


@dataclass
class Known:
    """What the log says of one digest: its newest registration, where that stands, and whether it was archived."""

    registered: ArtifactRegistered | None = None
    index: int = -1
    archived: str = ""


def put(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Store a file and have it registered; the content is there, whole and on disk, before anyone is asked."""

    async def main() -> Exit:
        store = await the_store(loaded)
        size = _size(args.file)
        artifact = await store.put(_shown(pieces_of(args.file), size, args.file.name, terminal), args.media_type)
        about = (args.holds, args.name or args.file.name, args.made_by or OPERATOR, args.parent)
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(RegisterArtifact(artifact.blake3, *about), _patience_s(artifact.size))
        return _decided(answer, msgspec.to_builtins(artifact), "registered", terminal)

    return finish(main())


def get(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write a content to a file, which appears only when every byte is verified, or to standard output."""

    async def main() -> Exit:
        store = await the_store(loaded)
        known = await store.stat(args.digest)
        content = _shown(store.open(args.digest), known.size, args.digest[:16], terminal)
        if args.out == "-":
            if terminal.as_json:
                raise ConfigFault("--out - writes the content to standard output, where --json writes; choose one")
            async for chunk in content:
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            return Exit.OK
        out = Path(args.out or args.digest)
        await _write(out, content)
        terminal.give(msgspec.to_builtins(known) | {"out": str(out)}, f"{known.size} verified bytes in {out}")
        return Exit.OK

    return finish(main())


def listing(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List what is stored or registered, and where the log registered it."""

    async def main() -> Exit:
        for digest, known, finding in await _all(loaded, terminal, whole=False):
            _show(digest, known, finding, terminal)
        return Exit.OK

    return finish(main())


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Read every byte of one artifact or of all, and compare it with its digests and with the log."""

    async def main() -> Exit:
        chosen = None if args.all or args.digest is None else checked_digest(args.digest)
        found = await _all(loaded, terminal, whole=True, only=chosen)
        for digest, known, finding in found:
            _show(digest, known, finding, terminal)
        findings = {finding for _, _, finding in found}
        if not found and chosen is not None:
            raise Refused(Refusal("S002", f"{chosen} is neither stored nor registered"))
        bad = sum(finding in ("damaged", "differs", "missing") for _, _, finding in found)
        terminal.note(f"{len(found)} artifacts read, {bad} of them not as the log says")
        if findings & {"damaged", "differs"}:
            return Exit.TAMPERED
        return Exit.INCOMPLETE if "missing" in findings else Exit.OK

    return finish(main())


def archive(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Take an artifact out of use; the log keeps the reason, and the digest remains provable."""

    async def main() -> Exit:
        known = await (await the_store(loaded)).stat(args.digest)
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(ArchiveArtifact(args.digest, args.reason), _patience_s(known.size))
        return _decided(answer, {"blake3": args.digest}, "archived", terminal)

    return finish(main())


async def the_store(loaded: Loaded) -> ArtifactStore:
    """Return the store that the settings choose, ready to be used."""
    store = store_of(loaded.settings, RealWorld(loaded.settings.env))
    await store.prepare()
    return store


def _decided(answer: object, about: dict[str, object], verb: str, terminal: Terminal) -> Exit:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, Decided)
    shown = about | {"index": answer.index, "offset": answer.offset, "proof": answer.proof}
    terminal.give(shown, f"{about['blake3']}  {verb} at ({answer.index}, {answer.offset})")
    return Exit.OK


# What is stored beside what is registered


async def _all(
    loaded: Loaded, terminal: Terminal, *, whole: bool, only: str | None = None
) -> list[tuple[str, Known, Finding]]:
    """Return each digest that the store or the log knows, with what both say of it, in order."""
    store = await the_store(loaded)
    async with operator(loaded, terminal.note) as bus:
        registered = await _registered(bus)
    stored = [digest async for digest in store.list()]
    digests = sorted({*stored, *registered}) if only is None else [only] if {only} & {*stored, *registered} else []
    out: list[tuple[str, Known, Finding]] = []
    for digest in digests:
        known = registered.get(digest, Known())
        out.append((digest, known, await _judge(store, digest, known, whole=whole)))
    return out


async def _registered(bus: Bus) -> dict[str, Known]:
    """Return what the log's admitted decisions say, by digest."""
    out: dict[str, Known] = {}
    async for verdict in bus.replay():
        for said, at in decisions_in(verdict, ArtifactRegistered, ArtifactArchived):
            known = out.setdefault(said.digest, Known())
            if isinstance(said, ArtifactRegistered):
                known.registered, known.index = said, at.index
            else:
                known.archived = said.reason
    return out


async def _judge(store: ArtifactStore, digest: str, known: Known, *, whole: bool) -> Finding:
    """Return what to say of a digest: what is stored is compared with what was registered."""
    found = await stated(store, digest, whole=whole)
    if found.state in ("missing", "damaged"):
        return "missing" if found.state == "missing" else "damaged"
    said = known.registered
    if said is None:
        return "unregistered"
    if (found.sha256, found.size_bytes, found.media_type) != (said.sha256, said.size_bytes, said.media_type):
        return "differs"
    return "archived" if found.state == "archived" else "sound"


def _show(digest: str, known: Known, finding: Finding, terminal: Terminal) -> None:
    said = known.registered
    holds, name, size = (said.holds, said.name, said.size_bytes) if said else ("-", "-", 0)
    shown: dict[str, object] = {"digest": digest, "finding": finding, "index": known.index, "archived": known.archived}
    shown["registered"] = msgspec.to_builtins(said) if said else None
    terminal.give(shown, f"{digest}  {finding:<12} {holds:<10} {size:>12}  {name}")


# Bytes


def _size(path: Path) -> int:
    if not path.is_file():
        raise ConfigFault(f"there is no file {path}; give the path of the file to store")
    return path.stat().st_size


async def pieces_of(path: Path) -> AsyncIterator[bytes]:
    """Yield a file's bytes."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def _shown(content: AsyncIterable[bytes], size: int, name: str, terminal: Terminal) -> AsyncIterator[bytes]:
    """Pass a content on; a big one moves a bar on a person's standard error."""
    quiet = terminal.as_json or size < BIG_BYTES or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(name, total=size)
        async for chunk in content:
            yield chunk
            bar.update(task, advance=len(chunk))


async def _write(out: Path, content: AsyncIterable[bytes]) -> None:
    """Write verified content beside `out` and rename it when it is whole; nothing is left if it is not."""
    draft = out.with_name(f"{out.name}.draft")
    try:
        with storing(out), os.fdopen(open_private(draft, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            async for chunk in content:
                file.write(chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        with storing(out):
            draft.replace(out)
            sync_folder(out.parent)
    finally:
        draft.unlink(missing_ok=True)


def _patience_s(size: int) -> float:
    """Return how long to wait for somebody who has to read this many bytes, in seconds."""
    return REQUEST_TIMEOUT_S + size / SLOW_BYTES_PER_S
