"""Toxicity: how toxic a text is, by which model, and whether a text like that is kept (COL-02)."""

from __future__ import annotations

from shared.message import Ppm, Reply, Request, Wave


class ToxicityResponse(Reply, subject="nervous.cells.toxicity.response", confidential=True):
    """A text's toxicity, and whether a corpus keeps such a text."""

    score_ppm: Ppm
    keep: bool  #: the score is at most 0.30
    scorer: str  #: name, version and digest of the model


class ToxicityRequest(Request, subject="nervous.cells.toxicity.request", reply=ToxicityResponse, confidential=True):
    """A text of any kind; it may be personal, so neither the text nor the answer is kept."""

    text: str


class ToxicityWave(Wave, subject="nervous.cells.toxicity.wave"):
    """How sure the cell is that it read something toxic; of the text it says nothing."""
