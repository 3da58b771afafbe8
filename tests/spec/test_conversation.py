"""What the conversation nerve decides: to wait, to ask, to have the answer spoken, to be interrupted, and to yield."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerves.conversation import ConversationNerve, ConversationWindow
from nerves.conversation.state import PENDING_CHARS
from nerves.conversation.steps import (
    NO_ANSWER,
    NOBODY_ANSWERS,
    NOTHING,
    PROCESSING_MS,
    UNSPOKEN_MS,
    YIELDING_MS,
    shortened,
)
from shared.habit import BEGIN_PPM, WEIGHT_DELTA_PPM
from shared.message import Message
from shared.subjects.cognition import Answered, CognitiveRequest, Quote, Unavailable
from shared.subjects.memory import Origin
from shared.subjects.speech import TEXT_BYTES, HeardWave, Hushed, SpeakRequest, SpokenWave, TurnTaken
from shared.subjects.system import Tick

pytestmark = pytest.mark.spec("NIM-13")

START_MS = 1_767_225_600_000
WAIT_MS = 1_000  #: of a conversation that was not verified yet
QUESTION = "what opens a gate"
ANSWER = "a gate opens where several sources agree"


class Talk:
    """A conversation under a clock of the test's own; what is decided, asked, spoken and hushed is kept."""

    def __init__(self, weight_ppm: int = BEGIN_PPM) -> None:
        self.nerve = ConversationNerve("here")
        self.state, self.window = self.nerve.start(), self.nerve.empty()
        self.state = type(self.state)(weight_ppm=weight_ppm)
        self.now_ms = START_MS
        self.turns: list[TurnTaken] = []
        self.asked: list[CognitiveRequest] = []
        self.spoken: list[SpeakRequest] = []
        self.hushed: list[Hushed] = []
        self._heard = 0

    def hear(self, message: Message) -> None:
        """Decide about one message as the runner does, and evolve."""
        if not isinstance(message, Tick) and self.nerve.entity(message) is None:  # pyright: ignore[reportArgumentType]
            return
        self.window, said = self.nerve.decide(self.state, self.window, message, self.now_ms)  # pyright: ignore[reportArgumentType]
        assert isinstance(said, list)
        for one in said:
            match one:
                case TurnTaken():
                    self.state = self.nerve.evolve(self.state, one)
                    self.turns.append(one)
                case CognitiveRequest():
                    self.asked.append(one)
                case SpeakRequest():
                    self.spoken.append(one)
                case Hushed():
                    self.hushed.append(one)

    def person(self, words: str = QUESTION, **changes: Any) -> None:  # noqa: ANN401 - any field of the wave
        """Somebody says something."""
        self._heard += 1
        utterance = self._heard.to_bytes(16, "big")
        facts = {"site": "here", "taken_ms": self.now_ms, "utterance": utterance, "words": words} | changes
        self.hear(HeardWave("speech", 900_000, words, 1, **facts))

    def wait(self, ms: int) -> None:
        """Let time pass, then beat."""
        self.now_ms += ms
        self.hear(Tick("conversation", "0" * 16, 1, self.now_ms))

    def answer(self, text: str = ANSWER, **changes: Any) -> None:  # noqa: ANN401 - any field of the answer
        """Cognition answers what was asked last."""
        self.hear(answered(**({"content": self.asked[-1].structured_input, "answer": text} | changes)))

    def voice(self, ms: int = 3_000) -> None:
        """The voice begins to speak what it was asked to."""
        utterance = self.spoken[-1].utterance
        self.hear(SpokenWave("speech", 1_000_000, "", 1, "here", self.now_ms, utterance, ms))

    @property
    def reasons(self) -> list[str]:
        """Why each turn was taken."""
        return [turn.reason for turn in self.turns]


def answered(**changes: Any) -> Answered:  # noqa: ANN401 - any field of the answer
    """What cognition decides."""
    facts: dict[str, Any] = {
        "question": "q",
        "asked_by": "request",
        "signal": b"",
        "domain": "speech",
        "content": QUESTION,
        "decision": "generated",
        "answer": ANSWER,
        "confidence_ppm": 0,
        "quotes": (),
        "engine": "openai",
        "model": "m",
        "declared_ulf": 1,
        "cost_ulf": 1,
        "latency_ms": 1,
    }
    return Answered(**(facts | changes))


def unavailable(reason: str) -> Unavailable:
    """Why cognition has no answer."""
    return Unavailable("q", "request", b"", "speech", QUESTION, "L004", reason, "openai", 1, 1)


