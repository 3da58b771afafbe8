"""`audit bundle`, `verifier`, `prove`, `check-proof`, `diff`, `export`: what can be taken out of a log and shown."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from blake3 import blake3

from deploy.commands.audit import source_of
from deploy.commands.task import finish
from deploy.terminal import Terminal
from organs.anchor.checkpoint import checkpoint_proofs
from organs.notary.ports import tiles_folder
from shared.audit import BundleSource, FolderSource, Options, Report, Snapshot, verify, write_bundle
from shared.audit.bundle import VERIFIER
from shared.audit.cose import receipt
from shared.audit.diff import Difference, difference
from shared.audit.evidence import Evidence, entries_of, events_of, evidence_of, signed_tree
from shared.audit.evidence import check_proof as check_proof_file
from shared.audit.export import dsse, in_toto, in_toto_of_bundle, prov
from shared.config import Loaded
from shared.envelope import Verdict, covers
from shared.envelope.keybook import NOTARY_PART
from shared.errors import ConfigFault, Exit, KeyFault, Refusal, Refused
from shared.files import open_private, storing
from shared.home import place
from shared.keys import Keyring, obtain
from shared.log.checkpoint import open_checkpoint
from shared.log.note import BadNote
from shared.log.store import FolderTiles
from shared.message import lane_of
from shared.settings import Settings
from shared.subjects.keys import KEYS_LANE
from shared.world import RealWorld


def bundle(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write a log, or chosen entries of it, into one file that anybody can check."""
    with _tiles(args.source, loaded.settings) as source:
        chosen = _Chosen(args.event, args.subject)
        report = finish(verify(source, Options(take=chosen.take)))
        if not (report.integrity.ok and report.completeness.ok) and not args.as_found:
            terminal.note("  " + "\n  ".join(report.lines()))
            why = f"this log does not verify: {report.integrity.detail or report.completeness.detail}"
            raise Refused(Refusal("B012", f"{why}; --as-found bundles it nevertheless"))
        indices = chosen.indices(report) if args.event or args.subject else None
        with _replacing(args.out) as file:
            manifest = write_bundle(file, source.tiles, report, _anchors(loaded.settings), indices)
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    verifier = _digests(VERIFIER.read_bytes())
    told = {
        "bundle": str(args.out),
        "sha256": digest,
        "kind": manifest.kind,
        "entries": manifest.size if indices is None else len(indices),
        "members": len(manifest.members) + 1,
        "origin": manifest.origin,
        "size": manifest.size,
        "fingerprint": manifest.fingerprint,
        "log_key": report.log_key,
        "verifier": verifier,
        "sound": report.integrity.ok and report.completeness.ok,
    }
    lines = [
        f"{args.out}: {told['entries']} of {manifest.size} entries of {manifest.origin}, {told['members']} members",
        f"  sha256       {digest}",
        f"  fingerprint  {manifest.fingerprint}  (tell it by other means than this file)",
        f"  verify.py    blake3 {verifier['blake3']}",
        f"               sha256 {verifier['sha256']}",
        "to check: `nimmerverse audit verifier > verify.py`, `pip install blake3 pynacl`, and",
        f"  python verify.py {args.out.name} --trust {manifest.fingerprint or 'FINGERPRINT'}",
    ]
    if manifest.kind == "partial":
        lines.append("a partial bundle: it cannot show what is between its entries, nor a later key event")
    terminal.give(told, "\n".join(lines))
    return Exit.OK


