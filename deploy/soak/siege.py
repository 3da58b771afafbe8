"""The soak itself: starts an organism and its load, strikes as planned, and judges what is left.

The organism runs as `nimmerverse up`, some of its parts and its writers each as a process beside it, behind a relay.
What the soak itself does to the home it does as other processes of the same user, with the commands that people use.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import psutil

from deploy.host import OPERATOR
from deploy.load import BUILT_IN
from deploy.restore import check_manifest
from deploy.soak import judge, writer
from deploy.soak.copies import COPIES, Flipped, flip
from deploy.soak.filling import KEPT_S, fill
from deploy.soak.judge import Held, Line
from deploy.soak.load import Asker, write_posts
from deploy.soak.plan import SKEW_MS, Strike
from deploy.soak.proxy import Proxy
from deploy.soak.roles import Role, Works, alive, environment, grows, says
from deploy.soak.samples import SAMPLE_S, Samples
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.config import load
from shared.constant import constant
from shared.errors import Exit, Fault, StorageFault
from shared.files import private_folder
from shared.home import Keys, Running, nkey_path
from shared.keys.sealed import CHEAP
from shared.settings import Settings
from shared.version import VERSION
from shared.world import RealWorld, World

#: The parts that are processes of their own: a cell, two nerves, and the organ that writes the views.
BESIDE = ("cells.math_cell", "nerves.overload", "nerves.gate", "organs.records")
WRITERS = {"w-single": "single", "w-batch": "batch", "w-sealed": "sealed"}
SERVERS = {"bus": "nats-server", "database": "postgres"}
WRITTEN_PER_S = constant(8.0, "events/s", "X-07")  #: by each writer
QUOTA_MB = constant(96, "MB", "X-10")
QUOTA_PER_S = constant(0.1, "MB/s", "X-10")  #: more of it for each second that a soak lasts
WITHOUT_END = 10**9
INGEST_S = constant(40.0, "s", "X-07")
PATIENCE_S = constant(120.0, "s", "X-07")
POLL_S = constant(0.1, "s", "X-07")
CUT_S = (0.5, 5.0)
FROZEN_S = (2.0, 8.0)
ACCEPTED = (int(Exit.OK), int(Exit.UNKNOWN_SIGNER))

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Struck:
    """What a strike did, and when."""

    at_s: float
    kind: str
    what: str


@dataclass
class Outcome:
    """What a soak came to."""

    seed: int
    seconds: float
    planned: int
    lines: list[Line] = field(default_factory=list[Line])
    struck: list[Struck] = field(default_factory=list[Struck])
    samples: Samples = field(default_factory=Samples)
    acknowledged: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    asked: Counter[str] = field(default_factory=Counter[str])
    answered: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    ingested: int = 0
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether no line failed."""
        return all(line.ok is not False for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as plain values, without the measurements."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "acknowledged": self.acknowledged[-1][1] if self.acknowledged else 0,
            "asked": dict(self.asked),
            "answered": dict(self.answered),
            "refused": dict(self.refused),
            "ingested": self.ingested,
            "planned": self.planned,
            "struck": [{"at_s": one.at_s, "kind": one.kind, "what": one.what} for one in self.struck],
            "lines": [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in self.lines],
        }


