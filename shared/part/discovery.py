"""Discovery through the NATS services protocol: `$SRV.PING`, `.INFO` and `.STATS` (NATS ADR-32)."""

from __future__ import annotations

import json

from shared.envelope.envelope import rfc3339
from shared.message import Request, Signal
from shared.part.declare import Declaration
from shared.world import World, now_ms


class Discovery:
    """Answers `nats micro` for one part; its endpoints are what the part hears."""

    def __init__(self, declared: Declaration, world: World, env: str) -> None:
        self.declared, self.world = declared, world
        self._started = rfc3339(now_ms(world))
        self._endpoints = [
            {"name": cls.__name__, "subject": cls.pattern(env), "queue_group": "" if declared.kind == "nerve" else declared.name}
            for cls in declared.hears
            if issubclass(cls, Request | Signal)
        ]

    def answer(self, subject: str, handled: int, errors: int) -> bytes | None:
        """Return the JSON answer to one `$SRV` subject, or None when it is not for this part."""
        verb, *to = subject.split(".")[1:]
        if to not in ([], [self.declared.name], [self.declared.name, self.world.boot]):
            return None
        base = {"name": self.declared.name, "id": self.world.boot, "version": self.declared.version, "metadata": {"kind": self.declared.kind}}
        match verb:
            case "PING":
                said = base
            case "INFO":
                said = base | {"description": f"{self.declared.kind} {self.declared.name}", "endpoints": self._endpoints}
            case "STATS":
                counts = {"num_requests": handled, "num_errors": errors, "last_error": "", "processing_time": 0, "average_processing_time": 0}
                said = base | {"started": self._started, "endpoints": [e | counts for e in self._endpoints]}
            case _:
                return None
        return json.dumps(said | {"type": f"io.nats.micro.v1.{verb.lower()}_response"}).encode()
