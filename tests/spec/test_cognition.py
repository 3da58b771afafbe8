"""Cognition: what is asked is answered with memory's own words or a model's, or refused by name; all of it recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.talk import is_arithmetic
from organs.boundary import BoundaryOrgan
from organs.cognition import Asked, CognitionOrgan, Language, OpenAISpeaker, Quoting, Shape, Speaking, Spoken
from organs.cognition.deciding import DECIDE_ULF, state_in
from organs.cognition.organ import MODEL_PATIENCE_S
from organs.cognition.port import Turn
from organs.cognition.quoting import NEAR_PPM, NOTHING, QUOTE_ULF, QUOTES
from organs.cognition.servers import speaker_of
from organs.cognition.speaking import SPEAK_ATTEMPTS, SPEAK_ULF
from organs.memory import MemoryOrgan, PlainPassages
from shared.boundary.memory import MemoryShelf
from shared.boundary.task import TASK
from shared.codec import decode
from shared.config import load
from shared.errors import ConfigFault, Fault, KeyFault, Refusal, Refused, Unreachable
from shared.message import MAX_MESSAGE_BYTES, Decision, Reply
from shared.ollama import BadAnswer, Busy, ModelFailed, ModelMissing, NotAccepted
from shared.openai import OpenAIServer, read_key
from shared.part import Organ, Part
from shared.personal import Personal
from shared.subjects.cognition import (
    QUESTION_BYTES,
    Answered,
    CognitiveRequest,
    CognitiveResponse,
    DownstreamCommand,
    Quote,
    Unavailable,
)
from shared.subjects.memory import MemoryStatus, MemoryStatusRequest, Origin, Passage, Recalled, RememberRequest
from shared.subjects.nervous import MathRequest
from shared.subjects.system import Decided
from shared.subjects.thalamus import Escalated
from shared.vault import simulated_people
from shared.world import SimWorld, World
from tests.grams_part import GramsOrgan
from tests.organisms import Living, live_nats, live_sim

D = TypeVar("D", bound=Decision)
FACT = "the notary keeps the tree over the log and signs checkpoints of it"
PAGE = Origin("file", "README.md", "Glossary", 10, 76)
SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}'


def question(text: str, **changes: Any) -> CognitiveRequest:  # noqa: ANN401 - any field of the request
    """A question as a part would ask it."""
    plain = CognitiveRequest("r1", "question", "test", 900_000, text, (), SPEAK_ULF, 4_000, "any", "", personal=False)
    return msgspec.structs.replace(plain, **changes)


def passage(near_ppm: int, text: str = FACT, *, sealed: bool = False) -> Recalled:
    """A passage that was found."""
    person = Personal[str](b"a" * 16, b"c" * 72) if sealed else None
    return Recalled(f"{near_ppm}", "semantic", text, PAGE, "README.md", 0, 0, 1, near_ppm, person)


class Elder(Organ):
    """A stand-in for the thalamus: escalates what a test tells it."""

    name, version = "elder", "1.0.0"

    async def on_ask(self, asked: MathRequest) -> list[Escalated]:
        tier, _, text = asked.text.partition(" ")
        return [Escalated("nyx", int(tier), "weight", "battery", b"w1", text, 20_000_000, 1, 7)]


class Scripted:
    """A model that says what a test tells it, in order; a Fault in its place is raised."""

    engine = "openai"

    def __init__(self, *script: Spoken | Exception) -> None:
        self.script, self.heard = list(script), list[Sequence[Turn]]()

    async def say(self, turns: Sequence[Turn], schema: Mapping[str, object] | None) -> Spoken:
        self.heard.append(turns)
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def close(self) -> None:
        return


def said(text: str, *, whole: bool = True) -> Spoken:
    """What the scripted model says."""
    return Spoken(text, whole, "tiny@ab12", 5)


def mind(
    language: Language | None = None, *, memory: bool = True, boundary: bool = False
) -> Callable[[World], list[Part]]:
    """Cognition with memory, and somebody who says what texts mean; with the boundary where that is asked for."""

    def make(world: World) -> list[Part]:
        base = world if isinstance(world, SimWorld) else SimWorld("dev", 5)
        remembering = [GramsOrgan(), MemoryOrgan(world, PlainPassages(), simulated_people(base.fork("people")))]
        deciding = [BoundaryOrgan(world, MemoryShelf(TASK))] if boundary else []
        return [*(remembering if memory else []), *deciding, CognitionOrgan(world, language), Elder()]

    return make


async def asked(living: Living, request: CognitiveRequest) -> Reply | Refusal:
    """What cognition answers."""
    return await living.operator.request(request, 20)


async def taught(living: Living, text: str = FACT) -> None:
    """Have memory hold a passage."""
    one = Passage("semantic", text, PAGE, 0, 0)
    decided = await living.operator.request(RememberRequest("README.md", (one,), "", renews=False), 20)
    assert isinstance(decided, Decided), decided
    async with asyncio.timeout(30):
        while True:
            status = await living.operator.request(MemoryStatusRequest(whole=False), 20)
            assert isinstance(status, MemoryStatus)
            if status.next_index > decided.index:
                return
            await living.world.sleep(0.01)


async def recorded(living: Living, cls: type[D]) -> list[D]:
    """Every admitted decision of a class."""
    found = [v for v in [v async for v in living.operator.replay()] if v.entry.subject.endswith(cls.tokens[-1])]
    return [decode(cls, bytes(event.data)) for verdict in found for _, event in verdict.admitted()]


async def escalated(living: Living, text: str, tier: int = 4) -> None:
    """Have something escalated."""
    await living.operator.wire.publish(
        MathRequest("").subject("dev"), msgspec.json.encode(MathRequest(f"{tier} {text}"))
    )


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize("where", ["sim", "nats"])
def test_a_question_is_answered_in_memorys_own_words(tmp_path: Path, where: str) -> None:
    """The answer says that it quotes, word for word, with where that stands; the log holds question, quote and cost."""

    async def life(living: Living) -> None:
        await taught(living)
        answer = await asked(living, question("what does the notary keep over the log?"))
        assert isinstance(answer, CognitiveResponse), answer
        assert ("r1", "quoted", "memory", "") == (answer.request_id, answer.decision, answer.engine, answer.model)
        assert answer.answer.startswith("I quote what I hold:")
        assert f"“{FACT}”\n— README.md # Glossary, bytes 10 to 76" in answer.answer
        [quote] = answer.quotes
        assert (FACT, PAGE, answer.confidence_ppm) == (quote.text, quote.origin, quote.similarity_ppm)
        [kept] = await recorded(living, Answered)
        assert ("what does the notary keep over the log?", "request", (quote,), QUOTE_ULF) == (
            *(kept.content, kept.asked_by),
            *(kept.quotes, kept.declared_ulf),
        )
        assert (answer.lifeforce_spent_ulf, answer.processing_time_ms) == (kept.cost_ulf, kept.latency_ms)

    live_sim(life, mind()) if where == "sim" else live_nats(life, tmp_path, mind())


@pytest.mark.spec("NIM-17")
def test_what_memory_does_not_hold_is_not_made_up() -> None:
    """Nothing near enough is a typed outcome that says so, with no quote and no confidence; it is recorded too."""

    async def life(living: Living) -> None:
        await taught(living)
        answer = await asked(living, question("zyxw qqq"))
        assert isinstance(answer, CognitiveResponse)
        assert ("nothing_held", NOTHING, (), 0) == (
            *(answer.decision, answer.answer),
            *(answer.quotes, answer.confidence_ppm),
        )
        [kept] = await recorded(living, Answered)
        assert ("nothing_held", ()) == (kept.decision, kept.quotes)

    live_sim(life, mind())


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (question("write me a poem", reasoning_mode="generate"), "B011"),
        (question("how many?", json_schema=SCHEMA), "B011"),
        (question("what is it?", processing_budget_ulf=QUOTE_ULF - 1), "L001"),
    ],
)
def test_what_cannot_be_served_is_recorded_with_its_reason(request_: CognitiveRequest, code: str) -> None:
    """Free words or a shape without a model, and too small a budget, come back by name and stand in the log."""

    async def life(living: Living) -> None:
        answer = await asked(living, request_)
        assert isinstance(answer, Refusal)
        [kept] = await recorded(living, Unavailable)
        assert (code, code, answer.detail) == (answer.code, kept.code, kept.reason)
        assert (request_.structured_input, b"") == (kept.content, kept.signal)
        assert [] == await recorded(living, Answered)

    live_sim(life, mind())


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("text", "code"),
    [("x" * 100_000, "B003"), ("ü" * (QUESTION_BYTES // 2 + 1), "B003"), ("", "B012"), (" \n", "B012")],
    ids=["100 kB", "a byte too much", "nothing", "blanks"],
)
def test_a_question_that_is_none_is_refused_and_not_kept(text: str, code: str) -> None:
    """100 kB or one byte too much is B003, no words at all B012, and nothing of it is in the log."""

    async def life(living: Living) -> None:
        try:
            answer = await asked(living, question(text))
            assert isinstance(answer, Refusal)
            found = answer.code
        except Refused as no:
            found = no.refusal.code
            assert len(text) > MAX_MESSAGE_BYTES
        assert code == found
        assert [] == await recorded(living, Unavailable)

    live_sim(life, mind())


@pytest.mark.spec("X-11")
def test_of_a_personal_question_nothing_is_kept() -> None:
    """It is answered like any other; the log holds neither its words, nor a digest of them, nor what was quoted."""

    async def life(living: Living) -> None:
        await taught(living)
        asks = [await asked(living, question(FACT, personal=personal)) for personal in (False, True, True)]
        assert all(isinstance(answer, CognitiveResponse) and answer.quotes for answer in asks)
        plain, first, second = await recorded(living, Answered)
        assert 3 == len({plain.question, first.question, second.question})
        assert [("", "", ())] * 2 == [(kept.content, kept.answer, kept.quotes) for kept in (first, second)]

    live_sim(life, mind())


# States

LOW = {"battery": 5, "front": 300, "left": 300, "right": 300, "math": 0, "speech": 0, "speed": 0}
DOCK = '{"function":"dock","args":{"cell":"battery","urgency":"low"}}'
DOCKS = '{"type": "object", "properties": {"function": {"const": "dock"}}, "required": ["function"]}'


@pytest.mark.spec("NIM-15", "NIM-17")
@pytest.mark.parametrize("where", ["sim", "nats"])
def test_a_state_is_decided_by_the_boundary(tmp_path: Path, where: str) -> None:
    """Without a language model a state gets a function call; answer, log and command say who chose it, and what."""

    async def life(living: Living) -> None:
        answer = await asked(living, question(json.dumps(LOW), json_schema=DOCKS, domain="battery"))
        assert isinstance(answer, CognitiveResponse), answer
        assert ("decided", DOCK, "boundary", "translator") == (
            *(answer.decision, answer.answer),
            *(answer.engine, answer.model),
        )
        assert (DownstreamCommand("battery", "dock", '{"cell":"battery","urgency":"low"}'),) == (
            answer.downstream_commands
        )
        [kept] = await recorded(living, Answered)
        assert (json.dumps(LOW), DOCK, "translator", DECIDE_ULF) == (
            *(kept.content, kept.answer),
            *(kept.model, kept.declared_ulf),
        )

    parts = mind(memory=False, boundary=True)
    live_sim(life, parts) if where == "sim" else live_nats(life, tmp_path, parts)


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize(
    ("put", "boundary", "code"),
    [
        (question(json.dumps(LOW | {"battery": 101})), True, "F001"),
        (question('{"battery": 5}'), True, "F001"),
        (question('{"battery": 99999999999999999999}'), True, "F001"),
        (question("which cell is low?", reasoning_mode="decide"), True, "F001"),
        (question(json.dumps(LOW), reasoning_mode="decide", personal=True), True, "F001"),
        (question(json.dumps(LOW), json_schema=SCHEMA), True, "L003"),
        (question(json.dumps(LOW), processing_budget_ulf=DECIDE_ULF - 1), True, "L001"),
        (question(json.dumps(LOW)), False, "B006"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_name(put: CognitiveRequest, code: str, *, boundary: bool) -> None:
    """No state of the task, words, somebody's own state, a shape no call has, too little, nobody there: recorded."""

    async def life(living: Living) -> None:
        answer = await asked(living, put)
        assert isinstance(answer, Refusal)
        [kept] = await recorded(living, Unavailable)
        assert (code, code) == (answer.code, kept.code)

    live_sim(life, mind(memory=False, boundary=boundary))


