"""Two logs beside each other: where they part, and whether the log's own key signed both sides of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from shared.audit.evidence import events_of
from shared.audit.reading import Options
from shared.audit.report import Report
from shared.audit.source import Source
from shared.audit.verify import verify
from shared.envelope import Verdict, leaf_of
from shared.errors import Exit
from shared.log.entry import Entry


@dataclass(frozen=True, slots=True)
class Difference:
    """How two logs relate; `index` is the first entry that is not the same in both, None where one only goes on."""

    exit: Exit
    sentence: str
    sizes: tuple[int, int]
    index: int | None = None
    sides: tuple[dict[str, Any] | None, dict[str, Any] | None] = (None, None)

    def lines(self) -> list[str]:
        """Return it for people, the two entries under each other."""
        told = [self.sentence]
        for name, side in zip("AB", self.sides, strict=True):
            if side is not None:
                told += [f"  {name}: {field:<9} {value}" for field, value in side.items()]
        return told


async def difference(a: Source, b: Source) -> Difference:
    """Compare two logs entry by entry. FORKED where the log's key signed both, at sizes that hold the difference."""
    ours, theirs = list[Entry](), list[Entry]()
    first = await _read(a, ours)
    second = await _read(b, theirs)
    sizes = (len(ours), len(theirs))
    both = zip(ours, theirs, strict=False)
    at = next((x.index for x, y in both if x.index != y.index or leaf_of(x) != leaf_of(y)), None)
    if at is None:
        return _no_difference(a, b, first, second, sizes)
    sides = (shown(ours[at]), shown(theirs[at]))
    if first.fingerprint != second.fingerprint:
        why = f"these are two logs: genesis {first.fingerprint or '-'} and {second.fingerprint or '-'}"
        return Difference(Exit.MIXED, why, sizes, at, sides)
    if _signed(first, at) and _signed(second, at):
        why = f"forked at entry {at}: the log's key signed {first.signed} entries of A and {second.signed} of B"
        return Difference(Exit.FORKED, why, sizes, at, sides)
    unsigned = [name for name, report in (("A", first), ("B", second)) if not _signed(report, at)]
    why = f"they differ at entry {at}; of {' and '.join(unsigned)} it is not signed"
    return Difference(Exit.TAMPERED, why, sizes, at, sides)


def shown(entry: Entry) -> dict[str, Any]:
    """Return an entry decoded for people."""
    said = events_of(entry)
    told: dict[str, Any] = {"index": entry.index, "subject": entry.subject, "time_ns": entry.time_ns}
    if said is None:
        return {**told, "bytes": entry.raw.hex()}
    sealed, events = said
    keys = [signature.k for signature in sealed.signatures]
    decoded = [
        {"id": event.id.hex(), "cause": event.cause.hex(), "data": msgspec.msgpack.decode(event.data)}
        for event in events
    ]
    return {**told, "source": sealed.attributes.source, "signed by": keys, "events": decoded}


async def _read(source: Source, entries: list[Entry]) -> Report:
    """Read a log's entries into a list, and return what a check of its links says."""

    def take(verdict: Verdict) -> None:
        entries.append(verdict.entry)

    return await verify(source, Options(mode="signatures", take=take))


def _signed(report: Report, index: int) -> bool:
    return report.note is not None and report.integrity.ok and index < report.signed


def _no_difference(a: Source, b: Source, first: Report, second: Report, sizes: tuple[int, int]) -> Difference:
    broken = next((report for report in (first, second) if not (report.integrity.ok and report.completeness.ok)), None)
    if broken is not None:
        why = f"as far as both can be read ({min(sizes)} entries) they are the same, but {broken.source} is not sound: "
        return Difference(broken.exit, why + (broken.integrity.detail or broken.completeness.detail), sizes)
    if sizes[0] == sizes[1]:
        return Difference(Exit.OK, f"the same {sizes[0]} entries", sizes)
    short, long = (a, b) if sizes[0] < sizes[1] else (b, a)
    why = f"{short.name} is the beginning of {long.name}: {min(sizes)} entries, then {abs(sizes[0] - sizes[1])} more"
    return Difference(Exit.OK, why, sizes)
