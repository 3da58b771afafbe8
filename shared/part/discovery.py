"""Discovery through the NATS services protocol: `$SRV.PING`, `.INFO` and `.STATS` (NATS ADR-32)."""

from __future__ import annotations

import json

from shared.envelope.envelope import rfc3339
from shared.message import Request, Signal
from shared.part.declare import Declaration
from shared.subjects.system import Tick
from shared.world import World, now_ms


class Discovery:
    """Answers `nats micro` for one part; its endpoints are what the part hears."""

    def __init__(self, declared: Declaration, world: World, env: str) -> None:
        self.declared, self.world = declared, world
        self._started = rfc3339(now_ms(world))
        nothing: dict[str, str] = {}
        self._metadata, self._data = {"metadata": nothing}, {"data": nothing}  # nats-py's reader insists on both
        queue = "" if declared.kind == "nerve" else declared.name
        self._endpoints = [
            {"name": cls.__name__, "subject": cls.pattern(env), "queue_group": queue}
            for cls in declared.hears
            if issubclass(cls, Request | Signal) and cls is not Tick
        ]

    def answer(self, subject: str, handled: int, errors: int) -> bytes | None:
        """Return the JSON answer to one `$SRV` subject, or None when it is not for this part."""
        verb, *to = subject.split(".")[1:]
        if to not in ([], [self.declared.name], [self.declared.name, self.world.boot]):
            return None
        name, version = self.declared.name, self.declared.version
        base = {"name": name, "id": self.world.boot, "version": version, "metadata": {"kind": self.declared.kind}}
        match verb:
            case "PING":
                said = base
            case "INFO":
                endpoints = [endpoint | self._metadata for endpoint in self._endpoints]
                said = base | {"description": f"{self.declared.kind} {name}", "endpoints": endpoints}
            case "STATS":
                counts = {"num_requests": handled, "num_errors": errors, "last_error": ""}
                times = {"processing_time": 0, "average_processing_time": 0}
                endpoints = [endpoint | counts | times | self._data for endpoint in self._endpoints]
                said = base | {"started": self._started, "endpoints": endpoints}
            case _:
                return None
        return json.dumps(said | {"type": f"io.nats.micro.v1.{verb.lower()}_response"}).encode()
