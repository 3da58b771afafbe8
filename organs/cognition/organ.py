"""The cognition organ: answers questions, and whatever climbs to tier 3 or 4; each answer, or why there is none, is a
decision.

Tier 3 is answered with what memory holds, and by no model; tier 4 with a model where one is configured. A state is
decided by the boundary. An escalation is heard from the log, so nothing is lost where a model dies in mid-sentence: the
entry comes back, and its answer has the same id. What cannot be answered is recorded as unavailable, with its reason;
nothing is made up.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from blake3 import blake3

from organs.cognition.deciding import DECIDE_ULF, commands_of, decide, state_in
from organs.cognition.port import Asked, Language, Said
from organs.cognition.quoting import NO_WORDS, QUOTE_ULF, QUOTES, Quoting
from organs.cognition.servers import speaker_of
from organs.cognition.speaking import SPEAK_ULF, Speaking
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused, Unreachable
from shared.log.entry import Position
from shared.message import Request
from shared.ollama import ModelMissing
from shared.part.meter import own_cpu_s
from shared.part.organ import AskingLog, Organ
from shared.settings import Settings
from shared.subjects.boundary import TransformRequest
from shared.subjects.cognition import (
    QUESTION_BYTES,
    Answer,
    Answered,
    AskedBy,
    CognitiveRequest,
    CognitiveResponse,
    Reasoning,
    Unavailable,
)
from shared.subjects.memory import MemoryReply, MemoryRequest
from shared.subjects.thalamus import Escalated
from shared.world import SimWorld, World, within

T = TypeVar("T")

MEMORY_TIER = constant(3, "tier", "NIM-07")
MIND_TIER = constant(4, "tier", "NIM-07")
ESCALATION_S = constant(60.0, "s", "NIM-07")
MODEL_PATIENCE_S = constant(20.0, "s", "NIM-17")
RECALL_S = constant(10.0, "s", "NIM-07")
REASON_CHARS = constant(500, "characters", "X-12")
QUESTION_ID_BYTES = constant(16, "bytes", "NIM-17")
#: How what climbed to a tier is answered.
TIERS: Final[dict[int, Reasoning]] = {MEMORY_TIER: "quote", MIND_TIER: "any"}
#: What may be over in a moment: nobody listens yet, the queue is full, or memory is read from the log again.
PASSING = frozenset({"B006", "B008", "B011", "L006"})


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, by whom, and what of it may be kept."""

    id: str
    asked_by: AskedBy
    domain: str
    text: str
    signal: bytes = b""
    personal: bool = False

    @property
    def content(self) -> str:
        """What the log keeps of the question."""
        return "" if self.personal else self.text


@dataclass(frozen=True, slots=True)
class _Meter:
    """What was spent since a question came, measured."""

    world: World
    began_s: float
    cpu_s: float

    @classmethod
    def of(cls, world: World) -> _Meter:
        return cls(world, world.elapsed_s(), own_cpu_s(world))

    @property
    def latency_ms(self) -> int:
        return round(1_000 * (self.world.elapsed_s() - self.began_s))

    def cost_ulf(self, model_ms: int = 0) -> int:
        """Return this organ's processor time, and the time the model's server worked, in microseconds."""
        return round(1e6 * (own_cpu_s(self.world) - self.cpu_s)) + 1_000 * model_ms


