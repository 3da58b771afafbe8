"""Log lines: declared events, JSON, one per line."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from organs.ears import EarsOrgan
from organs.vision import VisionOrgan
from organs.voice import VoiceOrgan
from shared.config import load
from shared.journal import EVENTS, ROOT, configure, record, render_logs_md
from shared.part import Organ
from shared.world import SimWorld


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


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("organ", "module", "package"),
    [
        (VoiceOrgan, "espeakng_loader", "'espeakng-loader>="),
        (EarsOrgan, "pocketsphinx", "'pocketsphinx>="),
        (VisionOrgan, "onnxruntime", "'onnxruntime>="),
    ],
)
def test_a_part_without_its_extra_says_so_when_it_starts(
    organ: type[Organ], module: str, package: str, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    """A part whose extra is not installed writes a line as it starts, with the packages a clone needs; else none."""
    settings = load({}, {"home": "/nonexistent"}, "here").settings
    configure("warning", stream)
    organ.build(settings, SimWorld("dev", 1))
    assert "" == stream.getvalue()
    monkeypatch.setitem(sys.modules, module, None)
    organ.build(settings, SimWorld("dev", 1))
    line = json.loads(stream.getvalue())
    assert ("extra_missing", organ.name) == (line["event"], line["component"])
    assert f".venv/bin/python -m pip install {package}" in line["detail"]
