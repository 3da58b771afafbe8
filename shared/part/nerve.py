"""A nerve decides from its state and a bounded window of signals, and records the evidence of every decision.

State changes only by evolving on its own admitted decisions; the window is working memory, lost in a crash. Because a
decision carries the canonical bytes of everything `decide` read, anyone can run `decide` again and compare.
"""

from __future__ import annotations

import typing
from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import msgspec

from shared.codec import decode, encode
from shared.errors import Refusal
from shared.log.entry import Position
from shared.message import Decision, Message
from shared.part.declare import Handler, Part, PartKind, read_handler
from shared.settings import Settings
from shared.world import SimWorld, World

S = TypeVar("S", bound=msgspec.Struct)
W = TypeVar("W", bound=msgspec.Struct)

Decide = tuple[W, list[Message] | Refusal]


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a decision rests on, complete: the window before, the message, the time, and digests of what else was read.

    The state is not here: it is the fold of the lane up to the decision's `prev`.
    """

    window: bytes
    template: str  #: the message's subject, without the environment
    message: bytes
    message_id: bytes
    now_ms: int
    digests: dict[str, str]


class Nerve(Part, Generic[S, W]):
    """Subclass it with a state and a window struct, and write `evolve` and `decide`.

    The annotation of decide's message is the subscription, the messages in its return annotation the publication.
    """

    kind: ClassVar[PartKind] = "nerve"
    remembers: ClassVar[bool] = False  #: whether a Tick is about all it ever decided about, not what has a window alone

    @abstractmethod
    def entity(self, message: Any) -> str | None:  # noqa: ANN401 - the subclass names its messages
        """Return the entity (the lane) a message concerns, or None when it concerns nobody."""

    @abstractmethod
    def evolve(self, state: S, decision: Any) -> S:  # noqa: ANN401 - the subclass names its messages
        """Return the state after one admitted decision of this nerve."""

    @abstractmethod
    def decide(self, state: S, window: W, message: Any, now_ms: int) -> Any:  # noqa: ANN401 - the subclass names its messages
        """Return (window after, messages) or (window after, Refusal). Pure: reads nothing but its arguments."""

    def acted(self, window: W, urgent: Sequence[Any], now_ms: int) -> W:
        """Return the window after urgent signals went out and before their decision is logged.

        Another decision may take its place on the lane; override this to remember what is still owed to the log.
        """
        return window

    def placed(self, window: W, at: Position) -> W:
        """Return the window in which a decision is heard that stands in the log at `at`.

        Override it where the nerve writes down where its evidence stands; what `decide` returns is the window after.
        """
        return window

    def about(self, entity: str) -> Self:
        """Return the nerve as it was when it decided about an entity; override it where it knows one of them by itself.

        Who runs a decision again does so on another machine, where the nerve would be built for another site.
        """
        return self

    def handlers(self) -> list[Handler]:
        return [read_handler(self.decide, "decide", parameter=2)]

    def start(self) -> S:
        """Return the state of an entity nobody has decided about."""
        return cast("S", _argument(type(self), 0)())

    def empty(self) -> W:
        """Return a window that has seen nothing."""
        return cast("W", _argument(type(self), 1)())

    def evidence(self, window: W, message: Message, message_id: bytes, now_ms: int) -> bytes:
        """Return the canonical bytes of what one call of `decide` reads."""
        return encode(Evidence(encode(window), message.template, encode(message), message_id, now_ms, self.digests()))

    def decide_again(self, state: S, raw: bytes, heard: dict[str, type[Message]]) -> list[bytes]:
        """Run `decide` again from recorded evidence; return the bytes of the decisions it makes now, in order."""
        evidence = decode(Evidence, raw)
        window = decode(cast("type[W]", _argument(type(self), 1)), evidence.window)
        message = decode(heard[evidence.template], evidence.message)
        _, messages = self.decide(state, window, message, evidence.now_ms)
        return [] if isinstance(messages, Refusal) else [encode(m) for m in messages if isinstance(m, Decision)]


class SiteNerve(Nerve[S, W]):
    """A nerve of one site: not all that it hears names one, and then it is about its own."""

    def __init__(self, site: str) -> None:
        self.site = site

    @classmethod
    def build(cls, settings: Settings, world: World) -> Self:  # noqa: ARG003 - as declared
        return cls(settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> Self:  # noqa: ARG003 - as declared
        return cls("here")

    def again(self, world: SimWorld) -> Self:
        return type(self)(self.site)

    def about(self, entity: str) -> Self:
        return type(self)(entity)


@cache
def _argument(cls: type[Any], place: int) -> type[Any]:
    """Return the class given for state (0) or window (1) in `class X(Nerve[State, Window])`."""
    for base in getattr(cls, "__orig_bases__", ()):
        if issubclass(typing.get_origin(base) or object, Nerve):
            return typing.get_args(base)[place]
    return _argument(cls.__mro__[1], place)
