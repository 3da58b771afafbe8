"""The wire under the bus: raw subjects and bytes, streams and durable consumers. One protocol, two implementations.

`NatsWire` speaks to a real server, `SimWire` to a simulated one in the same process. Everything above (envelopes,
lanes, admission, dead letters) is written once, in `bus.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.log.entry import Entry
from shared.message import encode_token

INBOX = constant("_INBOX", "subject prefix", "X-09")
PRIVATE_INBOX = constant("_INBOX_P", "subject prefix", "X-09")
#: Where whoever answers may publish. A reply subject outside is never written to, whatever a caller names: the server's
#: own `allow_responses` would let a part write anywhere by naming a reply subject to itself.
INBOXES = (f"{INBOX}.>", f"{PRIVATE_INBOX}.>")
Kept = Literal["traces", "transitions"]  #: the streams of a part's own signals
READ_BATCH = constant(500, "entries", "X-04")


class Delivery(msgspec.Struct, frozen=True):
    """One message as it arrived: nothing about it is trusted yet. `reply` is empty when no answer is wanted."""

    subject: str
    data: bytes
    headers: Mapping[str, str] = {}
    reply: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """How a durable delivery ended: done, again after a delay, or never again."""

    kind: Literal["ack", "nak", "term"]
    delay_s: float = 0.0


class Moved(Refused):
    """B007: an append or a swap met another newest index than `last`. `to` is that index, -1 for none."""

    def __init__(self, what: str, last: int, to: int) -> None:
        super().__init__(Refusal("B007", f"{what} moved past {last}: it ends at {to}"))
        self.to = to


Sink = Callable[[Delivery], None]
Consumer = Callable[[Entry, int], Awaitable[Outcome]]
"""Called with an entry and how often it was delivered (1 first)."""


class Subscription(Protocol):
    """Something that keeps receiving until closed."""

    async def close(self) -> None: ...


class Wire(Protocol):
    """A connection of one identity. Every call ends: a result, a Refused, or a Fault."""

    @property
    def connected(self) -> bool: ...

    @property
    def replicated(self) -> bool:
        """Whether several servers may keep a stream, so that the one that answers a reading may be behind."""
        ...

    def inbox(self) -> str:
        """Return a fresh subject under this identity's private inbox."""
        ...

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send at most once. NotPermitted when the server refused this subject before, Unreachable without a link."""
        ...

    async def confirm(self, subject: str) -> None:
        """Return when the server has judged what was published so far; NotPermitted if it refused `subject`."""
        ...

    async def subscribe(self, pattern: str, sink: Sink, queue: str = "") -> Subscription:
        """Receive what matches; NotPermitted when the server refuses the pattern."""
        ...

    async def request(self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float) -> Delivery:
        """Return the answer. Refused B006 when nobody listens or answers in time; NotPermitted; Unreachable."""
        ...

    async def append(self, batch: Sequence[tuple[str, bytes]], lane: str, last: int, timeout_s: float) -> int:
        """Store all or none if the lane's last index is `last`; return the last entry's index.

        Raises Moved when the lane moved, Unresolved when no answer came, NotPermitted, StorageFault.
        """
        ...

    async def read(self, stream: str, start: int, pattern: str = "", limit: int = READ_BATCH) -> list[Entry]:
        """Return up to `limit` stored entries from index `start` on, in order, only those matching `pattern`."""
        ...

    async def last(self, stream: str, pattern: str) -> Entry | None:
        """Return the newest stored entry that matches, or None."""
        ...

    async def horizon(self, stream: str, pattern: str, start: int) -> tuple[int, int]:
        """Return the newest matching index from `start` on, -1 for none, and the last index of whoever answers.

        Both are from one answer, so it proves that nothing else matches. (-1, -1) where nothing ever matched.
        """
        ...

    async def swap(self, subject: str, data: bytes, last: int, timeout_s: float) -> int:
        """Store a key's value if its newest index is `last`, -1 for none; empty data deletes. Return the new index.

        Raises Moved when the key moved, Unresolved when no answer came, NotPermitted, Unreachable, StorageFault.
        """
        ...

    async def consume(self, stream: str, durable: str, consumer: Consumer) -> Subscription:
        """Receive a durable consumer's entries with explicit acknowledgement, across reconnects."""
        ...

    async def close(self) -> None:
        """Finish what is in flight and disconnect."""
        ...


def inbox_prefix(identity: str) -> str:
    """Return the subject under which `identity` alone may hear its answers; no two identities share one."""
    return f"{PRIVATE_INBOX}.{encode_token(identity)}"


def stream_name(kind: Literal["log", "dead", "outcomes", Kept], env: str, part: str = "") -> str:
    """Return a JetStream stream's name: LOG_dev and DEAD_dev of an environment, TRACES_dev_math_cell of a part."""
    return f"{kind.upper()}_{env}" + (f"_{part}" if part else "")
