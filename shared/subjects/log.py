"""What the notary and its witnesses say of the log: signed checkpoints, proofs of inclusion, trouble."""

from __future__ import annotations

from shared.message import Reply, Request, Signal


class Checkpointed(Signal, subject="system.notary.checkpoint.signed", stream="transitions"):
    """The notary signed the log at this size; `note` is the checkpoint as others read it (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    note: str


class NotaryRefused(Signal, subject="system.notary.checkpoint.refused", stream="transitions"):
    """The notary signs nothing: what the log shows contradicts what was signed; `size` is the last signed size."""

    size: int
    reason: str


class ForkSeen(Signal, subject="system.witness.checkpoint.forked", stream="transitions"):
    """A log's key signed two trees of one size; both notes are the evidence, whoever reads them can check."""

    origin: str
    size: int
    first: str
    second: str


class Proof(Reply, subject="system.notary.proof.reply"):
    """A proof file (C2SP tlog-proof) for one entry, without the entry itself."""

    index: int
    proof: str


class ProofRequest(Request, subject="system.notary.proof.request", reply=Proof):
    """Ask for the proof that an entry is in the log; B013 while no checkpoint covers it."""

    index: int
