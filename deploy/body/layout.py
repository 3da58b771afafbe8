"""What an arena holds, drawn from a seed: walls, discs, glass, a dock under a lamp, and what appears from nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from shared.constant import constant
from shared.world import SimWorld

BODY_MM = constant(80, "mm", "NIM-12")  # the body is a disc of this radius
DOCK_MM = constant(150, "mm", "NIM-13")  # from the dock's middle, within which it charges
ROOM_MM = constant(650, "mm", "NIM-13")  # free around dock and start
GAP_MM = constant(420, "mm", "NIM-13")  # between what stands in an arena
SUDDEN_MM = constant(100, "mm", "NIM-13")  # radius of what appears from nowhere
STAYS_MS = constant(15_000, "ms", "NIM-13")
GLASS_SHARE = constant(0.17, "share", "NIM-13")
PLACINGS = constant(200, "attempts", "X-12")


@dataclass(frozen=True, slots=True)
class Disc:
    """Something round that stands in the way; a sensor of light looks through glass."""

    x_mm: int
    y_mm: int
    radius_mm: int
    glass: bool = False
    gone_ms: int = 2**62


@dataclass(frozen=True, slots=True)
class Sudden:
    """Something that appears ahead of the body, at this gap, when this much time has passed."""

    after_ms: int
    gap_mm: int


@dataclass(frozen=True, slots=True)
class Layout:
    """An arena at the beginning; millimetres from its upper left corner, angles clockwise from the right."""

    width_mm: int
    depth_mm: int
    discs: tuple[Disc, ...]
    dock: tuple[int, int]
    start: tuple[int, int]
    heading_cdeg: int
    charge_ppm: int
    sudden: tuple[Sudden, ...] = ()


@dataclass
class _Draft:
    """An arena as it is filled; what stands in it, and how far others must stay from it."""

    world: SimWorld
    width_mm: int
    depth_mm: int
    taken: list[tuple[int, int, int]]

    def room(self, margin: int, gap: int) -> tuple[int, int] | None:
        """Return a place at least `margin` from the walls and `gap` from what stands there; None if none was found."""
        for _ in range(PLACINGS):
            x = margin + _up_to(self.world, self.width_mm - 2 * margin)
            y = margin + _up_to(self.world, self.depth_mm - 2 * margin)
            if all((x - a) ** 2 + (y - b) ** 2 >= (gap + r) ** 2 for a, b, r in self.taken):
                return x, y
        return None


def drawn(seed: int, minutes: float = 2.0) -> Layout:
    """Return the arena of a seed: some discs, one in six of glass, and something sudden every twenty seconds or so."""
    world = SimWorld("arena", seed, "layout")
    width, depth = 2_600 + _up_to(world, 1_400), 2_200 + _up_to(world, 1_200)
    draft = _Draft(world, width, depth, [])
    dock = draft.room(ROOM_MM, 0) or (ROOM_MM, ROOM_MM)
    draft.taken.append((*dock, DOCK_MM))
    start = draft.room(ROOM_MM // 2, GAP_MM) or (ROOM_MM // 2, ROOM_MM // 2)
    draft.taken = [(*dock, ROOM_MM - GAP_MM), (*start, BODY_MM)]
    discs: list[Disc] = []
    for _ in range(3 + _up_to(world, 5)):
        radius = 60 + _up_to(world, 140)
        place = draft.room(radius + GAP_MM, radius + GAP_MM)
        if place is not None:
            discs.append(Disc(*place, radius, world.chance() < GLASS_SHARE))
            draft.taken.append((*place, radius))
    charge = 220_000 + _up_to(world, 780_000)
    return Layout(width, depth, tuple(discs), dock, start, _up_to(world, 36_000), charge, _sudden(world, minutes))


def _sudden(world: SimWorld, minutes: float) -> tuple[Sudden, ...]:
    sudden, after = list[Sudden](), 0
    while (after := after + 10_000 + _up_to(world, 20_000)) < minutes * 60_000:
        sudden.append(Sudden(after, 10 + _up_to(world, 490)))
    return tuple(sudden)


def boxed(seed: int) -> Layout:
    """Return an arena with no way out: the body stands in a pen so narrow that it can only turn."""
    pen = 2 * BODY_MM + 240
    heading = _up_to(SimWorld("arena", seed, "boxed"), 36_000)
    return Layout(pen, pen, (), (pen // 2, 10_000), (pen // 2, pen // 2), heading, 1_000_000)


def _up_to(world: SimWorld, most: int) -> int:
    """Return a whole number from 0 up to, not including, `most`."""
    return int(world.chance() * max(most, 1))
