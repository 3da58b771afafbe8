"""The tour: starts everything, lets the organism feel, answer and decide, then checks all of it against its own log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.markup import escape

from deploy.attach import living
from deploy.commands.task import still_wanted
from deploy.host import EmbeddedHost, RemoteHost
from deploy.load import BUILT_IN
from deploy.organism import Organism
from deploy.recheck import Recheck, recheck
from deploy.terminal import Terminal
from deploy.tour_audit import Auditor, StepFailed, hold
from deploy.tour_model import TRAIN_S, Teacher
from organs.records import PostgresRecords, RecordsOrgan, verify
from organs.records.views.decisions import DECISIONS, DecisionRow, row_of
from shared.bus import Bus, Delivery
from shared.codec import decode
from shared.config import Loaded, redact
from shared.constant import constant
from shared.errors import Fault, NotPermitted, Refusal, Refused
from shared.files import storing
from shared.subjects.nervous import AssessRequest, LoadAssessed, MathRequest, MathResponse, VitalsWave
from shared.subjects.system import PHASES, Decided
from shared.version import VERSION
from shared.world import RealWorld

READINGS = constant(4, "readings", "NIM-12")
PATIENCE_S = constant(60.0, "s", "X-07")  #: longer than a stopped part's last delivery is kept from its successor
QUESTION = "2 + 3 * 4"

Models = Literal["none", "once", "anew"]  #: whether the tour trains: not at all, unless it did before, or again


@dataclass
class Step:
    """One step of the tour as the report tells it."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass
class Report:
    """The machine-readable report: whether every step held, and the log it left, with the root that was signed."""

    ok: bool = False
    steps: list[Step] = field(default_factory=list[Step])
    log: dict[str, Any] = field(default_factory=lambda: {"size": 0, "root": None})


