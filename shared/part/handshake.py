"""The start-up self-check: five phases over the bus, each acknowledged or refused with its reason (NIM-22)."""

from __future__ import annotations

from functools import cache

import msgspec
from blake3 import blake3

from shared.bus import Bus
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.message import Message
from shared.part.declare import Declaration
from shared.subjects.system import PHASES, Handshake, HandshakeAck, Phase

HANDSHAKE_S = constant(5.0, "s", "NIM-22")


def claims(phase: Phase, declared: Declaration, bus: Bus) -> dict[str, str]:
    """Return what a part asserts in one phase."""
    match phase:
        case "identity":
            key = bus.signers[0].key_id if bus.signers else ""
            return {"kind": declared.kind, "key": key}
        case "environment":
            return {"env": bus.env}
        case "vocabulary":
            return {cls.template: shape_digest(cls) for cls in (*declared.hears, *declared.says)}
        case "connection":
            return {"ping": f"$SRV.PING.{declared.name}.{bus.world.boot}"}
        case "attention":
            return {cls.template: cls.kind for cls in declared.hears}


async def shake_hands(bus: Bus, declared: Declaration) -> str:
    """Run the five phases; return `accepted`, or `unanswered` where no steward is up (lower steps work without it).

    Raises Refused B005 with the phase and the steward's reason when one is refused.
    """
    for phase in PHASES:
        asked = Handshake(phase, declared.name, declared.version, bus.world.boot, claims(phase, declared, bus))
        answer = await bus.request(asked, HANDSHAKE_S)
        if isinstance(answer, Refusal):
            if answer.code == "B006":
                return "unanswered"
            raise Refused(answer)
        assert isinstance(answer, HandshakeAck)
        if not answer.accepted:
            raise Refused(Refusal("B005", f"the steward refuses {declared.name} in phase {phase}: {answer.reason}"))
    return "accepted"


@cache
def shape_digest(cls: type[Message]) -> str:
    """Return a digest of a message class's schema: equal exactly when both sides would read the same bytes alike."""
    schema = msgspec.json.schema(cls)
    _forget_docs(schema)
    return blake3(msgspec.json.encode(schema, order="deterministic")).hexdigest()[:32]


def _forget_docs(node: object) -> None:
    match node:
        case dict():
            node.pop("description", None)  # pyright: ignore[reportUnknownMemberType] - a JSON schema is untyped
            for item in node.values():  # pyright: ignore[reportUnknownVariableType]
                _forget_docs(item)  # pyright: ignore[reportUnknownArgumentType]
        case list():
            for item in node:  # pyright: ignore[reportUnknownVariableType]
                _forget_docs(item)  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return
