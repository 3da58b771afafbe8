"""The deterministic translator: a few rules that answer every state; the fallback of a model, and its first teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from shared.boundary.task import Call
from shared.constant import constant
from shared.errors import ConfigFault

STOP_CM = constant(20, "cm", "NIM-14")
TURN_CM = constant(80, "cm", "NIM-14")
SHARP_CM = constant(50, "cm", "NIM-14")
DOCK_PERCENT = constant(15, "percent", "NIM-14")
URGENT_PERCENT = constant(5, "percent", "NIM-14")  # docking is urgent below it, and not yet at it
ESCALATE_PERCENT = constant(70, "percent", "NIM-14")
SHARP_DEG, GENTLE_DEG = 90, 45


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where each rule begins: below its number, an escalation at it. A changed rule is what a model is adapted to."""

    stop_cm: int = STOP_CM
    turn_cm: int = TURN_CM
    sharp_cm: int = SHARP_CM
    dock_percent: int = DOCK_PERCENT
    urgent_percent: int = URGENT_PERCENT
    escalate_percent: int = ESCALATE_PERCENT

    def edges(self) -> tuple[tuple[str, int], ...]:
        """Return each field with a number at which its meaning changes."""
        return (
            ("front", self.stop_cm),
            ("front", self.turn_cm),
            ("front", self.sharp_cm),
            ("battery", self.dock_percent),
            ("battery", self.urgent_percent),
            ("math", self.escalate_percent),
            ("speech", self.escalate_percent),
        )


RULES = Rules()


def changed_rules(given: Iterable[str]) -> Rules:
    """Return the rules with what each NAME=NUMBER changes; ConfigFault for a name or a number that is none."""
    changed: dict[str, int] = {}
    for item in given:
        name, _, number = item.partition("=")
        if name not in Rules.__struct_fields__ or not number.isdecimal():
            raise ConfigFault(f"--rule {item!r}: write NAME=NUMBER, NAME one of {', '.join(Rules.__struct_fields__)}")
        changed[name] = int(number)
    return msgspec.structs.replace(RULES, **changed)


def translate(state: Mapping[str, int], rules: Rules = RULES) -> Call:
    """Return the call that the rules make of a checked state: safety first, then energy, way, and cognition last."""
    if state["front"] < rules.stop_cm:
        return Call("stop", {"reason": "obstacle"})
    if state["battery"] < rules.dock_percent:
        urgency = "high" if state["battery"] < rules.urgent_percent else "low"
        return Call("dock", {"cell": "battery", "urgency": urgency})
    if state["front"] < rules.turn_cm:
        direction = "left" if state["left"] > state["right"] else "right"
        return Call(
            "turn", {"direction": direction, "degrees": SHARP_DEG if state["front"] < rules.sharp_cm else GENTLE_DEG}
        )
    math, speech = state["math"], state["speech"]
    if max(math, speech) >= rules.escalate_percent:
        topic = "math" if math >= speech else "speech"
        return Call("escalate", {"topic": topic, "confidence": max(math, speech)})
    return Call("idle", {})
