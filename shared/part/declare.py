"""What a part declares by its annotations: what it hears, what it says, and as which identity.

The annotation of a handler's message is the subscription, its return annotation the publication. Everything else
(subscriptions, permissions, durable consumers, subjects.md) derives from this.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union

from shared.bus.bucket import bucket_permissions
from shared.bus.wire import inbox_prefix, stream_name
from shared.envelope import Verdict
from shared.errors import Refusal
from shared.log.entry import Position
from shared.message import AnyWave, Decision, DeclarationError, Message, Reply, Request, Signal
from shared.settings import Settings
from shared.subjects.signing import SignRequest
from shared.subjects.system import DeadLetter, Decided, Handshake, Heartbeat, LifeforceTold, Tick
from shared.world import SimWorld, World

if TYPE_CHECKING:  # metrics are read off runners, and a runner runs parts
    from shared.part.metrics import Declared

PartKind = Literal["cell", "nerve", "organ"]
Garden = Literal["virtual", "real"]
TIERS: dict[PartKind, int] = {"cell": 1, "nerve": 2, "organ": 3}

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Part:
    """Base of cells, nerves and organs: a name that is one subject token, a version, a declared cost per message."""

    kind: ClassVar[PartKind]
    name: ClassVar[str]
    version: ClassVar[str]
    garden: ClassVar[Garden] = "virtual"  #: where it lives: exploring, or acting on what was verified (NIM-08)
    cost_ulf: ClassVar[int] = 0  #: declared lifeforce per message, in millionths; measured besides
    asks: ClassVar[tuple[type[Request], ...]] = ()  #: what an organ asks other parts, beside what its handlers say
    rests: ClassVar[bool] = False  #: whether it takes nothing while there is no lifeforce; what keeps safe never does
    buckets: ClassVar[tuple[str, ...]] = ()  #: the key-value buckets that an organ reads and writes
    holds_key: ClassVar[bool] = False  #: whether it signs something besides decisions, and so always needs its key
    metrics: ClassVar[tuple[Declared, ...]] = ()  #: what it alone can tell, beside what every part does
    unchecked: ClassVar[Mapping[str, str]] = {}  #: generic checks this part is excused from, each with its reason

    @classmethod
    def build(cls, settings: Settings, world: World) -> Part:  # noqa: ARG003 - for those with ports
        """Return the part with its real adapters; override it where the constructor takes ports."""
        return cls()

    @classmethod
    def simulate(cls, world: SimWorld) -> Part:  # noqa: ARG003 - for those with ports
        """Return the part with its simulated adapters; override it where the constructor takes ports."""
        return cls()

    def again(self, world: SimWorld) -> Part:
        """Return the part as a simulated crash leaves it; override it where an adapter outlives the process."""
        return self.simulate(world)

    @abstractmethod
    def handlers(self) -> list[Handler]:
        """Return the part's handlers in name order."""

    def digests(self) -> dict[str, str]:
        """Return the digests of immutable resources that decisions rest on, by name."""
        return {}


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler: its name, the classes it hears and the classes it may say."""

    name: str
    hears: tuple[type[Any], ...]
    says: tuple[type[Any], ...]
    call: Callable[..., Any]
    placed: bool = False  #: whether it also takes the Position of the decision that it hears


@dataclass(frozen=True, slots=True)
class Declaration:
    """A part as the steward sees it, in one environment."""

    name: str
    kind: PartKind
    version: str
    hears: tuple[type[Message], ...]
    says: tuple[type[Message], ...]
    whole_log: bool
    garden: Garden
    rests: bool
    asks: tuple[type[Request], ...] = ()
    buckets: tuple[str, ...] = ()

    def publish(self, env: str) -> list[str]:
        """Return the subjects it may publish to: its own, what it asks, its durable, its buckets, reading the log."""
        log = stream_name("log", env)
        own = [cls.pattern(env) for cls in (*self.says, *self.asks) if not issubclass(cls, Decision)]
        own += [cls.signing_pattern(env, self.name) for cls in self.decides()]
        own += [
            Heartbeat.pattern(env).replace("*", self.name),
            DeadLetter.pattern(env).replace("*", self.name),
            Handshake.pattern(env),
        ]
        own += [f"$JS.API.DIRECT.GET.{log}", f"$JS.API.DIRECT.GET.{log}.>"]
        own += [subject for name in self.buckets for subject in bucket_permissions(name, env)]
        if self.decides():  # by proxy too, but only in its own name
            own += [SignRequest.pattern(env).replace("*", self.name)]
        if self.consumers(env):
            own += [f"$JS.API.CONSUMER.MSG.NEXT.{log}.{self.name}", f"$JS.ACK.{log}.{self.name}.>"]
        return sorted(own)

    def subscribe(self, env: str) -> list[str]:
        """Return the patterns this part may receive: its inputs, discovery, and its private inbox."""
        own = [cls.pattern(env) for cls in self.hears if not issubclass(cls, Tick | Decision)]
        own += [LifeforceTold.pattern(env)] if self.rests else []
        return sorted([*own, "$SRV.*", f"$SRV.*.{self.name}", f"$SRV.*.{self.name}.*", f"{inbox_prefix(self.name)}.>"])

    def consumers(self, env: str) -> dict[str, list[str]]:
        """Return the durable consumer this part needs on the log, with its filters."""
        if self.whole_log:
            return {self.name: [f"{env}.>"]}
        heard = [cls.pattern(env) for cls in self.hears if issubclass(cls, Decision)]
        return {self.name: sorted(heard)} if heard else {}

    def traces(self, env: str) -> list[str]:
        """Return the subjects of its own that a trace stream keeps for seven days (NIM-08).

        In the virtual garden that is everything it says, in the real one nothing: there only transitions are kept, and
        the outcomes that stand in the log.
        """
        if self.garden == "real":
            return []
        own = [cls.pattern(env) for cls in self.says if is_traced(cls)]
        return sorted([*own, Heartbeat.pattern(env).replace("*", self.name)])

    def transitions(self, env: str) -> list[str]:
        """Return the subjects of its signals that are kept for a day, whatever garden it lives in."""
        return sorted(cls.pattern(env) for cls in self.says if cls.stream == "transitions")

    def decides(self) -> tuple[type[Decision], ...]:
        """Return the decision classes this part's key may sign."""
        return tuple(cls for cls in self.says if issubclass(cls, Decision))


