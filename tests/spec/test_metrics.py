"""Metrics: declared in one table, read from the counters that runner and bus keep, scraped over HTTP."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cells.math_cell import MathCell
from shared.bus import Bus
from shared.errors import InUse, Refusal
from shared.part import Runner
from shared.part.metrics import METRICS, serve
from shared.subjects.nervous import MathRequest, MathResponse
from shared.world import simulate
from tests.ground import ENV, SimGround

NAME = re.compile(r"nimmerverse_[a-z]+(_[a-z]+)*")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def worked(ground: SimGround) -> Runner:
    """A math cell after one answer, one refusal and one unreadable message; halted, its link still up."""
    bus = Bus(ground.world.fork("cell"), await ground.wire("math_cell"), MathCell.name, MathCell.version, [])
    runner = Runner(MathCell(), bus, handshake=False)
    await runner.start()
    asker = Bus(ground.world, await ground.wire("asker"), "asker", "1", [])
    assert isinstance(await asker.request(MathRequest("2 + 3")), MathResponse)
    assert isinstance(await asker.request(MathRequest("two and three")), Refusal)
    await asker.wire.publish(MathRequest.pattern(ENV), b"\xc1")
    await ground.world.sleep(1)
    await runner.halt()
    return runner


def scrape(port: int) -> Samples:
    """Every sample that an HTTP scrape yields, by name and labels; a repeated one fails."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


@contextmanager
def served(runners: dict[str, Runner]) -> Iterator[int]:
    """A port on which the metrics of runners are served."""
    port, close = serve(0, runners.values())
    try:
        yield port
    finally:
        close()


def named(samples: Samples, name: str, **labels: str) -> float:
    """One sample's value."""
    return samples[name, frozenset(labels.items())]


@pytest.mark.spec("COL-13")
def test_metrics_are_named_as_prometheus_asks() -> None:
    """Names begin with the product's, counters end in `_total` and nothing else does, and `part` is the first label."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert NAME.fullmatch(metric.name), metric.name
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert ("part", True, True) == (
            metric.labels[0],
            bool(metric.help),
            bool(re.fullmatch(r"[A-Z]+-\d\d", metric.row)),
        )


@pytest.mark.spec("COL-13")
def test_a_scrape_says_what_the_part_did() -> None:
    """Over HTTP, every declared metric and no other is found, with the numbers that the runner and its bus counted."""
    runner = simulate(lambda: worked(SimGround()))
    with served({"math_cell": runner}) as port:
        found = scrape(port)
    unreported = {"nimmerverse_energy_joules_total"}  # no sample is not zero
    assert {metric.name for metric in METRICS} - unreported == {name for name, _ in found}
    assert 1 == named(found, "nimmerverse_up", part="math_cell", version=MathCell.version)
    outcomes = {"handled": 2, "refused": 2, "failed": 0, "repeated": 0}
    for outcome, count in outcomes.items():
        assert count == named(found, "nimmerverse_messages_total", part="math_cell", outcome=outcome)
    assert 1 == named(found, "nimmerverse_dead_letters_total", part="math_cell")
    assert runner.bus.counters.emitted == named(found, "nimmerverse_emitted_total", part="math_cell")
    assert runner.measured.spent_ulf / 1e6 == named(found, "nimmerverse_lifeforce_spent_total", part="math_cell")
    assert 0 == named(found, "nimmerverse_appends_total", part="math_cell")


@pytest.mark.spec("COL-13")
def test_metrics_are_read_when_asked_for() -> None:
    """A scrape sees what was counted, lost and cut off since the last one: nothing is kept twice."""
    ground = SimGround()
    runner = simulate(lambda: worked(ground))
    with served({"math_cell": runner}) as port:
        before = named(scrape(port), "nimmerverse_dropped_total", part="math_cell", where="part")
        runner.work.dropped += 5
        runner.bus.counters.dead_dropped += 3
        simulate(lambda: ground.cut(runner.bus.wire))
        found = scrape(port)
    assert before + 5 == named(found, "nimmerverse_dropped_total", part="math_cell", where="part")
    assert 3 == named(found, "nimmerverse_dropped_total", part="math_cell", where="dead_letter")
    assert 0 == named(found, "nimmerverse_up", part="math_cell", version=MathCell.version)


@pytest.mark.spec("COL-13")
def test_copies_of_a_part_add_up_and_new_ones_appear() -> None:
    """Copies of one part in one process are one series, and a runner that is added later is in the next scrape."""
    first, second = simulate(lambda: worked(SimGround())), simulate(lambda: worked(SimGround(8)))
    running = {"first": first}
    with served(running) as port:
        assert 1 == named(scrape(port), "nimmerverse_up", part="math_cell", version=MathCell.version)
        running["second"] = second
        found = scrape(port)
    assert 2 == named(found, "nimmerverse_up", part="math_cell", version=MathCell.version)
    assert first.work.handled + second.work.handled == named(
        found, "nimmerverse_messages_total", part="math_cell", outcome="handled"
    )


@pytest.mark.spec("X-09")
def test_metrics_are_served_on_the_loopback_address_only() -> None:
    """The server listens on 127.0.0.1 alone; closed, the port is free again."""
    with served({}) as port:
        assert {} == scrape(port)
        with pytest.raises(OSError, match=r".+"), socket.create_connection(("127.0.0.2", port), timeout=5):
            pass
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_taken_port_is_one_sentence() -> None:
    """A port that belongs to another process is InUse, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InUse, match=f"port {port} for metrics cannot be used .* choose another, or 0 for a free one"
        ):
            serve(port, [])
