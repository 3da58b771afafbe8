"""The artifacts organ: checkpoints, models, datasets and logs under their digests, registered in the log."""

from __future__ import annotations

from organs.artifacts.folder import FolderStore as FolderStore
from organs.artifacts.memory import MemoryStore as MemoryStore
from organs.artifacts.organ import ArtifactsOrgan as ArtifactsOrgan
from organs.artifacts.organ import stated as stated
from organs.artifacts.organ import store_of as store_of
from organs.artifacts.port import Artifact as Artifact
from organs.artifacts.port import ArtifactStore as ArtifactStore
from organs.artifacts.port import check as check
from organs.artifacts.port import has as has
from organs.artifacts.port import read as read
from organs.artifacts.s3 import S3Store as S3Store
