"""Metrics, declared like messages: a table of names and what each reads; nothing is counted here a second time.

A runner and its bus keep the counters; at every scrape the collector reads them (Prometheus text format, on 127.0.0.1).
What one part alone can tell stands at that part, as its `metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.constant import constant
from shared.errors import InUse
from shared.part.runner import Runner

METRICS_ADDRESS = constant("127.0.0.1", "address", "NIM-20")
LIFEFORCE_ULF = constant(1_000_000, "micro-lifeforce", "NIM-07")

Readings = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its Prometheus name, kind, labels, meaning, the row it serves, and what it reads off a runner.

    `read` returns a value per tuple of label values after `part`, which is always the first label.
    """

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    help: str
    row: str
    read: Callable[[Runner], Readings]


def _messages(r: Runner) -> Readings:
    w = r.work
    return {("handled",): w.handled, ("refused",): w.refused, ("failed",): w.failed, ("repeated",): w.repeated}


def _dropped(r: Runner) -> Readings:
    c = r.bus.counters
    return {("part",): r.work.dropped, ("bus",): c.dropped, ("dead_letter",): c.dead_dropped}


def _waiting(r: Runner) -> Readings:
    return {(): r._queue.qsize()}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - read at a scrape, by nobody else


def _energy(r: Runner) -> Readings:
    energy_uj = r.measured.energy_uj
    return {} if energy_uj is None else {(): energy_uj / 1e6}


METRICS: tuple[Declared, ...] = (
    Declared(
        "nimmerverse_up",
        "gauge",
        ("part", "version"),
        "Copies of the part in this process that are linked to the bus.",
        "NIM-02",
        lambda r: {(r.part.version,): int(r.bus.wire.connected)},
    ),
    Declared(
        "nimmerverse_messages_total",
        "counter",
        ("part", "outcome"),
        "Messages: `handled` reached the part's own code whatever came of it, `repeated` were answered from memory.",
        "NIM-02",
        _messages,
    ),
    Declared(
        "nimmerverse_emitted_total",
        "counter",
        ("part",),
        "Signals and replies handed to the server.",
        "NIM-02",
        lambda r: {(): r.bus.counters.emitted},
    ),
    Declared(
        "nimmerverse_appends_total",
        "counter",
        ("part",),
        "Decisions acknowledged and admitted.",
        "X-02",
        lambda r: {(): r.bus.counters.appended},
    ),
    Declared(
        "nimmerverse_void_total",
        "counter",
        ("part",),
        "Void positions of the log that this part met.",
        "BIZ-01",
        lambda r: {(): r.bus.counters.void},
    ),
    Declared(
        "nimmerverse_dead_letters_total",
        "counter",
        ("part",),
        "Messages that this part could not use, whether kept as a letter or not.",
        "X-12",
        lambda r: {(): r.bus.counters.dead},
    ),
    Declared(
        "nimmerverse_dropped_total",
        "counter",
        ("part", "where"),
        "Lost messages: by a full queue (`part`), a cut link (`bus`), or too many dead letters (`dead_letter`).",
        "X-12",
        _dropped,
    ),
    Declared("nimmerverse_queue_length", "gauge", ("part",), "Messages that wait for the part.", "X-12", _waiting),
    Declared(
        "nimmerverse_lifeforce_spent_total",
        "counter",
        ("part",),
        "Lifeforce that the part has spent, as measured.",
        "NIM-07",
        lambda r: {(): r.measured.spent_ulf / LIFEFORCE_ULF},
    ),
    Declared(
        "nimmerverse_cpu_seconds_total",
        "counter",
        ("part",),
        "Processor time of the part, its threads and its worker processes.",
        "NIM-10",
        lambda r: {(): r.measured.cpu_us / 1e6},
    ),
    Declared(
        "nimmerverse_energy_joules_total",
        "counter",
        ("part",),
        "The part's share of the energy that the machine reports; no sample where it reports none.",
        "NIM-10",
        _energy,
    ),
    Declared(
        "nimmerverse_moved_bytes_total",
        "counter",
        ("part", "direction"),
        "Bytes of the messages that the part `received` and `sent`.",
        "NIM-10",
        lambda r: {("received",): r.measured.received_bytes, ("sent",): r.measured.sent_bytes},
    ),
    Declared(
        "nimmerverse_work_seconds_total",
        "counter",
        ("part",),
        "Time for which the part was at work on something.",
        "NIM-10",
        lambda r: {(): r.measured.elapsed_us / 1e6},
    ),
    Declared(
        "nimmerverse_resting",
        "gauge",
        ("part",),
        "Copies of the part that take nothing, for there is no lifeforce.",
        "NIM-10",
        lambda r: {(): int(r.rest.resting)},
    ),
)


class _Collector(Collector):
    """Reads the declared metrics off runners at every scrape; copies of one part add up."""

    def __init__(self, runners: Collection[Runner]) -> None:
        self.runners = runners

    def collect(self) -> Iterator[Metric]:
        runners = tuple(self.runners)
        own = {declared.name: declared for runner in runners for declared in runner.part.metrics}
        for declared in (*METRICS, *own.values()):
            family = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
            metric = family(declared.name, declared.help, labels=declared.labels)
            for values, total in _totals(declared, runners).items():
                metric.add_metric(values, total)
            yield metric


def collector(runners: Collection[Runner]) -> Collector:
    """Return a collector over a live collection of runners, such as the values of a dict that grows."""
    return _Collector(runners)


def serve(port: int, runners: Collection[Runner]) -> tuple[int, Callable[[], None]]:
    """Serve the metrics at http://127.0.0.1:PORT/metrics; return the port (0 asks for a free one) and the close.

    Raises InUse when the port belongs to another process.
    """
    registry = CollectorRegistry()
    registry.register(collector(runners))
    try:
        server, thread = start_http_server(port, METRICS_ADDRESS, registry)
    except OSError as error:
        raise InUse(
            f"port {port} for metrics cannot be used ({error.strerror}); choose another, or 0 for a free one"
        ) from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, close


def _totals(declared: Declared, runners: tuple[Runner, ...]) -> Readings:
    totals: Readings = defaultdict(float)
    for runner in runners if declared in METRICS else [r for r in runners if declared in r.part.metrics]:
        for values, value in declared.read(runner).items():
            totals[(runner.part.name, *values)] += value
    return totals
