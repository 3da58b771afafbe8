"""Thousands of appends while the bus is killed again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ground import NatsGround, play_nats
from tests.load import Load


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(("appends", "kills"), [(2_000, 2), pytest.param(10_000, 10, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_when_the_bus_is_killed_under_load(
    tmp_path: Path, appends: int, kills: int
) -> None:
    """Through kill -9 of nats-server every append resolves; each event is in effect once, where its receipt is."""

    async def body(ground: NatsGround) -> None:
        ledger = await Load(ground, appends, kills).run()
        assert (kills, kills) == (ledger.kills, ground.restarts)
        assert appends == len(ledger.told)

    play_nats(body, tmp_path, links=False)
