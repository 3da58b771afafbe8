"""What the code declares about its subjects: each class, who says it, who hears it, and which streams keep it.

Nothing is written down here that a declaration already says; the one table, GROUND, is what no handler's annotation can
say: the decisions of the identities that prepare the ground, and of people.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deploy.load import BUILT_IN, ON_REQUEST, find_part
from organs.steward import StewardOrgan
from organs.steward.ports import dead_config, log_config
from shared.bus.wire import Kept, stream_name
from shared.message import AnyWave, Decision, Message, Reply, Request, Wave, lookup, registered
from shared.part import Declaration, declaration
from shared.subjects import load_all
from shared.subjects.system import GrantRequest, LifeforceTold, Tick

#: The environment and a part's name, as the references write them.
ENV = "{env}"
PART = "{part}"
EVERY_PART = "every part"
OPERATOR = "operator"

#: Who appends the decisions under a prefix that no part declares; the longest prefix holds.
GROUND = {
    "system.keys": "root",
    "system.keys.event.{scope}.rotated": "the part that holds the key",
    "system.steward": "steward",
    "governance.ballots": "a person",
}
#: Decisions that every part folds before it judges anything else.
FOLDED_BY_ALL = "system.keys."

Speech = dict[str, set[type[Message]]]


@dataclass(frozen=True)
class Subject:
    """One message class with all that the references say about it."""

    cls: type[Message]
    publishers: tuple[str, ...]
    listeners: tuple[str, ...]
    streams: tuple[str, ...]

    @property
    def address(self) -> str:
        """The subject with its tokens in braces, the environment first."""
        return f"{ENV}.{self.cls.template}"

    @property
    def doc(self) -> str:
        """The class's docstring."""
        return inspect.cleandoc(self.cls.__doc__ or "")


def message_classes() -> list[type[Message]]:
    """Return the product's own message classes in subject order; what tests and users declare is not among them."""
    load_all()
    return [cls for cls in registered().values() if cls.__module__.startswith("shared.subjects.")]


def parts() -> list[Declaration]:
    """Return the declarations of all parts of ours and the steward; nothing is built, the classes say it all."""
    return [declaration(cls.__new__(cls)) for cls in (*map(find_part, (*BUILT_IN, *ON_REQUEST)), StewardOrgan)]


def catalogue() -> list[Subject]:
    """Return every subject of the product, in subject order."""
    declared = parts()
    said = {part.name: says(part) for part in declared}
    heard = {part.name: hears(part) for part in declared}
    kept: dict[Kept, Speech] = {
        "traces": {part.name: _classes(part.traces("env")) for part in declared if part.garden == "virtual"},
        "transitions": {part.name: _classes(part.transitions("env")) for part in declared},
    }
    return [
        Subject(cls, _publishers(cls, said, heard), _listeners(cls, heard), _streams(cls, kept))
        for cls in message_classes()
    ]


def says(part: Declaration) -> set[type[Message]]:
    """Return every class a part is permitted to publish, its heartbeat and its like included."""
    return _classes(part.publish("env"))


def hears(part: Declaration) -> set[type[Message]]:
    """Return every class that reaches a part's handlers; who hears the whole log, or any wave, hears each of them."""
    logged = [cls for cls in message_classes() if issubclass(cls, Decision)] if part.whole_log else []
    waves = [cls for cls in message_classes() if issubclass(cls, Wave)] if AnyWave in part.hears else []
    told = [LifeforceTold] if part.rests else []
    return {*part.hears, *logged, *waves, *told} - {AnyWave}


def _classes(patterns: Iterable[str]) -> set[type[Message]]:
    """Return the classes that patterns of the environment `env` stand for; others, such as `$JS.…`, stand for none."""
    return {cls for pattern in patterns if pattern.startswith("env.") and (cls := lookup(pattern))}


def _publishers(cls: type[Message], said: Speech, heard: Speech) -> tuple[str, ...]:
    if cls is Tick:
        return ("the part's own runner",)
    names = _named(cls, said)
    if not names and issubclass(cls, Decision):
        names = [GROUND[p] for p in sorted(GROUND, key=len, reverse=True) if cls.template.startswith(p)][:1]
    asked = issubclass(cls, Request) and not cls.by_parts and (cls is GrantRequest or _named(cls, heard))
    return (*names, OPERATOR) if asked else tuple(names)


def _listeners(cls: type[Message], heard: Speech) -> tuple[str, ...]:
    if cls.template.startswith(FOLDED_BY_ALL):
        return (EVERY_PART,)
    names = _named(cls, heard)
    return (*names, "whoever asked") if issubclass(cls, Reply) else tuple(names)


def _streams(cls: type[Message], kept: Mapping[Kept, Speech]) -> tuple[str, ...]:
    """Return the names of the streams that keep a class."""
    fixed = [c["name"] for c in (log_config(ENV), dead_config(ENV)) if any(_covers(p, cls) for p in c["subjects"])]
    own = [
        stream_name(kind, ENV, PART if name == EVERY_PART else name)
        for kind, by in kept.items()
        for name in _named(cls, by)
    ]
    return (*fixed, *own)


def _covers(pattern: str, cls: type[Message]) -> bool:
    wanted, found = pattern.split("."), cls.pattern(ENV).split(".")
    if wanted[-1] == ">":
        wanted, found = wanted[:-1], found[: len(wanted) - 1]
    return len(wanted) == len(found) and all(w in ("*", f) for w, f in zip(wanted, found, strict=True))


def _named(cls: type[Message], speech: Speech) -> list[str]:
    names = sorted(name for name, classes in speech.items() if cls in classes)
    return [EVERY_PART] if len(names) == len(speech) else names
