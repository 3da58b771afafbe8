"""The organism in one process under virtual time: seeded faults, crashes, a user who asks, invariants at every step.

The same seed gives the same log, byte for byte. Whatever breaks prints the one line that reproduces it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from deploy.load import BUILT_IN, find_part
from deploy.organism import Organism
from deploy.recheck import Rerun, reruns_of
from deploy.sim_host import SimHost, Trouble
from organs.notary import NotaryOrgan
from organs.records import MemoryRecords, RecordsOrgan, digest, fill
from shared.bus import Bus
from shared.bus.ledger import APPEND_DEADLINE_S
from shared.bus.sim import Faults, SimWire
from shared.config import load
from shared.constant import constant
from shared.envelope import Prefix, Verdict, admit, leaf_of
from shared.errors import Fault, Refusal, Refused
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.tree import root_of, sha256
from shared.part.mind import Mind
from shared.subjects.nervous import AssessRequest, MathRequest, MathResponse
from shared.subjects.system import Decided
from shared.world import SimWorld, simulate

SITE = "sim"
NERVE, REPLICA = "nerves.overload", "overload-2"  #: one nerve runs twice: the lane's condition must choose one history
SETTLE_S = constant(120.0, "s", "X-08")


class BrokenInvariant(Fault):
    """The simulated organism did what it must never do; the sentence ends with the line that reproduces it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one simulation did: the log's digest and size, and what the user saw."""

    digest: str
    events: int
    seed: int
    asked: int
    answered: int
    decided: int
    crashes: int


@dataclass
class Judge:
    """Reads every stored entry as it appears and holds the invariants that must be true at every step."""

    prefix: Prefix
    voids: frozenset[str] = frozenset()  #: refusal codes that the drawn faults may bring about
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    effects: dict[bytes, tuple[int, int]] = field(default_factory=dict[bytes, tuple[int, int]])
    hasher: blake3 = field(default_factory=blake3)
    signed: str = ""  #: the last checkpoint that was held
    broken: BrokenInvariant | None = None  #: the first finding; raised where no part can take it for trouble of its own

    def witness(self, entry: Entry) -> None:
        """Judge an entry while its writer waits, and keep what is found."""
        try:
            self.take(entry)
        except BrokenInvariant as finding:
            self.broken = self.broken or finding

    def raise_if_broken(self) -> None:
        """Raise the first finding."""
        if self.broken is not None:
            raise self.broken

    def take(self, entry: Entry) -> None:
        """Judge the next entry; BrokenInvariant if it is void for no good reason or takes effect twice."""
        _hold(entry.index == len(self.verdicts), f"entry {entry.index} follows entry {len(self.verdicts) - 1}")
        verdict = admit(self.prefix, entry)
        self.prefix.fold(verdict)
        self.verdicts.append(verdict)
        self.hasher.update(leaf_of(entry))
        for offset, no in verdict.void():
            _hold(no.code in self.voids, f"({entry.index}, {offset}) on {entry.subject} is void: {no}")
        for offset, event in verdict.admitted():
            _hold(
                event.id not in self.effects,
                f"event {event.id.hex()} took effect at {self.effects.get(event.id)} and {entry.index}",
            )
            self.effects[event.id] = (entry.index, offset)


@dataclass
class User:
    """A simulated person: asks for arithmetic and for assessments, and remembers what was promised."""

    bus: Bus
    asked: int = 0
    answered: int = 0
    promises: list[Decided] = field(default_factory=list[Decided])

    async def live(self) -> None:
        """Ask something every two seconds or so, for ever."""
        while True:
            await self.bus.world.sleep(1 + 2 * self.bus.world.chance())
            self.asked += 1
            if self.asked % 2 == 0:
                answer = await self._ask(AssessRequest(SITE))
                if isinstance(answer, Decided):
                    self.answered += 1
                    self.promises.append(answer)
                continue
            a, b = int(self.bus.world.chance() * 1000), int(self.bus.world.chance() * 1000)
            answer = await self._ask(MathRequest(f"{a} * {b} + {a}"))
            if isinstance(answer, MathResponse):
                self.answered += 1
                _hold(answer.exact == str(a * b + a), f"{answer.text} was answered with {answer.exact}")

    async def _ask(self, request: MathRequest | AssessRequest) -> object:
        try:
            return await self.bus.request(request)
        except Fault as fault:
            return Refusal("B006", str(fault))


