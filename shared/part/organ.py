"""An organ acts: it alone touches the world, and only through the ports given to its constructor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import ClassVar, Protocol

from shared.bus.bucket import Bucket
from shared.envelope import KeyBook, Verdict
from shared.errors import KeyFault, Refusal
from shared.keys import RemoteSigner, Signer
from shared.log.entry import Entry
from shared.message import Reply, Request
from shared.part.declare import Garden, Handler, Part, PartKind, methods, read_handler


class Log(Protocol):
    """Whatever can replay the log from its beginning, every entry judged, or go on from where its reader is."""

    def replay(self) -> AsyncIterator[Verdict]: ...


class JudgedLog(Log, Protocol):
    """A log that can also be read on from where its reader is."""

    async def judged(self, start: int, limit: int, known: int = -1) -> list[Verdict]:
        """Return up to `limit` entries from index `start` on, as a reader that follows the log judges them.

        `known` is an index that the caller knows to be stored, from elsewhere than this log.
        """
        ...


class Asking(Protocol):
    """Whatever can ask another part: the bus that an organ is handed, for the classes in the organ's `asks`."""

    async def request(self, request: Request, timeout_s: float = ...) -> Reply | Refusal:
        """Return the declared reply, or the refusal, B006 where nobody answers. Raises NotPermitted, Unreachable."""
        ...


class AskingLog(JudgedLog, Asking, Protocol):
    """The log, and a way to ask other parts."""


class OwnLog(AskingLog, Protocol):
    """The log as an organ is handed it: also raw, and with the keys by which the organ speaks."""

    @property
    def env(self) -> str: ...

    @property
    def signers(self) -> Sequence[Signer | RemoteSigner]: ...

    async def entries(self, start: int, known: int = -1) -> list[Entry]:
        """Return what is stored from index `start` on, as much as one reading gives; nothing is judged."""
        ...

    def bucket(self, name: str) -> Bucket:
        """Return a bucket of the environment, which the organ names among its `buckets`."""
        ...

    async def newest(self, known: int = -1) -> Entry | None:
        """Return the last stored entry, which is not before `known`."""
        ...

    async def keys_until(self, index: int) -> KeyBook:
        """Return the keys as the log knows them up to an index."""
        ...


class Organ(Part):
    """Subclass it and write `async def on_*` handlers that return a list of messages, a Refusal, or None.

    A handler that hears a decision class, or `Verdict` for the whole log, is driven by a durable consumer: it runs at
    least once per entry, in order, and a retryable Fault brings the entry back. A handler of a decision class may take
    the decision's `Position` in the log as its second argument.
    """

    kind: ClassVar[PartKind] = "organ"
    garden: ClassVar[Garden] = "real"

    def handlers(self) -> list[Handler]:
        return [read_handler(call, name) for name, call in methods(self)]

    def workers(self) -> Collection[int]:
        """Return the processes that work for this organ now, by their ids: what they use is what it costs."""
        return ()

    async def open(self, log: OwnLog) -> None:
        """Acquire what the ports need; called once before the first message. `log` can be replayed at any time."""

    async def close(self) -> None:
        """Release what `open` acquired."""


def own_key(log: OwnLog) -> Signer:
    """Return the organ's own key, for an organ that signs more than decisions; KeyFault where it is held elsewhere."""
    (signer,) = log.signers
    if isinstance(signer, RemoteSigner):
        raise KeyFault("the signing proxy signs decisions alone: keep the key of this organ here, or on a token")
    return signer
