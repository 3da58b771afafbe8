"""What only the S3 adapter of the artifact store has: signatures, addresses, accounts, and servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.artifacts import FolderStore, S3Store, check, http, read, read_account, s3, store_of
from shared.artifacts.s3 import Bucket
from shared.artifacts.sigv4 import Account, query_of, signed
from shared.config import load
from shared.errors import ConfigFault, Fault, KeyFault, NotPermitted, StorageFault, Unreachable
from shared.world import RealWorld
from tests.commands import Home
from tests.conformance.test_artifacts import ACCESS_KEY, SECRET, Rclone, S3Place, content_of, opened, pieces
from tests.ground import until

MEDIA = "text/plain"
EXAMPLE = Account("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN_NS = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp()) * 10**9
HOST = {"host": "examplebucket.s3.amazonaws.com"}
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rclone]:
    """The server."""
    server = Rclone(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            *("GET", "/test.txt", {}, {"Range": "bytes=0-9"}, NOTHING),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            *("PUT", "/test%24file.text", {}),
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            *("GET", "/", {"lifecycle": ""}, {}, NOTHING),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            *("GET", "/", {"prefix": "J", "max-keys": "2"}, {}, NOTHING),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_the_published_examples_are_signed_alike(  # noqa: PLR0913, PLR0917 - an example's own columns
    method: str, path: str, query: dict[str, str], headers: dict[str, str], payload: str, signature: str
) -> None:
    """The four examples of the S3 reference come out with the signatures printed there."""
    every = signed(EXAMPLE, method, path, query, HOST | headers, payload, THEN_NS)
    assert f"Signature={signature}" == every["authorization"].rpartition(",")[2]
    assert "20130524T000000Z" == every["x-amz-date"]


@pytest.mark.spec("ILL-05")
def test_a_query_has_one_spelling() -> None:
    """Names are in order, and everything but unreserved letters is quoted."""
    assert "a=&b=%2F%20%3D%C3%BC~" == query_of({"b": "/ =ü~", "a": ""})
    assert SECRET not in repr(Account(ACCESS_KEY, SECRET))


@pytest.mark.spec("ILL-05")
def test_an_address_is_one() -> None:
    """A bucket's address names server, bucket and prefix; whatever is no such address is a ConfigFault."""
    bucket = Bucket.at("s3+https://store.example:9000/some-bucket/a/b")
    assert ("store.example:9000", "some-bucket", "a/b/") == (bucket.server.name, bucket.name, bucket.prefix)
    plain = Bucket.at("s3+http://store.example/some-bucket")
    assert ("store.example", 80, "") == (plain.server.name, plain.server.port, plain.prefix)
    for wrong in ("", "/b", "/Bucket", "/b/../c?x", "/bucket?x=1", "/bucket#x", "/bucket//x", "/bucket/a b"):
        with pytest.raises(ConfigFault, match="expected s3"):
            Bucket.at(f"s3+https://store.example{wrong}")
    with pytest.raises(ConfigFault):
        Bucket.at("s3+https://user:secret@store.example/bucket")


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("text", ["", "no colon", ":secret", "key:", "two\nlines:x"])
def test_an_account_is_read_from_a_private_file(tmp_path: Path, text: str) -> None:
    """A file that is missing, open to others, or holds no account is a KeyFault that never shows the secret."""
    file = tmp_path / "account"
    with pytest.raises(KeyFault, match="cannot be read"):
        read_account(file, "us-east-1")
    file.write_text("key:very-secret\n")
    file.chmod(0o644)
    with pytest.raises(KeyFault, match="chmod 600") as open_file:
        read_account(file, "us-east-1")
    assert "very-secret" not in str(open_file.value)
    file.chmod(0o600)
    assert Account("key", "very-secret", "eu-west-1") == read_account(file, "eu-west-1")
    file.write_text(text)
    with pytest.raises(KeyFault, match="ACCESS_KEY:SECRET"):
        read_account(file, "us-east-1")


@pytest.mark.spec("ILL-05", "COL-17")
def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    """Without an address artifacts lie in home; with one they go to the bucket; half of it is a ConfigFault."""
    account = tmp_path / "account"
    account.write_text("key:secret")
    account.chmod(0o600)
    home, url = {"home": str(tmp_path)}, {"artifact_url": "s3+http://127.0.0.1:9/bucket"}
    store = store_of(load({}, home, "here").settings, RealWorld("dev"))
    assert isinstance(store, FolderStore)
    assert tmp_path / "dev" / "artifacts" == store.folder
    chosen = load({}, home | url | {"artifact_credentials": str(account)}, "here").settings
    assert isinstance(store_of(chosen, RealWorld("dev")), S3Store)
    with pytest.raises(ConfigFault, match="set artifact_credentials too"):
        load({}, home | url, "here")
    with pytest.raises(ConfigFault, match="set artifact_url"):
        load({}, home | {"artifact_credentials": str(account)}, "here")
    with pytest.raises(ConfigFault, match="s3\\+https://HOST:PORT/BUCKET"):
        load({}, home | {"artifact_url": "https://x/bucket", "artifact_credentials": str(account)}, "here")


