"""What every calendar, authority and proof store does: the real ones, and those that a simulation runs on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from organs.anchor.authorities import HttpAuthority, LocalAuthority, SimAuthority
from organs.anchor.calendars import HttpCalendar, LocalCalendar, SimCalendar, upgraded
from organs.anchor.http import exchange
from organs.anchor.ots import Bitcoin, Pending, read_detached, write_detached
from organs.anchor.ports import Calendar, ProofStore, TimestampAuthority
from organs.anchor.state import LOCAL_URI
from organs.anchor.store import FileProofStore, MemoryProofStore
from shared.errors import ConfigFault, Refused, StorageFault, Unreachable
from shared.world import RealWorld, SimWorld, simulate
from tests import calendars
from tests.commands import ROOT

DIGEST, OTHER = bytes(range(32)), bytes(32)
Time: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Opened: TypeAlias = AbstractAsyncContextManager[tuple[Calendar, Time]]


@asynccontextmanager
async def simulated(_: Path) -> AsyncIterator[tuple[Calendar, Time]]:
    """The simulated calendar, and a minute of its time."""
    world = SimWorld("dev", 7)
    yield SimCalendar(world), lambda: world.sleep(61)


@asynccontextmanager
async def over_http(_: Path) -> AsyncIterator[tuple[Calendar, Time]]:
    """A public calendar on loopback, and the block it waits for."""

    async def mined() -> None:
        server.mine()

    async with calendars.calendar() as server:
        yield HttpCalendar(server.url, RealWorld("dev")), mined


@asynccontextmanager
async def own(folder: Path) -> AsyncIterator[tuple[Calendar, Time]]:
    """This installation's calendar on disk, and the round that a public one promises."""
    store = FileProofStore(folder / "anchors")
    await store.open()
    made = LocalCalendar(store, RealWorld("dev"))
    await made.open()

    async def closed() -> None:
        async with calendars.calendar() as server:
            await made.close_round(HttpCalendar(server.url, RealWorld("dev")))

    yield made, closed


CALENDARS: dict[str, Callable[[Path], Opened]] = {"simulated": simulated, "http": over_http, "own": own}


@pytest.fixture(params=CALENDARS)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Calendar, Time], Any]], None]:
    """Run a body on each calendar, the simulated one under simulated time."""
    opened = CALENDARS[request.param]

    def run(body: Callable[[Calendar, Time], Any]) -> None:
        async def whole() -> None:
            async with opened(tmp_path) as (calendar, time):
                await body(calendar, time)

        if request.param == "simulated":
            simulate(whole)
        else:
            asyncio.run(whole())

    return run


Play: TypeAlias = Callable[[Callable[[Calendar, Time], Any]], None]


class TestCalendar:
    """A calendar promises at once, and later says more."""

    @pytest.mark.spec("COL-05")
    def test_it_promises_what_it_is_given(self, play: Play) -> None:
        """A submitted digest comes back as a timestamp of it that ends in this calendar's one promise."""

        async def body(calendar: Calendar, time: Time) -> None:
            promised = await calendar.submit(DIGEST)
            assert DIGEST == promised.message
            assert [Pending(calendar.uri)] == [one for _, one in promised.attested()]
            assert promised == read_detached(write_detached(promised))

        play(body)

    @pytest.mark.spec("COL-05")
    def test_it_hides_what_it_is_given(self, play: Play) -> None:
        """The same digest twice gives two commitments, neither of them the digest: nobody can look for it."""

        async def body(calendar: Calendar, time: Time) -> None:
            [[one], [two]] = [[m for m, _ in (await calendar.submit(DIGEST)).attested()] for _ in range(2)]
            assert 3 == len({DIGEST, one, two})

        play(body)

    @pytest.mark.spec("COL-05")
    def test_it_knows_more_later(self, play: Play) -> None:
        """Nothing is new at first; in time the promise becomes a longer proof of the same digest."""

        async def body(calendar: Calendar, time: Time) -> None:
            promised = await calendar.submit(DIGEST)
            assert promised == await upgraded(promised, [calendar])
            await time()
            more = await upgraded(promised, [calendar])
            assert DIGEST == more.message
            assert 2 == len(list(more.attested()))
            assert promised == promised.merged([promised])
            assert more == await upgraded(more, [calendar])

        play(body)

    @pytest.mark.spec("COL-05")
    def test_it_knows_nothing_of_strangers(self, play: Play) -> None:
        """What a calendar never promised it has no word on, however long the message is."""

        async def body(calendar: Calendar, time: Time) -> None:
            await time()
            assert [None, None] == [await calendar.upgrade(OTHER), await calendar.upgrade(b"short")]

        play(body)


