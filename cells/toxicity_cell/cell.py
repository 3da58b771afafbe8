"""The toxicity cell: says how toxic a text is, by the default words.

It hears no log, so it knows of no promotion; a model that was promoted scores where `ingest` takes posts in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from cells.toxicity_cell.scorer import Scorer, default_scorer
from shared.config import Settings
from shared.constant import constant
from shared.part import Cell
from shared.subjects.toxicity import ToxicityRequest, ToxicityResponse, ToxicityWave
from shared.toxicity.measures import KEEP_PPM
from shared.world import SimWorld, World


class ToxicityCell(Cell):
    """One request in, one response and one wave out; its scorer never changes while it lives."""

    name: ClassVar[str] = "toxicity_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(100, "micro-lifeforce", "COL-02")

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    @classmethod
    def build(cls, settings: Settings, world: World) -> ToxicityCell:  # noqa: ARG003 - as declared
        return cls(default_scorer())

    @classmethod
    def simulate(cls, world: SimWorld) -> ToxicityCell:  # noqa: ARG003 - as declared
        return cls(default_scorer())

    def on_request(self, request: ToxicityRequest) -> Iterator[ToxicityResponse | ToxicityWave]:
        """Score any text; what the wave says is told from the score alone."""
        (score,) = self.scorer.scores([request.text])
        said = "toxic" if score > KEEP_PPM else "not toxic"
        yield ToxicityWave("toxicity", score, f"{said}, score {score} of 1000000", self.cost_ulf)
        yield ToxicityResponse(score, score <= KEEP_PPM, self.scorer.name)
