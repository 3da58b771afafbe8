"""docs/benchmarks.md is a page that today's code would write: no figure is judged, only what is told."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.bench import appends, attention, claims, gates, ingest, log, train
from deploy.bench.areas import AREAS
from tests.spec.test_bench_bus import CLAIMS, SHOWN

pytestmark = pytest.mark.spec("X-13")

FIGURES = gates.GateFigure(1, 1.0, 1.0, 1.0, 1, 1)
#: What each area's table says whatever was measured: its sentences and its columns.
SAID = {
    "bus": claims.table([]),
    "appends": appends.table([]),
    "log": log.table([]),
    "gates": gates.table(FIGURES, []),
    "attention": "\n".join(attention.table(attention.Attention((), 0.0, 0.0)).splitlines()[:3]),
    "ingest": ingest.table(ingest.IngestFigure(1, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
    "train": train.table([]),
}
#: The rows of the areas that claim something, as they begin, and how wide their first column is.
CLAIMED = {
    "bus": (CLAIMS | SHOWN, 42),
    "log": ({log.TREE, log.AUDIT, log.REPLAY}, 64),
    "attention": ({name.strip() for name, _ in attention.TIERS}, 62),
}


@pytest.fixture
def tables(root: Path) -> dict[str, list[str]]:
    """The lines of each area's table, as the page has them."""
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    return {name: table.splitlines() for name, table in re.findall(r"(?ms)^## (\w+)\n.*?^```\n(.*?)^```", page)}


def test_the_page_has_every_area(tables: dict[str, list[str]]) -> None:
    """Each area that can be measured has a table, and no other has one."""
    assert list(AREAS) == list(tables) == list(SAID)


@pytest.mark.parametrize("area", SAID)
def test_a_table_says_what_it_says_today(area: str, tables: dict[str, list[str]]) -> None:
    """Whatever is told beside the figures, the columns first of all, is told in today's words."""
    assert set() == set(_shapes(SAID[area].splitlines())) - set(_shapes(tables[area]))


@pytest.mark.parametrize("area", CLAIMED)
def test_a_table_has_the_claims_of_today(area: str, tables: dict[str, list[str]]) -> None:
    """Each claim stands in the page, and the page has none that is not measured any more."""
    names, width = CLAIMED[area]
    lines = tables[area]
    head = next(place for place, line in enumerate(lines) if _shapes([line]) == _shapes(SAID[area].splitlines()[-1:]))
    rows = itertools.takewhile(lambda line: line and line[0] not in "✓✗", lines[head + 1 :])
    firsts = {re.sub(r", \d+ cores?$", "", row[:width].strip()) for row in rows}
    assert names == firsts


def _shapes(lines: Iterable[str]) -> list[str]:
    """Return lines without their figures, and with one space for many."""
    return [" ".join(re.sub(r"\d[\d,.]*", "0", line).split()) for line in lines if line]
