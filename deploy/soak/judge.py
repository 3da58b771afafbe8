"""What a soak is judged by, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.soak.copies import Flipped
from deploy.soak.samples import JUDGED, LEAST_S, LIMIT_PERCENT, PER_S, Sample, Samples, trend
from shared.envelope import Verdict

NAMED = 3  #: how many of what is wrong a line names
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """One judgement; `ok` is None where it could not be judged, and the detail says why not."""

    name: str
    ok: bool | None
    detail: str

    @property
    def text(self) -> str:
        """The line as people read it."""
        mark = {True: "✓", False: "✗", None: "·"}[self.ok]
        return f"{mark} {self.name:<24} {'not judged: ' if self.ok is None else ''}{self.detail}"


@dataclass
class Held:
    """What a log holds: where each admitted event stands, and which entries are void."""

    places: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict[bytes, list[tuple[int, int]]])
    void: list[str] = field(default_factory=list[str])

    def add(self, verdict: Verdict) -> None:
        """Take an entry down."""
        self.void += [f"({verdict.entry.index}, {offset}) {refusal}" for offset, refusal in verdict.void()]
        for offset, event in verdict.admitted():
            self.places.setdefault(bytes(event.id), []).append((verdict.entry.index, offset))


def appends(held: Held, told: Mapping[bytes, tuple[int, int]]) -> Line:
    """Judge that every acknowledged event stands where its receipt says, every event once, and none is void."""
    lost = [event_id.hex() for event_id in told if event_id not in held.places]
    moved = [event_id.hex() for event_id, place in told.items() if place not in held.places.get(event_id, [place])]
    doubled = [event_id.hex() for event_id, places in held.places.items() if len(places) > 1]
    wrong = {"lost": lost, "not where it was told": moved, "doubled": doubled, "void": held.void}
    counted = ", ".join(f"{len(found)} {what}" for what, found in wrong.items())
    named = "".join(f"; {what}: {', '.join(found[:NAMED])}" for what, found in wrong.items() if found)
    ok = bool(told) and not any(wrong.values())
    return Line("appends", ok, f"{len(told)} acknowledged, {counted}{named}")


def copies(flipped: Sequence[Flipped]) -> Line:
    """Judge that no copy with a flipped byte was accepted."""
    if not flipped:
        return Line("copies", None, "no byte was flipped in so short a soak")
    accepted = [f"{one.what} with a flipped byte at {one.where}: {one.words}" for one in flipped if not one.refused]
    if accepted:
        return Line(
            "copies", ok=False, detail=f"{len(accepted)} of {len(flipped)} accepted: {'; '.join(accepted[:NAMED])}"
        )
    last = flipped[-1]
    return Line("copies", ok=True, detail=f"{len(flipped)} refused; the last, of {last.what}: {last.words}")


def quota(met: int, objections: Sequence[str]) -> Line:
    """Judge that whoever met the quota was refused as StorageFault, and went on once there was room."""
    if not met:
        return Line("quota", None, "nobody met it")
    return none_of("quota", objections, f"met {met} times: refused as StorageFault, and gone on once there was room")


def none_of(name: str, objections: Iterable[str], well: str) -> Line:
    """Judge that there is nothing to object."""
    found = [objection for objection in objections if objection]
    return Line(name, not found, "; ".join(found[:NAMED]) if found else well)


def growth(samples: Samples, end_s: float, roles: Iterable[str]) -> list[Line]:
    """Judge what each long-living process held in the last third: its memory, and its open files."""
    return [
        _grown(f"{what} of {role}", samples.youngest(role, end_s), end_s, value, unit)
        for role in roles
        for what, value, unit in _HELD
    ]


def _grown(name: str, taken: Sequence[Sample], end_s: float, value: Callable[[Sample], float], unit: str) -> Line:
    span_s = taken[-1].at_s - taken[0].at_s if taken else 0.0
    if end_s * JUDGED < LEAST_S:
        return Line(name, None, f"the last third is {end_s * JUDGED:.0f} s long, {LEAST_S:.0f} s are needed")
    if span_s < LEAST_S:
        return Line(name, None, f"its youngest process was looked at for {span_s:.0f} s, {LEAST_S:.0f} s are needed")
    line = trend([(one.at_s, value(one)) for one in taken])
    held = f"{value(taken[0]):.1f} to {value(taken[-1]):.1f} {unit} in {span_s:.0f} s"
    rate = f"{line.percent:+.2f} ± {line.error:.2f} % in {PER_S / 60:.0f} min"
    if line.holds is None:
        return Line(name, None, f"{held}, {rate}: it scatters too much to be held against {LIMIT_PERCENT:g} %")
    return Line(name, line.holds, f"{held}, {rate}")


def _memory_mib(sample: Sample) -> float:
    return sample.memory_bytes / MIB


def _handles(sample: Sample) -> float:
    return float(sample.handles)


_HELD: tuple[tuple[str, Callable[[Sample], float], str], ...] = (
    ("memory", _memory_mib, "MiB"),
    ("handles", _handles, "open files"),
)
