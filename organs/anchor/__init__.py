"""The anchor organ: digests in, evidence from outside and its honest state out."""

from __future__ import annotations

from organs.anchor.checkpoint import checkpoint_digest as checkpoint_digest
from organs.anchor.organ import AnchorOrgan as AnchorOrgan
from organs.anchor.organ import Ports as Ports
from organs.anchor.state import State as State
from organs.anchor.state import minimum_of as minimum_of
from organs.anchor.state import require as require