@pytest.mark.spec("NIM-15")
def test_a_configured_model_is_asked_about_states_too_unless_they_are_to_be_decided() -> None:
    """With a language model a state is its to talk about; `decide` has the boundary choose all the same."""

    async def life(living: Living) -> None:
        spoken = await asked(living, question(json.dumps(LOW)))
        chosen = await asked(living, question(json.dumps(LOW), reasoning_mode="decide"))
        assert isinstance(spoken, CognitiveResponse)
        assert isinstance(chosen, CognitiveResponse)
        assert (("it is low", "openai"), (DOCK, "boundary")) == (
            (spoken.answer, spoken.engine),
            (chosen.answer, chosen.engine),
        )

    live_sim(life, mind(Speaking(Scripted(said("it is low")), Quoting()), memory=False, boundary=True))


@pytest.mark.spec("NIM-17", "X-12")
@given(text=st.text(max_size=20) | st.dictionaries(st.text(max_size=3), st.integers() | st.floats()).map(json.dumps))
def test_whatever_is_asked_is_a_state_or_words(text: str) -> None:
    """A JSON object of whole numbers is a state, and nothing else is."""
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    values = list(read.values()) if isinstance(read, dict) else []
    whole = values and all(type(value) is int for value in values)
    assert (read if whole else None) == state_in(text)


