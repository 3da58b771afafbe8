"""The generic checks: every built-in part passes them, and each planted fault is found by its name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from deploy.load import BUILT_IN, ON_REQUEST, find_part
from organs.records import RecordsOrgan
from shared.envelope import Verdict
from shared.errors import Refusal
from shared.message import Message
from shared.part import Cell, Nerve, Organ
from shared.part.checks import check_cell, check_nerve, check_organ, check_part
from shared.part.trial import CHECKS, Finding, Report
from shared.subjects import load_all
from shared.subjects.system import Tick
from tests.parts import Add, Added, Ask, Hint, LedgerOrgan, Said, Seen, Shown, Sum, Tally


@pytest.mark.spec("NIM-01")
@pytest.mark.parametrize("name", [*BUILT_IN, *ON_REQUEST, "docs/my_cell.py"])
def test_every_part_of_ours_passes(name: str) -> None:
    """Each part that the organism runs, and the README's cell, passes every check of its kind, and was really tried."""
    part = find_part(name)
    report = check_part(part)
    assert [] == report.findings
    assert all(finding.ok for finding in report)
    assert {*report.checked, *report.excused} == {finding.check for finding in report}
    assert report.counts.get("messages", 0) + report.counts.get("entries", 0) >= 50
    assert part.kind != "nerve" or "rerun" in part.unchecked or report.counts["decisions"] >= 50


@pytest.mark.spec("X-05", "X-12")
@pytest.mark.parametrize("seed", [1, 7])
def test_the_records_take_every_decision_there_is(seed: int) -> None:
    """Of every class that any part signs, made up and on the edge, the views take what admission lets through: also a
    number that no database holds.
    """
    load_all()
    report = check_part(RecordsOrgan, seed=seed)
    assert [] == report.findings
    assert report.counts["entries"] >= 50


@pytest.mark.spec("NIM-01", "X-08")
def test_a_report_is_the_same_each_time() -> None:
    """What the checks draw comes from their seed: the same seed tries the same, another seed something else."""
    nerve = find_part("nerves.overload")
    first = check_part(nerve).counts
    assert first == check_part(nerve).counts
    assert first != check_part(nerve, seed=2).counts


@pytest.mark.spec("NIM-01")
def test_who_is_excused() -> None:
    """Of the built-in parts some are excused, from these checks, in public and with their reasons."""
    excused = {part.name: set(part.unchecked) for part in map(find_part, BUILT_IN) if part.unchecked}
    rerun = {"gate": {"rerun", "window"}, "training": {"rerun"}, "consensus": {"rerun"}, "policy": {"rerun"}}
    rerun |= {"provenance": {"rerun"}}
    assert {"sensor_cell": {"repeats"}, "energy_cell": {"repeats"}, **rerun} == excused
    assert all(reason for part in map(find_part, BUILT_IN) for reason in part.unchecked.values())
    assert "repeats" not in check_part(find_part("cells.sensor_cell")).checked


class Plain(Cell):
    """A cell without a fault; each planted one changes something."""

    name: ClassVar[str] = "plain"
    version: ClassVar[str] = "1.0.0"

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it."""
        yield Shown(hint.who)


class Counting(Plain):
    """Keeps state."""

    def __init__(self) -> None:
        self.heard = 0

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show how many it heard."""
        self.heard += 1
        yield Shown(f"{self.heard}")


class Remembering(Plain):
    """Keeps state that shows only when another message comes between."""

    def __init__(self) -> None:
        self.largest = 0

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show the largest number so far."""
        self.largest = max(self.largest, hint.n)
        yield Shown(f"{self.largest}")


class Dreaming(Plain):
    """Draws from a source of chance of its own."""

    dreams = random.Random(1)

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show anything."""
        yield Shown(f"{self.dreams.random()}")


class Watching(Plain):
    """Looks at the machine's clock."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show the time."""
        yield Shown(f"{time.time()}")


