"""Parts to try the runner with, and a stage that carries them on any ground."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Any, ClassVar

import msgspec

from shared.bus import Bus, Delivery
from shared.bus.wire import INBOX
from shared.codec import encode
from shared.envelope import Verdict
from shared.errors import Refusal, Refused, Unreachable
from shared.keys import LocalSigner
from shared.message import Decision, Message, Reply, Request, Signal
from shared.part import Cell, Nerve, Organ, Part, Runner
from shared.part.metrics import collector
from shared.part.organ import Log
from shared.subjects.system import DeadLetter, Decided, Tick
from shared.world import RealWorld, SimWorld, World
from tests.ground import ENV, Founded, Ground, until

NEVER_S = 86_400.0


class Said(Reply, subject="trial.bench.ask.response"):
    """What the bench cell answers."""

    text: str
    weight: float


class Ask(Request, subject="trial.bench.ask.request", reply=Said, ttl_ms=5_000):
    """What the bench cell is asked; the text tells it how to behave."""

    text: str


class Shown(Signal, subject="trial.bench.shown.{who}"):
    """What the bench cell shows besides."""

    who: str


class Hint(Signal, subject="trial.bench.hint.{who}"):
    """A signal the bench cell hears."""

    who: str
    n: int


class Secret(Signal, subject="trial.bench.secret.told"):
    """A class that the bench cell does not declare."""

    n: int


RAISED = {
    "broken": ZeroDivisionError("as asked"),
    "wrong": AssertionError("a bug of ours"),
    "raise": Refused(Refusal("B011", "as asked")),
}
YIELDED: dict[str, Iterable[Any]] = {
    "refuse": [Refusal("B012", "as asked")],
    "undeclared": [Shown("first"), Secret(1)],
    "infinite": [Said("infinite", float("inf"))],
    "nobody": [Shown("")],
    "endless": repeat(Shown("again")),
    "silent": [],
}


class BenchCell(Cell):
    """Answers the text it is asked, and misbehaves on demand."""

    name: ClassVar[str] = "bench"
    version: ClassVar[str] = "1.0.0"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_ask(self, ask: Ask) -> Iterator[Said | Shown | Refusal]:
        """Behave as the text says."""
        self.calls.append(ask.text)
        if ask.text in RAISED:
            raise RAISED[ask.text]
        if self.calls == ["later"]:
            raise Unreachable("not yet")
        yield from YIELDED.get(ask.text, (Shown("bench"), Said(ask.text, 1.0)))

    def on_hint(self, hint: Hint) -> Iterator[Shown]:
        """Show it, unless it is 13."""
        self.calls.append(f"{hint.who} {hint.n}")
        if hint.n == 13:
            raise Refused(Refusal("B012", "not 13"))
        yield Shown(hint.who)


class Added(Decision, subject="trial.tally.event.{who}.added"):
    """The tally nerve's decision."""

    who: str
    n: int
    total: int


class Add(Request, subject="trial.tally.add.request", reply=Decided):
    """Ask the tally nerve to add."""

    who: str
    n: int


class Sum(Signal, subject="trial.tally.sum.{who}"):
    """What the tally nerve says after a decision; only a hint."""

    who: str
    total: int


class Strange(Decision, subject="trial.tally.event.{who}.strange"):
    """A decision that the tally nerve does not declare."""

    who: str


class Tally(msgspec.Struct, frozen=True):
    """The sum of what was added."""

    total: int = 0


class Seen(msgspec.Struct, frozen=True):
    """The newest numbers asked for."""

    newest: tuple[int, ...] = ()
    note: bytes = b""


class TallyNerve(Nerve[Tally, Seen]):
    """Adds what it is asked to; refuses 13; misbehaves at 99 and above."""

    name: ClassVar[str] = "tally"
    version: ClassVar[str] = "1.0.0"

    def entity(self, message: Add | Hint | Tick) -> str | None:
        return None if isinstance(message, Tick) else message.who

    def evolve(self, state: Tally, decision: Added) -> Tally:
        return Tally(decision.total)

    def decide(
        self, state: Tally, window: Seen, message: Add | Hint | Tick, now_ms: int
    ) -> tuple[Seen, list[Added | Sum] | Refusal]:
        if not isinstance(message, Add):
            return window, Refusal("B012", "13 is no hint") if isinstance(message, Hint) and message.n == 13 else []
        after = Seen((*window.newest, message.n)[-5:], window.note)
        if message.n == 13:
            return after, Refusal("B012", "13 is not added")
        if message.n == 101:
            return Seen(note=bytes(40_000)), []
        total = state.total + message.n
        said: dict[int, list[Any]] = {
            99: [Strange(message.who)],
            100: [Added("somebody else", 1, 1)],
            102: [Added(message.who, 1, total + 1), Added(message.who, 2, total + 3)],
        }
        return after, said.get(message.n, [Added(message.who, message.n, total), Sum(message.who, total)])