class CognitionOrgan(Organ):
    """Answers with a model where one is configured, else by quoting what memory holds."""

    name: ClassVar[str] = "cognition"
    version: ClassVar[str] = "1.0.0"
    rests: ClassVar[bool] = True
    cost_ulf: ClassVar[int] = SPEAK_ULF
    asks: ClassVar[tuple[type[Request], ...]] = (MemoryRequest, TransformRequest)

    def __init__(self, world: World, language: Language | None = None) -> None:
        self.world = world
        self.language: Language = language or Quoting()
        self._since: dict[Position, float] = {}  #: escalations that could not be answered yet, and since when

    @classmethod
    def build(cls, settings: Settings, world: World) -> CognitionOrgan:
        speaker = speaker_of(settings)
        return cls(world, None if speaker is None else Speaking(speaker, Quoting()))

    @classmethod
    def simulate(cls, world: SimWorld) -> CognitionOrgan:
        return cls(world)

    async def open(self, log: AskingLog) -> None:
        self.bus = log

    async def close(self) -> None:
        await self.language.close()

    async def on_request(self, asked: CognitiveRequest) -> list[Answered | Unavailable | CognitiveResponse | Refusal]:
        """Answer a question within its budget and its time.

        Refused B003 for too long a one, B012 for one without words: that is not kept. Whatever else stands in the way
        is recorded, and comes back as its refusal.
        """
        question = self._question_of(asked)
        meter, state = _Meter.of(self.world), None
        try:
            put = Asked(question.text, (), asked.reasoning_mode, asked.json_schema)
            state = self._state_of(put, personal=question.personal)
            self._check_budget(asked, DECIDE_ULF if state else None)
            answering = self._answer(put) if state is None else decide(self.bus, put, state)
            said = await self._in_time(asked.response_timeout_ms / 1_000, answering)
        except (Refused, Fault) as trouble:
            refusal = _refusal_of(trouble)
            return [self._unavailable(question, refusal, meter, "boundary" if state else ""), refusal]
        decided = self._answered(question, said, meter)
        response = CognitiveResponse(
            asked.request_id,
            said.decision,
            said.answer,
            said.confidence_ppm,
            asked.reasoning_mode,
            said.quotes,
            commands_of(question.domain, said),
            decided.engine,
            said.model,
            decided.cost_ulf,
            decided.latency_ms,
        )
        return [decided, response]

    async def on_escalated(self, escalated: Escalated, at: Position) -> list[Answered | Unavailable]:
        """Answer what climbed to the tiers of memory and mind; what fails in passing comes back, for a while."""
        reasoning = TIERS.get(escalated.tier)
        if reasoning is None:
            return []
        text = (escalated.content or escalated.domain).encode()[:QUESTION_BYTES].decode(errors="ignore")
        question = _Question(question_id(text, ""), "escalation", escalated.domain, text, escalated.signal)
        meter = _Meter.of(self.world)
        try:
            said = await self._in_time(ESCALATION_S, self._answer(Asked(text, (), reasoning)))
        except (Refused, Fault) as trouble:
            if _may_pass(trouble) and self._waits(at):
                raise Unreachable(f"the escalation at ({at.index}, {at.offset}) waits: {trouble}") from trouble
            said = _refusal_of(trouble)
        self._since.pop(at, None)
        if isinstance(said, Refusal):
            return [self._unavailable(question, said, meter)]
        return [self._answered(question, said, meter)]

    # How

    async def _answer(self, asked: Asked) -> Said:
        """Return the answer, with what memory holds; a model speaks without memory too, a quote needs it."""
        found = await self.bus.request(MemoryRequest(asked.question, 2 * QUOTES, (), 0), RECALL_S)
        if isinstance(found, MemoryReply):
            return await self.language.answer(Asked(asked.question, found.recalled, asked.reasoning, asked.json_schema))
        assert isinstance(found, Refusal)
        takes_memory = isinstance(self.language, Quoting) or asked.reasoning == "quote"
        takes_model = asked.reasoning == "generate" or asked.json_schema
        if takes_memory and not takes_model:
            raise Refused(Refusal(found.code, f"memory does not answer: {found.detail or found.name}"))
        return await self.language.answer(asked)

    async def _in_time(self, seconds: float, work: Awaitable[T]) -> T:
        try:
            return await within(seconds, work)
        except TimeoutError:
            raise Refused(Refusal("L001", f"no answer in {seconds:g} s, which is all the time it had")) from None

    def _state_of(self, asked: Asked, *, personal: bool) -> dict[str, int] | None:
        """Return the state that the boundary shall decide about; None where the question is put to language.

        Refused F001 for what must be decided and is no state, or is personal: the boundary's decisions are kept.
        """
        if asked.reasoning != "decide" and not (asked.reasoning == "any" and isinstance(self.language, Quoting)):
            return None
        state = state_in(asked.question)
        if asked.reasoning == "decide" and (state is None or personal):
            found = "it is personal, and what the boundary decides is kept" if personal else "it is something else"
            raise Refused(Refusal("F001", f"what is decided about is a state, a JSON object of whole numbers; {found}"))
        return None if personal else state

    def _check_budget(self, asked: CognitiveRequest, deciding_ulf: int | None) -> None:
        """Raise Refused L001 where the budget does not carry what the answer costs by declaration."""
        speaking = QUOTE_ULF if asked.reasoning_mode == "quote" else self.language.declared_ulf
        declared = speaking if deciding_ulf is None else deciding_ulf
        if asked.processing_budget_ulf < declared:
            found = f"an answer of {'the boundary' if deciding_ulf else self.language.engine} costs {declared} ulf"
            raise Refused(Refusal("L001", f"{found}, the request allows {asked.processing_budget_ulf}"))

    def _question_of(self, asked: CognitiveRequest) -> _Question:
        size = len(asked.structured_input.encode())
        if size > QUESTION_BYTES:
            raise Refused(Refusal("B003", f"a question of {size} bytes, at most {QUESTION_BYTES} may be"))
        if not asked.structured_input.strip():
            raise Refused(NO_WORDS)
        drawn = self.world.entropy(QUESTION_ID_BYTES).hex()  # by a digest of its words it could be guessed
        one = drawn if asked.personal else question_id(asked.structured_input, asked.json_schema)
        return _Question(one, "request", asked.domain, asked.structured_input, personal=asked.personal)

    def _waits(self, at: Position) -> bool:
        """Say whether an escalation may come back once more."""
        now = self.world.elapsed_s()
        return now < self._since.setdefault(at, now) + MODEL_PATIENCE_S

    def _answered(self, question: _Question, said: Said, meter: _Meter) -> Answered:
        quoted = said.decision in ("quoted", "nothing_held")
        engine, declared = _SPOKE.get(said.decision, (self.language.engine, self.language.declared_ulf))
        return Answered(
            question.id,
            question.asked_by,
            question.signal,
            question.domain,
            question.content,
            said.decision,
            "" if quoted or question.personal else said.answer,
            said.confidence_ppm,
            () if question.personal else said.quotes,
            engine,
            said.model,
            declared,
            meter.cost_ulf(said.model_ms),
            meter.latency_ms,
        )

    def _unavailable(self, question: _Question, no: Refusal, meter: _Meter, engine: str = "") -> Unavailable:
        who = (question.id, question.asked_by, question.signal, question.domain, question.content)
        reason = "" if question.personal else no.detail[:REASON_CHARS]
        return Unavailable(*who, no.code, reason, engine or self.language.engine, meter.cost_ulf(), meter.latency_ms)


#: Who answers what takes no language model, and what that costs by declaration.
_SPOKE: Final[dict[Answer, tuple[str, int]]] = {
    "quoted": ("memory", QUOTE_ULF),
    "nothing_held": ("memory", QUOTE_ULF),
    "decided": ("boundary", DECIDE_ULF),
}


def question_id(text: str, json_schema: str) -> str:
    """Return BLAKE3 of what is asked: the same question has the same lane."""
    return blake3(f"{json_schema}\0{text}".encode()).digest(length=QUESTION_ID_BYTES).hex()


def _may_pass(trouble: Refused | Fault) -> bool:
    return trouble.retry if isinstance(trouble, Fault) else trouble.refusal.code in PASSING


def _refusal_of(trouble: Refused | Fault) -> Refusal:
    if isinstance(trouble, Refused):
        return trouble.refusal
    return Refusal("B011" if isinstance(trouble, ModelMissing) else "L004", str(trouble))
