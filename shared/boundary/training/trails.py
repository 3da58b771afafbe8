"""Decision trails as training data: one JSON line per decision, what was known and what was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import msgspec
from blake3 import blake3

from shared.boundary.task import Call, Task
from shared.boundary.translator import RULES, Rules, translate
from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused
from shared.world import SimWorld

NEAR_EDGE_SHARE = constant(0.4, "share", "NIM-14")  # of trails made up near an edge, where a rule is decided
NEAR_STEPS = constant(4, "steps", "NIM-14")  # how near
HELD_OUT = constant(50, "trails", "NIM-14")  # of so many one is never trained on
MAX_TRAILS = constant(1_000_000, "trails", "NIM-14")
#: Pairs of fields that rules compare with each other.
COMPARED = (("left", "right"), ("math", "speech"))


class Trail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision: the state it was made in, and the call that was right."""

    call: Call
    state: dict[str, int]


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in a log trails were decided: its genesis' fingerprint, and the indices of the first and last of them."""

    log: str
    first: int
    last: int
    unjudged: int  #: states left out: a model spoke there, and nobody said what is right


class Trails(msgspec.Struct, frozen=True):
    """Training data and its digest: BLAKE3 of the canonical lines, whatever file they came from."""

    all: tuple[Trail, ...]
    digest: str
    origin: Origin | None = None  #: None where they come from no log

    @classmethod
    def of(cls, trails: Sequence[Trail]) -> Trails:
        """Return trails with their digest."""
        return cls(tuple(trails), blake3(written(trails)).hexdigest())

    @property
    def learned(self) -> list[Trail]:
        """What is trained on."""
        return [trail for place, trail in enumerate(self.all) if (place + 1) % HELD_OUT]

    @property
    def held_out(self) -> list[Trail]:
        """What is never trained on, and measured with."""
        return [trail for place, trail in enumerate(self.all) if not (place + 1) % HELD_OUT]


def written(trails: Sequence[Trail]) -> bytes:
    """Return trails as JSON lines, states and arguments in the task's own order."""
    return b"".join(msgspec.json.encode(trail) + b"\n" for trail in trails)


def read_trails(path: Path, task: Task) -> Trails:
    """Return the trails of a file; Refused F003 names the first line that is none."""
    with path.open("rb") as file:
        return read_lines(file, path.name, task)


def read_lines(lines: Iterable[bytes], name: str, task: Task) -> Trails:
    """Return the trails of some lines; Refused F003 names the first line that is none."""
    found: list[Trail] = []
    for number, line in enumerate(lines, 1):
        if number > MAX_TRAILS:
            raise Refused(Refusal("F003", f"{name} has more than {MAX_TRAILS} lines"))
        found.append(_read(line, f"{name}, line {number}", task))
    return Trails.of(found)


def made_up(task: Task, count: int, seed: int, rules: Rules = RULES, near: float = NEAR_EDGE_SHARE) -> Trails:
    """Return `count` trails that the rules answer, every function as often; the same seed makes the same trails."""
    chance = SimWorld("train", seed, "trails").chance
    functions = [function.name for function in task.functions]
    return Trails.of(
        [_one_of(task, functions[int(chance() * len(functions))], rules, near, chance) for _ in range(count)]
    )


def made_up_changed(task: Task, count: int, seed: int, before: Rules, after: Rules) -> Trails:
    """Return trails of changed rules: every second one lies where the change is, the others replay all the rest."""
    chance = SimWorld("train", seed, "changed").chance
    rest = made_up(task, count - count // 2, seed, after).all
    changed = [_one_changed(task, before, after, chance) for _ in range(count // 2)]
    return Trails.of([trail for pair in zip_longest(rest, changed) for trail in pair if trail is not None])


def _one_of(task: Task, function: str, rules: Rules, near: float, chance: Callable[[], float]) -> Trail:
    """Return a trail that ends in this function: states are drawn until the rules call it."""
    close = chance() < near
    while True:
        state = _any_state(task, chance)
        if close:
            _bring_near(task, state, rules, chance)
        call = translate(state, rules)
        if call.function == function:
            return Trail(call, state)


def _one_changed(task: Task, before: Rules, after: Rules, chance: Callable[[], float]) -> Trail:
    """Return a trail that the rules before would have answered otherwise."""
    for _ in range(MAX_TRAILS):
        state = _any_state(task, chance)
        if translate(state, before) != translate(state, after):
            return Trail(translate(state, after), state)
    raise ConfigFault(f"the changed rules answer all of {MAX_TRAILS} states as before; there is nothing to learn")


def _any_state(task: Task, chance: Callable[[], float]) -> dict[str, int]:
    return task.drawn(chance)


def _bring_near(task: Task, state: dict[str, int], rules: Rules, chance: Callable[[], float]) -> None:
    """Move one field to an edge of a rule, or two compared fields to each other."""
    bounds = {field.name: field for field in task.fields}
    away = round((2 * chance() - 1) * NEAR_STEPS)
    edges = rules.edges()
    place = int(chance() * (len(edges) + len(COMPARED) * 2))
    if place < len(edges):
        name, value = edges[place]
    else:
        other, name = COMPARED[(place - len(edges)) % len(COMPARED)]
        value = state[other]
    state[name] = max(bounds[name].low, min(bounds[name].high, value + away))


def _read(line: bytes, where: str, task: Task) -> Trail:
    try:
        trail = msgspec.json.decode(line, type=Trail)
        state = task.checked(trail.state)
    except msgspec.MsgspecError as error:
        raise Refused(Refusal("F003", f"{where}: {error}")) from None
    except Refused as no:
        raise Refused(Refusal("F003", f"{where}: {no.refusal.detail}")) from None
    call = task.in_order(trail.call)
    if not task.allows(call):
        raise Refused(Refusal("F003", f"{where}: the task allows no such call"))
    return Trail(call, state)
