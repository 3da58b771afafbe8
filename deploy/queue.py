"""Proposals in files: one JSON object a line, `{"proposal": id, "facts": {…}}`, read whole and checked first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.consensus import objections
from shared.errors import ConfigFault, Refusal, Refused
from shared.files import write_private
from shared.subjects.consensus import ProposalFacts


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One proposal in a file."""

    proposal: str
    facts: ProposalFacts


def problems(raw: bytes) -> tuple[Line | None, list[str]]:
    """Return the proposal in a line where it can be read, and what is wrong with it."""
    try:
        line = msgspec.json.decode(raw, type=Line)
    except (msgspec.DecodeError, ValueError) as error:
        return None, [str(error)]
    return line, objections(line.proposal, line.facts)


def read_queue(path: Path) -> list[Line]:
    """Return the proposals in a file. Refused G002 with every line that is not valid, G003 for an id given twice."""
    lines, wrong = list[Line](), list[str]()
    for number, raw in enumerate(_lines(path), 1):
        line, found = problems(raw)
        wrong += [f"line {number}: {what}" for what in found]
        lines += [] if line is None else [line]
    if wrong:
        raise Refused(Refusal("G002", f"{path}: {'; '.join(wrong)}"))
    seen: dict[str, Line] = {}
    for line in lines:
        if line.proposal in seen:
            raise Refused(Refusal("G003", f"{path} has the proposal {line.proposal} twice"))
        seen[line.proposal] = line
    if not lines:
        raise ConfigFault(f"{path} holds no proposal; each line is one JSON object")
    return lines


def check_lines(path: Path) -> list[tuple[int, str, list[str]]]:
    """Return the number, the id and the problems of each line."""
    out: list[tuple[int, str, list[str]]] = []
    for number, raw in enumerate(_lines(path), 1):
        line, found = problems(raw)
        out.append((number, line.proposal if line is not None else "-", found))
    return out


def write_queue(path: Path, lines: Iterable[Line]) -> int:
    """Write proposals into a file, which appears whole; return how many there are."""
    rows = [msgspec.json.encode(line).decode() + "\n" for line in lines]
    write_private(path, "".join(rows))
    return len(rows)


def _lines(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}): give the path of a JSONL file") from error