def is_traced(cls: type[Message]) -> bool:
    """Say whether a message of the virtual garden is kept as a trace.

    Decisions are not, the log holds them; turns are not, they have a stream; what may hold personal data is kept by
    nobody; `Decided` and what is asked for have no one part that says them, and one subject is kept by one stream.
    """
    return issubclass(cls, Signal | Reply) and cls is not Decided and cls.stream is None and not cls.confidential


def declaration(part: Part) -> Declaration:
    """Read a part's declaration off its handlers; DeclarationError says what is missing or contradicts."""
    cls = type(part)
    where = f"{cls.__module__}.{cls.__qualname__}"
    for attribute in ("name", "version"):
        if not isinstance(getattr(cls, attribute, None), str):
            raise DeclarationError(f"{where} declares no `{attribute}`")
    if not NAME.fullmatch(cls.name):
        raise DeclarationError(f"{where}: name {cls.name!r} is not one token of lower-case letters, digits, '_' or '-'")
    handlers = part.handlers()
    if not handlers:
        raise DeclarationError(f"{where} has no handler; write `def on_something(self, message: …)`")
    _check_hearing(cls, where, [heard for handler in handlers for heard in handler.hears])
    heard = {c.template: c for h in handlers for c in h.hears if issubclass(c, Message)}
    said = {c.template: c for h in handlers for c in h.says if issubclass(c, Message)}
    for request in [c for c in heard.values() if issubclass(c, Request)]:
        assert request.reply is not None
        said.setdefault(request.reply.template, request.reply)
    _check_deciding(cls, where, [c for c in said.values() if issubclass(c, Decision)])
    if cls.asks and cls.kind != "organ":
        raise DeclarationError(
            f"{where}: a {cls.kind} asks nobody, it declares {cls.asks[0].__name__}; organs alone ask"
        )
    if cls.buckets and cls.kind != "organ":
        raise DeclarationError(f"{where}: a {cls.kind} keeps nothing, it declares the bucket {cls.buckets[0]}")
    whole_log = any(c is Verdict for h in handlers for c in h.hears)
    said_and_heard = tuple(heard.values()), tuple(said.values())
    lives = cls.garden, cls.rests
    return Declaration(cls.name, cls.kind, cls.version, *said_and_heard, whole_log, *lives, cls.asks, cls.buckets)