def asking(weight_ppm: int = BEGIN_PPM) -> Talk:
    """A conversation in which cognition was just asked."""
    talk = Talk(weight_ppm)
    talk.person()
    talk.wait(WAIT_MS)
    assert "PROCESSING" == talk.state.turn
    return talk


def replying() -> Talk:
    """A conversation in which an answer is being spoken, for three seconds."""
    talk = asking()
    talk.answer()
    talk.voice()
    assert "RESPONDING" == talk.state.turn
    return talk


def test_the_way_of_a_turn() -> None:
    """LISTENING, PROCESSING, RESPONDING, YIELDING, LISTENING: asked, answered, said to its end, and quiet."""
    talk = replying()
    talk.wait(2_999)
    assert "RESPONDING" == talk.state.turn
    talk.wait(1)
    talk.wait(YIELDING_MS)
    assert ["asked", "answered", "said", "quiet"] == talk.reasons
    assert [("PROCESSING",), ("RESPONDING",), ("YIELDING",), ("LISTENING",)] == [turn.path for turn in talk.turns]
    assert [QUESTION] == [asked.structured_input for asked in talk.asked]
    assert ["speech"] == [asked.domain for asked in talk.asked]
    assert [ANSWER] == [speak.text for speak in talk.spoken]
    assert ConversationWindow() == talk.window, "nothing is remembered of a quiet conversation"
    assert (1, 0, BEGIN_PPM + WEIGHT_DELTA_PPM) == (talk.state.confirmed, talk.state.failed, talk.state.weight_ppm)


@pytest.mark.parametrize(
    ("weight_ppm", "wait_ms", "cost_ulf"),
    [(100_000, 1_000, 8_000_000), (300_000, 500, 3_000_000), (800_001, 0, 500_000)],
)
def test_the_more_was_verified_the_shorter_it_waits(weight_ppm: int, wait_ms: int, cost_ulf: int) -> None:
    """Deliberate, hybrid, reflex: a second, half of one, at once; and each costs less."""
    talk = Talk(weight_ppm)
    talk.person()
    if wait_ms:
        talk.wait(wait_ms - 1)
        assert [] == talk.turns
        talk.wait(1)
    assert ["asked"] == talk.reasons
    assert cost_ulf == talk.turns[0].cost_ulf


def test_a_person_who_goes_on_is_heard_out() -> None:
    """Words that come while it waits belong to the same question."""
    talk = Talk()
    talk.person("what opens")
    talk.wait(600)
    talk.person("a gate")
    talk.wait(600)
    assert [] == talk.asked
    talk.wait(400)
    assert [QUESTION] == [asked.structured_input for asked in talk.asked]


def test_a_person_who_goes_on_while_it_thinks_is_asked_about_whole() -> None:
    """It began too early: what was asked and what came after are one question; the answer to the half is not said."""
    talk = Talk()
    talk.person("what opens")
    talk.wait(WAIT_MS)
    talk.person("a gate")
    assert ["asked", "interrupted"] == talk.reasons
    assert ("failed", 1) == (talk.turns[-1].outcome, talk.state.failed)
    talk.answer()
    assert [] == talk.spoken
    talk.wait(WAIT_MS)
    assert ["what opens", QUESTION] == [asked.structured_input for asked in talk.asked]
    talk.answer()
    assert [ANSWER] == [speak.text for speak in talk.spoken]
    assert [] == talk.hushed


def test_whoever_interrupts_has_the_turn() -> None:
    """Words while it speaks hush it, cost it weight, and are the next question."""
    talk = replying()
    talk.now_ms += 500
    talk.person("what is a nerve")
    assert [(talk.spoken[0].utterance, talk.now_ms)] == [(hush.utterance, hush.at_ms) for hush in talk.hushed]
    assert ("interrupted", "failed", "LISTENING") == (talk.reasons[-1], talk.turns[-1].outcome, talk.state.turn)
    assert BEGIN_PPM - WEIGHT_DELTA_PPM == talk.state.weight_ppm
    talk.wait(WAIT_MS)
    assert [QUESTION, "what is a nerve"] == [asked.structured_input for asked in talk.asked]


def test_words_after_the_answer_are_no_interruption() -> None:
    """Who speaks when everything is said takes the turn that was yielded."""
    talk = replying()
    talk.wait(3_000)
    talk.person("what is a nerve")
    talk.wait(WAIT_MS)
    assert ["asked", "answered", "said", "asked"] == talk.reasons
    assert ("LISTENING", "PROCESSING") == talk.turns[-1].path
    assert 0 == talk.state.failed


