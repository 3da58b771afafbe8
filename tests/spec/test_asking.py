"""Waiting for what a part makes of something that was asked for."""

from __future__ import annotations

import asyncio

import pytest

from deploy.asking import seen
from shared.decisions import decisions_in
from tests.ground import ENV, Founded, Noted, SimGround, noted, play_sim


@pytest.mark.spec("X-07", "X-10")
def test_whoever_waits_outlasts_a_lost_link() -> None:
    """What comes about while the link is away is seen once it is back; what never does is not, in the end."""

    async def body(ground: SimGround) -> None:
        founded = await Founded.on(ground)
        bus, lane = await founded.part(), Noted("a", 1).lane(ENV)

        async def look() -> Noted | None:
            found = [said for verdict in await founded.root.follow(lane) for said, _ in decisions_in(verdict, Noted)]
            return found[0] if found else None

        assert await seen(founded.root, 5.0, look) is None
        await ground.cut(founded.root.wire)
        waiting = asyncio.create_task(seen(founded.root, 60.0, look))
        await bus.append(noted(ground.world, 1))
        await ground.world.sleep(10)
        assert not waiting.done()
        await ground.restore(founded.root.wire)
        assert Noted("a", 1) == await waiting

    play_sim(body)
