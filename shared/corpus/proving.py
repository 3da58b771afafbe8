"""Proof that a post stands in a dataset: a file that anybody can check who knows the root from the signed log."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.errors import BadProof
from shared.log.batch import SALT_BYTES, InclusionProof, record_leaf, verify_inclusion
from shared.subjects.provenance import Fate


class Proved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a post stands, and the way from its leaf to the root. Salt and record are empty of an erased person."""

    format: Literal["nimmerverse-inclusion-1"]
    dataset: str
    corpus: str
    post: str
    fate: Fate
    batch: int
    root: str
    size: int
    index: int
    leaf: str
    path: list[str]
    salt: str
    record: str  #: what the leaf commits to, byte for byte; a person's text in it is sealed
    erased: str  #: where the log says that its person was erased; empty where nobody was


def check_proved(proved: Proved) -> None:
    """Hold that a proof proves what it says; BadProof. The root must be compared with the one in the signed log."""
    try:
        leaf, root, salt = (bytes.fromhex(text) for text in (proved.leaf, proved.root, proved.salt))
        path = tuple(bytes.fromhex(text) for text in proved.path)
    except ValueError as error:
        raise BadProof(f"a digest in the proof is none ({error})") from None
    verify_inclusion(root, proved.size, proved.index, leaf, InclusionProof(proved.index, proved.size, path))
    if proved.erased:
        if proved.salt or proved.record:
            raise BadProof("the person was erased, and yet a record is shown")
        return
    if len(salt) != SALT_BYTES or record_leaf(salt, proved.record.encode()) != leaf:
        raise BadProof("the record that is shown is not what the leaf stands for")
