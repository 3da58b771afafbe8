"""The claims of `bench bus`: ours and what is beside it, whether a target was met, where the time of a miss goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias

from deploy.bench.profiling import Spent, profiled

Way: TypeAlias = Callable[[], Awaitable[None]]
NOT_INSTALLED = "not installed: pip install 'nimmerverse[bench]'"
HEAD = f"{'claim':<42} {'items':>6} {'ours':>9} {'unit':<15} {'beside':<30} {'theirs':>8} {'ratio':>6}  target"
LAYERS = """\
`wire:` moves bytes, as the client beside it does; with `bus:`, which is what parts call, every signature is verified,
every entry is admitted by its keys and its place in its lane, and every event counts exactly once."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: ours, what is beside it, and the figure that the target speaks of."""

    claim: str
    items: int
    unit: str
    ours: float
    beside: str
    theirs: float | None  #: None where there is nothing beside it, or it is not installed
    figure: float | None
    target: str  #: empty where it is shown for comparison only
    met: bool | None  #: None where there is no target, or it was not measured
    profile: list[Spent] = field(default_factory=list[Spent])  #: where the time of a miss goes

    @classmethod
    def less(cls, claim: str, items: int, beside: str, seconds: Sequence[float], times: float | None) -> Claim:
        """Ours takes so many times less processor time. `seconds` are ours and theirs, or ours alone."""
        ours_s, theirs_s = seconds[0], seconds[1] if len(seconds) > 1 else None
        per, figure = 1e6 / items, None if theirs_s is None else theirs_s / ours_s
        met = None if figure is None or times is None else figure >= times
        theirs = None if theirs_s is None else theirs_s * per
        target = "" if times is None else f"≥ {times:g} × less"
        return cls(claim, items, "µs CPU", ours_s * per, beside, theirs, figure, target, met)

    @classmethod
    def within(cls, claim: str, items: int, unit: str, figure: float, limit: float) -> Claim:
        """A figure of ours alone: at least `limit` where it counts what is done in a second, else at most."""
        many = unit.startswith("events/s")
        met = figure >= limit if many else figure <= limit
        return cls(claim, items, unit, figure, "", None, figure, f"{'≥' if many else '≤'} {limit:,} {unit}", met)

    @property
    def verdict(self) -> str:
        """What the target is, and whether it was met."""
        if not self.target:
            return "none"
        told = f"not measured ({NOT_INSTALLED})" if self.met is None else "met" if self.met else "missed"
        return f"{self.target}: {told}"


async def explained(way: Way, *claims: Claim) -> list[Claim]:
    """Return claims about one way of ours; where any is missed, one more run lays its time out for all of those."""
    missed = [claim for claim in claims if claim.met is False]
    profile = await profiled(way, missed[0].items) if missed else []
    return [replace(claim, profile=profile) if claim in missed else claim for claim in claims]


def table(claims: Sequence[Claim]) -> str:
    """Return the claims for people; below them, of those that were missed, where their time goes."""
    lines = [LAYERS, "", HEAD]
    for c in claims:
        theirs, ratio = ("", "") if c.theirs is None else (f"{c.theirs:,.1f}", f"{c.figure:,.2f}")
        ours = f"{c.claim:<42} {c.items:>6} {c.ours:>9,.1f} {c.unit:<15}"
        lines.append(f"{ours} {c.beside:<30} {theirs:>8} {ratio:>6}  {c.verdict}")
    for profile, missed in groupby(claims, lambda claim: claim.profile):
        if profile:
            lines += ["", *(f"{c.claim} misses {c.target}" for c in missed), "     own time  calls/item"]
            lines += [f"     {one.percent:>6.1f} %  {one.per_item:>10.2f}  {one.function}" for one in profile]
    return "\n".join(lines)
