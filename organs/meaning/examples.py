"""Labelled texts as files bring them: JSON lines of [text, label], a JSON list of them, or lists by the name of a part.

The last is how the clinc150 set is published: `train`, `val`, and lists that begin with `oos` and are out of scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shared.constant import constant
from shared.errors import ConfigFault

MAX_LABELLED_BYTES = constant(256_000_000, "bytes", "NIM-04")
OUT_OF_SCOPE = constant("oos", "prefix", "NIM-04")

Pair = tuple[str, str]


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Texts:
    """Labelled texts by part; a file that has no parts is one, named by nothing."""

    parts: dict[str, list[Pair]]

    def to_learn(self) -> list[Pair]:
        """Return what is learned from: `train`, or everything that is in scope."""
        return self.parts.get("train") or self._in_scope(list(self.parts))

    def to_validate(self) -> list[Pair]:
        """Return what a threshold is chosen by: `val`, if it is there."""
        return self._in_scope(["val"])

    def to_judge(self, part: str | None) -> list[Pair]:
        """Return what a catalogue is judged by: a part, by default `val` or everything but `train`; and what is not
        in scope. ConfigFault for a part that is not there.
        """
        if part is not None and part not in self.parts:
            raise ConfigFault(f"there is no part {part!r}; the file has {', '.join(map(repr, self.parts))}")
        chosen = [part] if part is not None else ["val"] if "val" in self.parts else [*self.parts]
        own = [name for name in chosen if part is not None or name != "train"]
        outside = [name for name in self.parts if name.startswith(OUT_OF_SCOPE) and name not in own]
        return [pair for name in (*own, *outside) for pair in self.parts[name]]

    def _in_scope(self, parts: Sequence[str]) -> list[Pair]:
        chosen = [name for name in parts if not name.startswith(OUT_OF_SCOPE)]
        return [pair for name in chosen for pair in self.parts.get(name, []) if not pair[1].startswith(OUT_OF_SCOPE)]


def read_texts(path: Path) -> Texts:
    """Return the labelled texts in a file. ConfigFault says where it is wrong."""
    raw = _bytes(path)
    if raw[:1] == b"{" and b"\n{" not in raw.strip():
        try:
            return Texts(msgspec.json.decode(raw, type=dict[str, list[Pair]]))
        except msgspec.MsgspecError as error:
            if b"\n" in raw.strip() or not _is_named(raw):
                raise _wrong(path, str(error)) from None
    if raw[:1] == b"[" and raw[1:].lstrip()[:1] == b"[":
        try:
            return Texts({"": msgspec.json.decode(raw, type=list[Pair])})
        except msgspec.MsgspecError as error:
            raise _wrong(path, str(error)) from None
    return Texts({"": [_pair(path, number, line) for number, line in enumerate(raw.splitlines(), 1) if line.strip()]})


def read_domains(path: Path) -> dict[str, str]:
    """Return each label's domain from a file of {domain: [label, …]}. ConfigFault."""
    try:
        found = msgspec.json.decode(_bytes(path), type=dict[str, list[str]])
    except msgspec.MsgspecError as error:
        raise ConfigFault(f"{path} is not {{domain: [label, …]}} in JSON ({error}); correct it") from None
    placed = [(label, domain) for domain, labels in found.items() for label in labels]
    if len(dict(placed)) != len(placed):
        twice = next(label for n, (label, _) in enumerate(placed) if label in dict(placed[:n]))
        raise ConfigFault(f"{path} puts {twice!r} into two domains; choose one")
    return dict(placed)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LABELLED_BYTES + 1)
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); name a file this user may read") from error
    if not raw.strip() or len(raw) > MAX_LABELLED_BYTES:
        raise ConfigFault(f"{path} has {len(raw)} bytes or more; expected something, and at most {MAX_LABELLED_BYTES}")
    return raw


def _is_named(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=_Named)
    except msgspec.MsgspecError:
        return False
    return True


def _pair(path: Path, number: int, line: bytes) -> Pair:
    try:
        if line.lstrip()[:1] == b"{":
            named = msgspec.json.decode(line, type=_Named)
            return named.text, named.label
        return msgspec.json.decode(line, type=Pair)
    except msgspec.MsgspecError as error:
        raise _wrong(path, f"line {number}: {error}") from None


def _wrong(path: Path, found: str) -> ConfigFault:
    return ConfigFault(
        f"{path} holds no labelled texts ({found[:200]}); expected [text, label] a line, a list of them, or "
        "{part: [[text, label], …]}"
    )
