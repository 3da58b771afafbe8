"""A whole training: from trails to a model's file and its record, in a folder of its own.

trails.jsonl   what was learned from          weights.safetensors   what it became
record.json    everything that led to it      model.gguf            the same, as llama.cpp serves it
loss.svg       how it went
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from blake3 import blake3

from shared.boundary.task import Task
from shared.boundary.training.batches import MICRO, Batches, exact_ppm, imitation
from shared.boundary.training.descent import POINTS, Earned, Lesson, LessonAt, Watch, alone, curve, descend, forget
from shared.boundary.training.export import weights, with_weights, write_gguf
from shared.boundary.training.lora import adapt, fold
from shared.boundary.training.network import Network
from shared.boundary.training.pictures import svg
from shared.boundary.training.plan import Outcome, Plan, Record, Reward, Surroundings
from shared.boundary.training.reinforce import Reinforcement
from shared.boundary.training.trails import Trails, written
from shared.canonical import canonical
from shared.errors import ConfigFault
from shared.files import private_folder, write_private

RECORD, TRAILS, WEIGHTS, MODEL, PICTURE = "record.json", "trails.jsonl", "weights.safetensors", "model.gguf", "loss.svg"
GLANCE = 250  #: held-out trails that are looked at while training goes on


def train(plan: Plan, task: Task, trails: Trails, base: bytes, watch: Watch) -> Record:
    """Carry out a plan and return its record; everything it leaves lies in the watch's folder.

    `base` is the safetensors file that an adaptation begins with, empty for a new network. ConfigFault where trails,
    task or base are not those that the plan names.
    """
    _agree(plan, task, trails, base)
    alone()
    private_folder(watch.folder)
    write_private(watch.folder / TRAILS, written(trails.all))
    network = with_weights(plan.shape, base) if base else Network(plan.shape, plan.seed)
    trained = adapt(network, plan.rank, plan.seed) if plan.rank else dict(network.named_parameters())
    glance = trails.held_out[:GLANCE]
    lessons = _lessons(plan, task, network, trails)
    went = descend(plan, trained, lessons, lambda: exact_ppm(network, task, glance), watch)
    fold(network)
    exact = exact_ppm(network, task, trails.held_out)
    outcome = Outcome(len(trails.held_out), exact, went.curve, _reward(went.earned))
    record = _leave(plan, task, network, outcome, watch.folder)
    forget(watch.folder)
    return record


def _lessons(plan: Plan, task: Task, network: Network, trails: Trails) -> LessonAt:
    if plan.stage == "reinforce":
        return Reinforcement(plan, task, network, trails.learned).lesson_at
    batches = Batches(task, trails.learned, plan.batch, plan.seed)

    return lambda step: Lesson(imitation(network, *batches.at(step)))


def _reward(earned: Sequence[Earned]) -> Reward | None:
    if not earned:
        return None
    right, taught = (
        round(math.fsum(shares) / len(earned) * MICRO)
        for shares in ([each.right for each in earned], [each.taught for each in earned])
    )
    return Reward(curve([each.reward for each in earned], max(len(earned) // POINTS, 1)), right, taught)


def _agree(plan: Plan, task: Task, trails: Trails, base: bytes) -> None:
    """Hold what is given against what the plan names."""
    found = {"task": task.digest, "data": trails.digest, "base": blake3(base).hexdigest() if base else ""}
    for name, digest in found.items():
        if getattr(plan, name) != digest:
            raise ConfigFault(f"the plan names {name} {getattr(plan, name)[:16]}…, found {digest[:16]}…")


def _leave(plan: Plan, task: Task, network: Network, outcome: Outcome, folder: Path) -> Record:
    """Write what a training leaves, the record last."""
    raw = weights(network)
    write_private(folder / WEIGHTS, raw)
    draft = folder / f"{MODEL}.draft"
    write_gguf(network, task, plan.digest, draft)
    model = draft.read_bytes()
    write_private(folder / MODEL, model)
    write_private(folder / PICTURE, svg(outcome.curve, plan.stage))
    record = Record(
        plan=plan,
        surroundings=Surroundings.here(),
        parameters=network.size(),
        weights=blake3(raw).hexdigest(),
        model=blake3(model).hexdigest(),
        model_bytes=len(model),
        outcome=outcome,
    )
    write_private(folder / RECORD, canonical(record))
    return record
