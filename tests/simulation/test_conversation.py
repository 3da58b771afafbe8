"""A whole conversation: a person speaks and interrupts; ears, nerve, mind and voice answer, simulated and real."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.organism import Organism
from deploy.recheck import reruns_of
from deploy.sim_host import SimHost, Trouble
from deploy.simulation import Chaos, Judge
from nerves.conversation import ConversationNerve
from nerves.gate import GateNerve
from nerves.thalamus import ThalamusNerve
from organs.cognition import CognitionOrgan
from organs.ears import EarsOrgan, SphinxHearing
from organs.ears.sphinx import read_commands
from organs.meaning import MeaningOrgan
from organs.memory import MemoryOrgan, PlainPassages
from organs.voice import EspeakSpeech, SimSpeech, VoiceOrgan
from shared.bus import Bus, Delivery
from shared.bus.sim import Faults
from shared.codec import decode
from shared.config import load
from shared.envelope import Prefix
from shared.errors import Fault
from shared.message import lookup
from shared.part import Part
from shared.subjects.memory import Origin, Passage, RememberRequest
from shared.subjects.speech import HearReply, HearRequest, SpeakReply, SpeakRequest, SpokenWave, TurnTaken
from shared.subjects.thalamus import AttentionChanged
from shared.vault import simulated_people
from shared.wav import write_wav
from shared.world import SimWorld, World, simulate
from tests.grams_part import GramsOrgan
from tests.organisms import Living, live_nats, live_sim

QUESTIONS = ("what opens a gate", "who signs the log", "what is a nerve", "good morning")
FACT = "what opens a gate: a gate opens where several sources agree"
SITE = "sim"
SETTLE_S = 90.0


@dataclass
class Life:
    """What the log holds of a conversation, and which utterances were spoken."""

    turns: list[TurnTaken] = field(default_factory=list[TurnTaken])
    spoken: set[bytes] = field(default_factory=set[bytes])
    differing: int = 0
    rerun: int = 0
    digest: str = ""

    def hear(self, delivery: Delivery) -> None:
        """Keep what is spoken."""
        self.spoken.add(decode(SpokenWave, delivery.data).utterance)


async def _live(seed: int, trouble: Trouble, seconds: int) -> Life:
    """Let a person speak every few seconds, sometimes into an answer, while everything else goes wrong."""
    world = SimWorld("dev", seed)
    host = SimHost(world, trouble)
    judge = Judge(Prefix("dev"))
    host.server.witness = judge.witness
    organism = Organism(host, load({}, {"env": "dev", "site": SITE, "home": "/nonexistent"}, SITE))
    calm, host.server.faults = host.server.faults, Faults()
    parts = [
        GramsOrgan(),
        MemoryOrgan(world.fork("memory"), PlainPassages(), simulated_people(world.fork("people"))),
        CognitionOrgan(world.fork("cognition")),
        VoiceOrgan.simulate(world.fork("voice")),
        EarsOrgan.simulate(world.fork("ears")),
        ConversationNerve(SITE),
    ]
    await organism.start(parts)
    bus = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
    life = Life()
    await bus.subscribe(SpokenWave.pattern("dev"), life.hear)
    remembered = Passage("semantic", FACT, Origin("file", "README.md", "", 0, len(FACT)), 0, 0)
    await bus.request(RememberRequest("README.md", (remembered,), "", renews=False), 20)
    await world.sleep(5.0)
    host.server.faults = calm
    chaos = Chaos(host, organism, world.fork("chaos"), trouble)
    task = asyncio.get_running_loop().create_task(chaos.live())
    await _speak(bus, world.fork("person"), seconds)
    task.cancel()
    await chaos.calm()
    await world.sleep(SETTLE_S)
    judge.raise_if_broken()
    for runner in organism.runners.values():
        runner.raise_if_broken()
    nerve = organism.runners["conversation"].part
    for verdict in judge.verdicts:
        for _, event in verdict.admitted():
            if lookup(verdict.entry.subject) is TurnTaken:
                life.turns.append(decode(TurnTaken, bytes(event.data)))
    for rerun in reruns_of([nerve]):
        for verdict in judge.verdicts:
            same = [same for _, same in rerun.take(verdict)]
            life.rerun += len(same)
            life.differing += same.count(False)
    life.digest = judge.hasher.hexdigest()
    await organism.stop()
    return life


async def _speak(bus: Bus, chance: SimWorld, seconds: int) -> None:
    """Say one of the questions, wait, and say another, sometimes before the answer is over."""
    voice, spent = SimSpeech(), 0.0
    while spent < seconds:
        question = QUESTIONS[int(chance.chance() * len(QUESTIONS))]
        sound = (await voice.speak(question, "", 160)).sound
        pause = 0.5 + 9.5 * chance.chance()
        with suppress(Fault):  # the ears are down; another question comes
            await bus.request(HearRequest(write_wav(sound), answer=True), 5.0)
        await chance.sleep(pause)
        spent += pause


@pytest.mark.spec("NIM-13", "NIM-11")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("faults", ["", "drop=0.05,duplicate=0.1,delay=0.3,lose_ack=0.05,lose_append=0.02,crash=6"])
def test_a_conversation_is_one_history(seed: int, faults: str) -> None:
    """Whatever is lost, doubled or crashes: each turn follows from the one before, its number grows, and every one of
    them comes out again from its evidence. Undisturbed, questions are answered aloud, and some of them interrupted.
    """
    life = simulate(lambda: _live(seed, Trouble.parse(faults), 120))
    assert (0, len(life.turns)) == (life.differing, life.rerun)
    assert len(life.turns) > 10
    stands, number = "LISTENING", 0
    for turn in life.turns:
        assert (stands, number + (turn.reason == "asked")) == (turn.before, turn.number)
        stands, number = turn.path[-1], turn.number
    reasons = {turn.reason for turn in life.turns}
    assert {"asked"} <= reasons
    if not faults:
        assert {"asked", "answered", "said", "interrupted"} <= reasons
        assert any(FACT in turn.said for turn in life.turns)
        assert "LISTENING" == stands
        assert life.spoken == {turn.utterance for turn in life.turns if turn.said}


@pytest.mark.spec("X-08")
def test_the_same_seed_gives_the_same_conversation() -> None:
    """Two lives of one seed, with crashes, write the same bytes."""
    trouble = Trouble.parse("drop=0.05,crash=6")
    one, two = (simulate(lambda: _live(11, trouble, 40)).digest for _ in range(2))
    assert one == two


@pytest.mark.spec("NIM-11")
def test_where_both_speak_attention_turns_to_dialogue() -> None:
    """A person alone opens no gate, however often they speak; a person and a voice that answers do."""

    def make(world: World) -> list[Part]:
        base = world if isinstance(world, SimWorld) else SimWorld("dev", 5)
        kinds = (MeaningOrgan, GateNerve, ThalamusNerve, VoiceOrgan, EarsOrgan)
        return [kind.simulate(base.fork(kind.name)) for kind in kinds]

    async def life(living: Living) -> None:
        modes = list[str]()
        bus, world = living.operator, living.world
        attention = AttentionChanged.pattern("dev")
        await bus.subscribe(attention, lambda delivery: modes.append(decode(AttentionChanged, delivery.data).mode))
        sound = write_wav((await SimSpeech().speak(QUESTIONS[0], "", 160)).sound)
        for _ in range(3):
            assert isinstance(await bus.request(HearRequest(sound, answer=True)), HearReply)
            await world.sleep(0.3)
        assert [] == modes
        assert isinstance(await bus.request(SpeakRequest(b"u" * 16, FACT)), SpeakReply)
        await world.sleep(10.0)
        assert "DIALOGUE" == modes[0]
        assert "IDLE" == modes[-1]

    live_sim(life, make)


@pytest.mark.spec("NIM-13", "NIM-17")
def test_a_conversation_with_real_engines_on_a_real_server(tmp_path: Path) -> None:
    """A spoken question is heard by pocketsphinx, answered from memory, spoken by espeak-ng, and written down."""

    def make(world: World) -> list[Part]:
        people = simulated_people(SimWorld("dev", 5))
        mind = [GramsOrgan(), MemoryOrgan(world, PlainPassages(), people), CognitionOrgan(world)]
        ears = EarsOrgan(SphinxHearing(read_commands(None)), "here", world)
        return [*mind, VoiceOrgan(EspeakSpeech(), "here", world), ears, ConversationNerve("here")]

    async def life(living: Living) -> None:
        bus, turns, played = living.operator, list[TurnTaken](), list[SpeakReply]()
        remembered = Passage("semantic", FACT, Origin("file", "README.md", "", 0, len(FACT)), 0, 0)
        await bus.request(RememberRequest("README.md", (remembered,), "", renews=False), 20)
        asked = await bus.request(SpeakRequest(b"u" * 16, QUESTIONS[0]), 20)
        assert isinstance(asked, SpeakReply)
        await bus.subscribe(
            SpeakReply.pattern("dev"), lambda delivery: played.append(decode(SpeakReply, delivery.data))
        )
        heard = await bus.request(HearRequest(asked.audio, answer=True), 60)
        assert isinstance(heard, HearReply), heard
        assert QUESTIONS[0] == heard.text
        async with asyncio.timeout(60):
            while not turns or turns[-1].reason != "said":
                await living.world.sleep(0.1)
                found = [v for v in [v async for v in bus.replay()] if lookup(v.entry.subject) is TurnTaken]
                turns = [decode(TurnTaken, bytes(event.data)) for v in found for _, event in v.admitted()]
        assert ["asked", "answered", "said"] == [turn.reason for turn in turns]
        assert (QUESTIONS[0], FACT) == (turns[0].asked, turns[1].said)
        assert [heard.utterance] == [each.utterance for each in played]

    live_nats(life, tmp_path, make)