class LedgerOrgan(Organ):
    """Hears the tally's decisions and the whole log; fails as told."""

    name: ClassVar[str] = "ledger"
    version: ClassVar[str] = "1.0.0"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.added: list[int] = []
        self.entries: list[int] = []
        self.open_now = False

    async def open(self, log: Log) -> None:
        self.open_now = True

    async def close(self) -> None:
        self.open_now = False

    async def on_added(self, added: Added) -> list[Shown]:
        """Write it down and show it."""
        self.added.append(added.total)
        return [Shown(added.who)]

    async def on_entry(self, verdict: Verdict) -> None:
        """Write it down, or fail."""
        if self.failures:
            raise self.failures.pop(0)
        self.entries.append(verdict.entry.index)


class Stage:
    """Carries parts on a ground, each with its own World and wire, and asks them things."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.runners: list[Runner] = []

    async def carry(
        self,
        part: Part,
        signers: Sequence[LocalSigner] = (),
        *,
        beat_s: float = NEVER_S,
        handshake: bool = False,
    ) -> Runner:
        """Start a runner for a part."""
        wire = await self.ground.wire(part.name, durables=(part.name,))
        bus = Bus(self.world(part.name), wire, part.name, part.version, list(signers))
        runner = Runner(part, bus, beat_s=beat_s, handshake=handshake)
        self.runners.append(runner)
        await runner.start()
        return runner

    def world(self, name: str) -> World:
        """A World of its own for a part: on simulated ground a fork that is new each time, else a new start."""
        if isinstance(self.ground.world, SimWorld):
            return self.ground.world.fork(f"{name}/{len(self.runners)}")
        return RealWorld(ENV)

    async def asker(self, name: str = "asker") -> Bus:
        """A bus that asks and decides nothing."""
        return Bus(self.ground.world, await self.ground.wire(name), name, "1", [])

    async def dead(self) -> Heard:
        """What arrives as a dead letter from now on."""
        heard = Heard()
        await (await self.asker("undertaker")).subscribe(DeadLetter.pattern(ENV), heard)
        return heard


@asynccontextmanager
async def stage(ground: Ground) -> AsyncIterator[Stage]:
    """A stage, and an orderly end of whatever runs on it."""
    here = Stage(ground)
    try:
        yield here
    finally:
        for runner in reversed(here.runners):
            await runner.stop()


async def tallying(ground: Ground) -> tuple[Founded, LocalSigner]:
    """A founded log that knows the tally nerve's key."""
    founded = await Founded.on(ground)
    return founded, await founded.introduce("tally", Added.pattern(ENV))


def own_metrics(runner: Runner) -> dict[tuple[str, str], float]:
    """What a part alone tells Prometheus, by metric and by the label beside `part`, if there is one."""
    own = {metric.name for metric in runner.part.metrics}
    samples = (sample for family in collector([runner]).collect() for sample in family.samples)
    return {
        (sample.name, "".join(value for label, value in sample.labels.items() if label != "part")): sample.value
        for sample in samples
        if sample.name in own
    }


class Heard:
    """What a subscription received, and a wait for it."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.all.append(delivery)

    async def at_least(self, count: int) -> list[Delivery]:
        """Return once `count` messages arrived."""
        await until(lambda: len(self.all) >= count)
        return self.all


async def raw(
    bus: Bus, subject: str, data: bytes | Message, headers: dict[str, str] | None = None, wait_s: float = 5.0
) -> Delivery:
    """Send bytes as a request, whatever they are, and return the raw answer."""
    return await bus.wire.request(subject, data if isinstance(data, bytes) else encode(data), headers, wait_s)


async def replies(bus: Bus) -> tuple[str, Heard]:
    """An inbox of our own and what arrives there."""
    heard, inbox = Heard(), bus.wire.inbox()
    assert inbox.startswith(INBOX)
    await bus.subscribe(inbox, heard)
    return inbox, heard
