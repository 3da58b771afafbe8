"""`eval suites`, `eval run` and `eval show`: what a model is worth, measured, beside what is demanded of it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import msgspec

from deploy import measures
from deploy.attach import operator
from deploy.commands.artifact import pieces_of, the_store
from deploy.commands.dataset import ask, busy, find, in_log
from deploy.commands.task import finish
from deploy.host import OPERATOR
from deploy.terminal import Terminal
from organs.evaluator.families import FAMILIES
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import Exit, Refusal, Refused
from shared.files import storing
from shared.subjects.artifacts import RegisterArtifact
from shared.subjects.evaluation import Evaluated, EvaluateModel, EvaluationDone, Recommended

MEASURE_S = constant(7_200.0, "s", "ILL-06")
MODEL_TYPE = "application/octet-stream"


def suites(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the product's own suites, and every dataset that was registered to evaluate."""

    async def main() -> Exit:
        for name, family in FAMILIES.items():
            for suite, content in family.shipped.items():
                shown = {"family": name, "suite": suite, "lines": content.count(b"\n"), "dataset": None}
                terminal.give(shown, f"{name:<10} {suite:<14} {shown['lines']:>7} lines, the product's own")
        async with operator(loaded, terminal.note) as bus:
            for dataset, known in (await in_log(bus)).items():
                facts = known.registered.facts
                if facts.use == "evaluate":
                    measured = [name for name, family in FAMILIES.items() if facts.kind in family.kinds]
                    shown = {"family": measured, "suite": facts.name, "lines": facts.records, "dataset": dataset}
                    line = f"{'|'.join(measured) or 'nobody':<10} {dataset[:14]} {facts.records:>7} lines, {facts.name}"
                    terminal.give(shown, line)
        return Exit.OK

    return finish(main())


def run(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Measure a model by a suite; fails where what is demanded is not measured, or does not hold."""
    path = Path(args.model)
    put = path if path.is_file() else None

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            model = args.model if put is None else await _put(bus, put, loaded, terminal)
            suite = args.suite
            if suite not in (FAMILIES[args.family].shipped if args.family in FAMILIES else ()):
                suite = await _dataset(bus, suite)
            with busy(f"measuring {model[:16]} by {args.suite}", terminal):
                done = await ask(bus, EvaluateModel(model, args.family, suite), MEASURE_S)
            assert isinstance(done, EvaluationDone)
            found, advice = await _of(bus, model)
        mine = [one for one in found if one.report == done.report]
        return _shown(mine, [one for one in advice if one.report == done.report], args.plot, terminal)

    return finish(main())


def show(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Show everything that was measured of a model, the newest word of each suite."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found, advice = await _of(bus, args.model)
        if not found:
            raise Refused(Refusal("V001", f"nothing was measured of {args.model[:80]}; see `nimmerverse eval run`"))
        newest = {one.dataset: one for one in found}
        reports = {one.report for one in newest.values()}
        advised = {one.report: one for one in advice if one.report in reports}
        return _shown([*newest.values()], [*advised.values()], args.plot, terminal)

    return finish(main())


def _shown(found: list[Evaluated], advice: list[Recommended], plot: Path | None, terminal: Terminal) -> Exit:
    for one in found:
        told = [said for said in advice if said.report == one.report]
        shown = msgspec.to_builtins(one) | {"missing": measures.missing(one)}
        head = f"{one.family} {one.model[:16]} by {one.suite}, in {one.elapsed_ms / 1_000:.1f} s; report {one.report}"
        lines = [head, *measures.lines(one), *(f"speaks for: {said.recommendation}, {said.reason}" for said in told)]
        terminal.give(shown | {"recommended": msgspec.to_builtins(told)}, "\n".join(lines))
    if plot is not None:
        with storing(plot):
            plot.write_text(measures.svg(found), encoding="utf-8")
        terminal.note(f"{plot}: {len(found)} evaluations")
    sound = all(
        not measures.missing(one) and "FAILS" not in {measures.verdict(metric, one.family) for metric in one.metrics}
        for one in found
    )
    return Exit.OK if sound else Exit.FAILED


async def _put(bus: Bus, path: Path, loaded: Loaded, terminal: Terminal) -> str:
    """Put a model's file into the store, have it registered, and return its digest."""
    kept = await (await the_store(loaded)).put(pieces_of(path), MODEL_TYPE)
    await ask(bus, RegisterArtifact(kept.blake3, "model", path.name, OPERATOR, []))
    terminal.note(f"{path}: {kept.blake3}")
    return kept.blake3


async def _dataset(bus: Bus, named: str) -> str:
    """Return the digest of a registered suite; what is none is left to the evaluator's own word."""
    try:
        return await find(bus, named)
    except Refused:
        return named


async def _of(bus: Bus, model: str) -> tuple[list[Evaluated], list[Recommended]]:
    """Return what the log says was measured of a model, and what that spoke for, in order."""
    found, advice = list[Evaluated](), list[Recommended]()
    async for verdict in bus.replay():
        for said, _ in decisions_in(verdict, Evaluated, Recommended):
            if said.model == model:
                if isinstance(said, Evaluated):
                    found.append(said)
                else:
                    advice.append(said)
    return found, advice
