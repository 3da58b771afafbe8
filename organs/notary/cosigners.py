"""Asking witnesses to cosign: each gets the checkpoint with a proof from what it has; only proven lines come back.

No witness is needed for a signature of ours, and none is trusted: one that is dead, slow or lying costs a line in the
journal, a count, and a bounded time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from organs.notary.witnesses import Post
from shared.constant import constant
from shared.errors import Fault, Unreachable
from shared.journal import record
from shared.log.checkpoint import Checkpoint
from shared.log.note import BadNote, NoteKey, NoteSignature, signed
from shared.log.witness import AddCheckpoint
from shared.world import within

WITNESS_S = constant(5.0, "s", "X-04")
TRIES = constant(3, "requests of one checkpoint", "X-04")
_COSIGNED, _CONFLICT = 200, 409

Prove = Callable[[int, int], Sequence[bytes]]  #: (old, new) → the consistency proof between two sizes of the log


class Cosigners:
    """The witnesses of one log. Owned by the notary's organ."""

    def __init__(self, post: Post, urls: Sequence[str], keys: Sequence[NoteKey]) -> None:
        self.post, self.urls, self.keys = post, tuple(urls), tuple(keys)
        self.cosigned: Counter[str] = Counter()  #: checkpoints by witness, as are the failures
        self.failed: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}  #: what each witness has, as it said last

    async def ask(self, note: str, checkpoint: Checkpoint, prove: Prove) -> list[NoteSignature]:
        """Return the cosignatures that verify, one of each key; it takes WITNESS_S at most."""
        answers = await asyncio.gather(*(self._one(url, note, checkpoint, prove) for url in self.urls))
        lines = {(line.name, line.key_id): line for lines in answers for line in lines}
        return list(lines.values())

    async def _one(self, url: str, note: str, checkpoint: Checkpoint, prove: Prove) -> list[NoteSignature]:
        try:
            lines = await within(WITNESS_S, self._exchange(url, note, checkpoint, prove))
        except TimeoutError:
            return self._failure(url, f"no answer within {WITNESS_S:g} s")
        except Fault as fault:
            return self._failure(url, str(fault))
        self.cosigned[url] += 1
        return lines

    async def _exchange(self, url: str, note: str, checkpoint: Checkpoint, prove: Prove) -> list[NoteSignature]:
        """Ask from the size the witness had; where it has another one, once more from that."""
        for _ in range(TRIES):
            old = min(self._sizes.get(url, 0), checkpoint.size)
            answer = await self.post.post(url, bytes(AddCheckpoint(old, tuple(prove(old, checkpoint.size)), note)))
            if answer.status == _COSIGNED:
                lines = self._proven(answer.lines(), checkpoint)
                self._sizes[url] = checkpoint.size
                return lines
            if answer.status != _CONFLICT:
                said = answer.body[:200].decode(errors="replace").strip()
                raise Unreachable(f"it answers {answer.status}: {said!r}")
            has = answer.size()
            if has > checkpoint.size or has == old:
                raise Unreachable(f"it has another tree, of {has} entries; ours has {checkpoint.size}")
            self._sizes[url] = has
        raise Unreachable(f"it names another size each time, {TRIES} times")

    def _proven(self, lines: Sequence[NoteSignature], checkpoint: Checkpoint) -> list[NoteSignature]:
        """Return the lines by keys that are known; BadNote where there is none, or one that does not verify."""
        named = [(key, line) for key in self.keys for line in lines if line.is_by(key)]
        wrong = [key.name for key, line in named if not signed(key, checkpoint.text, line.signature)]
        if wrong or not named:
            raise BadNote(f"its cosignature does not verify: {', '.join(wrong) or 'none is by a known key'}")
        return [line for _, line in named]

    def _failure(self, url: str, detail: str) -> list[NoteSignature]:
        self.failed[url] += 1
        self._sizes.pop(url, None)
        record("notary", "witness_failed", url=_shown(url), detail=detail)
        return []


def _shown(url: str) -> str:
    """Return an address without what may be a secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
