"""A part under trial: made anew, fed made-up messages, and what was found. checks.py says what is held against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from shared.codec import decode, encode
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused, WallClockUse
from shared.message import Message, Reply
from shared.part.declare import Declaration, Handler, Part
from shared.part.samples import Sampler
from shared.world import SimWorld

SAMPLES = constant(100, "messages", "NIM-01")
FINDINGS = constant(3, "findings of each check", "NIM-01")
DETAIL_CHARS = constant(500, "characters", "X-12")
SHOWN_CHARS = constant(200, "characters", "X-12")
CHECK_ENV = constant("check", "environment", "NIM-01")


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


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says of a part: whether it holds, and what was found or tried."""

    check: str
    ok: bool
    detail: str


@dataclass
class Report:
    """What the checks of one part found; `counts` says how much was tried, for nothing passes by lack of trying.

    Iterating yields a finding of every check, those that hold and the excused ones included.
    """

    part: str
    checked: tuple[str, ...]
    excused: dict[str, str]
    findings: list[Finding] = field(default_factory=list[Finding])  #: only what does not hold
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def __iter__(self) -> Iterator[Finding]:
        tried = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        for check in self.checked:
            broken = [finding for finding in self.findings if finding.check == check]
            yield from broken or [
                Finding(check, ok=True, detail=CHECKS[check] + (f" ({tried})" if check == "total" else ""))
            ]
        for check, reason in self.excused.items():
            yield Finding(check, ok=True, detail=f"excused: {reason}")

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def found(self, check: str, detail: str) -> None:
        """Add a finding, once and up to a few of each check, unless the part is excused from it."""
        same = [finding for finding in self.findings if finding.check == check]
        finding = Finding(check, ok=False, detail=detail[:DETAIL_CHARS])
        if check not in self.excused and finding not in same and len(same) < FINDINGS:
            self.findings.append(finding)

    def stopped(self, check: str, detail: str) -> None:
        """Record what ended the trial: no other check can be said to hold."""
        self.found(check, detail)
        self.checked = tuple(dict.fromkeys(finding.check for finding in self.findings))

    def count(self, what: str, more: int = 1) -> None:
        """Count something that was tried."""
        self.counts[what] = self.counts.get(what, 0) + more


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
                if decode(cast("type[Message]", type(output)), encode(output)) != output:
                    self.report.found(
                        "outputs", f"{handler.name} says {_short(output)}, which is not read back as it was"
                    )
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
        """Record what a handler raised. A Refused is an answer; a Fault worth a retry is trouble of its adapters."""
        if isinstance(error, WallClockUse):
            self.report.found("clock", str(error))
        elif not isinstance(error, Refused) and not (isinstance(error, Fault) and error.retry):
            self.report.found(
                "total", f"{handler.name} raised {type(error).__name__}: {error}; it heard {_short(message)}"
            )


def _short(message: object) -> str:
    text = repr(message)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