@pytest.mark.spec("COL-05", "X-07")
def test_a_round_holds_everything_that_waited(tmp_path: Path) -> None:
    """One public promise covers every commitment that waited; each proof then leads through it to the block."""

    async def body() -> None:
        async with calendars.calendar() as server, own(tmp_path) as (calendar, _):
            assert isinstance(calendar, LocalCalendar)
            public = HttpCalendar(server.url, RealWorld("dev"))
            promised = [await calendar.submit(bytes([n]) * 32) for n in range(7)]
            assert (7, 0) == (await calendar.close_round(public), await calendar.close_round(public))
            assert ["POST /digest"] == server.asked
            server.mine()
            for one in promised:
                grown = await upgraded(await upgraded(one, [calendar]), [public])
                assert Bitcoin(calendars.CLAIMED) in [found for _, found in grown.attested()]

    asyncio.run(body())


@pytest.mark.spec("COL-05", "X-07")
def test_a_round_that_fails_leaves_everything_waiting(tmp_path: Path) -> None:
    """Where the public calendar is gone or talks nonsense, the round is a named no and is made whole later."""

    async def body() -> None:
        async with calendars.calendar() as server, own(tmp_path) as (calendar, _):
            assert isinstance(calendar, LocalCalendar)
            promised = await calendar.submit(DIGEST)
            with pytest.raises(Unreachable):
                await calendar.close_round(HttpCalendar("http://127.0.0.1:1", RealWorld("dev")))
            server.say = b"HTTP/1.0 200 so\r\n\r\nnonsense"
            with pytest.raises(Refused, match="A004"):
                await calendar.close_round(HttpCalendar(server.url, RealWorld("dev")))
            server.say = None
            assert promised == await upgraded(promised, [calendar])
            assert 1 == await calendar.close_round(HttpCalendar(server.url, RealWorld("dev")))
            assert promised != await upgraded(promised, [calendar])

    asyncio.run(body())


@pytest.mark.spec("COL-05")
def test_our_calendar_keeps_its_name_and_its_promises(tmp_path: Path) -> None:
    """Opened again, a calendar has the address it had, no network knows it, and it still knows what it promised."""

    async def body() -> None:
        async with own(tmp_path) as (before, closed):
            promised = await before.submit(DIGEST)
            await closed()
        async with own(tmp_path) as (after, _):
            assert before.uri == after.uri
            assert after.uri.startswith(LOCAL_URI)
            assert promised != await upgraded(promised, [after])

    asyncio.run(body())


NONSENSE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a redirect": b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    "an error": b"HTTP/1.0 500 so\r\n\r\noops",
    "an empty answer": b"HTTP/1.0 200 so\r\n\r\n",
    "a page": b"HTTP/1.0 200 so\r\n\r\n<html>welcome to this hotel",
    "less than announced": b"HTTP/1.0 200 so\r\nContent-Length: 100\r\n\r\n\x08",
    "chunks": b"HTTP/1.1 200 so\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "far too much": b"HTTP/1.0 200 so\r\n\r\n" + bytes(1_000_000),
    "an endless head": b"HTTP/1.0 200 so\r\n" + b"a: b\r\n" * 200_000,
    "somebody else's promise": b"HTTP/1.0 200 so\r\n\r\n\0\x83\xdf\xe3\x0d\x2e\xf9\x0c\x8e\x0a\x09https://b",
    "a block at once": b"HTTP/1.0 200 so\r\n\r\n\0\x05\x88\x96\x0d\x73\xd7\x19\x01\x01\x07",
}


@pytest.mark.spec("COL-05", "X-12")
@pytest.mark.parametrize("name", NONSENSE)
def test_a_bad_answer_of_a_calendar_has_a_name(name: str) -> None:
    """Whatever a calendar answers instead of a promise of its own is refused as A004, never believed."""

    async def body() -> None:
        async with calendars.calendar() as server:
            server.say = NONSENSE[name]
            with pytest.raises(Refused, match="A004"):
                await HttpCalendar(server.url, RealWorld("dev")).submit(DIGEST)

    asyncio.run(body())


