"""The checks that every part gets for free, built in or a user's own: what is wrong comes back as data.

A part is made anew by its `simulate`, fed messages made up from the schemas of what it hears, and judged under
simulated time, where any use of the machine's clock or chance is caught. `unchecked` on the part excuses it from a
check, with a reason.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

from shared.constant import constant
from shared.errors import WallClockUse
from shared.message import DeclarationError, Message
from shared.part.cell import Cell
from shared.part.checks_nerve import nerve_trial
from shared.part.checks_organ import organ_trial
from shared.part.declare import Handler, Part, declaration
from shared.part.garbage import garbage
from shared.part.nerve import Nerve
from shared.part.organ import Organ
from shared.part.own_code import collect
from shared.part.trial import CHECK_ENV, Report, Trial
from shared.world import SimWorld, simulate

Make = Callable[[SimWorld], Part]

CHECK_SEED = constant(1, "seed", "X-08")
_SEMVER = re.compile(r"\d+\.\d+\.\d+")

COMMON = ("declaration", "total", "outputs", "clock", "fresh", "garbage")


def check_part(part: type[Part], make: Make | None = None, seed: int = CHECK_SEED) -> Report:
    """Return what the checks of the part's kind find. `make` replaces `simulate` where the constructor takes more."""
    match part.kind:
        case "cell":
            return check_cell(cast("type[Cell]", part), make, seed)
        case "nerve":
            return check_nerve(cast("type[Nerve[Any, Any]]", part), make, seed)
        case "organ":
            return check_organ(cast("type[Organ]", part), make, seed)


def check_cell(part: type[Cell], make: Make | None = None, seed: int = CHECK_SEED) -> Report:
    """Check a cell: declared, total, deterministic, indifferent to order, and deaf to garbage."""
    return _run(part, make, seed, (*COMMON, "repeats"), _cell)


def check_nerve(part: type[Nerve[Any, Any]], make: Make | None = None, seed: int = CHECK_SEED) -> Report:
    """Check a nerve: as a cell, and that it can be folded, decided again, and listened with for long."""
    return _run(part, make, seed, (*COMMON, "repeats", "evolve", "rerun", "evidence", "window"), nerve_trial)


def check_organ(part: type[Organ], make: Make | None = None, seed: int = CHECK_SEED) -> Report:
    """Check an organ with its simulated adapters: declared, total, deterministic by the seed, and deaf to garbage."""
    return _run(part, make, seed, COMMON, organ_trial)


async def _cell(trial: Trial) -> None:
    heard = list(trial.samples())
    first = await _answers(trial, trial.make(), heard)
    if first != await _answers(trial, trial.make(), heard):
        trial.report.found(
            "fresh", "two instances answer the same messages differently; take chance and time from the World"
        )
    part = trial.make()
    if first != [(await _answers(trial, part, [one, one]))[-1] for one in heard]:
        trial.report.found("repeats", "the same message is answered differently the second time; a cell keeps no state")
    if first != (await _answers(trial, trial.make(), heard[::-1]))[::-1]:
        trial.report.found("repeats", "the answer depends on what was heard before; a cell keeps no state")


async def _answers(trial: Trial, part: Part, heard: Sequence[tuple[Handler, Message]]) -> list[list[bytes]]:
    calls = {handler.name: handler for handler in part.handlers()}
    answers: list[list[bytes]] = []
    for named, message in heard:
        handler = calls[named.name]
        try:
            said = await collect(handler.call, message)
        except Exception as error:  # noqa: BLE001 - any error of a stranger's part is a finding
            trial.failed(handler, message, error)
            said = []
        answers.append(trial.judge(handler, message, said))
    return answers


def _run(
    part: type[Part],
    make: Make | None,
    seed: int,
    checks: tuple[str, ...],
    trial: Callable[[Trial], Coroutine[Any, Any, None]],
) -> Report:
    excused = dict(part.unchecked)
    report = Report(getattr(part, "name", part.__qualname__), tuple(c for c in checks if c not in excused), excused)
    for check, reason in excused.items():
        if check not in checks or not reason.strip() or check == "declaration":
            report.excused = {}
            report.found(
                "declaration",
                f"`unchecked` names {check!r}: only {', '.join(checks[1:])} can be left out, with a reason",
            )
    making = make or part.simulate

    async def whole() -> None:
        try:
            made = making(SimWorld(CHECK_ENV, seed))
            declared = declaration(made)
        except (DeclarationError, TypeError) as error:
            report.stopped("declaration", f"{type(error).__name__}: {error}")
            return
        _declared(part, made, report)
        under = Trial(lambda: making(SimWorld(CHECK_ENV, seed)), declared, made.handlers(), report, seed)
        await trial(under)
        for detail in await garbage(under.make(), SimWorld(CHECK_ENV, seed)):
            report.found("garbage", detail)

    try:
        simulate(whole)
    except WallClockUse as error:
        report.stopped("clock", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a stranger's part does where nobody expects it
        report.stopped("total", f"{type(error).__name__}: {error}")
    return report


def _declared(part: type[Part], made: Part, report: Report) -> None:
    """Find what a declaration that can be read still lacks."""
    if not _SEMVER.fullmatch(part.version):
        report.found("declaration", f"version {part.version!r} is not MAJOR.MINOR.PATCH, as NATS services expect")
    plain = [h.name for h in made.handlers() if part.kind == "organ" and not inspect.iscoroutinefunction(h.call)]
    if plain:
        report.found("declaration", f"{', '.join(plain)} must be `async def`: an organ waits for the world")
    if part.cost_ulf < 0:
        report.found("declaration", f"cost_ulf {part.cost_ulf} is negative")