def run(seed: int, minutes: float = 2.0, trouble: Trouble | None = None) -> Outcome:
    """Simulate the organism and return what happened; BrokenInvariant with the reproducing line if it misbehaves."""
    chosen = trouble or Trouble()
    try:
        return simulate(lambda: _life(seed, minutes, chosen))
    except Exception as failure:  # whatever it is, the seed reproduces it
        faults = f" --faults {chosen}" if str(chosen) else ""
        line = f"nimmerverse sim --seed {seed} --minutes {minutes:g}{faults}"
        raise BrokenInvariant(f"{type(failure).__name__}: {failure}\nreproduce with: {line}") from failure


async def _life(seed: int, minutes: float, trouble: Trouble) -> Outcome:
    world = SimWorld("dev", seed)
    host = SimHost(world, trouble)
    judge = Judge(Prefix("dev"), trouble.voids)
    host.server.witness = judge.witness
    organism = Organism(host, load({}, {"env": "dev", "site": SITE, "home": "/nonexistent"}, SITE))
    calm = host.server.faults
    host.server.faults = Faults()  # the ground is prepared in peace; what follows is not
    await organism.start([find_part(name).simulate(world.fork(name)) for name in BUILT_IN])
    await organism.add(find_part(NERVE).simulate(world.fork(REPLICA)), REPLICA)
    host.server.faults = calm
    user = User(Bus(host.world("operator"), await host.wire("operator"), "operator", "1", []))
    chaos = Chaos(host, organism, world.fork("chaos"), trouble)
    loop = asyncio.get_running_loop()
    tasks = [
        loop.create_task(user.live()),
        loop.create_task(chaos.live()),
        loop.create_task(_watch(organism, judge, world)),
    ]
    await _while(tasks, world.sleep(minutes * 60))
    await _stopped(tasks)
    await chaos.calm()
    await _settled(organism, judge, world)
    await _agree(organism, judge, user)
    notary = _notary(organism)
    await organism.stop()
    _hold_signed(notary, judge, whole=True)
    return Outcome(
        judge.hasher.hexdigest(), len(judge.effects), seed, user.asked, user.answered, len(user.promises), chaos.crashes
    )


class Chaos:
    """Crashes parts and cuts links at drawn moments, and brings them back."""

    def __init__(self, host: SimHost, organism: Organism, world: SimWorld, trouble: Trouble) -> None:
        self.host, self.organism, self.world, self.trouble = host, organism, world, trouble
        self.crashes = 0
        self._down: set[asyncio.Task[None]] = set()

    async def live(self) -> None:
        """Draw trouble for ever, on average as often as asked."""
        per_minute = self.trouble.crash + self.trouble.cut
        while per_minute:
            await self.world.sleep(2 * 60 / per_minute * self.world.chance())
            names = sorted(set(self.organism.runners) - {"steward"})
            name = names[int(self.world.chance() * len(names))] if names else ""
            crash = self.world.chance() * per_minute < self.trouble.crash
            if name:
                task = asyncio.get_running_loop().create_task(self._crash(name) if crash else self._cut(name))
                self._down.add(task)

    async def calm(self) -> None:
        """Wait until everything is back, and let nothing more go wrong."""
        self.host.server.faults = Faults()
        await asyncio.gather(*self._down)

    async def _crash(self, name: str) -> None:
        """Stop a part as kill -9 would, and start it anew from its class after a while."""
        self.crashes += 1
        runner = self.organism.runners.pop(name)
        await runner.halt()
        await runner.bus.wire.close()
        await self.world.sleep(5 * self.world.chance())
        part = runner.part.again(self.world.fork(f"{name}/{self.crashes}"))
        while name not in self.organism.runners:
            try:
                self.organism.runners[name] = await self.organism.run(part, name)
            except (Refused, Fault):  # a supervisor tries again when a start is refused
                await self.world.sleep(1)

    async def _cut(self, name: str) -> None:
        wire = self.organism.runners[name].bus.wire
        assert isinstance(wire, SimWire)
        wire.linked = False
        await self.world.sleep(30 * self.world.chance())
        now = self.organism.runners.get(name)
        wire.linked = now is not None and now.bus.wire is wire


