"""A message class is its subject: the payload's declaration gives subject, kind, stream and schema, once.

    class MathWave(Wave, subject="nervous.cells.math.wave"):
        text: str

`subject` is written without the environment; tokens in braces are fields of the message, encoded so that any text makes
one subject token. Five bases give the kind: Signal (and Wave), Request, Reply, Decision.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, dataclass_transform

import msgspec

from shared.constant import constant
from shared.declaration import (
    EVENT_TOKEN,
    MAX_MESSAGE_BYTES,
    DeclarationError,
    Kind,
    Stream,
    check_kept,
    check_place,
    check_types,
    described,
    is_event,
    overlap,
)

MAX_ENTITY_CHARS = constant(128, "characters", "X-01")
SUBJECTS_KNOWN = constant(4_096, "subjects", "X-12")

MESSAGE_ID_BYTES = constant(16, "bytes", "BIZ-01")
MessageId = Annotated[bytes, msgspec.Meta(min_length=MESSAGE_ID_BYTES, max_length=MESSAGE_ID_BYTES)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]  #: a share, in millionths
MAX_DOMAIN_CHARS = constant(64, "characters", "NIM-03")
Domain = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DOMAIN_CHARS)]  #: what a wave is about, in a word
Cost = Annotated[int, msgspec.Meta(ge=0)]  #: in millionths of a lifeforce

_SUBJECT = re.compile(r"[a-z][a-z0-9_-]*(\.([a-z0-9_-]+|\{[a-z_]+\})){2,}")
_ENV = re.compile(r"[a-z][a-z0-9_-]*")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class _MessageMeta(msgspec.StructMeta):
    """Takes the declaration's keywords off before msgspec builds the struct, then registers the class."""

    def __new__(  # noqa: PLR0913 - a declaration's keywords, each with its default
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        subject: str | None = None,
        stream: Stream | None = None,
        reply: type[Reply] | None = None,
        requires_scores: bool = False,
        owners: int = 1,
        ttl_ms: int | None = None,
        confidential: bool = False,
        urgent: bool = False,
        by_parts: bool = False,
        max_bytes: int | None = None,
        **options: Any,  # noqa: ANN401 - msgspec's own keywords
    ) -> type:
        options.setdefault("frozen", True)
        options.setdefault("forbid_unknown_fields", True)
        cls = super().__new__(mcls, name, bases, namespace, **options)
        if subject is not None:
            declared: Any = cls
            declared.template, declared.tokens = subject, tuple(subject.split("."))
            declared.stream = "log" if declared.kind == "decision" else stream
            declared.reply, declared.requires_scores, declared.owners = reply, requires_scores, owners
            declared.confidential, declared.urgent, declared.by_parts = confidential, urgent, by_parts
            if ttl_ms is not None:
                declared.ttl_ms = ttl_ms
            if max_bytes is not None:
                declared.max_bytes = max_bytes
            _register(declared)
        return cls


class Message(msgspec.Struct, metaclass=_MessageMeta):
    """Base of everything on the bus: a frozen, typed struct that forbids unknown fields."""

    template: ClassVar[str] = ""
    tokens: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[Kind]
    stream: ClassVar[Stream | None] = None
    reply: ClassVar[type[Reply] | None] = None
    requires_scores: ClassVar[bool] = False
    owners: ClassVar[int] = 1
    ttl_ms: ClassVar[int] = constant(60_000, "ms", "BIZ-01")
    max_bytes: ClassVar[int] = MAX_MESSAGE_BYTES  #: only what is asked and answered may be larger, and is never kept
    has_float: ClassVar[bool] = False
    confidential: ClassVar[bool] = False  #: carries personal data in the open: never kept, quoted or dead-lettered
    urgent: ClassVar[bool] = False  #: a signal that a nerve sends before what it decides is logged
    by_parts: ClassVar[bool] = False  #: a request that parts alone make: the operator may not

    def subject(self, env: str) -> str:
        """Return the full subject of this message in `env`."""
        return f"{env}." + ".".join(
            encode_token(str(getattr(self, token[1:-1]))) if token[0] == "{" else token for token in self.tokens
        )

    @classmethod
    def pattern(cls, env: str) -> str:
        """Return the subscription that receives every message of this class in `env`."""
        return f"{env}." + ".".join("*" if token[0] == "{" else token for token in cls.tokens)


