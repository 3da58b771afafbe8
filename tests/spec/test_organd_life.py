"""The life of a model, and how organd reads what it is given: durations, headers of model files, posts, names."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from organs.organd import lifecycle
from organs.organd.durations import keep_alive_ms
from organs.organd.header import NotAModel, read_facts
from organs.organd.lifecycle import KEEP_ALIVE_MS, LONGEST_BACKOFF_MS, Life
from organs.organd.ports import BadRequest
from organs.organd.posts import ChatPost, EmbedPost, GeneratePost, NamePost, Options, read_post
from organs.organd.registry import full_name
from tests.gguf_models import CONTEXT, WIDTH, write_bert, write_gemma

SEEN = st.lists(
    st.sampled_from(
        ["configure", "load", "loaded", "take", "give", "keep", "expire", "evict", "ended", "died", "verified"]
    ),
    max_size=60,
)


def happen(life: Life, event: str, now_ms: int, keep_ms: int | None) -> Life:  # noqa: C901, PLR0911 - one per event
    """What becomes of a model, where the event can happen to it."""
    match event, life.state:
        case "configure", "unconfigured":
            return lifecycle.configure(life)
        case "load", "cold" | "failed" if life.waits_ms(now_ms) == 0:
            return lifecycle.load(life, now_ms)
        case "loaded", "loading":
            return lifecycle.loaded(life)
        case "take", "ready" | "idle":
            return lifecycle.take(life)
        case "give", "ready":
            return lifecycle.give(life, now_ms, answered=now_ms % 2 == 0)
        case "keep", _:
            return lifecycle.keep(life, keep_ms, now_ms)
        case "expire", "idle" if lifecycle.expired(life, now_ms):
            return lifecycle.unload(life)
        case "evict", "idle":
            return lifecycle.unload(life)
        case "ended", "unloading":
            return lifecycle.ended(life)
        case "died", "loading" | "ready" | "idle":
            return lifecycle.died(life, "as the test wants it")
        case "verified", "verifying_release":
            return lifecycle.verified(life, now_ms)
        case _:
            return life


@pytest.mark.spec("NIM-16")
@given(events=SEEN, keeps=st.lists(st.none() | st.integers(0, 10_000), min_size=60, max_size=60))
def test_whatever_happens_a_model_is_in_use_exactly_while_it_is_ready(
    events: list[str], keeps: list[int | None]
) -> None:
    """Whatever comes in whatever order: used while ready, timed while idle, and released before it is anything else."""
    life, now_ms = Life(), 0
    for event, keep_ms in zip(events, keeps, strict=False):
        now_ms += 1_000
        before, life = life, happen(life, event, now_ms, keep_ms)
        assert (life.state == "ready") == (life.users > 0)
        assert life.until_ms is None or life.state == "idle"
        if life.state == "idle" and life.keep_ms is not None:
            assert life.until_ms is not None
        if life.state != before.state:
            assert life.state in lifecycle.NEXT[before.state]
            assert before.state not in lifecycle.LOADED or life.state in {
                "ready",
                "idle",
                "unloading",
                "verifying_release",
            }
        if life.state == "failed":
            assert life.reason
            assert life.retry_ms - now_ms <= LONGEST_BACKOFF_MS


@pytest.mark.spec("NIM-16")
def test_a_model_stays_for_five_minutes_after_its_last_use() -> None:
    """The time begins when nobody uses it any more, and a use stops it."""
    ready = lifecycle.take(lifecycle.loaded(lifecycle.load(lifecycle.configure(Life()), 0)))
    one_left = lifecycle.give(ready, 1_000, answered=True)
    assert ("ready", 1, None) == (one_left.state, one_left.users, one_left.until_ms)
    idle = lifecycle.give(one_left, 2_000, answered=True)
    assert ("idle", 2_000 + KEEP_ALIVE_MS) == (idle.state, idle.until_ms)
    assert [False, True] == [lifecycle.expired(idle, 2_000 + KEEP_ALIVE_MS - n) for n in (1, 0)]
    assert None is lifecycle.take(idle).until_ms
    assert not lifecycle.expired(lifecycle.keep(idle, None, 3_000), 2**60)
    assert lifecycle.expired(lifecycle.keep(idle, 0, 3_000), 3_000)


@pytest.mark.spec("NIM-16")
@given(failures=st.integers(0, 10_000))
def test_the_wait_after_failures_grows_to_a_minute(failures: int) -> None:
    """The first failure costs no wait, each further one no less than the one before, and none more than a minute."""
    waits = [lifecycle.backoff_ms(failures + n) for n in (0, 1)]
    assert waits == sorted(waits)
    assert waits[1] <= LONGEST_BACKOFF_MS
    assert (failures < 2) == (waits[0] == 0)


@pytest.mark.spec("NIM-16")
def test_what_a_state_does_not_allow_is_a_bug() -> None:
    """Nothing is loaded twice, given back unused, or forgotten while it is loaded."""
    ready = lifecycle.loaded(lifecycle.load(lifecycle.configure(Life()), 0))
    wrong = [
        lambda: lifecycle.load(ready, 0),
        lambda: lifecycle.give(Life(), 0, answered=True),
        lambda: lifecycle.forget(ready),
        lambda: lifecycle.unload(ready),
        lambda: lifecycle.load(replace(Life(), state="failed", retry_ms=10), 9),
    ]
    for call in wrong:
        with pytest.raises(AssertionError):
            call()


@pytest.mark.spec("NIM-16")
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("5m", 300_000),
        ("1.5h", 5_400_000),
        ("1h30m", 5_400_000),
        ("250ms", 250),
        ("0s", 0),
        ("0", 0),
        (0, 0),
        (-1, None),
        (-0.5, None),
        ("-1m", None),
        (2.5, 2_500),
        (0.0001, 1),
        (1e300, 2**53),
    ],
)
def test_durations_are_read_as_ollama_writes_them(written: object, expected: int | None) -> None:
    """Seconds or a duration; 0 is at once, a negative one is for ever."""
    assert expected == keep_alive_ms(written)


@pytest.mark.spec("NIM-16")
@pytest.mark.parametrize(
    "written", ["", "5", "m", "5x", "5m ", "1..5h", "٣m", True, float("nan"), float("inf"), "9" * 99 + "m"]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    """Each of these is a BadRequest that quotes it."""
    with pytest.raises(BadRequest, match="keep_alive"):
        keep_alive_ms(written)


@pytest.mark.spec("NIM-16")
@given(parts=st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    """In whole units nothing is lost."""
    unit = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
    assert sum(n * unit[u] for n, u in parts) == keep_alive_ms("".join(f"{n}{u}" for n, u in parts))


@pytest.mark.spec("NIM-17")
def test_a_model_file_says_what_it_is(tmp_path: Path) -> None:
    """Architecture, context, width, parameters, whether it embeds, and its template."""
    with write_gemma(tmp_path / "g.gguf").open("rb") as file:
        says = read_facts(file)
    with write_bert(tmp_path / "b.gguf").open("rb") as file:
        embeds = read_facts(file)
    assert ("gemma3", CONTEXT, WIDTH, "F32", False) == (
        says.architecture,
        says.context,
        says.width,
        says.quantization,
        says.embeds,
    )
    assert says.template.startswith("{%")
    assert ("bert", True, "") == (embeds.architecture, embeds.embeds, embeds.template)
    assert 22_048 == says.parameters


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> memoryview:
    """The bytes of a model, which show as little."""
    return memoryview(write_gemma(tmp_path_factory.mktemp("model") / "g.gguf").read_bytes())


@pytest.mark.spec("NIM-17")
@given(flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), cut=st.integers(0, 8_000))
def test_a_damaged_header_is_read_or_refused_by_name(whole: memoryview, flips: list[tuple[int, int]], cut: int) -> None:
    """Cut anywhere and with any byte changed, the header is read or refused as NotAModel: never another error."""
    head = bytearray(whole)
    for place, byte in flips:
        head[place] = byte
    with suppress(NotAModel):
        read_facts(io.BytesIO(bytes(head[:cut])))
    with pytest.raises(NotAModel):
        read_facts(io.BytesIO(whole[: min(cut, 2_000)]))


@pytest.mark.spec("NIM-17")
@given(raw=st.binary(max_size=200))
def test_what_is_no_model_is_refused_by_name(raw: bytes) -> None:
    """Any bytes, with the right beginning or without."""
    for begun in (raw, b"GGUF" + raw, b"GGUF\x03\x00\x00\x00" + raw):
        with pytest.raises(NotAModel):
            read_facts(io.BytesIO(begun))


@pytest.mark.spec("NIM-17")
def test_a_model_name_is_one_token_and_a_tag() -> None:
    """`latest` is the tag where none is given; a path is no name."""
    assert ["a:latest", "gemma3:270m", "x.y-z_1:v1.5"] == [full_name(n) for n in ("A", "gemma3:270M", "x.y-z_1:v1.5")]
    for bad in ("", "a b", "../a", "a/b", "a:", ":a", "a:b:c", ".a", "a" * 65, "ä"):
        with pytest.raises(BadRequest):
            full_name(bad)


@pytest.mark.spec("NIM-17")
@given(raw=st.binary(max_size=100) | st.text(max_size=60).map(str.encode))
def test_any_body_is_a_post_or_refused_by_name(raw: bytes) -> None:
    """Whatever is posted, it is read or it is a BadRequest."""
    for shape in (GeneratePost, ChatPost, EmbedPost, NamePost):
        with suppress(BadRequest):
            assert isinstance(read_post(raw, shape), shape)


@pytest.mark.spec("NIM-17")
def test_posts_are_read_strictly_where_it_matters() -> None:
    """Unknown fields pass, unknown options and wrong types do not; what was not said is UNSET."""
    post = read_post(b'{"model":"m","prompt":"p","new_field":1,"options":{"seed":3}}', GeneratePost)
    assert (UNSET, True, 3) == (post.keep_ms(), post.stream, (post.options or Options()).seed)
    for bad in (
        b'{"prompt":"p"}',
        b'{"model":5}',
        b'{"model":"m","stream":"yes"}',
        b'{"model":"m","format":"xml"}',
        b'{"model":"m","options":{"num_gpu":1}}',
        b'{"model":"m","options":{"temperature":"warm"}}',
        b'{"model":"m","options":{"temperature":-1}}',
        b"[]",
        b"{",
        b"",
        b'{"model":"\\ud800"}',
        b"[" * 100_000,
    ):
        with pytest.raises(BadRequest):
            read_post(bad, GeneratePost)


@pytest.mark.spec("NIM-17")
def test_options_have_ollamas_names_and_llamas_effect() -> None:
    """Ollama's defaults hold where nothing is said; a fixed seed or no chance leaves nothing to what came before."""
    assert 0.8 == Options().as_llama(256)["temperature"]
    assert 5 == Options(num_predict=5).as_llama(256)["max_tokens"]
    assert -1 == Options(num_predict=-2).as_llama(256)["max_tokens"]
    cached = [o.as_llama(256)["cache_prompt"] for o in (Options(), Options(temperature=0.0), Options(seed=1))]
    assert [True, False, False] == cached
    with pytest.raises(BadRequest, match="num_ctx"):
        Options(num_ctx=257).as_llama(256)
