"""What every boundary model does, served by llama.cpp or played by memory; and what llama.cpp alone can get wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from itertools import islice
from pathlib import Path

import jsonschema
import msgspec
import psutil
import pytest
from blake3 import blake3

from shared.boundary.evaluate import measure, states
from shared.boundary.llama import ANSWER_S, _is_done, serve
from shared.boundary.memory import MemoryShelf
from shared.boundary.port import BoundaryFailed, BoundaryModel, ModelShelf
from shared.boundary.shelf import FolderShelf, described
from shared.boundary.task import TASK
from shared.boundary.translator import changed_rules, translate
from shared.errors import Refused
from shared.world import RealWorld
from tests.boundaries import untrained

STRANGER = "0" * 64
SOUND, FAILING = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a real model that has learned nothing."""
    return untrained(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(params=["memory", "llama"])
def shelf(request: pytest.FixtureRequest, raw: bytes, tmp_path: Path) -> ModelShelf:
    """A shelf with one model."""
    if request.param == "memory":
        return MemoryShelf(TASK, [blake3(raw).hexdigest()])
    folder = FolderShelf(tmp_path / "models", TASK)
    folder.put(raw)
    return folder


def with_model(shelf: ModelShelf, raw: bytes, deed: Callable[[BoundaryModel], Coroutine[None, None, None]]) -> None:
    """Load the shelf's model, do something with it, and close it."""

    async def whole() -> None:
        model = await shelf.load(blake3(raw).hexdigest())
        try:
            await deed(model)
        finally:
            await model.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_every_answer_is_an_allowed_call(shelf: ModelShelf, raw: bytes) -> None:
    """Whatever the weights say, each answer is valid by an independent judge of JSON Schema, corners included."""
    judge = jsonschema.Draft202012Validator(TASK.schema)

    async def deed(model: BoundaryModel) -> None:
        for state in [*islice(TASK.corners(), 0, None, 9), *islice(states(TASK, 200), 128, None)]:
            text = await model.complete(TASK.prompt(state), 1)
            judge.validate(msgspec.json.decode(text))
            assert TASK.read_call(text)

    with_model(shelf, raw, deed)


@pytest.mark.spec("NIM-14")
def test_the_same_prompt_has_the_same_answer(shelf: ModelShelf, raw: bytes) -> None:
    """Asked again, in another order, a model answers each attempt as it answered this attempt before."""
    prompts = [TASK.prompt(state) for state in islice(states(TASK, 140), 128, None)]

    async def deed(model: BoundaryModel) -> None:
        for attempt in (1, 2, 3):
            first = [await model.complete(prompt, attempt) for prompt in prompts]
            again = [await model.complete(prompt, attempt) for prompt in reversed(prompts)]
            assert first == again[::-1]

    with_model(shelf, raw, deed)


@pytest.mark.spec("NIM-14")
def test_many_may_ask_at_once(shelf: ModelShelf, raw: bytes) -> None:
    """Questions asked at the same time are answered each by its own answer."""
    prompts = [TASK.prompt(state) for state in islice(states(TASK, 140), 128, None)]

    async def deed(model: BoundaryModel) -> None:
        one_by_one = [await model.complete(prompt, 1) for prompt in prompts]
        assert one_by_one == await asyncio.gather(*(model.complete(prompt, 1) for prompt in prompts))

    with_model(shelf, raw, deed)


@pytest.mark.spec("NIM-14")
def test_a_closed_model_says_nothing(shelf: ModelShelf, raw: bytes) -> None:
    """After its close, which may be repeated, a model fails as not loaded."""

    async def deed(model: BoundaryModel) -> None:
        for _ in range(2):
            await model.close()
        with pytest.raises(BoundaryFailed) as failed:
            await model.complete(TASK.prompt(next(states(TASK, 1))), 1)
        assert "not_loaded" == failed.value.failing

    with_model(shelf, raw, deed)


@pytest.mark.spec("NIM-14")
def test_what_is_not_on_the_shelf_is_refused(shelf: ModelShelf) -> None:
    """A digest that nothing here has is a refusal, to a look and to a load."""
    for deed in (shelf.look, shelf.load):
        with pytest.raises(Refused) as no:
            asyncio.run(deed(STRANGER))  # pyright: ignore[reportArgumentType] - one of two coroutines
        assert "S002" == no.value.refusal.code


# Only with a real file


@pytest.mark.spec("NIM-14", "COL-08")
@pytest.mark.parametrize("place", [0, 5, 1_000, -1])
def test_a_flipped_byte_is_never_loaded(raw: bytes, tmp_path: Path, place: int) -> None:
    """A file that is not what its name says is refused, whichever byte was changed."""
    shelf = FolderShelf(tmp_path / "models", TASK)
    digest = shelf.put(raw)
    changed = bytearray(raw)
    changed[place] ^= 1
    (shelf.files.folder / f"{digest}.gguf").write_bytes(changed)
    with pytest.raises(Refused) as no:
        asyncio.run(shelf.load(digest))
    assert "F002" == no.value.refusal.code


@pytest.mark.spec("NIM-14")
def test_a_file_that_is_no_model_is_never_put(raw: bytes, tmp_path: Path) -> None:
    """No GGUF file, one cut in its header, one of another task, and one other than was asked for are refused."""
    shelf = FolderShelf(tmp_path / "models", TASK)
    other = msgspec.structs.replace(TASK, name="another")
    for bad in (b"", b"GGUF", raw[:100], b"GGML" + raw[4:], raw[:8] + b"\xff" * 16 + raw[24:]):
        with pytest.raises(Refused, match="F002"):
            shelf.put(bad)
    with pytest.raises(Refused, match="F002"):
        described(raw, other)
    with pytest.raises(Refused, match="F002"):
        shelf.put(raw, STRANGER)
    assert not shelf.files.folder.exists()


@pytest.mark.spec("NIM-14")
def test_weights_that_are_missing_fail_as_the_engine(raw: bytes, tmp_path: Path) -> None:
    """A file with a good header and no weights is llama.cpp's to refuse: a typed failure, and the process lives."""
    shelf = FolderShelf(tmp_path / "models", TASK)
    digest = shelf.put(raw[: len(raw) // 2])
    with pytest.raises(BoundaryFailed) as failed:
        asyncio.run(shelf.load(digest))
    assert "engine" == failed.value.failing


@pytest.mark.spec("NIM-14")
def test_a_stop_by_length_is_a_failure(raw: bytes, tmp_path: Path) -> None:
    """An answer that was cut short is no answer, however good its beginning; the longest call is never cut."""
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)

    async def whole() -> None:
        model = serve(path, TASK.schema, longest=3)
        with pytest.raises(BoundaryFailed) as failed:
            await model.complete(TASK.prompt(next(states(TASK, 1))), 1)
        assert "length" == failed.value.failing
        await model.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_each_attempt_is_one_of_its_own(raw: bytes, tmp_path: Path) -> None:
    """Over a few states the three attempts of a model say three different things: what failed once is not repeated."""
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)
    prompts = [TASK.prompt(state) for state in islice(states(TASK, 140), 128, None)]

    async def whole() -> None:
        model = serve(path, TASK.schema, TASK.longest_call)
        said = [tuple([await model.complete(prompt, attempt) for prompt in prompts]) for attempt in (1, 2, 3)]
        assert 3 == len({*said})
        await model.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_an_answer_that_is_there_is_taken(raw: bytes, tmp_path: Path) -> None:
    """A process that stood still for longer than an answer may take has lost no time of its engine's."""
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)

    async def whole() -> None:
        model = serve(path, TASK.schema, TASK.longest_call)
        asking = asyncio.create_task(model.complete(TASK.prompt(next(states(TASK, 1))), 1))
        await asyncio.sleep(0)
        time.sleep(ANSWER_S + 0.1)  # noqa: ASYNC251 - nothing else happens here meanwhile
        assert TASK.read_call(await asking)
        await model.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_what_stood_still_with_this_process_has_its_time_afterwards() -> None:
    """An engine that could not work while nothing here did is given up only once it had its time."""

    async def whole() -> None:
        working = asyncio.get_running_loop().run_in_executor(None, time.sleep, ANSWER_S + 0.5)
        asking = asyncio.create_task(_is_done(working))
        await asyncio.sleep(0)
        time.sleep(ANSWER_S + 0.1)  # noqa: ASYNC251 - nothing happens here meanwhile
        assert await asking
        never = asyncio.get_running_loop().create_future()
        assert not await _is_done(never)

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_a_closed_model_works_no_more(raw: bytes, tmp_path: Path) -> None:
    """Nobody waits for an answer whose asker left, but its engine ends it first: after the close no thread is left."""
    path = tmp_path / "model.gguf"
    path.write_bytes(raw)
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    long = {"type": "array", "items": digit, "minItems": 90, "maxItems": 90}
    process = psutil.Process()

    async def whole() -> None:
        before = process.num_threads()
        model = serve(path, long, longest=200)
        assert process.num_threads() > before + 2
        asking = asyncio.create_task(model.complete(TASK.prompt(next(states(TASK, 1))), 1))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait((asking,))
        assert asking.cancelled()
        await model.close()
        left = process.num_threads() - before
        assert left <= 2  # its library's first use began one, and the one that asked may be just ending

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_a_measurement_says_what_it_found() -> None:
    """A model that speaks as the rules do is valid and exact everywhere; one that fails is counted and named."""

    async def whole() -> None:
        shelf = MemoryShelf(TASK, [SOUND, FAILING], {FAILING: ["length"]})
        world = RealWorld("dev")
        sound = await measure(await shelf.load(SOUND), TASK, 200, world)
        assert (200, 200, 200, 0, 1_000_000, "") == (
            sound.states,
            sound.valid,
            sound.exact,
            sound.changed,
            sound.balanced_exact_ppm,
            sound.first_failure,
        )
        failing = await measure(await shelf.load(FAILING), TASK, 200, world)
        assert (199, 199) == (failing.valid, failing.exact)
        assert "length" in failing.first_failure

    asyncio.run(whole())


@pytest.mark.spec("NIM-14")
def test_changed_rules_are_measured_apart() -> None:
    """Judged by changed rules a model that knows the old ones is wrong exactly where these changed, and right else."""
    rules = changed_rules(["dock_percent=40"])
    expected = sum(translate(state) != translate(state, rules) for state in states(TASK, 300))

    async def whole() -> None:
        old, new = MemoryShelf(TASK, [SOUND]), MemoryShelf(TASK, [SOUND], rules=rules)
        before, after = [
            await measure(await each.load(SOUND), TASK, 300, RealWorld("dev"), rules) for each in (old, new)
        ]
        assert expected == before.changed == after.changed
        assert (0, 300 - expected) == (before.changed_exact, before.exact)
        assert (expected, 300) == (after.changed_exact, after.exact)

    assert expected
    asyncio.run(whole())
