"""The ids that a corpus has seen, in a file of bounded memory: a cache, rebuilt from what the log and the store hold.

For each id it keeps whose post it was and a digest of what is kept of the text: of a person that is ciphertext, so
nothing here says more of somebody who was erased than the store does.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from shared.constant import constant
from shared.corpus import Listed
from shared.errors import StorageFault
from shared.files import private_folder

CACHE_KIB = constant(32_768, "KiB", "COL-03")  # of pages in memory
PRINT_BYTES = constant(16, "bytes", "COL-03")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, person TEXT, print BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, root TEXT, records TEXT, posts INTEGER, kept INTEGER, sha256 TEXT, anchored INTEGER
);
"""


class Mark(NamedTuple):
    """What is kept of one post: whose it was, and a digest of its text as it is kept."""

    person: str | None
    print: bytes


class Seen:
    """The cache of one corpus. What no batch was sealed with is not in it. Threads take their turns."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        self._path = folder / "seen.sqlite"
        self._turn = threading.Lock()
        self._database = self._opened()

    def close(self) -> None:
        """Close it; the file stays for the next time."""
        self._database.close()

    def discard(self) -> None:
        """Remove the file: the corpus is finished, or the cache is not of it."""
        self._database.close()
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink(missing_ok=True)

    def begin_again(self) -> None:
        """Forget everything."""
        self.discard()
        self._database = self._opened()

    @property
    def batches(self) -> int:
        """How many batches it knows of, from the first on without a gap."""
        count, last = self._database.execute("SELECT count(*), coalesce(max(number), -1) FROM batches").fetchone()
        return int(count) if count == last + 1 else -1

    def marks(self, ids: Sequence[str]) -> dict[str, Mark]:
        """Return what is known of these ids."""
        asked = ",".join("?" * len(ids))
        with self._turn:
            rows = self._database.execute(f"SELECT id, person, print FROM seen WHERE id IN ({asked})", ids)  # noqa: S608 - question marks only
            return {post: Mark(person, print_) for post, person, print_ in rows}

    def add(self, listed: Listed, sha256: str, marks: Iterable[tuple[str, Mark]]) -> None:
        """Keep a batch that was sealed, and what it was the first to say, both or neither."""
        row = (listed.number, listed.root, listed.records, listed.posts, listed.kept, sha256, 0)
        with self._turn, self._storing(), self._database:
            self._database.execute("INSERT OR REPLACE INTO batches VALUES (?,?,?,?,?,?,?)", row)
            self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?,?,?)", ((i, *m) for i, m in marks))

    def anchored(self, number: int) -> None:
        """Keep that a batch's digest is anchored."""
        with self._turn, self._storing(), self._database:
            self._database.execute("UPDATE batches SET anchored = 1 WHERE number = ?", (number,))

    def unanchored(self) -> list[tuple[int, str]]:
        """Return the number and the SHA-256 digest of every batch that nobody said is anchored."""
        return self._database.execute(
            "SELECT number, sha256 FROM batches WHERE anchored = 0 ORDER BY number"
        ).fetchall()

    def listed(self) -> Iterator[Listed]:
        """Yield every batch in its order."""
        rows = self._database.execute("SELECT number, root, records, posts, kept FROM batches ORDER BY number")
        return (Listed(*row) for row in rows)

    def _opened(self) -> sqlite3.Connection:
        """Open the file, or a new one in the place of one that is none."""
        try:
            return self._connected()
        except sqlite3.DatabaseError:
            for path in self._path.parent.glob(f"{self._path.name}*"):
                path.unlink(missing_ok=True)
            with self._storing():
                return self._connected()

    def _connected(self) -> sqlite3.Connection:
        opened = sqlite3.connect(
            self._path, check_same_thread=False
        )  # one thread at a time asks, and not always the same
        try:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = OFF")  # what a power cut spoils is built again
            opened.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            opened.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            opened.close()
            raise
        self._path.chmod(0o600)
        return opened

    @contextmanager
    def _storing(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StorageFault(f"{self._path} cannot be written ({error}); free some space, or remove it") from error
