"""What the log says of a decision that somebody heard, who may hear it before it is stored, or though it never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from deploy.commands.stored import EXPECTED, STORED_S, Stored
from shared.bus import Bus, Delivery
from shared.envelope import Verdict
from tests.ground import ENV, Founded, NatsGround, Noted, noted, play_nats, until

Body = Callable[[NatsGround, Bus, Bus, list[Delivery]], Coroutine[Any, Any, None]]


def overheard(body: Body, folder: Path) -> None:
    """Run something beside a bus that decides, one that listens, and what that one heard."""

    async def whole(ground: NatsGround) -> None:
        founded, heard = await Founded.on(ground), list[Delivery]()
        bus = await founded.part()
        await founded.root.subscribe(Noted.pattern(ENV), heard.append)
        await body(ground, bus, founded.root, heard)

    play_nats(whole, folder)


@pytest.mark.spec("X-05")
def test_decisions_of_one_lane_are_each_told_once(tmp_path: Path) -> None:
    """Several that stand in the log before the first is looked up are all found; what is heard again is not."""

    async def body(ground: NatsGround, bus: Bus, listener: Bus, heard: list[Delivery]) -> None:
        for n in range(3):
            await bus.append(noted(ground.world, n))
        await until(lambda: len(heard) == 3)
        stored = Stored(listener)
        verdicts = [await stored.verdict(one) for one in heard]
        assert [one.data for one in heard] == [verdict.entry.raw for verdict in verdicts if verdict]
        assert await stored.verdict(heard[0]) is None

    overheard(body, tmp_path)


@pytest.mark.spec("X-05")
def test_a_decision_is_told_though_it_is_heard_before_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the lane does not have it yet, it is looked up again."""

    async def body(ground: NatsGround, bus: Bus, listener: Bus, heard: list[Delivery]) -> None:
        await bus.append(noted(ground.world, 1))
        await until(lambda: bool(heard))
        follow, early = listener.follow, [0, 0, 0]

        async def not_yet(lane: str) -> list[Verdict]:
            return [] if early and not early.pop() else await follow(lane)

        monkeypatch.setattr(listener, "follow", not_yet)
        verdict = await Stored(listener).verdict(heard[0])
        assert verdict is not None
        assert not early

    overheard(body, tmp_path)


@pytest.mark.spec("X-05")
def test_what_the_log_refused_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever listens hears an append that the server refuses too; it is passed over as soon as its place is taken."""

    async def body(ground: NatsGround, bus: Bus, listener: Bus, heard: list[Delivery]) -> None:
        await bus.append(noted(ground.world, 1))
        await until(lambda: bool(heard))
        await bus.wire.publish(heard[0].subject, b"late", {EXPECTED: "0"})
        await until(lambda: len(heard) == 2)
        async with asyncio.timeout(STORED_S / 2):
            assert await Stored(listener).verdict(heard[1]) is None

    overheard(body, tmp_path)
