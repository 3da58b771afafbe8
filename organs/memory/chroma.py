"""The real adapter of memory: Chroma in this process, on disk, with vectors of our own.

    folder/mark.json     how far the log was read, and which generation holds the rows
    folder/g7/           Chroma's own files

Chroma keeps what it deleted in its files. So to erase a person every other row is written into a new generation, and
the old one is removed whole; and the room that Chroma's index leaves for more rows is written over with zeros. One
thread makes every call, because Chroma's block.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from os import SEEK_END, fsync
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from organs.memory.port import CANDIDATES, Mark, Row, checked, checked_vector, numbers, ordered
from shared.constant import constant
from shared.errors import Damaged, StorageFault
from shared.files import private_folder, write_private
from shared.journal import record
from shared.part.meter import in_thread
from shared.personal import Personal
from shared.subjects.memory import MemoryKind, Origin

T = TypeVar("T")

COLLECTION = "passages"
_HEADER: Final = struct.Struct("<4Q")
_HEADER_AT: Final = 4
_LENGTH_BYTES: Final = 4
WRITTEN_AT_ONCE = constant(1_000, "passages", "BIZ-15")  # Chroma takes about five thousand


class _Marked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in mark.json; `rows` tells whether Chroma's files are still those that were written."""

    mark: Mark
    generation: int
    rows: int


class _Collection(Protocol):
    """What is used of Chroma's collection."""

    def upsert(
        self,
        ids: list[str],
        *,
        embeddings: list[list[float]],
        metadatas: list[dict[str, str | int]],
        documents: list[str],
    ) -> None: ...
    def delete(self, ids: list[str]) -> None: ...
    def get(self, ids: list[str] | None = None, *, where: Any = None, include: list[str]) -> Mapping[str, Any]: ...  # noqa: ANN401
    def query(self, *, query_embeddings: Any, n_results: int, where: Any, include: list[str]) -> Mapping[str, Any]: ...  # noqa: ANN401
    def count(self) -> int: ...


