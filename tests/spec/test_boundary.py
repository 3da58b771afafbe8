"""The function boundary: a state becomes one typed call, by a model that the log installed, or by the rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import build_parser
from deploy.commands import boundary as command
from deploy.terminal import Terminal
from organs.boundary import BoundaryOrgan
from shared.boundary.evaluate import states
from shared.boundary.memory import MemoryShelf
from shared.boundary.port import ModelShelf
from shared.boundary.shelf import FolderShelf
from shared.boundary.task import TASK, Call, Choice, write_call
from shared.boundary.tokens import BOS, EOS, MARKS, Vocabulary
from shared.boundary.translator import URGENT_PERCENT, Rules, translate
from shared.codec import decode, encode
from shared.config import load
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.message import Request, lookup
from shared.part import Part
from shared.subjects.boundary import (
    BoundaryNacked,
    BoundaryStated,
    BoundaryStatus,
    Called,
    CorrectCall,
    Corrected,
    InstallModel,
    ModelInstalled,
    Transformed,
    TransformRequest,
)
from shared.subjects.system import Decided
from shared.world import World, within
from tests.boundaries import untrained
from tests.commands import EVENT_S, Home
from tests.organisms import Life, Living, live_nats, live_sim

EXEMPTION = "dev_install"  #: by which a model speaks that the registry does not promote
STATE = {"battery": 90, "front": 200, "left": 100, "right": 120, "math": 10, "speech": 5, "speed": 3}
VALIDATOR = jsonschema.Draft202012Validator(TASK.schema)
STATES = st.fixed_dictionaries({field.name: st.integers(field.low, field.high) for field in TASK.fields})
VALUES = st.one_of(
    st.integers(-5, 400),
    st.booleans(),
    st.text('battery"{}é', max_size=8),
    st.none(),
    *(st.sampled_from(a.type.options) for f in TASK.functions for a in f.arguments if isinstance(a.type, Choice)),
)
NAMES = sorted({argument.name for function in TASK.functions for argument in function.arguments})
CALLS = st.fixed_dictionaries(
    {
        "function": st.sampled_from([*(function.name for function in TASK.functions), "fly"]),
        "args": st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES, max_size=3),
    }
)


# The task


@pytest.mark.spec("NIM-14")
def test_numbers_stand_in_their_places() -> None:
    """A prompt writes every field in the task's order, each number with as many digits as the largest has."""
    expected = "battery=090 front=200 left=100 right=120 math=010 speech=005 speed=3\n"
    assert expected == TASK.prompt(TASK.checked(dict(reversed(STATE.items()))))


@pytest.mark.spec("NIM-14", "X-12")
@pytest.mark.parametrize(
    "changed",
    [{"battery": 101}, {"front": -1}, {"speed": 10}, {"light": 1}, {"math": True}, {"left": 2**70}],
)
def test_a_state_of_another_task_is_refused(changed: dict[str, int]) -> None:
    """A number out of range, one that is none, and a field too many are refused by name."""
    with pytest.raises(Refused, match=next(iter(changed))) as no:
        TASK.checked(STATE | changed)
    assert "F001" == no.value.refusal.code


@pytest.mark.spec("NIM-14", "X-12")
@pytest.mark.parametrize("missing", sorted(STATE))
def test_a_missing_field_is_refused(missing: str) -> None:
    """A state without one of the fields is refused, and the field is named: nothing is guessed."""
    with pytest.raises(Refused, match=missing):
        TASK.checked({name: value for name, value in STATE.items() if name != missing})


@pytest.mark.spec("NIM-14")
@given(call=CALLS)
def test_the_task_judges_as_its_schema_does(call: dict[str, Any]) -> None:
    """The task allows exactly the calls, written in order, that an independent judge finds valid by its JSON Schema."""
    text = write_call(Call(call["function"], call["args"]))
    try:
        TASK.read_call(text)
        allowed = True
    except ValueError:
        allowed = False
    order = [a.name for function in TASK.functions if function.name == call["function"] for a in function.arguments]
    assert allowed == (VALIDATOR.is_valid(call) and order == list(call["args"]))


