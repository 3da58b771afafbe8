"""The generic checks: every built-in part passes them, and a part that misbehaves is told what it did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

import msgspec
import pytest

from deploy.load import BUILT_IN, find_part
from shared.errors import Refusal
from shared.message import Decision, Reply, Request, Signal
from shared.part import Cell, Nerve, Organ, Part
from shared.part.checks import check_part
from shared.subjects.system import Tick


class Said(Reply, subject="checks.cells.probe.said"):
    """An answer."""

    text: str


class Asked(Request, subject="checks.cells.probe.asked", reply=Said):
    """A question."""

    text: str


class Other(Signal, subject="checks.cells.probe.other"):
    """Something else."""

    share_ppm: int


class Counted(Decision, subject="checks.probe.event.{site}.counted"):
    """A decision."""

    site: str
    count: int


class Probe(Cell):
    """A cell whose behaviour a test gives."""

    name: ClassVar[str] = "probe"
    version: ClassVar[str] = "1.0.0"

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Said(asked.text)


class Clocked(Probe):
    """It looks at the machine's clock."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Said(f"{asked.text} {time.time()}")


class Remembers(Probe):
    """It remembers across instances."""

    seen: ClassVar[list[str]] = []

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        self.seen.append(asked.text)
        yield Said(str(len(self.seen)))


class Partial(Probe):
    """It fails on an empty text."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Said(asked.text[0])


class Undeclared(Probe):
    """It says what it did not declare."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Other(1)  # type: ignore[misc]


class Twice(Probe):
    """It answers twice."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Said("one")
        yield Said("two")


class Endless(Probe):
    """It never ends."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        while True:
            yield Refusal("B012")


class Huge(Probe):
    """It says more than a message may hold."""

    def on_asked(self, asked: Asked) -> Iterator[Said | Refusal]:
        yield Said("x" * 100_000)


class Counts(msgspec.Struct, frozen=True):
    """How many decisions were made."""

    count: int = 0


class Memory(msgspec.Struct, frozen=True):
    """What was heard."""

    texts: tuple[str, ...] = ()


class Counter(Nerve[Counts, Memory]):
    """A nerve that decides on every question."""

    name: ClassVar[str] = "counter"
    version: ClassVar[str] = "1.0.0"

    def entity(self, message: Asked | Tick) -> str | None:
        return "here" if isinstance(message, Asked) else None

    def evolve(self, state: Counts, decision: Counted) -> Counts:
        return Counts(decision.count)

    def decide(self, state: Counts, window: Memory, message: Asked | Tick, now_ms: int) -> tuple[Memory, list[Counted]]:
        return window, [Counted("here", state.count + 1)]


class Hoards(Counter):
    """Its window grows without end."""

    def decide(self, state: Counts, window: Memory, message: Asked | Tick, now_ms: int) -> tuple[Memory, list[Counted]]:
        return Memory((*window.texts, "x" * 1_000)), [Counted("here", state.count + 1)]


class Secretive(Counter):
    """It reads what is not an argument."""

    calls: ClassVar[list[int]] = []

    def decide(self, state: Counts, window: Memory, message: Asked | Tick, now_ms: int) -> tuple[Memory, list[Counted]]:
        self.calls.append(1)
        return window, [Counted("here", len(self.calls))]


class Silent(Counter):
    """It never decides."""

    def decide(self, state: Counts, window: Memory, message: Asked | Tick, now_ms: int) -> tuple[Memory, list[Counted]]:
        return window, []


class Plain(Organ):
    """An organ whose handler is no coroutine."""

    name: ClassVar[str] = "plain"
    version: ClassVar[str] = "1.0.0"

    def on_asked(self, asked: Asked) -> None:
        return None


class Nameless(Cell):
    """It has no name."""

    def on_asked(self, asked: Asked) -> Iterator[Said]:
        yield Said(asked.text)


@pytest.mark.spec("NIM-01")
@pytest.mark.parametrize("name", [*BUILT_IN, "docs/my_cell.py"])
def test_every_part_of_ours_passes(name: str) -> None:
    """Every built-in part and the README's cell hold every check, excused from none."""
    cls = find_part(name)
    findings = check_part(cls)
    assert [] == [finding for finding in findings if not finding.ok]
    assert {} == dict(cls.unchecked)


@pytest.mark.spec("NIM-01")
@pytest.mark.parametrize(
    ("cls", "check", "said"),
    [
        (Clocked, "deterministic", "ask the World"),
        (Remembers, "deterministic", "other bytes"),
        (Partial, "total", "IndexError"),
        (Endless, "total", "more than"),
        (Undeclared, "outputs", "undeclared Other"),
        (Twice, "outputs", "2 answers"),
        (Huge, "outputs", "B003"),
        (Hoards, "evidence", "bound the window"),
        (Secretive, "deterministic", "two ways"),
        (Silent, "evidence", "nothing was compared"),
        (Plain, "handlers", "async def"),
        (Nameless, "declared", "name"),
    ],
)
def test_a_part_that_misbehaves_is_found(cls: type[Part], check: str, said: str) -> None:
    """Each check fails on a part that breaks it, and says what was found."""
    failed = {finding.check: finding.detail for finding in check_part(cls) if not finding.ok}
    assert check in failed
    assert said in failed[check]


@pytest.mark.spec("NIM-01")
def test_an_excuse_is_public() -> None:
    """A part may be excused from a check, with a reason that the finding repeats."""

    class Excused(Partial):
        unchecked: ClassVar[dict[str, str]] = {"total": "it is fed by hand"}

    (total,) = [finding for finding in check_part(Excused) if finding.check == "total"]
    assert total.ok
    assert "it is fed by hand" in total.detail
