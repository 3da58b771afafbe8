"""Regions of meaning: what waves and texts are about, what is unknown, and which catalogue says so."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerves.gate.window import AMBIGUOUS_PPM
from organs.meaning import Catalogue, MeaningOrgan, MiniLMEmbedder, Sensor, SimEmbedder
from organs.meaning.catalogue import DEFAULT, Head, Label, Region, packed, parsed, read, write
from organs.meaning.described import catalogue_of, read_description
from organs.meaning.minilm import MINILM_SHA256, NoModel
from organs.meaning.organ import LOAD_AFTER_S, MODEL_AGAIN_S, OLDEST_WAVE_MS, simulated_meaning
from organs.meaning.port import NOWHERE
from organs.meaning.vector import cosine_ppm
from shared.codec import decode, encode
from shared.config import load
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import ConfigFault, Refusal, Refused
from shared.message import AnyWave
from shared.subjects.meaning import (
    CONTENT_CHARS,
    UNKNOWN,
    VECTOR_BYTES,
    Candidate,
    CatalogueAdopted,
    MeaningReply,
    MeaningRequest,
    WaveFelt,
)
from shared.world import RealWorld, SimWorld, World, now_ms, simulate
from tests.ground import ENV, SEED
from tests.organisms import Living, live_nats, live_sim

WORLD = RealWorld(ENV)

WELL_SAID = {
    "math": ("calculate 17 * 23", "2+2", "what is 20 % of 80"),
    "battery": ("battery 4 %, critical", "the battery is nearly empty", "please recharge me"),
    "obstacle": ("there is a wall right in front of me", "the way is blocked by a box"),
    "speech": ("somebody is talking to me", "I heard a voice"),
    "vision": ("the camera sees a face", "a person is in the picture"),
    "heat": ("the motor is overheating", "it is far too hot here"),
    "light": ("it is getting dark in the room", "the lamp went off"),
    "network": ("wifi is down", "the server cannot be reached"),
    "vitals": ("cpu 93 %, memory 40 %", "the disk is nearly full"),
}
ABOUT_NOTHING_HERE = (
    *("i like bananas", "asdfgh", "lorem ipsum dolor", "book me a flight to rome", "who won the election"),
    *("pasta recipe", "invest in stocks", "the quick brown fox", "the weather in paris", "!!!", "🦆"),
)


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    """The real sentence model, for all tests of this file."""
    return MiniLMEmbedder()


@pytest.fixture(scope="module")
def organ(embedder: MiniLMEmbedder) -> MeaningOrgan:
    """The organ with its real model and the product's own catalogue."""
    return MeaningOrgan(WORLD, embedder, read(DEFAULT))


def wave(domain: str, content: str = "", **said: object) -> AnyWave:
    """A wave felt just now."""
    about: dict[str, Any] = {"taken_ms": now_ms(WORLD), "confidence_ppm": 600_000, "cost_ulf": 1_000} | said
    return AnyWave(source="nervous.cells.trial", wave_id=b"w".ljust(16), domain=domain, content=content, **about)


def felt(organ: MeaningOrgan, heard: AnyWave) -> WaveFelt:
    """What the organ says of one wave."""
    (said,) = asyncio.run(organ.on_wave(heard))
    return decode(WaveFelt, encode(said))


def asked(organ: MeaningOrgan, text: str) -> MeaningReply:
    """What the organ answers about a text."""
    return asyncio.run(organ.on_request(MeaningRequest(text)))


# Regions of texts


@pytest.mark.spec("NIM-04")
@pytest.mark.parametrize("region", WELL_SAID)
def test_what_is_said_is_in_its_region(organ: MeaningOrgan, region: str) -> None:
    """A text that is about a region, in words of its own, belongs to it."""
    assert dict.fromkeys(WELL_SAID[region], region) == {t: asked(organ, t).region for t in WELL_SAID[region]}


