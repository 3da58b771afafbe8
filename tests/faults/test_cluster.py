"""Three real nats-servers keep the log together: members are killed and left down while writers append."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from shared.bus import Bus, Draft
from shared.errors import Exit, Unresolved
from shared.subjects.keys import KeyRevoked
from shared.world import new_id
from tests.cluster import MEMBERS, ClusterGround
from tests.commands import Home
from tests.ground import LOG, Founded, noted
from tests.load import Load

Play = Callable[[Callable[[ClusterGround], Coroutine[None, None, None]]], None]
NEWCOMERS = 12
PARTS = tuple(word for name in ("cells.math_cell", "nerves.registry", "organs.notary") for word in ("--part", name))
HELD_UP_S = 2.5


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a body on a cluster of its own."""

    def run(body: Callable[[ClusterGround], Coroutine[None, None, None]]) -> None:
        async def whole() -> None:
            async with ClusterGround(tmp_path) as ground:
                await body(ground)

        asyncio.run(whole())

    return run


@pytest.mark.spec("X-07", "X-10")
def test_the_same_organism_on_a_cluster(play: Play, tmp_path: Path) -> None:
    """`up` on a cluster has every stream, bucket and consumer kept by three servers; it answers, and its log verifies.

    Another number than the streams have, or more than there are servers, is refused by name.
    """

    async def body(ground: ClusterGround) -> None:
        await ground.api(f"STREAM.DELETE.{LOG}", {})
        settings = {"nats_url": ground.url, "nats_nkey": str(ground._seed_file("admin")), "nats_replicas": "3"}
        home = Home.at(tmp_path / "home").set(**settings).without_records().keyed()
        await asyncio.to_thread(live, home)
        streams = (await ground.api("STREAM.LIST", {}))["streams"]
        assert {LOG, "DEAD_dev", "OUTCOMES_dev", "KV_leases_dev", "TRACES_dev_math_cell"} <= {
            stream["config"]["name"] for stream in streams
        }
        consumers = (await ground.api(f"CONSUMER.LIST.{LOG}", {}))["consumers"]
        assert consumers
        kept = [len(one["cluster"]["replicas"]) + 1 for one in (*streams, *consumers)]
        assert {MEMBERS} == set(kept)

    def live(home: Home) -> None:
        with home.up(*PARTS) as organism:
            assert "5\n" == home.held("ask", "2+3").out
            assert 0 == organism.stop().code
        verified = home.run("audit", "verify")
        assert Exit.UNKNOWN_SIGNER == verified.code, verified
        other = home.set(nats_replicas="1").run("up")
        assert Exit.CONFIG == other.code
        assert "LOG_dev has num_replicas 3, nats_replicas is 1" in other.sentence
        more = home.set(nats_replicas="5", env="prod").run("up")
        assert Exit.CONFIG == more.code
        assert "there are not 5 servers" in more.sentence

    play(body)


async def followers(ground: ClusterGround) -> list[str]:
    """The members that do not lead the log."""
    leader = await ground.leader()
    return [name for name in ground.servers if name != leader]


async def nothing_without_a_majority(ground: ClusterGround, bus: Bus) -> None:
    """With two members down an append ends by name; it takes effect once, when one of them is back."""
    for name in (gone := await followers(ground)):
        await ground.down(name)
    draft, bus.deadline_s = noted(ground.world, 0, bus.part), HELD_UP_S
    with pytest.raises(Unresolved):
        await bus.append(draft)
    await ground.up(gone[0])
    bus.deadline_s = 30.0
    receipt = await bus.append(draft)
    await ground.up(gone[1])
    verdicts = [verdict async for verdict in bus.replay()]
    placed = [(v.entry.index, o) for v in verdicts for o, event in v.admitted() if event.id == draft.event_id]
    assert [(receipt.index, receipt.offset)] == placed


