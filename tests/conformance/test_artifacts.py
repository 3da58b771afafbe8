"""One behaviour class over every artifact store: in memory, in a folder, and on a real S3-compatible server."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import IO, Protocol

import msgspec
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.artifacts import Artifact, ArtifactStore, FolderStore, MemoryStore, S3Store, check, folder, has, read
from shared.artifacts.port import CHUNK_BYTES, verified
from shared.artifacts.s3 import Bucket
from shared.artifacts.sigv4 import Account
from shared.errors import Damaged, Exit, Refused, StorageFault
from shared.world import RealWorld

MEDIA = "application/octet-stream"
SIZES = (0, 1, 1023, 1024, 65_537, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 1)


class Place(Protocol):
    """Where one kind of store keeps its bytes: makes stores on it, and does to it what disks and intruders do."""

    def store(self) -> ArtifactStore: ...

    def content(self, digest: str) -> bytes: ...

    def spoil(self, digest: str, content: bytes | None) -> None: ...

    def leftovers(self) -> list[str]: ...


class MemoryPlace:
    """The memory of one store."""

    def __init__(self, ground: Path) -> None:
        self.one = MemoryStore()

    def store(self) -> ArtifactStore:
        return self.one

    def content(self, digest: str) -> bytes:
        return bytes(self.one.contents[digest])

    def spoil(self, digest: str, content: bytes | None) -> None:
        if content is None:
            del self.one.contents[digest]
        else:
            self.one.contents[digest] = bytearray(content)

    def leftovers(self) -> list[str]:
        return sorted(self.one.contents.keys() ^ self.one.sheets.keys())


class FolderPlace:
    """A folder on the disk."""

    def __init__(self, ground: Path) -> None:
        self.folder = ground / "store"

    def store(self) -> FolderStore:
        return FolderStore(self.folder, RealWorld("dev"))

    def path(self, digest: str) -> Path:
        (found,) = self.folder.glob(f"*/{digest[:2]}/{digest}/content")
        return found

    def content(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    def spoil(self, digest: str, content: bytes | None) -> None:
        if content is None:
            self.path(digest).unlink()
        else:
            self.path(digest).write_bytes(content)

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "drafts").rglob("*"))


ACCESS_KEY, SECRET = "test-key", "test-secret"
PART_BYTES = 1 << 20
_numbers = count()


class Rclone:
    """A real S3-compatible server (`rclone serve s3`) that keeps its buckets as folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        program = Path(sysconfig.get_path("scripts")) / "rclone"
        serve = [program, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{ACCESS_KEY},{SECRET}"]
        fresh = ["--config", os.devnull, "--dir-cache-time", "1ms", "--use-json-log", "--log-level", "INFO"]
        self.process = subprocess.Popen([*serve, *fresh, root], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise AssertionError(f"the server did not start: {self.said}")
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,))
        self.reader.start()

    def _read(self, source: IO[str]) -> None:
        with source:
            self.said += source

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        self.reader.join()


