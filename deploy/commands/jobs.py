"""`train submit`, `status`, `cancel`, `jobs` and `reproduce`: trainings that the log decides on and remembers."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path

import msgspec

from deploy.asking import asked
from deploy.attach import operator
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from organs.trainer.backends import Backends
from organs.trainer.data import Materials
from organs.trainer.processes import ProcessCrew
from organs.trainer.recipes import recipe_of
from organs.trainer.repeating import Repeating, altered
from organs.trainer.run import RunFailed
from shared.artifacts import read, store_of
from shared.boundary.training.pictures import sparkline, svg
from shared.bus import Bus, Delivery
from shared.codec import decode
from shared.config import Loaded
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Fault, Refusal, Refused
from shared.files import storing
from shared.subjects.system import Decided
from shared.subjects.training import (
    CancelJob,
    JobMoved,
    JobProgressed,
    JobSpec,
    JobStated,
    JobStatus,
    JobSubmitted,
    RecordReproduction,
    RunRecorded,
    SubmitJob,
)
from shared.training.jobs import ENDED, PPM, job_of
from shared.training.record import MAX_RECORD_BYTES, Comparison, RunRecord, compare, read_record
from shared.vault import people_of
from shared.world import RealWorld

WATCH_S = 0.5  #: between two looks at a job that is waited for
_TAKEN = "T012"


def submit(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Submit a job, and with --wait follow it to its end; 1 where it did not complete."""
    spec = _spec(args)

    async def main() -> Exit:
        job = job_of(spec, OPERATOR)
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(SubmitJob(spec, OPERATOR))
            if isinstance(answer, Refusal) and answer.code != _TAKEN:
                raise Refused(answer)
            if isinstance(answer, Refusal):
                terminal.note(str(answer))
            if not args.wait:
                terminal.give({"job": job}, f"{job}  `nimmerverse train status {job}` says where it stands")
                return Exit.OK
            stated = await _followed(bus, job, terminal)
            record = await _recorded(loaded, stated)
        _tell(stated, record, terminal, args.plot)
        return Exit.OK if stated.state == "completed" else Exit.FAILED

    return finish(main())


