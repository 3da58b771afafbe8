"""The ears: turn speech into words, by pocketsphinx and a list of sentences, or a server that is configured."""

from __future__ import annotations

from organs.ears.organ import EarsOrgan as EarsOrgan
from organs.ears.port import Hearing as Hearing
from organs.ears.port import Understood as Understood
from organs.ears.server import ServerHearing as ServerHearing
from organs.ears.simulated import SimHearing as SimHearing
from organs.ears.sphinx import SphinxHearing as SphinxHearing
