"""The motors organ: the only part that moves the body. No motor configured is a refusal, never a pretended motion."""

from __future__ import annotations

from typing import ClassVar

from organs.motors.authority import REST, Authority
from organs.motors.outcomes import Signals
from organs.motors.port import BenchMotors, Motors
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.part import Organ
from shared.settings import Settings
from shared.subjects.body import CollisionDecided, MotorReply, MotorRequest
from shared.subjects.gates import OutcomeRequest, ReflexActed, SignalVerified
from shared.subjects.system import Tick
from shared.world import SimWorld, World, now_ms

STOPPING = ("danger", "obstacle")  #: the domains whose reflex stops the body


class MotorsOrgan(Organ):
    """Commands, reflexes and decided evasions in; motion, and what became of the gates' signals, out."""

    name: ClassVar[str] = "motors"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(2_000_000, "micro-lifeforce", "NIM-10")

    def __init__(self, motors: Motors | None, site: str, world: World) -> None:
        self.motors, self.site, self.world = motors, site, world
        self.authority, self.signals = Authority(site), Signals()

    @classmethod
    def build(cls, settings: Settings, world: World) -> MotorsOrgan:
        return cls(None, settings.site, world)

    @classmethod
    def simulate(cls, world: SimWorld) -> MotorsOrgan:
        return cls(BenchMotors(world), "sim", world)

    def again(self, world: SimWorld) -> MotorsOrgan:
        return MotorsOrgan(self.motors, self.site, world)

    async def on_move(self, request: MotorRequest) -> list[MotorReply]:
        """Obey a command, or refuse it by name."""
        motors = self.motors
        if motors is None:
            raise Refused(Refusal("B011", f"no motor is configured for {self.site}; nothing moved"))
        motion = self.authority.judge(request, now_ms(self.world))
        if isinstance(motion, Refusal):
            raise Refused(motion)
        await motors.move(motion)
        return [MotorReply(request.site, request.commander, request.number, motion.until_ms)]

    async def on_reflex(self, acted: ReflexActed) -> None:
        """Stop at once, and once: the same wave stops the body only the first time."""
        if acted.domain not in STOPPING or acted.polarity != 1:
            return
        self.signals.note(acted.domain, acted.wave_id, now_ms(self.world))
        if self.motors is not None and self.authority.reflex(acted.wave_id, now_ms(self.world)):
            await self.motors.move(REST)

    async def on_verified(self, verified: SignalVerified) -> None:
        """Note which signal warned of what is in the way; what is found there will be its outcome."""
        if verified.domain in STOPPING:
            self.signals.note(verified.domain, verified.signal, now_ms(self.world))

    async def on_decided(self, decided: CollisionDecided) -> list[OutcomeRequest]:
        """Report what an evasion that is over found, for each signal that warned of it."""
        return self.signals.judged(decided) if decided.site == self.site else []

    async def on_tick(self, tick: Tick) -> None:
        """Let a motion that nobody renewed end."""
        if self.motors is not None:
            await self.motors.beat()