# Escalations


@pytest.mark.spec("NIM-07", "NIM-17")
def test_escalations_are_answered_by_memory_or_by_the_mind() -> None:
    """Tier 3 is answered from memory, tier 4 by the model, each beside what it is about; tier 5 is a person's."""

    async def life(living: Living) -> None:
        await taught(living)
        for tier in (5, 3, 4):
            await escalated(living, FACT, tier)
            await living.world.sleep(3)
        third, fourth = await recorded(living, Answered)
        assert ("escalation", b"w1", "battery", FACT, "quoted", "memory") == (
            *(third.asked_by, third.signal, third.domain),
            *(third.content, third.decision, third.engine),
        )
        assert ("generated", "it is so", "openai") == (fourth.decision, fourth.answer, fourth.engine)

    live_sim(life, mind(Speaking(Scripted(said("it is so")), Quoting())))


@pytest.mark.spec("NIM-07", "NIM-23")
def test_an_escalation_that_cannot_be_served_is_recorded_as_unavailable() -> None:
    """Where memory does not answer, the escalation waits a while, and then the log says why it has no answer."""

    async def life(living: Living) -> None:
        await escalated(living, FACT)
        await living.world.sleep(MODEL_PATIENCE_S / 2)
        assert [] == await recorded(living, Unavailable)
        await living.world.sleep(MODEL_PATIENCE_S * 3)
        [kept] = await recorded(living, Unavailable)
        assert ("B006", "escalation", FACT) == (kept.code, kept.asked_by, kept.content)
        assert "memory does not answer" in kept.reason

    live_sim(life, mind(memory=False))


