"""Which server of language models the settings name, if any."""

from __future__ import annotations

from pathlib import Path

from organs.cognition.ollama import OllamaSpeaker
from organs.cognition.openai import OpenAISpeaker
from organs.cognition.port import Speaker
from shared.config import Settings
from shared.errors import KeyFault
from shared.files import OPEN_TO_OTHERS


def speaker_of(settings: Settings) -> Speaker | None:
    """Return the speaker that the settings choose; None where they choose none. Raises KeyFault."""
    if settings.language_url is None:
        return None
    assert settings.language_model is not None, "no server without a model"
    protocol, _, url = settings.language_url.partition("+")
    if protocol == "ollama":
        return OllamaSpeaker(url, settings.language_model)
    return OpenAISpeaker(url, settings.language_model, read_key(settings.language_key) if settings.language_key else "")


def read_key(path: Path) -> str:
    """Return the key in a file that its owner alone may read; KeyFault says what is wrong with it."""
    try:
        mode, key = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} cannot be read ({error}); write the API key into it") from error
    if mode & OPEN_TO_OTHERS:
        raise KeyFault(f"{path} can be read by others; run `chmod 600 {path}`")
    if not key or not key.isprintable() or not key.isascii() or " " in key:
        raise KeyFault(f"{path} does not hold one API key in one line; correct it")
    return key
