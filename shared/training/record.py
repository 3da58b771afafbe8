"""The record of a run: everything that led to a model, so that anybody can repeat it and compare (ILL-04).

Canonical JSON, named by its BLAKE3 digest. It holds no time of day and nothing of the machine's load: the same run in
the same surroundings leaves the same record, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from shared.canonical import canonical
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.subjects.training import Digest, JobSpec

FORMAT = "nimmerverse run 1"
MAX_RECORD_BYTES = constant(4_000_000, "bytes", "ILL-04")
NAMED = 3  #: differences that a sentence names; then it says how many more there are

#: What may differ without any bit of the outcome being allowed to.
_BESIDE = frozenset({"spec.workers", "spec.reason", "spec.proposal", "spec.heavy", "product"})
_OUTCOMES = ("checkpoints", "curve", "parameters", "measured", "weights", "model", "model_bytes")


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run."""

    format: str = FORMAT
    product: str  #: version of this product
    spec: JobSpec
    sources: dict[str, Digest]  #: of the code that computed, by file
    environment: dict[str, str]  #: interpreter, packages, processor, flags
    data: dict[str, Digest]  #: BLAKE3 of the lines that the workers read, by dataset
    checkpoints: tuple[tuple[int, Digest], ...]  #: that the workers agreed on, step and digest
    curve: tuple[tuple[int, int], ...]  #: step, mean loss since the point before, in millionths
    parameters: int
    measured: dict[str, int]
    weights: Digest
    model: Digest
    model_bytes: int
    media_type: str


class Comparison(msgspec.Struct, frozen=True):
    """What came of repeating a run; it cannot be where a person whose records it learned from was erased since."""

    verdict: Literal["reproduced", "diverged", "erased"]
    detail: str


def read_record(raw: bytes) -> RunRecord:
    """Return the run record in canonical JSON bytes; Refused T010."""
    try:
        record = msgspec.json.decode(raw, type=RunRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(Refusal("T010", f"no run record: {error}")) from None
    if record.format != FORMAT or canonical(record) != raw:
        raise Refused(Refusal("T010", "the run record is readable but not canonical JSON of this format"))
    return record


def compare(before: RunRecord, after: RunRecord) -> Comparison:
    """Say whether a repetition left the same bytes, and if not, at which checkpoint it parted and what explains it."""
    differs = list(_differences(before, after))
    same = all(getattr(before, name) == getattr(after, name) for name in _OUTCOMES)
    if same:
        return Comparison("reproduced", f"though {_named(differs)}" if differs else "")
    parted = _parted(before, after)
    if not differs:
        return Comparison("diverged", parted)
    return Comparison("diverged", f"{_named(differs)}; {parted}")


def _differences(before: RunRecord, after: RunRecord) -> Iterator[str]:
    """Yield what is not the same among what a run depends on, hyperparameters first."""
    one, other = _leaves(before), _leaves(after)
    for name in [*one, *(name for name in other if name not in one)]:
        if name in _BESIDE or name.partition(".")[0] in (*_OUTCOMES, "media_type"):
            continue
        was, found = one.get(name), other.get(name)
        if was != found:
            yield f"field {name.removeprefix('spec.')} (was {_shown(was)}, is {_shown(found)})"


def _parted(before: RunRecord, after: RunRecord) -> str:
    """Say where a repetition first left other bytes."""
    found = dict(after.checkpoints)
    for step, digest in before.checkpoints:
        if found.get(step) != digest:
            return f"checkpoint {step}"
    name = next(name for name in _OUTCOMES if getattr(before, name) != getattr(after, name))
    return f"after the last checkpoint, in {name}"


def _leaves(record: RunRecord) -> dict[str, Any]:
    """Return every value of a record by its path: spec.hyperparameters.batch."""
    found: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            for name, inner in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON
                walk(f"{path}.{name}" if path else str(name), inner)  # pyright: ignore[reportUnknownArgumentType]
        else:
            found[path] = value

    walk("", msgspec.to_builtins(record))
    return found


def _named(differs: list[str]) -> str:
    more = len(differs) - NAMED
    return ", ".join(differs[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"  # noqa: PLR2004 - a digest is cut, a version is not