@pytest.mark.spec("NIM-04")
def test_what_is_near_no_region_is_unknown(organ: MeaningOrgan) -> None:
    """A text about something else is unknown; what came nearest is named all the same."""
    said = {text: asked(organ, text) for text in ABOUT_NOTHING_HERE}
    assert dict.fromkeys(ABOUT_NOTHING_HERE, UNKNOWN) == {text: reply.region for text, reply in said.items()}
    assert {3} == {len(reply.candidates) for reply in said.values()}


@pytest.mark.spec("NIM-04", "X-12")
@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_unknown(organ: MeaningOrgan, text: str) -> None:
    """What says nothing is near nothing: unknown, without candidates, its vector all zeros."""
    assert MeaningReply(UNKNOWN, (), NOWHERE, organ.digest) == asked(organ, text)


@pytest.mark.spec("NIM-04")
def test_a_thing_and_its_opposite_are_one_region(organ: MeaningOrgan) -> None:
    """The cosine of "obstacle ahead" and "no obstacle ahead" is 0.90: polarity is never read from it.

    Both are felt in one region; which of the two was meant is in a field of its own, as is the direction.
    """
    there = felt(organ, wave("robot", "obstacle ahead", direction_cdeg=-4_500))
    not_there = felt(organ, wave("robot", "no obstacle ahead", polarity=-1))
    vectors = asked(organ, "obstacle ahead").vector, asked(organ, "no obstacle ahead").vector
    assert 890_000 < cosine_ppm(*vectors) < 910_000
    assert ("obstacle", "obstacle") == (there.region, not_there.region)
    assert ((1, -4_500), (-1, None)) == tuple((one.polarity, one.direction_cdeg) for one in (there, not_there))


@pytest.mark.spec("NIM-04")
def test_a_pairwise_threshold_would_be_wrong(organ: MeaningOrgan) -> None:
    """Two ways to say one thing are further apart than a thing and its opposite, yet in the same region."""
    low, empty = asked(organ, "battery low"), asked(organ, "energy nearly empty")
    assert 370_000 < cosine_ppm(low.vector, empty.vector) < 390_000
    assert ("battery", "battery") == (low.region, empty.region)


@pytest.mark.spec("NIM-04")
def test_the_seeds_example(organ: MeaningOrgan) -> None:
    """The waves "math" and "calculate" are one region: the one declares it, the other is heard to mean it.

    Their own cosine is 0.60.
    """
    one, other = felt(organ, wave("math", "2+3")), felt(organ, wave("calculate", "2+3"))
    assert (("math", True, 1_000_000), ("math", False)) == (
        (one.region, one.declared, one.similarity_ppm),
        (other.region, other.declared),
    )
    assert other.similarity_ppm > 750_000
    words = asked(organ, "math").vector, asked(organ, "calculate").vector
    assert 595_000 < cosine_ppm(*words) < 607_000


# The model


class Away(SimEmbedder):
    """A model that is not there at first."""

    asked, there = 0, False

    async def load(self) -> None:
        if not self.there:
            raise NoModel("it is away")

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        self.asked += 1
        await self.load()
        return await super().vectors(texts)


class Slow(SimEmbedder):
    """A model that takes a minute to load."""

    def __init__(self, world: World) -> None:
        self.world, self.there = world, False

    async def load(self) -> None:
        if not self.there:
            await self.world.sleep(LOAD_S)
            self.there = True

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        await self.load()
        return await super().vectors(texts)


LOAD_S = 60.0


@pytest.mark.spec("NIM-04", "NIM-17")
def test_the_model_is_loaded_before_anybody_asks() -> None:
    """A model that takes long to load delays no start; once it is loaded, the first question does not wait for it."""

    async def life(living: Living) -> None:
        assert living.world.elapsed_s() < LOAD_S
        await living.world.sleep(LOAD_AFTER_S + LOAD_S)
        answer = await living.operator.request(MeaningRequest("battery low"))
        assert isinstance(answer, MeaningReply)
        assert "battery" == answer.region

    live_sim(life, lambda world: [MeaningOrgan(world, Slow(world), simulated_meaning()[1])])


