"""The check of an organ: with its simulated adapters it handles requests, signals and a made-up log without error."""

from __future__ import annotations

from typing import Any, cast

from shared.bus import Bus, Draft
from shared.bus.bucket import SimBucket, bucket_stream, bucket_subjects
from shared.bus.sim import Faults, SimServer, SimStream, SimWire
from shared.bus.wire import stream_name
from shared.constant import constant
from shared.envelope import Verdict
from shared.keys import LocalSigner
from shared.log.entry import Position
from shared.message import Decision, Message, lookup, registered
from shared.part.organ import Organ
from shared.part.own_code import act
from shared.part.samples import Sampler
from shared.part.trial import Trial
from shared.subjects.keys import KEYS_ENTITY, Genesis, Grant, KeyIntroduced, RootKey
from shared.world import SimWorld, new_id

LOGGED = constant(5, "decisions of each class", "NIM-01")
KEPT_S = constant(3_600, "s", "NIM-01")
STRANGER = "stranger"


async def organ_trial(trial: Trial) -> None:
    """Let two organs in the same World live through the same messages and the same log, and compare."""
    bus, verdicts = await _log(trial)
    first = await _life(trial, bus, verdicts)
    if first != await _life(trial, bus, verdicts):
        trial.report.found("fresh", "two instances in the same World answer differently; take chance and time from it")


async def _life(trial: Trial, bus: Bus, verdicts: list[Verdict]) -> list[list[bytes]]:
    organ = cast("Organ", trial.make())
    assert isinstance(bus.wire, SimWire)
    for name in trial.declared.buckets:  # empty ones, for each life
        subjects = bucket_subjects(name, bus.env)
        bus.wire.server.buckets[bucket_stream(name, bus.env)] = SimBucket((subjects,), KEPT_S)
    await organ.open(bus)
    answers: list[list[bytes]] = []
    calls = {handler.name: handler for handler in organ.handlers()}
    whole = [handler for handler in calls.values() if Verdict in handler.hears]
    for verdict in verdicts:
        answers += [await _answer(trial, handler.name, calls, verdict) for handler in whole]
    for handler, message in trial.samples():
        answers.append(await _answer(trial, handler.name, calls, message))
    await organ.close()
    return answers


async def _answer(trial: Trial, name: str, calls: dict[str, Any], heard: Any) -> list[bytes]:  # noqa: ANN401 - either
    try:
        said = await act(calls[name].call, heard, *([Position(0, 0)] if calls[name].placed else []))
    except Exception as error:  # noqa: BLE001 - any error of a stranger's part is a finding
        trial.failed(calls[name], heard, error)
        return []
    return trial.judge(calls[name], heard, said) if isinstance(heard, Message) else []


async def _log(trial: Trial) -> tuple[Bus, list[Verdict]]:
    """Return a bus with a made-up log of every declared decision, and its verdicts: keys, decisions, a void entry."""
    world = SimWorld(trial.world().env, trial.seed, "log")
    server = SimServer(world, Faults(delay_s=0.0))
    server.streams[stream_name("log", world.env)] = SimStream((f"{world.env}.*.*.event.>",))
    root, stranger = LocalSigner(world.entropy(32)), LocalSigner(world.entropy(32))
    keys = Bus(world, server.wire("root"), "root", "1.0.0", [root])
    own = RootKey(root.key_id, root.public, "host")
    await keys.append(Draft(Genesis(KEYS_ENTITY, [own], 1, one_host=True, streams=[]), new_id(world)))
    decided = [cls for cls in registered().values() if issubclass(cls, Decision) and cls.tokens[0] != "system"]
    grants = [Grant(cls.pattern(world.env)) for cls in decided]
    introduced = KeyIntroduced(KEYS_ENTITY, stranger.key_id, stranger.public, STRANGER, "host", ["part"], grants)
    await keys.append(Draft(introduced, new_id(world)))
    bus, sampler = Bus(world, server.wire(STRANGER), STRANGER, "1.0.0", [stranger]), Sampler(world)
    for cls in decided:
        for n in range(LOGGED):
            decision = sampler.message(cls, edge=n % 2 == 1)
            if decision is not None and lookup(decision.subject(world.env)) is cls:
                await bus.append(Draft(decision, new_id(world)))
                await bus.wire.publish(decision.subject(world.env), b"\xc1")  # void: an entry that is no envelope
                await bus.follow(decision.lane(world.env))
    trial.report.count("entries", len(server.streams[stream_name("log", world.env)].entries))
    return bus, [verdict async for verdict in bus.replay()]