def _check_hearing(cls: type[Part], where: str, heard: list[type[Any]]) -> None:
    """Refuse a class that two handlers hear, one of them deaf, and what a part of this kind cannot hear."""
    for c in heard:
        if heard.count(c) > 1:
            raise DeclarationError(f"{where}: two handlers hear {c.__name__}; one of them would never be called")
        if cls.kind == "nerve" and issubclass(c, Message) and c.confidential:
            raise DeclarationError(f"{where}: a nerve keeps what it heard as evidence, it cannot hear {c.__name__}")
        if cls.kind == "cell" and issubclass(c, Decision):
            raise DeclarationError(f"{where}: a cell cannot hear {c.__name__}; nerves and organs are driven by the log")
        if cls.kind != "organ" and issubclass(c, Verdict):
            raise DeclarationError(f"{where}: a {cls.kind} cannot hear the whole log; organs alone can")
        if cls.kind == "nerve" and issubclass(c, AnyWave):
            raise DeclarationError(f"{where}: a nerve decides from typed evidence; it hears WaveFelt, not any wave")


def _check_deciding(cls: type[Part], where: str, decided: list[type[Decision]]) -> None:
    """Refuse decisions of anything but a nerve or an organ, and a nerve's decisions on more than one kind of lane."""
    if decided and cls.kind == "cell":
        raise DeclarationError(f"{where}: a cell decides nothing, it may not say {decided[0].__name__}")
    if cls.kind == "nerve" and len({c.tokens[:2] for c in decided}) > 1:
        stems = sorted({".".join(c.tokens[:2]) for c in decided})
        raise DeclarationError(f"{where}: a nerve decides on the lanes of one service, found {', '.join(stems)}")


def read_handler(call: Callable[..., Any], name: str, parameter: int = 0) -> Handler:
    """Return a handler from a bound method, its message the parameter at `parameter`."""
    try:
        hints = _hints(getattr(call, "__func__", call))
    except NameError as error:
        raise DeclarationError(
            f"{call.__qualname__}: {error}; what annotates a handler is imported at run time"
        ) from None
    names = list(inspect.signature(call).parameters)
    if len(names) <= parameter or names[parameter] not in hints:
        raise DeclarationError(f"{call.__qualname__}: annotate the message it hears")
    says = tuple(c for c in _classes(hints.get("return")) if issubclass(c, Message))
    hears = tuple(c for c in _classes(hints[names[parameter]]) if issubclass(c, Message | Verdict))
    if not hears:
        raise DeclarationError(f"{call.__qualname__}: {names[parameter]} is not annotated with a message class")
    placed = names[parameter + 1 :] != [] and hints.get(names[parameter + 1]) is Position
    if placed and not all(issubclass(c, Decision) for c in hears):
        raise DeclarationError(f"{call.__qualname__}: only a decision has a Position in the log")
    return Handler(name, hears, says, call, placed)


def methods(part: Part, prefix: str = "on_") -> list[tuple[str, Callable[..., Any]]]:
    """Return the part's bound methods whose names begin with `prefix`, in name order."""
    return [(n, getattr(part, n)) for n in sorted(dir(part)) if n.startswith(prefix) and callable(getattr(part, n))]


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(function)


def _classes(annotation: object) -> list[type[Any]]:
    """Return every class an annotation mentions, through unions, iterators, lists and tuples."""
    if annotation is None or annotation is type(None) or annotation is Refusal:
        return []
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType) or origin is not None:
        return [cls for item in typing.get_args(annotation) for cls in _classes(item)]
    return [annotation] if isinstance(annotation, type) else []