class ChromaPassages:
    """Rows in a folder of mode 0700. Chroma is imported by the first call that needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._thread = ThreadPoolExecutor(1, "chroma")
        self._client: Any = None
        self._rows: _Collection | None = None
        self._marked: _Marked = _Marked(Mark(), 0, 0)
        self._blanked: dict[Path, int] = {}  #: indexes whose room holds nothing, and their lengths

    async def open(self) -> Mark:
        return await self._run(self._open)

    async def close(self) -> None:
        await self._run(self._let_go)
        self._thread.shutdown()

    async def mark(self) -> Mark:
        return await self._run(lambda: self._marked.mark)  # after whatever is being done

    async def apply(self, put: Sequence[Row], remove: Sequence[str], mark: Mark) -> None:
        rows = {row.id: checked(row) for row in put}
        await self._run(lambda: self._apply(list(rows.values()), list(dict.fromkeys(remove)), mark))

    async def erase(self, person: str, mark: Mark) -> int:
        return await self._run(lambda: self._erase(person, mark))

    async def renew(self, rows: Sequence[Row], mark: Mark) -> None:
        fresh = {row.id: checked(row) for row in rows}
        await self._run(lambda: self._anew(list(fresh.values()), mark))

    async def nearest(self, vector: bytes, limit: int, kinds: Sequence[MemoryKind] = ()) -> list[tuple[Row, int]]:
        checked_vector(vector)
        return await self._read(lambda: self._nearest(vector, limit, kinds))

    async def page(self, after: str, limit: int, source: str = "") -> list[Row]:
        where = {"source": source} if source else None
        return await self._read(lambda: self._page(after, limit, where))

    async def of_kinds(self, kinds: Sequence[MemoryKind]) -> list[Row]:
        return await self._read(lambda: self._page("", None, {"kind": {"$in": list(kinds)}}))

    async def find(self, ids: Sequence[str]) -> list[Row]:
        return await self._read(lambda: self._get(sorted(set(ids))))

    async def count(self) -> int:
        return await self._run(lambda: self._marked.rows)

    async def _run(self, call: Callable[[], T]) -> T:
        return await in_thread(call, self._thread)

    async def _read(self, call: Callable[[], T]) -> T:
        """Read rows. Raises Damaged for whatever Chroma finds in its files instead."""
        try:
            return await self._run(call)
        except _spoiled() as error:
            raise Damaged(f"{self._place} cannot be read ({type(error).__name__}: {error})") from error

    # In the thread

    def _open(self) -> Mark:
        private_folder(self.folder)
        with suppress(OSError, msgspec.DecodeError):
            self._marked = msgspec.json.decode((self.folder / "mark.json").read_bytes(), type=_Marked)
        self._sweep()
        if self._marked.rows and not self._is_whole():
            record("memory", "memory_lost", detail=f"{self._place} does not hold what was written there")
            self._anew([], Mark())
        return self._marked.mark

    def _is_whole(self) -> bool:
        """Say whether Chroma's files are there and hold as many rows as were written; Chroma opens any folder."""
        if not _is_sound(self._place / "chroma.sqlite3"):
            return False
        try:
            return self._collection.count() == self._marked.rows
        except _spoiled():
            return False

    @property
    def _place(self) -> Path:
        return self.folder / f"g{self._marked.generation}"

    @property
    def _collection(self) -> _Collection:
        """The rows of this generation, opened on first use."""
        if self._rows is None:
            import chromadb
            from chromadb.config import Settings

            private_folder(self._place)
            settings = Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(self._place), settings)
            how: Any = {"hnsw": {"space": "cosine"}}
            found = self._client.get_or_create_collection(COLLECTION, embedding_function=None, configuration=how)
            self._rows = cast("_Collection", found)
        return self._rows

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._rows = None
        self._blanked.clear()

    def _sweep(self) -> None:
        """Remove every generation but this one: nothing more is taken up while one stays that was let go of."""
        for stray in self.folder.glob("g*"):
            if stray != self._place:
                _remove(stray)

    def _apply(self, put: list[Row], remove: list[str], mark: Mark) -> None:
        self._sweep()
        count = self._marked.rows
        if remove and count:
            self._collection.delete(remove)
        if put:
            self._write(put)
        if put or (remove and count):
            count = self._collection.count()
        self._remember(_Marked(mark, self._marked.generation, count))

    def _write(self, rows: list[Row]) -> None:
        try:
            for at in range(0, len(rows), WRITTEN_AT_ONCE):
                some = rows[at : at + WRITTEN_AT_ONCE]
                self._collection.upsert(
                    [row.id for row in some],
                    embeddings=[[float(number) for number in numbers(row.vector)] for row in some],
                    metadatas=[_metadata(row) for row in some],
                    documents=[row.text for row in some],
                )
            for index in self._place.glob("*/header.bin"):
                self._blank(index)
        except OSError as error:
            raise StorageFault(f"memory cannot be written in {self._place}: {error}") from error

    def _blank(self, index: Path) -> None:
        """Write zeros where Chroma's index has room for more rows: it holds whatever this process had in memory."""
        for data, used in _used(index).items():
            if self._blanked.get(data) != (length := data.stat().st_size):  # new, or made anew with more room
                _zero(data, used)
                self._blanked[data] = length

    def _remember(self, marked: _Marked) -> None:
        write_private(self.folder / "mark.json", msgspec.json.encode(marked))
        self._marked = marked

    def _erase(self, person: str, mark: Mark) -> int:
        self._sweep()
        rows = self._page("", None, None)
        stay = [row for row in rows if row.person != person]
        if len(stay) == len(rows):
            self._remember(msgspec.structs.replace(self._marked, mark=mark))
            return 0
        self._anew(stay, mark)
        return len(rows) - len(stay)

    def _anew(self, rows: list[Row], mark: Mark) -> None:
        """Write these rows into the next generation, make it the one in force, then remove the one before."""
        self._let_go()
        old = self._marked
        self._marked = _Marked(mark, old.generation + 1, len(rows))
        with ExitStack() as undo:
            undo.callback(self._back_to, old)
            shutil.rmtree(self._place, ignore_errors=True)
            if rows:
                self._write(rows)
            self._remember(self._marked)
            undo.pop_all()
        self._sweep()

    def _back_to(self, old: _Marked) -> None:
        self._let_go()
        self._marked = old

    def _nearest(self, vector: bytes, limit: int, kinds: Sequence[MemoryKind]) -> list[tuple[Row, int]]:
        if not self._marked.rows:
            return []
        found = self._collection.query(
            query_embeddings=[[float(number) for number in numbers(vector)]],
            n_results=min(max(limit, CANDIDATES), self._marked.rows),
            where={"kind": {"$in": list(kinds)}} if kinds else None,
            include=["embeddings", "metadatas", "documents"],
        )
        flat = {name: found[name][0] for name in ("ids", "embeddings", "metadatas", "documents")}
        return ordered(_rows(flat), vector, limit)

    def _page(self, after: str, limit: int | None, where: dict[str, Any] | None) -> list[Row]:
        if not self._marked.rows:
            return []
        ids = sorted(one for one in self._collection.get(where=where, include=[])["ids"] if one > after)
        return self._get(ids[:limit])

    def _get(self, ids: list[str]) -> list[Row]:
        if not ids or not self._marked.rows:
            return []
        found = self._collection.get(ids, include=["embeddings", "metadatas", "documents"])
        return sorted(_rows(found), key=lambda row: row.id)


