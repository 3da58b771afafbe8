"""The witness organ: cosigns checkpoints of logs it knows, each only if it goes on from the last one it saw."""

from __future__ import annotations

from organs.witness.memory import FolderMemory as FolderMemory
from organs.witness.memory import MemoryMemory as MemoryMemory
from organs.witness.memory import WitnessMemory as WitnessMemory
from organs.witness.organ import WitnessOrgan as WitnessOrgan
from organs.witness.organ import memory_of as memory_of
from organs.witness.organ import name_of as name_of
from organs.witness.service import serve as serve
from organs.witness.witness import Fork as Fork
from organs.witness.witness import Witness as Witness
