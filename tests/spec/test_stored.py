"""What the log says of a decision that somebody heard, who may hear it before it is stored, or though it never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from deploy.commands.stored import STORED_S, Stored
from shared.bus import Delivery
from shared.bus.nats import EXPECTED
from shared.envelope import Verdict
from shared.subjects.keys import KeyIntroduced
from tests.ground import ENV, Founded, NatsGround, Noted, noted, play_nats, until

Body = Callable[[NatsGround, Founded, list[Delivery]], Coroutine[Any, Any, None]]


def overheard(body: Body, folder: Path) -> None:
    """Run something beside the root's bus, which hears every decision of these tests and every key."""

    async def whole(ground: NatsGround) -> None:
        founded, heard = await Founded.on(ground), list[Delivery]()
        await founded.root.subscribe(Noted.pattern(ENV), heard.append)
        await founded.root.subscribe(KeyIntroduced.pattern(ENV), heard.append)
        await body(ground, founded, heard)

    play_nats(whole, folder)


async def looked_up(stored: Stored, heard: list[Delivery]) -> list[Verdict | None]:
    """The verdicts of what was just heard, one after the other."""
    heard_s = stored.bus.world.elapsed_s()
    return [await stored.verdict(one, heard_s) for one in heard]


def raws(verdicts: list[Verdict | None]) -> list[bytes]:
    """What the log holds of them."""
    return [verdict.entry.raw for verdict in verdicts if verdict is not None]


@pytest.mark.spec("X-05")
def test_every_decision_is_found_in_whatever_order(tmp_path: Path) -> None:
    """Of several on one lane, in a batch, and of keys that others led to, each is found; the last first, if need be."""

    async def body(ground: NatsGround, founded: Founded, heard: list[Delivery]) -> None:
        bus = await founded.part()
        await bus.append(noted(ground.world, 0))
        await founded.introduce("late")
        await bus.append_many([noted(ground.world, n) for n in range(1, 4)])
        await bus.append(noted(ground.world, 4))
        await until(lambda: len(heard) == 7)
        assert [one.data for one in heard] == raws(await looked_up(Stored(founded.root), heard))
        last = [one for one in reversed(heard) if EXPECTED in one.headers]
        assert [one.data for one in last] == raws(await looked_up(Stored(founded.root), last))

    overheard(body, tmp_path)


@pytest.mark.spec("X-05", "X-09")
def test_what_was_published_past_the_bus_is_found_with_its_verdict(tmp_path: Path) -> None:
    """Whoever says of no place where it is to stand is looked for at the lane's end, and is void."""

    async def body(ground: NatsGround, founded: Founded, heard: list[Delivery]) -> None:
        bus = await founded.part()
        await bus.append(noted(ground.world, 1))
        await bus.wire.publish(Noted("a", 1).subject(ENV), b"by hand")
        await until(lambda: len(heard) == 3)
        [verdict] = await looked_up(Stored(founded.root), heard[-1:])
        assert verdict is not None
        assert (b"by hand", True) == (verdict.entry.raw, bool(verdict.void()))

    overheard(body, tmp_path)


@pytest.mark.spec("X-05")
def test_a_decision_is_found_though_it_is_heard_before_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its place is still empty, it is looked up again."""

    async def body(ground: NatsGround, founded: Founded, heard: list[Delivery]) -> None:
        await (await founded.part()).append(noted(ground.world, 1))
        await until(lambda: len(heard) == 2)
        wire, looks = founded.root.wire, list[tuple[Any, ...]]()
        read = wire.read

        async def not_yet(*asked: Any) -> Any:  # noqa: ANN401 - as the wire's
            looks.append(asked)
            return [] if len(looks) <= 3 else await read(*asked)

        monkeypatch.setattr(wire, "read", not_yet)
        assert heard[-1].data == raws(await looked_up(Stored(founded.root), heard[-1:]))[0]
        place = (founded.root.log, int(heard[-1].headers[EXPECTED]), Noted("a", 1).lane(ENV) + ".>", 1)
        assert [place] * 4 == looks[:4]

    overheard(body, tmp_path)


@pytest.mark.spec("X-05", "X-12")
def test_what_the_log_does_not_take_holds_nobody_up_for_long(tmp_path: Path) -> None:
    """Where another entry stands in its place it is passed over at once, else together with all that was heard then."""

    async def body(ground: NatsGround, founded: Founded, heard: list[Delivery]) -> None:
        await (await founded.part()).append(noted(ground.world, 1))
        await until(lambda: len(heard) == 2)
        subject, stored = heard[-1].subject, Stored(founded.root)
        late = [Delivery(subject, b"late", headers={EXPECTED: "0"}) for _ in range(3)]
        async with asyncio.timeout(STORED_S / 2):
            assert [None] * 3 == await looked_up(stored, late)
        odd = [Delivery(subject, b"odd", headers={EXPECTED: place}) for place in ("99", "9" * 40, "x", "")]
        odd += [Delivery(subject, b"odd", headers={}) for _ in range(3)]
        async with asyncio.timeout(STORED_S * 3):
            assert [None] * 7 == await looked_up(stored, odd)

    overheard(body, tmp_path)


@pytest.mark.spec("X-05", "X-07")
def test_what_was_heard_before_the_link_was_lost_is_found_when_it_is_back(tmp_path: Path) -> None:
    """However long it is away."""

    async def body(ground: NatsGround, founded: Founded, heard: list[Delivery]) -> None:
        await (await founded.part()).append(noted(ground.world, 1))
        await until(lambda: len(heard) == 2)
        stored = Stored(founded.root)
        await ground.cut(founded.root.wire)
        asking = asyncio.create_task(stored.verdict(heard[-1], stored.bus.world.elapsed_s() - STORED_S))
        await asyncio.sleep(0.5)
        assert not asking.done()
        await ground.restore(founded.root.wire)
        verdict = await asking
        assert verdict is not None
        assert heard[-1].data == verdict.entry.raw

    overheard(body, tmp_path)
