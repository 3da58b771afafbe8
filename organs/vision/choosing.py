"""Which eyes the settings choose, if any."""

from __future__ import annotations

from organs.vision.detector import INSTALL, SUFFIX, OnnxEyes
from organs.vision.ollama import OllamaEyes
from organs.vision.port import Eyes
from shared.models import ModelFolder, models_folder
from shared.settings import Settings


def detectors(settings: Settings) -> ModelFolder:
    """Return where detectors lie."""
    return ModelFolder(models_folder(settings), SUFFIX, INSTALL)


def eyes_of(settings: Settings) -> Eyes | None:
    """Return the eyes that the settings choose; None where they choose none."""
    if settings.vision_url is not None:
        assert settings.vision_model is not None, "no server without a model"
        return OllamaEyes(settings.vision_url.removeprefix("ollama+"), settings.vision_model)
    if settings.vision_detector is not None:
        return OnnxEyes(detectors(settings), settings.vision_detector)
    return None
