"""A whole training amid crashes, lost acknowledgements and doubled messages: one run is recorded, always the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from deploy.organism import Organism
from deploy.sim_host import SimHost, Trouble
from deploy.simulation import Chaos, Judge
from organs.trainer.memory import SimCrew
from shared.artifacts import MemoryStore
from shared.bus import Bus
from shared.bus.sim import Faults
from shared.config import load
from shared.decisions import decisions_in
from shared.envelope import Prefix
from shared.errors import Fault
from shared.subjects.datasets import DatasetFacts
from shared.subjects.training import JobMoved, JobStated, JobStatus, RunRecorded, SubmitJob
from shared.training.jobs import ENDED, job_of
from shared.world import SimWorld, simulate
from tests.trainings import facts, line_spec, pairs, sim_parts, stored

TROUBLE = Trouble(drop=0.05, duplicate=0.1, lose_ack=0.05, crash=3)
PATIENCE = 1_200


async def _live(seed: int, trouble: Trouble) -> tuple[list[str], str, list[str]]:
    """Train while everything goes wrong; return the recorded weights, the log's digest and the states gone through."""
    world = SimWorld("dev", seed)
    host = SimHost(world, trouble)
    judge = Judge(Prefix("dev"))
    host.server.witness = judge.witness
    organism = Organism(host, load({}, {"env": "dev", "site": "here", "home": "/nonexistent"}, "here"))
    calm, host.server.faults = host.server.faults, Faults()
    store, known = MemoryStore(), dict[str, DatasetFacts]()
    dataset = await stored(store, pairs())
    known[dataset] = facts()
    await organism.start(sim_parts(store, known, SimCrew(world.fork("crew"), 0.02), world.fork("trainer")))
    bus = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
    spec = line_spec(dataset)
    await bus.request(SubmitJob(spec, "me"), 20)
    host.server.faults = calm
    chaos = Chaos(host, organism, world.fork("chaos"), trouble)
    task = asyncio.get_running_loop().create_task(chaos.live())
    for _ in range(PATIENCE):
        with suppress(Fault):
            stated = await bus.request(JobStatus(job_of(spec, "me")), 5.0)
            if isinstance(stated, JobStated) and stated.state in ENDED:
                break
        await world.sleep(1.0)
    task.cancel()
    await chaos.calm()
    await world.sleep(30.0)
    judge.raise_if_broken()
    for runner in organism.runners.values():
        runner.raise_if_broken()
    weights = [run.weights for v in judge.verdicts for run, _ in decisions_in(v, RunRecorded)]
    states = [moved.state for v in judge.verdicts for moved, _ in decisions_in(v, JobMoved)]
    digest = judge.hasher.hexdigest()
    await organism.stop()
    return weights, digest, states


@pytest.mark.spec("ILL-02", "X-08")
@pytest.mark.parametrize("seed", range(1, 4))
def test_a_training_amid_trouble_is_recorded_once_and_the_same(seed: int) -> None:
    """Whatever crashes or is lost, the job completes with the weights of a calm one; the same seed, the same log."""
    [calm], _, _ = simulate(lambda: _live(seed, Trouble()))
    weights, digest, states = simulate(lambda: _live(seed, TROUBLE))
    assert [calm] == weights, states
    assert "completed" == states[-1]
    assert digest == simulate(lambda: _live(seed, TROUBLE))[1]
