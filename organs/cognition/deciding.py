"""A state is decided, not talked about: the boundary's small model, or its rules, choose one typed function call."""

from __future__ import annotations

import msgspec

from organs.cognition.port import Asked, Said
from organs.cognition.shape import Shape
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.part.organ import Asking
from shared.subjects.boundary import Transformed, TransformRequest
from shared.subjects.cognition import DownstreamCommand

DECIDE_ULF = constant(300_000, "micro-lifeforce", "NIM-07")
DECIDE_S = constant(10.0, "s", "NIM-07")
LARGEST = constant(2**53, "of a state's numbers", "X-12")


class Called(msgspec.Struct, frozen=True):
    """A function call as the boundary writes it."""

    function: str
    args: dict[str, str | int]


def state_in(text: str) -> dict[str, int] | None:
    """Return the state that a text is, a JSON object of whole numbers; None where it is anything else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, int]) or None
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


async def decide(bus: Asking, asked: Asked, state: dict[str, int]) -> Said:
    """Return the boundary's call for a state, with who made it.

    Refused F001 where it is no state of the boundary's task, B006 where there is no boundary, and L003 where a shape
    was asked for that its call does not have.
    """
    shape = Shape.parse(asked.json_schema) if asked.json_schema else None
    if any(not -LARGEST <= number <= LARGEST for number in state.values()):
        raise Refused(Refusal("F001", f"a number of a state lies between {-LARGEST} and {LARGEST}"))
    answer = await bus.request(TransformRequest(state), DECIDE_S)
    if isinstance(answer, Refusal):
        raise Refused(Refusal(answer.code, f"the boundary does not decide: {answer.detail or answer.name}"))
    assert isinstance(answer, Transformed)
    wrong = shape.wrong(answer.call) if shape else ""
    if wrong:
        raise Refused(
            Refusal("L003", f"the boundary called {answer.call}, which is not of the shape asked for: {wrong}")
        )
    return Said("decided", answer.call, 0, model=answer.speaker)


def commands_of(domain: str, said: Said) -> tuple[DownstreamCommand, ...]:
    """Return what an answer asks others to do: of a call, itself, addressed to the domain that was asked about."""
    if said.decision != "decided":
        return ()
    call = msgspec.json.decode(said.answer.encode(), type=Called)
    return (DownstreamCommand(domain, call.function, msgspec.json.encode(call.args).decode()),)
