"""The memory organ: passages with their provenance, kept in Chroma as a view of the log, found by what they mean."""

from __future__ import annotations

from organs.memory.chroma import ChromaPassages as ChromaPassages
from organs.memory.embedder import BusEmbedder as BusEmbedder
from organs.memory.embedder import Embedder as Embedder
from organs.memory.embedder import GramEmbedder as GramEmbedder
from organs.memory.folding import recall as recall
from organs.memory.organ import MemoryOrgan as MemoryOrgan
from organs.memory.plain import PlainPassages as PlainPassages
from organs.memory.port import Mark as Mark
from organs.memory.port import Passages as Passages
from organs.memory.port import Row as Row
from organs.memory.port import digest_of as digest_of