class Tour:
    """Walks through one living organism, step by step; stops at the first that does not hold."""

    def __init__(self, loaded: Loaded, terminal: Terminal, question: str | None, models: Models = "once") -> None:
        self.loaded, self.settings, self.terminal, self.question = loaded, loaded.settings, terminal, question
        self.models = models
        self.report = Report()
        self.world = RealWorld(loaded.settings.env)
        self.waves: list[VitalsWave] = []
        self.position = -1

    async def walk(self, host: EmbeddedHost | RemoteHost, organism: Organism, *, started_s: float) -> None:
        """Take every step in order; StepFailed (told and recorded before) if one does not hold."""
        self.host, self.organism = host, organism
        self.bus = Bus(self.world, await host.wire("operator"), "operator", VERSION, [])
        hearing = await self.bus.subscribe(VitalsWave.pattern(self.settings.env), self._hear)
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("greet", self._greet),
            ("sense", self._sense),
            ("ask", self._ask),
            ("decide", self._decide),
            ("intrude", self._intrude),
            *await self._models(host),
            ("replay", self._replay),
        ]
        if host.database_url:
            steps[-1:-1] = [("view", self._view), ("rebuild", self._rebuild)]
        steps += self._auditor().steps()
        self._record(Step("start", ok=True, seconds=started_s, detail=self._servers()))
        try:
            for name, work in steps:
                await self._step(name, work)
        finally:
            await hearing.close()
            await self.bus.drain()
        self.report.ok = True

    # The steps: each returns what it found, or raises StepFailed

    async def _greet(self) -> str:
        greeted = {name: r.greeted for name, r in self.organism.runners.items() if name != "steward"}
        odd = {name: how for name, how in greeted.items() if how != "accepted"}
        hold(not odd, f"the five-phase handshake was not accepted: {odd}")
        return f"{len(greeted)} parts passed {', '.join(PHASES)}: {', '.join(greeted)}"

    async def _sense(self) -> str:
        await self._until(lambda: len(self.waves) >= READINGS, f"{READINGS} readings of this machine")
        last = self.waves[-1]
        return f"{len(self.waves)} waves felt; the newest: {last.content} (confidence {last.confidence_ppm / 1e6:.1f})"

    async def _ask(self) -> str:
        text = self.question or QUESTION
        answer = await self.bus.request(MathRequest(text))
        if isinstance(answer, Refusal):
            hold(answer.code == "B012" and text != QUESTION, f"the math cell did not answer {text!r}: {answer}")
            return f"{text!r} was refused by name: {answer}"
        hold(text != QUESTION or answer == MathResponse(QUESTION, 14.0, "14"), f"{text} was answered with {answer}")
        assert isinstance(answer, MathResponse)
        return f"{text} = {answer.exact}" + ("" if answer.exact == f"{answer.value:g}" else f" ≈ {answer.value}")

    async def _decide(self) -> str:
        answer = await self.bus.request(AssessRequest(self.settings.site))
        hold(isinstance(answer, Decided), f"the overload nerve did not decide: {answer}")
        assert isinstance(answer, Decided)
        self.position = answer.index
        position = f"log position ({answer.index}, {answer.offset}), proof {answer.proof}"
        return f"the overload nerve assessed {self.settings.site} at {position}"

    async def _intrude(self) -> str:
        """Try what must not work: writing a decision as somebody who owns none."""
        if isinstance(self.host, RemoteHost):
            return "skipped: permissions on this server are administered elsewhere"
        subject = f"{self.settings.env}.nervous.overload.event.{self.settings.site}.assessed"
        try:
            await self.bus.wire.publish(subject, b"forged")
            await self.bus.wire.confirm(subject)
        except NotPermitted as refusal:
            return f"a forged decision was refused by the server: {refusal}"
        raise StepFailed(f"the server let the operator write on {subject}")

    async def _view(self) -> str:
        records = self._records()
        await self._until_async(self._view_has_read, f"the view to reach log position {self.position}")
        rows = [row_of(row) for row in await records.newest(DECISIONS, 1_000)]
        shown = [row for row in rows if row.index == self.position and not row.refusal]
        hold(len(shown) == 1, f"PostgreSQL shows {len(shown)} rows of entry {self.position}, one was decided")
        return f"PostgreSQL shows entry {shown[0].index} of {shown[0].source}: {_in_words(shown[0])}"

    async def _rebuild(self) -> str:
        live = self._records()
        await self._until_async(self._view_has_read, "the view to settle")
        again = PostgresRecords(live.dsn, "rebuilt")
        try:
            await again.drop()
            stop, found = await verify(live, again, self.bus, self.bus.replay(self.organism.fingerprint))
        finally:
            await again.remove()
            await again.close()
        odd = [f"{each.table}: {each.difference}" for each in found if each.live != each.rebuilt]
        hold(not odd, f"the live views differ from what the log says: {odd[:1]}")
        rows = sum(each.live.rows for each in found)
        return f"{len(found)} tables rebuilt from {stop} entries, all {rows} rows identical"

    async def _replay(self) -> str:
        found: Recheck = await recheck(
            self.bus, self.organism.fingerprint, [r.part for r in self.organism.runners.values()]
        )
        self.report.log["size"] = found.entries
        hold(
            not found.void, f"{len(found.void)} entries of the log are void, the first: {next(iter(found.void), None)}"
        )
        hold(not found.differing, f"decisions differ when run again: {found.differing[:3]}")
        hold(self.position < found.entries, f"the log ends before position {self.position}")
        return (
            f"{found.entries} entries read back from the genesis, every signature and chain admitted; "
            f"{found.rerun} decisions run again from their evidence, {_repeated(found)}"
        )

    async def _models(self, host: EmbeddedHost | RemoteHost) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        """Return the way from posts to a promoted model; on other people's servers nobody is introduced by a tour."""
        if isinstance(host, RemoteHost) or self.models == "none":
            return []
        teacher = Teacher(self.bus, host.keys, self.loaded, lambda line: self.terminal.say(line, "dim"))
        return await teacher.steps(anew=self.models == "anew")

    def _auditor(self) -> Auditor:
        """Return who shows what an auditor does, on this log."""
        return Auditor(self.bus, self.settings, self.organism.fingerprint, lambda: self.position, self.report.log)

    # How a step is taken and told

    async def _step(self, name: str, work: Callable[[], Awaitable[str]]) -> None:
        still_wanted()
        before = self.world.elapsed_s()
        try:
            async with asyncio.timeout(TRAIN_S):
                detail, ok = await work(), True
        except (Fault, Refused, TimeoutError) as failure:
            detail, ok = str(failure) or f"no end within {TRAIN_S:g} s", False
        self._record(Step(name, ok, round(self.world.elapsed_s() - before, 3), detail))
        if not ok:
            raise StepFailed(f"the step `{name}` did not hold: {detail}")

    def _record(self, step: Step) -> None:
        self.report.steps.append(step)
        mark, style = ("✓", "green") if step.ok else ("✗", "red")
        self.terminal.say(
            f"  [{style}]{mark}[/] [bold]{step.name:<8}[/] [dim]{step.seconds:6.2f} s[/]  {escape(step.detail)}"
        )

    def _servers(self) -> str:
        where = redact(self.host.url)
        kind = "nats-server and PostgreSQL, embedded" if isinstance(self.host, EmbeddedHost) else "configured servers"
        return f"{kind}, at {where}; log of {self.settings.env}, trust {self.organism.fingerprint[:16]}…"

    def _hear(self, delivery: Delivery) -> None:
        self.waves.append(decode(VitalsWave, delivery.data))

    def _records(self) -> PostgresRecords:
        part = self.organism.runners["records"].part
        assert isinstance(part, RecordsOrgan)
        assert isinstance(part.records, PostgresRecords)
        return part.records

    async def _view_has_read(self) -> bool:
        return await self._records().next_index() > self.position

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        async def check() -> bool:
            return holds()

        await self._until_async(check, what)

    async def _until_async(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        give_up = self.world.elapsed_s() + PATIENCE_S
        while not await holds():
            still_wanted()
            if self.world.elapsed_s() > give_up:
                raise StepFailed(f"waited {PATIENCE_S:g} s for {what}")
            await self.world.sleep(0.02)


def speaking_for(loaded: Loaded) -> Loaded:
    """Return the configuration with what a tour says of a machine that nobody measures: that it has no turbines.

    It says so for its own organism, and only where the operator says nothing of a meter, of turbines or of a permit.
    """
    settings = loaded.settings
    said = settings.energy_turbines or settings.energy_nox_permit_mg_h is not None
    measured = settings.energy_meter not in {None, "declared"}
    if settings.env != "dev" or settings.nats_url or said or measured:
        return loaded
    told = {"energy_turbines": "none"}
    return Loaded(settings.model_copy(update=told), {**loaded.origin, "energy_turbines": "the tour"})


async def take(  # noqa: PLR0913 - what may be chosen of a tour
    loaded: Loaded, terminal: Terminal, *, question: str | None, stay: bool, report: Path | None, models: Models
) -> Report:
    """Start an organism, walk through it, write the report; with `stay`, keep it alive until interrupted."""
    world = RealWorld(loaded.settings.env)
    terminal.say("\n[bold]Nimmerverse[/] — a nervous system whose every decision is signed, stored and replayable\n")
    if loaded.settings.energy_turbines != (loaded := speaking_for(loaded)).settings.energy_turbines:
        terminal.say("  the tour says of this machine that it has no turbines (energy_turbines = none)", "dim")
    terminal.say("  starting the servers; the first time makes keys and a database …", "dim")
    tour = Tour(loaded, terminal, question, models)
    before = world.elapsed_s()
    try:
        async with living(loaded, BUILT_IN) as (host, organism):
            await tour.walk(host, organism, started_s=round(world.elapsed_s() - before, 3))
            _write(report, tour.report)
            terminal.say(_NEXT.replace("SITE", loaded.settings.site))
            if stay:
                terminal.say("  [bold]The organism stays alive.[/] Ctrl-C stops it.\n")
                await _stay(organism, world)
    except (Fault, Refused) as failure:
        if not isinstance(failure, StepFailed):
            seconds = round(world.elapsed_s() - before, 3)
            tour.report.steps.append(Step("start", ok=False, seconds=seconds, detail=str(failure)))
        _write(report, tour.report)
        raise
    return tour.report


async def _stay(organism: Organism, world: RealWorld) -> None:
    while True:
        still_wanted()
        organism.raise_if_broken()
        await world.sleep(0.5)


def _write(path: Path | None, report: Report) -> None:
    if path is not None:
        with storing(path):
            path.write_text(json.dumps(msgspec.to_builtins(report), indent=2) + "\n")


def _repeated(found: Recheck) -> str:
    """Return how decisions came out: those of an earlier version need that version, `audit replay` names it."""
    if not found.other_versions:
        return "all the same"
    return f"all the same but {found.other_versions} that other versions made (`./run audit replay` says which)"


def _in_words(row: DecisionRow) -> str:
    decided = msgspec.json.decode(row.data, type=LoadAssessed)
    assert decided.cpu is not None, "asked, it decides from readings"
    cpu = f"cpu {decided.cpu.least_ppm // 10_000} to {decided.cpu.most_ppm // 10_000} %"
    return f"{decided.site} is {decided.level} ({cpu} in {decided.readings} readings)"


_NEXT = """
  [bold]Try next[/], in another terminal while an organism runs (this one, or `./run up`):
    ./run ask "17 * 23 / 4"             ask the math cell
    ./run watch                         see every message, decoded and verified
    ./run request nervous.overload.assess.request '{"site": "SITE"}'
    ./run replay                        the whole log, every entry admitted again
    ./run part docs/my_cell.py          your own cell: copy this one, which the README explains
"""
