"""States that differ in nothing but which of two alike things is which, and the calls that are the same but for that.

The rules treat left and right alike, and what is heard of mathematics and of speech: whoever does not is partial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from shared.boundary.task import Call, Task
from shared.world import SimWorld

SEED = 20_261  #: of the states; no training draws from it


@dataclass(frozen=True, slots=True)
class Mirror:
    """Two fields that may be exchanged, and the call whose argument then names the other one."""

    name: str
    fields: tuple[str, str]
    function: str
    argument: str

    def state(self, state: Mapping[str, int]) -> dict[str, int]:
        """Return a state with the two exchanged."""
        first, second = self.fields
        return dict(state) | {first: state[second], second: state[first]}

    def call(self, call: Call) -> Call:
        """Return a call with the two exchanged."""
        named = call.args.get(self.argument)
        if call.function != self.function or named not in self.fields:
            return call
        other = self.fields[1 - self.fields.index(str(named))]
        return Call(call.function, {**call.args, self.argument: other})

    def group(self, state: Mapping[str, int]) -> str | None:
        """Return to which of two groups a state belongs; None where the two are equal, and the rules have to choose."""
        first, second = self.fields
        if state[first] == state[second]:
            return None
        return f"{first} more" if state[first] > state[second] else f"{second} more"

    def chooses(self, state: Mapping[str, int], call: Call) -> bool:
        """Say whether a call is the one that treats both groups alike: it names the larger of the two."""
        larger = max(self.fields, key=lambda field: state[field])
        return call.function == self.function and call.args.get(self.argument) == larger


SIDES = Mirror("side", ("left", "right"), "turn", "direction")
TOPICS = Mirror("topic", ("math", "speech"), "escalate", "topic")
MIRRORS = (SIDES, TOPICS)


def images(state: Mapping[str, int]) -> list[dict[str, int]]:
    """Return a state and all its mirror images."""
    return [dict(state), SIDES.state(state), TOPICS.state(state), SIDES.state(TOPICS.state(state))]


def mirrored_states(task: Task, count: int, seed: int = SEED) -> Iterator[dict[str, int]]:
    """Yield the task's corners, then `count` drawn states, each with all its mirror images; none comes twice."""
    chance, seen = SimWorld("suite", seed).chance, set[str]()
    for state in chain(task.corners(), (task.drawn(chance) for _ in range(count))):
        for image in images(state):
            prompt = task.prompt(image)
            if prompt not in seen:
                seen.add(prompt)
                yield image
