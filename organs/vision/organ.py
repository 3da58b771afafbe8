"""The vision organ: says what is in a picture, by an ONNX detector or a vision model, or that it has no eyes.

It decides nothing and keeps nothing: no picture, no place and no name of what was seen stands in the log. A wave tells
the gates how many of what were seen, unless whoever asks says that the picture is personal.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from organs.vision.choosing import eyes_of
from organs.vision.detector import NEEDED
from organs.vision.picture import Picture
from organs.vision.port import Eyes, Sight
from organs.vision.simulated import SimEyes
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused
from shared.extras import tell_lacking
from shared.ollama import ModelMissing
from shared.part.declare import Garden
from shared.part.organ import Organ
from shared.settings import Settings
from shared.subjects.meaning import CONTENT_CHARS
from shared.subjects.vision import Seen, VisionReply, VisionRequest, VisionWave
from shared.world import SimWorld, World

DOMAIN = "vision"  #: the region of meaning that its waves are of
NO_EYES = (
    "no eyes are configured: set vision_detector to an ONNX detector that `eyes install FILE` put here, or vision_url "
    "and vision_model to a vision model on a server that speaks Ollama's protocol"
)


class VisionOrgan(Organ):
    """Looks at pictures, one at a time. Owns its eyes."""

    name: ClassVar[str] = "vision"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "virtual"  #: it feels; nothing of what it says moves anything
    cost_ulf: ClassVar[int] = constant(8_000_000, "micro-lifeforce", "NIM-17")

    def __init__(self, eyes: Eyes | None, world: World) -> None:
        self.eyes, self.world = eyes, world

    @classmethod
    def build(cls, settings: Settings, world: World) -> VisionOrgan:
        if settings.vision_url is None:
            tell_lacking(cls.name, "eyes", *NEEDED)
        return cls(eyes_of(settings), world)

    @classmethod
    def simulate(cls, world: SimWorld) -> VisionOrgan:
        return cls(SimEyes(), world)

    async def close(self) -> None:
        if self.eyes is not None:
            await self.eyes.close()

    def workers(self) -> list[int]:
        return [] if self.eyes is None or self.eyes.pid is None else [self.eyes.pid]

    async def on_look(self, asked: VisionRequest) -> list[VisionReply | VisionWave]:
        """Say what is in a picture. Refused B011 without eyes, E001 or E002 for what is no picture, L004 in trouble."""
        began_s = self.world.elapsed_s()
        if self.eyes is None:
            raise Refused(Refusal("B011", NO_EYES))
        picture = Picture.read(asked.picture)
        try:
            sight = await self.eyes.look(picture, asked.least_ppm)
        except Fault as fault:
            code = "B011" if isinstance(fault, ModelMissing) else "L004"
            raise Refused(Refusal(code, str(fault)[:MAX_REASON_CHARS])) from fault
        latency_ms = round(1_000 * (self.world.elapsed_s() - began_s))
        who = (self.eyes.engine, self.eyes.model)
        reply = VisionReply(sight.seen, picture.width, picture.height, *who, sight.cost_ulf, latency_ms)
        return [reply] if asked.personal or not sight.seen else [felt(sight), reply]


def felt(sight: Sight) -> VisionWave:
    """Return what the gates feel of a sight in which there is something."""
    return VisionWave(DOMAIN, sight.seen[0].confidence_ppm, counted(sight.seen)[:CONTENT_CHARS], sight.cost_ulf)


def counted(seen: tuple[Seen, ...]) -> str:
    """Return how many of what were seen, the most first: `person 3, dog 1`."""
    counts = Counter(one.label for one in seen)
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
