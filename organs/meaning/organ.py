"""The organ of meaning: hears every wave, says which region it belongs to, and answers whoever asks about a text.

What gates compare are the vectors and similarities recorded here, so nobody computes a float twice. The log says
which catalogue is in force: where the configured one is another, the organ decides so at its first beat.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from organs.meaning.catalogue import DEFAULT, Catalogue, read
from organs.meaning.described import composed, read_description, texts_of
from organs.meaning.embedder import MiniLMEmbedder
from organs.meaning.minilm import NoModel
from organs.meaning.port import Embedder
from organs.meaning.sensing import Sensed, Sensor
from organs.meaning.simulated import SimEmbedder, drawn
from organs.meaning.vector import COSINE_ONE_PPM
from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import ConfigFault, Damaged, Fault, Refusal, Refused
from shared.journal import record
from shared.log.entry import Position
from shared.message import AnyWave
from shared.part.declare import Garden
from shared.part.organ import Log, Organ
from shared.settings import Settings
from shared.subjects.meaning import (
    CONTENT_CHARS,
    Candidate,
    CatalogueAdopted,
    MeaningReply,
    MeaningRequest,
    WaveFelt,
)
from shared.subjects.system import Tick
from shared.world import SimWorld, World, now_ms

OLDEST_WAVE_MS = constant(60_000, "ms", "NIM-04")  # no window is that long; what is older moves no gate
LOAD_AFTER_S = constant(1.5, "s", "NIM-17")  # the rest of the organism starts first
MODEL_AGAIN_S = constant(60.0, "s", "NIM-17")  # an unusable model is not read again for every wave
ADOPTING_S = constant(60.0, "s", "NIM-04")  # how long the log may take to say what was decided, before it is repeated


class MeaningOrgan(Organ):
    """Senses regions. Without its model it refuses; a wave whose domain is a region needs none."""

    name: ClassVar[str] = "meaning"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "virtual"  #: it feels; nothing of what it says moves anything
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-04")

    def __init__(self, world: World, embedder: Embedder, catalogue: Catalogue) -> None:
        if catalogue.model != embedder.digest:
            raise ConfigFault(
                f"the catalogue {catalogue.version} is of the model {catalogue.model}, here is {embedder.digest}: make "
                "it again with `nimmerverse meaning learn`"
            )
        self.world, self.embedder, self.sensor = world, embedder, Sensor(catalogue)
        self.digest = catalogue.digest
        self.in_force = ""  #: the catalogue that the log says, by digest
        self._told_at = Position(-1, 0)  #: where it says so
        self._decided_s = float("-inf")
        self._without: tuple[float, str] | None = None  #: since when there is no model, and why
        self._loading: asyncio.Task[None] | None = None  #: the model, before anybody asks
        self._region = {region.name: region for region in catalogue.regions}

    @classmethod
    def build(cls, settings: Settings, world: World) -> MeaningOrgan:
        return cls(world, MiniLMEmbedder(), read(settings.meaning_catalogue or DEFAULT))

    @classmethod
    def simulate(cls, world: SimWorld) -> MeaningOrgan:
        return cls(world, *simulated_meaning())

    async def open(self, log: Log) -> None:
        """Learn from the log which catalogue is in force; the model is loaded soon after, and nobody waits for it."""
        self._loading = asyncio.get_running_loop().create_task(self._load())
        async for verdict in log.replay():
            for adopted, at in decisions_in(verdict, CatalogueAdopted):
                self._hear(adopted, at)

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await self.embedder.close()

    async def on_wave(self, wave: AnyWave) -> list[WaveFelt]:
        """Say what one wave means. Refused R001 where its time cannot be, B011 without the model."""
        self._check_time(wave)
        region = self._region.get(wave.domain)
        if region is not None:
            nearest = (Candidate(region.name, COSINE_ONE_PPM),)
            return [self._felt(wave, region.name, nearest, region.prototype)]
        vector = await self._vector(f"{wave.domain} {wave.content}")
        sensed = self.sensor.sense(vector)
        return [self._felt(wave, sensed.region, sensed.candidates, vector, sensed)]

    async def on_request(self, request: MeaningRequest) -> MeaningReply:
        """Say what a text means. Refused B011 without the model."""
        vector = await self._vector(request.text)
        sensed = self.sensor.sense(vector)
        return MeaningReply(sensed.region, sensed.candidates, vector, self.digest)

    async def on_adopted(self, adopted: CatalogueAdopted, at: Position) -> None:
        """Note which catalogue the log says is in force."""
        self._hear(adopted, at)

    async def on_tick(self, tick: Tick) -> list[CatalogueAdopted]:
        """Decide for the configured catalogue, where the log says another or none."""
        now = self.world.elapsed_s()
        if self.in_force == self.digest or now < self._decided_s + ADOPTING_S:
            return []
        self._decided_s = now
        catalogue = self.sensor.catalogue
        limits = (catalogue.threshold_ppm, catalogue.margin_ppm)
        learned = catalogue.head is not None
        about = (catalogue.model, catalogue.version, catalogue.names, learned)
        return [CatalogueAdopted(self.digest, *about, *limits)]

    def _hear(self, adopted: CatalogueAdopted, at: Position) -> None:
        """Take what the log says, unless it said something later already."""
        if (at.index, at.offset) >= (self._told_at.index, self._told_at.offset):
            self.in_force, self._told_at = adopted.catalogue, at

    def _check_time(self, wave: AnyWave) -> None:
        age_ms = now_ms(self.world) - wave.taken_ms
        if age_ms < -CLOCK_SKEW_MS:
            detail = f"the wave was taken {-age_ms} ms in the future, at most {CLOCK_SKEW_MS} ms of skew are allowed"
            raise Refused(Refusal("R001", detail))
        if age_ms > OLDEST_WAVE_MS:
            raise Refused(Refusal("R001", f"the wave was taken {age_ms} ms ago, at most {OLDEST_WAVE_MS} ms may pass"))

    async def _vector(self, text: str) -> bytes:
        """Return a text's vector. Refused B011 without the model, which is looked for again once in a while."""
        now = self.world.elapsed_s()
        if self._without is not None and now < self._without[0] + MODEL_AGAIN_S:
            raise Refused(Refusal("B011", self._without[1]))
        try:
            (vector,) = await self.embedder.vectors([text])
        except (NoModel, Damaged) as fault:
            self._note_missing(fault)
            raise Refused(Refusal("B011", str(fault))) from fault
        self._without = None
        return vector

    async def _load(self) -> None:
        await self.world.sleep(LOAD_AFTER_S)
        try:
            await self.embedder.load()
        except (NoModel, Damaged) as fault:
            self._note_missing(fault)

    def _note_missing(self, fault: Fault) -> None:
        record(self.name, "model_refused", detail=str(fault))
        self._without = (self.world.elapsed_s(), str(fault))

    def _felt(
        self,
        wave: AnyWave,
        region: str,
        candidates: tuple[Candidate, ...],
        vector: bytes,
        sensed: Sensed | None = None,
    ) -> WaveFelt:
        similarity = COSINE_ONE_PPM if sensed is None else sensed.similarity_ppm
        which = (region, wave.source, wave.wave_id, wave.taken_ms, wave.confidence_ppm)
        said = (wave.polarity, wave.direction_cdeg, wave.content[:CONTENT_CHARS], wave.cost_ulf)
        return WaveFelt(*which, similarity, sensed is None, *said, candidates, vector, self.digest)


def simulated_meaning() -> tuple[Embedder, Catalogue]:
    """Return the simulated sentence model, and the default regions as it sees them."""
    description = read_description(DEFAULT.with_suffix(".toml"))
    vectors = {text: drawn(text) for text in texts_of(description)}
    return SimEmbedder(), composed(description, vectors, SimEmbedder.digest)