class Signal(Message):
    """An ephemeral message: at most once; kept for a week if its part lives in the virtual garden (NIM-08).

    `stream="transitions"` says that it tells of a turn: it is then kept for a day, whoever says it.
    """

    kind: ClassVar[Kind] = "signal"


class AnyWave(Signal):
    """Any wave of any cell, by what all waves have: an organ that hears this hears every wave of its environment.

    It has no subject of its own; the runner makes it of what arrives, also of classes that this process does not know.
    """

    template: ClassVar[str] = "*.*.*.wave"
    tokens: ClassVar[tuple[str, ...]] = ("*", "*", "*", "wave")

    source: str  #: its subject without environment and `.wave`; the server lets nobody else publish there
    wave_id: MessageId
    taken_ms: int  #: by its header, or when it came
    domain: Domain
    confidence_ppm: Ppm
    content: str
    cost_ulf: Cost
    polarity: Literal[-1, 1] = 1
    direction_cdeg: int | None = None
    beat: int = 0


class _Felt(Signal, kw_only=True, omit_defaults=True):
    """What a wave says besides its meaning, in fields of their own: a cosine cannot tell a thing from its opposite.

    What is as usual is not written, so a wave from before these fields is still read, and its decisions run again.
    """

    polarity: Literal[-1, 1] = 1  #: -1 says that what the domain names is *not* so
    direction_cdeg: int | None = None  #: where, in hundredths of a degree clockwise from straight ahead
    beat: int = 0  #: of the cell's own clock; 0 where it answered a message


class Wave(_Felt):
    """What a cell feels: a domain, a confidence and a meaning, with what it cost to feel it (NIM-03).

    Its subject is `domain.service.detail.wave`; without the last token it names the wave's *source*.
    """

    domain: Domain
    confidence_ppm: Ppm
    content: str
    cost_ulf: Cost


class AnyWaveFields(msgspec.Struct, frozen=True):
    """What every wave has, in whatever order; other fields are its class's own."""

    domain: Domain
    confidence_ppm: Ppm
    content: str
    cost_ulf: Cost
    polarity: Literal[-1, 1] = 1
    direction_cdeg: int | None = None
    beat: int = 0


class Request(Message):
    """A question to one part; answered by its declared reply or a typed refusal."""

    kind: ClassVar[Kind] = "request"


class Reply(Message):
    """The answer to a request; also published on its own subject for whoever listens."""

    kind: ClassVar[Kind] = "reply"


class PlacedReply(Reply, kw_only=True):
    """A nerve's reply that also says where its decision stands; its runner writes that in once the log has it."""

    index: int = -1
    offset: int = -1


class Decision(Message):
    """A persisted event: signed, appended to the log, true only when acknowledged and admitted. Integers only."""

    kind: ClassVar[Kind] = "decision"
    own_lane: ClassVar[bool] = False  #: whether its lane is that of whoever signs it, and nobody may sign on another's

    @classmethod
    def signing_pattern(cls, env: str, signer: str) -> str:
        """Return the pattern that a key needs to sign this: any entity's lane, or the signer's alone."""
        pattern = cls.pattern(env)
        return pattern.replace("*", encode_token(signer)) if cls.own_lane else pattern

    @classmethod
    def entity_field(cls) -> str:
        """Return the name of the field that chooses the lane."""
        return cls.tokens[3][1:-1]

    def lane(self, env: str) -> str:
        """Return the lane `{env}.{domain}.{service}.event.{entity}` this decision is appended to."""
        return self.subject(env).rsplit(".", 1)[0]

    @classmethod
    def lane_about(cls, env: str, entity: str) -> str:
        """Return the lane of the decisions of this class about an entity."""
        return ".".join((env, *cls.tokens[:2], EVENT_TOKEN, encode_token(entity)))


_REGISTRY: dict[str, type[Message]] = {}
_BY_SHAPE: dict[tuple[str, ...], type[Message]] = {}


