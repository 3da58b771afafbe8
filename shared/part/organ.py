"""An organ acts: it alone touches the world, and only through the ports given to its constructor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar, Protocol

from shared.envelope import Verdict
from shared.part.declare import Handler, Part, PartKind, methods, read_handler


class Log(Protocol):
    """Whatever can replay the log from its beginning, every entry judged."""

    def replay(self) -> AsyncIterator[Verdict]: ...


class Organ(Part):
    """Subclass it and write `async def on_*` handlers that return a list of messages, a Refusal, or None.

    A handler that hears a decision class, or `Verdict` for the whole log, is driven by a durable consumer: it runs at
    least once per entry, in order, and a retryable Fault brings the entry back. A handler of a decision class may take
    the decision's `Position` in the log as its second argument.
    """

    kind: ClassVar[PartKind] = "organ"

    def handlers(self) -> list[Handler]:
        return [read_handler(call, name) for name, call in methods(self)]

    async def open(self, log: Log) -> None:
        """Acquire what the ports need; called once before the first message. `log` can be replayed at any time."""

    async def close(self) -> None:
        """Release what `open` acquired."""
