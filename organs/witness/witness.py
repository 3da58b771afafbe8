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
from shared.journal import record
from shared.keys import Signer
from shared.log.checkpoint import Checkpoint
from shared.log.note import COSIGNATURE, BadNote, Note, NoteKey, check_name, cosign
from shared.log.tree import BadProof, root_of_hashes, verify_consistency
from shared.log.witness import SIZE_TYPE, TEXT_TYPE, AddCheckpoint, Answer

HEARD_NOTES = constant(1_024, "checkpoints", "X-12")
FORKS = constant(64, "forks of one log", "X-12")


@dataclass(frozen=True, slots=True)
class Fork:
    """Two notes that one log's key signed and that cannot both be true: the same size, another root.

    `roots` tells it from other forks of this log, however often and by whatever notes it is shown.
    """

    origin: str
    size: int
    first: str
    second: str
    roots: str


@dataclass
class Witness:
    """Cosigns under one name with one key, for the logs whose keys it was given. Safe to call from many threads.

    Each fork is told once, and of one log so many as FORKS: one of them proves as much as all of them.
    """

    name: str
    signer: Signer
    logs: Sequence[NoteKey]
    memory: WitnessMemory
    now_s: Callable[[], int]
    forks: list[Fork] = field(default_factory=list[Fork])  #: found and not yet told; who tells them takes them away
    _heard: OrderedDict[tuple[str, int], str] = field(default_factory=OrderedDict[tuple[str, int], str])
    _known: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  #: forks by their roots, by origin
    _unkept: set[str] = field(default_factory=set[str])  #: origins of which the memory does not hold all that is known

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
        """Compare a checkpoint that was shown elsewhere with what was cosigned; return a contradiction not yet told.

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

    def remember_told(self) -> None:
        """Remember which forks were told, so that no later start tells them again. StorageFault; nothing is lost then.

        To be called once what was found before has left: a crash in between repeats it rather than hide it.
        """
        if not self._unkept:
            return
        with self.memory.alone():
            waiting = {fork.roots for fork in self.forks}
            for origin in sorted(self._unkept):
                told = [roots for roots in self._known[origin] if roots not in waiting]
                self.memory.remember(_forks_of(origin), "\n".join(told))
            self._unkept = {fork.origin for fork in self.forks}

    def _judged(self, asked: AddCheckpoint, note: Note, checkpoint: Checkpoint) -> Answer:
        """Answer a well-formed request of a trusted log, nobody else being judged meanwhile."""
        known = self._cosigned(checkpoint.origin)
        last = known or Checkpoint(checkpoint.origin, 0, root_of_hashes([]))
        fork = self._fork(checkpoint, str(note))
        if fork is not None:
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
        """Return the contradiction between a signed checkpoint and one of its size seen before, the first time only."""
        origin, size = checkpoint.origin, checkpoint.size
        seen = self._heard.get((origin, size))
        if seen is None or Note.parse(seen).text == checkpoint.text:
            return None
        pair = sorted(found.root.hex() for found in (Checkpoint.parse(Note.parse(seen).text), checkpoint))
        fork = Fork(origin, size, seen, raw, " ".join([str(size), *pair]))
        known = self._known_of(origin)
        if fork.roots in known or len(known) >= FORKS:
            return None
        known.append(fork.roots)
        self._unkept.add(origin)
        return fork

    def _known_of(self, origin: str) -> list[str]:
        """Return which forks of a log are known; where the memory of that cannot be read they are told once more."""
        if origin not in self._known:
            try:
                raw = self.memory.recall(_forks_of(origin)) or ""
            except StorageFault as fault:
                record("witness", "witness_stuck", detail=str(fault))
                raw = ""
            self._known[origin] = raw.splitlines()[:FORKS]
        return self._known[origin]

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


def _forks_of(origin: str) -> str:
    """Return the name under which a memory keeps the forks of a log; no origin holds the end of a line."""
    return f"{origin}\nforks"


def _no(status: int, why: str) -> Answer:
    return Answer(status, TEXT_TYPE, f"{why}\n".encode(errors="replace"))