def verifier(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the stand-alone verifier, and its digests beside it."""
    raw = VERIFIER.read_bytes()
    digests = _digests(raw)
    if terminal.as_json:
        terminal.give({"verifier": raw.decode(), **digests})
    else:
        sys.stdout.write(raw.decode())
        terminal.note(f"blake3 {digests['blake3']}\nsha256 {digests['sha256']}")
    return Exit.OK


def prove(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write the proof that an event is in the log, with the entry itself."""
    with _tiles(args.source, loaded.settings) as source:
        found = evidence_of(source.tiles, args.event)
    _out(args.out, str(found.proof).encode(), terminal, {"index": found.entry.index, "proof": str(found.proof)})
    return Exit.OK


def check_proof(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Check a proof file offline."""
    try:
        raw = args.file.read_bytes()
    except OSError as error:
        raise ConfigFault(f"{args.file} cannot be read ({error.strerror})") from None
    report = check_proof_file(raw, str(args.file), args.trust, args.log_key)
    terminal.give(report.as_json(), "\n".join(report.lines()))
    return report.exit


def diff(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say where two logs part."""

    async def compared() -> Difference:
        async with source_of(args.a, loaded) as a, source_of(args.b, loaded) as b:
            return await difference(a, b)

    found = finish(compared())
    terminal.give({"exit": int(found.exit), **msgspec.to_builtins(found)}, "\n".join(found.lines()))
    return found.exit


def export(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Write an event, or a log, in another world's format."""
    if args.format == "cose":
        with _tiles(args.source, loaded.settings) as source:
            raw = _receipt(evidence_of(source.tiles, args.what), loaded.settings)
        _out(args.out, raw, terminal, {"receipt": raw})
        return Exit.OK
    if args.format == "in-toto" and Path(args.what).is_file():
        told = in_toto_of_bundle(Path(args.what))
    else:
        with _tiles(args.source, loaded.settings) as source:
            told = _exported(args.format, source, args.what)
    _out(args.out, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode(), terminal, told)
    return Exit.OK


def _exported(kind: str, source: FolderSource, what: str) -> dict[str, Any]:
    if kind == "prov":
        tiles, checkpoint, _ = signed_tree(source.tiles)
        if "." not in what and what != ">":
            return prov([evidence_of(source.tiles, what).entry], checkpoint.origin)
        return prov((entry for entry in entries_of(tiles) if _matches(what, entry.subject)), checkpoint.origin)
    writers: dict[str, Callable[..., dict[str, Any]]] = {"dsse": dsse, "in-toto": in_toto}
    return writers[kind](evidence_of(source.tiles, what))


def _receipt(evidence: Evidence, settings: Settings) -> bytes:
    """Sign a receipt with the log's key of this data folder. KeyFault where that is not the key of the checkpoint."""
    world = RealWorld(settings.env)
    folder = place(settings) / "keys"
    if not folder.exists():
        raise KeyFault(
            f"there is no keyring in {folder}: a receipt is signed by the log's own key, where the notary is"
        )
    passphrase = obtain(settings.passphrase_path, settings.passphrase_credential, world.entropy)
    signer = Keyring.unlock(folder, passphrase).signer(NOTARY_PART)
    checkpoint = evidence.checkpoint
    try:
        open_checkpoint(evidence.proof.note, signer.public)
    except BadNote as bad:
        raise KeyFault(
            f"the key of this data folder did not sign this log, so it signs no receipt of it: {bad}"
        ) from None
    return receipt(evidence.proof, checkpoint.size, checkpoint.root, signer)


@contextmanager
def _tiles(path: Path | None, settings: Settings) -> Generator[FolderSource]:
    """Yield the tiles in a folder or a bundle, or the notary's own of these settings; no server is needed."""
    folder = tiles_folder(settings) if path is None else path
    if not folder.exists():
        raise ConfigFault(f"there is no {folder}: the notary makes it as it signs; or give a log folder or a bundle")
    if folder.is_dir():
        yield FolderSource(Snapshot(FolderTiles(folder)), str(folder))
        return
    source = BundleSource(folder)
    try:
        yield source
    finally:
        source.close()


class _Chosen:
    """Which entries a partial bundle holds: events by position or id, subjects by pattern, and the key lane."""

    def __init__(self, events: list[str], patterns: list[str]) -> None:
        self.events, self.patterns = set(events), patterns
        self.found: set[int] = set()
        self.met: set[str] = set()

    def take(self, verdict: Verdict) -> None:
        """Look at one entry."""
        entry = verdict.entry
        if not self.events and not self.patterns:
            return
        said = events_of(entry)
        names = {str(entry.index), *(event.id.hex() for event in (said[1] if said else ()))} & self.events
        self.met |= names
        env = entry.subject.partition(".")[0]
        of_keys = lane_of(entry.subject) == KEYS_LANE.format(env=env)
        if names or of_keys or any(_matches(pattern, entry.subject) for pattern in self.patterns):
            self.found.add(entry.index)

    def indices(self, report: Report) -> list[int]:
        """Return the chosen indices. Refused B013 where one is not under the checkpoint."""
        if unknown := sorted(self.events - self.met):
            raise Refused(Refusal("B013", f"{unknown[0]} is not among the {report.signed} entries that are signed"))
        return sorted(self.found)


def _matches(pattern: str, subject: str) -> bool:
    """Say whether a pattern, with or without its environment, covers a subject."""
    return covers(pattern, subject) or covers(f"{subject.partition('.')[0]}.{pattern}", subject)


def _anchors(settings: Settings) -> list[tuple[str, bytes]]:
    return [(f"anchors/{name}", proof) for name, proof in checkpoint_proofs(settings)]


@contextmanager
def _replacing(path: Path) -> Generator[BinaryIO]:
    """Yield a draft that takes the file's place once it is whole, and is gone where it fails."""
    draft = path.absolute().with_name(path.name + ".draft")
    descriptor = open_private(draft, os.O_WRONLY | os.O_TRUNC)
    try:
        with storing(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with storing(path):
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _out(path: Path | None, raw: bytes, terminal: Terminal, told: object) -> None:
    """Write a result into a file, or to standard output as it is."""
    if path is not None:
        with _replacing(path) as file:
            file.write(raw)
    if terminal.as_json:
        terminal.give(told)
    elif path is None:
        sys.stdout.buffer.write(raw)
        sys.stdout.flush()


def _digests(raw: bytes) -> dict[str, str]:
    return {"blake3": blake3(raw).hexdigest(), "sha256": hashlib.sha256(raw).hexdigest()}
