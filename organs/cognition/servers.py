"""Which server of language models the settings name, if any."""

from __future__ import annotations

from organs.cognition.ollama import OllamaSpeaker
from organs.cognition.openai import OpenAISpeaker
from organs.cognition.port import Speaker
from shared.openai import server_at
from shared.settings import Settings


def speaker_of(settings: Settings) -> Speaker | None:
    """Return the speaker that the settings choose; None where they choose none. Raises KeyFault."""
    if settings.language_url is None:
        return None
    assert settings.language_model is not None, "no server without a model"
    protocol, _, url = settings.language_url.partition("+")
    if protocol == "ollama":
        return OllamaSpeaker(url, settings.language_model)
    return OpenAISpeaker(server_at(url, settings.language_key), settings.language_model)
