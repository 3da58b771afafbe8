"""What is kept how long, and what many episodes become: pure functions of rows and the World's time (BIZ-15).

Working memory is gone in minutes. An episode is kept for a quarter of a year; episodes that say the same become one
semantic passage, which quotes one of them word for word and says how many it stands for. What was to come is kept for a
day after it was due. What is so, and how it is done, stays until somebody forgets or renews it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from blake3 import blake3

from organs.memory.port import Row, cosine_ppm
from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.envelope.envelope import parse_rfc3339
from shared.subjects.gates import OutcomeJudged
from shared.subjects.memory import HEADING_CHARS, PASSAGE_BYTES, MemoryKind, Origin, Passage

WORKING_MS = constant(600_000, "ms", "BIZ-15")  # 10 minutes
WORKING_PASSAGES = constant(64, "passages", "BIZ-15")
EPISODIC_MS = constant(7_776_000_000, "ms", "BIZ-15")  # 90 days
EPISODIC_PASSAGES = constant(10_000, "passages", "BIZ-15")
PAST_DUE_MS = constant(86_400_000, "ms", "BIZ-15")  # a day
SAME_PPM = constant(900_000, "ppm", "BIZ-15")
EPISODES = constant(3, "episodes", "BIZ-15")
SETTLED_MS = constant(86_400_000, "ms", "BIZ-15")  # a day
EPISODES_AT_ONCE = constant(500, "episodes", "BIZ-15")
PASSAGE_ID_BYTES = constant(16, "bytes", "BIZ-15")
CONSOLIDATION = "consolidation"  #: the source of what episodes became

MORTAL: tuple[MemoryKind, ...] = ("working", "episodic", "prospective")  #: what time alone takes away


def id_of(passage: Passage) -> str:
    """Return a passage's id: the same words from the same place are the same passage. Nothing personal has it."""
    said = (passage.kind, passage.text, passage.origin, passage.about_ms, passage.due_ms)
    return blake3(msgspec.msgpack.encode(said)).digest(length=PASSAGE_ID_BYTES).hex()


def expired(rows: Iterable[Row], now_ms: int) -> list[str]:
    """Return the ids of what is kept no longer, in order: too old, or beyond how many its kind may have."""
    rows = list(rows)
    gone = {row.id for row in rows if _until_ms(row) <= now_ms}
    for kind, most in (("working", WORKING_PASSAGES), ("episodic", EPISODIC_PASSAGES)):
        newest = sorted((row for row in rows if row.kind == kind and row.id not in gone), key=_age, reverse=True)
        gone.update(row.id for row in newest[most:])
    return sorted(gone)


def consolidated(rows: Iterable[Row], now_ms: int) -> tuple[Row, list[str]] | None:
    """Return one semantic passage and the episodes it takes the place of; None where no episodes say the same.

    Episodes are of the same source and a day old; one about a person stands for itself alone.
    """
    settled = [row for row in rows if row.kind == "episodic" and row.sealed is None]
    settled = sorted((row for row in settled if row.about_ms + SETTLED_MS <= now_ms), key=_age)[:EPISODES_AT_ONCE]
    for first in settled:
        alike = [row for row in settled if row.source == first.source and _same(row, first)]
        if len(alike) >= EPISODES:
            return _standing_for(alike), sorted(row.id for row in alike)
    return None


def _until_ms(row: Row) -> int:
    match row.kind:
        case "working":
            return row.about_ms + WORKING_MS
        case "episodic":
            return row.about_ms + EPISODIC_MS
        case "prospective":
            return row.due_ms + PAST_DUE_MS
        case _:
            return 2**63


def _age(row: Row) -> tuple[int, str]:
    return row.about_ms, row.id


def _same(a: Row, b: Row) -> bool:
    return a.embedder == b.embedder and cosine_ppm(a.vector, b.vector) >= SAME_PPM


def _standing_for(alike: Sequence[Row]) -> Row:
    """Return the episode nearest to all the others as a semantic passage: its words, its origin, and their number."""
    middle = max(alike, key=lambda row: (sum(cosine_ppm(row.vector, other.vector) for other in alike), row.id))
    heard = sum(row.heard for row in alike)
    said = Passage("semantic", middle.text, middle.origin, middle.about_ms, 0)
    return msgspec.structs.replace(middle, id=id_of(said), kind="semantic", source=CONSOLIDATION, heard=heard)


def episodes_of(verdict: Verdict) -> list[Passage]:
    """Return what an entry of the log tells as episodes: what became of a signal, with its position (NIM-18)."""
    if verdict.sealed is None:
        return []
    part, told_ms = verdict.sealed.attributes.source, parse_rfc3339(verdict.sealed.attributes.time)
    found = list[Passage]()
    for judged, at in decisions_in(verdict, OutcomeJudged):
        text = f"{judged.domain}: {judged.outcome}; expected {judged.expected}, found {judged.found}. {judged.content}"
        origin = Origin("log", part, judged.domain[:HEADING_CHARS], at.index, at.offset)
        found.append(Passage("episodic", _first_bytes(text, PASSAGE_BYTES), origin, told_ms, 0))
    return found


def _first_bytes(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