@pytest.mark.spec("NIM-17")
def test_without_its_model_it_starts() -> None:
    """An organ whose model is not there starts, and refuses with B011 what needs it, without reading it again."""

    async def life(living: Living) -> None:
        await living.world.sleep(LOAD_AFTER_S + 1)
        answer = await living.operator.request(MeaningRequest("math"))
        assert isinstance(answer, Refusal)
        assert "B011" == answer.code
        assert 0 == model.asked

    model = Away()
    live_sim(life, lambda world: [MeaningOrgan(world, model, simulated_meaning()[1])])


# Waves


@pytest.mark.spec("NIM-04")
def test_a_declared_domain_needs_no_model() -> None:
    """A wave whose domain is a region's name is of that region, similarity 1,000,000, and nothing is embedded.

    The vector is the region's own; an organ without its model still says so.
    """
    without = MiniLMEmbedder(Path("/nonexistent"))
    organ = MeaningOrgan(WORLD, without, read(DEFAULT))
    said = felt(organ, wave("danger", "whatever", polarity=-1, confidence_ppm=1))
    assert ("danger", True, 1_000_000) == (said.region, said.declared, said.similarity_ppm)
    assert (Candidate("danger", 1_000_000),) == said.candidates
    assert next(r.prototype for r in read(DEFAULT).regions if r.name == "danger") == said.vector
    assert 0 == without.computed


@pytest.mark.spec("NIM-17")
def test_without_its_model_it_refuses_by_type() -> None:
    """Where a text would have to be embedded and there is no model, the answer is the refusal B011, never a guess."""
    organ = MeaningOrgan(WORLD, MiniLMEmbedder(Path("/nonexistent")), read(DEFAULT))
    with pytest.raises(Refused, match=r"B011 NO_MODEL: .*model\.safetensors cannot be read"):
        asked(organ, "math")
    with pytest.raises(Refused, match="B011"):
        felt(organ, wave("elsewhere", "math"))


@pytest.mark.spec("NIM-17", "X-12")
def test_an_unusable_model_is_not_read_for_every_wave() -> None:
    """After a refusal the model is looked for again a minute later, not for each wave; once it is there, it is used."""

    async def body() -> None:
        world, model = SimWorld(ENV, SEED), Away()
        organ = MeaningOrgan(world, model, simulated_meaning()[1])
        for _ in range(5):
            with pytest.raises(Refused, match="B011 NO_MODEL: it is away"):
                await organ.on_request(MeaningRequest("math"))
        assert 1 == model.asked
        model.there = True
        await world.sleep(MODEL_AGAIN_S)
        assert "math" == (await organ.on_request(MeaningRequest("math"))).region

    simulate(body)


@pytest.mark.spec("NIM-04")
def test_a_wave_keeps_what_it_said(organ: MeaningOrgan) -> None:
    """Whose it is, when it was taken, how sure it was and what it cost are said again as they were."""
    heard = wave("robot", "there is a wall", confidence_ppm=123_456, cost_ulf=77)
    said = felt(organ, heard)
    for field in ("source", "wave_id", "taken_ms", "confidence_ppm", "cost_ulf", "polarity", "direction_cdeg"):
        assert getattr(heard, field) == getattr(said, field)
    assert ("there is a wall", organ.digest) == (said.content, said.catalogue)
    assert said.similarity_ppm == said.candidates[0].similarity_ppm >= 450_000


@pytest.mark.spec("NIM-04")
def test_an_unknown_wave_weighs_nothing(organ: MeaningOrgan) -> None:
    """A wave of no region has similarity 0, so that it amplifies nothing; its candidates and its vector are kept."""
    said = felt(organ, wave("zxcv", "i like bananas"))
    assert (UNKNOWN, 0, False, 3) == (said.region, said.similarity_ppm, said.declared, len(said.candidates))
    assert NOWHERE != said.vector