@pytest.mark.spec("ILL-05")
def test_a_wrong_account_or_bucket_is_named(rclone: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret is NotPermitted, a missing bucket a ConfigFault, a missing server Unreachable."""
    monkeypatch.setattr(s3, "AGAIN_S", 0.0)
    where = S3Place(tmp_path, rclone)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cases: list[tuple[S3Store, type[Fault]]] = [
        (where.store(secret="wrong"), NotPermitted),
        (where.store(name="no-such-bucket"), ConfigFault),
        (where.store(port=port), Unreachable),
    ]
    for store, fault in cases:
        with pytest.raises(fault):
            asyncio.run(store.prepare())
    with pytest.raises(NotPermitted, match="artifact_credentials"):
        asyncio.run(where.store(secret="wrong").put(pieces(b"x"), MEDIA))
    with pytest.raises(Unreachable):
        asyncio.run(where.store(port=port).put(pieces(b"x"), MEDIA))
    assert [] == where.leftovers()


@pytest.mark.spec("ILL-05")
def test_the_server_refuses_other_bytes_than_were_signed(rclone: Rclone, tmp_path: Path) -> None:
    """What is changed on the way up does not count: the server refuses it, or every reader does."""

    class Bent(S3Store):
        async def _send(self, key, query, spool, start, size, sha256, headers):  # noqa: ANN001, ANN202, PLR0913, PLR0917
            whole = spool.pieces

            async def bent(start: int, size: int) -> AsyncIterator[bytes]:
                async for piece in whole(start, size):
                    yield bytes([piece[0] ^ 1]) + piece[1:]

            spool.pieces = bent
            return await super()._send(key, query, spool, start, size, sha256, headers)

    where = S3Place(tmp_path, rclone)
    good = where.store()
    bent = Bent(good.bucket, good.account, good.spool, good.world)

    async def body() -> None:
        await bent.prepare()
        with pytest.raises(Fault):
            await check(good, (await bent.put(pieces(content_of(1_000)), MEDIA)).blake3)

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_an_upload_in_parts_that_fails_leaves_nothing(
    rclone: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that cannot be sent ends the whole upload; the server is told, and nothing of it is there."""
    where = S3Place(tmp_path, rclone)
    sent: list[str] = []

    async def body() -> None:
        store = where.store()
        await store.prepare()
        real = store._send

        async def failing(*arguments: object) -> str:
            sent.append("part")
            if len(sent) == 3:
                raise StorageFault("the third part is lost")
            return await real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(store, "_send", failing)
        with pytest.raises(StorageFault, match="third part"):
            await store.put(pieces(content_of(4 << 20), 1 << 20), MEDIA)
        monkeypatch.undo()
        assert ([], []) == ([digest async for digest in store.list()], where.leftovers())
        put = await store.put(pieces(content_of(4 << 20), 1 << 20), MEDIA)
        assert content_of(4 << 20) == await read(store, put.blake3, 4 << 20)

    asyncio.run(body())


HOSTILE = {
    "silence": b"",
    "no http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000,
    "a broken status": b"HTTP/1.1 many\r\n\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}",
    "a short body": b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
    "a broken chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "an endless answer": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + bytes(6_000_000),
    "a busy server": b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.spec("ILL-05")
@pytest.mark.parametrize("how", HOSTILE)
def test_a_server_that_misbehaves_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Whatever a server sends, nothing hangs, nothing grows without end, and the answer is Unreachable."""
    monkeypatch.setattr(s3, "AGAIN_S", 0.0)
    monkeypatch.setattr(http, "SILENCE_S", 0.3)

    async def body() -> None:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(HOSTILE[how])
                await reader.read()
            except ConnectionError:
                pass
            finally:
                writer.transport.abort()
                handled.append(1)

        handled = list[int]()
        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            bucket = Bucket.at(f"s3+http://127.0.0.1:{port}/bucket")
            store = S3Store(bucket, Account("key", "secret"), tmp_path / "spool", RealWorld("dev"))
            with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
                await store.stat("a" * 64)
            await until(lambda: len(handled) == s3.EXCHANGES)

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_a_server_that_stumbles_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer of 500 is no trouble: the exchange is repeated, signed anew."""
    monkeypatch.setattr(s3, "AGAIN_S", 0.0)
    answers = [b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"]

    async def body() -> None:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answers.pop(0))
                await reader.read()
            finally:
                writer.transport.abort()

        async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            bucket = Bucket.at(f"s3+http://127.0.0.1:{port}/bucket")
            store = S3Store(bucket, Account("key", "secret"), tmp_path / "spool", RealWorld("dev"))
            with pytest.raises(Exception, match="S002 NO_SUCH_ARTIFACT"):
                await store.stat("a" * 64)
        assert [] == answers

    asyncio.run(body())


@pytest.mark.spec("ILL-05")
def test_the_commands_work_on_a_bucket(rclone: Rclone, tmp_path: Path) -> None:
    """With an address in the settings, `artifact put` stores in the bucket, the organ registers, `verify` reads it."""
    where = S3Place(tmp_path, rclone)
    account = tmp_path / "account"
    account.write_text(f"{ACCESS_KEY}:{SECRET}\n")
    account.chmod(0o600)
    url = f"s3+http://127.0.0.1:{rclone.port}/{where.name}/in/here"
    home = Home.at(tmp_path / "home", artifact_url=url, artifact_credentials=str(account)).without_records().keyed()
    file = tmp_path / "file"
    file.write_bytes(content_of(100_000))
    with home.up("--part", "organs.artifacts"):
        [told] = home.held("artifact", "put", str(file), "--json").documents
        assert content_of(100_000) == where.content(told["blake3"])
        [row] = home.held("artifact", "verify", told["blake3"], "--json").documents
        assert "sound" == row["finding"]
        home.held("artifact", "get", told["blake3"], "--out", str(tmp_path / "out"))
        assert content_of(100_000) == (tmp_path / "out").read_bytes()
    asyncio.run(_closed(where))


async def _closed(where: S3Place) -> None:
    """Hold that nothing was left behind."""
    await opened(where)
    assert [] == where.leftovers()
