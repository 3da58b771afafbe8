"""The policies' bundle: files of Rego under one digest, and what they say about an input.

Nothing passes by default: what a package leaves undefined is a denial (Q001), and so is an engine that fails (Q002).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from importlib import metadata, resources
from typing import cast

import msgspec
from blake3 import blake3
from regorus import Engine

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.subjects.registry import Judgement
from shared.subjects.registry import Row as PolicyRow

# Where RUST_BACKTRACE is set, to walk the engine's stack takes a hundred times as long as to refuse a policy.
os.environ.setdefault("RUST_LIB_BACKTRACE", "0")

ENGINE = f"regorus {metadata.version('celine-regorus')}"
LIMITS = "nimmerverse.limits"
TRAINING = "nimmerverse.training"  #: what may teach; asked before a job, of a dataset, and in a review
#: Every engine that was tried counts and writes exactly up to here: one writes 2**53 as -1.
MAX_INTEGER = constant(2**31 - 1, "any", "ILL-08")
INPUT_DEPTH = constant(8, "levels", "X-12")
ENGINE_ERROR_CHARS = constant(300, "characters", "X-12")

_encode = msgspec.json.Encoder(order="sorted").encode


class _Answer(msgspec.Struct, frozen=True):
    """What a package has to define."""

    allow: bool
    rows: tuple[PolicyRow, ...]
    values: dict[str, object] = {}


class Judged(msgspec.Struct, frozen=True):
    """A package's word on one input, so exactly that anyone can ask for it again."""

    package: str
    allowed: bool
    rows: tuple[PolicyRow, ...]
    values: dict[str, object]
    input_digest: str
    policy: str
    engine: str

    def refusal(self) -> Refusal | None:
        """Return Q004 that names every row that does not hold; None where it is allowed."""
        if self.allowed:
            return None
        return Refusal("Q004", f"{self.package}: {failing(self.rows)}")

    def judgement(self) -> Judgement:
        """Return it as decisions carry it."""
        return Judgement(self.policy, self.input_digest, self.engine, self.allowed, list(self.rows))


class Policies:
    """A bundle of Rego files, each a package below `nimmerverse`."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take files by name. Raises Refused Q003 where one is not Rego."""
        self.texts = dict(sorted(texts.items()))
        self.engine = ENGINE
        self._own = threading.local()  # an engine belongs to the thread that made it
        self._engine()

    @staticmethod
    def shipped() -> Policies:
        """Return the product's own bundle; the same object every time."""
        return _shipped()

    @cached_property
    def digest(self) -> str:
        """BLAKE3 over the files' sorted names and texts."""
        return blake3(_encode(self.texts)).hexdigest()

    @cached_property
    def packages(self) -> list[str]:
        """Every package, in order."""
        return sorted(name.removeprefix("data.") for name in self._engine().get_packages())

    @cached_property
    def limits(self) -> dict[str, object]:
        """Every threshold by its name, as `limits.rego` says it; for those who show one."""
        found = msgspec.json.decode(self._engine().eval_query_as_json(f"data.{LIMITS}"))
        return found["result"][0]["expressions"][0]["value"]

    @cached_property
    def with_default(self) -> frozenset[str]:
        """The families in which something stands in where no model is in force."""
        return msgspec.convert(self.limits["with_default"], frozenset[str])

    def evaluate(self, package: str, given: Mapping[str, object]) -> Judged:
        """Return what `package` says about `given`. Raises Refused Q003 where that is no input."""
        raw = canonical(given)
        answer = self._ask(package, raw)
        digest = blake3(raw).hexdigest()
        if isinstance(answer, Refusal):
            row = PolicyRow("policy", "an answer", None, holds=False, reason=f"{answer.code} {answer.detail}")
            return Judged(package, allowed=False, rows=(row,), values={}, input_digest=digest, **self._source())
        allowed = answer.allow and bool(answer.rows) and all(row.holds for row in answer.rows)
        return Judged(package, allowed, answer.rows, answer.values, digest, **self._source())

    def again(self, policy_digest: str, engine: str, package: str, given: Mapping[str, object]) -> Judged:
        """Return what was once judged, judged again. Raises Refused Q003 by other policies or another engine."""
        if (policy_digest, engine) != (self.digest, self.engine):
            raise Refused(
                Refusal(
                    "Q003",
                    f"it was judged by policies {policy_digest[:16]} in {engine}; here are {self.digest[:16]} in "
                    f"{self.engine}: take the release that it was judged by",
                )
            )
        return self.evaluate(package, given)

    def _source(self) -> dict[str, str]:
        return {"policy": self.digest, "engine": self.engine}

    def _ask(self, package: str, raw: bytes) -> _Answer | Refusal:
        if package not in self.packages:
            return Refusal("Q001", f"there is no package {package}; there are {', '.join(self.packages)}")
        engine = self._engine()
        try:
            engine.set_input_json(raw.decode())
            found = msgspec.json.decode(engine.eval_query_as_json(f"data.{package}"))
        except (RuntimeError, ValueError) as error:
            return Refusal("Q002", _first_lines(error))
        try:
            [result] = found["result"]
            [expression] = result["expressions"]
            return msgspec.convert(expression["value"], _Answer)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            return Refusal("Q001", f"{package} does not define `allow` and `rows` for it ({_first_lines(error)})")

    def _engine(self) -> Engine:
        if not hasattr(self._own, "engine"):
            engine = Engine()
            for name, text in self.texts.items():
                try:
                    engine.add_policy(name, text)
                except (RuntimeError, ValueError) as error:
                    raise Refused(Refusal("Q003", f"{name}: {_first_lines(error)}")) from None
            self._own.engine = engine
        return cast("Engine", self._own.engine)


def failing(rows: Iterable[PolicyRow]) -> str:
    """Return every row that does not hold, in words."""
    return "; ".join(f"{row.name}: {row.reason} (found {row.found}, {row.demanded})" for row in rows if not row.holds)


def canonical(given: Mapping[str, object]) -> bytes:
    """Return an input's canonical JSON, whose BLAKE3 is its digest.

    Raises Refused Q003 for a float, because engines round them differently, a whole number beyond 2**31, or nesting
    that no policy has.
    """
    _check(given, "input", INPUT_DEPTH)
    return _encode(given)


def _check(value: object, place: str, depth: int) -> None:
    match value:
        case None | bool() | str():
            return
        case int() if abs(value) <= MAX_INTEGER:
            return
        case Mapping() if depth:
            for key, item in cast("Mapping[object, object]", value).items():
                if not isinstance(key, str):
                    raise Refused(Refusal("Q003", f"{place}: a name has to be a text, found {key!r}"))
                _check(item, f"{place}.{key}", depth - 1)
        case list() | tuple() if depth:
            for number, item in enumerate(cast("list[object]", value)):
                _check(item, f"{place}[{number}]", depth - 1)
        case _:
            expected = "whole numbers up to 2**31, true, false, texts, lists and objects, eight deep at most"
            raise Refused(Refusal("Q003", f"{place}: found {value!r:.80}, policies take {expected}"))


def _first_lines(error: Exception) -> str:
    """Return an engine's sentence without its stack, on one line."""
    return " ".join(str(error).split("Stack backtrace:")[0].split())[:ENGINE_ERROR_CHARS]


@cache
def _shipped() -> Policies:
    folder = resources.files("shared.policy") / "rego"
    files = [file for file in folder.iterdir() if file.name.endswith(".rego")]
    return Policies({file.name: file.read_text(encoding="utf-8") for file in files})
