"""The artifact store: contents under their digests, in a folder, a bucket or memory, behind one port."""

from __future__ import annotations

from shared.artifacts.choosing import read_account as read_account
from shared.artifacts.choosing import store_of as store_of
from shared.artifacts.folder import FolderStore as FolderStore
from shared.artifacts.memory import MemoryStore as MemoryStore
from shared.artifacts.port import CHUNK_BYTES as CHUNK_BYTES
from shared.artifacts.port import Artifact as Artifact
from shared.artifacts.port import ArtifactStore as ArtifactStore
from shared.artifacts.port import check as check
from shared.artifacts.port import checked_digest as checked_digest
from shared.artifacts.port import has as has
from shared.artifacts.port import read as read
from shared.artifacts.s3 import S3Store as S3Store
