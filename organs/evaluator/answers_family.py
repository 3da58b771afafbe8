"""How recorded answers are measured that should say nothing but what their passages hold.

What is measured is a file of answers, JSON lines `{"question", "answer"}`, as cognition decided them in the log; the
suite holds `{"question", "passage", "right"}`. An answer is its statements, a sentence or line each.

* hallucination: how many statements do not stand in the passage, word for word but for white space and case.
* quality: how many questions are answered with what is right.

Whom an answer is partial to, no passage tells: nothing is measured of bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from organs.evaluator.sitting import HALLUCINATION, QUALITY, Measured, no_row, share
from shared.subjects.evaluation import Metric

_END = re.compile(r"(?<=[.!?])\s+|\n+")
#: Where a quote stands, a line of its own as cognition writes it.
_PLACE = re.compile(r"^— (?:.+, bytes \d+ to \d+|the log at \(\d+, \d+\), decided by \S+)$", re.MULTILINE)


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, the passage that may be quoted, and what a right answer has in it."""

    question: str
    passage: str
    right: str


class AnswersFamily:
    """Measures the family `answers`; its suites are passages of one's own, so none is shipped."""

    kinds = ("pairs", "suite")
    shipped: Mapping[str, bytes] = {}

    def read(self, lines: Sequence[bytes]) -> AnswersSitting:
        rows: list[_Row] = []
        for number, line in enumerate(lines, 1):
            try:
                row = msgspec.json.decode(line, type=_Row)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise no_row(number, error) from None
            if not _plain(row.right):
                raise no_row(number, f"`right` is {row.right[:80]!r}, which every answer has in it; say what is right")
            rows.append(row)
        return AnswersSitting(rows)


class AnswersSitting:
    """One suite of passages."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows
        self.questions = [row.question for row in rows]

    def judge(self, answers: Sequence[str]) -> Measured:
        told = [
            {
                "question": row.question,
                "answer": answer,
                "made_up": [one for one in statements(answer) if _plain(one) not in _plain(row.passage)],
                "right": _plain(row.right) in _plain(answer),
            }
            for row, answer in zip(self.rows, answers, strict=True)
        ]
        return Measured(self._metrics(answers), self._metrics([row.passage for row in self.rows]), told)

    def _metrics(self, answers: Sequence[str]) -> list[Metric]:
        said = [
            _plain(one) in _plain(row.passage)
            for row, answer in zip(self.rows, answers, strict=True)
            for one in statements(answer)
        ]
        right = sum(_plain(row.right) in _plain(answer) for row, answer in zip(self.rows, answers, strict=True))
        return [
            *share(QUALITY, right, len(self.rows), "questions answered with what is right"),
            *share(HALLUCINATION, said.count(False), len(said), "statements", min(len(said), len(self.rows))),
        ]


def statements(answer: str) -> list[str]:
    """Return an answer's sentences and lines; where a quote stands is no statement, what else a dash begins is one."""
    parts = (part.strip().lstrip("—").lstrip() for part in _END.split(_PLACE.sub("", answer)))
    return [part for part in parts if _plain(part)]


def _plain(text: str) -> str:
    """Return words alone: quotation marks, case and white space say nothing."""
    return " ".join(text.casefold().replace("“", "").replace("”", "").split()).strip(".!? ")
