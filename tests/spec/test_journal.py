"""Log lines: declared events, JSON, one per line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.journal import EVENTS, ROOT, configure, record, render_logs_md


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; afterwards nothing is written anywhere."""
    written = io.StringIO()
    yield written
    logging.getLogger(ROOT).handlers = [logging.NullHandler()]
    logging.getLogger(ROOT).setLevel(logging.CRITICAL)


@pytest.mark.spec("COL-17")
def test_a_line_is_one_json_object(stream: io.StringIO) -> None:
    """A line carries time, level, component, event and the event's fields, whatever they hold."""
    configure("info", stream)
    record("math_cell", "part_started", greeted='a "quoted"\nword')
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert {"level": "info", "component": "math_cell", "event": "part_started", "greeted": 'a "quoted"\nword'} == {
        key: value for key, value in said.items() if key != "time"
    }
    assert said["time"].endswith("Z")


@pytest.mark.spec("COL-17")
def test_the_level_chooses_the_least_severe_line(stream: io.StringIO) -> None:
    """Below `log_level` nothing is written."""
    configure("warning", stream)
    record("bus", "link_back")
    record("bus", "link_lost")
    assert ["link_lost"] == [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


@pytest.mark.spec("COL-17")
def test_an_undeclared_event_is_a_bug() -> None:
    """A line can only name an event that is declared, and the reference lists every one."""
    with pytest.raises(KeyError):
        record("bus", "something_else")
    assert all(f"`{event}`" in render_logs_md() for event in EVENTS)