class S3Place:
    """A bucket on the real server, whose folder stands open to damage."""

    def __init__(self, ground: Path, server: Rclone) -> None:
        self.server, self.spool = server, ground / "spool"
        self.name = f"bucket-{next(_numbers)}"
        self.folder = server.root / self.name
        self.folder.mkdir()

    def store(self, secret: str = SECRET, name: str = "", port: int = 0) -> S3Store:
        """A store on it, which sends more than 1 MiB in parts."""
        bucket = Bucket.at(f"s3+http://127.0.0.1:{port or self.server.port}/{name or self.name}/in/here")
        return S3Store(bucket, Account(ACCESS_KEY, secret), self.spool, RealWorld("dev"), PART_BYTES)

    def path(self, digest: str) -> Path:
        return self.folder / "in" / "here" / "content" / digest

    def content(self, digest: str) -> bytes:
        return self.path(digest).read_bytes()

    def spoil(self, digest: str, content: bytes | None) -> None:
        if content is None:
            self.path(digest).unlink()
        else:
            self.path(digest).write_bytes(content)

    def leftovers(self) -> list[str]:
        here = self.folder / "in" / "here"
        names = [sorted(path.name for path in (here / kind).glob("*")) for kind in ("content", "sheets")]
        strange = [path.name for path in self.folder.rglob(".*")]
        return [*strange, *(path.name for path in self.spool.glob("*")), *sorted(set(names[0]) ^ set(names[1]))]


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    """The server, for all tests of this file."""
    server = Rclone(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture(params=[MemoryPlace, FolderPlace, S3Place], ids=lambda kind: kind.__name__)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    if request.param is S3Place:
        return S3Place(tmp_path, request.getfixturevalue("rclone"))
    return request.param(tmp_path)


async def pieces(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    """A content as a stream."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def opened(where: Place) -> ArtifactStore:
    """A store that is ready."""
    store = where.store()
    await store.prepare()
    return store


def content_of(size: int) -> bytes:
    """Bytes that no store can guess, the same each time."""
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


async def all_of(store: ArtifactStore) -> list[str]:
    """Every digest in a store."""
    return [digest async for digest in store.list()]


@pytest.mark.spec("ILL-05", "COL-08")
@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_comes_back(where: Place, size: int) -> None:
    """Content of any size comes back byte for byte under its BLAKE3, with SHA-256, size and media type beside it."""

    async def body() -> None:
        store, content = await opened(where), content_of(size)
        put = await store.put(pieces(content), MEDIA)
        expected = Artifact(blake3(content).hexdigest(), hashlib.sha256(content).hexdigest(), size, MEDIA)
        assert expected == put
        again = await opened(where)
        assert expected == await again.stat(put.blake3) == await check(again, put.blake3)
        assert content == b"".join([chunk async for chunk in again.open(put.blake3)])
        assert content == await read(again, put.blake3, size)
        assert [put.blake3] == await all_of(again)
        await store.close()

    asyncio.run(body())


@pytest.mark.spec("COL-08")
def test_the_digests_are_those_of_the_published_vectors(where: Place) -> None:
    """The content of BLAKE3's and FIPS 180's own examples is stored under the digests that they publish."""

    async def body() -> None:
        store = await opened(where)
        nothing, abc = await store.put(pieces(b""), MEDIA), await store.put(pieces(b"abc"), MEDIA)
        assert "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262" == nothing.blake3
        assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == nothing.sha256
        assert "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85" == abc.blake3
        assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" == abc.sha256

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_the_same_content_is_stored_once(where: Place) -> None:
    """Put again, also at the same time and cut differently, content changes nothing; its first media type stands."""

    async def body() -> None:
        store, content = await opened(where), content_of(100_000)
        first = await store.put(pieces(content), MEDIA)
        many = [store.put(pieces(content, size), "text/plain") for size in (1_000, 7_777, 100_000)]
        assert [first] * 3 == await asyncio.gather(*many)
        assert [first.blake3] == await all_of(store)
        assert [] == where.leftovers()

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_two_stores_put_at_once(where: Place) -> None:
    """Two stores on one place that put the same new content at the same time both have it, and nothing is left over."""

    async def body() -> None:
        stores = [await opened(where) for _ in range(4)]
        put = await asyncio.gather(*(store.put(pieces(content_of(300_000), 50_000), MEDIA) for store in stores))
        assert 1 == len(set(map(repr, put)))
        assert [put[0].blake3] == await all_of(stores[0])
        assert put[0] == await check(stores[0], put[0].blake3)
        assert [] == where.leftovers()

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_the_list_is_complete_and_in_order(where: Place) -> None:
    """The list names everything that was put, archived or not, in the order of the digests."""

    async def body() -> None:
        store = await opened(where)
        assert [] == await all_of(store)
        put = [await store.put(pieces(content_of(n)), MEDIA) for n in range(30)]
        await store.archive(put[7].blake3, "of no use any more")
        assert sorted(artifact.blake3 for artifact in put) == await all_of(store)

    asyncio.run(body())


BAD_DIGESTS = (
    *("", "abc", "../../etc/passwd", "/etc/passwd", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"),
    *("." * 64, "../" * 21 + "a", "\0" * 64, "٣" * 64, "%2e%2e%2f" + "a" * 55, "a/" * 32, "ａ" * 64),
)


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_nothing_but_a_digest_names_an_artifact(where: Place, digest: str) -> None:
    """Whatever is no digest is Refused S001 by every operation, before any path is made of it."""

    async def body() -> None:
        store = await opened(where)

        async def drained() -> None:
            async for _ in store.open(digest):
                pass

        for ask in (store.stat, lambda d: has(store, d), lambda d: read(store, d, 9), lambda d: store.archive(d, "x")):
            with pytest.raises(Refused, match="S001 NOT_A_DIGEST"):
                await ask(digest)
        with pytest.raises(Refused, match="S001 NOT_A_DIGEST"):
            await drained()

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_what_is_not_there_is_said_to_be_missing(where: Place) -> None:
    """An unknown digest is Refused S002 by every operation, and `has` says no."""

    async def body() -> None:
        store, digest = await opened(where), "ab" * 32
        await store.put(pieces(b"another"), MEDIA)
        assert not await has(store, digest)
        for ask in (
            store.stat,
            lambda d: check(store, d),
            lambda d: read(store, d, 9),
            lambda d: store.archive(d, "x"),
        ):
            with pytest.raises(Refused, match="S002 NO_SUCH_ARTIFACT"):
                await ask(digest)

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize(
    "media_type", ["", "text", "text/", "/plain", "text/plain; charset=utf-8", "Text/plain", "a b/c"]
)
def test_a_media_type_is_one(where: Place, media_type: str) -> None:
    """A media type that is none is Refused S004 before a byte is read from the stream."""

    async def body() -> None:
        store, asked = await opened(where), list[int]()

        async def stream() -> AsyncIterator[bytes]:
            asked.append(1)
            yield b"x"

        with pytest.raises(Refused, match="S004 BAD_MEDIA_TYPE"):
            await store.put(stream(), media_type)
        assert ([], []) == (asked, await all_of(store))

    asyncio.run(body())


def flipped(content: bytes, at: int) -> bytes:
    """The content with one bit changed."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


SPOILED: dict[str, Callable[[bytes], bytes | None]] = {
    "first byte flipped": lambda content: flipped(content, 0),
    "last byte flipped": lambda content: flipped(content, len(content) - 1),
    "a byte in the middle flipped": lambda content: flipped(content, len(content) // 2),
    "one byte short": lambda content: content[:-1],
    "torn at a block": lambda content: content[:4096],
    "empty": lambda _: b"",
    "one byte long": lambda content: content + b"\0",
    "twice": lambda content: content + content,
    "pieces swapped": lambda content: content[CHUNK_BYTES:] + content[:CHUNK_BYTES],
    "gone": lambda _: None,
}


@pytest.mark.spec("ILL-05", "COL-08")
@pytest.mark.parametrize("how", SPOILED)
def test_damage_is_found_on_reading(where: Place, how: str) -> None:
    """However stored bytes are changed, every way of reading them ends in Damaged, and none ends well.

    The content is never handed over whole before the fault; `has` and `stat` alone do not look.
    """

    async def body() -> None:
        store, content = await opened(where), content_of(2 * CHUNK_BYTES + 17)
        put = await store.put(pieces(content, 100_000), MEDIA)
        other = await store.put(pieces(b"a neighbour"), MEDIA)
        where.spoil(put.blake3, SPOILED[how](content))
        got = bytearray()

        async def gather() -> None:
            async for chunk in store.open(put.blake3):
                got.extend(chunk)

        with pytest.raises(Damaged, match=put.blake3):
            await gather()
        assert len(got) < len(content)
        for ask in (check(store, put.blake3), read(store, put.blake3, 1 << 30), store.archive(put.blake3, "old")):
            with pytest.raises(Damaged, match=put.blake3):
                await ask
        assert "" == (await store.stat(put.blake3)).archived
        assert b"a neighbour" == await read(store, other.blake3, 100)
        assert Exit.TAMPERED == Damaged.exit

    asyncio.run(body())


@pytest.mark.spec("ILL-05", "COL-08")
@pytest.mark.parametrize("broken", ["blake3", "sha256"])
def test_each_digest_alone_finds_a_forgery(broken: str) -> None:
    """Bytes with the right size and one right digest are Damaged by the other: whoever breaks one hash has nothing.

    Both digests right, they pass.
    """

    async def gather(known: Artifact) -> bytes:
        return b"".join([piece async for piece in verified(pieces(b"forged!"), known)])

    forged = Artifact(blake3(b"forged!").hexdigest(), hashlib.sha256(b"forged!").hexdigest(), 7, MEDIA)
    genuine = Artifact(blake3(b"genuine").hexdigest(), hashlib.sha256(b"genuine").hexdigest(), 7, MEDIA)
    # a collision found in one hash: of that one the forged bytes have the genuine digest
    collided = msgspec.structs.replace(genuine, **{broken: getattr(forged, broken)})
    assert b"forged!" == asyncio.run(gather(forged))
    with pytest.raises(Damaged, match="restore it from a copy"):
        asyncio.run(gather(collided))


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_copy_is_replaced(where: Place, how: str) -> None:
    """Put again, content whose stored copy is damaged is whole again."""

    async def body() -> None:
        store, content = await opened(where), content_of(2 * CHUNK_BYTES + 17)
        put = await store.put(pieces(content), MEDIA)
        where.spoil(put.blake3, SPOILED[how](content))
        assert put == await store.put(pieces(content), MEDIA)
        assert content == await read(store, put.blake3, len(content))
        assert [put.blake3] == await all_of(store)

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_a_stream_that_fails_leaves_nothing(where: Place) -> None:
    """Whatever the stream raises passes through, a cancellation too, and the store is as it was."""

    async def failing() -> AsyncIterator[bytes]:
        yield content_of(50_000)
        raise ZeroDivisionError

    async def endless() -> AsyncIterator[bytes]:
        yield content_of(50_000)
        await asyncio.get_running_loop().create_future()

    async def body() -> None:
        store = await opened(where)
        with pytest.raises(ZeroDivisionError):
            await store.put(failing(), MEDIA)
        putting = asyncio.ensure_future(store.put(endless(), MEDIA))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert ([], []) == (await all_of(store), where.leftovers())

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_retention_archives_with_a_reason(where: Place) -> None:
    """Archived content keeps its reason and stays readable and provable; archived again, it changes nothing."""

    async def body() -> None:
        store, content = await opened(where), content_of(70_000)
        put = await store.put(pieces(content), MEDIA)
        for reason in ("", "  ", "x" * 1_001):
            with pytest.raises(Refused, match="B002"):
                await store.archive(put.blake3, reason)
        archived = await store.archive(put.blake3, "superseded by a later checkpoint")
        assert Artifact(put.blake3, put.sha256, put.size, MEDIA, "superseded by a later checkpoint") == archived
        assert archived == await store.archive(put.blake3, "another reason")
        again = await opened(where)
        assert archived == await again.stat(put.blake3) == await again.put(pieces(content), MEDIA)
        assert content == await read(again, put.blake3, len(content))
        assert not hasattr(store, "delete")

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_a_reader_says_how_much_it_can_hold(where: Place) -> None:
    """Content larger than the reader's limit is Refused S003 before a byte of it is read."""

    async def body() -> None:
        store = await opened(where)
        put = await store.put(pieces(content_of(1_000)), MEDIA)
        with pytest.raises(Refused, match="S003 TOO_LARGE"):
            await read(store, put.blake3, 999)
        where.spoil(put.blake3, None)
        with pytest.raises(Refused, match="S003 TOO_LARGE"):
            await read(store, put.blake3, 999)

    asyncio.run(body())


@pytest.mark.spec("ILL-05", "COL-08")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=5_000),
    cuts=st.lists(st.integers(0, 5_000), max_size=6),
    change=st.tuples(st.integers(0, 4_999), st.integers(1, 255)),
)
def test_any_changed_byte_is_found(where: Place, content: bytes, cuts: list[int], change: tuple[int, int]) -> None:
    """However a stream is cut its digest is the same; whichever byte changes to whatever value, reading finds it."""

    async def stream() -> AsyncIterator[bytes]:
        edges = [0, *sorted(cuts), len(content)]
        for start, end in pairwise(edges):
            yield content[start:end]

    async def body() -> None:
        store = await opened(where)
        put = await store.put(stream(), MEDIA)
        assert blake3(content).hexdigest() == put.blake3
        assert content == await read(store, put.blake3, 5_000)
        if content:
            at = change[0] % len(content)
            where.spoil(put.blake3, content[:at] + bytes([content[at] ^ change[1]]) + content[at + 1 :])
            with pytest.raises(Damaged):
                await read(store, put.blake3, 5_000)
            where.spoil(put.blake3, content)

    asyncio.run(body())


def test_a_full_memory_is_a_storage_fault() -> None:
    """The simulated store has the fault of a full disk: nothing is stored, and what fits still is."""

    async def body() -> None:
        store = MemoryStore(room=100)
        with pytest.raises(StorageFault, match="room for 100 bytes"):
            await store.put(pieces(bytes(101)), MEDIA)
        assert [] == await all_of(store)
        await store.put(pieces(bytes(60)), MEDIA)
        with pytest.raises(StorageFault, match="room for 40 bytes"):
            await store.put(pieces(bytes(41)), MEDIA)

    asyncio.run(body())


# The folder alone


@pytest.mark.spec("ILL-05")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """On a real file system that is full a put is a StorageFault, nothing is left, and what fits still goes in."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    program = f"""
import asyncio, json, sys
from pathlib import Path
from shared.artifacts import FolderStore
from shared.errors import StorageFault
from shared.world import RealWorld

async def stream(size):
    for _ in range(size // 65536):
        yield bytes(65536)

async def main():
    folder = Path({str(disk)!r}) / "store"
    store = FolderStore(folder, RealWorld("dev"))
    await store.prepare()
    try:
        await store.put(stream(4 << 20), "text/plain")
        said = ""
    except StorageFault as fault:
        said = str(fault)
    left = [path.name for path in (folder / "drafts").rglob("*")]
    put = await store.put(stream(256 << 10), "text/plain")
    found = [digest async for digest in store.list()]
    print(json.dumps([said, left, found == [put.blake3]]))

asyncio.run(main())
"""
    script = " ".join(mount) + f" && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        input=program,
        text=True,
        capture_output=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert os.strerror(errno.ENOSPC) in done.stdout
    assert done.stdout.strip().endswith(", [], true]")


WRITER = """
import asyncio, sys
from pathlib import Path
from shared.artifacts import FolderStore
from shared.world import RealWorld

async def stream():
    for n in range(1 << 20):
        yield bytes([n % 256]) * 65536
        if n == 8:
            print("writing", flush=True)
            await asyncio.get_running_loop().create_future()

async def main():
    store = FolderStore(Path(sys.argv[1]), RealWorld("dev"))
    await store.prepare()
    await store.put(stream(), "text/plain")

asyncio.run(main())
"""


@pytest.mark.spec("ILL-05")
def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """A draft of a living writer is left alone; one of a killed writer is swept when the store is opened next."""
    where = FolderPlace(tmp_path)
    asyncio.run(where.store().prepare())
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(where.folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert "writing\n" == writer.stdout.readline()
        asyncio.run(where.store().prepare())
        assert ["content"] == [name for name in where.leftovers() if len(name) < 32]
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert 2 == len(where.leftovers())

    async def body() -> None:
        store = await opened(where)
        assert ([], []) == (where.leftovers(), await all_of(store))

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("step", ["write_private", "rename", "sync_folder"])
def test_a_crash_at_any_step_leaves_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Ended at any of its steps, a put or an archiving is either done or not begun for whoever opens the store next."""
    where, content = FolderPlace(tmp_path), content_of(10_000)
    digest = blake3(content).hexdigest()
    for after in range(8):
        for archive in (False, True):
            where.folder = tmp_path / f"{step}{after}{archive}"
            asyncio.run(_crashed(where, content, step, after, archive, monkeypatch))

            async def body(archive: bool = archive) -> None:  # noqa: FBT001 - bound here
                store = await opened(where)
                assert [] == where.leftovers()
                if archive or await all_of(store):
                    assert content == await read(store, digest, 10_000)
                    assert (await store.stat(digest)).archived in ("", "old")
                assert content == await read(store, (await store.put(pieces(content), MEDIA)).blake3, 10_000)
                assert "" != (await store.archive(digest, "old")).archived

            asyncio.run(body())


class Crash(BaseException):
    """The end of a process, as far as its files can tell."""


async def _crashed(  # noqa: PLR0913, PLR0917 - where, what and when
    where: FolderPlace,
    content: bytes,
    step: str,
    after: int,
    archive: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Put, or put and archive, and end just before one of the steps; nothing is tidied up after that."""
    store = where.store()
    await store.prepare()
    if archive:
        await store.put(pieces(content), MEDIA)
    left = [after]

    def crash(real: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **more: object) -> object:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            return real(*arguments, **more)

        return step

    with monkeypatch.context() as patched:
        owner: object = Path if step == "rename" else folder
        patched.setattr(owner, step, crash(getattr(owner, step)))
        patched.setattr(folder, "_remove", bool)
        with suppress(Crash):
            await (store.archive(blake3(content).hexdigest(), "old") if archive else store.put(pieces(content), MEDIA))


@pytest.mark.spec("ILL-05")
def test_links_lead_nowhere(tmp_path: Path) -> None:
    """A symbolic link in the place of a content, a sheet or a folder is Damaged for readers and writers alike."""
    where, outside = FolderPlace(tmp_path), tmp_path / "outside"

    async def body() -> None:
        store = await opened(where)
        content = content_of(1_000)
        put = await store.put(pieces(content), MEDIA)
        file = where.path(put.blake3)
        for path in (file, file.with_name("sheet"), file.parent, file.parent.parent):
            path.rename(outside)
            path.symlink_to(outside)
            with pytest.raises(Damaged):
                await check(store, put.blake3)
            path.unlink()
            outside.rename(path)
        assert content == await read(store, put.blake3, 1_000)
        prefix = file.parent.parent
        prefix.rename(outside)
        prefix.symlink_to(outside)
        with pytest.raises(Damaged, match="symbolic link"):
            await store.put(pieces(content), MEDIA)
        assert [put.blake3] == [path.name for path in outside.iterdir()]
        assert [] == where.leftovers()
        (where.folder / "drafts" / "planted").symlink_to(outside)
        await store.prepare()
        assert [put.blake3] == [path.name for path in outside.iterdir()]

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "nothing", "other", "long", "empty", "json"])
def test_a_sheet_that_is_none_is_damage(tmp_path: Path, kind: str) -> None:
    """Whatever stands in the place of a sheet, nothing hangs, and what cannot have been written there is Damaged."""
    where = FolderPlace(tmp_path)

    async def body() -> None:
        store = await opened(where)
        put, other = await store.put(pieces(b"one"), MEDIA), await store.put(pieces(b"other"), MEDIA)
        sheet = where.path(put.blake3).with_name("sheet")
        text = sheet.read_bytes()
        sheet.unlink()
        match kind:
            case "fifo":
                os.mkfifo(sheet)
            case "folder":
                sheet.mkdir()
            case "socket":
                sheet.symlink_to("/dev/zero")
            case "other":
                sheet.write_bytes(where.path(other.blake3).with_name("sheet").read_bytes())
            case "long":
                sheet.write_bytes(text + b" " * 20_000 + b"}")
            case "empty":
                sheet.write_bytes(b"")
            case "json":
                sheet.write_bytes(text.replace(b'"size":3', b'"size":"3"'))
            case _:
                pass
        with pytest.raises(Damaged):
            await check(store, put.blake3)
        assert sorted([put.blake3, other.blake3]) == await all_of(store)
        await (await opened(where)).put(pieces(b"one"), MEDIA)
        assert b"one" == await read(store, put.blake3, 3)

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """64 MiB go in and come out through less than a tenth of that."""

    async def stream() -> AsyncIterator[bytes]:
        for n in range(64):
            yield bytes([n]) * (1 << 20)

    async def body() -> None:
        store = await opened(FolderPlace(tmp_path))
        tracemalloc.start()
        put = await store.put(stream(), MEDIA)
        await check(store, put.blake3)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 64 << 20 == put.size
        assert peak < 6 << 20

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_the_folder_belongs_to_its_user_alone(tmp_path: Path) -> None:
    """Every folder of the store is 0700 and every file 0600."""
    where = FolderPlace(tmp_path)

    async def body() -> None:
        store = await opened(where)
        put = await store.put(pieces(b"secret"), MEDIA)
        await store.archive((await store.put(pieces(b"old"), MEDIA)).blake3, "old")
        modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in [where.folder, *where.folder.rglob("*")]}
        assert {(True, 0o700), (False, 0o600)} == modes
        assert put == await store.stat(put.blake3)

    asyncio.run(body())
