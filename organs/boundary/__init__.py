"""The boundary organ: states in, typed function calls out, by a small model of one's own or by its rules."""

from __future__ import annotations

from organs.boundary.organ import BoundaryOrgan as BoundaryOrgan