@pytest.mark.spec("NIM-04", "X-12")
def test_a_long_wave_is_cut(organ: MeaningOrgan) -> None:
    """Of 100 kB of content the first 200 characters go on, and the first 256 tokens are understood."""
    said = felt(organ, wave("robot", "there is a wall in front " * 4_000))
    assert ("there is a wall in front " * 8, CONTENT_CHARS) == (said.content, len(said.content))
    assert "obstacle" == said.region


@pytest.mark.spec("NIM-04", "X-12")
@pytest.mark.parametrize("domain", ["math", "somewhere"])
@pytest.mark.parametrize(
    ("age_ms", "sentence"),
    [(-CLOCK_SKEW_MS - 5_000, "ms in the future"), (OLDEST_WAVE_MS + 5_000, "ms ago"), (10**15, "ms ago")],
)
def test_a_wave_of_another_time_is_refused(organ: MeaningOrgan, domain: str, age_ms: int, sentence: str) -> None:
    """A wave from further in the future than clocks may differ, or older than any window, is Refused R001."""
    with pytest.raises(Refused, match=rf"R001 EXPIRED: .*{sentence}"):
        felt(organ, wave(domain, "math", taken_ms=now_ms(WORLD) - age_ms))


@pytest.mark.spec("NIM-04", "X-12")
def test_clocks_may_differ_a_little(organ: MeaningOrgan) -> None:
    """Within 30 s of the future and 60 s of the past a wave is heard."""
    for age_ms in (CLOCK_SKEW_MS - 5_000, 0, -CLOCK_SKEW_MS + 5_000, OLDEST_WAVE_MS - 5_000):
        assert "math" == felt(organ, wave("math", taken_ms=now_ms(WORLD) - age_ms)).region


@pytest.mark.spec("NIM-04", "X-12")
@pytest.mark.parametrize("confidence", [-1, 1_000_001, 2**63, float("nan"), float("inf"), -float("inf"), 0.5, "sure"])
def test_a_confidence_out_of_bounds_is_refused_at_reading(confidence: object) -> None:
    """A confidence that is no share in millionths never reaches the organ: the bytes are Refused B002."""
    raw = msgspec.msgpack.encode(
        msgspec.to_builtins(wave("math")) | {"wave_id": b"w".ljust(16), "confidence_ppm": confidence}
    )
    with pytest.raises(Refused, match="B002 BAD_PAYLOAD: AnyWave"):
        decode(AnyWave, raw)


@cache
def simulated() -> MeaningOrgan:
    """The organ with the simulated model."""
    return MeaningOrgan(WORLD, *simulated_meaning())


@pytest.mark.spec("NIM-04", "X-12")
@given(domain=st.text(max_size=50), content=st.text(max_size=300), confidence=st.integers(0, 1_000_000))
def test_any_wave_is_felt(domain: str, content: str, confidence: int) -> None:
    """Whatever a wave says, one felt wave comes of it that can be sent, with a region of the catalogue or unknown."""
    said = felt(simulated(), wave(domain, content, confidence_ppm=confidence))
    assert said.region in {UNKNOWN, *simulated().sensor.catalogue.names}
    assert said.subject(ENV) == f"{ENV}.nervous.meaning.felt.{said.region}"
    assert confidence == said.confidence_ppm


# Catalogues


@pytest.mark.spec("NIM-04")
def test_the_default_catalogue_is_made_of_its_descriptions(embedder: MiniLMEmbedder) -> None:
    """The product's catalogue is `regions.toml` as the model sees it: compiled again, no vector differs by more than a
    few steps, and names, phrases and limits are the same. A changed description needs `nimmerverse meaning learn`.
    """
    kept = read(DEFAULT)
    fresh = asyncio.run(catalogue_of(read_description(DEFAULT.with_suffix(".toml")), embedder))
    said = tomllib.loads(DEFAULT.with_suffix(".toml").read_text(encoding="utf-8"))
    assert sorted(said["regions"]) == list(kept.names)
    assert MINILM_SHA256 == kept.model
    near = [
        cosine_ppm(a, b)
        for one, other in zip(kept.labels, fresh.labels, strict=True)
        for a, b in zip(one.prototypes, other.prototypes, strict=True)
    ]
    assert min(near) > 999_900
    bare = [(r.name, r.description, r.phrases) for r in kept.regions]
    assert bare == [(r.name, r.description, r.phrases) for r in fresh.regions]
    for field in ("version", "threshold_ppm", "margin_ppm", "head", "false_escalation_ppm"):
        assert getattr(kept, field) == getattr(fresh, field)


