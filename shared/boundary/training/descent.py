"""One loop for every kind of training: a loss per step goes down, and a kill at any moment costs only time.

Step by step everything is drawn from the plan's seed and the step's number, so a checkpoint holds no generator's state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from shared.boundary.training.plan import Plan
from shared.checkpoints import check, note_of
from shared.constant import constant
from shared.errors import ConfigFault
from shared.files import private_folder, write_private
from shared.world import World

BETAS = (0.9, 0.98)
CLIP = constant(1.0, "norm", "NIM-14")
FLOOR = constant(0.02, "share", "NIM-14")  # of the highest learning rate, at the end
POINTS = constant(40, "points", "NIM-14")  # of a recorded curve
CHECKPOINT = "checkpoint.safetensors"
MICRO = 1_000_000
_META = "descent"
_Optimiser = Any  #: torch.optim.AdamW, whose methods carry no full types
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Point(msgspec.Struct, frozen=True):
    """How far a training is, for whoever watches."""

    step: int
    steps: int
    loss_micro: int  #: mean since the point before
    exact_ppm: int | None  #: of some that were held out
    eta_s: float


class Earned(msgspec.Struct, frozen=True):
    """What the sampled calls of a step earned."""

    reward: float  #: mean of the samples
    right: float  #: share of the samples that were the right call
    taught: float  #: share of the groups in which one sample earned more than another


class Lesson(NamedTuple):
    """The loss of one step; and what was earned, where reward is what is trained by."""

    loss: Tensor
    earned: Earned | None = None


Tell = Callable[[Point], None]
LessonAt = Callable[[int], Lesson]
Curve = tuple[tuple[int, int], ...]


class Keeper(Protocol):
    """Whoever keeps what a training has, while it goes on."""

    def kept(self) -> bytes | None:
        """Return the checkpoint to go on from, None at the beginning."""
        ...

    def due(self, step: int) -> bool:
        """Say whether a checkpoint is made after this step."""
        ...

    def keep(self, step: int, checkpoint: bytes) -> None:
        """Keep one checkpoint: one safetensors file."""
        ...

    def stepped(self, step: int, loss: float) -> None:
        """Hear that a step is done."""
        ...


class FolderKeeper(msgspec.Struct, frozen=True):
    """One checkpoint in a folder, written whole or not at all."""

    folder: Path
    every: int

    def kept(self) -> bytes | None:
        path = self.folder / CHECKPOINT
        return path.read_bytes() if path.exists() else None

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def keep(self, step: int, checkpoint: bytes) -> None:
        private_folder(self.folder)
        write_private(self.folder / CHECKPOINT, checkpoint)

    def stepped(self, step: int, loss: float) -> None:
        pass


class Watch(msgspec.Struct, frozen=True):
    """How often a training is looked at, what it then says, and where it keeps what it has."""

    folder: Path
    tell: Tell
    world: World
    every: int = 25  #: steps between two points
    keep_every: int = 100  #: steps between two checkpoints
    keeper: Keeper | None = None  #: who keeps the checkpoints; the folder where nobody is named

    @property
    def keeping(self) -> Keeper:
        """Who keeps the checkpoints."""
        return self.keeper or FolderKeeper(self.folder, self.keep_every)


class _Kept(msgspec.Struct, frozen=True):
    """What a checkpoint says besides its tensors."""

    plan: str
    step: int
    losses: tuple[float, ...]
    earned: tuple[Earned, ...]


class Descent(msgspec.Struct, frozen=True):
    """How a training went, step by step."""

    curve: Curve
    earned: tuple[Earned, ...]  #: empty where calls were imitated


def alone() -> None:
    """Let torch compute on one thread, repeatably; whatever cannot be repeated raises."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature


def descend(
    plan: Plan,
    trained: dict[str, nn.Parameter],
    lesson_at: LessonAt,
    exact: Callable[[], int],
    watch: Watch,
) -> Descent:
    """Train `trained` in place and return how it went. Goes on from the folder's checkpoint, if it is of this plan."""
    optimiser: _Optimiser = torch.optim.AdamW(
        trained.values(), lr=1.0, betas=BETAS, weight_decay=plan.decay_ppm / MICRO
    )
    keeper = watch.keeping
    kept = _restore(plan, trained, optimiser, keeper.kept())
    begun, first, losses, earned = watch.world.elapsed_s(), kept.step, list(kept.losses), list(kept.earned)
    for step in range(first, plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(plan, step)
        lesson = lesson_at(step)
        loss: Any = lesson.loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), CLIP)
        optimiser.step()
        losses.append(loss.item())
        earned += [lesson.earned] if lesson.earned is not None else []
        done = step + 1
        keeper.stepped(done, losses[-1])
        if keeper.due(done) and done < plan.steps:
            keeper.keep(done, _checkpoint(_Kept(plan.digest, done, tuple(losses), tuple(earned)), trained, optimiser))
        if done % watch.every == 0 or done == plan.steps:
            eta_s = (watch.world.elapsed_s() - begun) / (done - first) * (plan.steps - done)
            seen = exact() if done % (watch.every * 4) == 0 or done == plan.steps else None
            watch.tell(Point(done, plan.steps, curve(losses, watch.every)[-1][1], seen, eta_s))
    return Descent(curve(losses, max(plan.steps // POINTS, 1)), tuple(earned))


def rate(plan: Plan, step: int) -> float:
    """Return the learning rate of a step: up in a line, then down along a cosine."""
    down = 0.5 * (1 + math.cos(math.pi * step / plan.steps))
    return plan.peak_ppm / MICRO * min(1.0, (step + 1) / max(plan.warm_up, 1)) * (FLOOR + (1 - FLOOR) * down)


def curve(found: Sequence[float], every: int) -> Curve:
    """Return the mean loss or reward of each stretch of steps, in millionths, with the step at its end."""
    stretches = [found[start : start + every] for start in range(0, len(found), every)]
    ends = [min((place + 1) * every, len(found)) for place in range(len(stretches))]
    return tuple((end, round(math.fsum(part) / len(part) * MICRO)) for end, part in zip(ends, stretches, strict=True))


def forget(folder: Path) -> None:
    """Remove the checkpoint of a training that has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _checkpoint(kept: _Kept, trained: dict[str, nn.Parameter], optimiser: _Optimiser) -> bytes:
    """Return everything that the rest of a training depends on, as one safetensors file."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained.items():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        state: dict[str, Tensor] = optimiser.state[parameter]
        tensors |= {f"{moment}/{name}": state[moment].contiguous() for moment in _MOMENTS}
    return save(tensors, {_META: msgspec.json.encode(kept).decode()})


def _restore(plan: Plan, trained: dict[str, nn.Parameter], optimiser: _Optimiser, raw: bytes | None) -> _Kept:
    """Put a checkpoint's numbers in their places; Refused T009, ConfigFault where it is of another plan."""
    if raw is None:
        return _Kept(plan.digest, 0, (), ())
    check(raw)
    kept, tensors = msgspec.json.decode(note_of(raw, _META), type=_Kept), load(raw)
    if kept.plan != plan.digest:
        raise ConfigFault(
            f"here lies a training by another plan ({kept.plan[:16]}…, this is {plan.digest[:16]}…); "
            "choose another folder, or remove its checkpoint"
        )
    for name, parameter in trained.items():
        parameter.data.copy_(tensors[f"weight/{name}"])
        moments: dict[str, Any] = {moment: tensors[f"{moment}/{name}"] for moment in _MOMENTS}
        optimiser.state[parameter] = moments
    return kept
