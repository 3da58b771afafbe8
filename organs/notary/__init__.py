"""The notary organ: the log in, tiles and signed checkpoints out. It alone signs checkpoints."""

from __future__ import annotations

from organs.notary.cosigners import Cosigners as Cosigners
from organs.notary.notary import Inconsistent as Inconsistent
from organs.notary.notary import Notary as Notary
from organs.notary.notary import TilesLost as TilesLost
from organs.notary.notary import hold_to as hold_to
from organs.notary.organ import NotaryOrgan as NotaryOrgan
from organs.notary.ports import FolderShelf as FolderShelf
from organs.notary.ports import MemoryShelf as MemoryShelf
from organs.notary.ports import Shelf as Shelf
from organs.notary.witnesses import HttpPost as HttpPost
from organs.notary.witnesses import Post as Post
from organs.notary.witnesses import SimPost as SimPost