def tiny(*names: str, **changed: object) -> Catalogue:
    """A catalogue of a few regions, far apart from each other."""
    vectors = [bytes([0] * n + [127] + [0] * (VECTOR_BYTES - n - 1)) for n in range(len(names))]
    regions = tuple(Region(name, "", (), v) for name, v in zip(names, vectors, strict=True))
    labels = tuple(Label(name, name, (v,)) for name, v in zip(names, vectors, strict=True))
    plain = Catalogue("1", "0" * 64, regions, labels, None, 500_000, 100_000, 0)
    return msgspec.structs.replace(plain, **changed)


def pointing(*components: int) -> bytes:
    """A vector with these first components."""
    return bytes([one & 0xFF for one in components]) + bytes(VECTOR_BYTES - len(components))


@pytest.mark.spec("NIM-04")
@pytest.mark.parametrize(
    ("vector", "region"),
    [
        (pointing(127, 0), "a"),
        (pointing(3, 127), "b"),
        (pointing(127, 120), UNKNOWN),  # not clearly nearer to one than to another
        (pointing(127, 100), "a"),
        (pointing(60, 0, 0, 127), UNKNOWN),  # near none
        (pointing(-127, -127), UNKNOWN),
        (NOWHERE, UNKNOWN),
    ],
)
def test_threshold_and_margin(vector: bytes, region: str) -> None:
    """A vector's region is the nearest that reaches the threshold and leads by the margin; else it is unknown."""
    sensed = Sensor(tiny("a", "b", "c")).sense(vector)
    assert region == sensed.region
    assert (sensed.region == UNKNOWN) == (sensed.similarity_ppm == 0)
    assert list(sensed.candidates) == sorted(sensed.candidates, key=lambda c: -c.similarity_ppm)


@pytest.mark.spec("NIM-07")
def test_what_is_known_may_be_ambiguous() -> None:
    """A text between two regions of the product's own catalogue is known by its lead, and still ambiguous to a gate."""
    assert AMBIGUOUS_PPM > read(DEFAULT).margin_ppm


@pytest.mark.spec("NIM-04")
@given(st.lists(st.binary(min_size=VECTOR_BYTES, max_size=VECTOR_BYTES), max_size=10))
def test_many_are_judged_as_each_alone(vectors: list[bytes]) -> None:
    """Judged together or one by one, in any order, vectors mean the same: matching is whole numbers."""
    sensor = Sensor(tiny("a", "b", "c"))
    together = sensor.senses(vectors)
    assert together == [sensor.sense(vector) for vector in vectors] == sensor.senses(vectors[::-1])[::-1]


@pytest.mark.spec("NIM-04")
def test_one_region_has_no_rival() -> None:
    """In a catalogue of one region nothing is ambiguous, and what is not near is unknown."""
    sensor = Sensor(tiny("a"))
    assert ["a", UNKNOWN] == [one.region for one in sensor.senses([pointing(127), pointing(0, 127)])]


@pytest.mark.spec("NIM-04")
def test_a_catalogue_is_what_its_digest_says(tmp_path: Path) -> None:
    """A catalogue is read back as it was written, under the same digest; any change of it changes the digest."""
    catalogue = tiny("a", "b")
    write(catalogue, tmp_path / "c.catalogue")
    assert catalogue == read(tmp_path / "c.catalogue")
    assert [tmp_path / "c.catalogue"] == list(tmp_path.iterdir())
    others = [tiny("a", "c"), tiny("a", "b", threshold_ppm=1), tiny("b", "a"), tiny("a", "b", margin_ppm=1)]
    assert 5 == len({one.digest for one in (catalogue, *others)})


