"""The distance cell: a beat in, `nervous.cells.distance.wave` out, one for each range sensor."""

from __future__ import annotations

from cells.distance_cell.cell import DistanceCell as DistanceCell
from cells.distance_cell.ports import Ranger as Ranger
from cells.distance_cell.ports import Ranges as Ranges
from cells.distance_cell.ports import Steadiness as Steadiness
