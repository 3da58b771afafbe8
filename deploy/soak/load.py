"""What a soaked organism is asked meanwhile: arithmetic, questions, how loaded it is; and what it feels and reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.host import OPERATOR
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.codec import encode
from shared.constant import constant
from shared.envelope import rfc3339
from shared.errors import Fault, Refusal
from shared.home import nkey_path
from shared.message import AnyWaveFields, Request
from shared.settings import Settings
from shared.subjects.cognition import CognitiveRequest
from shared.subjects.gates import GateRequest
from shared.subjects.nervous import AssessRequest, MathRequest
from shared.version import VERSION
from shared.world import World, new_id, now_ms

SOAK_ASK_S = constant(0.25, "s", "X-07")  #: between two questions
SOAK_ANSWER_S = constant(5.0, "s", "X-07")
QUESTIONS = constant(20, "questions", "X-07")  #: different ones, each asked again and again
BUDGET_ULF = constant(20_000_000, "ulf", "X-07")
POSTS = constant(30, "posts", "X-07")
FELT_PPM = constant(900_000, "ppm", "X-07")
#: The parts that an ingest needs.
INGESTS = ("nerves.provenance", "organs.vault", "organs.datasets")
GATE = "nerves.gate"  #: it feels every wave
DOMAINS = ("light", "network", "motor")

Ask = Callable[[int], Request]


def kinds_of_questions(site: str, parts: Sequence[str]) -> dict[str, Ask]:
    """Return what is asked in turn, by the name of the part that answers, of those that run."""
    kinds: dict[str, Ask] = {
        "cells.math_cell": lambda n: MathRequest(f"{n}+{n}"),
        "nerves.overload": lambda _: AssessRequest(site),
        GATE: lambda n: GateRequest(DOMAINS[n % len(DOMAINS)]),
        "organs.cognition": _question,
    }
    return {name: ask for name, ask in kinds.items() if name in parts}


class Asker:
    """A person who asks over and over, and counts who answered."""

    def __init__(self, world: World, settings: Settings, parts: Sequence[str]) -> None:
        self.world, self.settings, self.through = world, settings, ""
        self.kinds = kinds_of_questions(settings.site, parts)
        self.asked, self.answered = Counter[str](), Counter[str]()
        self.told = Counter[str]()  #: how many messages were sent to a part
        self.refused = Counter[str]()  #: by the code of the refusal
        self._bus: Bus | None = None

    async def run(self) -> None:
        """Ask without an end, and let two cells feel the same now and then."""
        n = 0
        while True:
            for name in self.kinds:
                await self.ask(name, n)
                await self.world.sleep(SOAK_ASK_S)
            with suppress(Fault, OSError):
                await self._feel(DOMAINS[n % len(DOMAINS)])
            n += 1

    async def ask(self, name: str, n: int) -> bool:
        """Ask one question and say whether it was answered."""
        self.asked[name] += 1
        self.told[name] += 1
        try:
            answer = await (await self._joined()).request(self.kinds[name](n), SOAK_ANSWER_S)
        except (Fault, OSError):  # nats-py may still want to write on a link that is gone
            return False
        if isinstance(answer, Refusal):
            self.refused[f"{name} {answer.code}"] += 1
            return False
        self.answered[name] += 1
        return True

    async def insist(self, patience_s: float) -> list[str]:
        """Ask each question until it is answered; return whose was not."""
        give_up, left = self.world.elapsed_s() + patience_s, list(self.kinds)
        while left and self.world.elapsed_s() < give_up:
            left = [name for name in left if not await self.ask(name, 0)]
            await self.world.sleep(SOAK_ASK_S)
        return left

    async def close(self) -> None:
        """Let the connection go."""
        if self._bus is not None:
            await self._bus.wire.close()

    async def _joined(self) -> Bus:
        if self._bus is None:
            nkey = nkey_path(self.settings, OPERATOR)
            wire = await connect(self.through, OPERATOR, nkey=nkey, private_inbox=False)
            self._bus = Bus(self.world, wire, OPERATOR, VERSION, [])
        return self._bus

    async def _feel(self, domain: str) -> None:
        bus = await self._joined()
        for cell in ("one", "two"):
            headers = {"ce-id": new_id(self.world).hex(), "ce-time": rfc3339(now_ms(self.world))}
            wave = encode(AnyWaveFields(domain, FELT_PPM, f"much {domain}", 1))
            await bus.wire.publish(f"{bus.env}.soak.cells.{cell}.wave", wave, headers)
            self.told[GATE] += 1


def write_posts(path: Path) -> None:
    """Write a few posts to a file."""
    posts = [{"id": f"p{n}", "text": f"this is the post with the number {n}"} for n in range(POSTS)]
    path.write_text("".join(json.dumps(post) + "\n" for post in posts))


def _question(n: int) -> CognitiveRequest:
    text = f"what is number {n % QUESTIONS} like?"
    return CognitiveRequest(
        "", "question", OPERATOR, 1_000_000, text, (), BUDGET_ULF, 5_000, "quote", "", personal=False
    )
