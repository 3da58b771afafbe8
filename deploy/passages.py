"""Cutting files into passages: each one stands in its file word for word, and knows under which heading and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.constant import constant
from shared.errors import ConfigFault
from shared.subjects.memory import HEADING_CHARS, ORIGIN_CHARS, PASSAGE_BYTES, MemoryKind, Origin, Passage

FULL_BYTES = constant(700, "bytes", "BIZ-15")  # more than a sentence model reads dilutes what a passage means
MAX_FILE_BYTES = constant(4_000_000, "bytes", "X-12")
SUFFIXES = (".md", ".txt", ".rst")

Span = tuple[int, int]  #: first byte, and the byte after the last


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the text files that paths name, folders with everything below them; ConfigFault where there is none."""
    found = list[Path]()
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file() and one.suffix in SUFFIXES)
        if not inside and not path.is_file():
            raise ConfigFault(f"{path} is neither a text file nor a folder with some ({', '.join(SUFFIXES)})")
        found += inside or [path]
    return found


def read_passages(path: Path, name: str, kind: MemoryKind) -> list[Passage]:
    """Return the passages of one file, called `name`; ConfigFault where it cannot be read as text."""
    try:
        raw = path.read_bytes()[: MAX_FILE_BYTES + 1]
        raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"{path} cannot be read as text ({error})") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigFault(f"{path} has more than {MAX_FILE_BYTES} bytes; cut it into smaller files")
    return list(cut(raw, name, kind))


def cut(raw: bytes, name: str, kind: MemoryKind) -> Iterator[Passage]:
    """Yield the passages of a text: paragraphs together up to a size, every row of a table alone.

    Whatever a passage says is `raw[first:end]`, no byte more or less.
    """
    for heading, spans in _sections(raw):
        for first, end in _gathered(raw, spans):
            for start, stop in _bounded(raw, first, end):
                said = raw[start:stop].decode()
                if any(c.isalnum() for c in said):
                    origin = Origin("file", name[-ORIGIN_CHARS:], heading[:HEADING_CHARS], start, stop)
                    yield Passage(kind, said, origin, 0, 0)


def _sections(raw: bytes) -> Iterator[tuple[str, list[Span]]]:
    """Yield each section's heading, those above it before it, and the spans of its lines."""
    path, spans, fenced, at = list[tuple[int, str]](), list[Span](), False, 0
    for line in raw.splitlines(keepends=True):
        words = line.strip()
        depth = len(words) - len(words.lstrip(b"#"))
        fenced ^= words.startswith(b"```")
        if 0 < depth <= 6 and words[depth : depth + 1] == b" " and not fenced:  # noqa: PLR2004 - CommonMark's headings
            yield " › ".join(title for _, title in path), spans
            path = [*((d, title) for d, title in path if d < depth), (depth, words[depth:].strip().decode())]
            spans = []
        else:
            spans.append((at, at + len(line)))
        at += len(line)
    yield " › ".join(title for _, title in path), spans


def _gathered(raw: bytes, lines: list[Span]) -> Iterator[Span]:
    """Yield spans of paragraphs that stand together; a fence is not cut at its blank lines, a table is at each row."""
    first, end, fenced = 0, 0, False
    for (start, stop), (below, under) in zip(lines, [*lines, (0, 0)][1:], strict=True):
        line = raw[start:stop].strip()
        fence = line.startswith(b"```")
        row = line.startswith(b"|") and not fenced
        blank = not line and not fenced
        if first < end and (row or (blank and end - first >= FULL_BYTES)):
            yield first, end
            first = end
        if row:
            if not _is_rule(line) and not _is_rule(raw[below:under].strip()):  # the row above a rule names columns
                yield start, stop
            first = end = stop
        elif line or fenced:
            first, end = (first if first < end else start), stop
        fenced ^= fence
    if first < end:
        yield first, end


def _is_rule(line: bytes) -> bool:
    return line.startswith(b"|") and not set(line) - set(b"|-: ")


def _bounded(raw: bytes, first: int, end: int) -> Iterator[Span]:
    """Yield a span without the blanks around it, in pieces that a passage can hold, cut between words."""
    while first < end:
        piece = raw[first:end]
        first += len(piece) - len(piece.lstrip())
        end = first + len(piece.strip())
        stop = end
        if end - first > PASSAGE_BYTES:
            stop = first + max(raw.rfind(b" ", first, first + PASSAGE_BYTES) - first, 0) or first + PASSAGE_BYTES
            while stop > first and raw[stop : stop + 1] and raw[stop] & 0xC0 == 0x80:  # noqa: PLR2004 - within a letter
                stop -= 1
        if first < stop:
            yield first, stop
        first = stop
