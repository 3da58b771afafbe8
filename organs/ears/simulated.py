"""Ears for simulations: they understand what a simulated voice says, where it is one of the listed sentences."""

from __future__ import annotations

from collections.abc import Collection

from organs.ears.port import Understood
from organs.ears.sound import Samples
from shared.errors import Refusal, Refused

BYTE_SAMPLES = 320
STEP = 100
HEARD_SURE_PPM = 900_000


class SimHearing:
    """Reads each tone's loudness as a byte of the text."""

    pid: int | None = None

    def __init__(self, commands: Collection[str]) -> None:
        self.commands = commands

    async def hear(self, heard: Samples) -> Understood:
        said = bytes(min(255, max(0, round(abs(float(level)) / STEP) - 1)) for level in heard[::BYTE_SAMPLES])
        text = said.decode(errors="replace").lower()
        if text not in self.commands:
            raise Refused(Refusal("H004", "no listed sentence was heard"))
        return Understood(text, HEARD_SURE_PPM, "simulated", "sim", command=True)

    async def close(self) -> None:
        return
