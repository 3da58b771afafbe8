"""The checks that every part gets for free, built in or a user's own: what is wrong comes back as data.

A part is made anew by its `simulate`, fed messages made up from the schemas of what it hears, and judged under
simulated time, where any use of the machine's clock or chance is caught. `unchecked` on the part excuses it from a
check, with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from shared.codec import decode, encode
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused, WallClockUse
from shared.message import DeclarationError, Message, Reply
from shared.part.cell import Cell
from shared.part.declare import Declaration, Handler, Part, declaration
from shared.part.garbage import garbage
from shared.part.nerve import Nerve
from shared.part.organ import Organ
from shared.part.own_code import collect
from shared.part.samples import Sampler
from shared.world import SimWorld, simulate

Make = Callable[[SimWorld], Part]

SAMPLES = constant(100, "messages", "NIM-01")
CHECK_SEED = constant(1, "seed", "X-08")
FINDINGS = constant(3, "findings of each check", "NIM-01")
DETAIL_CHARS = constant(500, "characters", "X-12")
SHOWN_CHARS = constant(200, "characters", "X-12")
CHECK_ENV = constant("check", "environment", "NIM-01")
_SEMVER = re.compile(r"\d+\.\d+\.\d+")

#: Every check, with what it holds. `unchecked` on a part names these.
CHECKS = {
    "declaration": "name, version, handlers, cost and excuses are complete, and it can be made for a simulation",
    "total": "whatever can be heard is handled without an error",
    "outputs": "what it says is declared, can be sent, and is read back as it was",
    "clock": "it asks the World, never the machine, for time, chance and identity",
    "repeats": "the same message gives the same bytes again, whatever came before",
    "fresh": "another instance in the same World gives the same bytes",
    "garbage": "bytes that are no message are refused by name, and it goes on",
    "evolve": "its state can be folded over any of its own decisions",
    "rerun": "its decisions come out the same from the evidence they recorded",
    "evidence": "the evidence stays within its bound however long it listens",
    "window": "the window stops growing",
}
COMMON = ("declaration", "total", "outputs", "clock", "fresh", "garbage")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which check says so, and what was found."""

    check: str
    detail: str


@dataclass
class Report:
    """What the checks of one part found; `counts` says how much was tried, for nothing passes by lack of trying."""

    part: str
    checked: tuple[str, ...]
    excused: dict[str, str]
    findings: list[Finding] = field(default_factory=list[Finding])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def found(self, check: str, detail: str) -> None:
        """Add a finding, once and up to a few of each check, unless the part is excused from it."""
        same = [finding for finding in self.findings if finding.check == check]
        finding = Finding(check, detail[:DETAIL_CHARS])
        if check not in self.excused and finding not in same and len(same) < FINDINGS:
            self.findings.append(finding)

    def count(self, what: str, more: int = 1) -> None:
        """Count something that was tried."""
        self.counts[what] = self.counts.get(what, 0) + more


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
    from shared.part.checks_nerve import nerve_trial

    return _run(part, make, seed, (*COMMON, "repeats", "evolve", "rerun", "evidence", "window"), nerve_trial)


def check_organ(part: type[Organ], make: Make | None = None, seed: int = CHECK_SEED) -> Report:
    """Check an organ with its simulated adapters: declared, total, deterministic by the seed, and deaf to garbage."""
    from shared.part.checks_organ import organ_trial

    return _run(part, make, seed, COMMON, organ_trial)


@dataclass
class Trial:
    """One part under trial: how to make it anew, what it declares, and what was found so far."""

    make: Callable[[], Part]
    declared: Declaration
    handlers: Sequence[Handler]
    report: Report
    seed: int

    def world(self) -> SimWorld:
        """Return a World that is the same each time."""
        return SimWorld(CHECK_ENV, self.seed)

    def samples(self, times: int = SAMPLES) -> Iterator[tuple[Handler, Message]]:
        """Yield messages for every handler, plausible ones and edges in turns."""
        sampler = Sampler(SimWorld(CHECK_ENV, self.seed, "samples"))
        heard = [(h, cls) for h in self.handlers for cls in h.hears if issubclass(cls, Message)]
        for n in range(times * bool(heard)):
            for handler, cls in heard:
                message = sampler.message(cls, edge=n % 2 == 1)
                if message is not None:
                    self.report.count("messages")
                    yield handler, message

    def judge(self, handler: Handler, message: Message, outputs: Sequence[Any]) -> list[bytes]:
        """Return the bytes of what was said about a message; findings where it may not be said."""
        reply, said = type(message).reply, list[bytes]()
        for output in outputs:
            what = type(output).__name__
            declared = isinstance(output, (Refusal, *handler.says)) or (reply is not None and type(output) is reply)
            if not declared:
                self.report.found(
                    "outputs", f"{handler.name} says an undeclared {what}; add it to the return annotation"
                )
                continue
            try:
                said.append(what.encode() + encode(output))
                decode(cast("type[Message]", type(output)), encode(output))
                if isinstance(output, Message):
                    output.subject(CHECK_ENV)
            except (Refused, ValueError) as no:
                self.report.found(
                    "outputs", f"{handler.name} says a {what} that cannot be sent: {no}; it heard {_short(message)}"
                )
        answers = [output for output in outputs if isinstance(output, Reply | Refusal)]
        if len(answers) > 1:
            self.report.found("outputs", f"{handler.name} answers {len(answers)} times; it heard {_short(message)}")
        self.report.count("outputs", len(outputs))
        return said

    def failed(self, handler: Handler, message: object, error: Exception) -> None:
        """Record what a handler raised; a Refused is an answer, and a Fault worth a retry is trouble of its adapters."""
        if isinstance(error, WallClockUse):
            self.report.found("clock", str(error))
        elif not isinstance(error, Refused) and not (isinstance(error, Fault) and error.retry):
            self.report.found(
                "total", f"{handler.name} raised {type(error).__name__}: {error}; it heard {_short(message)}"
            )


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
            report.found("declaration", f"{type(error).__name__}: {error}")
            return
        if not _SEMVER.fullmatch(part.version):
            report.found("declaration", f"version {part.version!r} is not MAJOR.MINOR.PATCH, as NATS services expect")
        if part.cost_ulf < 0:
            report.found("declaration", f"cost_ulf {part.cost_ulf} is negative")
        under = Trial(lambda: making(SimWorld(CHECK_ENV, seed)), declared, made.handlers(), report, seed)
        await trial(under)
        for detail in await garbage(under.make(), SimWorld(CHECK_ENV, seed)):
            report.found("garbage", detail)

    try:
        simulate(whole)
    except WallClockUse as error:
        report.found("clock", str(error))
    return report


def _short(message: object) -> str:
    text = repr(message)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
