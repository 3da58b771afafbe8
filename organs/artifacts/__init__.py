"""The artifacts organ: checkpoints, models, datasets and logs under their digests, registered in the log."""

from __future__ import annotations

from organs.artifacts.organ import ArtifactsOrgan as ArtifactsOrgan
from organs.artifacts.organ import stated as stated
