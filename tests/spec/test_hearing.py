"""What parts can hear: an organ any wave, a nerve what the log decided; and what goes out before it is logged."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from cells.math_cell import MathCell
from shared.bus.sim import Faults
from shared.codec import decode
from shared.message import AnyWave, Decision, DeclarationError, Signal, Wave, is_wave
from shared.part import Nerve, Organ, declaration
from shared.subjects.nervous import MathRequest, MathWave
from shared.subjects.system import DeadLetter
from tests.ground import ENV, LOG, Body, Ground, SimGround, play_nats, play_sim, until
from tests.parts import Add, Added, Heard, Seen, Tally, TallyNerve, stage, tallying

Play = Callable[[Body], None]

WAVE = f"{ENV}.elsewhere.cells.pressure.wave"
ID = {"ce-id": "0123456789abcdef" * 2, "ce-time": "2026-01-01T00:00:00.250Z"}


@pytest.fixture(params=["sim", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Run a body on the simulated server and on a real one."""
    return play_sim if request.param == "sim" else lambda body: play_nats(body, tmp_path)


class Listener(Organ):
    """Keeps every wave it hears."""

    name: ClassVar[str] = "listener"
    version: ClassVar[str] = "1.0.0"

    def __init__(self) -> None:
        self.waves: list[AnyWave] = []

    async def on_wave(self, wave: AnyWave) -> None:
        """Keep it."""
        self.waves.append(wave)


class Unheard(msgspec.Struct):
    """A wave of a class that no process here declares."""

    domain: str = "pressure"
    confidence_ppm: int = 400_000
    content: str = "falling"
    cost_ulf: int = 7
    pascal: int = 99_000


@pytest.mark.spec("NIM-03", "NIM-04")
def test_an_organ_hears_any_wave(play: Play) -> None:
    """Waves of a class it knows, of one nobody here declares, and of one written by hand reach it alike, with source,
    id and time.
    """

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            organ, asker = Listener(), await here.asker()
            await here.carry(organ)
            await here.carry(MathCell())
            await asker.request(MathRequest("1 + 1"))
            await asker.wire.publish(WAVE, msgspec.msgpack.encode(Unheard()), ID)
            by_hand = b'{"domain":"pressure","confidence_ppm":1,"content":"","cost_ulf":0,"polarity":-1}'
            await asker.wire.publish(WAVE, by_hand)
            await until(lambda: len(organ.waves) == 3)
            maths, unheard, hand = organ.waves
            assert ("nervous.cells.math", "math", 900_000) == (maths.source, maths.domain, maths.confidence_ppm)
            assert ("elsewhere.cells.pressure", "falling", 1) == (unheard.source, unheard.content, unheard.polarity)
            assert (bytes.fromhex(ID["ce-id"]), 1_767_225_600_250) == (unheard.wave_id, unheard.taken_ms)
            assert (-1, 16) == (hand.polarity, len(hand.wave_id))

    play(body)


ODD_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"0.5", b"-1", b"1000001")


