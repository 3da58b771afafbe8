"""The vision organ: what is in a picture and where, by a detector or a vision model; it never makes anything up."""

from __future__ import annotations

from organs.vision.organ import VisionOrgan as VisionOrgan
from organs.vision.port import Eyes as Eyes
from organs.vision.port import Sight as Sight