HEAD = Head(bytes(2 * 2 * VECTOR_BYTES), (0, 0), 1)
SOME_LABELS = tiny("a", "b").labels


@pytest.mark.spec("NIM-04", "X-12")
@pytest.mark.parametrize(
    "changed",
    [
        {"labels": SOME_LABELS[:1]},
        {"labels": (*SOME_LABELS, Label("x", "elsewhere", (NOWHERE,)))},
        {"labels": (*SOME_LABELS, SOME_LABELS[0])},
        {"labels": (Label("a", "a", (NOWHERE[1:],)), SOME_LABELS[1])},
        {"labels": (Label("a", "a", ()), SOME_LABELS[1])},
        {"regions": ()},
        {"regions": tuple(Region(name, "", (), NOWHERE) for name in ("a", UNKNOWN))},
        {"regions": tuple(Region(name, "", (), NOWHERE) for name in ("a", "B c"))},
        {"regions": tuple(Region(name, "", (), NOWHERE) for name in ("a", "b", "b"))},
        {"model": "the best"},
        {"head": msgspec.structs.replace(HEAD, weights=b"")},
        {"head": msgspec.structs.replace(HEAD, biases=(0,))},
        {"head": msgspec.structs.replace(HEAD, step=0)},
        {"head": msgspec.structs.replace(HEAD, biases=(0, 1 << 50))},
        {"threshold_ppm": 1 << 50},
    ],
)
def test_what_contradicts_itself_is_no_catalogue(tmp_path: Path, changed: dict[str, Any]) -> None:
    """A file whose parts do not fit is a ConfigFault that names it; the same without the fault is read."""
    path = tmp_path / "c.catalogue"
    path.write_bytes(packed(tiny("a", "b", **changed)))
    with pytest.raises(ConfigFault, match=r"c\.catalogue is no catalogue of regions.*make it again"):
        read(path)
    assert tiny("a", "b", head=HEAD) == parsed(packed(tiny("a", "b", head=HEAD)), "here")


@pytest.mark.spec("NIM-04", "X-12")
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_bytes_that_are_no_catalogue_are_refused(junk: bytes, place: int) -> None:
    """Junk, and a catalogue with other bytes in it, is a ConfigFault or another catalogue, never an error of ours."""
    good = packed(tiny("a", "b"))
    for raw in (junk, good + junk + b"\0", good[: place % len(good)], good[: place % len(good)] + junk):
        try:
            found = parsed(raw, "junk")
        except ConfigFault:
            continue
        assert raw == packed(found)


@pytest.mark.spec("NIM-04", "X-12")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "regions = 3",
        "version = '1'\nthreshold_ppm = 5\nmargin_ppm = 0\n[regions]",
        "version = '1'\nthreshold_ppm = -5\nmargin_ppm = 0\n[regions.a]\ndescription = 'x'\nphrases = ['y']",
        "version = '1'\nthreshold_ppm = 5\nmargin_ppm = 0\n[regions.unknown]\ndescription = 'x'\nphrases = ['y']",
        "version = '1'\nthreshold_ppm = 5\nmargin_ppm = 0\n[regions.a]\ndescription = 'x'\nphrases = []",
        "version = '1'\nthreshold_ppm = 5\nmargin_ppm = 0\n[regions.a]\ndescription = 'x'\nphrases = ['y']\nmore = 1",
        "version = \x00",
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, text: str) -> None:
    """A TOML file that describes no regions is a ConfigFault that says where it is wrong."""
    path = tmp_path / "regions.toml"
    path.write_text(text)
    with pytest.raises(ConfigFault):
        read_description(path)
    with pytest.raises(ConfigFault, match="cannot be read"):
        read_description(tmp_path / "nothing.toml")


