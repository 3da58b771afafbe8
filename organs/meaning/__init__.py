"""The organ of meaning: what a text or a wave is about, by a sentence model and a catalogue of regions."""

from __future__ import annotations

from organs.meaning.catalogue import Catalogue as Catalogue
from organs.meaning.embedder import MiniLMEmbedder as MiniLMEmbedder
from organs.meaning.organ import MeaningOrgan as MeaningOrgan
from organs.meaning.port import Embedder as Embedder
from organs.meaning.sensing import Sensed as Sensed
from organs.meaning.sensing import Sensor as Sensor
from organs.meaning.simulated import SimEmbedder as SimEmbedder
from organs.meaning.threads import limit_threads

limit_threads()  # nothing in this package imports numpy before it is used
