"""The voice organ: turns texts into speech, by espeak-ng or a server that is configured."""

from __future__ import annotations

from organs.voice.espeak import EspeakSpeech as EspeakSpeech
from organs.voice.organ import VoiceOrgan as VoiceOrgan
from organs.voice.port import Speech as Speech
from organs.voice.port import Spoken as Spoken
from organs.voice.server import ServerSpeech as ServerSpeech
from organs.voice.simulated import SimSpeech as SimSpeech
