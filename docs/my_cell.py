"""A cell that feels whether a text is shouting."""

from collections.abc import Iterator

from shared.message import Reply, Request, Wave
from shared.part import Cell


class ShoutReply(Reply, subject="demo.cells.shout.response"):
    shouting: bool


class ShoutRequest(Request, subject="demo.cells.shout.request", reply=ShoutReply):
    text: str


class ShoutWave(Wave, subject="demo.cells.shout.wave"):
    """How much of a text is written in capitals."""


class ShoutCell(Cell):
    name, version = "shout_cell", "1.0.0"

    def on_request(self, request: ShoutRequest) -> Iterator[ShoutReply | ShoutWave]:
        ppm = 1_000_000 * sum(c.isupper() for c in request.text) // max(len(request.text), 1)
        yield ShoutWave("shouting", ppm, request.text, cost_ulf=1_000)
        yield ShoutReply(ppm > 500_000)
