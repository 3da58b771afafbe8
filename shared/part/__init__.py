"""The three kinds of part, and the runner that carries one: cells compute, nerves decide, organs act."""

from __future__ import annotations

from shared.part.cell import Cell as Cell
from shared.part.declare import Declaration as Declaration
from shared.part.declare import Garden as Garden
from shared.part.declare import Part as Part
from shared.part.declare import declaration as declaration
from shared.part.grant import grant_request as grant_request
from shared.part.nerve import Nerve as Nerve
from shared.part.nerve import SiteNerve as SiteNerve
from shared.part.organ import Organ as Organ
from shared.part.runner import Runner as Runner