@pytest.mark.spec("X-07", "X-10")
def test_the_leader_is_killed(play: Play) -> None:
    """Sixteen buses append while the log's leader is killed with -9: every append resolves against the new leader,
    nothing acknowledged is lost, nothing is stored twice, and every member shows the same log.
    """

    async def body(ground: ClusterGround) -> None:
        ledger = await Load(ground, 160, 1).run()
        assert (160, 1) == (len(ledger.told), ledger.kills)
        await same_everywhere(ground)

    play(body)


async def same_everywhere(ground: ClusterGround) -> None:
    """Each member, asked alone, shows the same entries with the same times."""
    shown = []
    newest = (await ground.api(f"STREAM.INFO.{LOG}", {}))["state"]["last_seq"] - 1
    for name in ground.servers:
        bus = Bus(ground.world, await ground.wire(f"reader_{name}", at=name), f"reader_{name}", "1", [])
        await bus.newest(newest)
        shown.append([(v.entry.index, v.entry.time_ns, v.entry.raw) async for v in bus.replay()])
    assert newest + 1 == len(shown[0])
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.spec("X-07", "X-10")
def test_followers_are_killed(play: Play) -> None:
    """A follower that is killed holds up nothing; of two that stay down an append says so, and goes on with the first
    that is back. Whoever judges at another member knows a key, and its end, as soon as the entry that rests on it.
    """

    async def body(ground: ClusterGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        [follower, _] = await followers(ground)
        crash = asyncio.ensure_future(ground.crash(follower))
        await keys_are_known(ground, founded)
        await crash
        await nothing_without_a_majority(ground, bus)

    play(body)


async def keys_are_known(ground: ClusterGround, founded: Founded) -> None:
    """Newcomers sign as soon as they are introduced, and once more when their key has ended."""
    judges = [Bus(ground.world, await ground.wire(f"judge{n}"), f"judge{n}", "1", []) for n in range(3)]
    wire = await ground.wire("newcomers")
    for n in range(NEWCOMERS):
        name = f"new{n}"
        signer = await founded.introduce(name)
        bus = Bus(ground.world, wire, name, "1", [signer])
        receipt = await bus.append(noted(ground.world, n, name))
        assert not receipt.duplicate
        revoked = KeyRevoked("root", signer.key_id, None, "left")
        ended = await founded.root.append(Draft(revoked, new_id(ground.world)))
        for judge in judges:
            [entry, *_] = await judge.entries(receipt.index, ended.index)
            assert None is (await judge.judge(entry)).refusal
            book = await judge.keys_until(ended.index)
            assert ended.index == book.keys[signer.key_id].last


@pytest.mark.slow
@pytest.mark.spec("X-07", "X-10")
@pytest.mark.parametrize(("appends", "kills"), [(1_600, 4), (3_200, 8)])
def test_leaders_are_killed_again_and_again(play: Play, appends: int, kills: int) -> None:
    """The same through many kills of whoever leads then."""

    async def body(ground: ClusterGround) -> None:
        ledger = await Load(ground, appends, kills).run()
        assert (appends, kills) == (len(ledger.told), ledger.kills)
        await same_everywhere(ground)

    play(body)


@pytest.mark.slow
@pytest.mark.spec("X-07", "X-10")
def test_the_leader_and_a_follower_stay_down(play: Play) -> None:
    """Where the leader is among two members that stay down, appends end by name until one is back and leads."""

    async def body(ground: ClusterGround) -> None:
        founded = await Founded.on(ground)
        bus = await founded.part()
        [follower, _] = await followers(ground)
        gone = [await ground.leader(), follower]
        for name in gone:
            await ground.down(name)
        draft, bus.deadline_s = noted(ground.world, 0), HELD_UP_S
        with pytest.raises(Unresolved):
            await bus.append(draft)
        bus.deadline_s = 60.0
        await ground.up(gone[1])
        receipt = await bus.append(draft)
        await ground.up(gone[0])
        again = await bus.append(draft)
        assert (receipt.index, receipt.offset, True) == (again.index, again.offset, again.duplicate)

    play(body)