@pytest.mark.spec("NIM-14")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        '{"function":"idle"}',
        '{"function":"idle","args":{} }',
        ' {"function":"idle","args":{}}',
        '{"args":{},"function":"idle"}',
        '{"function":"idle","args":{},"args":{}}',
        '{"function":"turn","args":{"degrees":45,"direction":"left"}}',
        '{"function":"escalate","args":{"topic":"math","confidence":1e1}}',
        '{"function":"escalate","args":{"topic":"math","confidence":101}}',
        '{"function":"\\u0069dle","args":{}}',
        '{"function":"\ud800","args":{}}',
    ],
)
def test_a_call_is_written_in_one_way_only(text: str) -> None:
    """White space, another order, doubles and escapes are no call, even where they mean one."""
    with pytest.raises(ValueError, match=r"call|way"):
        TASK.read_call(text)


@pytest.mark.spec("NIM-14")
@given(state=STATES)
def test_the_rules_answer_every_state(state: dict[str, int]) -> None:
    """For each state the translator has one allowed call, no longer than the longest, which reads back as itself."""
    call = translate(TASK.checked(state))
    text = write_call(call)
    assert call == TASK.read_call(text)
    assert TASK.longest_call >= len(text)


@pytest.mark.spec("NIM-14")
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Call("idle", {})),
        ({"front": 19, "battery": 3}, Call("stop", {"reason": "obstacle"})),
        ({"front": 20, "battery": 4}, Call("dock", {"cell": "battery", "urgency": "high"})),
        ({"battery": 5}, Call("dock", {"cell": "battery", "urgency": "low"})),
        ({"battery": 14}, Call("dock", {"cell": "battery", "urgency": "low"})),
        ({"battery": 15, "front": 79}, Call("turn", {"direction": "right", "degrees": 45})),
        ({"front": 49, "left": 121}, Call("turn", {"direction": "left", "degrees": 90})),
        ({"math": 70, "speech": 70}, Call("escalate", {"topic": "math", "confidence": 70})),
        ({"math": 70, "speech": 100}, Call("escalate", {"topic": "speech", "confidence": 100})),
    ],
)
def test_safety_comes_first_and_cognition_last(changed: dict[str, int], expected: Call) -> None:
    """The rules' order is: stop, dock, turn, escalate, idle; each begins at its own number."""
    assert expected == translate(STATE | changed)


@pytest.mark.spec("NIM-14")
def test_a_changed_rule_changes_its_region_alone() -> None:
    """With another dock threshold only states between the two are answered otherwise."""
    changed = Rules(dock_percent=25)
    answers = {
        battery: (translate(STATE | {"battery": battery}), translate(STATE | {"battery": battery}, changed))
        for battery in range(101)
    }
    assert list(range(15, 25)) == [battery for battery, (before, after) in answers.items() if before != after]


# The vocabulary


@pytest.mark.spec("NIM-14")
@given(text=st.text('battery= 019{}":,é€\n<os>\x00', max_size=60))
def test_any_text_can_be_written(text: str) -> None:
    """Whatever is encoded comes back, and no mark ever comes out of a text."""
    words = Vocabulary(TASK)
    tokens = words.encode(text)
    assert text == words.decode([*tokens, EOS, 200])
    assert all(token >= len(MARKS) for token in tokens)


@pytest.mark.spec("NIM-14")
@given(state=STATES)
def test_what_the_task_writes_is_short(state: dict[str, int]) -> None:
    """A prompt is one token per name and per digit, and a call is no more than nine tokens."""
    words = Vocabulary(TASK)
    assert sum(1 + field.digits for field in TASK.fields) + 1 == len(words.encode(TASK.prompt(state)))
    assert 9 >= len(words.encode(write_call(translate(state))))
    assert BOS < len(words) == len(set(words.texts))


# The organ


Live = Callable[[Life], None]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a real model that has learned nothing."""
    return untrained(tmp_path_factory.mktemp("untrained"))


@pytest.fixture
def digest(raw: bytes) -> str:
    """Its name."""
    return blake3(raw).hexdigest()


@pytest.fixture(params=["sim", "nats"])
def live(request: pytest.FixtureRequest, tmp_path: Path, raw: bytes, digest: str) -> Live:
    """An organism of the boundary alone: simulated, and on a real server with a real model's file."""
    if request.param == "sim":
        shelf = MemoryShelf(TASK, [digest])
        return lambda life: live_sim(life, lambda world: [BoundaryOrgan(world, shelf)])
    folder = FolderShelf(tmp_path / "models", TASK)
    folder.put(raw)
    return lambda life: live_nats(life, tmp_path / "home", lambda world: [BoundaryOrgan(world, folder)])


