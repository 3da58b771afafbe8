"""The areas that can be measured, and how each tells what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from deploy.commands.task import finish
from shared.world import RealWorld


@dataclass(frozen=True, slots=True)
class Told:
    """What one area measured: for programs, for people, and which of its bounds did not hold."""

    figures: object
    table: str
    missed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Area:
    """What is measured, in words, and how it is done with so many events."""

    what: str
    measure: Callable[[RealWorld, int], Told]


def _appends(_: RealWorld, events: int) -> Told:
    from deploy.bench.appends import bench, table

    figures = finish(bench(events))
    return Told([asdict(figure) for figure in figures], table(figures))


def _bus(world: RealWorld, events: int) -> Told:
    from deploy.bench.bus import measure_bus
    from deploy.bench.claims import table

    claims = finish(measure_bus(world, events))
    missed = [f"{claim.claim}, {claim.target}" for claim in claims if claim.met is False]
    return Told([asdict(claim) for claim in claims], table(claims), missed)


def _log(world: RealWorld, events: int) -> Told:
    from deploy.bench.log import measure_log, table

    figures = measure_log(world, events)
    return Told([asdict(figure) for figure in figures], table(figures))


def _gates(world: RealWorld, events: int) -> Told:
    from deploy.bench.gates import measure_gates, measure_way, table

    alone, way = measure_gates(world, events), finish(measure_way(events))
    return Told(asdict(alone) | {"way": [asdict(one) for one in way]}, table(alone, way))


def _attention(_: RealWorld, events: int) -> Told:
    from deploy.bench.attention import PROBES, measure_attention, table

    found = finish(measure_attention(min(events, PROBES)))
    return Told(asdict(found), table(found), found.missed())


def _ingest(world: RealWorld, events: int) -> Told:
    from deploy.bench.ingest import measure_ingest, table

    figure = finish(measure_ingest(world, events))
    return Told(asdict(figure), table(figure))


def _train(world: RealWorld, events: int) -> Told:
    from deploy.bench.train import BENCH_STEPS, measure_train, table

    figures = finish(measure_train(world, min(events, BENCH_STEPS)))
    return Told([asdict(figure) for figure in figures], table(figures))


AREAS = {
    "bus": Area("each claim of the bus, beside nats-py and FastStream that decode the same", _bus),
    "appends": Area("appends on a server with `sync: always`, beside raw nats-py", _appends),
    "log": Area("trees, signatures and replays in memory, beside hashing and checking alone", _log),
    "gates": Area("what weighing a wave costs, alone and over a server", _gates),
    "attention": Area("how long each tier takes in an organism under load", _attention),
    "ingest": Area("what taking posts in costs, beside scoring and hashing alone", _ingest),
    "train": Area("training the tour's network with 1, 2, 4 and 8 workers, beside the bare loop", _train),
}
