"""How the function boundary's model is trained: the same network and loop as `train boundary`, on trails of a dataset.

A record's text is one trail. With a base (a safetensors file of weights) low-rank adapters are trained beside it and
folded in; without one the network is new. Its sizes are hyperparameters, so that a small one can be tried first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from organs.trainer.recipes import BASE, Given, Left, Teller
from organs.trainer.records import texts
from shared.errors import Refusal
from shared.subjects.training import JobSpec
from shared.training.jobs import BATCH, KEEP_EVERY, LEARNING_RATE
from shared.world import RealWorld

if TYPE_CHECKING:  # it needs the extra `train`
    from shared.boundary.training.descent import Point
    from shared.boundary.training.plan import Plan

MEDIA_TYPE = "application/x-gguf"
SIZES = ("width", "inner", "layers", "heads", "head")
OTHERS = (LEARNING_RATE, BATCH, "warm_up", "decay_ppm", "rank", KEEP_EVERY)
LARGEST = 4_096


class BoundaryRecipe:
    """Trains the family `boundary` on datasets of trails."""

    family = "boundary"
    name = "boundary_recipe 1.0.0"
    kinds = ("trails",)
    backends = ("torch",)
    sources = ("shared/boundary", "organs/trainer/boundary_recipe.py", "organs/trainer/records.py")

    def check(self, spec: JobSpec) -> Refusal | None:
        """Refuse T003 what the plan of a training does not know, and sizes that nothing here holds."""
        given = spec.hyperparameters
        odd = set(given) - {*SIZES, *OTHERS}
        if odd:
            return Refusal("T003", f"{self.name} knows {', '.join((*SIZES, *OTHERS))}; found {', '.join(sorted(odd))}")
        for name, value in given.items():
            low = 0 if name in ("warm_up", "decay_ppm") else 1
            if value < low or (name in SIZES and value > LARGEST):
                return Refusal("T003", f"hyperparameters.{name} is {value}, expected {low} or more, sizes to {LARGEST}")
        if "rank" in given and not spec.base:
            return Refusal("T003", "rank is that of the adapters beside a base; name a base, or leave the rank away")
        return None

    def run(self, given: Given, tell: Teller) -> Left:
        """Train, and leave the weights and the same as a GGUF file."""
        from shared.boundary.task import TASK
        from shared.boundary.training.descent import Watch
        from shared.boundary.training.trails import read_lines
        from shared.boundary.training.training import MODEL, WEIGHTS, train

        trails = read_lines((text.encode() for text in texts(given.data, given.spec)), "the dataset", TASK)
        base = (given.data / BASE).read_bytes() if given.spec.base else b""
        plan = plan_of(given.spec, trails.digest, base)
        keeper = _Keeper(given.begun, tell, plan.batch)
        record = train(plan, TASK, trails, base, Watch(given.out, _quiet, RealWorld("worker"), keeper=keeper))
        measured = {"exact_ppm": record.outcome.exact_ppm, "held_out": record.outcome.held_out}
        return Left(WEIGHTS, MODEL, MEDIA_TYPE, record.outcome.curve, record.parameters, measured)


class _Keeper:
    """Hands what the loop keeps to the worker."""

    def __init__(self, begun: bytes | None, tell: Teller, batch: int) -> None:
        self._begun, self._tell, self._batch = begun, tell, batch

    def kept(self) -> bytes | None:
        return self._begun

    def due(self, step: int) -> bool:
        return self._tell.due(step)

    def keep(self, step: int, checkpoint: bytes) -> None:
        self._tell.keep(step, checkpoint)

    def stepped(self, step: int, loss: float) -> None:
        self._tell.stepped(step, loss, self._batch)


def plan_of(spec: JobSpec, data: str, base: bytes) -> Plan:
    """Return the plan that a job is, on trails of this digest."""
    from shared.boundary.task import TASK
    from shared.boundary.tokens import Vocabulary
    from shared.boundary.training.network import Shape
    from shared.boundary.training.plan import DECAY_PPM, PEAK_PPM, RANK, TRAINING_BATCH, WARM_UP, Plan

    given = spec.hyperparameters
    return Plan(
        stage="adapt" if base else "learn",
        task=TASK.digest,
        data=data,
        base=blake3(base).hexdigest() if base else "",
        shape=Shape(len(Vocabulary(TASK)), **{name: given[name] for name in SIZES if name in given}),
        seed=spec.seed,
        steps=spec.steps,
        batch=given.get(BATCH, TRAINING_BATCH),
        peak_ppm=given.get(LEARNING_RATE, PEAK_PPM),
        warm_up=given.get("warm_up", WARM_UP),
        decay_ppm=given.get("decay_ppm", 0 if base else DECAY_PPM),
        rank=given.get("rank", RANK) if base else 0,
    )


def _quiet(point: Point) -> None:
    """Say nothing: the worker tells of every step."""


RECIPE = BoundaryRecipe()
