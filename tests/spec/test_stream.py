"""X's filtered stream, live: every post once through broken links, errors and limits; and a stop in good order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from organs.provenance import stream
from organs.provenance.ingest import Ended, Ingest, Progress
from organs.provenance.stream import Endpoint, LiveStream, read_token
from shared.errors import ConfigFault, Fault, KeyFault, NotPermitted
from shared.subjects.provenance import Tally
from shared.world import RealWorld
from tests.corpora import RULES, Place
from tests.stream_server import HEARTBEAT, Connection, StreamServer, said, streaming

X = msgspec.structs.replace(RULES, reader="x", source="X filtered stream")
WORLD = RealWorld("dev")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for minutes here."""
    for name in ("LINK_S", "ERROR_S", "LIMIT_S"):
        monkeypatch.setattr(stream, name, (0.001, 0.01))


def listening(server: StreamServer, most: int | None, offset: int = 0) -> LiveStream:
    """A listener to it."""
    return LiveStream(Endpoint.of(server.url, "secret"), WORLD, resumed=offset > 0, count=offset, most=most)


async def ingested(place: Place, server: StreamServer, most: int | None, stop_at: int = 0) -> Ended:
    """Take a stream in, until it has given so many, or is stopped once so many are sealed."""
    made: list[LiveStream] = []

    async def opened(offset: int) -> LiveStream:
        made.append(listening(server, most, offset))
        return made[0]

    def told(reached: Progress) -> None:
        if stop_at and reached.posts >= stop_at:
            made[0].stop()

    plan = replace(place.plan(Path("none"), "x", X), open=opened)
    return await Ingest(plan, place.ports(), told).run()


@pytest.mark.spec("COL-01")
def test_every_post_comes_once_through_whatever_breaks(tmp_path: Path) -> None:
    """A cut link, a server that stumbles, too many requests, an end in good order: each is connected again, and what
    was missed is asked for; what came twice is a duplicate.
    """

    async def body() -> None:
        place = Place(tmp_path)
        half = said(3)
        async with streaming(
            Connection([HEARTBEAT, said(1), said(2)[:9], said(2)[9:], half[:20]], cut=True),
            Connection(status=503),
            Connection(status=429, headers=["x-rate-limit-reset: 1"]),
            Connection([said(2) + said(3, "8") + HEARTBEAT]),
            Connection([HEARTBEAT, b'{"data": [5]}', said(4)], stays=True),
        ) as server:
            ended = await ingested(place, server, 5)
        assert Tally(kept=4, duplicate=1) == ended.stated.tally
        assert ended.finished
        assert 5 == ended.stated.personal
        assert {"Bearer secret"} == set(server.tokens)
        assert "backfill" not in server.asked[0]
        assert all(asked.endswith("&backfill_minutes=1") for asked in server.asked[1:])
        assert "expansions=author_id" in server.asked[0]

    asyncio.run(body())


@pytest.mark.spec("COL-03")
def test_a_stopped_stream_is_sealed_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was heard is a batch of its own, the corpus is not finished, and the next run asks for what it missed."""
    monkeypatch.setattr(stream, "STREAM_FLUSH_S", 0.2)

    async def body() -> None:
        place = Place(tmp_path)
        async with streaming(Connection([said(n) for n in range(3)], stays=True)) as server:
            ended = await ingested(place, server, None, stop_at=3)
        assert (3, 1, False, "") == (ended.stated.posts, ended.stated.batches, ended.finished, ended.stated.dataset)
        async with streaming(Connection([said(n) for n in range(2, 5)], stays=True)) as server:
            ended = await ingested(place, server, 6)
        assert server.asked[0].endswith("&backfill_minutes=5")
        assert (True, Tally(kept=5, duplicate=1)) == (ended.finished, ended.stated.tally)

    asyncio.run(body())


@pytest.mark.spec("COL-03")
def test_what_was_heard_is_given_at_a_stop() -> None:
    """A stop gives what waits as a last batch, at once."""

    async def body() -> None:
        async with streaming(Connection([b"".join(said(n) for n in range(3))], stays=True)) as server:
            source = listening(server, None)
            await source.take(2)
            while source._queue.empty():
                await asyncio.sleep(0.001)
            source.stop()
            read = await source.take(1_000)
            assert (["2"], True, True) == ([post.id for post in read.posts], read.ended, read.stopped)
            await source.close()

    asyncio.run(body())


@pytest.mark.spec("COL-03")
def test_a_partial_batch_is_given_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more posts come, what came is given; and where too many do, the link waits."""
    monkeypatch.setattr(stream, "STREAM_FLUSH_S", 0.2)
    monkeypatch.setattr(stream, "POSTS_WAITING", 4)

    async def body() -> None:
        async with streaming(Connection([said(n) for n in range(20)], stays=True)) as server:
            source, posts = listening(server, None), list[str]()
            while len(posts) < 20:
                read = await source.take(1_000)
                posts += [post.id for post in read.posts]
                assert (len(posts), False) == (read.next_offset, read.ended)
            assert [str(n) for n in range(20)] == posts
            await source.close()

    asyncio.run(body())


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(("status", "fault"), [(401, NotPermitted), (403, NotPermitted), (400, ConfigFault)])
def test_what_waiting_does_not_mend_is_said(status: int, fault: type[Fault]) -> None:
    """A token that is not good, a rule that is none: after what came before is given, once."""

    async def body() -> None:
        first = Connection([said(1)])
        async with streaming(first, Connection([b'{"title": "no"}'], status=status)) as server:
            source = listening(server, None)
            assert ["1"] == [post.id for post in (await source.take(10)).posts]
            with pytest.raises(fault, match=f"answered {status}"):
                await source.take(10)
            await source.close()

    asyncio.run(body())


@pytest.mark.spec("COL-15")
def test_a_token_lies_in_a_private_file(tmp_path: Path) -> None:
    """One that others may read, that is missing or that is none is refused before anybody is asked."""
    path = tmp_path / "token"
    with pytest.raises(KeyFault, match="cannot be read"):
        read_token(path)
    for text, mode, found in (("secret\n", 0o600, "secret"), ("secret", 0o644, "chmod"), ("two words", 0o600, "one")):
        path.write_text(text)
        path.chmod(mode)
        if found == "secret":
            assert found == read_token(path)
        else:
            with pytest.raises(KeyFault, match=found):
                read_token(path)
    with pytest.raises(ConfigFault, match="no address"):
        Endpoint.of("ftp://nowhere", "t")
