"""Where processor time goes: the functions in which a measured way spends most of its own time."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from shared.constant import constant

SHOWN = constant(8, "functions", "X-07")
_ROOT = str(Path(__file__).resolve().parents[2]) + "/"
_Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Spent:
    """One function, and its share of the time of the way: its own, without what it calls."""

    function: str  #: `place:name`, the place within this project or the package it is of
    percent: float
    per_item: float  #: calls for each item


async def profiled(way: Callable[[], Awaitable[None]], items: int) -> list[Spent]:
    """Return where one way spends its time; the profiler slows small functions most, so read it as shares."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        await way()
    finally:
        profile.disable()
    return spent(profile, items)


def spent(profile: cProfile.Profile, items: int) -> list[Spent]:
    """Return the functions with the most time of their own, the longest first; waiting for the network is none."""
    found: object = pstats.Stats(profile).stats  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType] - typeshed leaves it out
    stats = cast("dict[_Key, tuple[int, int, float, float, object]]", found)
    took = {key: one for key, one in stats.items() if "method 'poll' of" not in key[2]}
    whole = sum(own for _, _, own, _, _ in took.values()) or 1.0
    longest = sorted(took.items(), key=lambda one: -one[1][2])[:SHOWN]
    return [Spent(_name(key), round(100 * own / whole, 1), calls / items) for key, (_, calls, own, _, _) in longest]


def _name(key: _Key) -> str:
    path, _, name = key
    if path == "~":
        return name.strip("<>")
    place = path.removeprefix(_ROOT).rpartition("site-packages/")[2]
    return f"{place.rpartition('/lib/')[2]}:{name}"
