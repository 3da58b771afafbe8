"""Many records of people at once: each person's key is looked up once, and forgotten at the next erasure.

An erasure seals the vault under a new key, so its generation tells whether what is held here is still right. It is
looked at as a batch begins, and while the batch is sealed the vault is held: no erasure comes in between.

The same text of the same record is sealed to the same bytes, for its nonce is drawn from the person's key and from what
is sealed: whoever seals a batch again after a crash gets the batch it was. Nobody without the key can tell two texts of
two records alike, and of one record it is no secret that it did not change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from blake3 import blake3

from shared.constant import constant
from shared.keys.files import Entropy
from shared.vault.aead import NONCE_BYTES, close, unclose
from shared.vault.people import ABOUT, MAX_VALUE_BYTES, enrolled, known, named, salts_key
from shared.vault.port import Unopenable
from shared.vault.store import Store

HELD_PEOPLE = constant(20_000, "people", "X-11")
_NONCES = "nimmerverse 2026 nonces of a person's records"
_CONTINUES = 0b1000_0000  #: the first two bits of a byte inside a character of UTF-8
_LEADS = 0b1100_0000


@dataclass(frozen=True, slots=True)
class Keys:
    """What is held of one person."""

    person: bytes
    key: bytes
    salts: bytes
    nonces: bytes

    def salt(self, record_id: bytes) -> bytes:
        """Return the salt of one record; it is the one that PersonKeys gives."""
        return blake3(record_id, key=self.salts).digest()

    def seal(self, record_id: bytes, text: str) -> list[bytes]:
        """Return a text in sealed pieces; each is the `sealed` of a Personal."""
        about = ABOUT + self.person
        sealed: list[bytes] = []
        for place, piece in enumerate(_pieces(text.encode())):
            bound = len(record_id).to_bytes(4, "big") + record_id + place.to_bytes(4, "big") + piece
            nonce = blake3(bound, key=self.nonces).digest()[:NONCE_BYTES]
            sealed.append(close(self.key, piece, about, lambda _, nonce=nonce: nonce))
        return sealed

    def open(self, sealed: Sequence[bytes]) -> str:
        """Return the text of sealed pieces. Raises Unopenable."""
        about = ABOUT + self.person
        pieces = [unclose(self.key, piece, about) for piece in sealed]
        if any(piece is None for piece in pieces):
            raise Unopenable(self.person)
        return b"".join(piece for piece in pieces if piece is not None).decode()


class ManyPeople:
    """The keys of many people, in bounded memory; used by one thread at a time, and only inside `held`."""

    def __init__(self, store: Store, entropy: Entropy, most: int = HELD_PEOPLE) -> None:
        self._store, self._entropy, self._most = store, entropy, most
        self._generation = -1
        self._by_name: OrderedDict[str, Keys] = OrderedDict()
        self._by_person: OrderedDict[bytes, Keys] = OrderedDict()

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep every erasure out, and forget what an earlier one made untrue."""
        with self._store.hold():
            if self._store.generation != self._generation:
                self._by_name.clear()
                self._by_person.clear()
                self._generation = self._store.generation
            yield

    def named(self, name: str) -> Keys:
        """Return the keys of whoever has this name, enrolled on first use. Raises Refused B002."""
        found = self._by_name.get(name)
        if found is None:
            person, said = enrolled(self._store, self._entropy, named(name))
            found = self._by_name[name] = _keys(person, said.key)
            _bound(self._by_name, self._most)
        return found

    def person(self, person: bytes) -> Keys:
        """Return the keys behind a pseudonym. Raises Erased, Unknown."""
        found = self._by_person.get(person)
        if found is None:
            found = self._by_person[person] = _keys(person, known(self._store, person).key)
            _bound(self._by_person, self._most)
        return found


def _keys(person: bytes, key: bytes) -> Keys:
    return Keys(person, key, salts_key(key), blake3(key, derive_key_context=_NONCES).digest())


def _bound(held: OrderedDict[str, Keys] | OrderedDict[bytes, Keys], most: int) -> None:
    while len(held) > most:
        held.popitem(last=False)


def _pieces(raw: bytes) -> list[bytes]:
    """Cut a text's bytes into pieces that can be sealed, never inside a character; nothing is one empty piece."""
    pieces: list[bytes] = []
    start = 0
    while len(raw) - start > MAX_VALUE_BYTES:
        end = start + MAX_VALUE_BYTES
        while raw[end] & _LEADS == _CONTINUES:
            end -= 1
        pieces.append(raw[start:end])
        start = end
    return [*pieces, raw[start:]]