class Soak:
    """An organism in a folder of its own, its load, and the strikes on it."""

    def __init__(  # noqa: PLR0913 - what a soak is made of
        self,
        env: str,
        folder: Path,
        seconds: float,
        strikes: Sequence[Strike],
        *,
        seed: int,
        say: Say,
        parts: Sequence[str] = BUILT_IN,
    ) -> None:
        self.folder, self.strikes, self.say = folder, strikes, say
        self.within = [name for name in parts if name not in BESIDE]
        self.beside = [name for name in parts if name in BESIDE]
        self.world: World = RealWorld(env)
        quota_mb = QUOTA_MB + round(QUOTA_PER_S * seconds)
        self.given = {
            "home": str(folder / "home"), "env": env, "site": "soak", "disk_quota_mb": str(quota_mb), "color": "never",
        }  # fmt: skip
        self.settings: Settings = load({}, self.given, "soak").settings
        self.outcome = Outcome(seed, seconds, len(strikes))
        self.roles: dict[str, Role] = {}
        self.told_files = {name: folder / f"{name}.told" for name in WRITERS}
        self.proxy = Proxy(self._port)
        self.asker = Asker(self.world, self.settings, parts)
        self.flipped: list[Flipped] = []
        self.full: list[str] = []  #: what is to object to how the quota was met
        self.filled = 0
        self._linked, self._filling = asyncio.Lock(), asyncio.Lock()
        self._begun_s = 0.0
        self._last: Running | None = None

    async def run(self) -> Outcome:
        """Live, be struck, be judged; a first Ctrl-C ends the living, and what was done is judged."""
        async with AsyncExitStack() as closing:
            await self._start(closing)
            self._begun_s = self.world.elapsed_s()
            self.say(f"the organism works; {self.outcome.planned} strikes in {self.outcome.seconds:.0f} s")
            try:
                await self._live()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
                self.outcome.interrupted = True
                self.outcome.seconds = self._now_s()
                self.say("interrupted: what was done is judged")
            await self._judge()
        return self.outcome

    async def _start(self, closing: AsyncExitStack) -> None:
        private_folder(self.folder)
        private_folder(self.folder / "home")
        Keys(self.settings, self.world, CHEAP)
        await self.proxy.join()
        closing.push_async_callback(self.proxy.close)
        self.asker.through = self.proxy.url
        closing.push_async_callback(self.asker.close)
        words = ["deploy", "up", "--json", *(word for name in self.within for word in ("--part", name))]
        await self._role("organism", words, alive(self.settings, self.world), closing).child.start()
        for name in self.beside:
            log = self.folder / f"{name}.log"
            self._role(name, self._part(name, 0), says(log, " works in ", self.world), closing)
        for name, style in WRITERS.items():
            file = self.told_files[name]
            words = ["deploy.soak.writer", name, style, str(WITHOUT_END), str(file)]
            words += ["--through", self.proxy.url, "--per-s", str(WRITTEN_PER_S)]
            self._role(name, words, grows(file, self.world), closing)
        await asyncio.gather(*(role.child.start() for name, role in self.roles.items() if name != "organism"))

    def _role(self, name: str, words: list[str], works: Works, closing: AsyncExitStack) -> Role:
        role = self.roles[name] = Role(name, words, self.folder / f"{name}.log", environment(self.given), works)
        closing.push_async_callback(role.child.stop)
        return role

    def _part(self, name: str, skew_ms: int) -> list[str]:
        return ["deploy.soak.part", name, self.proxy.url, str(skew_ms)]

    # Living

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            work: list[Coroutine[Any, Any, None]] = [self._sample(), self.asker.run(), self._ingest()]
            living = [group.create_task(each) for each in work]
            striking = [group.create_task(self._strike(strike)) for strike in self.strikes]
            await self.world.sleep(self.outcome.seconds)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*striking)
            for each in living:
                each.cancel()

    def _now_s(self) -> float:
        return self.world.elapsed_s() - self._begun_s

    def _acknowledged(self) -> int:
        return sum(file.read_bytes().count(b"\n") for file in self.told_files.values())

    async def _sample(self) -> None:
        while True:
            at_s = round(self._now_s(), 3)
            for name, role in self.roles.items():
                if role.child.pid is not None:
                    with suppress(psutil.Error):
                        self.outcome.samples.take(at_s, name, [psutil.Process(role.child.pid)])
            for name in SERVERS.values():
                self.outcome.samples.take(at_s, name, self.roles["organism"].below(name))
            self.outcome.acknowledged.append((at_s, self._acknowledged()))
            await self.world.sleep(SAMPLE_S)

    async def _ingest(self) -> None:
        posts = self.folder / "posts.jsonl"
        write_posts(posts)
        while "nerves.provenance" in self.within:
            words = ("ingest", str(posts), "--corpus", f"soak-{self.outcome.ingested}", "--no-scorer")
            code, _ = await self._command(*words, through=self.proxy.url)
            self.outcome.ingested += code == int(Exit.OK)
            await self.world.sleep(INGEST_S)

    # Strikes

    async def _strike(self, strike: Strike) -> None:
        await self.world.sleep(strike.at_s - self._now_s())
        strikes: dict[str, Callable[[Strike], Awaitable[str]]] = {
            "part": self._kill_part,
            "writer": self._kill_writer,
            "organism": self._kill_organism,
            "bus": self._kill_server,
            "database": self._kill_server,
            "cut": self._cut,
            "freeze": self._freeze,
            "full": self._fill,
            "skew": self._skew,
            "flip": self._flip,
        }
        at_s = self._now_s()
        try:
            what = await strikes[strike.kind](strike)
        except Fault as fault:
            what = f"missed: {fault}"
        self.outcome.struck.append(Struck(round(at_s, 1), strike.kind, what))
        done = f"{len(self.outcome.struck)} of {self.outcome.planned}"
        answered = self.asker.answered.total()
        self.say(f"{at_s:7.1f} s  {what} ({done}; {self._acknowledged()} acknowledged, {answered} answered)")

    async def _kill_part(self, strike: Strike) -> str:
        return await self._kill(strike.pick(self.beside))

    async def _kill_writer(self, strike: Strike) -> str:
        return await self._kill(strike.pick(tuple(WRITERS)))

    async def _kill_organism(self, _: Strike) -> str:
        return await self._kill("organism")

    async def _kill(self, name: str) -> str:
        await self.roles[name].kill()
        return f"killed {name}"

    async def _kill_server(self, strike: Strike) -> str:
        name = SERVERS[strike.kind]
        found = await self._until(lambda: self.roles["organism"].below(name), f"no {name} runs")
        with suppress(psutil.NoSuchProcess):
            found[0].kill()
        return f"killed {name}"

    async def _skew(self, strike: Strike) -> str:
        name, skew_ms = (
            strike.pick(self.beside),
            round(strike.between(-SKEW_MS, SKEW_MS) * 1e4 % (2 * SKEW_MS)) - SKEW_MS,
        )
        self.roles[name].renamed(self._part(name, skew_ms))
        await self.roles[name].kill()
        return f"killed {name}, whose next clock is off by {skew_ms / 1000:+.1f} s"

    async def _cut(self, strike: Strike) -> str:
        seconds = strike.between(*CUT_S)
        async with self._linked:
            self.proxy.cut()
            await self.world.sleep(seconds)
            await self.proxy.join()
        return f"cut every connection for {seconds:.1f} s"

    async def _freeze(self, strike: Strike) -> str:
        direction: Literal["up", "down"] = "up" if strike.draw * 1e3 % 1 < 1 / 2 else "down"
        seconds = strike.between(*FROZEN_S)
        async with self._linked:
            self.proxy.freeze(direction)
            await self.world.sleep(seconds)
            self.proxy.thaw()
        return f"let nothing {direction} for {seconds:.1f} s"

    async def _fill(self, _: Strike) -> str:
        async with self._filling:
            before = self._refused()
            running = await self._until(lambda: Running.read(self.settings), "nothing runs")
            written = await fill(self.settings, running.url)
            filled_s = self._now_s()
            while self._refused() == before and self._now_s() - filled_s < KEPT_S / 2:
                await self.world.sleep(POLL_S)
            refused = self._refused() - before
            if not refused:
                return f"filled the quota with {written // 2**20} MiB, and nobody wrote before there was room again"
            self.filled += 1
            reached = self._acknowledged()
            try:
                await self._until(lambda: self._acknowledged() > reached, "no room")
            except StorageFault:
                self.full.append(f"no append was acknowledged in {PATIENCE_S:.0f} s after the quota was met")
            return f"filled the quota with {written // 2**20} MiB: {refused} times refused, and gone on"

    def _refused(self) -> int:
        """Return how often a writer was told that there is no room."""
        logs = [self.roles[name].log for name in WRITERS]
        return sum(log.read_text(errors="replace").count("StorageFault:") for log in logs if log.exists())

    async def _flip(self, strike: Strike) -> str:
        what = COPIES[len(self.flipped) % len(COPIES)]
        copy = self.folder / f"copy-{len(self.flipped)}"
        words = ("audit", "bundle", str(copy)) if what == "bundle" else ("audit", "backup", str(copy))
        await self._insist(*words)
        checked = copy / "tiles" if what == "tiles" else copy
        trust = (await self._until(lambda: Running.read(self.settings), "nothing runs")).fingerprint
        sound, words_sound = await self._checked(what, checked, trust)
        paths = [checked] if checked.is_file() else sorted(path for path in checked.rglob("*") if path.is_file())
        path, at = flip([path for path in paths if path.name != "manifest.json"], strike)
        accepted, said = await self._checked(what, checked, trust)
        where = f"byte {at} of {path.relative_to(self.folder)}"
        said = said if sound else f"refused before that already: {words_sound}"
        self.flipped.append(Flipped(what, where, sound and not accepted, said))
        return f"flipped {where}: {'ACCEPTED' if accepted else said}"

    async def _checked(self, what: str, copy: Path, trust: str) -> tuple[bool, str]:
        """Say whether a copy is accepted, and what is said of it."""
        if what == "backup":
            try:
                check_manifest(copy, self.settings)
            except Fault as fault:
                return False, str(fault)
            return True, "every file is as its manifest says"
        code, told = await self._command("audit", "verify", str(copy), "--trust", trust)
        if code != int(Exit.OK) and not Exit(code).is_of_an_audit:
            raise StorageFault(f"`audit verify` of a copy ended with {code}: {told}")
        return code in ACCEPTED, _first_objection(told)

    # What other processes do

    async def _command(self, *words: str, through: str = "") -> tuple[int, Any]:
        """Run a command beside the organism; return its exit code and the last document it printed."""
        running = Running.read(self.settings) or self._last
        if running is None:
            return int(Exit.UNREACHABLE), {}
        self._last = running
        beside = {
            "nats_nkey": str(nkey_path(self.settings, OPERATOR)),
            "nats_url": through or running.url,
            "database_url": running.database_url,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy", *words, "--json",
            stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True, env=environment(self.given | beside),
        )  # fmt: skip
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        lines = out.decode().splitlines()
        return int(process.returncode or 0), json.loads(lines[-1]) if lines else {}

    async def _insist(self, *words: str) -> Any:  # noqa: ANN401 - JSON
        """Run a command until it succeeds, as a person would while everything is struck."""
        give_up = self.world.elapsed_s() + PATIENCE_S
        while (done := await self._command(*words))[0] != int(Exit.OK):
            if self.world.elapsed_s() > give_up:
                raise StorageFault(f"`{' '.join(words[:2])}` ended with {done[0]}: {done[1]}")
            await self.world.sleep(1)
        return done[1]

    async def _until(self, found: Callable[[], Any], otherwise: str) -> Any:  # noqa: ANN401 - whatever is found
        give_up = self.world.elapsed_s() + PATIENCE_S
        while not (value := found()):
            if self.world.elapsed_s() > give_up:
                raise StorageFault(otherwise)
            await self.world.sleep(POLL_S)
        return value

    def _port(self) -> int:
        running = Running.read(self.settings)
        if running is None:
            raise ConnectionRefusedError
        return urlsplit(running.url).port or 0

    # Judging

    async def _judge(self) -> None:
        out, lines = self.outcome, self.outcome.lines
        end_s = out.seconds
        self.proxy.thaw()
        self.say("judging …")
        for role in self.roles.values():
            with suppress(Fault):
                await role.whole()
        unanswered = await self.asker.insist(PATIENCE_S)
        out.asked, out.answered, out.refused = self.asker.asked, self.asker.answered, self.asker.refused
        for name in WRITERS:
            await self.roles[name].child.stop()
        lines.append(judge.none_of("answers", (f"{name} answers no more" for name in unanswered), _counts(out)))
        lines.append(judge.none_of("lives", (r.objection() for r in self.roles.values()), _lives(self.roles)))
        lines.append(await self._audited())
        lines.append(await self._viewed())
        lines.append(await self._appended())
        lines.append(judge.copies(self.flipped))
        lines.append(self._refusals())
        lines += judge.growth(out.samples, end_s, [*self.roles, *SERVERS.values()])

    async def _audited(self) -> Line:
        running = Running.read(self.settings)
        code, told = await self._command("audit", "verify", "--trust", running.fingerprint if running else "")
        if code == int(Exit.OK):
            return Line("audit verify", ok=True, detail=f"{told['entries']} entries, {told['signed']} of them signed")
        return Line("audit verify", ok=False, detail=f"ended with {code}: {_first_objection(told)}")

    async def _viewed(self) -> Line:
        code, told = await self._command("views", "verify")
        if code == int(Exit.OK):
            tables = f"{len(told['tables'])} tables are what the log says at index {told['next_index']}"
            return Line("views verify", ok=True, detail=tables)
        odd = ", ".join(one["table"] for one in told.get("tables", []) if not one["equal"])
        return Line("views verify", ok=False, detail=f"ended with {code}: {odd or told.get('error', told)}")

    async def _appended(self) -> Line:
        told = {
            writer.draft(name, one.n).event_id: (one.index, one.offset)
            for name, file in self.told_files.items()
            for one in writer.told(file)
        }
        held = Held()
        try:
            async with self._reader() as (bus, trust):
                async for verdict in bus.replay(trust):
                    held.add(verdict)
        except Fault as fault:
            return Line("appends", ok=False, detail=f"the log cannot be read: {fault}")
        return judge.appends(held, told)

    def _refusals(self) -> Line:
        if not self.filled and not self.full:
            return Line("quota", None, "it was not met")
        well = f"{self.filled} times met: refused as StorageFault, and gone on once there was room"
        return judge.none_of("quota", self.full, well)

    @asynccontextmanager
    async def _reader(self) -> AsyncGenerator[tuple[Bus, str]]:
        running = cast("Running", await self._until(lambda: Running.read(self.settings), "nothing runs"))
        wire = await connect(running.url, OPERATOR, nkey=nkey_path(self.settings, OPERATOR), private_inbox=False)
        try:
            yield Bus(self.world, wire, OPERATOR, VERSION, []), running.fingerprint
        finally:
            await wire.close()


def _first_objection(told: dict[str, Any]) -> str:
    """Return the first thing that an audit objects to, in its own words."""
    questions = (told.get(name) for name in ("integrity", "completeness", "freshness", "admission", "trust"))
    said = next((q["detail"] for q in questions if isinstance(q, dict) and not q["ok"]), "")
    return said or told.get("error") or str(told.get("verdict", told))


def _counts(out: Outcome) -> str:
    return ", ".join(f"{name} {out.answered[name]} of {out.asked[name]}" for name in out.asked) or "nothing was asked"


def _lives(roles: dict[str, Role]) -> str:
    kills = sum(role.kills for role in roles.values())
    return f"{len(roles)} processes, killed {kills} times, died of nothing else"
