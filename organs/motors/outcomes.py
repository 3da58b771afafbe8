"""What became of the signals that warned of an obstacle: what the evasion found, reported to whoever judges."""

from __future__ import annotations

from collections import OrderedDict

from shared.constant import constant
from shared.subjects.body import TOLERANCE_MM, CollisionDecided
from shared.subjects.gates import OutcomeRequest

SIGNALS = constant(100, "signals", "X-12")
BEFORE_MS = constant(2_000, "ms", "NIM-05")  # how long before the evasion began a signal may have come


class Signals:
    """The signals that nobody has reported on yet, oldest first; lost in a crash, as their outcome then is."""

    def __init__(self) -> None:
        self.noted: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def note(self, domain: str, signal: bytes, at_ms: int) -> None:
        """Remember a signal once."""
        if signal not in self.noted:
            self.noted[signal] = (domain, at_ms)
            while len(self.noted) > SIGNALS:
                self.noted.popitem(last=False)

    def judged(self, decided: CollisionDecided) -> list[OutcomeRequest]:
        """Return a report for the first signal of each domain that warned of an evasion, when it is over.

        Those after it warned of the same obstacle: one evasion teaches once. A false alarm expected an obstacle where
        there was none, so its signal failed.
        """
        if decided.reason == "false_alarm":
            expected, found = 0, decided.front_mm or 0
        elif decided.outcome is not None:
            expected, found = decided.expected_mm, decided.found_mm
        else:
            return []
        begin, end = decided.since_ms - BEFORE_MS, decided.at_ms + BEFORE_MS
        about = [(signal, domain) for signal, (domain, at_ms) in self.noted.items() if begin <= at_ms <= end]
        firsts = dict[str, bytes]()
        for signal, domain in about:
            firsts.setdefault(domain, signal)
            del self.noted[signal]
        content = f"evasion {decided.confirmed + decided.failed}: clear for {found} mm, {expected} mm expected"
        return [
            OutcomeRequest(domain, signal, expected, found, TOLERANCE_MM, content) for domain, signal in firsts.items()
        ]