def test_an_answer_that_does_not_come_is_said() -> None:
    """Nobody answers in time: that is what is spoken, and then the turn is yielded."""
    talk = asking()
    talk.wait(PROCESSING_MS - 1)
    assert ["asked"] == talk.reasons
    talk.wait(1)
    assert (["asked", "no_answer"], [NOBODY_ANSWERS]) == (talk.reasons, [speak.text for speak in talk.spoken])


def test_an_answer_that_cannot_be_given_is_said_with_its_reason() -> None:
    """Unavailable is spoken as what it is, never as an answer."""
    talk = asking()
    talk.hear(unavailable("the server is away"))
    assert (["asked", "unavailable"], [f"{NO_ANSWER} the server is away"]) == (
        talk.reasons,
        [speak.text for speak in talk.spoken],
    )


def test_without_a_voice_the_turn_is_yielded_all_the_same() -> None:
    """No voice begins in time: unspoken, and nothing is learned of it."""
    talk = asking()
    talk.answer()
    talk.wait(UNSPOKEN_MS)
    assert ["asked", "answered", "unspoken"] == talk.reasons
    assert (0, 0) == (talk.state.confirmed, talk.state.failed)


def test_a_quote_is_read_aloud_and_nothing_held_is_said_plainly() -> None:
    """A quoting answer has its words in its quotes; where memory holds nothing, that is what is said."""
    quote = Quote("p", "the notary keeps the tree", Origin("file", "README.md", "", 0, 1), 900_000)
    for quotes, decision, expected in (
        ((quote,), "quoted", "the notary keeps the tree"),
        ((), "nothing_held", NOTHING),
    ):
        talk = asking()
        talk.answer("", quotes=quotes, decision=decision)
        assert [expected] == [speak.text for speak in talk.spoken]


def test_what_does_not_concern_it_changes_nothing() -> None:
    """Words of another site, none, old, future and repeated ones; answers to others, and speech of others."""
    talk = asking()
    before = (talk.state, talk.window)
    talk.person(site="there")
    talk.person("")
    talk.person(taken_ms=talk.now_ms - 10_001)
    talk.person(taken_ms=talk.now_ms + 600_000)
    talk.person(utterance=talk.state.utterance)
    talk.answer(domain="math")
    talk.answer(content="something else")
    talk.hear(SpokenWave("speech", 1_000_000, "", 1, "here", talk.now_ms, b"x" * 16, 10))
    assert (before, ["asked"]) == ((talk.state, talk.window), talk.reasons)


def test_a_turn_that_a_crash_cut_off_ends() -> None:
    """The window is lost, the state is not: words that come long after are a new turn, and no interruption."""
    talk = replying()
    talk.window = talk.nerve.empty()
    talk.now_ms += UNSPOKEN_MS
    talk.person("what is a nerve")
    assert ["asked", "answered", "unspoken"] == talk.reasons
    talk.wait(WAIT_MS)
    assert "what is a nerve" == talk.asked[-1].structured_input
    assert 0 == talk.state.failed


@given(st.text(max_size=3_000))
def test_what_is_spoken_at_once_is_bounded(text: str) -> None:
    """Whole words from the beginning, as many as fit."""
    cut = shortened(text)
    assert len(cut.encode()) <= TEXT_BYTES
    assert " ".join(text.split()).startswith(cut)


@given(st.lists(st.tuples(st.sampled_from(["person", "wait", "answer", "voice", "crash"]), st.integers(0, 25_000))))
def test_whatever_happens_a_turn_ends(events: list[tuple[str, int]]) -> None:
    """In any order of words, silence, answers and crashes: bounded, numbered upwards, and quiet in the end."""
    talk = Talk()
    for what, ms in events:
        match what:
            case "person":
                talk.person("word " * (ms % 90))
            case "wait":
                talk.wait(ms)
            case "answer" if talk.asked:
                talk.answer()
            case "voice" if talk.spoken:
                talk.voice(ms)
            case "crash":
                talk.window = talk.nerve.empty()
            case _:
                pass
        assert len(talk.window.pending) <= PENDING_CHARS
    numbers = [turn.number for turn in talk.turns]
    assert sorted(numbers) == numbers
    for _ in range(6):
        talk.wait(30_000)
    assert "LISTENING" == talk.state.turn
    assert ConversationWindow() == talk.window
