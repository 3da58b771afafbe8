"""The witness's own work, without a socket: judges a checkpoint against the last one, remembers it, cosigns it.

It says of a tree: this is the largest consistent one that I have seen of this log. So what it cosigned is remembered
before anybody has the cosignature, and two requests at once are judged one after the other. Source: C2SP tlog-witness.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from organs.witness.memory import WitnessMemory
from shared.constant import constant
from shared.errors import StorageFault
from shared.keys import Signer
from shared.log.checkpoint import Checkpoint
from shared.log.note import COSIGNATURE, BadNote, Note, NoteKey, check_name, cosign
from shared.log.tree import BadProof, root_of_hashes, verify_consistency
from shared.log.witness import SIZE_TYPE, TEXT_TYPE, AddCheckpoint, Answer

HEARD_NOTES = constant(1_024, "checkpoints", "X-12")
FORKS = constant(64, "forks", "X-12")


@dataclass(frozen=True, slots=True)
class Fork:
    """Two notes that one log's key signed and that cannot both be true: the same size, another root."""

    origin: str
    size: int
    first: str
    second: str


@dataclass
class Witness:
    """Cosigns under one name with one key, for the logs whose keys it was given. Safe to call from many threads."""

    name: str
    signer: Signer
    logs: Sequence[NoteKey]
    memory: WitnessMemory
    now_s: Callable[[], int]
    forks: list[Fork] = field(default_factory=list[Fork])  #: found and not yet told; who tells them takes them away
    _heard: OrderedDict[tuple[str, int], str] = field(default_factory=OrderedDict[tuple[str, int], str])

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def key(self) -> NoteKey:
        """The key its cosignatures verify with."""
        return NoteKey(self.name, COSIGNATURE, self.signer.public)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request: 200 with the cosignature, or why not. StorageFault where it could not be remembered."""
        try:
            asked = AddCheckpoint.parse(body)
            note = Note.parse(asked.note)
            checkpoint = Checkpoint.parse(note.text)
        except BadNote as bad:
            return _no(400, str(bad))
        if checkpoint.origin not in {key.name for key in self.logs}:
            return _no(404, f"{checkpoint.origin} is no log this witness knows")
        if not self._is_signed(note, checkpoint.origin):
            return _no(403, f"no key that this witness trusts for {checkpoint.origin} signed the checkpoint")
        if asked.old > checkpoint.size:
            return _no(400, f"the old size {asked.old} is above the checkpoint's, {checkpoint.size}")
        with self.memory.alone():
            return self._judged(asked, note, checkpoint)

    def hear(self, raw: str) -> Fork | None:
        """Compare a checkpoint that was shown elsewhere with what was cosigned; return the contradiction, if it is one.

        What no trusted key signed proves nothing and is passed over.
        """
        try:
            note = Note.parse(raw)
            checkpoint = Checkpoint.parse(note.text)
        except BadNote:
            return None
        if not self._is_signed(note, checkpoint.origin):
            return None
        with self.memory.alone():
            self._cosigned(checkpoint.origin)
            self._keep(checkpoint, str(note))
            return self._fork(checkpoint, str(note))

    def _judged(self, asked: AddCheckpoint, note: Note, checkpoint: Checkpoint) -> Answer:
        """Answer a well-formed request of a trusted log, nobody else being judged meanwhile."""
        known = self._cosigned(checkpoint.origin)
        last = known or Checkpoint(checkpoint.origin, 0, root_of_hashes([]))
        fork = self._fork(checkpoint, str(note))
        if fork is not None and fork not in self.forks and len(self.forks) < FORKS:
            self.forks.append(fork)
        if asked.old != last.size or (checkpoint.size == last.size and checkpoint.root != last.root):
            return Answer(409, SIZE_TYPE, f"{last.size}\n".encode())
        try:
            _check_goes_on(last, checkpoint, asked.proof)
        except BadProof as bad:
            return _no(422, str(bad))
        if checkpoint != known:
            self.memory.remember(checkpoint.origin, str(note))
            self._keep(checkpoint, str(note))
        line = cosign(self.name, note.text, self.signer, self.now_s()).line
        return Answer(200, TEXT_TYPE, line.encode())

    def _cosigned(self, origin: str) -> Checkpoint | None:
        raw = self.memory.recall(origin)
        if raw is None:
            return None
        try:
            known = Checkpoint.parse(Note.parse(raw).text)
        except BadNote as bad:
            raise StorageFault(f"what was cosigned last of {origin} is damaged ({bad}); restore it") from bad
        if known.origin != origin:
            raise StorageFault(f"what was cosigned last of {origin} is of {known.origin}; restore it")
        self._keep(known, raw)
        return known

    def _is_signed(self, note: Note, origin: str) -> bool:
        for key in self.logs:
            with contextlib.suppress(BadNote):
                if key.name == origin and note.by((key,)):
                    return True
        return False

    def _fork(self, checkpoint: Checkpoint, raw: str) -> Fork | None:
        """Return the contradiction between a signed checkpoint and one of its size that was seen before."""
        seen = self._heard.get((checkpoint.origin, checkpoint.size))
        if seen is None or Note.parse(seen).text == checkpoint.text:
            return None
        return Fork(checkpoint.origin, checkpoint.size, seen, raw)

    def _keep(self, checkpoint: Checkpoint, raw: str) -> None:
        self._heard.setdefault((checkpoint.origin, checkpoint.size), raw)
        while len(self._heard) > HEARD_NOTES:
            self._heard.popitem(last=False)


def _check_goes_on(last: Checkpoint, checkpoint: Checkpoint, proof: Sequence[bytes]) -> None:
    """Raise BadProof unless the tree of `checkpoint` begins with that of `last`."""
    if last.size:
        verify_consistency(last.size, checkpoint.size, proof, last.root, checkpoint.root)
    elif proof:
        raise BadProof("every tree begins with the empty one; a proof of that has no hashes")


def _no(status: int, why: str) -> Answer:
    return Answer(status, TEXT_TYPE, f"{why}\n".encode(errors="replace"))
