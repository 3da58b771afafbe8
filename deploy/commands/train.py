"""`train boundary`: a model for the function boundary from decision trails, repeatable byte for byte."""

from __future__ import annotations

import importlib
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from deploy.commands.boundary import harvested
from deploy.terminal import Terminal
from shared.boundary.task import TASK
from shared.boundary.translator import RULES, changed_rules
from shared.config import Loaded
from shared.constant import constant
from shared.errors import ConfigFault, Exit
from shared.extras import how_to_install
from shared.home import place
from shared.world import RealWorld

if TYPE_CHECKING:  # they need the extra `train`, which most machines lack
    from shared.boundary.training.descent import Point, Watch
    from shared.boundary.training.plan import Plan, Record
    from shared.boundary.training.trails import Trails

EXTRA = ("torch", "gguf")
REINFORCE_STATES = constant(16, "states", "NIM-14")  # per step
REINFORCE_GROUP = constant(8, "samples", "NIM-14")  # per state
REINFORCE_STEPS = constant(100, "steps", "NIM-14")
REINFORCE_PEAK_PPM = constant(1_000, "ppm", "NIM-14")
TEMPERATURE_PPM = constant(1_300_000, "ppm", "NIM-14")
DRIFT_PPM = constant(10_000, "ppm", "NIM-14")
PPM = 1_000_000