class Fragile(Plain):
    """Cannot take a negative number."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show its bits."""
        yield Shown("x" * (1 if hint.n >= 0 else 1 // 0))


class Asserting(Plain):
    """Asserts what a stranger may not know."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it."""
        assert hint.n < 2**63
        yield Shown(hint.who)


class Chatty(Plain):
    """Says what it does not declare."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Say something else."""
        yield Sum(hint.who, 1)  # pyright: ignore[reportReturnType] - the planted fault


class Unsendable(Plain):
    """Says what no subject can carry."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it to nobody."""
        yield Shown("")


class Endless(Plain):
    """Does not come to an end."""

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it for ever."""
        while True:
            yield Shown(hint.who)


class Echoing(Plain):
    """Answers twice."""

    def on_ask(self, ask: Ask) -> Iterator[Said | Refusal]:
        """Answer, and refuse."""
        yield Said("yes", 1.0)
        yield Refusal("B012", "no")


class Unopened(LedgerOrgan):
    """Cannot be opened."""

    async def open(self, log: object) -> None:
        raise OSError("no such device")


class Huge(Plain):
    """Says more than a message may hold."""

    def on_ask(self, ask: Ask) -> Iterator[Said]:
        """Answer at length."""
        yield Said("x" * 70_000, 1.0)


class Unversioned(Plain):
    """Has a version that nobody can compare."""

    version = "latest"


class Cheap(Plain):
    """Costs less than nothing."""

    cost_ulf = -1


class Unexplained(Plain):
    """Is excused without a reason."""

    unchecked: ClassVar[Mapping[str, str]] = {"repeats": " "}


class Misexcused(Plain):
    """Is excused from what does not exist."""

    unchecked: ClassVar[Mapping[str, str]] = {"windows": "there are none"}


class Nameless(Cell):
    """Has no name."""

    version = "1.0.0"

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it."""
        yield Shown(hint.who)


class Demanding(Plain):
    """Needs what `simulate` does not give."""

    def __init__(self, port: object) -> None:
        self.port = port


@pytest.mark.spec("NIM-01", "X-08", "X-12")
@pytest.mark.parametrize(
    ("cell", "check", "says"),
    [
        (Counting, "repeats", "a cell keeps no state"),
        (Remembering, "repeats", "depends on what was heard before"),
        (Dreaming, "fresh", "take chance and time from the World"),
        (Watching, "clock", "time.time"),
        (Fragile, "total", "ZeroDivisionError"),
        (Asserting, "total", "AssertionError"),
        (Chatty, "outputs", "undeclared Sum"),
        (Unsendable, "outputs", "1 to 128 characters"),
        (Endless, "total", "more than 1000 messages"),
        (Echoing, "outputs", "answers 2 times"),
        (Huge, "outputs", "B003"),
        (Unversioned, "declaration", "MAJOR.MINOR.PATCH"),
        (Cheap, "declaration", "negative"),
        (Unexplained, "declaration", "with a reason"),
        (Misexcused, "declaration", "'windows'"),
        (Nameless, "declaration", "declares no `name`"),
        (Demanding, "declaration", "port"),
    ],
)
def test_a_fault_planted_in_a_cell_is_found(cell: type[Cell], check: str, says: str) -> None:
    """Every fault is found by the check that is there for it, with a sentence that says what is wrong."""
    assert [] == check_cell(Plain).findings
    report = check_cell(cell)
    assert check in CHECKS
    assert any(says in finding.detail for finding in report.findings if finding.check == check), report.findings


@pytest.mark.spec("NIM-01")
def test_an_annotation_that_means_nothing_at_run_time_is_named() -> None:
    """A message class that is imported for the type checker alone is a declaration error with a sentence, no crash."""

    class Hidden(Plain):
        """Annotated with what is not there."""

        def on_other(self, other: Nowhere) -> Iterator[Shown]:  # noqa: F821 # pyright: ignore[reportUndefinedVariable]
            """Hear it."""
            yield Shown("")

    [finding] = check_cell(Hidden).findings
    assert ("declaration", True) == (finding.check, "'Nowhere'" in finding.detail), finding


@pytest.mark.spec("NIM-01")
def test_an_excuse_is_public_and_counts_for_one_check() -> None:
    """An excused part is not judged by that check, the report says why, and every other check still holds."""

    class Excused(Counting):
        """Keeps state, and says so."""

        unchecked: ClassVar[Mapping[str, str]] = {"repeats": "it is a counter"}

    report = check_cell(Excused)
    assert Finding("repeats", ok=True, detail="excused: it is a counter") in list(report)
    assert ([], {"repeats": "it is a counter"}) == (report.findings, report.excused)
    assert "repeats" not in report.checked


# Nerves


class Steady(Nerve[Tally, Seen]):
    """A nerve without a fault; each planted one changes something."""

    name: ClassVar[str] = "steady"
    version: ClassVar[str] = "1.0.0"

    def entity(self, message: Add | Tick) -> str | None:
        return None if isinstance(message, Tick) else message.who

    def evolve(self, state: Tally, decision: Added) -> Tally:
        return Tally(decision.total)

    def decide(
        self, state: Tally, window: Seen, message: Add | Tick, now_ms: int
    ) -> tuple[Seen, list[Added] | Refusal]:
        if isinstance(message, Tick):
            return window, []
        after = Seen((*window.newest, message.n % 1_000)[-5:])
        return after, [Added(message.who, message.n % 1_000, (state.total + message.n) % 2**32)]


Decide = tuple[Seen, list[Added] | Refusal]


class CountingNerve(Steady):
    """Decides from how often it was asked."""

    asked = 0

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        self.asked += 1
        return window, [] if isinstance(message, Tick) else [Added(message.who, 0, self.asked)]


class Hoarding(Steady):
    """Forgets nothing."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return (window if isinstance(message, Tick) else Seen((*window.newest, message.n))), []


class Bloated(Steady):
    """Remembers too much at once."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return Seen(note=bytes(20_000)), []


class WatchingNerve(Steady):
    """Looks at the machine's clock."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return Seen((int(time.time()),)), []


class Meddling(Steady):
    """Decides about somebody else."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return window, [Added("somebody", 1, 1)]


class FragileNerve(Steady):
    """Divides by what was asked."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return (window if isinstance(message, Tick) else Seen((1000 // message.n,))), []


class Lossy(Steady):
    """Records another message than the one that was decided about."""

    def evidence(self, window: Seen, message: Message, message_id: bytes, now_ms: int) -> bytes:
        other = msgspec.structs.replace(message, n=7) if isinstance(message, Add) else message
        return super().evidence(window, other, message_id, now_ms)


class Silent(Steady):
    """Never decides."""

    def decide(self, state: Tally, window: Seen, message: Add | Tick, now_ms: int) -> Decide:
        return window, []


class Stubborn(Steady):
    """Folds no large number."""

    def evolve(self, state: Tally, decision: Added) -> Tally:
        if decision.total > 2**32:
            raise OverflowError("too large for me")
        return Tally(decision.total)


class Unkept(Steady):
    """Folds into what cannot be written down."""

    def evolve(self, state: Tally, decision: Added) -> Tally:
        return Tally(2**64)


@pytest.mark.spec("NIM-01", "X-02", "X-08")
@pytest.mark.parametrize(
    ("nerve", "check", "says"),
    [
        (CountingNerve, "repeats", "more than its arguments"),
        (Hoarding, "window", "forget the oldest"),
        (Bloated, "evidence", "bytes besides the message"),
        (WatchingNerve, "clock", "time.time"),
        (Meddling, "outputs", "decides about 'somebody'"),
        (FragileNerve, "total", "ZeroDivisionError"),
        (Lossy, "rerun", "comes out differently"),
        (Silent, "rerun", "nothing was compared"),
        (Stubborn, "evolve", "too large for me"),
        (Unkept, "evolve", "cannot be written"),
    ],
)
def test_a_fault_planted_in_a_nerve_is_found(nerve: type[Nerve[Any, Any]], check: str, says: str) -> None:
    """Every fault is found by the check that is there for it, with a sentence that says what is wrong."""
    report = check_nerve(nerve)
    assert any(says in finding.detail for finding in report.findings if finding.check == check), report.findings


@pytest.mark.spec("NIM-01")
def test_a_nerve_without_a_fault_passes() -> None:
    """The nerve that the faults are planted in has none, and decided often enough to show it."""
    report = check_nerve(Steady)
    assert ([], True) == (report.findings, report.counts["decisions"] > 500)


# Organs


class Guessing(Organ):
    """Answers by chance."""

    name: ClassVar[str] = "guessing"
    version: ClassVar[str] = "1.0.0"
    guesses = random.Random(1)

    async def on_ask(self, ask: Ask) -> Said:
        """Answer anything."""
        return Said("", self.guesses.random())


class Waiting(Organ):
    """Has a handler that is no coroutine."""

    name: ClassVar[str] = "waiting"
    version: ClassVar[str] = "1.0.0"

    def on_ask(self, ask: Ask) -> Said:
        """Answer at once."""
        return Said(ask.text, 1.0)


class Poisoned(RecordsOrgan):
    """Falls over an entry that is void."""

    async def on_entry(self, verdict: Verdict) -> None:
        """Take every entry for admitted."""
        assert verdict.sealed is not None
        await super().on_entry(verdict)


@pytest.mark.spec("NIM-01")
@pytest.mark.parametrize(
    ("organ", "check", "says"),
    [
        (Guessing, "fresh", "take chance and time"),
        (Poisoned, "total", "AssertionError"),
        (Waiting, "declaration", "async def"),
        (Unopened, "total", "no such device"),
    ],
)
def test_a_fault_planted_in_an_organ_is_found(organ: type[Organ], check: str, says: str) -> None:
    """Chance outside the World, and an entry of the log that nobody thought of, are found."""
    report = check_organ(organ)
    assert not all(finding.ok for finding in report)
    assert any(says in finding.detail for finding in report.findings if finding.check == check), report.findings


@pytest.mark.spec("NIM-01")
def test_a_part_whose_constructor_takes_more_is_made_by_hand() -> None:
    """Where `simulate` is not enough, the caller says how to make the part."""
    assert "declaration" in {finding.check for finding in check_part(Demanding).findings}
    assert [] == check_part(Demanding, lambda world: Demanding(world)).findings  # noqa: PLW0108 - a Make
    assert [] == check_part(LedgerOrgan).findings


@pytest.mark.spec("X-12")
def test_a_part_that_takes_garbage_for_a_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the runner let garbage through, the check would say so: its own failure is visible."""
    from shared.part import runner

    def careless(delivery: Any, part: str, hears: Any, world: Any) -> Any:  # noqa: ANN401 - the planted fault
        fixed = type(delivery)(
            delivery.subject, msgspec.msgpack.encode({"text": "1"}), delivery.headers, delivery.reply
        )
        return honest(fixed, part, hears, world)

    honest: Callable[..., Any] = runner.read_delivery
    monkeypatch.setattr(runner, "read_delivery", careless)
    report: Report = check_part(find_part("cells.math_cell"))
    assert {"garbage"} == {finding.check for finding in report.findings}


@pytest.mark.spec("X-01")
def test_a_part_file_is_imported_once() -> None:
    """Finding the same file again gives the same class: a second import would declare its subjects twice."""
    assert find_part("docs/my_cell.py") is find_part("./docs/my_cell.py")