def registered() -> dict[str, type[Message]]:
    """Return every declared class by its template, in subject order."""
    return dict(sorted(_REGISTRY.items()))


def lookup(subject: str) -> type[Message] | None:
    """Return the class whose declaration matches a full subject (environment included), or None."""
    return _find(subject.partition(".")[2])


@lru_cache(SUBJECTS_KNOWN)
def _find(subject: str) -> type[Message] | None:
    """Return the class of a subject without its environment; asked for every message, so answers are kept."""
    tokens = tuple(subject.split("."))
    found = _BY_SHAPE.get(tokens)
    if found is None and is_event(tokens):
        found = _BY_SHAPE.get((tokens[0], tokens[1], EVENT_TOKEN, "*", tokens[4]))
    if found is None:
        found = next((cls for shape, cls in _BY_SHAPE.items() if "*" in shape and overlap(shape, tokens)), None)
    return found


def is_wave(subject: str) -> bool:
    """Say whether a full subject is shaped like a wave's: env.domain.service.detail.wave."""
    tokens = subject.split(".")
    return len(tokens) == len(AnyWave.tokens) + 1 and tokens[-1] == AnyWave.tokens[-1]


def lane_of(subject: str) -> str | None:
    """Return the lane of a decision's full subject, or None when it is not shaped like one."""
    return subject.rsplit(".", 1)[0] if is_event(tuple(subject.split(".")[1:])) else None


def check_env(env: str) -> str:
    """Return `env` if it is one lower-case subject token, else raise DeclarationError."""
    if not _ENV.fullmatch(env):
        raise DeclarationError(f"environment {env!r} is not one token of lower-case letters, digits, '_' or '-'")
    return env


def encode_token(text: str) -> str:
    """Encode any text as one subject token: plain letters stay, every other UTF-8 byte becomes `=XX`."""
    if not text or len(text) > MAX_ENTITY_CHARS:
        raise ValueError(f"an entity has 1 to {MAX_ENTITY_CHARS} characters, found {len(text)}")
    if _PLAIN.issuperset(text):
        return text
    return "".join(chr(b) if chr(b) in _PLAIN else f"={b:02X}" for b in text.encode())


def decode_token(token: str) -> str:
    """Return the text of an encoded token; raises ValueError unless it is exactly what encode_token writes."""
    raw = re.sub(rb"=([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), token.encode("ascii"))
    text = raw.decode()
    if encode_token(text) != token:
        raise ValueError(f"{token!r} is not a canonical subject token")
    return text


def _register(cls: type[Message]) -> None:
    """Check a declaration and enter it into the registry."""
    name, template = f"{cls.__module__}.{cls.__qualname__}", cls.template
    if not _SUBJECT.fullmatch(template):
        raise DeclarationError(f"{name}: subject {template!r} is not domain.service.detail in lower-case tokens")
    fields = described(cls).fields
    names = [field.name for field in fields]
    for token in cls.tokens:
        if token[0] == "{" and token[1:-1] not in names:
            raise DeclarationError(f"{name}: subject token {token} is not a field of the message")
    for field in names:
        if field in vars(Message) or field in vars(Decision):
            raise DeclarationError(
                f"{name}: field {field!r} would hide what every message class says of itself; rename it"
            )
    check_place(cls, name)
    if issubclass(cls, Wave) and (len(cls.tokens) != len(AnyWave.tokens) or cls.tokens[-1] != AnyWave.tokens[-1]):
        raise DeclarationError(f"{name}: the subject of a wave is domain.service.detail.wave, found {template!r}")
    if cls.kind == "request" and cls.reply is None:
        raise DeclarationError(f"{name}: a request declares its reply class")
    has_float = check_types(cls, fields, name)
    shape = tuple("*" if token[0] == "{" else token for token in cls.tokens)
    for other_shape, other in _BY_SHAPE.items():
        if overlap(shape, other_shape):
            raise DeclarationError(f"{name}: {template!r} already belongs to {other.__module__}.{other.__qualname__}")
    check_kept(cls, name)
    cls.has_float = has_float
    _REGISTRY[template] = cls
    _BY_SHAPE[shape] = cls
    _find.cache_clear()
