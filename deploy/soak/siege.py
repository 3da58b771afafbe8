"""The soak itself: starts an organism and its load, has it struck as planned, and judges what is left.

The organism runs as `nimmerverse up`, some of its parts and its writers each as a process beside it, behind a relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil

from deploy.load import BUILT_IN
from deploy.soak import judge, writer
from deploy.soak.beside import OK, SOAK_PATIENCE_S, Beside, objection
from deploy.soak.judge import Held, Line, Window
from deploy.soak.load import INGESTS, Asker, write_posts
from deploy.soak.outcome import Outcome, Struck
from deploy.soak.plan import Strike
from deploy.soak.proxy import Proxy
from deploy.soak.roles import NO_ROOM, NOTHING_TO_JOIN, Role, Works, alive, environment, grows, says, still
from deploy.soak.samples import JUDGED_SHARE, SAMPLE_S, WARM_S
from deploy.soak.strikes import SERVERS, Field, Strikes
from shared.constant import constant
from shared.errors import Fault
from shared.files import private_folder
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.part.runner import REMEMBERED
from shared.world import RealWorld

#: The parts that are processes of their own: a cell, two nerves, and the organ that writes the views.
BESIDE = ("cells.math_cell", "nerves.overload", "nerves.gate", "organs.records")
WRITERS = {"w-single": "single", "w-batch": "batch", "w-sealed": "sealed"}
ORGANISM = "organism"
READERS = (ORGANISM, "organs.records")  #: the roles that follow the whole log
EVENT_BYTES = constant(400, "bytes/event", "X-07")  #: what a reader keeps of each event, to know a repeated one
MESSAGE_BYTES = constant(400, "bytes/message", "X-07")  #: what a part keeps of a message, while it remembers few
SLOW_S = constant(1_100.0, "s", "X-07")  #: what is judged over so long settles slowly, or comes and goes slowly
#: Memory of servers and of many parts in one process; PostgreSQL's files come and go with a checkpoint in five minutes.
SLOW = (*(f"memory of {role}" for role in (ORGANISM, *SERVERS.values())), f"handles of {SERVERS['database']}")
WRITTEN_PER_S = constant(8.0, "events/s", "X-07")  #: by each writer
QUOTA_MB = constant(96, "MB", "X-10")
QUOTA_PER_S = constant(0.1, "MB/s", "X-10")  #: more of it for each second that a soak lasts
WITHOUT_END = 10**9
INGEST_S = constant(40.0, "s", "X-07")

Say = Callable[[str], None]


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
        writers: Mapping[str, str] = WRITERS,
    ) -> None:
        self.folder, self.strikes, self.say, self.parts, self.writers = folder, strikes, say, parts, writers
        self.world = RealWorld(env)
        self.given = {
            "home": str(folder / "home"),
            "env": env,
            "site": "soak",
            "disk_quota_mb": str(QUOTA_MB + round(QUOTA_PER_S * seconds)),
        }
        self.beside = Beside(self.world, self.given)
        self.told_files = {name: folder / f"{name}.told" for name in writers}
        self.posts = folder / "posts.jsonl"
        self.proxy = Proxy(self.beside.port)
        beside = [name for name in parts if name in BESIDE]
        self.field = Field(self.beside, folder, self.proxy, beside, self.told_files, self._words_of_part)
        self.roles = self.field.roles
        self.struck = Strikes(self.field)
        self.asker = Asker(self.world, self.beside.settings, parts)
        self.outcome = Outcome(seed, seconds, len(strikes))
        self._begun_s = self._settled_s = 0.0

    async def run(self) -> Outcome:
        """Live, be struck, be judged; a first Ctrl-C ends the living, and what was done is judged."""
        async with AsyncExitStack() as closing:
            await self._start(closing)
            self._begun_s = self.world.elapsed_s()
            self.say(f"the organism works; {self.outcome.planned} strikes in {self.outcome.seconds:.0f} s")
            try:
                await self._live()
            except asyncio.CancelledError:
                if task := asyncio.current_task():
                    task.uncancel()
                self.outcome.interrupted, self.outcome.seconds = True, self._now_s()
                self.say("interrupted: what was done is judged")
            await self._judge()
        return self.outcome

    # Starting

    async def _start(self, closing: AsyncExitStack) -> None:
        private_folder(self.folder)
        private_folder(self.folder / "home")
        Keys(self.beside.settings, self.world, CHEAP)
        await self.proxy.join()
        closing.push_async_callback(self.proxy.close)
        self.asker.through = self.proxy.url
        closing.push_async_callback(self.asker.close)
        within = [name for name in self.parts if name not in BESIDE]
        words = ["deploy", "up", "--json", *(word for name in within for word in ("--part", name))]
        organism = self._role(ORGANISM, words, alive(self.beside.settings, self.world), closing)
        organism.excused = NO_ROOM
        await organism.child.start()
        beside = [self._part(name, closing) for name in self.field.parts]
        beside += [self._writer(name, style, closing) for name, style in self.writers.items()]
        await asyncio.gather(*(role.child.start() for role in beside))

    def _part(self, name: str, closing: AsyncExitStack) -> Role:
        log = self.folder / f"{name}.log"
        role = self._role(name, self._words_of_part(name, 0), says(log, " works in ", self.world), closing)
        role.excused = NOTHING_TO_JOIN
        return role

    def _words_of_part(self, name: str, skew_ms: int) -> list[str]:
        return ["deploy.soak.part", name, self.proxy.url, str(skew_ms)]

    def _writer(self, name: str, style: str, closing: AsyncExitStack) -> Role:
        file = self.told_files[name]
        words = ["deploy.soak.writer", name, style, str(WITHOUT_END), str(file)]
        words += ["--through", self.proxy.url, "--per-s", str(WRITTEN_PER_S)]
        return self._role(name, words, grows(file, self.world), closing)

    def _role(self, name: str, words: list[str], works: Works, closing: AsyncExitStack) -> Role:
        role = self.roles[name] = Role(name, words, self.folder / f"{name}.log", environment(self.given), works)
        closing.push_async_callback(role.child.stop)
        return role

    # Living

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            living = [group.create_task(each) for each in (self._sample(), self.asker.run(), self._ingest())]
            settling = group.create_task(self._settle())
            await self.world.sleep(self.outcome.seconds)
            await settling
            for each in living:
                each.cancel()

    async def _settle(self) -> None:
        """Strike as planned, and wait until everything works again."""
        await asyncio.gather(*(self._strike(strike) for strike in self.strikes))
        await self._whole()
        self._settled_s = self._now_s()
        self.say(f"{self._settled_s:7.1f} s  struck for the last time, and everything works")

    async def _whole(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SOAK_PATIENCE_S):
                await asyncio.gather(*(role.whole() for role in self.roles.values()), return_exceptions=True)

    async def _strike(self, strike: Strike) -> None:
        await self.world.sleep(strike.at_s - self._now_s())
        at_s = self._now_s()
        try:
            what, landed = await self.struck.strike(strike), True
        except Fault as fault:
            what, landed = f"missed: {fault}", False
        self.outcome.struck.append(Struck(round(at_s, 1), strike.kind, what, landed))
        done = f"{len(self.outcome.struck)} of {self.outcome.planned}"
        answered = self.asker.answered.total()
        self.say(f"{at_s:7.1f} s  {what} ({done}; {self._acknowledged()} acknowledged, {answered} answered)")

    async def _sample(self) -> None:
        samples = self.outcome.samples
        while True:
            at_s = round(self._now_s(), 3)
            for name, role in self.roles.items():
                with suppress(psutil.Error):
                    process = [psutil.Process(role.child.pid)] if role.child.pid else []
                    samples.take(at_s, name, process, self._due(name))
            for name in SERVERS.values():
                samples.take(at_s, name, self.roles[ORGANISM].below(name))
            self.outcome.acknowledged.append((at_s, self._acknowledged()))
            await self.world.sleep(SAMPLE_S)

    def _due(self, name: str) -> int:
        """Return what a role is meant to keep of all that it was told so far."""
        events = self._acknowledged() if name in READERS else 0
        return EVENT_BYTES * events + MESSAGE_BYTES * min(self.asker.told[name], REMEMBERED)

    async def _ingest(self) -> None:
        write_posts(self.posts)
        while self._ingests:
            code, _ = await self.beside.command(*self._words_of_ingest(), through=self.proxy.url)
            self.outcome.ingested += code == OK
            await self.world.sleep(INGEST_S)

    @property
    def _ingests(self) -> bool:
        return set(INGESTS) <= set(self.parts)

    def _words_of_ingest(self) -> tuple[str, ...]:
        return ("ingest", str(self.posts), "--corpus", f"soak-{self.outcome.ingested}", "--no-scorer")

    def _now_s(self) -> float:
        return self.world.elapsed_s() - self._begun_s

    def _acknowledged(self) -> int:
        return sum(file.read_bytes().count(b"\n") for file in self.told_files.values() if file.exists())

    # Judging

    async def _judge(self) -> None:
        self.say("judging …")
        self.proxy.thaw()
        await self._whole()
        unanswered, stuck, ingested = await asyncio.gather(
            self.asker.insist(SOAK_PATIENCE_S),
            still(self.told_files, self.world, SOAK_PATIENCE_S),
            self._ingested(),
        )
        for name in self.writers:
            await self.roles[name].child.stop()
        out, asker = self.outcome, self.asker
        out.asked, out.answered, out.refused = asker.asked, asker.answered, asker.refused
        counted = ", ".join(f"{name} {asker.answered[name]} of {asker.asked[name]}" for name in asker.kinds)
        roles = self.roles.values()
        kills, failed = sum(role.kills for role in roles), sum(role.child.failed.total() for role in roles)
        lived = f"{len(roles)} processes, killed {kills} times, died of nothing else"
        lived += f"; {failed} starts ended for want of what was struck" if failed else ""
        out.lines += [
            judge.none_of("answers", (f"{name} answers no more" for name in unanswered), counted),
            judge.none_of(
                "writers",
                (f"{name} is acknowledged nothing any more" for name in stuck),
                f"each of {len(self.writers)} was acknowledged more after the last strike",
            ),
            judge.none_of("lives", (role.objection() for role in roles), lived),
            ingested,
            self._landed(),
            await self._audited(),
            await self._viewed(),
            await self._appended(),
            judge.copies(self.struck.flipped),
            judge.quota(self.struck.filled),
            *judge.growth(out.samples, self._window(), [*self.roles, *SERVERS.values()]),
        ]

    def _window(self) -> Window:
        """Return the last third, or what is left of it once everything works again and is warm."""
        out = self.outcome
        since_s = max(out.seconds * (1 - JUDGED_SHARE), self._settled_s + WARM_S)
        return Window(since_s, out.seconds, dict.fromkeys(SLOW, SLOW_S))

    def _landed(self) -> Line:
        landed = [one.kind for one in self.outcome.struck if one.landed]
        return judge.strikes([one.kind for one in self.strikes], landed, interrupted=self.outcome.interrupted)

    async def _ingested(self) -> Line:
        """Judge that an ingest goes through after the last strike."""
        if not self._ingests:
            return Line("ingests", None, "no part takes them")
        before = self.outcome.ingested
        try:
            await self.beside.insist(*self._words_of_ingest())
        except Fault as fault:
            return Line("ingests", ok=False, detail=f"{before} went through, none after the last strike: {fault}")
        self.outcome.ingested += 1
        return Line("ingests", ok=True, detail=f"{before} went through under load, one more after the last strike")

    async def _audited(self) -> Line:
        running = self.beside.running
        code, told = await self.beside.command("audit", "verify", "--trust", running.fingerprint if running else "")
        if code == OK:
            return Line("audit verify", ok=True, detail=f"{told['entries']} entries, {told['signed']} of them signed")
        return Line("audit verify", ok=False, detail=f"ended with {code}: {objection(told)}")

    async def _viewed(self) -> Line:
        code, told = await self.beside.command("views", "verify")
        if code == OK:
            tables = f"{len(told['tables'])} tables are what the log says at index {told['next_index']}"
            return Line("views verify", ok=True, detail=tables)
        odd = ", ".join(one["table"] for one in told.get("tables", []) if not one["equal"])
        return Line("views verify", ok=False, detail=f"ended with {code}: {odd or objection(told)}")

    async def _appended(self) -> Line:
        told = {
            writer.draft(name, one.n).event_id: (one.index, one.offset)
            for name, file in self.told_files.items()
            for one in writer.told(file)
        }
        held, running = Held(), self.beside.running
        try:
            async with self.beside.reader() as bus:
                async for verdict in bus.replay(running.fingerprint if running else None):
                    held.add(verdict)
        except Fault as fault:
            return Line("appends", ok=False, detail=f"the log cannot be read: {fault}")
        return judge.appends(held, told)
