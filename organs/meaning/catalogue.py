"""A catalogue of regions of meaning: names, prototypes, and where `unknown` begins. One file, one digest.

A catalogue holds the vectors it was made of, so that the same catalogue finds the same region of a vector on every
machine. It is made from descriptions (described.py) or learned from examples (learning.py); sensing.py reads it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.errors import ConfigFault
from shared.files import storing
from shared.subjects.meaning import UNKNOWN, VECTOR_BYTES, Vector

MAX_CATALOGUE_BYTES = constant(64_000_000, "bytes", "NIM-04")
MAX_LABELS = constant(10_000, "labels", "NIM-04")
WEIGHT_BYTES = constant(2, "bytes", "NIM-04")

#: A region is a token of a subject and a word for people.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
#: What stands beside this module: compiled from `regions.toml` by `nimmerverse meaning learn`.
DEFAULT = Path(__file__).with_name("regions.catalogue")

Some = Annotated[tuple[Vector, ...], msgspec.Meta(min_length=1)]


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One region: its name, what people may read of it, and the vector of a wave that only declares it."""

    name: str
    description: str
    phrases: tuple[str, ...]
    prototype: Vector


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finer meaning inside a region, as vectors that lie in it. A described region has one label, itself."""

    name: str
    region: str
    prototypes: Some


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A learned linear map from vectors to labels, in whole numbers; its votes are ppm of cosine.

    `weights` are signed 16-bit little-endian numbers, a row of 384 for each label; a row times a vector, times `step`,
    by the vector's length in 1/1024, plus the label's bias, is its vote.
    """

    weights: bytes
    biases: tuple[int, ...]
    step: int


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Regions, the labels inside them, perhaps a learned head, and what a text has to reach to be one of them."""

    version: str
    model: str  #: digest of the sentence model its vectors are of
    regions: Annotated[tuple[Region, ...], msgspec.Meta(min_length=1)]
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=1, max_length=MAX_LABELS)]
    head: Head | None
    threshold_ppm: int  #: what scores less is unknown
    margin_ppm: int  #: what leads the next region by less is unknown
    false_escalation_ppm: int  #: of the held-out examples, what the threshold was to call unknown; 0 if not calibrated

    @property
    def digest(self) -> str:
        """BLAKE3 of its canonical bytes, hexadecimal."""
        return blake3(packed(self)).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """The regions' names, in its order."""
        return tuple(region.name for region in self.regions)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Catalogue)


def packed(catalogue: Catalogue) -> bytes:
    """Return a catalogue's canonical bytes."""
    return _pack(catalogue)


def parsed(raw: bytes, where: str) -> Catalogue:
    """Return the catalogue in canonical bytes; ConfigFault says what is wrong with it, and where it came from."""
    try:
        found = _unpack.decode(raw)
        canonical = _pack(found) == raw
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigFault(f"{where} is no catalogue of regions ({str(error)[:200]}); make it again") from None
    wrong = "its bytes are not canonical" if not canonical else _objection(found)
    if wrong:
        raise ConfigFault(f"{where} is no catalogue of regions: {wrong}; make it again")
    return found


def read(path: Path) -> Catalogue:
    """Return the catalogue in a file. ConfigFault."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CATALOGUE_BYTES + 1)
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name a file of `meaning learn`") from error
    if len(raw) > MAX_CATALOGUE_BYTES:
        raise ConfigFault(f"{path} has more than {MAX_CATALOGUE_BYTES} bytes; that is no catalogue")
    return parsed(raw, str(path))


def write(catalogue: Catalogue, path: Path) -> None:
    """Write a catalogue, whole or not at all. StorageFault."""
    draft = path.with_name(f"{path.name}.draft")
    with storing(path):
        try:
            draft.write_bytes(packed(catalogue))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def check_name(name: str) -> str:
    """Return a region's name if it can be one; ConfigFault."""
    if not NAME.fullmatch(name) or name == UNKNOWN:
        raise ConfigFault(
            f"{name[:80]!r} cannot name a region; expected a lower-case letter, then at most 62 lower-case letters, "
            f"digits, `_` or `-`, and not {UNKNOWN!r}"
        )
    return name


def _objection(found: Catalogue) -> str:
    """Return what contradicts itself in a catalogue, or nothing."""
    names, labels = Counter(found.names), Counter(label.name for label in found.labels)
    twice = [name for name, count in (*names.items(), *labels.items()) if count > 1]
    bad = [name for name in names if not NAME.fullmatch(name) or name == UNKNOWN]
    stray = sorted({label.region for label in found.labels} ^ set(names))
    head = found.head
    if twice or bad or stray:
        return f"a name is not one, stands twice, or stands alone: {(twice + bad + stray)[0]!r}"
    if not re.fullmatch(r"[0-9a-f]{64}", found.model):
        return "its model is named by no digest"
    if head is not None and len(head.weights) != len(found.labels) * VECTOR_BYTES * WEIGHT_BYTES:
        return f"{len(head.weights)} bytes of weights for {len(found.labels)} labels"
    if head is not None and not (len(head.biases) == len(found.labels) and 0 < head.step < 1 << 31):
        return f"{len(head.biases)} biases for {len(found.labels)} labels, or a step out of bounds"
    if max(map(abs, (*(head.biases if head else ()), found.threshold_ppm, found.margin_ppm))) >= 1 << 40:
        return "a number is out of all bounds"
    return ""