@pytest.mark.spec("NIM-17", "X-07")
def test_a_model_that_dies_in_mid_sentence_loses_nothing() -> None:
    """The escalation comes back until the model speaks again, and is answered once."""
    speaker = Scripted(ModelFailed("killed"), Unreachable("away"), Busy("full"), said("it is low"))

    async def life(living: Living) -> None:
        await escalated(living, FACT)
        await living.world.sleep(MODEL_PATIENCE_S)
        [kept] = await recorded(living, Answered)
        assert ("generated", "it is low", "openai", "tiny@ab12", SPEAK_ULF) == (
            *(kept.decision, kept.answer, kept.engine),
            *(kept.model, kept.declared_ulf),
        )
        assert kept.cost_ulf >= 5_000
        assert [] == await recorded(living, Unavailable)

    live_sim(life, mind(Speaking(speaker, Quoting())))


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ModelMissing("none"), "B011"),
        (ModelFailed("died"), "L004"),
        (NotAccepted("long"), "L004"),
        (BadAnswer("?"), "L004"),
    ],
)
def test_whatever_a_model_server_does_is_a_typed_refusal(fault: Fault, code: str) -> None:
    """A request to a model that is missing, dies or speaks nonsense ends as its refusal, recorded with the reason."""

    async def life(living: Living) -> None:
        answer = await asked(living, question("anything?"))
        assert isinstance(answer, Refusal)
        [kept] = await recorded(living, Unavailable)
        assert (code, code, str(fault)) == (answer.code, kept.code, kept.reason)

    live_sim(life, mind(Speaking(Scripted(fault), Quoting())))


class Slow(Quoting):
    """A language that never comes to an end."""

    async def answer(self, asked: Asked) -> Any:  # noqa: ANN401 - it never returns
        await asyncio.get_running_loop().create_future()


