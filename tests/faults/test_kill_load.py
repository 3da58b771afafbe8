"""Ten thousand appends while the bus is killed ten times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ground import NatsGround, play_nats
from tests.load import Load

APPENDS = 10_000
KILLS = 10


@pytest.mark.slow
@pytest.mark.spec("X-07")
def test_nothing_acknowledged_is_lost_when_the_bus_is_killed_under_load(tmp_path: Path) -> None:
    """Through ten kill -9 of nats-server every append resolves; each event is in effect once, where its receipt is."""

    async def body(ground: NatsGround) -> None:
        ledger = await Load(ground, APPENDS, KILLS).run()
        assert (KILLS, KILLS) == (ledger.kills, ground.restarts)
        assert APPENDS == len(ledger.told)

    play_nats(body, tmp_path, links=False)
