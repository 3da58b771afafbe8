"""The steward: creates streams, consumers and keys, each change logged first; greets every part."""

from __future__ import annotations

from organs.steward.organ import NeedsFreshKey as NeedsFreshKey
from organs.steward.organ import StewardOrgan as StewardOrgan
from organs.steward.organ import grants_of as grants_of
from organs.steward.ports import Door as Door
from organs.steward.ports import Ground as Ground
from organs.steward.ports import NatsGround as NatsGround
from organs.steward.ports import OpenDoor as OpenDoor
from organs.steward.ports import SimGround as SimGround