def boundary(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Train a new model, adapt one to changed rules, or repeat a recorded training and compare."""
    _need_extra()
    from shared.boundary.training.training import train
    from shared.canonical import canonical

    out: Path = args.out or place(loaded.settings) / "training" / "boundary"
    before = _record(args.repeat) if args.repeat else None
    base = _base(args.start)
    trails = _trails(args, before, loaded, terminal)
    plan = before.plan if before else _plan(args, trails, base)
    terminal.note(f"{plan.stage}: {plan.steps} steps on {len(trails.learned)} trails, by plan {plan.digest}")
    record = train(plan, TASK, trails, base, _watch(out, terminal, loaded))
    warnings = _warnings(record)
    told = {"record": record.digest, "folder": str(out), "warnings": sorted(warnings)}
    terminal.give(msgspec.to_builtins(record) | told, _sentence(record, out))
    for name, why in warnings.items():
        terminal.note(f"{name}: {why}")
    if before is None or canonical(before) == canonical(record):
        return Exit.OK
    terminal.note(_difference(before, record))
    return Exit.FAILED


def _need_extra() -> None:
    for name in EXTRA:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            raise ConfigFault(
                f"training needs {name}, which is not installed here: {how_to_install('train')}"
            ) from None


def _trails(args: Namespace, before: Record | None, loaded: Loaded, terminal: Terminal) -> Trails:
    """Return what is learned from: the log's, a file's, those beside a record, or made up by the rules."""
    from shared.boundary.training.plan import TRAINING_BATCH
    from shared.boundary.training.trails import HELD_OUT, made_up, made_up_changed, read_trails
    from shared.boundary.training.training import TRAILS

    if args.from_log and (args.trails or before):
        raise ConfigFault("--from-log takes the trails from the log; give no --trails and no --repeat with it")
    if args.from_log:
        return harvested(None, loaded, terminal)
    if args.trails or before:
        path: Path = args.trails or args.repeat.parent / TRAILS
        if not path.is_file():
            raise ConfigFault(f"there is no file {path}; give one JSON line per decision")
        return read_trails(path, TASK)
    if args.start is None or (args.reinforce and not args.rule):
        return made_up(TASK, _steps(args) * TRAINING_BATCH * HELD_OUT // (HELD_OUT - 1) + HELD_OUT, args.seed)
    return made_up_changed(
        TASK, _steps(args) * TRAINING_BATCH + TRAINING_BATCH * 4, args.seed, RULES, changed_rules(args.rule)
    )


def _plan(args: Namespace, trails: Trails, base: bytes) -> Plan:
    from shared.boundary.tokens import Vocabulary
    from shared.boundary.training.network import Shape
    from shared.boundary.training.plan import RANK, Plan
    from shared.boundary.training.training import RECORD

    if args.start is None:
        shape = Shape(len(Vocabulary(TASK)))
        return Plan(
            stage="learn",
            task=TASK.digest,
            data=trails.digest,
            origin=trails.origin,
            shape=shape,
            seed=args.seed,
            steps=_steps(args),
        )
    from blake3 import blake3

    shape = _record(args.start / RECORD).plan.shape
    adapted = Plan(
        stage="adapt",
        task=TASK.digest,
        data=trails.digest,
        origin=trails.origin,
        base=blake3(base).hexdigest(),
        shape=shape,
        seed=args.seed,
        steps=_steps(args),
        rank=RANK,
        decay_ppm=0,
    )
    if not args.reinforce:
        return adapted
    return msgspec.structs.replace(
        adapted,
        stage="reinforce",
        batch=REINFORCE_STATES,
        group=REINFORCE_GROUP,
        peak_ppm=REINFORCE_PEAK_PPM,
        temperature_ppm=TEMPERATURE_PPM,
        drift_ppm=DRIFT_PPM,
    )


def _steps(args: Namespace) -> int:
    from shared.boundary.training.plan import ADAPT_STEPS, LEARN_STEPS

    usual = LEARN_STEPS if args.start is None else REINFORCE_STEPS if args.reinforce else ADAPT_STEPS
    return args.steps or usual


def _base(folder: Path | None) -> bytes:
    from shared.boundary.training.training import WEIGHTS

    if folder is None:
        return b""
    if not (folder / WEIGHTS).is_file():
        raise ConfigFault(f"{folder} holds no {WEIGHTS}; give the folder of an earlier training")
    return (folder / WEIGHTS).read_bytes()


def _record(path: Path) -> Record:
    from shared.boundary.training.plan import read_record

    if not path.is_file():
        raise ConfigFault(f"there is no training record {path}")
    return read_record(path.read_bytes())


def _watch(out: Path, terminal: Terminal, loaded: Loaded) -> Watch:
    from shared.boundary.training.descent import Watch

    def tell(point: Point) -> None:
        exact = "" if point.exact_ppm is None else f"  exact {point.exact_ppm / PPM:.1%}"
        terminal.note(
            f"step {point.step:>5} of {point.steps}  loss {point.loss_micro / PPM:.4f}{exact}  {point.eta_s:.0f} s left"
        )

    return Watch(out, tell, RealWorld(loaded.settings.env))


def _sentence(record: Record, out: Path) -> str:
    from shared.boundary.training.pictures import sparkline

    outcome, origin = record.outcome, record.plan.origin
    exact = f"{outcome.exact_ppm / PPM:.2%} of {outcome.held_out} trails that were held out"
    lines = [
        f"loss     {sparkline(outcome.curve)}",
        f"exact    {exact if outcome.held_out else 'nothing was held out'}",
    ]
    if outcome.reward is not None:
        (_, first), (_, last) = outcome.reward.curve[0], outcome.reward.curve[-1]
        seen = f"{outcome.reward.right_ppm / PPM:.2%} of the samples were right"
        lines.append(f"reward   {first / PPM:.3f} at first, {last / PPM:.3f} at last; {seen}")
    if origin is not None:
        lines.append(f"trails   {record.plan.data}, entries {origin.first} to {origin.last} of the log {origin.log}")
    return "\n".join(
        [
            *lines,
            f"model    {record.model}  ({record.parameters} parameters, {record.model_bytes} bytes)",
            f"weights  {record.weights}",
            f"record   {record.digest}",
            f"in {out}; `nimmerverse boundary install {out / 'model.gguf'} --exemption dev_install` lets it speak",
        ]
    )


def _warnings(record: Record) -> dict[str, str]:
    """Return what a user should know before installing the model, by name."""
    reward, found = record.outcome.reward, dict[str, str]()
    if reward is not None and not reward.taught_ppm:
        found["nothing_taught"] = (
            "in no group did one sampled call earn more than another, so nothing was learned and the model is the one "
            "it began with"
        )
    if reward is not None and not reward.right_ppm:
        found["never_right"] = (
            "no sampled call was the right one: reward cannot teach what is never tried; let the model imitate first "
            "(--from without --reinforce)"
        )
    if not record.outcome.held_out:
        found["nothing_held_out"] = "the trails are too few to hold one out, so nobody knows how good the model is"
    return found


def _difference(before: Record, after: Record) -> str:
    """Return the sentence for a repeat that came out otherwise: what differs, and what explains it."""
    changed = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)]
    if before.surroundings != after.surroundings:
        return (
            f"the repeat differs in {', '.join(changed)}; its surroundings were {before.surroundings} then, and are "
            f"{after.surroundings} here"
        )
    return (
        f"in the same surroundings the repeat differs in {', '.join(changed)}: model {before.model} then, "
        f"{after.model} here"
    )
