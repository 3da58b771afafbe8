"""What the overload nerve decides, from what, and that it can be decided again."""

from __future__ import annotations

from typing import ClassVar

import pytest
from msgspec.structs import replace

from deploy.recheck import Rerun, recheck
from nerves.overload import OverloadNerve
from nerves.overload.nerve import FORGET_MS, LEVELS, SILENT_MS, WINDOW_READINGS, LoadState, Window, remember
from shared.bus import Bus
from shared.codec import decode, encode
from shared.errors import Refusal
from shared.part.nerve import Evidence
from shared.subjects.nervous import AssessRequest, Extent, LoadAssessed, LoadLevel, VitalsWave
from shared.subjects.system import Decided, Tick
from shared.world import now_ms
from tests.ground import ENV, Founded, Ground, play_sim
from tests.parts import raw, stage

ASSESS = f"{ENV}.nervous.overload.assess.request"
ID = {"ce-id": "0123456789abcdef" * 2}
START_MS = 1_767_225_600_000
BUSY, TIRED, CALM = 950_000, 750_000, 100_000


class Calm(OverloadNerve):
    """The nerve with other rules, under its own version."""

    def decide(
        self,
        state: LoadState,
        window: Window,
        message: VitalsWave | AssessRequest | Tick,
        now_ms: int,
    ) -> tuple[Window, list[LoadAssessed] | Refusal]:
        return window, []


class LaterCalm(Calm):
    """The same as a version that is still to come."""

    version: ClassVar[str] = "9.0.0"


class Site:
    """A site under one nerve: its state and window, and what was decided about it."""

    def __init__(self) -> None:
        self.nerve = OverloadNerve()
        self.state, self.window = self.nerve.start(), self.nerve.empty()
        self.now_ms = START_MS
        self.decided: list[LoadAssessed] = []

    def hear(self, message: VitalsWave | AssessRequest | Tick) -> LoadAssessed | Refusal | None:
        """Decide about one message as the runner does, and evolve."""
        self.window, said = self.nerve.decide(self.state, self.window, message, self.now_ms)
        if isinstance(said, Refusal):
            return said
        assert len(said) <= 1
        for decision in said:
            self.state = self.nerve.evolve(self.state, decision)
            self.decided.append(decision)
            return decision
        return None

    def feel(self, *cpu_ppm: int, memory_ppm: int = 0, load_ppm: int = 0, boot: str = "a" * 16) -> None:
        """Hear one reading a second."""
        for cpu in cpu_ppm:
            self.now_ms += 1_000
            self.hear(wave(self.now_ms, cpu, memory_ppm, load_ppm, boot))

    def tick(self, after_ms: int) -> LoadAssessed | Refusal | None:
        """Let time pass, then beat."""
        self.now_ms += after_ms
        return self.hear(Tick("overload", "0" * 16, 1, self.now_ms))

    @property
    def levels(self) -> list[LoadLevel]:
        """The levels that were decided, in order."""
        return [decision.level for decision in self.decided]


def wave(taken_ms: int, cpu_ppm: int, memory_ppm: int = 0, load_ppm: int = 0, boot: str = "a" * 16) -> VitalsWave:
    """One reading."""
    return VitalsWave("vitals", 900_000, "", 1, "here", boot, taken_ms, cpu_ppm, memory_ppm, 300_000, load_ppm)


@pytest.mark.spec("NIM-12")
def test_one_spike_is_no_overload() -> None:
    """One or two busy readings among calm ones decide nothing."""
    site = Site()
    site.feel(CALM, CALM, CALM)
    assert ["NORMAL"] == site.levels
    site.feel(BUSY, CALM, CALM, BUSY, BUSY, CALM)
    assert ["NORMAL"] == site.levels


@pytest.mark.spec("NIM-12")
def test_sustained_load_is_decided_once() -> None:
    """Three busy readings in a row are an overload, decided once however long it lasts, with what they lie between."""
    site = Site()
    site.feel(CALM, CALM, CALM, BUSY, BUSY + 40_000, *[BUSY + 10_000] * 8)
    assert ["NORMAL", "OVERLOADED"] == site.levels
    assert (
        LoadAssessed(
            site="here",
            level="OVERLOADED",
            before="NORMAL",
            reason="sustained",
            readings=3,
            span_ms=2_000,
            cpu=Extent(BUSY, BUSY + 40_000),
            memory=Extent(0, 0),
            disk=Extent(300_000, 300_000),
            load=Extent(0, 0),
        )
        == site.decided[1]
    )


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("cpu", "memory", "load", "level"),
    [
        (900_000, 0, 0, "OVERLOADED"),
        (899_999, 949_999, 1_999_999, "STRAINED"),
        (0, 950_000, 0, "OVERLOADED"),
        (0, 0, 2_000_000, "OVERLOADED"),
        (700_000, 0, 0, "STRAINED"),
        (0, 850_000, 0, "STRAINED"),
        (0, 0, 1_000_000, "STRAINED"),
        (699_999, 849_999, 999_999, "NORMAL"),
    ],
)
def test_a_level_is_reached_by_any_of_three(cpu: int, memory: int, load: int, level: LoadLevel) -> None:
    """Processor, memory or run queue alone reach a level, exactly at its threshold and not below."""
    site = Site()
    site.feel(cpu, cpu, cpu, memory_ppm=memory, load_ppm=load)
    assert [level] == site.levels


