"""`dataset register`, `list`, `status`, `verify` and `approve`: what may teach or measure a model, and what may not."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.status import Status

from deploy.asking import UNHEARD
from deploy.attach import operator
from deploy.commands.artifact import pieces_of, the_store
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from organs.datasets.known import Known, Ledger
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, NotPermitted, Refusal, Refused
from shared.message import Reply, Request
from shared.subjects.artifacts import RegisterArtifact
from shared.subjects.datasets import (
    WEIGHTS,
    ApproveDataset,
    DatasetFacts,
    DatasetStated,
    DatasetStatus,
    DatasetVerified,
    RegisterDataset,
    Transformation,
    VerifyDataset,
)
from shared.subjects.system import Decided
from shared.version import VERSION

WHOLE_S = constant(3_600.0, "s", "ILL-03")  # how long reading a dataset again may take
PREFIX = constant(8, "digits", "ILL-03")


def register(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Put a file of lines, or weights, into the store, and have it registered as a dataset."""

    async def main() -> Exit:
        path: Path = args.file
        lines, weights = _lines(path), args.kind == WEIGHTS
        records = 1 if weights else lines
        store = await the_store(loaded)
        kept = await store.put(pieces_of(path), "application/octet-stream" if weights else "application/x-ndjson")
        facts = DatasetFacts(
            name=args.name or path.name,
            use=args.use,
            kind=args.kind,
            corpus="",
            sources=args.source,
            transformations=[Transformation(f"dataset register {VERSION}", kept.blake3)],
            licence=args.licence,
            restrictions=args.restriction,
            pii=args.pii,
            records=records,
        )
        async with operator(loaded, terminal.note) as bus:
            await ask(bus, RegisterArtifact(kept.blake3, "dataset", facts.name, OPERATOR, []))
            answer = await ask(bus, RegisterDataset(kept.blake3, kept.sha256, kept.size, facts))
        return _decided(answer, {"dataset": kept.blake3, "records": records}, "registered", terminal)

    return finish(main())


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List every dataset in the log, the oldest first."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            for dataset, known in (await in_log(bus)).items():
                facts, verified = known.registered.facts, known.verified
                word = "unverified" if verified is None else "sound" if verified.merkle_valid else "CHANGED"
                shown = {
                    "dataset": dataset,
                    "facts": msgspec.to_builtins(facts),
                    "index": known.decided.index,
                    "state": word,
                }
                line = f"{dataset[:16]}  {word:<10} {facts.use:<8} {facts.kind:<7} {facts.records:>9}"
                terminal.give(shown, f"{line}  {facts.licence:<16} {facts.name}")
        return Exit.OK

    return finish(main())


