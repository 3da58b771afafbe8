"""The checks that only a nerve needs: decisions that fold, come out again from their evidence, and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from shared.codec import decode, encode
from shared.constant import constant
from shared.envelope.envelope import MAX_EVIDENCE_BYTES
from shared.errors import Refusal, Refused
from shared.message import Decision, Message, encode_token, registered
from shared.part.declare import Handler
from shared.part.nerve import Nerve
from shared.part.samples import Sampler
from shared.part.trial import SAMPLES, Trial
from shared.subjects.system import Tick
from shared.world import now_ms

LONG_RUN = constant(1_500, "messages", "X-12")
GROWTH = 1.25  #: what still grows by the last third is a half larger than by the second
SLACK_BYTES = constant(64, "bytes", "X-12")
MESSAGE_ID = bytes(16)

AnyNerve = Nerve[Any, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `decide`: what it was given, and what it made of it."""

    entity: str
    state: msgspec.Struct
    window: msgspec.Struct
    message: Message
    at_ms: int
    after: msgspec.Struct
    outputs: tuple[Any, ...]

    @property
    def decisions(self) -> list[Decision]:
        """What it decided."""
        return [output for output in self.outputs if isinstance(output, Decision)]


async def nerve_trial(trial: Trial) -> None:
    """Let a nerve listen for long, then judge what it did."""
    nerve = cast("AnyNerve", trial.make())
    [handler] = nerve.handlers()
    calls = await _listen(trial, nerve, handler)
    trial.report.count("decisions", sum(len(call.decisions) for call in calls))
    _repeat(trial, handler, nerve, calls, "repeats")
    _repeat(trial, handler, cast("AnyNerve", trial.make()), calls[::-1], "repeats")
    _repeat(trial, handler, cast("AnyNerve", trial.make()), calls, "fresh")
    _rerun(trial, cast("AnyNerve", trial.make()), calls)
    _fold(trial, nerve, handler)
    _bound(trial, nerve, calls)


