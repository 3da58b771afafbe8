"""Where a vault keeps its entries: the interface, and the simulated one in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

#: Entries live apart by what they are: secrets; people by name and by pseudonym; erasures; copies of the vault.
Space = Literal["secret", "name", "person", "erased", "backup"]
Slot = tuple[Space, str]


class Store(Protocol):
    """Entries by space and key. Every call is whole or not at all, also through a crash."""

    @property
    def generation(self) -> int:
        """The number of the key in force, certain while the store is held: it grows with every rotation."""
        ...

    def get(self, space: Space, key: str) -> bytes | None: ...

    def put(self, space: Space, key: str, value: bytes) -> None: ...

    def delete(self, space: Space, key: str) -> bool:
        """Remove an entry; False where there is none."""
        ...

    def names(self, space: Space) -> list[str]:
        """Return the keys of a space, sorted."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Keep every other writer out for several calls."""
        ...

    def rotate(self, drop: Collection[Slot] = (), add: Mapping[Slot, bytes] | None = None) -> None:
        """Seal everything but `drop`, and `add`, under a new random key; the old one is destroyed. All at once."""
        ...

    def rewrite_backups(self) -> list[str]:
        """Replace the content of every registered copy; return their ids. Raises BackupUnreachable."""
        ...


class MemoryStore:
    """The simulated store: the same behaviour, in memory; it has no copies."""

    def __init__(self) -> None:
        self.entries: dict[Slot, bytes] = {}
        self.generation = 1

    def get(self, space: Space, key: str) -> bytes | None:
        return self.entries.get((space, key))

    def put(self, space: Space, key: str, value: bytes) -> None:
        self.entries[space, key] = value

    def delete(self, space: Space, key: str) -> bool:
        return self.entries.pop((space, key), None) is not None

    def names(self, space: Space) -> list[str]:
        return sorted(key for found, key in self.entries if found == space)

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def rotate(self, drop: Collection[Slot] = (), add: Mapping[Slot, bytes] | None = None) -> None:
        kept = {slot: value for slot, value in self.entries.items() if slot not in drop}
        self.entries = kept | dict(add or {})
        self.generation += 1

    def rewrite_backups(self) -> list[str]:
        return []
