"""The organ: organd on the bus, and its server on the loopback."""

from __future__ import annotations

import struct
from collections import deque
from typing import ClassVar

import msgspec

from organs.organd.bus_leases import BusLeases, holder_of
from organs.organd.devices import devices_of
from organs.organd.forward import Upstream
from organs.organd.leases import FileLeases, runtime_folder
from organs.organd.place import Place
from organs.organd.ports import BadRequest, ModelFault, Models, NoSuchModel, QueueFull
from organs.organd.posts import EmbedPost, GeneratePost, Options
from organs.organd.process import Processes
from organs.organd.registry import FOLDER, Registry
from organs.organd.rest import Rest
from organs.organd.service import Service
from organs.organd.simulated import SimDevices, SimEngine, SimLeases, SimModels
from organs.organd.supervisor import Change, Supervisor
from shared.constant import constant
from shared.errors import Fault, Refusal
from shared.journal import record
from shared.part.organ import Organ, OwnLog
from shared.settings import Settings
from shared.subjects.models import (
    LEASE_HOLDER,
    LEASES,
    EmbedReply,
    EmbedRequest,
    GenerateReply,
    GenerateRequest,
    HeldModel,
    ModelChanged,
    ModelsReply,
    ModelsRequest,
)
from shared.subjects.system import Tick
from shared.world import SimWorld, World

CHANGES_KEPT = constant(1_000, "transitions", "X-12")
PPM = 1_000_000


class OrgandOrgan(Organ):
    """Carries this user's models: loads them when they are asked, unloads them when nobody asks any more."""

    name: ClassVar[str] = LEASE_HOLDER
    version: ClassVar[str] = "1.0.0"
    buckets: ClassVar[tuple[str, ...]] = (LEASES,)
    cost_ulf: ClassVar[int] = constant(8_000_000, "micro-lifeforce", "NIM-10")

    def __init__(  # noqa: PLR0913, PLR0917 - what it serves, from where and to whom: each is its own fact
        self, models: Models, supervisor: Supervisor, place: Place | None, port: int, upstream: str, site: str
    ) -> None:
        self.models, self.supervisor, self.place = models, supervisor, place
        self.port, self.upstream, self.site = port, upstream, site
        self.service = Service(supervisor, models, supervisor.world)
        self.rest: Rest | None = None
        self._changes: deque[ModelChanged] = deque(maxlen=CHANGES_KEPT)
        supervisor.told = self._changed

    @classmethod
    def build(cls, settings: Settings, world: World) -> OrgandOrgan:
        models = Registry(settings.home / FOLDER, world)
        runtime = runtime_folder()
        supervisor = Supervisor(
            models, devices_of(settings.models_device), Processes(runtime, world), FileLeases(runtime), world
        )
        port, upstream = settings.models_port or 0, settings.models_upstream or ""
        return cls(models, supervisor, Place(settings.home), port, upstream, settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> OrgandOrgan:
        models, devices = SimModels("there", embeds="here"), SimDevices(world)
        return cls(
            models, Supervisor(models, devices, SimEngine(world, devices), SimLeases(), world), None, 0, "", "sim"
        )

    async def open(self, log: OwnLog) -> None:
        """Take leases over the bus from now on, and serve."""
        supervisor = self.supervisor
        holder = holder_of(self.site, supervisor.world)
        supervisor.leases = BusLeases(supervisor.leases, log.bucket(LEASES), supervisor.world, holder)
        await self.serve()

    async def serve(self) -> str:
        """Answer over HTTP and return where; without a bus too. Raises InUse where another organd serves this home."""
        if self.place is None:
            return ""
        with self.place.taken() as say:
            self.rest = Rest(self.service, Upstream(self.upstream) if self.upstream else None)
            await self.rest.open(self.port)
            say(self.rest.url)
        record(self.name, "models_served", url=self.rest.url)
        return self.rest.url

    async def close(self) -> None:
        if self.rest is not None:
            await self.rest.close()
        await self.supervisor.close()
        if self.place is not None:
            self.place.leave()

    def workers(self) -> list[int]:
        return [slot.pid for slot in self.supervisor.slots.values() if slot.pid]

    async def on_generate(self, asked: GenerateRequest) -> list[GenerateReply | ModelChanged] | Refusal:
        """Ask a model; B011 where it is not held here, B008 where too many wait, B012 where it cannot be asked that."""
        try:
            post = GeneratePost(
                model=asked.model,
                prompt=asked.prompt,
                system=asked.system,
                stream=False,
                format=_schema(asked.schema),
                options=Options(temperature=asked.temperature_ppm / PPM, seed=asked.seed, num_predict=asked.max_tokens),
            )
            said = await self.service.say_whole(post)
        except (ModelFault, ValueError) as no:
            return _refusal(no)
        reply = GenerateReply(
            asked.model,
            said["response"],
            said["done_reason"],
            said.get("prompt_eval_count", 0),
            said.get("eval_count", 0),
            round(said.get("total_duration", 0) / 1e6),
            (said.get("prompt_eval_duration", 0) + said.get("eval_duration", 0)) // 1_000,
        )
        return [reply, *self._told()]

    async def on_embed(self, asked: EmbedRequest) -> list[EmbedReply | ModelChanged] | Refusal:
        """Return vectors; refused as `on_generate`."""
        try:
            found = await self.service.embed(EmbedPost(model=asked.model, input=list(asked.texts)))
        except (ModelFault, ValueError) as no:
            return _refusal(no)
        vectors = [struct.pack(f"<{len(vector)}f", *vector) for vector in found["embeddings"]]
        return [EmbedReply(asked.model, vectors), *self._told()]

    async def on_models(self, asked: ModelsRequest) -> list[ModelsReply | ModelChanged]:
        """Say which models there are."""
        rows = list[HeldModel]()
        for name in self.models.names():
            try:
                held = await self.models.look(name)
            except Fault:
                continue
            slot = self.supervisor.slots.get(name)
            state = "cold" if slot is None else slot.life.state
            rows.append(HeldModel(name, held.digest, held.size, state, held.facts.embeds))
        return [ModelsReply(rows, self.rest.url if self.rest else ""), *self._told()]

    async def on_tick(self, tick: Tick) -> list[ModelChanged]:
        """Say what became of the models since the last beat."""
        return self._told()

    def _changed(self, change: Change) -> None:
        self._changes.append(ModelChanged(**{name: getattr(change, name) for name in change.__slots__}))

    def _told(self) -> list[ModelChanged]:
        told = list(self._changes)
        self._changes.clear()
        return told


def _schema(text: str) -> dict[str, object] | None:
    """Return a JSON schema. Raises BadRequest."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"the schema is no JSON object ({error})") from None


def _refusal(no: ModelFault | ValueError) -> Refusal:
    """Return what is said to whoever asked; a Fault that is worth a retry goes on to the runner."""
    match no:
        case NoSuchModel():
            return Refusal("B011", str(no))
        case QueueFull():
            return Refusal("B008", str(no))
        case BadRequest() | ValueError():
            return Refusal("B012", str(no)[:300])
        case _:
            raise no
