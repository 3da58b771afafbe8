"""Corpora as they lie in the artifact store: the records of a batch, the manifest of a dataset, and proofs."""

from __future__ import annotations

from shared.corpus.batches import BATCH_MEDIA_TYPE as BATCH_MEDIA_TYPE
from shared.corpus.batches import MAX_ARTIFACT_BYTES as MAX_ARTIFACT_BYTES
from shared.corpus.batches import Line as Line
from shared.corpus.batches import batch_of as batch_of
from shared.corpus.batches import line_of as line_of
from shared.corpus.batches import read_batch as read_batch
from shared.corpus.manifest import CORPORA as CORPORA
from shared.corpus.manifest import MANIFEST_MEDIA_TYPE as MANIFEST_MEDIA_TYPE
from shared.corpus.manifest import Listed as Listed
from shared.corpus.manifest import Manifest as Manifest
from shared.corpus.manifest import read_manifest as read_manifest
from shared.corpus.proving import Proved as Proved
from shared.corpus.proving import check_proved as check_proved
