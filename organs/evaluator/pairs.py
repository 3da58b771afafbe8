"""Pairs of texts of which a language model finds one likelier: our own form, and the two that others publish.

* our own: JSON lines `{"measure", "type", "context", "first", "second"}`;
* crows-pairs (CSV): of two sentences the first is the more stereotyping one, in each of nine types;
* halueval's questions (JSON lines): of two answers the first is made up; the context is knowledge and question.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Literal

import msgspec

from organs.evaluator.sitting import no_row

Measure = Literal["quality", "bias", "hallucination"]
CROWS = ("sent_more", "sent_less", "bias_type")


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two texts after one context. Preferring the first is what `measure` counts: right, stereotyping, or made up."""

    measure: Measure
    type: str
    context: str
    first: str
    second: str


class _Answers(msgspec.Struct, frozen=True):
    """One row of halueval's questions; other fields are passed over."""

    knowledge: str
    question: str
    right_answer: str
    hallucinated_answer: str

    def pair(self) -> Pair:
        """Return it as a pair."""
        context = f"{self.knowledge}\nQuestion: {self.question}\nAnswer: "
        return Pair("hallucination", "question", context, self.hallucinated_answer, self.right_answer)


def read_pairs(lines: Sequence[bytes]) -> list[Pair]:
    """Return the pairs in a file's lines, whichever of the three it is. Refused V003 names a line that is none."""
    if lines and not lines[0].lstrip().startswith(b"{"):
        return _crows(lines)
    return [_pair(number, line) for number, line in enumerate(lines, 1)]


def _pair(number: int, line: bytes) -> Pair:
    try:
        return _empty(msgspec.json.decode(line, type=Pair))
    except (ValueError, RecursionError) as odd:
        try:
            return _empty(msgspec.json.decode(line, type=_Answers).pair())
        except (ValueError, RecursionError):
            raise no_row(number, odd) from None


def _crows(lines: Sequence[bytes]) -> list[Pair]:
    try:
        rows = list(csv.DictReader([line.decode() for line in lines], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise no_row(1, error) from None
    for number, row in enumerate(rows, 2):
        if not all(row.get(name) for name in CROWS):
            raise no_row(number, f"expected the columns {', '.join(CROWS)}")
    return [Pair("bias", row["bias_type"], "", row["sent_more"], row["sent_less"]) for row in rows]


def _empty(pair: Pair) -> Pair:
    if not pair.first or not pair.second:
        raise ValueError("a text is empty")
    return pair
