"""What a call says of the state it is made in, and whether the state bears that out.

Every call claims something: `stop` that something is in front, `dock` that a charge is low, `turn` that the way is
narrow and which side is freer, `escalate` what is heard and how sure that is, `idle` that nothing is the matter. A
claim that the state does not bear out is made up, whatever the rules would have answered; a call that the state bears
out may still be the wrong one, because something else came first. Nothing in a state is about faults or motors, so
whoever claims those claims what cannot be known.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.boundary.task import Call
from shared.boundary.translator import RULES, SHARP_DEG, Rules

State = Mapping[str, int]


def bears_out(state: State, call: Call, rules: Rules = RULES) -> bool:
    """Say whether everything that a call claims stands in the state."""
    args = call.args
    match call.function:
        case "stop":
            return args["reason"] == "obstacle" and state["front"] < rules.stop_cm
        case "dock":
            low, urgent = state["battery"] < rules.dock_percent, state["battery"] < rules.urgent_percent
            return args["cell"] == "battery" and low and urgent == (args["urgency"] == "high")
        case "turn":
            sharp = state["front"] < rules.sharp_cm
            narrow = state["front"] < rules.turn_cm
            return narrow and sharp == (args["degrees"] == SHARP_DEG) and _is_free(state, str(args["direction"]))
        case "escalate":
            heard = state[str(args["topic"])]
            return heard == args["confidence"] == max(state["math"], state["speech"]) >= rules.escalate_percent
        case _:
            calm = state["front"] >= rules.turn_cm and state["battery"] >= rules.dock_percent
            return calm and max(state["math"], state["speech"]) < rules.escalate_percent


def _is_free(state: State, direction: str) -> bool:
    """Say whether this side is as free as the other, or freer."""
    return state[direction] == max(state["left"], state["right"])