@pytest.mark.spec("NIM-07")
def test_who_takes_too_long_is_cut_off() -> None:
    """An answer that does not come within the request's own time is L001, after just that time."""

    async def life(living: Living) -> None:
        began = living.world.elapsed_s()
        answer = await asked(living, question("anything?", response_timeout_ms=700))
        assert isinstance(answer, Refusal)
        assert "L001" == answer.code
        assert 0.7 <= living.world.elapsed_s() - began < 1.0

    live_sim(life, mind(Slow()))


# Language


def answered(language: Language, put: Asked) -> Any:  # noqa: ANN401 - an answer, or a refusal's code
    """What a language says, or the code of its refusal."""
    try:
        return asyncio.run(language.answer(put))  # type: ignore[arg-type]
    except Refused as no:
        return no.refusal.code


@pytest.mark.spec("NIM-17")
def test_only_what_is_near_is_quoted() -> None:
    """The nearest passages that are near enough, and nearly as near as the first; never what is sealed for a person."""
    near = [passage(NEAR_PPM + 200_000, f"near {n}") for n in range(QUOTES + 1)]
    found = answered(Quoting(), Asked("?", (passage(990_000, sealed=True), *near, passage(NEAR_PPM - 1))))
    assert [f"near {n}" for n in range(QUOTES)] == [quote.text for quote in found.quotes]
    assert NEAR_PPM + 200_000 == found.confidence_ppm
    found = answered(Quoting(), Asked("?", (passage(900_000, "first"), passage(500_000, "far behind"))))
    assert ["first"] == [quote.text for quote in found.quotes]
    assert "nothing_held" == answered(Quoting(), Asked("?", (passage(NEAR_PPM - 1), passage(1, sealed=True)))).decision


@pytest.mark.spec("NIM-17")
def test_a_model_is_shown_the_passages_and_told_to_invent_nothing() -> None:
    """It sees each near passage with its number and origin; its answer carries them, and no confidence of its own."""
    speaker = Scripted(said(" the notary [1] "))
    found = answered(Speaking(speaker, Quoting()), Asked("who?", (passage(800_000), passage(10, "far"))))
    assert ("generated", "the notary [1]", 0, 5) == (found.decision, found.answer, found.confidence_ppm, found.model_ms)
    assert (Quote("800000", FACT, PAGE, 800_000),) == found.quotes
    [[system, user]] = speaker.heard
    assert "Invent nothing" in system[1]
    assert f"[1] (README.md # Glossary, bytes 10 to 76)\n{FACT}" in user[1]
    assert "far" not in user[1]
    assert "quoted" == answered(Speaking(speaker, Quoting()), Asked("who?", (passage(800_000),), "quote")).decision


@pytest.mark.spec("NIM-17")
def test_an_answer_of_another_shape_is_asked_for_again() -> None:
    """The model hears what was wrong, as often as there are attempts; then L003 says what was wrong last."""
    speaker = Scripted(said("no JSON"), said('{"n": 1}'), said('{"n": 3}'))
    found = answered(Speaking(speaker, Quoting()), Asked("how many?", (), "any", SCHEMA))
    assert ("structured", '{"n": 3}', 15) == (found.decision, found.answer, found.model_ms)
    assert "it is not JSON" in speaker.heard[1][-1][1]
    assert "the answer.n is 1, below 3" in speaker.heard[2][-1][1]
    for script in (
        [said("cut", whole=False)] * SPEAK_ATTEMPTS,
        [said("  ")] * SPEAK_ATTEMPTS,
        [said("x" * 20_000)] * SPEAK_ATTEMPTS,
    ):
        assert "L003" == answered(Speaking(Scripted(*script), Quoting()), Asked("?", ()))


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_types = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
_shapes = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": _types | st.lists(_types, min_size=1, max_size=2),
            "enum": st.lists(_json, min_size=1, max_size=3),
            "const": _json,
            "minimum": st.integers(-2, 2),
            "maximum": st.integers(-2, 2),
            "minLength": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "title": st.text("ab"),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _types,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "items": inner,
            "additionalProperties": st.booleans() | inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=5,
)


@pytest.mark.spec("NIM-17")
@given(schema=_shapes, value=_json)
def test_a_shape_judges_as_json_schema_does(schema: dict[str, Any], value: Any) -> None:  # noqa: ANN401 - any JSON
    """Whatever schema is understood, an answer is of its shape exactly where another judge says so."""
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert expected == (not Shape.parse(json.dumps(schema)).wrong(json.dumps(value)))


