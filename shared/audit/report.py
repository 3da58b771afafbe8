"""What an audit found, as people and programs read it: integrity, completeness, freshness and trust, each by itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from shared.constant import constant
from shared.errors import Exit

MAX_BAD_KEPT = constant(1_000, "events", "X-12")

_WELL = {
    "integrity": "as signed",
    "completeness": "whole",
    "freshness": "as fresh as was asked for",
    "admission": "admitted",
    "trust": "as you trust",
}


@dataclass(frozen=True, slots=True)
class Bad:
    """One event that is not as it should be; `seq` is its sequence in the stream, `reason` begins with a code."""

    index: int
    offset: int
    seq: int
    subject: str
    id: str
    reason: str


@dataclass
class Judged:
    """One question and its answer: the exit code it alone would end with, and the sentence that says why."""

    exit: Exit = Exit.OK
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to object."""
        return self.exit is Exit.OK

    def object(self, code: Exit, detail: str) -> None:
        """Record an objection; the first one stays."""
        if self.ok:
            self.exit, self.detail = code, detail


@dataclass
class Report:
    """The outcome of an audit. `exit` is the weightiest objection's code; no objection and a trusted signer is OK."""

    source: str
    mode: str
    integrity: Judged = field(default_factory=Judged)
    completeness: Judged = field(default_factory=Judged)
    freshness: Judged = field(default_factory=Judged)
    trust: Judged = field(default_factory=Judged)
    admission: Judged = field(default_factory=Judged)
    first_bad: Bad | None = None
    missing: tuple[int, int] | None = None  #: first and last missing index
    void: list[Bad] = field(default_factory=list[Bad])
    voids: int = 0  #: how many events are void, kept in `void` or not
    entries: int = 0
    events: int = 0
    signed: int = 0  #: how many entries the checkpoint commits to
    origin: str = ""
    root: str = ""  #: of the signed entries as they were read, hexadecimal
    fingerprint: str = ""
    signed_at_s: int | None = None
    newest_ms: int | None = None  #: the broker's time of the last entry
    epochs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    witnesses: list[str] = field(default_factory=list[str])
    log_key: str = ""  #: the verifier key that signed the newest checkpoint, as other tools take it
    keys: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  #: every key of the log, in order
    limits: str = ""  #: what such an audit cannot show, however well it ends
    note: str | None = None  #: the newest checkpoint, where the log's key signed it
    unasked: dict[str, str] = field(default_factory=dict[str, str])  #: questions that were not put, and why not

    @property
    def exit(self) -> Exit:
        """The exit code: tampering weighs more than loss, loss than age, age than void entries, those than trust."""
        for judged in (self.integrity, self.completeness, self.freshness, self.admission, self.trust):
            if not judged.ok:
                return judged.exit
        return Exit.OK

    @property
    def ok(self) -> bool:
        """Whether nothing is to object."""
        return self.exit is Exit.OK

    def tampered(self, bad: Bad, code: Exit = Exit.TAMPERED) -> None:
        """Record that an entry is not what was committed to; the first one is named."""
        if self.first_bad is None or self.integrity.ok:
            self.first_bad = bad
        self.integrity.object(code, f"entry {bad.index} (seq {bad.seq}): {bad.reason}")

    def gone(self, first: int, last: int, why: str) -> None:
        """Record that a range of entries is missing; that weighs more than a loss that the log names."""
        if self.completeness.exit is Exit.LOST:
            self.completeness, self.missing = Judged(), None
        if self.missing is None:
            self.missing = (first, last)
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        self.completeness.object(Exit.INCOMPLETE, f"{which} missing: {why}")

    def lost(self, first: int, last: int, why: str) -> None:
        """Record that a range of entries is gone and that the log says so."""
        if self.missing is None:
            self.missing = (first, last)
        self.completeness.object(Exit.LOST, f"entries {first} to {last} are gone: {why}")

    def refused(self, bad: Bad) -> None:
        """Record a void event."""
        self.voids += 1
        if len(self.void) < MAX_BAD_KEPT:
            self.void.append(bad)
        if self.first_bad is None:
            self.first_bad = bad
        self.admission.object(Exit.VOID, _of(bad))

    def in_order(self) -> None:
        """Put void events in the order of the log, where they were not found in it."""
        self.void.sort(key=lambda bad: (bad.index, bad.offset))
        if self.void and self.integrity.ok:
            self.first_bad = self.void[0]
            self.admission.detail = _of(self.void[0])

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        told = asdict(self)
        del told["note"], told["unasked"]
        for name in ("integrity", "completeness", "freshness", "trust", "admission"):
            judged: Judged = getattr(self, name)
            asked = name not in self.unasked or not judged.ok
            told[name] = {"ok": judged.ok, "judged": asked, "exit": int(judged.exit), "detail": judged.detail}
        return {"ok": self.ok, "exit": int(self.exit), "verdict": self.exit.name.lower(), **told}

    def lines(self) -> list[str]:
        """Return the report for people, the verdict last."""
        told = [
            f"log         {self.origin or 'unnamed'}, read from {self.source} ({self.mode})",
            f"entries     {self.entries} with {self.events} events, {self.signed} of them signed",
            f"root        {self.root or '-'}",
            f"genesis     {self.fingerprint or '-'}",
        ]
        told += [f"log key     {self.log_key}"] if self.log_key else []
        told += [f"witness     {name}" for name in self.witnesses]
        told += [
            f"epoch {e['epoch']}     from {e['index']}, {e['first_missing']} to {e['last_missing']} lost: {e['reason']}"
            for e in self.epochs
        ]
        for name, well in _WELL.items():
            judged: Judged = getattr(self, name)
            mark, text = ("✓", well) if judged.ok else ("✗", judged.detail)
            if judged.ok and name in self.unasked:
                mark, text = "·", f"not judged: {self.unasked[name]}"
            told.append(f"{mark} {name:<13} {text}")
        told += [f"    void ({bad.index}, {bad.offset}) {bad.subject}: {bad.reason}" for bad in self.void[:20]]
        told += [f"not shown   {self.limits}"] if self.limits else []
        verdict = "ok" if self.ok else self.exit.name.lower().replace("_", " ")
        if self.exit is Exit.UNKNOWN_SIGNER:
            verdict = "consistent, signer unknown"
        told.append(f"verdict: {verdict}")
        return told


def _of(void: Bad) -> str:
    return f"entry {void.index} (seq {void.seq}) is void: {void.reason}"
