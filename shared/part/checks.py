"""The checks every part gets for free: declared whole, deterministic, total, canonical, and bounded.

They run over messages drawn from the schemas of what the part hears, under simulated time, so that a look at the
machine's clock is caught. A part may be excused from one only in public: `unchecked = {"total": "why"}` on its class.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from shared.codec import decode, encode
from shared.constant import constant
from shared.envelope.envelope import MAX_EVIDENCE_BYTES
from shared.errors import Refusal, Refused, WallClockUse
from shared.message import Decision, DeclarationError, Message, Reply, registered
from shared.part.declare import Handler, Part, declaration
from shared.part.nerve import Nerve
from shared.part.own_code import MAX_OUTPUTS
from shared.part.samples import samples
from shared.subjects.system import Decided, Tick
from shared.world import SIM_EPOCH_NS, SimWorld, simulate

SAMPLES = constant(200, "messages", "NIM-01")
MAX_SHOWN = constant(160, "characters", "NIM-01")
SEED = constant(1, "seed", "NIM-01")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `detail` names the first message that broke it, or what was tried."""

    check: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a nerve before it is taken."""

    nerve: Nerve[Any, Any]
    state: Any
    window: Any
    message: Message
    now_ms: int


class Broken(Exception):
    """A check did not hold; the sentence says on what."""


def check_part(cls: type[Part], seed: int = SEED) -> list[Finding]:
    """Run every check that fits the part's kind and return what was found; raises nothing, whatever the part does."""
    return simulate(lambda: _all(cls, seed))


async def _all(cls: type[Part], seed: int) -> list[Finding]:
    await asyncio.sleep(0)  # noqa: TID251 - simulated: lets the clock start
    try:
        part = cls.simulate(SimWorld("dev", seed))
        declared = declaration(part)
    except (DeclarationError, TypeError) as error:
        return [Finding("declared", ok=False, detail=str(error))]
    heard, said = ", ".join(c.__name__ for c in declared.hears), ", ".join(c.__name__ for c in declared.says)
    findings = [Finding("declared", ok=True, detail=f"hears {heard or 'the whole log'}; says {said or 'nothing'}")]
    checks: dict[str, Callable[[type[Part], int], str]] = {}
    if declared.kind == "cell":
        checks = {"deterministic": _same_twice, "total": _total, "outputs": _outputs}
    elif declared.kind == "nerve":
        checks = {"deterministic": _same_decisions, "evidence": _from_evidence, "evolve": _evolves}
    else:
        checks = {"handlers": _async_handlers}
    return findings + [_run(name, check, cls, seed) for name, check in checks.items()]


def _run(name: str, check: Callable[[type[Part], int], str], cls: type[Part], seed: int) -> Finding:
    if name in cls.unchecked:
        return Finding(name, ok=True, detail=f"excused: {cls.unchecked[name]}")
    try:
        return Finding(name, ok=True, detail=check(cls, seed))
    except Broken as broken:
        return Finding(name, ok=False, detail=str(broken))
    except Refused as no:
        return Finding(name, ok=False, detail=f"what it says or remembers cannot be written: {no.refusal}")


# Cells


def _same_twice(cls: type[Part], seed: int) -> str:
    """The same messages give the same bytes, from the same instance's class built anew."""
    first, second = ([_bytes(out) for _, out in _cell_runs(cls, seed)] for _ in range(2))
    if first != second:
        place = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
        raise Broken(
            f"message {place} gave other bytes the second time: {_short(first[place])}, {_short(second[place])}"
        )
    return f"{len(first)} messages gave the same bytes twice"


def _total(cls: type[Part], seed: int) -> str:
    """Every message comes to an end without an error."""
    runs = _cell_runs(cls, seed)
    for message, out in runs:
        if isinstance(out, Exception):
            raise Broken(f"{_short(message)} raised {type(out).__name__}: {out}")
        if len(out) > MAX_OUTPUTS:
            raise Broken(f"{_short(message)} yields more than {MAX_OUTPUTS} messages")
    return f"{len(runs)} messages, edges included, were handled"


def _outputs(cls: type[Part], seed: int) -> str:
    """What is said was declared, can be encoded, and reads back the same; a request gets one answer at most."""
    count = 0
    for message, out in _cell_runs(cls, seed):
        said = [] if isinstance(out, Exception) else out
        allowed = {c for h in cls.simulate(SimWorld("dev", seed)).handlers() for c in h.says}
        answers = [item for item in said if isinstance(item, Reply | Refusal)]
        if len(answers) > 1:
            raise Broken(f"{_short(message)} got {len(answers)} answers")
        for item in (item for item in said if not isinstance(item, Refusal)):
            count += 1
            if type(item) not in allowed:
                raise Broken(f"an undeclared {type(item).__name__} was said; add it to the return annotation")
            _canonical(item)
    return f"{count} outputs declared and canonical"


def _cell_runs(cls: type[Part], seed: int) -> list[tuple[Message, list[Any] | Exception]]:
    """Hand every handler its samples and return each with what was said, or with what it raised."""
    part = cls.simulate(SimWorld("dev", seed))
    runs: list[tuple[Message, list[Any] | Exception]] = []
    for handler in part.handlers():
        for message in _inputs(handler, seed):
            try:
                runs.append((message, _first(handler.call(message))))
            except Exception as error:  # noqa: BLE001 - whatever a part raises is the finding
                runs.append((message, error))
    return runs


# Nerves