@pytest.mark.spec("NIM-17", "X-12")
@given(text=st.text(max_size=40) | _json.map(json.dumps) | st.just("[" * 5_000))
def test_a_schema_that_is_not_understood_is_refused(text: str) -> None:
    """Any text is a schema that is understood whole, or L002; a word that would not be judged is never passed over."""
    try:
        Shape.parse(text).wrong("{}")
    except Refused as no:
        code = no.refusal.code
    else:
        code = ""
        assert isinstance(json.loads(text), dict)
    assert code in ("", "L002")
    for refused in ('{"$ref": "#"}', '{"pattern": "a"}', "7", '{"type": "thing"}', '{"items": [{}]}'):
        with pytest.raises(Refused, match="L002"):
            Shape.parse(refused)


# Servers


@pytest.mark.spec("NIM-15", "NIM-17")
def test_the_settings_choose_the_server(tmp_path: Path) -> None:
    """The address names the protocol; a server without a model, and a key that others may read, are refused."""
    home = {"home": str(tmp_path)}
    assert speaker_of(load({}, home, "here").settings) is None
    chosen = home | {"language_url": "openai+http://127.0.0.1:9/v1", "language_model": "tiny"}
    speaker = speaker_of(load({}, chosen, "here").settings)
    assert isinstance(speaker, OpenAISpeaker)
    assert ("http://127.0.0.1:9/v1", "tiny") == (speaker.server.url, speaker.model)
    ollama = speaker_of(load({}, chosen | {"language_url": "ollama+http://127.0.0.1:9"}, "here").settings)
    assert ollama is not None
    assert "ollama" == ollama.engine
    for odd in ({"language_model": ""}, {"language_url": "http://h"}, {"language_url": ""}):
        with pytest.raises(ConfigFault):
            load({}, chosen | odd, "here")
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o644)
    with pytest.raises(KeyFault, match="can be read by others"):
        read_key(key)
    key.chmod(0o600)
    assert "secret" == read_key(key)
    key.write_text("two words")
    with pytest.raises(KeyFault, match="one API key"):
        read_key(key)


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, b"[1]", BadAnswer),
        (200, b'{"choices": []}', BadAnswer),
        (200, b"x" * 2_000_000, BadAnswer),
        (404, b"{}", ModelMissing),
        (429, b"{}", Busy),
        (503, b"{}", Busy),
        (500, b"{}", ModelFailed),
        (400, b"\xff", NotAccepted),
        (302, b"", NotAccepted),
    ],
)
def test_whatever_a_server_answers_has_a_name(status: int, body: bytes, fault: type[Fault]) -> None:
    """Nonsense, endless bytes, redirects and every kind of status end as a Fault of their own kind."""

    async def whole() -> None:
        async with serving(status, body) as url:
            speaker = OpenAISpeaker(OpenAIServer(url, "key"), "tiny")
            try:
                with pytest.raises(fault):
                    await speaker.say([("user", "hi")], None)
            finally:
                await speaker.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-17")
def test_a_server_that_is_away_or_cuts_off_is_unreachable() -> None:
    """No server, and one that dies in mid-sentence, are Unreachable: worth another attempt."""

    async def whole() -> None:
        async with serving(200, b"half", cut=True) as url:
            speaker = OpenAISpeaker(OpenAIServer(url), "tiny")
            with pytest.raises(Unreachable):
                await speaker.say([("user", "hi")], None)
        with pytest.raises(Unreachable):
            await speaker.say([("user", "hi")], None)
        await speaker.close()

    asyncio.run(whole())


@asynccontextmanager
async def serving(status: int, body: bytes, *, cut: bool = False) -> AsyncIterator[str]:
    """A server that gives one answer to everything, or the half of it."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        size = 2 * len(body) if cut else len(body)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, size) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


# The command line


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("17 * 23 / 4", "2+3", "1e3 * 2", "[/1] [2]", "-7")),
        *((text, False) for text in ("what is 2+3?", "what is a nerve?", "1 e", "?", "e3", "")),
    ],
)
def test_arithmetic_is_told_from_questions(text: str, *, expected: bool) -> None:
    """Digits without letters are the math cell's; everything else is cognition's."""
    assert expected == is_arithmetic(text)