@pytest.mark.spec("NIM-12")
def test_a_level_rises_and_falls_only_where_three_readings_agree() -> None:
    """One reading below its threshold lowers no level, as one above raises none; the first level is what all reach."""
    site = Site()
    site.feel(CALM, TIRED, BUSY)
    assert ["NORMAL"] == site.levels
    site.feel(BUSY, BUSY)
    assert ["NORMAL", "STRAINED", "OVERLOADED"] == site.levels
    site.feel(CALM, BUSY, TIRED, CALM, BUSY, CALM, TIRED)
    assert ["NORMAL", "STRAINED", "OVERLOADED"] == site.levels
    site.feel(CALM)
    assert "STRAINED" == site.levels[-1]
    site.feel(TIRED, CALM, CALM)
    assert "STRAINED" == site.levels[-1]
    site.feel(CALM)
    assert ["NORMAL", "STRAINED", "OVERLOADED", "STRAINED", "NORMAL"] == site.levels


@pytest.mark.spec("NIM-12", "X-02")
def test_what_is_signed_explains_what_was_decided() -> None:
    """However readings come, a raised level stands at or below what all of them reach, a lowered one above none."""
    site = Site()
    site.feel(*[(BUSY, BUSY, TIRED, CALM, BUSY, TIRED, TIRED, CALM)[n * n % 8 ^ n // 5 % 8] for n in range(400)])
    heights = {level: cpu for level, cpu, *_ in LEVELS} | {"NORMAL": 0, "UNKNOWN": -1}
    assert len(site.decided) > 10
    for decision in site.decided:
        assert decision.cpu is not None
        if heights[decision.level] > heights[decision.before]:
            assert decision.cpu.least_ppm >= heights[decision.level]
        else:
            assert decision.cpu.most_ppm < heights[decision.before]


@pytest.mark.spec("NIM-12", "X-12")
@pytest.mark.parametrize("readings", [0, 1, 2])
def test_too_little_evidence_is_refused(readings: int) -> None:
    """Asked before three readings came, the nerve refuses, says how many it has, and decides nothing."""
    site = Site()
    site.feel(*[BUSY] * readings)
    answer = site.hear(AssessRequest("here"))
    assert isinstance(answer, Refusal)
    assert ("B012", True, []) == (answer.code, f"{readings} readings of here" in answer.detail, site.decided)


@pytest.mark.spec("NIM-12")
def test_asked_it_decides() -> None:
    """Asked with enough evidence it decides every time, also when nothing changed."""
    site = Site()
    site.feel(CALM, CALM, CALM)
    for _ in range(2):
        answer = site.hear(AssessRequest("here"))
        assert isinstance(answer, LoadAssessed)
        assert ("NORMAL", "NORMAL", "asked") == (answer.level, answer.before, answer.reason)


@pytest.mark.spec("NIM-01", "NIM-12")
def test_silence_is_decided_once() -> None:
    """When no reading came for fifteen seconds the level is UNKNOWN, once; the next readings count anew."""
    site = Site()
    site.feel(BUSY, BUSY, BUSY)
    assert None is site.tick(SILENT_MS - 1)
    silent = site.tick(1)
    assert isinstance(silent, LoadAssessed)
    assert LoadAssessed("here", "UNKNOWN", "OVERLOADED", "silent", readings=0, span_ms=0) == silent
    assert None is site.tick(SILENT_MS)
    site.feel(BUSY, BUSY)
    assert ["OVERLOADED", "UNKNOWN"] == site.levels
    site.feel(BUSY)
    assert ["OVERLOADED", "UNKNOWN", "OVERLOADED"] == site.levels


@pytest.mark.spec("NIM-12")
def test_silence_before_any_level_is_not_news() -> None:
    """Where nothing was decided yet, silence decides nothing and clears what was remembered."""
    site = Site()
    site.feel(BUSY)
    assert None is site.tick(SILENT_MS)
    assert () == site.window.readings


@pytest.mark.spec("NIM-01")
def test_the_window_is_bounded() -> None:
    """However long it listens, the nerve remembers thirty readings, none older than a minute, none twice."""
    site = Site()
    site.feel(*[CALM] * 500)
    assert WINDOW_READINGS == len(site.window.readings)
    before = site.window
    site.hear(wave(site.now_ms, BUSY))
    assert before == site.window
    site.now_ms += FORGET_MS
    site.hear(wave(site.now_ms, CALM))
    assert [site.now_ms - FORGET_MS, site.now_ms] == [reading.taken_ms for reading in site.window.readings]


@pytest.mark.spec("X-12")
def test_readings_of_two_boots_are_not_one_series() -> None:
    """A new boot of the sensing cell begins a new series; what comes late from the old one is ignored."""
    site = Site()
    site.feel(BUSY, BUSY, boot="a" * 16)
    site.feel(BUSY, BUSY, boot="b" * 16)
    assert [] == site.levels
    site.hear(wave(site.now_ms - 1_500, BUSY, boot="a" * 16))
    site.feel(BUSY, boot="b" * 16)
    assert ["OVERLOADED"] == site.levels


@pytest.mark.spec("X-12")
def test_a_reading_from_the_future_is_ignored() -> None:
    """A reading that claims to be of tomorrow neither hides the silence nor stays as evidence."""
    site = Site()
    site.feel(BUSY, BUSY, BUSY)
    for ahead_ms in (31_000, 10**12, 2**63 - 1 - site.now_ms):
        site.hear(wave(site.now_ms + ahead_ms, CALM))
    assert 3 == len(site.window.readings)
    assert isinstance(site.tick(SILENT_MS), LoadAssessed)


@pytest.mark.spec("X-12")
def test_a_window_holds_little_of_what_strangers_write() -> None:
    """A reading with an overlong boot cannot make the evidence overlong."""
    window = remember(Window(), wave(START_MS, BUSY, boot="b" * 50_000), START_MS)
    assert len(encode(window)) < 100


@pytest.mark.spec("NIM-01")
def test_state_is_the_fold_of_decisions() -> None:
    """Evolving over every decision that was made leads to the state that the nerve holds."""
    site = Site()
    site.feel(CALM, CALM, CALM, BUSY, BUSY, BUSY, TIRED, TIRED, TIRED)
    folded = LoadState()
    for decision in site.decided:
        assert decision.before == folded.level
        folded = OverloadNerve().evolve(folded, decision)
    assert site.state == folded == LoadState("STRAINED")


@pytest.mark.spec("NIM-01", "X-02")
def test_every_decision_can_be_decided_again_from_the_log() -> None:
    """A fresh nerve makes the same bytes again from each decision's evidence, and folds the log to the same state."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            founded = await Founded.on(ground)
            signer = await founded.introduce("overload", LoadAssessed.pattern(ENV))
            runner = await here.carry(OverloadNerve(), [signer], beat_s=1.0)
            sensor = await here.asker("sensor_cell")
            for cpu in [CALM] * 4 + [BUSY] * 5 + [TIRED] * 4:
                await sensor.emit(wave(now_ms(ground.world), cpu))
                await ground.world.sleep(1.0)
            asked = decode(Decided, (await raw(sensor, ASSESS, AssessRequest("here"), ID)).data)
            await ground.world.sleep(2 * SILENT_MS / 1000)
            levels, reasons = await rerun(sensor)
            assert ["NORMAL", "OVERLOADED", "STRAINED", "STRAINED", "UNKNOWN"] == levels
            assert ["sustained", "sustained", "sustained", "asked", "silent"] == reasons
            calm, later = [await recheck(sensor, None, [nerve]) for nerve in (Calm(), LaterCalm())]
            assert (5, 0) == (len(calm.differing), calm.other_versions)
            assert (0, 5) == (len(later.differing), later.other_versions), "another version need not repeat them"
            await runner.stop()
            successor = await here.carry(OverloadNerve(), [signer])
            assert isinstance(await sensor.request(AssessRequest("here")), Refusal), "its window is lost"
            repeated = decode(Decided, (await raw(sensor, ASSESS, AssessRequest("here"), ID)).data)
            assert replace(asked, duplicate=True) == repeated, "but what was decided stays decided"
            assert successor.mind is not None
            assert LoadState("UNKNOWN") == successor.mind.state("here")

    play_sim(body)


async def rerun(bus: Bus) -> tuple[list[str], list[str]]:
    """Run every logged decision again; return the levels and reasons, all of them reproduced."""
    again, levels, reasons = Rerun(OverloadNerve()), list[str](), list[str]()
    async for verdict in bus.replay():
        for offset, same in again.take(verdict):
            event = verdict.events[offset]
            assert same, verdict.entry.index
            assert len(event.evidence) < 2_000
            assert event.cause == decode(Evidence, event.evidence).message_id
            decision = decode(LoadAssessed, bytes(event.data))
            levels.append(decision.level)
            reasons.append(decision.reason)
    return levels, reasons
