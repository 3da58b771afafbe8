"""Personal data is a field type: what a message holds of it is ciphertext, always.

    class Greeted(Decision, subject="desk.book.event.{visit}.greeted"):
        visit: str
        visitor: Personal[str]

Only an organ that was handed `PersonKeys` (shared/vault) seals and opens it. Destroying the person's key erases the
value wherever it was copied: streams, traces, views, backups. The bytes stay, so every digest and signature over them
holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Generic, TypeVar, cast, get_origin

import msgspec

from shared.constant import constant

PSEUDONYM_BYTES = constant(16, "bytes", "X-11")
MIN_SEALED_BYTES = constant(72, "bytes", "X-11")  # nonce, one padded block, tag
MAX_SEALED_BYTES = constant(8_192, "bytes", "X-11")
SHOWN_DIGITS = 4  #: of a pseudonym, where a person reads it

T = TypeVar("T")
Pseudonym = Annotated[bytes, msgspec.Meta(min_length=PSEUDONYM_BYTES, max_length=PSEUDONYM_BYTES)]
Ciphertext = Annotated[bytes, msgspec.Meta(min_length=MIN_SEALED_BYTES, max_length=MAX_SEALED_BYTES)]


class Personal(msgspec.Struct, Generic[T], frozen=True, forbid_unknown_fields=True):
    """A value about a person, sealed under that person's key. On the wire and in JSON it is ciphertext too."""

    person: Pseudonym  #: drawn at random, so nobody can compute it again from the name once the vault forgot it
    sealed: Ciphertext  #: nonce ‖ XChaCha20-Poly1305 of the padded value

    def __repr__(self) -> str:
        return f"Personal({self.person.hex()[:SHOWN_DIGITS]}…, {len(self.sealed)} bytes sealed)"


def is_personal(cls: object) -> bool:
    """Say whether a class, as a field's type names it, is Personal of whatever."""
    return cls is Personal or get_origin(cls) is Personal


def redacted(value: object) -> object:
    """Return plain data as a person may read it: a map that is a Personal shows no more than its `repr`."""
    if (personal := _personal(value)) is not None:
        return repr(personal)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in cast("dict[object, object]", value).items()}
    return [redacted(item) for item in cast("list[object]", value)] if isinstance(value, list | tuple) else value


def persons(value: object) -> Iterator[bytes]:
    """Yield the pseudonym of every Personal in plain data."""
    if (personal := _personal(value)) is not None:
        yield personal.person
    elif isinstance(value, dict):
        yield from persons([*cast("dict[object, object]", value).values()])
    elif isinstance(value, list | tuple):
        for item in cast("Iterable[object]", value):
            yield from persons(item)


def _personal(value: object) -> Personal[str] | None:
    """Return plain data as the Personal that it is, if it is one."""
    if isinstance(value, dict):
        known = cast("dict[object, object]", value)
        match known.get("person"), known.get("sealed"), len(known):
            case bytes() as person, bytes() as sealed, 2:
                return Personal(person, sealed)
            case _:
                pass
    return None