def _same_decisions(cls: type[Part], seed: int) -> str:
    """The same state, window, message and time give the same window and messages, twice."""
    count = 0
    for step in _nerve_steps(cls, seed):
        once, twice = (_decided(step) for _ in range(2))
        count += 1
        if once != twice:
            raise Broken(f"{_short(step.message)} at {step.now_ms} ms was decided in two ways")
    return f"{count} steps came out the same twice"


def _from_evidence(cls: type[Part], seed: int) -> str:
    """Decisions run again from their recorded evidence are the same, and the evidence stays within its bound."""
    count, largest = 0, 0
    for step in _nerve_steps(cls, seed):
        evidence = step.nerve.evidence(step.window, step.message, bytes(16), step.now_ms)
        largest = max(largest, len(evidence))
        if len(evidence) > MAX_EVIDENCE_BYTES:
            raise Broken(f"evidence grew to {len(evidence)} bytes, at most {MAX_EVIDENCE_BYTES}: bound the window")
        _, said = _decided(step)
        decisions = [raw for kind, raw in said if kind == "Decision"]
        if step.nerve.decide_again(step.state, evidence, registered() | {Tick.template: Tick}) != decisions:
            raise Broken(f"{_short(step.message)} is decided otherwise when run again from its evidence")
        count += len(decisions)
    if not count:
        raise Broken(
            "no decision came out of any sample, so nothing was compared; excuse the check in public if that is right"
        )
    return f"{count} decisions the same from their evidence, the largest of {largest} bytes"


def _evolves(cls: type[Part], seed: int) -> str:
    """`evolve` takes every decision the nerve makes, and the state can be encoded."""
    count = 0
    for step in _nerve_steps(cls, seed):
        encode(step.state)
        count += 1
    return f"{count} states folded"


def _nerve_steps(cls: type[Part], seed: int) -> list[Step]:
    """Drive one nerve through its samples as its runner would, and return every step before it was taken."""
    nerve = cast("Nerve[Any, Any]", cls.simulate(SimWorld("dev", seed)))
    states: dict[str, Any] = {}
    windows: dict[str, Any] = {}
    steps: list[Step] = []
    (handler,) = nerve.handlers()
    for now_ms, message in enumerate(_inputs(handler, seed), SIM_EPOCH_NS // 1_000_000):
        try:
            entities = sorted(windows) if isinstance(message, Tick) else [nerve.entity(message)]
            for entity in (e for e in entities if e is not None):
                state, window = states.get(entity, nerve.start()), windows.get(entity, nerve.empty())
                steps.append(Step(nerve, state, window, message, now_ms))
                windows[entity], said = nerve.decide(state, window, message, now_ms)
                for item in cast("list[Message]", [] if isinstance(said, Refusal) else said):
                    if isinstance(item, Decision):
                        states[entity] = nerve.evolve(states.get(entity, nerve.start()), item)
        except Exception as error:
            raise Broken(f"{_short(message)} raised {type(error).__name__}: {error}") from error
    return steps


def _decided(step: Step) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return one step's window and messages as bytes."""
    nerve = step.nerve
    after, said = nerve.decide(step.state, step.window, step.message, step.now_ms)
    if isinstance(said, Refusal):
        return encode(after), [("Refusal", encode(said))]
    for item in said:
        _canonical(item)
        if not isinstance(item, nerve.handlers()[0].says) and not isinstance(item, Decided):
            raise Broken(f"an undeclared {type(item).__name__} was said; add it to the return annotation")
    return encode(after), [("Decision" if isinstance(item, Decision) else "said", encode(item)) for item in said]


# Organs


def _async_handlers(cls: type[Part], seed: int) -> str:
    """Every handler of an organ is a coroutine function."""
    handlers = cls.simulate(SimWorld("dev", seed)).handlers()
    odd = [handler.name for handler in handlers if not inspect.iscoroutinefunction(handler.call)]
    if odd:
        raise Broken(f"{', '.join(odd)} must be `async def`")
    return f"{len(handlers)} handlers"


# What they share


def _inputs(handler: Handler, seed: int) -> list[Message]:
    """Return the messages a handler is tried with; ticks come in order, as a runner's do."""
    world = SimWorld("dev", seed, handler.name)
    drawn: list[Message] = []
    for cls in handler.hears:
        if cls is Tick:
            drawn += [
                Tick("part", world.boot, beat, SIM_EPOCH_NS // 1_000_000 + 1_000 * beat)
                for beat in range(1, SAMPLES + 1)
            ]
        elif issubclass(cls, Message):
            drawn += samples(cls, world, SAMPLES)
    order = sorted(range(len(drawn)), key=lambda _: world.chance())
    return [drawn[i] for i in order] if len(handler.hears) > 1 else drawn


def _first(outputs: Any) -> list[Any]:  # noqa: ANN401 - whatever the handler returned
    said: list[Any] = []
    for item in outputs:
        said.append(item)
        if len(said) > MAX_OUTPUTS:
            break
    return said


def _canonical(item: Any) -> None:  # noqa: ANN401 - whatever the part said
    try:
        if decode(cast("type[Message]", type(item)), encode(item)) != item:
            raise Broken(f"{_short(item)} does not read back as it was said")
    except Refused as no:
        raise Broken(f"{_short(item)} cannot be sent: {no}") from no


def _bytes(out: list[Any] | Exception) -> list[str]:
    if isinstance(out, Exception):
        if isinstance(out, WallClockUse):
            raise Broken(str(out))
        return [f"{type(out).__name__}: {out}"]
    return [f"{type(item).__name__} {encode(item).hex()}" for item in out]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