async def asked(living: Living, request: Request) -> Any:  # noqa: ANN401 - a reply or a refusal
    """The answer to a request."""
    return await living.operator.request(request)


async def until_ready(living: Living, digest: str) -> BoundaryStated:
    """The organ's status once it has met what the log installed."""

    async def reached() -> BoundaryStated:
        while (said := await asked(living, BoundaryStatus())).model != digest or said.state == "loading":
            await living.world.sleep(0.01)
        return said

    return await within(EVENT_S, reached())


async def events(living: Living, *classes: type[Any]) -> list[Any]:
    """Every admitted decision of these classes, in log order."""
    return [
        decode(cls, bytes(event.data))
        async for verdict in living.operator.replay()
        if (cls := lookup(verdict.entry.subject)) in classes
        for _, event in verdict.admitted()
    ]


@pytest.mark.spec("NIM-14", "NIM-17")
def test_without_a_model_the_rules_speak_and_say_so(live: Live, digest: str) -> None:
    """A model that nobody installed is never loaded, though its file is there; the answer is the translator's."""

    async def life(living: Living) -> None:
        said = await asked(living, TransformRequest(STATE))
        assert Transformed('{"function":"idle","args":{}}', "idle", "translator", 0, TASK.digest) == said
        status = await asked(living, BoundaryStatus())
        assert ("translator", "", "unconfigured", 1, -1) == (
            status.speaker,
            status.model,
            status.state,
            status.by_translator,
            status.index,
        )
        assert [] == await events(living, ModelInstalled, BoundaryNacked)

    live(life)


@pytest.mark.spec("NIM-14")
def test_an_installed_model_speaks(live: Live, digest: str) -> None:
    """The installation is a decision on the model's lane; from then on each answer is an allowed call by that model."""

    async def life(living: Living) -> None:
        answer = await asked(living, InstallModel(digest, EXEMPTION))
        assert isinstance(answer, Decided)
        assert f"{living.operator.env}.cognitive.boundary.event.{digest}.installed" == answer.subject_of_event
        status = await until_ready(living, digest)
        assert (f"model:{digest}", answer.index, answer.offset) == (status.speaker, status.index, status.offset)
        for state in (STATE, *list(TASK.corners())[::16]):
            said = await asked(living, TransformRequest(state))
            assert (f"model:{digest}", 1) == (said.speaker, said.attempts)
            assert VALIDATOR.is_valid(msgspec.json.decode(said.call))
        [installed] = await events(living, ModelInstalled)
        assert (digest, TASK.digest) == (installed.model, installed.task)

    live(life)


@pytest.mark.spec("NIM-14")
def test_whoever_is_named_has_spoken(tmp_path: Path, raw: bytes, digest: str) -> None:
    """Served models that call otherwise than the rules are heard: what is said under their name is their own word."""
    cautious = Rules(stop_cm=250)
    memory, folder = MemoryShelf(TASK, [digest], rules=cautious), FolderShelf(tmp_path / "models", TASK)
    folder.put(raw)
    some = [*islice(states(TASK, 152), 128, None), STATE]

    async def own_words(shelf: ModelShelf) -> list[str]:
        model = await shelf.load(digest)
        said = [await model.complete(TASK.prompt(state), 1) for state in some]
        await model.close()
        return said

    def heard(shelf: ModelShelf) -> Life:
        async def life(living: Living) -> None:
            expected = await own_words(shelf)
            assert any(text != write_call(translate(state)) for text, state in zip(expected, some, strict=True))
            await asked(living, InstallModel(digest, EXEMPTION))
            await until_ready(living, digest)
            said = [await asked(living, TransformRequest(state)) for state in some]
            assert expected == [answer.call for answer in said]
            assert {(f"model:{digest}", 1)} == {(answer.speaker, answer.attempts) for answer in said}
            called = await events(living, Called)
            assert [(answer.call, answer.speaker) for answer in said] == [(each.call, each.speaker) for each in called]

        return life

    live_sim(heard(memory), lambda world: [BoundaryOrgan(world, memory)])
    live_nats(heard(folder), tmp_path / "home", lambda world: [BoundaryOrgan(world, folder)])


