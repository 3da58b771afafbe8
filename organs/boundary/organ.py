"""The boundary organ: a small model turns a state into one typed function call, and a translator stands behind it.

Only a model is loaded that the registry put in force here, or that the log installed under an exemption that policy
names: whichever the log said last. What it says is held to the task's grammar and checked once more; after
three attempts without a call it is nacked in the log, and the rules answer. Every answer says who spoke, and is a
decision on its task's lane: what a model learns from later, and what a repeated request finds again.
"""

from __future__ import annotations

from typing import ClassVar, Final

from shared.artifacts import store_of
from shared.boundary.memory import MemoryShelf
from shared.boundary.port import BoundaryFailed, BoundaryModel, ModelShelf
from shared.boundary.shelf import FolderShelf
from shared.boundary.task import TASK, Call, Task, write_call
from shared.boundary.translator import RULES, Rules, translate
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import Fault, Refusal, Refused
from shared.journal import record
from shared.log.entry import Position
from shared.models import models_folder
from shared.part.organ import Organ, OwnLog
from shared.registry import Standing
from shared.registry.family import DECISIONS
from shared.registry.promoted import NOWHERE, Promoted, is_after
from shared.settings import Settings
from shared.subjects.boundary import (
    CALL_ATTEMPTS,
    BoundaryNacked,
    BoundaryStated,
    BoundaryStatus,
    Called,
    CorrectCall,
    Corrected,
    Failing,
    InstallModel,
    ModelInstalled,
    ModelState,
    Transformed,
    TransformRequest,
)
from shared.subjects.registry import EvidenceNoted, ModelPromoted, ModelRolledBack
from shared.subjects.system import Tick
from shared.world import SimWorld, World, now_ms

FAMILY: Final = "boundary"
TRANSLATOR = constant("translator", "speaker", "NIM-14")


