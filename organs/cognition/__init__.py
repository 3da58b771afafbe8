"""The cognition organ: answers what is asked by quoting memory or with a language model, and refuses what it cannot."""

from __future__ import annotations

from organs.cognition.ollama import OllamaSpeaker as OllamaSpeaker
from organs.cognition.openai import OpenAISpeaker as OpenAISpeaker
from organs.cognition.organ import CognitionOrgan as CognitionOrgan
from organs.cognition.port import Asked as Asked
from organs.cognition.port import Language as Language
from organs.cognition.port import Said as Said
from organs.cognition.port import Speaker as Speaker
from organs.cognition.port import Spoken as Spoken
from organs.cognition.quoting import Quoting as Quoting
from organs.cognition.shape import Shape as Shape
from organs.cognition.speaking import Speaking as Speaking