async def _watch(organism: Organism, judge: Judge, world: SimWorld) -> None:
    """Raise what breaks an invariant, or any part, whichever runner carries it at the time."""
    while True:
        judge.raise_if_broken()
        _hold_signed(_notary(organism), judge)
        for runner in list(organism.runners.values()):
            runner.raise_if_broken()
        await world.sleep(0.5)


async def _while(tasks: list[asyncio.Task[None]], pause: Coroutine[Any, Any, None]) -> None:
    """Let the tasks live until the pause is over; the first that fails ends it."""
    sleeping = asyncio.get_running_loop().create_task(pause)
    pending: set[asyncio.Task[None]] = {*tasks, sleeping}
    while not sleeping.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _stopped(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _settled(organism: Organism, judge: Judge, world: SimWorld) -> None:
    """Wait until every append in flight is resolved and the view has read the whole log, or call it stuck."""
    await world.sleep(2 * APPEND_DEADLINE_S)
    records = organism.runners["records"].part
    assert isinstance(records, RecordsOrgan)
    until = world.elapsed_s() + SETTLE_S
    while await records.records.next_index() < len(judge.verdicts):
        _hold(
            world.elapsed_s() < until,
            f"the view stands at {await records.records.next_index()} of {len(judge.verdicts)} entries",
        )
        await world.sleep(0.5)


async def _agree(organism: Organism, judge: Judge, user: User) -> None:
    """Compare what was promised, what the parts hold and what the view shows with the log itself."""
    judge.raise_if_broken()
    for promise in user.promises:
        place = judge.effects.get(bytes.fromhex(promise.id))
        _hold(place == (promise.index, promise.offset), f"{promise} was promised, the log has {place}")
    records = organism.runners["records"].part
    assert isinstance(records, RecordsOrgan)
    fresh = MemoryRecords()
    await fill(fresh, user.bus.replay(), len(judge.verdicts))
    live, again = await digest(records.records), await digest(fresh)
    _hold(live == again, f"the view's digest is {live}, rebuilt it is {again}")
    for runner in organism.runners.values():
        for lane in list(runner.bus.prefix.lanes):  # a replica may not have looked since the other one decided
            await runner.bus.follow(lane)
        for rerun in reruns_of([runner.part]):
            _hold_nerve(rerun, runner.mind, judge.verdicts)


def _notary(organism: Organism) -> NotaryOrgan | None:
    """Return the notary while one runs."""
    runner = organism.runners.get("notary")
    return runner.part if runner is not None and isinstance(runner.part, NotaryOrgan) else None


def _hold_signed(organ: NotaryOrgan | None, judge: Judge, *, whole: bool = False) -> None:
    """Hold that what the notary signed is the root of the log's own leaves, and in the end of all of them."""
    note = organ.shelf.recall() if organ is not None else None
    if note is None or (note == judge.signed and not whole):
        _hold(not whole, "the notary signed nothing")
        return
    signed = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
    leaves = [leaf_of(verdict.entry) for verdict in judge.verdicts[: signed.size]]
    _hold(signed.root == root_of(leaves, sha256), f"the notary signed another root at {signed.size} entries")
    _hold(not whole or signed.size == len(judge.verdicts), f"{signed.size} of {len(judge.verdicts)} entries are signed")
    judge.signed = note


def _hold_nerve(rerun: Rerun, mind: Mind | None, verdicts: list[Verdict]) -> None:
    """Fold the nerve's lanes again, run every decision again from its evidence, and compare states."""
    for verdict in verdicts:
        for offset, same in rerun.take(verdict):
            _hold(same, f"decision ({verdict.entry.index}, {offset}) of {rerun.nerve.name} differs when run again")
    for entity, state in (mind.states if mind else {}).items():
        _hold(
            rerun.states.get(entity) == state,
            f"{rerun.nerve.name} holds {state} of {entity}, the log says {rerun.states.get(entity)}",
        )


def _hold(truth: object, otherwise: str) -> None:
    if not truth:
        raise BrokenInvariant(otherwise)
