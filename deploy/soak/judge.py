"""What a soak is judged by, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.soak.copies import Flipped
from deploy.soak.samples import JUDGED_SHARE, LEAST_S, LIMIT_PERCENT, PER_S, Samples, trend
from shared.envelope import Verdict
from shared.errors import StorageFault

FEWEST = 5  #: measurements that a line is drawn through
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


@dataclass(frozen=True, slots=True)
class Filled:
    """A full quota: how often each writer was told which fault instead of a receipt, and who never went on."""

    instead: Mapping[str, Mapping[str, int]]
    stuck: Sequence[str] = ()


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


def quota(filled: Sequence[Filled]) -> Line:
    """Judge that whoever met the quota was told StorageFault and nothing else, and went on once there was room."""
    wrong = [
        f"without room {name} was told {fault}"
        for one in filled
        for name, instead in one.instead.items()
        for fault in instead
        if fault != StorageFault.__name__
    ]
    wrong += [f"{name} is acknowledged nothing since there is room again" for one in filled for name in one.stuck]
    met = sum(any(one.instead.values()) for one in filled)
    if not met:
        return Line("quota", None, "nobody met it")
    return none_of("quota", wrong, f"met {met} times: refused as StorageFault, and gone on once there was room")


def strikes(planned: Sequence[str], landed: Sequence[str], *, interrupted: bool) -> Line:
    """Judge that of each kind of strike that was planned one landed; a soak that was interrupted owes none."""
    never = sorted(set(planned) - set(landed))
    counted = f"{len(landed)} of {len(planned)} landed"
    if never:
        return Line("strikes", None if interrupted else False, f"{counted}, none of {', '.join(never)}")
    return Line("strikes", ok=True, detail=counted)


def none_of(name: str, objections: Iterable[str], well: str) -> Line:
    """Judge that there is nothing to object."""
    found = [objection for objection in objections if objection]
    return Line(name, not found, "; ".join(found[:NAMED]) if found else well)


@dataclass(frozen=True, slots=True)
class Window:
    """The end of a soak, in which growth is judged, and the shortest time that a role's memory or handles take."""

    since_s: float
    end_s: float
    least_s: Mapping[str, float] = field(default_factory=dict[str, float])  #: where not LEAST_S


def growth(samples: Samples, window: Window, roles: Iterable[str]) -> list[Line]:
    """Judge what each long-living process held at the end: its memory without what became due, and its open files."""
    lines = list[Line]()
    for role in roles:
        taken = samples.youngest(role, window.since_s)
        due = [one.due_bytes - taken[0].due_bytes for one in taken]
        memory = [(one.at_s, (one.memory_bytes - less) / MIB) for one, less in zip(taken, due, strict=True)]
        said = f" without {due[-1] / MIB:.1f} MiB that became due" if due and due[-1] else ""
        files = [(one.at_s, float(one.handles)) for one in taken]
        lines.append(_grown(f"memory of {role}", memory, window, f"MiB{said}"))
        lines.append(_grown(f"handles of {role}", files, window, "open files"))
    return lines


def _grown(name: str, points: Sequence[tuple[float, float]], window: Window, unit: str) -> Line:
    least_s = window.least_s.get(name, LEAST_S)
    asked_s, span_s = window.end_s * JUDGED_SHARE, points[-1][0] - points[0][0] if points else 0.0
    line = trend(points) if len(points) >= FEWEST else None
    seen = f"looked at for {span_s:.0f} s"
    if line is not None:
        held = f"{points[0][1]:.1f} to {points[-1][1]:.1f} {unit} in {span_s:.0f} s"
        seen = f"{held}: {line.percent:+.2f} ± {line.error:.2f} % in {PER_S / 60:.0f} min"
    if asked_s < least_s:
        return Line(name, None, f"{seen}; the last third is {asked_s:.0f} s long, {least_s:.0f} s are needed")
    if line is None or span_s < least_s:
        return Line(name, None, f"{seen}; its youngest process is too young, {least_s:.0f} s are needed")
    if line.holds is None:
        return Line(name, None, f"{seen}, which scatters too much to be held against {LIMIT_PERCENT:g} %")
    return Line(name, line.holds, seen)
