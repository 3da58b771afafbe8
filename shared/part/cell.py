"""A cell: a pure function of one message. No await, no clock, no state; it does not know who listens."""

from __future__ import annotations

from typing import ClassVar

from shared.part.declare import Handler, Part, PartKind, methods, read_handler


class Cell(Part):
    """Subclass it, give it a name and a version, and write `on_*` generators.

    The annotation of the message is the subscription, the annotation of what is yielded the publication:

        def on_request(self, request: MathRequest) -> Iterator[MathResponse | MathWave]: …

    A Refusal may be yielded in place of a reply. A sensing cell hears `Tick` and reads a synchronous port given to its
    constructor.
    """

    kind: ClassVar[PartKind] = "cell"

    def handlers(self) -> list[Handler]:
        return [read_handler(call, name) for name, call in methods(self)]