def status(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Say where a job stands, and how its loss went."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            stated = await asked(bus, JobStatus(args.job), JobStated)
            record = await _recorded(loaded, stated)
        _tell(stated, record, terminal, args.plot)
        return Exit.OK

    return finish(main())


def cancel(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Cancel a job that has not ended."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            decided = await asked(bus, CancelJob(args.job, args.reason), Decided)
        terminal.give(msgspec.to_builtins(decided), f"cancelled, says ({decided.index}, {decided.offset})")
        return Exit.OK

    return finish(main())


def jobs(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List every job of the log, last one first."""

    async def main() -> Exit:
        found: dict[str, tuple[JobSubmitted, str, int, str]] = {}
        async with operator(loaded, terminal.note) as bus:
            async for verdict in bus.replay():
                for new, _ in decisions_in(verdict, JobSubmitted):
                    found[new.job] = (new, "pending", 0, "")
                for moved, _ in decisions_in(verdict, JobMoved):
                    found[moved.job] = (found[moved.job][0], moved.state, moved.step, moved.reason)
        rows = list(reversed(found.values()))
        told = [
            {"job": new.job, "family": new.spec.family, "state": state, "step": step, "steps": new.spec.steps}
            | {"reason": reason, "by": new.by}
            for new, state, step, reason in rows
        ]
        lines = [
            f"{new.job}  {new.spec.family:<12} {state:<10} {step:>5} of {new.spec.steps}  {reason}"
            for new, state, step, reason in rows
        ]
        terminal.give({"jobs": told}, "\n".join(lines) or "the log holds no job yet; `train submit` makes one")
        return Exit.OK

    return finish(main())


def reproduce(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Repeat a recorded run in a folder of its own, compare the bytes, and have the log say what came of it."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            run = await _run_of(bus, args.which)
            compared = await _repeated(run, args, loaded, terminal)
            decided = await asked(
                bus, RecordReproduction(run.job, run.record, compared.verdict, compared.detail), Decided
            )
        told = {"job": run.job, "record": run.record, "verdict": compared.verdict, "detail": compared.detail}
        sentence = compared.verdict + (f": {compared.detail}" if compared.detail else "")
        terminal.give(told | {"index": decided.index, "offset": decided.offset}, sentence)
        return Exit.OK if compared.verdict == "reproduced" else Exit.FAILED

    return finish(main())


def _spec(args: Namespace) -> JobSpec:
    recipe = recipe_of(args.family)
    return JobSpec(
        family=args.family,
        recipe=recipe.name,
        backend=args.backend,
        datasets=args.dataset,
        base=args.base or "",
        hyperparameters=_numbers(args.hyper),
        seed=args.seed,
        steps=args.steps,
        workers=args.workers,
        heavy=args.heavy,
        reason=args.reason,
        proposal=args.proposal or args.exemption or "",
    )


def _numbers(given: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in given:
        name, _, number = item.partition("=")
        if not name or not number.removeprefix("-").isdecimal():
            raise ConfigFault(f"--hyper {item!r}: write NAME=NUMBER, for instance learning_rate_ppm=4000")
        found[name] = int(number)
    return found


async def _followed(bus: Bus, job: str, terminal: Terminal) -> JobStated:
    """Return where a job stands when it has ended; meanwhile say how far it is."""
    curve: list[tuple[int, int]] = []

    def hear(delivery: Delivery) -> None:
        progressed = decode(JobProgressed, delivery.data)
        if progressed.job == job and progressed.step > (curve[-1][0] if curve else 0):
            curve.append((progressed.step, progressed.loss_micro))
            rate = f"{progressed.samples_per_s} samples/s"
            far = f"step {progressed.step:>5} of {progressed.steps}  loss {progressed.loss_micro / PPM:.4f}"
            terminal.note(f"{far}  {sparkline(curve[-40:])}  {rate}")

    subscription = await bus.subscribe(JobProgressed.pattern(bus.env), hear)
    said = ""
    try:
        while True:
            stated = await asked(bus, JobStatus(job), JobStated)
            where = f"{stated.state} {stated.reason}".strip()
            if where != said:
                said = where
                terminal.note(where)
            if stated.state in ENDED:
                return stated
            await bus.world.sleep(WATCH_S)
    finally:
        await subscription.close()


async def _recorded(loaded: Loaded, stated: JobStated) -> RunRecord | None:
    """Return the record of a job's run, None where it has none yet."""
    if not stated.record:
        return None
    store = store_of(loaded.settings, RealWorld(loaded.settings.env))
    await store.prepare()
    try:
        return read_record(await read(store, stated.record, MAX_RECORD_BYTES))
    finally:
        await store.close()


def _tell(stated: JobStated, record: RunRecord | None, terminal: Terminal, plot: Path | None) -> None:
    """Print where a job stands; with a record also its loss, as a line here and as a file where one is named."""
    lines = [
        f"{stated.state}  step {stated.step} of {stated.steps}, attempt {stated.attempt}  {stated.reason}".rstrip()
    ]
    if record is not None:
        measured = ", ".join(f"{name} {value}" for name, value in sorted(record.measured.items()))
        lines += [f"loss     {sparkline(record.curve)}", f"measured {measured}", f"model    {record.model}"]
        lines += [f"weights  {record.weights}", f"record   {stated.record}"]
        if plot is not None:
            with storing(plot):
                plot.write_text(svg(record.curve, record.spec.family))
    elif plot is not None:
        terminal.note("there is no curve to draw before the run is recorded")
    told = msgspec.to_builtins(stated) | ({"curve": record.curve, "weights": record.weights} if record else {})
    terminal.give(told, "\n".join(lines))


async def _run_of(bus: Bus, name: str) -> RunRecorded:
    """Return the recorded run that a job's id or a record's digest names. Refused T001."""
    found: RunRecorded | None = None
    async for verdict in bus.replay():
        for recorded, _ in decisions_in(verdict, RunRecorded):
            if name in (recorded.job, recorded.record):
                found = recorded
    if found is None:
        raise Refused(Refusal("T001", f"the log records no run of {name[:80]!r}; `nimmerverse train jobs` lists jobs"))
    return found


async def _repeated(run: RunRecorded, args: Namespace, loaded: Loaded, terminal: Terminal) -> Comparison:
    """Return what came of repeating a run."""
    world = RealWorld(loaded.settings.env)
    store = store_of(loaded.settings, world)
    await store.prepare()
    try:
        before = read_record(await read(store, run.record, MAX_RECORD_BYTES))
        materials = Materials(store, people_of(loaded.settings, world))
        given = [*args.alter, *([f"workers={args.workers}"] if args.workers else [])]
        spec = altered(before.spec, given)
        gone = await materials.erased(spec)
        if gone:
            return Comparison("erased", gone)
        crew = ProcessCrew(Backends(loaded.settings.home / "backends"), world)
        terminal.note(f"{spec.family}: {spec.steps} steps with {spec.workers} workers, as {run.record} says")
        with tempfile.TemporaryDirectory() as folder:
            after = await Repeating(spec, crew, materials, Path(folder) / "run", world).go()
        return compare(before, after)
    except RunFailed as failed:
        raise Fault(str(failed)) from None
    finally:
        await store.close()
