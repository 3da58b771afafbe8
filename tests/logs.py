"""A whole log as its notary leaves it: forged entries, tiles, a signed checkpoint."""

from __future__ import annotations

from pathlib import Path

from organs.notary.notary import Notary
from organs.notary.ports import FolderShelf
from shared.envelope.keybook import NOTARY_PART
from shared.keys import LocalSigner
from tests.forge import (
    ADA,
    BOB,
    CYD,
    PLAIN,
    START_MS,
    Log,
    event,
    founded,
    introduced,
    roots,
    rotated,
    signer,
    subject_of,
)

NOTARY = signer("notary's")
SIGNED_S = START_MS // 1000 + 3_600
NOW_S = SIGNED_S + 60


def told(count: int = 300) -> Log:
    """A log of so many entries: genesis, keys of a part and of the notary, decisions, a rotation; none void."""
    log = founded()
    assert log.key_event(introduced("notary's", CYD, NOTARY_PART, ()), *roots(ADA, BOB)).refusal is None
    while log.index < count:
        if log.index == count // 2:
            assert (
                log.key_event(rotated("ada's", "ada's second"), signer("ada's"), source="nerves.math").refusal is None
            )
            continue
        adas = signer("ada's" if log.index < count // 2 else "ada's second")
        if log.index % 16 == 0:
            done = log.put(log.sealed(subject_of(PLAIN), [event(f"{log.index} {n}") for n in range(3)], adas))
        else:
            done = log.say(PLAIN, f"{log.index}", adas, entity=f"lane{log.index % 5}")
        assert done.refusal is None, done.refusal
    return log


def kept(log: Log, folder: Path, *, signed_s: int = SIGNED_S, notary: LocalSigner = NOTARY) -> FolderShelf:
    """The log as a notary keeps it: tiles and a checkpoint under `folder`/tiles."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shelf = FolderShelf(folder / "tiles", folder / "notary")
    office = Notary(shelf, notary, "dev")
    office.take(log.entries[office.size :])
    assert office.sign(log.prefix.keys, signed_s) is not None
    return shelf