async def _listen(trial: Trial, nerve: AnyNerve, handler: Handler) -> list[Call]:
    """Decide about made-up messages in a row; states and windows are handed on by entity, as the runner does."""
    world = trial.world()
    sampler = Sampler(world)
    heard = [cls for cls in handler.hears if issubclass(cls, Message)]
    states, windows, calls = dict[str, Any](), dict[str, Any](), list[Call]()
    for n in range(LONG_RUN):
        await world.sleep(1.0)
        message = sampler.message(heard[n % len(heard)], edge=n < 2 * SAMPLES and n // len(heard) % 2 == 1)
        if message is None:
            continue
        trial.report.count("messages")
        for entity in _entities(trial, nerve, handler, message, windows):
            state, window = states.get(entity, nerve.start()), windows.get(entity, nerve.empty())
            call = _decide(trial, nerve, handler, Call(entity, state, window, message, now_ms(world), window, ()))
            if call is not None:
                calls.append(call)
                windows[entity] = call.after
                states[entity] = _evolved(trial, nerve, state, call.decisions)
    return calls


def _entities(trial: Trial, nerve: AnyNerve, handler: Handler, message: Message, windows: dict[str, Any]) -> list[str]:
    """Return the entities a message concerns; one that can be no lane never reaches `decide`."""
    if isinstance(message, Tick):
        return sorted(windows)
    try:
        entity: str | None = nerve.entity(message)
        if entity is not None:
            encode_token(entity)
    except ValueError:
        return []
    except Exception as error:  # noqa: BLE001 - any error of a stranger's part is a finding
        trial.failed(handler, message, error)
        return []
    return [] if entity is None else [entity]


def _decide(trial: Trial, nerve: AnyNerve, handler: Handler, asked: Call) -> Call | None:
    """Return one call of `decide` with its results, None if it failed; findings where it may not do what it did."""
    before = _bytes_of(asked)
    try:
        after, said = nerve.decide(asked.state, asked.window, asked.message, asked.at_ms)
        outputs = (said,) if isinstance(said, Refusal) else tuple(said)
    except Exception as error:  # noqa: BLE001 - any error of a stranger's part is a finding
        trial.failed(handler, asked.message, error)
        return None
    if len(trial.judge(handler, asked.message, outputs)) < len(outputs) or not _kept(trial, "outputs", after):
        return None
    if before != _bytes_of(asked):
        trial.report.found("repeats", "decide changes what it is given; return a new window instead")
    call = replace(asked, after=after, outputs=outputs)
    for decision in call.decisions:
        about = getattr(decision, decision.entity_field())
        if about != asked.entity:
            trial.report.found("outputs", f"asked about {asked.entity!r} it decides about {about!r}")
    return call


def _bytes_of(asked: Call) -> tuple[bytes, ...]:
    return encode(asked.state), encode(asked.window), encode(asked.message)


def _kept(trial: Trial, check: str, struct: msgspec.Struct) -> bool:
    """Say whether a window or a state can be written and is read back as it was."""
    try:
        same = decode(type(struct), encode(struct)) == struct
    except Refused as no:
        trial.report.found(check, f"its {type(struct).__name__} cannot be written or read: {no}")
        return False
    if not same:
        trial.report.found(check, f"{struct!r} is not read back as it was")
    return same


def _evolved(trial: Trial, nerve: AnyNerve, state: Any, decisions: list[Decision]) -> Any:  # noqa: ANN401 - its own state
    """Return the state after some decisions, or as it was where it cannot be folded."""
    after = state
    try:
        for decision in decisions:
            after = nerve.evolve(after, decision)
    except Exception as error:  # noqa: BLE001 - any error of a stranger's part is a finding
        trial.report.found("evolve", f"evolve raised {type(error).__name__}: {error}; it folded {decisions!r}")
        return state
    return after if _kept(trial, "evolve", after) else state


def _repeat(trial: Trial, handler: Handler, nerve: AnyNerve, calls: list[Call], check: str) -> None:
    """Decide about everything again; only what `decide` is given may matter."""
    for call in calls:
        again = _decide(trial, nerve, handler, call)
        if again is None or (again.after, again.outputs) != (call.after, call.outputs):
            what = f"{call.outputs!r}, then {again.outputs if again else None!r}"
            trial.report.found(check, f"decide reads more than its arguments: on the same ones it says {what}"[:300])
            return


def _rerun(trial: Trial, nerve: AnyNerve, calls: list[Call]) -> None:
    """Decide again from recorded evidence, and compare bytes; where nothing was decided nothing is shown."""
    if trial.declared.decides() and not any(call.decisions for call in calls):
        trial.report.found("rerun", "no message made it decide, so nothing was compared; excuse it if that is right")
    for call in calls:
        if call.decisions:
            evidence = nerve.evidence(call.window, call.message, MESSAGE_ID, call.at_ms)
            try:
                again = nerve.decide_again(call.state, evidence, registered())
            except (Refused, KeyError) as error:
                trial.report.found("rerun", f"its evidence cannot be read: {error}")
                return
            if again != [encode(decision) for decision in call.decisions]:
                trial.report.found("rerun", f"from its evidence {call.decisions!r} comes out differently")
                return


def _fold(trial: Trial, nerve: AnyNerve, handler: Handler) -> None:
    """Fold made-up decisions of its own, also such as this version would never make."""
    sampler = Sampler(trial.world())
    for cls in handler.says:
        state = nerve.start()
        for n in range(SAMPLES if issubclass(cls, Decision) else 0):
            decision = sampler.message(cls, edge=n % 2 == 1)
            if decision is not None:
                state = _evolved(trial, nerve, state, [decision])
                trial.report.count("folded")


def _bound(trial: Trial, nerve: AnyNerve, calls: list[Call]) -> None:
    """Judge how large the evidence became, and whether the window of any entity still grew at the end."""
    sizes: dict[str, list[int]] = {}
    for call in calls:
        sizes.setdefault(call.entity, []).append(len(encode(call.after)))
        rest = len(nerve.evidence(call.window, call.message, MESSAGE_ID, call.at_ms)) - len(encode(call.message))
        if rest > MAX_EVIDENCE_BYTES // 2:
            detail = f"{rest} bytes besides the message, at most {MAX_EVIDENCE_BYTES // 2} are allowed"
            trial.report.found("evidence", f"about {call.entity!r} the evidence has {detail}")
            break
    for entity, own in sizes.items():
        third = len(own) // 3
        if third and max(own[-third:]) > GROWTH * max(own[third : 2 * third]) + SLACK_BYTES:
            grown = f"grew to {max(own[-third:])} bytes over {len(own)} messages and did not stop"
            trial.report.found("window", f"the window of {entity!r} {grown}; forget the oldest")
