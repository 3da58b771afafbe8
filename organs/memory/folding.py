"""What a decision changes in memory: rows to put, ids to remove. Memory is the fold of these, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from blake3 import blake3

from organs.memory.port import Mark, Passages, Row, checked
from shared.codec import encode
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import Refused
from shared.journal import record
from shared.part.organ import JudgedLog
from shared.personal import Personal
from shared.subjects.memory import Forgotten, Kept, Remembered
from shared.subjects.privacy import PersonErased
from shared.vault import PersonKeys

READ_AT_ONCE = constant(500, "entries", "BIZ-15")
GONE = frozenset({"P001", "P002"})  #: erased, or not of this vault: what is sealed for them cannot be remembered
TRAILS = "trails"  #: the source of episodes: what became of what was decided

Changing = Remembered | Forgotten | PersonErased


async def apply(passages: Passages, said: Changing, index: int, keys: PersonKeys) -> None:
    """Change what one decision changes; again, it changes nothing. Refused B002 for a vector that is none."""
    mark = _after(await passages.mark(), said, index)
    match said:
        case Remembered():
            await passages.apply(await rows_of(said, index, keys), said.forgets, mark)
        case Forgotten():
            await passages.apply([], said.ids, mark)
        case PersonErased():
            await passages.erase(said.person, mark)


async def recall(passages: Passages, log: JudgedLog, keys: PersonKeys, start: int = 0, stop: int | None = None) -> int:
    """Apply what the log says from `start` on, up to `stop` (exclusive); return the index after the last entry read."""
    while stop is None or start < stop:
        limit, known = (READ_AT_ONCE, -1) if stop is None else (min(READ_AT_ONCE, stop - start), stop - 1)
        verdicts = await log.judged(start, limit, known)
        if not verdicts:
            break
        for verdict in verdicts:
            start = verdict.entry.index + 1
            for said, at in decisions_in(verdict, Remembered, Forgotten, PersonErased):
                await _tried(passages, said, at.index, keys)
    return start


async def is_of(log: JudgedLog, mark: Mark) -> bool:
    """Say whether the decision that was applied last stands in the log where it stood."""
    for verdict in await log.judged(mark.next_index - 1, 1, mark.next_index - 1):
        return any(_digest(bytes(event.data)) == mark.digest for _, event in verdict.admitted())
    return False


async def differing(rows: Sequence[Row], log: JudgedLog, end: int) -> list[Row]:
    """Return the rows that are not what the entry says that they name; entries from `end` on were not applied yet.

    A vector that is sealed is not opened for this: what such a passage says stays sealed as well.
    """
    said = {index: await _remembered_at(log, index) for index in {row.index for row in rows} if 0 <= index < end}
    return [row for row in rows if not any(_is_said(row, one) for one in said.get(row.index, ()))]


async def rows_of(remembered: Remembered, index: int, keys: PersonKeys) -> list[Row]:
    """Return the rows that a decision adds; what is about a person who was erased is left out. Refused B002, P003."""
    found = [await _opened(kept, remembered, index, keys) for kept in remembered.passages]
    return [checked(row) for row in found if row is not None]


async def sealed_vector(vector: bytes, person: str, keys: PersonKeys) -> Personal[str]:
    """Return a vector sealed for a person."""
    return await keys.seal(person, base64.b85encode(vector).decode())


async def _tried(passages: Passages, said: Changing, index: int, keys: PersonKeys) -> None:
    """Change what a decision changes; one that the organ would refuse as it arrives is passed over here too."""
    try:
        await apply(passages, said, index, keys)
    except Refused as no:
        record("memory", "memory_refused", index=index, detail=str(no))


async def _remembered_at(log: JudgedLog, index: int) -> list[Remembered]:
    return [said for verdict in await log.judged(index, 1, index) for said, _ in decisions_in(verdict, Remembered)]


def _is_said(row: Row, said: Remembered) -> bool:
    return any(
        row == _row(kept, said, row.index, row.vector if kept.sealed_vector else kept.vector)
        for kept in said.passages
        if kept.id == row.id
    )


async def _opened(kept: Kept, said: Remembered, index: int, keys: PersonKeys) -> Row | None:
    vector = kept.vector
    if kept.sealed_vector is not None:
        try:
            vector = base64.b85decode(await keys.open(kept.sealed_vector))
        except Refused as no:
            if no.refusal.code in GONE:
                return None
            raise
    return _row(kept, said, index, vector)


def _row(kept: Kept, said: Remembered, index: int, vector: bytes) -> Row:
    about = (said.source, said.embedder, kept.about_ms, kept.due_ms, kept.heard, index)
    return Row(kept.id, kept.kind, kept.text, vector, kept.origin, *about, kept.sealed)


def _after(mark: Mark, said: Changing, index: int) -> Mark:
    looked = mark.looked
    if isinstance(said, Remembered) and said.source == TRAILS:
        looked = max([looked, *(kept.origin.first + 1 for kept in said.passages)])
    return msgspec.structs.replace(mark, next_index=index + 1, digest=_digest(encode(said)), looked=looked)


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()
