"""Mutated notes, checkpoints, keys, proof files, bundles and leaves, against everything of the log that reads them.

    python -m tests.fuzz.fuzz_log --seconds 60 --seed 7

What must hold: reading raises nothing but its own named fault; what is read prints back as it was, and that is read as
the same; nothing opens as the log's checkpoint but what the log signed, and nothing is proven but what it holds. A
failure prints the one line that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from random import Random

from shared.envelope import entry_of, leaf_of
from shared.errors import LogFault
from shared.log import Entry
from shared.log.checkpoint import Checkpoint, log_keys, open_checkpoint, origin_of
from shared.log.note import BadNote, Note, NoteKey, cosign
from shared.log.proof import ProofFile
from shared.log.tiles import bundle, unbundle
from shared.log.tree import (
    BadProof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    nodes_of,
    root_of_hashes,
    verify_inclusion,
)
from tests.forge import founded, signer
from tests.fuzz.fuzz_envelope import Finding, mutate_bytes

LOG, WITNESS = signer("the log's"), signer("a witness's")
ORIGIN = origin_of("dev", "0123456789abcdef" * 4, 1)
ENTRIES = founded().entries
LEAVES = [*map(leaf_of, ENTRIES), bytes(8) + b"\xc1\0\3a.b", bytes(8) + b"\xc1\0\0rest"]
HASHES = leaf_hashes(LEAVES)
CHECKPOINTS = [
    Checkpoint(ORIGIN, size, root_of_hashes(HASHES[:size])).signed(LOG, 1_767_225_600 + size)
    for size in (1, 3, len(LEAVES))
]
WITNESSED = CHECKPOINTS[-1].with_lines([cosign("witness.example/w", CHECKPOINTS[-1].text, WITNESS, 1_767_225_700)])
PROOFS = [
    ProofFile(index, tuple(inclusion_proof(nodes_of(HASHES), index, len(LEAVES))), str(WITNESSED), extra)
    for index, extra in ((0, b""), (2, LEAVES[2]), (len(LEAVES) - 1, b"x"))
]
KEYS = [*log_keys(ORIGIN, LOG.public), NoteKey("pq.example", 6, bytes(1312)), NoteKey("x", 255, b"")]
SPANS = (
    "\n",
    "\n\n",
    "\r",
    " ",
    "— ",
    "+",
    "=",
    "A",
    "0",
    "index ",
    "extra ",
    "é",
    "\u00a0",
    "\u2028",
    "\ud800",
    "\0",
    "٤",
)


@dataclass(frozen=True)
class Reader:
    """One thing that reads: what it must take, how it reads, the fault it may raise, how what is read is written."""

    name: str
    samples: list[bytes]
    read: Callable[[bytes], object]
    fault: type[Exception]
    write: Callable[[object], bytes]


def as_text(raw: bytes) -> str:
    """Bytes as text, whatever they are: what is not UTF-8 becomes surrogates, as when a careless reader hands it on."""
    return raw.decode("utf-8", "surrogateescape")


def printed(found: object) -> bytes:
    """What is read, printed."""
    return str(found).encode()


def checkpoint_text(found: object) -> bytes:
    """A checkpoint's own text."""
    assert isinstance(found, Checkpoint)
    return found.text.encode()


def bundled(found: object) -> bytes:
    """Leaves in their bundle again."""
    assert isinstance(found, list)
    return bundle(found)


def leaf_again(found: object) -> bytes:
    """An entry's leaf again."""
    assert isinstance(found, Entry)
    return leaf_of(found)


def readers() -> list[Reader]:
    """Everything of the log that reads bytes from elsewhere."""
    notes = [str(note).encode() for note in (*CHECKPOINTS, WITNESSED)]
    texts = [note.text.encode() for note in CHECKPOINTS]
    proofs, keys = [str(proof).encode() for proof in PROOFS], [str(key).encode() for key in KEYS]
    return [
        Reader("note", notes, Note.parse, BadNote, printed),
        Reader("note as text", notes, lambda raw: Note.parse(as_text(raw)), BadNote, printed),
        Reader("checkpoint", texts, lambda raw: Checkpoint.parse(as_text(raw)), BadNote, checkpoint_text),
        Reader("key", keys, lambda raw: NoteKey.parse(as_text(raw)), BadNote, printed),
        Reader("proof", proofs, ProofFile.parse, BadProof, printed),
        Reader("proof as text", proofs, lambda raw: ProofFile.parse(as_text(raw)), BadProof, printed),
        Reader(
            "bundle",
            [bundle(LEAVES), bundle([]), bundle([b""] * 3)],
            lambda raw: unbundle(raw, "here"),
            LogFault,
            bundled,
        ),
        Reader("leaf", LEAVES[: len(ENTRIES)], lambda raw: entry_of(0, raw), ValueError, leaf_again),
    ]