def _metadata(row: Row) -> dict[str, str | int]:
    """Return a row as Chroma keeps it beside text and vector: flat, so that other tools of Chroma's can read it."""
    return {
        "kind": row.kind,
        "source": row.source,
        "embedder": row.embedder,
        "about_ms": row.about_ms,
        "due_ms": row.due_ms,
        "heard": row.heard,
        "index": row.index,
        "person": row.person,
        "sealed": row.sealed.sealed.hex() if row.sealed else "",
        **{f"origin_{name}": value for name, value in msgspec.structs.asdict(row.origin).items()},
    }


def _rows(found: Mapping[str, Any]) -> list[Row]:
    return [
        _row(*one)
        for one in zip(found["ids"], found["embeddings"], found["metadatas"], found["documents"], strict=True)
    ]


def _row(one: str, embedding: Any, meta: dict[str, Any], text: str | None) -> Row:  # noqa: ANN401 - an array of Chroma's
    """Return a row as it was written. Chroma scales vectors to length 1 and back, which moves them by less than 0.5."""
    origin = Origin(*(meta[f"origin_{name}"] for name in Origin.__struct_fields__))
    sealed = Personal[str](bytes.fromhex(meta["person"]), bytes.fromhex(meta["sealed"])) if meta["sealed"] else None
    vector = bytes(round(float(number)) & 0xFF for number in embedding)
    about = (meta["about_ms"], meta["due_ms"], meta["heard"], int(meta["index"]))
    return Row(one, meta["kind"], text or "", vector, origin, meta["source"], meta["embedder"], *about, sealed)


def _spoiled() -> tuple[type[Exception], ...]:
    """Return what spoiled files raise: Chroma's own errors, and those of rows that are not as they were written."""
    from chromadb.errors import ChromaError

    return ChromaError, LookupError, TypeError, ValueError, OSError


def _is_sound(database: Path) -> bool:
    """Say whether SQLite finds its file whole. Chroma ends the whole process over some that are not."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database.absolute().as_uri() + "?mode=ro", uri=True)) as opened:
        try:
            return opened.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        except (sqlite3.Error, UnicodeDecodeError):
            return False


def _used(header: Path) -> dict[Path, int]:
    """Return how many bytes of rows stand in each file of an index that has room for more.

    Of hnswlib's header.bin: after a version of four bytes numbers of eight, of which the third is how many rows are
    written, the fourth how many bytes one takes in data_level0.bin; in length.bin each takes a float.
    """
    _, _, rows, size = _HEADER.unpack_from(header.read_bytes(), _HEADER_AT)
    return {header.with_name("data_level0.bin"): rows * size, header.with_name("length.bin"): rows * _LENGTH_BYTES}


def _zero(data: Path, start: int) -> None:
    """Write zeros from a byte of a file on."""
    with data.open("r+b") as file:
        room = max(file.seek(0, SEEK_END) - start, 0)
        file.seek(-room, SEEK_END)
        file.write(bytes(room))
        file.flush()
        fsync(file.fileno())


def _remove(folder: Path) -> None:
    """Remove a generation. Raises StorageFault where something of it stays: it may be about a person who was erased."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        found = f"{folder} holds what memory let go of and cannot be removed: remove it by hand"
        record("memory", "memory_lingers", detail=found)
        raise StorageFault(found)
