r"""A proof of inclusion as a file (`.tlog-proof`): the entry's index, the path to the root, the signed checkpoint.

    c2sp.org/tlog-proof@v1 '\n' ['extra ' base64 '\n'] 'index ' decimal '\n' (base64(hash) '\n')* '\n' note

`extra` is not authenticated; ours holds the leaf itself, which the proof then leads from. Source: C2SP tlog-proof.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from shared.constant import constant
from shared.log.note import BadNote, unbase64
from shared.log.tree import HASH_BYTES, MAX_PROOF_HASHES, BadProof

HEADER = "c2sp.org/tlog-proof@v1"
MEDIA_TYPE = "text/plain; charset=utf-8"
MAX_PROOF_FILE_BYTES = constant(262_144, "bytes", "X-12")  #: a whole leaf, a whole path and a whole note
_EXTRA = "extra "
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ProofFile:
    """What a proof file says: an index, a path of hashes, the checkpoint's note, and the leaf if it is enclosed."""

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes = b""

    def __str__(self) -> str:
        extra = f"{_EXTRA}{_base64(self.extra)}\n" if self.extra else ""
        path = "".join(f"{_base64(one)}\n" for one in self.path)
        return f"{HEADER}\n{extra}index {self.index}\n{path}\n{self.note}"

    @classmethod
    def parse(cls, raw: bytes | str) -> ProofFile:
        """Return the proof in these bytes; BadProof if it is malformed."""
        try:
            data = raw if isinstance(raw, bytes) else raw.encode()
            text = data.decode()
        except UnicodeError:
            raise BadProof("the proof is not UTF-8") from None
        if len(data) > MAX_PROOF_FILE_BYTES:
            raise BadProof(f"the proof has {len(data)} bytes, at most {MAX_PROOF_FILE_BYTES} are read")
        head, empty, note = text.partition("\n\n")
        lines = head.split("\n")
        if not empty or lines.pop(0) != HEADER or not lines:
            raise BadProof(f"a proof begins with {HEADER!r}, an index, a path and an empty line")
        try:
            enclosed = lines[0].startswith(_EXTRA)
            extra = unbase64(lines.pop(0).removeprefix(_EXTRA)) if enclosed else b""
            index = _INDEX.fullmatch(lines.pop(0)) if lines else None
            if index is None:
                raise BadProof("the proof names no index: it is `index`, a space, and a decimal without leading zeros")
            path = tuple(unbase64(line) for line in lines)
        except BadNote as bad:
            raise BadProof(f"the proof is malformed: {bad}") from None
        if len(path) > MAX_PROOF_HASHES:
            raise BadProof(f"the proof's path has {len(path)} hashes, more than {MAX_PROOF_HASHES}")
        if any(len(one) != HASH_BYTES for one in path) or (enclosed and not extra):
            raise BadProof(f"a hash of the path has not {HASH_BYTES} bytes, or the extra line is empty")
        return cls(int(index[1]), path, note, extra)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