@pytest.mark.spec("COL-05", "X-12")
def test_an_answer_has_a_size() -> None:
    """An answer of exactly as many bytes as are allowed is read, one byte more is refused."""

    async def body() -> None:
        async with calendars.calendar() as server:
            server.say = b"HTTP/1.0 200 so\r\n\r\n" + bytes(100)
            assert (200, bytes(100)) == await exchange("GET", server.url, b"", {}, 100, 20.0)
            with pytest.raises(Refused, match="more than the 99 bytes"):
                await exchange("GET", server.url, b"", {}, 99, 20.0)

    asyncio.run(body())


@pytest.mark.spec("COL-05", "X-12")
def test_a_calendar_that_never_ends_is_left() -> None:
    """A server that holds the connection open and says nothing more is left at the deadline, as unreachable."""

    async def body() -> None:
        silent = asyncio.Event()

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.0 200 so\r\n\r\n")
            await reader.read()  # until the other side goes
            silent.set()
            writer.close()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Unreachable, match="in time"):
            await exchange("GET", url, b"", {}, 100, 0.2)
        await asyncio.wait_for(silent.wait(), 20)
        server.close()
        await server.wait_closed()

    asyncio.run(body())


# Authorities


@asynccontextmanager
async def sim_authority(_: Path) -> AsyncIterator[TimestampAuthority]:
    """The simulated one."""
    yield SimAuthority(SimWorld("dev", 7))


@asynccontextmanager
async def local_authority(folder: Path) -> AsyncIterator[TimestampAuthority]:
    """One of this installation."""
    yield LocalAuthority(folder / "home" / "authority")


@asynccontextmanager
async def http_authority(folder: Path) -> AsyncIterator[TimestampAuthority]:
    """One behind a URL, signing with openssl too."""
    async with calendars.authority(folder) as (url, trusted):
        yield HttpAuthority(url, trusted)


AUTHORITIES = {"simulated": sim_authority, "local": local_authority, "http": http_authority}


@pytest.mark.parametrize("name", AUTHORITIES)
class TestAuthority:
    """An authority signs a digest, and nothing else passes for its word."""

    @pytest.mark.spec("COL-05")
    def test_its_token_is_for_this_digest(self, name: str, tmp_path: Path) -> None:
        """A token verifies for the digest it was made for, and is refused as A005 for any other."""

        async def body() -> None:
            async with AUTHORITIES[name](tmp_path) as authority:
                token = await authority.stamp(DIGEST)
                await authority.check(DIGEST, token)
                with pytest.raises(Refused, match="A005"):
                    await authority.check(OTHER, token)

        asyncio.run(body())

    @pytest.mark.spec("COL-05", "X-12")
    def test_a_changed_token_is_refused(self, name: str, tmp_path: Path) -> None:
        """A token with a bit turned, cut short, or made of nothing is refused as A005."""

        async def body() -> None:
            async with AUTHORITIES[name](tmp_path) as authority:
                token = await authority.stamp(DIGEST)
                for forged in (token[:-1] + bytes([token[-1] ^ 1]), token[:-9], b"", b"\x30\x03\x02\x01\x02"):
                    with pytest.raises(Refused, match="A005"):
                        await authority.check(DIGEST, forged)

        asyncio.run(body())


@pytest.mark.spec("COL-05", "COL-15")
def test_the_key_of_our_authority_is_ours_alone(tmp_path: Path) -> None:
    """The folder of the local authority is closed to everybody else, and so is its key; it is made once."""

    async def body() -> None:
        authority = LocalAuthority(tmp_path / "home" / "authority")
        token = await authority.stamp(DIGEST)
        folder = authority.folder
        assert [0o700, 0o600] == [path.stat().st_mode & 0o777 for path in (folder, folder / "tsa.key")]
        await LocalAuthority(folder).check(DIGEST, token)
        with pytest.raises(Refused, match="A005"):
            await LocalAuthority(tmp_path / "elsewhere").check(DIGEST, token)

    asyncio.run(body())