@pytest.mark.spec("NIM-14", "X-02")
def test_an_answer_is_a_decision(live: Live) -> None:
    """Each answer stands on its task's lane with state, call and speaker; asked twice it stands there twice."""

    async def life(living: Living) -> None:
        near = STATE | {"front": 10}
        for state in (STATE, near, STATE):
            await asked(living, TransformRequest(state))
        idle, stop = (write_call(translate(state)) for state in (STATE, near))
        spoke = (TASK.digest, "translator", 0)
        assert [(*spoke, STATE, idle), (*spoke, near, stop), (*spoke, STATE, idle)] == [
            (each.task, each.speaker, each.attempts, each.state, each.call) for each in await events(living, Called)
        ]
        subjects = {
            verdict.entry.subject
            async for verdict in living.operator.replay()
            if lookup(verdict.entry.subject) is Called
        }
        assert {f"{living.operator.env}.cognitive.boundary.event.{TASK.digest}.called"} == subjects

    live(life)


@pytest.mark.spec("NIM-14", "X-07")
def test_one_request_is_answered_by_one_decision(tmp_path: Path) -> None:
    """The same request, repeated to another process after a restart, finds its decision and makes no second one."""
    request, headers = TransformRequest(STATE), {"ce-id": "5e" * 16}

    async def life(living: Living) -> None:
        bus = living.operator
        for _ in range(2):
            said = await bus.wire.request(request.subject(bus.env), encode(request), headers, 5.0)
            assert "translator" == decode(Transformed, said.data).speaker
        assert 1 == len(await events(living, Called))

    for _ in range(2):
        live_nats(life, tmp_path / "home", lambda world: [BoundaryOrgan(world, MemoryShelf(TASK))])


@pytest.mark.spec("NIM-14", "X-12")
def test_a_person_says_what_is_right(live: Live) -> None:
    """A correction is a decision beside the answers; a state or a call of another task is refused and none is made."""
    turn = '{"function":"turn","args":{"direction":"left","degrees":45}}'

    async def life(living: Living) -> None:
        for state, call, code in (
            (STATE | {"battery": 101}, turn, "F001"),
            (STATE, turn.replace("45", "46"), "F003"),
            (STATE, f" {turn}", "F003"),
        ):
            answer = await asked(living, CorrectCall(state, call))
            assert isinstance(answer, Refusal)
            assert code == answer.code
        assert [] == await events(living, Corrected)
        answer = await asked(living, CorrectCall(dict(reversed(STATE.items())), turn))
        assert isinstance(answer, Decided)
        assert [Corrected(TASK.digest, STATE, turn)] == await events(living, Corrected)

    live(life)


@pytest.mark.spec("NIM-14", "X-12")
def test_what_is_no_state_and_no_model_is_refused(live: Live) -> None:
    """A state of another task and a model that is not there are refused by name, and the log has no word of them."""

    async def life(living: Living) -> None:
        for request, code in (
            (TransformRequest(STATE | {"battery": 101}), "F001"),
            (TransformRequest({}), "F001"),
            (InstallModel("0" * 64, EXEMPTION), "S002"),
            (InstallModel("../" * 21 + "x", EXEMPTION), "S001"),
        ):
            answer = await asked(living, request)
            assert isinstance(answer, Refusal)
            assert code == answer.code
        assert [] == await events(living, ModelInstalled, BoundaryNacked)

    live(life)


@pytest.mark.spec("NIM-14")
def test_after_three_attempts_the_rules_answer() -> None:
    """A model that fails three times is nacked in the log, and the translator answers; with fewer failings it does."""
    name = "ab" * 32
    shelf = MemoryShelf(TASK, [name], {name: ["length", "engine", "not_a_call", "length"]})

    async def life(living: Living) -> None:
        await asked(living, InstallModel(name, EXEMPTION))
        await until_ready(living, name)
        said = await asked(living, TransformRequest(STATE))
        assert ("translator", 3) == (said.speaker, said.attempts)
        again = await asked(living, TransformRequest(STATE | {"front": 10}))
        assert (f"model:{name}", 2, "stop") == (again.speaker, again.attempts, again.function)
        [nacked] = await events(living, BoundaryNacked)
        assert (name, STATE, 3, ["length", "engine", "not_a_call"], said.call) == (
            nacked.model,
            nacked.state,
            nacked.attempts,
            nacked.failings,
            nacked.call,
        )
        status = await asked(living, BoundaryStatus())
        assert (1, 1, 1) == (status.by_model, status.by_translator, status.nacked)

    live_sim(life, lambda world: [BoundaryOrgan(world, shelf)])