class BoundaryOrgan(Organ):
    """Stands between numbers and cognition. Owns the one model that is loaded."""

    name: ClassVar[str] = "boundary"
    version: ClassVar[str] = "1.0.0"
    rests: ClassVar[bool] = True
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-07")

    def __init__(self, world: World, shelf: ModelShelf, task: Task = TASK, rules: Rules = RULES) -> None:
        self.world = world
        self.shelf, self.task, self.rules = shelf, task, rules
        self.model: BoundaryModel | None = None
        self.digest, self.reason = "", ""
        self.state: ModelState = "unconfigured"
        self.by_model = self.by_translator = self.nacked = 0
        self.promoted = Promoted(FAMILY, "")
        self._heard = NOWHERE  #: where the last word stands about what is loaded, once that was done
        self._standing: Standing | None = None  #: what is loaded because it is in force

    @classmethod
    def build(cls, settings: Settings, world: World) -> BoundaryOrgan:
        return cls(world, FolderShelf(models_folder(settings), TASK, store_of(settings, world)))

    @classmethod
    def simulate(cls, world: SimWorld) -> BoundaryOrgan:
        return cls(world, MemoryShelf(TASK))

    def again(self, world: SimWorld) -> BoundaryOrgan:
        return BoundaryOrgan(world, self.shelf, self.task, self.rules)

    async def open(self, log: OwnLog) -> None:
        """Load what the log said last; where it says nothing, or that cannot be loaded, the rules speak."""
        self.promoted, last, at_last = Promoted(FAMILY, log.env), None, NOWHERE
        async for verdict in log.replay():
            for decision, at in decisions_in(verdict, *DECISIONS):
                if self.promoted.take(decision, at) and isinstance(decision, ModelPromoted | ModelRolledBack):
                    last, at_last = None, at
            for installed, at in decisions_in(verdict, ModelInstalled):
                last, at_last = installed, at
        await self._follow(last, at_last)

    async def close(self) -> None:
        await self._unload("cold", "")

    async def on_transform(self, request: TransformRequest) -> list[BoundaryNacked | Called | Transformed]:
        """Answer one state, and decide that this is the answer. Refused F001 where it is none of this task's."""
        state = self.task.checked(request.state)
        failings: list[BoundaryFailed] = []
        call = await self._ask(self.task.prompt(state), failings)
        if call is not None:
            self.by_model += 1
            return [*self._said(state, call, f"model:{self.digest}", len(failings) + 1)]
        call = translate(state, self.rules)
        self.by_translator += 1
        said = self._said(state, call, TRANSLATOR, len(failings))
        if not failings:
            return [*said]
        self.nacked += 1
        detail = failings[-1].detail[:MAX_REASON_CHARS]
        kinds: list[Failing] = [failed.failing for failed in failings]
        return [BoundaryNacked(self.digest, state, len(failings), kinds, detail, write_call(call)), *said]

    async def on_correct(self, request: CorrectCall) -> list[Corrected]:
        """Decide that a call is right in a state. Refused F001, F003 where they are none of this task's."""
        state = self.task.checked(request.state)
        try:
            call = self.task.read_call(request.call)
        except ValueError as error:
            raise Refused(Refusal("F003", f"{error}: {request.call[:MAX_REASON_CHARS]!r}")) from None
        return [Corrected(self.task.digest, state, write_call(call))]

    async def on_status(self, request: BoundaryStatus) -> list[BoundaryStated]:
        """Say who would speak now, and by which word of the log."""
        speaker = f"model:{self.digest}" if self.model is not None else TRANSLATOR
        counts = (self.by_model, self.by_translator, self.nacked)
        heard = (self._heard.index, self._heard.offset)
        return [BoundaryStated(speaker, self.digest, self.state, self.reason, self.task.digest, *counts, *heard)]

    async def on_install(self, request: InstallModel) -> list[ModelInstalled]:
        """Read the file whole, then decide that it speaks from here on. Refused F002, S002, N006."""
        file = await self.shelf.look(request.model)
        no = self.promoted.refused(request.model, request.exemption, now_ms(self.world))
        if no is not None:
            raise Refused(no)
        return [ModelInstalled(request.model, file.size_bytes, file.task, file.plan, request.exemption)]

    async def on_installed(self, installed: ModelInstalled, at: Position) -> None:
        """Load what the log installed, unless the log said something else later."""
        if is_after(at, self._heard):
            await self._follow(installed, at)

    async def on_promoted(self, promoted: ModelPromoted, at: Position) -> None:
        """Load what is in force from here on."""
        await self._moved(promoted, at)

    async def on_rolled_back(self, rolled_back: ModelRolledBack, at: Position) -> None:
        """Load what is restored; where nothing is, the rules speak."""
        await self._moved(rolled_back, at)

    async def on_noted(self, noted: EvidenceNoted, at: Position) -> None:
        """Keep that an emergency was ratified."""
        self.promoted.take(noted, at)

    async def on_tick(self, tick: Tick) -> None:
        """Let go of what was put in force in an emergency that nobody ratified, though nobody has taken it back yet."""
        standing = self.promoted.in_force(tick.now_ms)
        stands = standing is not None and standing.model == self.digest
        if self.model is not None and self._standing is not None and not stands:
            await self._unload("failed", f"N006 NOT_PROMOTED: nobody ratified the emergency of {self.digest}")

    async def _moved(self, decision: ModelPromoted | ModelRolledBack, at: Position) -> None:
        if self.promoted.take(decision, at) and is_after(at, self._heard):
            await self._follow(None, at)

    async def _follow(self, installed: ModelInstalled | None, at: Position) -> None:
        """Load what an installation names, if it may speak, or else what is in force; either by the word at `at`."""
        at_ms = now_ms(self.world)
        self._standing = self.promoted.in_force(at_ms) if installed is None else None
        if installed is not None:
            await self._load(installed.model, self.promoted.refused(installed.model, installed.exemption, at_ms))
        elif self._standing is not None:
            await self._load(self._standing.model, None)
        elif self.digest:
            await self._unload("cold", "nothing is in force here")
            self.digest = ""
        self._heard = at

    async def _ask(self, prompt: str, failings: list[BoundaryFailed]) -> Call | None:
        """Return what the model says, within three attempts; what went wrong is added to `failings`."""
        if self.model is None:
            return None
        for attempt in range(1, CALL_ATTEMPTS + 1):
            try:
                return self._read(await self.model.complete(prompt, attempt))
            except BoundaryFailed as failed:
                failings.append(failed)
        return None

    def _read(self, text: str) -> Call:
        """Return the call in a text that a grammar let through: it is not believed, it is checked."""
        try:
            return self.task.read_call(text)
        except ValueError as error:
            raise BoundaryFailed("not_a_call", f"{error}: {text!r}") from None

    def _said(self, state: dict[str, int], call: Call, speaker: str, attempts: int) -> tuple[Called, Transformed]:
        text, task = write_call(call), self.task.digest
        called = Called(task, state, text, speaker, attempts)
        return called, Transformed(text, call.function, speaker, attempts, task)

    async def _load(self, digest: str, no: Refusal | None) -> None:
        """Load a model, exactly the bytes that its digest names; where there is a refusal it is not even read."""
        if no is None and digest == self.digest and self.state == "ready":
            return
        await self._unload("loading", "")
        self.digest = digest
        try:
            if no is not None:
                raise Refused(no)  # noqa: TRY301 - told as every other reason
            self.model = await self.shelf.load(digest)
        except (Fault, Refused) as error:
            self.state, self.reason = "failed", str(error)[:MAX_REASON_CHARS]
            record(self.name, "model_not_loaded", model=digest, detail=self.reason)
        else:
            self.state = "ready"

    async def _unload(self, state: ModelState, reason: str) -> None:
        model, self.model = self.model, None
        if model is not None:
            await model.close()
        if self.state != "unconfigured" or state == "loading":
            self.state, self.reason = state, reason
