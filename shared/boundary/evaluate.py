"""Measuring a model as it is served: are all its calls allowed, are they the rules' own, and how long does one take."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.boundary.port import BoundaryFailed, BoundaryModel
from shared.boundary.task import Task
from shared.boundary.translator import RULES, Rules, translate
from shared.world import SimWorld, World

PPM = 1_000_000
SEED = 1_000  #: of the states; no training draws from it


class Measured(msgspec.Struct, frozen=True):
    """What a measurement found, over so many states: the corners of the task first, then states drawn evenly."""

    states: int
    valid: int  #: answered with an allowed call at the first attempt
    exact: int  #: answered as the rules do
    changed: int  #: of the states: those that the usual rules answer otherwise
    changed_exact: int
    balanced_exact_ppm: int  #: the mean of each function's own share, so that a rare one counts as much
    p50_us: int
    p95_us: int
    first_failure: str


async def measure(model: BoundaryModel, task: Task, count: int, world: World, rules: Rules = RULES) -> Measured:
    """Ask a model about `count` states and judge every answer by `rules`; apart, where these are not the usual ones."""
    took: list[int] = []
    by_function = {function.name: [0, 0] for function in task.functions}
    valid, changed, changed_exact, first_failure = 0, 0, 0, ""
    for state in states(task, count):
        wanted, begun = translate(state, rules), world.elapsed_s()
        by_function[wanted.function][0] += 1
        differs = wanted != translate(state)
        changed += differs
        try:
            call = task.read_call(await model.complete(task.prompt(state), 1))
        except (BoundaryFailed, ValueError) as error:
            first_failure = first_failure or f"{state}: {error}"
            continue
        finally:
            took.append(round((world.elapsed_s() - begun) * 1e6))
        valid += 1
        by_function[wanted.function][1] += call == wanted
        changed_exact += differs and call == wanted
    took.sort()
    exact = sum(right for _, right in by_function.values())
    shares = [right * PPM // asked for asked, right in by_function.values() if asked]
    half, most = (took[(len(took) - 1) * percent // 100] for percent in (50, 95))
    balanced = sum(shares) // len(shares)
    return Measured(count, valid, exact, changed, changed_exact, balanced, half, most, first_failure)


def states(task: Task, count: int, seed: int = SEED) -> Iterator[dict[str, int]]:
    """Yield `count` states: the task's corners, then states drawn evenly."""
    chance = SimWorld("evaluate", seed).chance
    corners = task.corners()
    for _ in range(count):
        corner = next(corners, None)
        yield task.drawn(chance) if corner is None else corner
