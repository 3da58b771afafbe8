"""The port to people's keys, and the ways it says no."""

from __future__ import annotations

from typing import Protocol

from shared.errors import Exit, Fault, Refusal, Refused
from shared.personal import Personal


class Erased(Refused):
    """The person's key was destroyed: nothing sealed under it can be opened again, by anyone.

    The position is that of the event that completed the erasure; while it is being carried out, of the order.
    """

    def __init__(self, person: bytes, index: int, offset: int, *, complete: bool = True) -> None:
        what = "erased at" if complete else "being erased, as ordered at"
        super().__init__(Refusal("P001", f"{person.hex()[:4]}… was {what} ({index}, {offset})"))
        self.person, self.index, self.offset, self.complete = person, index, offset, complete


class Unknown(Refused):
    """No such person is known here: neither a key nor an erasure."""

    def __init__(self, who: str) -> None:
        super().__init__(Refusal("P002", f"{who} is not known to this vault"))


class Unopenable(Refused):
    """The bytes were not sealed under this person's key, or were altered since."""

    def __init__(self, person: bytes) -> None:
        super().__init__(Refusal("P003", f"what is sealed for {person.hex()[:4]}… does not open with its key"))


class BackupUnreachable(Fault):
    """A registered backup of the vault is not where it was written; until it is, no erasure is complete."""

    retry = True
    exit = Exit.STORAGE


class PersonKeys(Protocol):
    """Seals and opens personal data. Handed to organs alone; a cell or a nerve has no way to it."""

    async def seal(self, name: str, value: str) -> Personal[str]:
        """Return `value` sealed under the key of the person called `name`, who is enrolled on first use."""
        ...

    async def open(self, personal: Personal[str]) -> str:
        """Return the value. Raises Erased, Unknown or Unopenable."""
        ...

    async def salt(self, person: bytes, record_id: bytes) -> bytes:
        """Return the salt of one record about a person; it dies with the person's key. Raises Erased or Unknown."""
        ...