def mutated(raw: bytes, random: Random, others: list[bytes]) -> bytes:
    """One to three changes: of bytes, of whole lines, by a span that means something here, or spliced with another."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        match random.randrange(6):
            case 0:
                at = random.randrange(len(raw) + 1)
                raw = (
                    raw[:at] + random.choice(SPANS).encode("utf-8", "surrogatepass") + raw[at + random.choice((0, 1)) :]
                )
            case 1:
                lines = raw.split(b"\n")
                at = random.randrange(len(lines))
                raw = b"\n".join(
                    lines[:at] + random.choice(([], [lines[at]] * 2, [b""], lines[::-1])) + lines[at + 1 :]
                )
            case 2:
                other = random.choice(others)
                raw = raw[: random.randrange(len(raw) + 1)] + other[random.randrange(len(other) + 1) :]
            case _:
                raw = mutate_bytes(raw, random)
    return raw


def check_reading(reader: Reader, raw: bytes, seen: Counter[str]) -> None:
    """Read bytes: a named fault, or something that prints back and is read from there as the same."""
    try:
        found = reader.read(raw)
    except reader.fault as fault:
        seen[f"{reader.name}: refused"] += 1
        if not 0 < len(str(fault)) < 5_000:
            raise Finding("the fault says nothing, or too much") from fault
        return
    seen[f"{reader.name}: read"] += 1
    assert found == reader.read(reader.write(found)), "what was read prints as something else"
    if reader.name != "key":  # a key's line may end in white space
        assert raw == reader.write(found), "two spellings of one thing"


def check_checkpoint(raw: bytes, seen: Counter[str]) -> None:
    """Open bytes as the log's checkpoint: only what the log signed opens."""
    try:
        found = open_checkpoint(raw, LOG.public, ORIGIN)
    except BadNote:
        seen["checkpoint: not the log's"] += 1
        return
    seen["checkpoint: the log's"] += 1
    assert found.note.text in {note.text for note in CHECKPOINTS}, "opened, but the log never signed it"


def check_proof(raw: bytes, seen: Counter[str]) -> None:
    """Verify bytes as a proof from beginning to end: only what the log holds is proven."""
    try:
        proof = ProofFile.parse(raw)
        checkpoint = open_checkpoint(proof.note, LOG.public, ORIGIN).checkpoint
        leaf = leaf_hash(proof.extra) if proof.extra in LEAVES else HASHES[min(proof.index, len(HASHES) - 1)]
        verify_inclusion(proof.index, checkpoint.size, leaf, proof.path, checkpoint.root)
    except (BadProof, BadNote):
        seen["proof: not proven"] += 1
        return
    seen["proof: proven"] += 1
    assert HASHES[proof.index] == leaf, "proven, but not what the log holds there"


def fuzz(seed: int, *, steps: float = inf, seconds: float = inf) -> Counter[str]:
    """Mutate so often or so long; return how often each outcome was seen. Finding when something did not hold."""
    seen, step, every = Counter[str](), 0, readers()
    end = time.monotonic() + seconds
    while step < steps and time.monotonic() < end:
        step += 1
        one_step(every, seen, f"{seed}:{step}")
    return seen


def one_step(every: list[Reader], seen: Counter[str], name: str) -> None:
    """One round over every reader, drawn from its name."""
    random = Random(name)
    others = [sample for reader in every for sample in reader.samples]
    for reader in every:
        raw = mutated(random.choice(reader.samples), random, others)
        try:
            check_reading(reader, raw, seen)
            if reader.name == "note":
                check_checkpoint(raw, seen)
            if reader.name == "proof":
                check_proof(raw, seen)
        except Exception as error:
            sentence = f"{reader.name}: {type(error).__name__}: {error}"
            again = f"repeat: python -m tests.fuzz.fuzz_log --repeat {name}"
            raise Finding(f"{sentence}\n{again}\n{raw.hex()}") from error


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz what reads the log's notes, proofs and tiles.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="where to start (default: 0)")
    parser.add_argument("--repeat", metavar="NAME", help="do one failed step again")
    options = parser.parse_args()
    try:
        if options.repeat:
            one_step(readers(), Counter(), options.repeat)
            return 0
        seen = fuzz(options.seed, seconds=options.seconds)
    except Finding as finding:
        sys.stderr.write(f"{finding}\n")
        return 1
    sys.stdout.write("".join(f"{outcome:28} {count}\n" for outcome, count in sorted(seen.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