@pytest.mark.spec("COL-05")
def test_an_authority_is_trusted_by_its_certificate_alone(tmp_path: Path) -> None:
    """The token of an authority that the given certificates do not name is refused, whatever it says."""

    async def body() -> None:
        await LocalAuthority(tmp_path / "another").stamp(DIGEST)
        async with calendars.authority(tmp_path) as (url, _):
            with pytest.raises(Refused, match="A005"):
                await HttpAuthority(url, tmp_path / "another" / "tsa.pem").stamp(DIGEST)

    asyncio.run(body())


@pytest.mark.spec("COL-05")
def test_without_openssl_the_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no openssl, an authority says that it is needed, and leaves nothing behind."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigFault, match="no openssl on the path"):
        asyncio.run(LocalAuthority(tmp_path / "home" / "authority").stamp(DIGEST))
    assert not (tmp_path / "home" / "authority").exists()


# Stores


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ProofStore:
    """A store, on disk and in memory."""
    return FileProofStore(tmp_path / "anchors") if request.param == "file" else MemoryProofStore()


class TestStore:
    """A store keeps named bytes whole."""

    @pytest.mark.spec("COL-05")
    def test_what_is_put_is_got(self, store: ProofStore) -> None:
        """Bytes come back as they were put, the newest of a name alone; names come in order; opening is harmless."""

        async def body() -> None:
            for _ in range(2):
                await store.open()
                assert (None, []) == (await store.get("proofs/a"), await store.names("proofs"))
            await store.put("proofs/b.ots", b"\0\xff")
            await store.put("proofs/a", b"old")
            await store.put("proofs/a", b"")
            await store.put("waiting/c", b"")
            assert (b"\0\xff", b"") == (await store.get("proofs/b.ots"), await store.get("proofs/a"))
            assert ["proofs/a", "proofs/b.ots"] == await store.names("proofs")

        asyncio.run(body())

    @pytest.mark.spec("COL-05")
    def test_what_is_removed_is_gone(self, store: ProofStore) -> None:
        """A removed name is gone, and removing it again changes nothing."""

        async def body() -> None:
            await store.open()
            await store.put("waiting/a", b"1")
            for _ in range(2):
                await store.remove("waiting/a")
                assert (None, []) == (await store.get("waiting/a"), await store.names("waiting"))

        asyncio.run(body())

    @pytest.mark.spec("X-12")
    def test_no_name_leads_out_of_it(self, store: ProofStore) -> None:
        """A name that could mean another place is a bug that stops whoever asked."""

        async def body() -> None:
            await store.open()
            for name in ("../a", "proofs/../../a", "/etc/passwd", "proofs/.a", "proofs/a/b", "a"):
                with pytest.raises(AssertionError):
                    await store.put(name, b"")
                with pytest.raises(AssertionError):
                    await store.get(name)

        asyncio.run(body())


@pytest.mark.spec("COL-05", "COL-15")
def test_a_store_on_disk_is_private_and_says_when_it_cannot_write(tmp_path: Path) -> None:
    """Files are readable by their owner alone; where a folder takes no file, the sentence names it."""

    async def body() -> None:
        store = FileProofStore(tmp_path / "anchors")
        await store.open()
        await store.put("proofs/a", b"1")
        assert 0o600 == (tmp_path / "anchors" / "proofs" / "a").stat().st_mode & 0o777
        (tmp_path / "anchors" / "proofs" / "b").mkdir()
        with pytest.raises(StorageFault, match="proofs/b"):
            await store.put("proofs/b", b"1")

    asyncio.run(body())


WRITER = """
import asyncio, sys
from pathlib import Path
from organs.anchor.store import FileProofStore

async def main():
    store = FileProofStore(Path(sys.argv[1]))
    await store.open()
    for n in range(10**6):
        await store.put("proofs/a", bytes([n % 251]) * 50_000)
        print(n, flush=True)

asyncio.run(main())
"""


@pytest.mark.spec("COL-05", "X-07")
def test_a_store_survives_kill_9(tmp_path: Path) -> None:
    """Killed at ten moments in the middle of writing, a store never holds half of anything."""
    folder = tmp_path / "anchors"
    for moment in range(10):
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(1 + moment):
                assert writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)

        async def kept() -> tuple[bytes | None, list[str]]:
            store = FileProofStore(folder)
            await store.open()
            return await store.get("proofs/a"), await store.names("proofs")

        content, names = asyncio.run(kept())
        assert content is not None
        assert (50_000, 1, ["proofs/a"]) == (len(content), len(set(content)), names)