@pytest.mark.spec("NIM-14")
def test_a_real_model_that_is_cut_short_is_nacked(tmp_path: Path, raw: bytes, digest: str) -> None:
    """Where llama.cpp does not end within a call's length, each attempt is a length stop, and the rules answer."""
    short = msgspec.structs.replace(TASK)
    vars(short)["longest_call"] = 2
    shelf = FolderShelf(tmp_path / "models", short)
    shelf.put(raw)

    async def life(living: Living) -> None:
        await asked(living, InstallModel(digest, EXEMPTION))
        await until_ready(living, digest)
        assert "translator" == (await asked(living, TransformRequest(STATE))).speaker
        [nacked] = await events(living, BoundaryNacked)
        assert ["length"] * 3 == nacked.failings

    live_nats(life, tmp_path / "home", lambda world: [BoundaryOrgan(world, shelf, short)])


@pytest.mark.spec("NIM-14")
def test_what_fails_greedily_may_succeed_later(tmp_path: Path, raw: bytes, digest: str) -> None:
    """A real model whose likeliest call is too long says a shorter one at a later attempt, and is the one named."""
    short = msgspec.structs.replace(TASK)
    vars(short)["longest_call"] = 4
    shelf = FolderShelf(tmp_path / "models", short)
    shelf.put(raw)

    async def life(living: Living) -> None:
        await asked(living, InstallModel(digest, EXEMPTION))
        await until_ready(living, digest)
        said = [await asked(living, TransformRequest(state)) for state in islice(states(TASK, 152), 128, None)]
        late = [answer for answer in said if answer.attempts > 1 and answer.speaker == f"model:{digest}"]
        assert late
        assert {2, 3} >= {answer.attempts for answer in late}
        assert len(await events(living, BoundaryNacked)) == sum(answer.speaker == "translator" for answer in said)

    live_nats(life, tmp_path / "home", lambda world: [BoundaryOrgan(world, shelf, short)])


@pytest.mark.spec("NIM-14", "X-06")
def test_a_file_that_changed_after_its_installation_is_not_loaded(tmp_path: Path, raw: bytes, digest: str) -> None:
    """On the next start a model whose bytes are not the installed ones has state `failed`, and the rules speak."""
    shelf = FolderShelf(tmp_path / "models", TASK)
    shelf.put(raw)
    make: Callable[[World], Sequence[Part]] = lambda world: [BoundaryOrgan(world, shelf)]  # noqa: E731 - as short as it is

    async def first(living: Living) -> None:
        await asked(living, InstallModel(digest, EXEMPTION))
        assert "ready" == (await until_ready(living, digest)).state

    async def second(living: Living) -> None:
        assert f"model:{digest}" == (await asked(living, BoundaryStatus())).speaker

    async def third(living: Living) -> None:
        status = await asked(living, BoundaryStatus())
        assert ("translator", digest, "failed") == (status.speaker, status.model, status.state)
        assert "F002 WRONG_MODEL" in status.reason
        assert "translator" == (await asked(living, TransformRequest(STATE))).speaker
        answer = await asked(living, InstallModel(digest, EXEMPTION))
        assert isinstance(answer, Refusal)
        assert "F002" == answer.code

    live_nats(first, tmp_path / "home", make)
    live_nats(second, tmp_path / "home", make)
    (tmp_path / "models" / f"{digest}.gguf").write_bytes(raw[:-1] + b"\x01")
    live_nats(third, tmp_path / "home", make)


@pytest.mark.spec("NIM-14")
def test_the_last_installed_model_speaks(tmp_path: Path) -> None:
    """Of two models the one installed later speaks, at once and after a restart."""
    shelf = FolderShelf(tmp_path / "models", TASK)
    one, two = (shelf.put(untrained(tmp_path, seed)) for seed in (2, 3))

    async def life(living: Living) -> None:
        for name in (two, one):
            await asked(living, InstallModel(name, EXEMPTION))
            await until_ready(living, name)

    async def later(living: Living) -> None:
        assert f"model:{one}" == (await asked(living, BoundaryStatus())).speaker

    for each in (life, later):
        live_nats(each, tmp_path / "home", lambda world: [BoundaryOrgan(world, shelf)])