@pytest.mark.spec("NIM-04")
def test_vectors_of_two_models_never_meet() -> None:
    """An organ whose catalogue is of another model than the one it has does not start; the sentence names both."""
    with pytest.raises(ConfigFault, match=f"is of the model {'0' * 64}, here is {SimEmbedder.digest}"):
        MeaningOrgan(WORLD, SimEmbedder(), tiny("a", "b"))


@pytest.mark.spec("NIM-04")
def test_the_setting_chooses_the_catalogue(tmp_path: Path) -> None:
    """`meaning_catalogue` names another catalogue than the product's own; one that is not there is a ConfigFault."""
    path = tmp_path / "own.catalogue"
    write(tiny("a", "b", model=MINILM_SHA256), path)
    chosen = load({}, {"home": str(tmp_path), "meaning_catalogue": str(path)}, "here").settings
    usual = load({}, {"home": str(tmp_path)}, "here").settings
    assert ("a", "b") == MeaningOrgan.build(chosen, WORLD).sensor.catalogue.names
    assert read(DEFAULT).digest == MeaningOrgan.build(usual, WORLD).digest
    path.unlink()
    with pytest.raises(ConfigFault, match=r"own\.catalogue cannot be read"):
        MeaningOrgan.build(chosen, WORLD)


# In the log


async def adopted(living: Living) -> list[CatalogueAdopted]:
    """Every catalogue that the log says was adopted."""
    subject = CatalogueAdopted.pattern(ENV).replace("*", "")
    found = [v async for v in living.operator.replay() if v.entry.subject.startswith(subject.partition("..")[0])]
    return [decode(CatalogueAdopted, bytes(event.data)) for v in found for _, event in v.admitted()]


def alone(world: World) -> list[MeaningOrgan]:
    """The organ as the only part."""
    return [MeaningOrgan.simulate(SimWorld(world.env, SEED))]


async def _one_catalogue(living: Living) -> None:
    while not await adopted(living):
        await living.world.sleep(0.5)
    organ = living.organism.runners["meaning"].part
    assert isinstance(organ, MeaningOrgan)
    answer = await living.operator.request(MeaningRequest("battery low"))
    assert isinstance(answer, MeaningReply)
    assert ("battery", organ.digest) == (answer.region, answer.catalogue)
    runner = living.organism.runners.pop("meaning")
    await runner.stop()
    again = organ.again(SimWorld(ENV, SEED))
    living.organism.runners["meaning"] = await living.organism.run(again, "meaning")
    assert isinstance(again, MeaningOrgan)
    assert organ.digest == again.in_force
    await living.world.sleep(3)
    catalogue = organ.sensor.catalogue
    (decided,) = await adopted(living)
    assert (organ.digest, catalogue.model, catalogue.names) == (decided.catalogue, decided.model, decided.regions)
    assert (catalogue.threshold_ppm, catalogue.margin_ppm) == (decided.threshold_ppm, decided.margin_ppm)
    assert not decided.learned


@pytest.mark.spec("NIM-04", "X-04")
def test_the_log_says_which_catalogue_is_in_force() -> None:
    """At its first beat the organ decides for its catalogue, once; started again with the same, it decides nothing."""
    live_sim(_one_catalogue, alone)


def real(world: World) -> list[MeaningOrgan]:
    """The organ with its real model, as the only part."""
    return [MeaningOrgan(world, MiniLMEmbedder(), read(DEFAULT))]


async def _asked_over_the_bus(living: Living) -> None:
    answer = await living.operator.request(MeaningRequest("a wall is in the way"))
    assert isinstance(answer, MeaningReply)
    assert ("obstacle", read(DEFAULT).digest) == (answer.region, answer.catalogue)
    while not await adopted(living):
        await living.world.sleep(0.05)
    (decided,) = await adopted(living)
    assert (answer.catalogue, MINILM_SHA256) == (decided.catalogue, decided.model)


@pytest.mark.spec("NIM-04", "NIM-17")
def test_it_answers_on_a_real_server(tmp_path: Path) -> None:
    """On a real server, with its real model, the organ answers a request and its catalogue stands in the log."""
    live_nats(_asked_over_the_bus, tmp_path, real)