@pytest.mark.spec("X-12", "NIM-03")
@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (msgspec.msgpack.encode(Unheard(confidence_ppm=1_000_001)), {}),
        (msgspec.msgpack.encode(Unheard(confidence_ppm=-1)), {}),
        (msgspec.msgpack.encode({"domain": "d", "confidence_ppm": float("nan"), "content": "", "cost_ulf": 1}), {}),
        (msgspec.msgpack.encode({"domain": "d", "confidence_ppm": float("inf"), "content": "", "cost_ulf": 1}), {}),
        *((b'{"domain":"d","confidence_ppm":%s,"content":"","cost_ulf":1}' % odd, {}) for odd in ODD_NUMBERS),
        (msgspec.msgpack.encode({"domain": "pressure"}), {}),
        (msgspec.msgpack.encode(Unheard()) + b"\0", {}),
        (b"\x82\xa6domain\xa1a\xa6domain\xa1b", {}),
        (b"", {}),
        (msgspec.msgpack.encode(Unheard()), {"ce-time": "yesterday"}),
        (msgspec.msgpack.encode(Unheard()), {"ce-id": "short"}),
    ],
)
def test_what_is_no_wave_is_refused_by_name(data: bytes, headers: dict[str, str]) -> None:
    """A confidence out of range or no number, a missing field, bytes that are not canonical, a strange header: B002."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            organ, dead = Listener(), await here.dead()
            await here.carry(organ)
            await (await here.asker()).wire.publish(WAVE, data, headers)
            [letter] = [decode(DeadLetter, each.data) for each in await dead.at_least(1)]
            assert ("B002", WAVE) == (letter.code, letter.original)
            assert [] == organ.waves

    play_sim(body)


def test_the_shape_of_a_waves_subject() -> None:
    """Five tokens of which the last is `wave`; a class that is declared otherwise is refused."""
    assert is_wave("dev.nervous.cells.math.wave")
    assert not is_wave("dev.nervous.cells.math.wave.more")
    assert not is_wave("dev.nervous.math.wave")
    with pytest.raises(DeclarationError, match="the subject of a wave is"):
        types.new_class("Short", (Wave,), {"subject": "trial.cells.wave"})


@pytest.mark.spec("NIM-01")
def test_a_nerve_decides_from_typed_evidence() -> None:
    """A nerve that would hear any wave is refused where it is declared."""

    class Greedy(TallyNerve):
        """Hears any wave."""

        def decide(  # pyright: ignore[reportIncompatibleMethodOverride] - that is what is wrong with it
            self, state: Tally, window: Seen, message: AnyWave, now_ms: int
        ) -> tuple[Seen, list[Added]]:
            return window, []

    with pytest.raises(DeclarationError, match="it hears WaveFelt"):
        declaration(Greedy())


class Ringing(Decision, subject="trial.bell.event.{who}.ringing"):
    """That it rang, and how often so far."""

    who: str
    times: int


class Alarm(Signal, subject="trial.bell.rang.{who}", urgent=True):
    """What goes out at once."""

    who: str
    total: int


class Rung(msgspec.Struct, frozen=True):
    """How often it rang."""

    times: int = 0


class Quiet(msgspec.Struct, frozen=True):
    """No memory."""


class AlarmNerve(Nerve[Rung, Quiet]):
    """Hears what the tally decided, from the log, and rings before it says so."""

    name: ClassVar[str] = "alarm"
    version: ClassVar[str] = "1.0.0"

    def entity(self, message: Added) -> str | None:
        return message.who

    def evolve(self, state: Rung, decision: Ringing) -> Rung:
        return Rung(decision.times)

    def decide(self, state: Rung, window: Quiet, message: Added, now_ms: int) -> tuple[Quiet, list[Ringing | Alarm]]:
        return window, [Ringing(message.who, state.times + 1), Alarm(message.who, message.total)]


@pytest.mark.spec("NIM-05", "NIM-06", "X-07")
def test_a_nerve_hears_what_the_log_decided(play: Play) -> None:
    """A nerve hears another's decisions through a durable consumer, each once; what is urgent goes out before its own
    decision stands in the log.
    """

    async def body(ground: Ground) -> None:
        founded, signer = await tallying(ground)
        mine = await founded.introduce("alarm", Ringing.pattern(ENV))
        await ground.create_durable(LOG, "alarm", Added.pattern(ENV))
        async with stage(ground) as here:
            await here.carry(TallyNerve(), [signer])
            asker, rang = await here.asker(), Heard()
            await asker.subscribe(Alarm.pattern(ENV), rang)
            for n in (1, 2):
                await asker.request(Add("ann", n))
            runner = await here.carry(AlarmNerve(), [mine])
            assert [1, 3] == [decode(Alarm, each.data).total for each in await rang.at_least(2)]
            assert runner.mind is not None
            await until(lambda: runner.mind is not None and runner.mind.state("ann") == Rung(2))
            lane = f"{ENV}.trial.bell.event.ann"
            entries = await asker.wire.read(asker.log, 0, f"{lane}.>")
            assert 2 == len(entries)

    play(body)


@pytest.mark.spec("NIM-06", "X-07")
def test_what_is_urgent_waits_for_no_acknowledgement() -> None:
    """Where the log cannot be reached, what is urgent has gone out all the same."""

    async def body(ground: Ground) -> None:
        founded, signer = await tallying(ground)
        mine = await founded.introduce("alarm", Ringing.pattern(ENV))
        await ground.create_durable(LOG, "alarm", Added.pattern(ENV))
        async with stage(ground) as here:
            await here.carry(TallyNerve(), [signer])
            asker, rang = await here.asker(), Heard()
            await asker.subscribe(Alarm.pattern(ENV), rang)
            await asker.request(Add("ann", 5))
            assert isinstance(ground, SimGround)
            ground.server.faults = Faults(lose_append=1.0)
            await here.carry(AlarmNerve(), [mine])
            await rang.at_least(1)
            entries = await asker.wire.read(asker.log, 0, f"{ENV}.trial.bell.event.ann.>")
            assert [] == entries
            ground.server.faults = Faults()

    play_sim(body)


@pytest.mark.spec("NIM-03")
def test_headers_say_who_speaks() -> None:
    """A wave's headers name its id, type, time, part, version, kind, garden and tier."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(MathCell())
            asker, waves = await here.asker(), Heard()
            await asker.subscribe(MathWave.pattern(ENV), waves)
            await asker.request(MathRequest("1"))
            [wave] = await waves.at_least(1)
            said = {name: wave.headers[f"ce-{name}"] for name in ("source", "version", "kind", "garden", "tier")}
            assert {
                "source": "math_cell",
                "version": MathCell.version,
                "kind": "cell",
                "garden": "virtual",
                "tier": "1",
            } == said
            assert {"ce-id", "ce-type", "ce-time"} <= wave.headers.keys()

    play_sim(body)


@pytest.mark.spec("NIM-01")
def test_only_an_organ_keeps_a_bucket() -> None:
    """A cell or a nerve holds nothing durable, so one that declares a bucket is no part."""

    class Keeping(MathCell):
        """Keeps leases."""

        buckets: ClassVar[tuple[str, ...]] = ("leases",)

    with pytest.raises(DeclarationError, match="a cell keeps nothing, it declares the bucket leases"):
        declaration(Keeping())