# The commands


@pytest.mark.spec("NIM-14")
def test_a_model_is_installed_asked_and_measured(tmp_path: Path, raw: bytes, digest: str) -> None:
    """`boundary install` has a file speak, `ask` and `status` say so, and `evaluate` finds every answer allowed."""
    home = Home.at(tmp_path / "home").without_records().keyed()
    file, values = tmp_path / "model.gguf", [f"{name}={value}" for name, value in STATE.items()]
    file.write_bytes(raw)
    with home.up("--part", "organs.boundary", "--part", "organs.artifacts"):
        [said] = home.held("boundary", "ask", *values, "--json").documents
        assert ("translator", '{"function":"idle","args":{}}') == (said["speaker"], said["call"])
        assert [said] == home.held("boundary", "ask", json.dumps(STATE), "--json").documents
        assert "nacked since the start" in home.held("boundary", "status").out
        learns = home.held("boundary", "correct", json.dumps(STATE), "--call", said["call"]).out
        assert "a model learns it when one is next trained" in learns
        refused = home.run("boundary", "install", str(file), "--digest", "0" * 64, "--exemption", EXEMPTION)
        assert (int(Exit.REFUSED), True) == (refused.code, "F002" in refused.err)
        [told] = home.held("boundary", "install", str(file), "--exemption", EXEMPTION, "--json").documents
        assert (digest, f"model:{digest}", "") == (told["model"], told["speaker"], told["reason"])
        [said] = home.held("boundary", "ask", *values, "--json").documents
        assert f"model:{digest}" == said["speaker"]
        [status] = home.held("boundary", "status", "--json").documents
        assert (digest, "ready", 1, 2) == tuple(status[key] for key in ("model", "state", "by_model", "by_translator"))
        [row] = home.held("artifact", "list", "--json").documents
        assert (digest, "model") == (row["digest"], row["registered"]["holds"])
    [found] = home.held("boundary", "evaluate", "--digest", digest, "--states", "150", "--json").documents
    assert (150, 150) == (found["states"], found["valid"])


@pytest.mark.spec("NIM-14")
def test_whoever_installs_what_cannot_be_loaded_is_told(tmp_path: Path, raw: bytes) -> None:
    """Weights that are not all there have a digest: `boundary install` says why the rules speak, and ends with 1."""
    home, cut = Home.at(tmp_path / "home").without_records().keyed(), raw[:-1_000]
    file = tmp_path / "model.gguf"
    file.write_bytes(cut)
    with home.up("--part", "organs.boundary"):  # nobody keeps artifacts here
        done = home.run("boundary", "install", str(file), "--exemption", EXEMPTION)
    assert int(Exit.FAILED) == done.code
    assert f"{blake3(cut).hexdigest()}  installed at" in done.out
    assert "but translator speaks (" in done.out
    assert "llama.cpp does not load" in done.out


@pytest.mark.spec("NIM-14")
@pytest.mark.parametrize("word", ["ask", "correct"])
def test_the_help_names_every_field_with_its_range(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for help reads what a state consists of."""
    with pytest.raises(SystemExit):
        build_parser().parse_args(["boundary", word, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert [] == [f for f in TASK.fields if f"{f.name} {f.low} to {f.high} {f.unit}" not in shown]


@pytest.mark.spec("NIM-14")
def test_docking_is_urgent_below_its_number() -> None:
    """At exactly `urgent_percent` docking is not urgent yet; one percent below it is."""
    at, below = (translate(STATE | {"battery": URGENT_PERCENT - less}) for less in (0, 1))
    assert ("low", "high") == (at.args["urgency"], below.args["urgency"])


@pytest.mark.spec("NIM-14", "X-12")
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate",),
        ("evaluate", "nowhere.gguf"),
        ("ask", "battery=low"),
        ("ask", "=1.5"),
        ("ask", '{"battery": "low"}'),
    ],
)
def test_what_cannot_be_asked_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    """No model, a missing file and a value that is no number are settings faults; nobody is asked."""
    args = build_parser().parse_args(["boundary", *words])
    deed = {"evaluate": command.evaluate, "ask": command.ask}[words[0]]
    with pytest.raises(ConfigFault):
        deed(args, load({}, {"home": str(tmp_path)}, "here"), Terminal(None, as_json=True))
