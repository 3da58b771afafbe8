"""The log's own pieces: the Merkle tree shape and the entry a stream record becomes."""

from __future__ import annotations

from shared.log.entry import Entry as Entry
from shared.log.tree import root_of as root_of
