"""A recorded log as a file: what was stored, in order, and nothing else.

    file = for each entry: u32 subject length ‖ subject ‖ u64 broker time ‖ u32 length ‖ envelope   (big-endian)

`python -m tests.histories.history FILE` records a new one from a simulated hour.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from shared.envelope import Prefix, Verdict, admit
from shared.log.entry import Entry

ENV = "dev"


def write(path: Path, entries: list[Entry]) -> None:
    """Write entries, oldest first."""
    with path.open("wb") as file:
        for entry in entries:
            subject = entry.subject.encode()
            file.write(struct.pack(">I", len(subject)) + subject)
            file.write(struct.pack(">QI", entry.time_ns, len(entry.raw)) + entry.raw)


def read(path: Path) -> list[Entry]:
    """Read a whole history."""
    data, at, entries = path.read_bytes(), 0, list[Entry]()
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        subject = data[at + 4 : at + 4 + size].decode()
        at += 4 + size
        time_ns, length = struct.unpack_from(">QI", data, at)
        at += 12
        entries.append(Entry(len(entries), subject, time_ns, data[at : at + length]))
        at += length
    return entries


def judged(entries: list[Entry]) -> list[Verdict]:
    """Admit every entry again, from the genesis on."""
    prefix, verdicts = Prefix(ENV), list[Verdict]()
    for entry in entries:
        verdict = admit(prefix, entry)
        prefix.fold(verdict)
        verdicts.append(verdict)
    return verdicts


def record(path: Path) -> None:
    """Record a simulated ten minutes with drops, lost acknowledgements and crashes."""
    from deploy import simulation

    kept: list[Entry] = []
    take = simulation.Judge.take

    def keep(self: simulation.Judge, entry: Entry) -> None:
        kept.append(entry)
        take(self, entry)

    simulation.Judge.take = keep
    simulation.run(7, 10, simulation.Trouble.parse("drop=0.05,lose_ack=0.05,crash=2"))
    write(path, kept)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
