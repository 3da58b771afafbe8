"""What a key-value bucket does, simulated and on a real server: compare-and-set, deletion, an end of each value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.js.kv import KeyValue

from shared.bus import Bucket
from shared.bus.bucket import Value, bucket_permissions, bucket_subjects
from shared.bus.nats import NatsWire
from shared.errors import NotPermitted, Refused, Unreachable
from shared.subjects.models import LEASES
from tests.ground import ENV, Body, Ground, play_nats, play_sim

Play = Callable[[Body], None]
CALL_S = 2.0
NONE = Value(b"", 0)


@pytest.fixture(params=["sim", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Run a body on the simulated server or on a real one."""
    return play_sim if request.param == "sim" else lambda body: play_nats(body, tmp_path)


async def holding(ground: Ground, name: str, **wiring: tuple[str, ...]) -> Bucket:
    """The bucket in the hands of a part, with no more than the permissions for it."""
    allowed = {"publish": tuple(bucket_permissions(LEASES, ENV)), "subscribe": (), **wiring}
    return Bucket(await ground.wire(name, **allowed), ENV, LEASES)


@pytest.mark.spec("NIM-16")
def test_every_write_is_a_compare_and_set(play: Play) -> None:
    """A value is written, replaced and deleted by whoever knows its revision, which grows over all keys."""

    async def body(ground: Ground) -> None:
        await ground.create_bucket()
        ours, theirs = await holding(ground, "ours"), await holding(ground, "theirs")
        assert NONE == await ours.get("a")
        assert 1 == await ours.put("a", b"1", 0, CALL_S)
        for revision in (0, 2, 7):
            with pytest.raises(Refused, match="B007"):
                await theirs.put("a", b"2", revision, CALL_S)
        assert 2 == await theirs.put("b", b"3", 0, CALL_S)
        assert 3 == await theirs.put("a", b"2", 1, CALL_S)
        assert Value(b"2", 3) == await ours.get("a")
        with pytest.raises(Refused, match="B007"):
            await ours.delete("a", 1, CALL_S)
        assert 4 == await theirs.delete("a", 3, CALL_S)
        assert Value(b"", 4) == await ours.get("a")
        assert 5 == await ours.put("a", b"4", 4, CALL_S)
        assert Value(b"3", 2) == await ours.get("b")

    play(body)


@pytest.mark.spec("NIM-16")
def test_of_many_writers_of_one_revision_one_wins(play: Play) -> None:
    """The others are refused, and the value is the winner's."""

    async def body(ground: Ground) -> None:
        await ground.create_bucket()
        many = [await holding(ground, f"one{n}") for n in range(6)]
        writing = (bucket.put("a", b"%d" % n, 0, CALL_S) for n, bucket in enumerate(many))
        ended = await asyncio.gather(*writing, return_exceptions=True)
        [won] = [n for n, end in enumerate(ended) if end == 1]
        assert all(isinstance(end, Refused) for n, end in enumerate(ended) if n != won)
        assert Value(b"%d" % won, 1) == await many[0].get("a")

    play(body)


@pytest.mark.spec("NIM-16")
def test_a_value_ends_with_its_time_and_each_write_puts_that_off(play: Play) -> None:
    """What is not renewed is gone, as if it had never been; revisions go on."""

    async def body(ground: Ground) -> None:
        await ground.create_bucket(age_s=1.5)
        bucket = await holding(ground, "ours")
        await bucket.put("left", b"1", 0, CALL_S)
        revision = await bucket.put("kept", b"1", 0, CALL_S)
        while (await bucket.get("left")).data:
            await ground.world.sleep(0.2)
            revision = await bucket.put("kept", b"1", revision, CALL_S)
        assert NONE == await bucket.get("left")
        assert Value(b"1", revision) == await bucket.get("kept")
        with pytest.raises(Refused, match="B007"):
            await bucket.put("left", b"2", 1, CALL_S)
        assert revision + 1 == await bucket.put("left", b"2", 0, CALL_S)

    play(body)


@pytest.mark.spec("NIM-16", "X-09")
def test_a_bucket_is_written_by_those_who_may_and_made_by_the_steward(play: Play) -> None:
    """Without permission, bucket or link every call ends, by name."""

    async def body(ground: Ground) -> None:
        with pytest.raises(Unreachable):
            await (await holding(ground, "early")).put("a", b"1", 0, CALL_S)
        with pytest.raises(Unreachable):
            await (await holding(ground, "soon")).get("a")
        await ground.create_bucket()
        stranger = await holding(ground, "stranger", publish=(f"{ENV}.>",))
        with pytest.raises(NotPermitted):
            await stranger.put("a", b"1", 0, CALL_S)
        with pytest.raises(NotPermitted):
            await stranger.get("a")
        lonely = await holding(ground, "lonely")
        await ground.cut(lonely.wire)
        with pytest.raises(Unreachable):
            await lonely.put("a", b"1", 0, CALL_S)
        with pytest.raises(Unreachable):
            await lonely.get("a")
        await ground.restore(lonely.wire)

    play(body)


@pytest.mark.spec("NIM-16")
def test_it_is_a_bucket_as_nats_knows_them(tmp_path: Path) -> None:
    """The field's own client reads keys, values and deletions, and finds one revision of each."""

    async def body(ground: Ground) -> None:
        await ground.create_bucket()
        bucket, wire = await holding(ground, "ours"), await ground.wire("somebody")
        assert isinstance(wire, NatsWire)
        await bucket.put("GPU-1", b"1", 0, CALL_S)
        await bucket.put("GPU-1", b"2", 1, CALL_S)
        await bucket.delete("MIG-2", await bucket.put("MIG-2", b"3", 0, CALL_S), CALL_S)
        known: KeyValue = await wire.client.jetstream().key_value(f"{LEASES}_{ENV}")
        assert ["GPU-1"] == await known.keys()
        found = await known.get("GPU-1")
        assert (b"2", 2) == (found.value, found.revision)
        status = await known.status()
        assert (1, 30.0) == (status.history, status.ttl)
        assert [bucket_subjects(LEASES, ENV)] == status.stream_info.config.subjects

    play_nats(body, tmp_path)
