"""People's keys in a store: enrolled on first use, opened by pseudonym, destroyed with everything that leads to them.

name/NAME          the pseudonym: 16 random bytes, so that nobody can compute it again from the name
person/PSEUDONYM   the key, and the name for whoever holds the passphrase
erased/PSEUDONYM   where the log ordered the erasure, and where it says that it is complete
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.errors import KeyFault, Refusal, Refused
from shared.keys.files import Entropy, draw
from shared.personal import PSEUDONYM_BYTES, Personal
from shared.vault.aead import KEY_BYTES, close, unclose
from shared.vault.naming import refuse_names
from shared.vault.port import Erased, Unknown, Unopenable
from shared.vault.store import Slot, Store

MAX_NAME_CHARS = constant(200, "characters", "X-11")
MAX_VALUE_BYTES = constant(8_064, "bytes", "X-11")  # padded and sealed it has at most MAX_SEALED_BYTES
S = TypeVar("S", bound=msgspec.Struct)

ABOUT = b"nimmerverse personal 1\0"
_SALTS = "nimmerverse 2026 salts of a person's records"


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of one person."""

    key: bytes
    name: str


class _Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the log ordered an erasure, and where it says that it is complete."""

    ordered: tuple[int, int]
    complete: tuple[int, int] | None = None


class Erasure(msgspec.Struct, frozen=True):
    """One erasure: whose, where the log ordered it, and where it says that it is complete."""

    person: str
    ordered: tuple[int, int]
    complete: tuple[int, int] | None


class People:
    """The keys of people; its store is unlocked by the first call that needs it, because that takes half a second."""

    def __init__(self, unlock: Callable[[], Awaitable[Store]], entropy: Entropy) -> None:
        self._unlock, self.entropy = unlock, entropy
        self._opened: Store | None = None

    async def store(self) -> Store:
        """Return the store. Raises KeyFault where it cannot be unlocked."""
        if self._opened is None:
            opened = await self._unlock()
            self._opened = self._opened or opened
        return self._opened

    async def seal(self, name: str, value: str) -> Personal[str]:
        """Return `value` sealed for the person called `name`. Raises Refused B002, B003."""
        secret = _text(value)
        pseudonym, person = await self._enrolled(named(name))
        if len(secret) > MAX_VALUE_BYTES:
            raise Refused(Refusal("B003", f"found {len(secret)} bytes to seal, at most {MAX_VALUE_BYTES} are allowed"))
        return Personal(pseudonym, close(person.key, secret, ABOUT + pseudonym, self.entropy))

    async def open(self, personal: Personal[str]) -> str:
        """Return the value. Raises Erased, Unknown, Unopenable."""
        key = (await self._known(personal.person)).key
        secret = unclose(key, personal.sealed, ABOUT + personal.person)
        if secret is None:
            raise Unopenable(personal.person)
        return secret.decode()

    async def salt(self, person: bytes, record_id: bytes) -> bytes:
        """Return a record's salt, derived from the person's key. Raises Erased, Unknown."""
        key = (await self._known(person)).key
        return blake3(record_id, key=salts_key(key)).digest()

    async def find(self, name: str) -> bytes:
        """Return the pseudonym of the person called `name`. Raises Unknown."""
        store, plain = await self.store(), named(name)
        with store.hold():
            pseudonym = store.get("name", plain)
            if pseudonym is not None and store.get("person", pseudonym.hex()) is None:
                store.delete("name", plain)  # an enrolment that a crash cut off: nothing was ever sealed under it
                pseudonym = None
        if pseudonym is None:
            raise Unknown("a person of this name")
        return pseudonym

    async def refuse_names(self, person: bytes, *said: str) -> None:
        """Refuse texts that the log would keep and that name this person, or anybody else who is enrolled, as B002.

        Raises Erased or Unknown where this person has no key.
        """
        own = (await self._known(person)).name
        store = await self.store()
        with store.hold():
            others = store.names("name")
        for text in said:
            refuse_names(text, own, others)

    async def erase(self, person: bytes, index: int, offset: int) -> list[str]:
        """Destroy a person's key and name, as ordered at this position, here and in every copy; return the copies' ids.

        A repeat after a crash finishes what is left. Raises Unknown, BackupUnreachable, KeyFault, StorageFault.
        """
        store = await self.store()
        with store.hold():
            raw = store.get("person", person.hex())
            if raw is not None:
                name = _decode(raw, Person).name
                ordered = msgspec.msgpack.encode(_Erasure((index, offset)))
                gone: list[Slot] = [("person", person.hex())]
                if store.get("name", name) == person:
                    gone.append(("name", name))
                store.rotate(gone, {("erased", person.hex()): ordered})
            elif store.get("erased", person.hex()) is None:
                raise Unknown(f"{person.hex()[:4]}…")
            return store.rewrite_backups()

    async def complete(self, person: bytes, index: int, offset: int) -> None:
        """Remember where the log says that an erasure is complete; the first such position holds."""
        store = await self.store()
        with store.hold():
            raw = store.get("erased", person.hex())
            carried = _Erasure((index, offset)) if raw is None else _decode(raw, _Erasure)
            if carried.complete is None:
                complete = msgspec.structs.replace(carried, complete=(index, offset))
                store.put("erased", person.hex(), msgspec.msgpack.encode(complete))

    async def erasures(self) -> list[Erasure]:
        """Return every erasure that the vault carried out, complete or not, by pseudonym."""
        store = await self.store()
        with store.hold():
            raw = [(person, store.get("erased", person)) for person in store.names("erased")]
        carried = [(person, _decode(value, _Erasure)) for person, value in raw if value is not None]
        return [Erasure(person, erasure.ordered, erasure.complete) for person, erasure in carried]

    async def _enrolled(self, name: str) -> tuple[bytes, Person]:
        return enrolled(await self.store(), self.entropy, name)

    async def _known(self, person: bytes) -> Person:
        return known(await self.store(), person)


def enrolled(store: Store, entropy: Entropy, name: str) -> tuple[bytes, Person]:
    """Return the pseudonym and the key of whoever has this name, as `named` gives it; enrolled on first use."""
    with store.hold():
        pseudonym = store.get("name", name)
        if pseudonym is None:
            pseudonym = draw(entropy, PSEUDONYM_BYTES)
            store.put("name", name, pseudonym)
        raw = store.get("person", pseudonym.hex())
        if raw is None:
            raw = msgspec.msgpack.encode(Person(draw(entropy, KEY_BYTES), name))
            store.put("person", pseudonym.hex(), raw)
    return pseudonym, _decode(raw, Person)


def known(store: Store, person: bytes) -> Person:
    """Return the key behind a pseudonym. Raises Erased, Unknown."""
    with store.hold():
        raw, erased = store.get("person", person.hex()), store.get("erased", person.hex())
    if erased is not None:
        erasure = _decode(erased, _Erasure)
        raise Erased(person, *(erasure.complete or erasure.ordered), complete=erasure.complete is not None)
    if raw is None:
        raise Unknown(f"{person.hex()[:4]}…")
    return _decode(raw, Person)


def salts_key(key: bytes) -> bytes:
    """Return the key of a person's salts, from the person's own."""
    return blake3(key, derive_key_context=_SALTS).digest()


def named(name: str) -> str:
    """Return a name as it is looked up: the same letters are the same person, however they were typed."""
    plain = unicodedata.normalize("NFC", name).strip()
    _text(plain)
    if not 0 < len(plain) <= MAX_NAME_CHARS:
        raise Refused(Refusal("B002", f"a person's name has 1 to {MAX_NAME_CHARS} characters, found {len(plain)}"))
    return plain


def _text(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Refused(Refusal("B002", "what shall be sealed is not Unicode text")) from None


def _decode(raw: bytes, kind: type[S]) -> S:
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise KeyFault(f"an entry of the vault is damaged ({error}): restore the vault from its backup.") from error