def status(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say what is known of a dataset; fails where it may not teach."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            dataset = await find(bus, args.dataset)
            stated = await ask(bus, DatasetStatus(dataset))
            known = (await in_log(bus)).get(dataset)
        assert isinstance(stated, DatasetStated)
        verified = None if known is None else known.verified
        shown = msgspec.to_builtins(stated) | {"verified": msgspec.to_builtins(verified)}
        terminal.give(shown, "\n".join(_sentences(stated, verified)))
        return Exit.FAILED if stated.blocked else Exit.OK

    return finish(main())


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Have a dataset read again, whole, and say what was found."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            dataset = await find(bus, args.dataset)
            with busy("reading every record again", terminal):
                decided = await ask(bus, VerifyDataset(dataset, args.purpose))
            assert isinstance(decided, Decided)
            [found] = [
                said
                for verdict in await bus.judged(decided.index, 1, decided.index)
                for said, at in decisions_in(verdict, DatasetVerified)
                if at.offset == decided.offset
            ]
        shown = msgspec.to_builtins(found) | {"index": decided.index, "offset": decided.offset}
        terminal.give(shown, f"{_verified(found)}; decided at ({decided.index}, {decided.offset})")
        return Exit.OK if found.merkle_valid else Exit.TAMPERED

    return finish(main())


def approve(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Approve what stands against a dataset, by name."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            dataset = await find(bus, args.dataset)
            request = ApproveDataset(dataset, args.concern, args.by or OPERATOR, args.reason)
            answer = await ask(bus, request)
        return _decided(answer, {"dataset": dataset, "concerns": args.concern}, "approved", terminal)

    return finish(main())


# What others use too


async def in_log(bus: Bus) -> dict[str, Known]:
    """Return every dataset in the log, the oldest first."""
    ledger = Ledger(bus)
    await ledger.read_on()
    return ledger.datasets


async def find(bus: Bus, named: str) -> str:
    """Return the digest of the one dataset with this name, digest or beginning of a digest. Refused D002."""
    known = await in_log(bus)
    by_name = [digest for digest, one in known.items() if one.registered.facts.name == named]
    begun = [digest for digest in known if len(named) >= PREFIX and digest.startswith(named)]
    found = begun or by_name
    if len(found) != 1:
        told = ", ".join(digest[:16] for digest in found) or "none"
        raise Refused(Refusal("D002", f"{named[:80]!r} names {told}; give a name or digest of `dataset list`"))
    return found[0]


async def ask(bus: Bus, request: Request, timeout_s: float = WHOLE_S) -> Reply:
    """Return an organ's answer. Refused, with what to do where nobody answers."""
    try:
        answer = await bus.request(request, timeout_s)
    except NotPermitted:
        answer = Refusal(UNHEARD)
    if isinstance(answer, Refusal):
        if answer.code == UNHEARD:
            raise Refused(Refusal(UNHEARD, "no organ answers; start the organism with `nimmerverse up`"))
        raise Refused(answer)
    return answer


def _decided(answer: Reply, about: Mapping[str, object], verb: str, terminal: Terminal) -> Exit:
    assert isinstance(answer, Decided)
    again = ", as before" if answer.duplicate else ""
    shown = {**about, "index": answer.index, "offset": answer.offset, "duplicate": answer.duplicate}
    terminal.give(shown, f"{about['dataset']}  {verb} at ({answer.index}, {answer.offset}){again}")
    return Exit.OK


def _sentences(stated: DatasetStated, verified: DatasetVerified | None) -> list[str]:
    facts = stated.facts
    if facts is None:
        return [f"{stated.dataset}: nobody registered it"]
    about = f"{facts.records} records of {facts.kind} to {facts.use}, licence {facts.licence}, PII {facts.pii}"
    restricted = f", {', '.join(facts.restrictions)}" if facts.restrictions else ""
    blocked = f"may not teach: {', '.join(stated.blocked)}" if stated.blocked else "may teach"
    approved = [f"approved: {', '.join(stated.approved)}"] if stated.approved else []
    read = "never read again" if verified is None else _verified(verified)
    head = f"{stated.dataset}  {facts.name}, registered at ({stated.index}, {stated.offset})"
    return [head, about + restricted, *approved, read, blocked]


def _verified(found: DatasetVerified) -> str:
    if not found.merkle_valid:
        return f"NOT what was registered: {found.detail}"
    erased = f", {found.erased} of them erased since" if found.erased else ""
    anchor = f"anchor {found.anchor}, {'enough' if found.anchored else 'not enough'} here"
    return f"{found.batches} batches and {found.records} records are as they were{erased}; {anchor}"


def _lines(path: Path) -> int:
    if not path.is_file():
        raise ConfigFault(f"there is no file {path}; give the path of a file with one record a line")
    with path.open("rb") as file:
        return sum(bool(line.strip()) for line in file)


def busy(what: str, terminal: Terminal) -> Status:
    """Return what moves on a person's standard error while something is waited for."""
    quiet = terminal.as_json or not sys.stderr.isatty()
    return Status(what, console=Console(stderr=True, quiet=quiet))
