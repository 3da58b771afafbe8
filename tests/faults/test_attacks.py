"""Every attack on a log that we know, on a real server's files, each found and named by `audit verify`.

The attacker owns the machine: it edits block files and seals them again, deletes, restores, and appends with every
right on the server. What it does not own is the notary's key and the reader's memory.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.bus import Bus, Draft
from shared.bus.ledger import Context
from shared.bus.nats import NatsWire
from shared.config import load
from shared.errors import Exit
from shared.home import Keys
from shared.keys import LocalSigner, Signer
from shared.world import RealWorld, new_id
from tests.blockfile import Record, blocks_of, edit
from tests.commands import Done
from tests.crime import ENV, LOG, Crime, copy_of, go_on, intrude, noting, store
from tests.crime import grown as grown_log
from tests.ground import Noted

DECISIONS = 20


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Crime:
    """A log with a notary's signature over all of it, at rest."""
    return grown_log(tmp_path_factory.mktemp("attacks") / "home", DECISIONS)


@pytest.fixture
def crime(grown: Crime, tmp_path: Path) -> Crime:
    """A copy of it, to commit something on."""
    return copy_of(grown, tmp_path / "home")


def a_decision(records: list[Record]) -> int:
    """Where in the block a decision of the desk stands."""
    return next(i for i, record in enumerate(records) if b".desk.event.who2." in record.subject)


# What the tree finds


@pytest.mark.spec("X-04")
def test_the_untouched_log_is_ok(crime: Crime) -> None:
    """Nothing is found where nothing was done: the other tests of this file can fail."""
    found = crime.verdict()
    assert (0, "ok", crime.signed, None) == (found["exit"], found["verdict"], found["signed"], found["first_bad"])


@pytest.mark.spec("X-04")
def test_an_edited_event_is_named(crime: Crime) -> None:
    """An event edited on the disk, its checksum made right again, is tampering, by its index, subject and id."""
    index = -1

    def change(records: list[Record]) -> list[Record]:
        nonlocal index
        index = a_decision(records)
        old = records[index]
        body = old.body[:-1] + bytes([old.body[-1] ^ 1])
        return [*records[:index], replace(old, body=body), *records[index + 1 :]]

    edit(crime.server, LOG, change)
    found = crime.verdict()
    bad = found["first_bad"]
    assert (int(Exit.TAMPERED), index, index + 1) == (found["exit"], bad["index"], bad["seq"])
    assert bad["subject"].startswith("dev.trial.desk.event.who2")
    assert len(bad["id"]) == 32


@pytest.mark.spec("X-04")
def test_a_deleted_event_is_a_named_gap(crime: Crime) -> None:
    """An event taken out of the middle is missing, by its index."""
    index = -1

    def change(records: list[Record]) -> list[Record]:
        nonlocal index
        index = a_decision(records)
        return [*records[:index], *records[index + 1 :]]

    edit(crime.server, LOG, change)
    found = crime.verdict()
    assert (int(Exit.INCOMPLETE), [index, index]) == (found["exit"], found["missing"])


@pytest.mark.spec("X-04")
def test_a_truncated_tail_is_a_named_range(crime: Crime) -> None:
    """The last events cut off are missing, from the first to the last that was signed; and nothing starts on it."""
    edit(crime.server, LOG, lambda records: records[:-5])
    found = crime.verdict()
    assert int(Exit.INCOMPLETE) == found["exit"]
    assert [crime.signed - 5, crime.signed - 1] == found["missing"]
    refused = crime.home.run("up", "--part", "organs.notary")
    assert int(Exit.FAILED) == refused.code
    assert f"the log has {crime.signed - 5} entries, {crime.signed} were signed" in refused.sentence


@pytest.mark.spec("X-04")
def test_a_recreated_stream_is_missing_everything(crime: Crime) -> None:
    """A stream deleted and made again, empty, misses all that was signed; no start writes a second genesis into it."""

    async def recreate(wire: NatsWire) -> None:
        told = json.loads((await wire.client.request(f"$JS.API.STREAM.INFO.{LOG}", b"")).data)["config"]
        assert json.loads((await wire.client.request(f"$JS.API.STREAM.DELETE.{LOG}", b"")).data)["success"]
        await wire.client.request(f"$JS.API.STREAM.CREATE.{LOG}", json.dumps(told).encode())

    intrude(crime, recreate)
    found = crime.verdict()
    assert (int(Exit.INCOMPLETE), [0, crime.signed - 1]) == (found["exit"], found["missing"])
    refused = crime.home.run("up", "--part", "organs.notary")
    assert "its tail is gone" in refused.sentence
    assert (int(Exit.INCOMPLETE), 0) == (crime.verdict()["exit"], crime.verdict()["entries"])


@pytest.mark.spec("X-04")
def test_a_stream_whose_folder_is_gone_misses_everything(crime: Crime) -> None:
    """The log's whole folder removed from under the server: everything that was signed is missing."""
    [folder] = crime.server.rglob(f"streams/{LOG}")
    shutil.rmtree(folder)
    found = crime.verdict()
    assert (int(Exit.INCOMPLETE), [0, crime.signed - 1]) == (found["exit"], found["missing"])
    assert f"no server has the stream {LOG}" in found["completeness"]["detail"]


@pytest.mark.spec("X-04", "X-07")
def test_no_other_log_is_begun_in_the_place_of_one_that_is_gone(crime: Crime) -> None:
    """The log removed with everything that was signed of it: no start begins another under the same genesis."""
    home = crime.home.folder / ENV
    for name in ("nats", "notary", "tiles"):
        shutil.rmtree(home / name)
    for words in (("up", "--part", "organs.notary"), ("ask", "1+1")):
        refused = crime.home.run(*words)
        assert int(Exit.FAILED) == refused.code
        assert f"the log that was begun here as {crime.trust} is gone" in refused.sentence
    assert not (home / "tiles" / "checkpoint").exists()


@pytest.mark.spec("X-04", "X-07")
def test_tiles_that_are_gone_are_made_again(crime: Crime) -> None:
    """Every tile removed, the checkpoint with them: the next start makes them again from the log, and goes on."""
    tiles = crime.home.folder / ENV / "tiles"
    shutil.rmtree(tiles)
    go_on(crime, 1000, 3)
    found = crime.verdict()
    assert (int(Exit.OK), True) == (found["exit"], found["signed"] > crime.signed)


@pytest.mark.spec("X-04")
def test_reordered_events_are_named(crime: Crime) -> None:
    """Two events of different lanes that changed places are tampering, at the first of them."""
    first = -1

    def change(records: list[Record]) -> list[Record]:
        nonlocal first
        first = a_decision(records)
        a, b = records[first], records[first + 1]
        assert a.subject != b.subject
        swapped = [replace(b, seq=a.seq, time_ns=a.time_ns), replace(a, seq=b.seq, time_ns=b.time_ns)]
        return [*records[:first], *swapped, *records[first + 2 :]]

    edit(crime.server, LOG, change)
    found = crime.verdict()
    assert (int(Exit.TAMPERED), first) == (found["exit"], found["first_bad"]["index"])


@pytest.mark.spec("X-04")
def test_a_flipped_byte_on_the_disk_is_found(crime: Crime) -> None:
    """A byte flipped in a block file makes the server drop what it cannot check; the audit names the range."""
    [path] = blocks_of(crime.server, LOG)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    found = crime.verdict()
    assert found["exit"] in (int(Exit.INCOMPLETE), int(Exit.TAMPERED))
    assert found["missing"] or found["first_bad"]
    first = found["missing"][0] if found["missing"] else found["first_bad"]["index"]
    assert 0 < first < crime.signed


@pytest.mark.spec("X-04")
def test_a_fork_shown_to_two_readers_is_found(grown: Crime, tmp_path: Path) -> None:
    """Two copies of one log that go on differently: who holds the checkpoint of one sees that the other contradicts."""
    one, other = copy_of(grown, tmp_path / "one"), copy_of(grown, tmp_path / "other")
    go_on(one, 100, 3)
    go_on(other, 200, 5)
    kept = tmp_path / "kept"
    shutil.copy(one.home.folder / ENV / "tiles" / "checkpoint", kept)
    found = other.verdict("--against", str(kept))
    assert (int(Exit.FORKED), "forked") == (found["exit"], found["verdict"])
    assert "contradict each other" in found["integrity"]["detail"]
    assert 0 == other.verdict()["exit"], "by itself each of them holds"


# What admission finds: entries appended with every right on the server


@pytest.mark.spec("X-03")
def test_a_replayed_event_is_void(crime: Crime) -> None:
    """The bytes of an old event, appended once more, are void: repeated (R006), or too old (R001)."""
    index = -1

    async def again(wire: NatsWire) -> None:
        nonlocal index
        [old] = await wire.read(LOG, crime.signed - 1, limit=1)
        index = await store(wire, old.subject, old.raw)

    intrude(crime, again)
    found = crime.verdict()
    assert (int(Exit.VOID), crime.signed, index) == (found["exit"], index, found["first_bad"]["index"])
    assert found["first_bad"]["reason"][:4] in ("R006", "R001")
    assert 1 == found["voids"]


@pytest.mark.spec("X-03")
def test_a_forged_event_is_void(crime: Crime) -> None:
    """An event signed by a key the log never heard of is void (R002)."""
    stranger = LocalSigner(bytes(32))

    async def forge(wire: NatsWire) -> None:
        await _append_as(wire, "desk", stranger)

    intrude(crime, forge)
    found = crime.verdict()
    assert (int(Exit.VOID), "R002") == (found["exit"], found["first_bad"]["reason"][:4])
    assert crime.signed == found["first_bad"]["index"]


@pytest.mark.spec("X-03")
def test_a_revoked_key_signs_nothing_more(crime: Crime) -> None:
    """What a key signs after its revocation is void (R007)."""
    thief = _stolen(crime, "desk")
    crime.home.held("keys", "revoke", "desk", "--reason", "stolen")

    async def forge(wire: NatsWire) -> None:
        await _append_as(wire, "desk", thief)

    intrude(crime, forge)
    found = crime.verdict()
    assert (int(Exit.VOID), "R007") == (found["exit"], found["first_bad"]["reason"][:4])
    assert crime.signed + 1 == found["first_bad"]["index"]


@pytest.mark.spec("X-03")
def test_a_rotated_key_cannot_be_dated_back(crime: Crime) -> None:
    """An event of a rotated key is void (R007) also where its time and the broker's lie before the rotation."""
    thief = _stolen(crime, "desk")
    crime.home.held("keys", "rotate", "desk")

    async def forge(wire: NatsWire) -> None:
        await _append_as(wire, "desk", thief)

    intrude(crime, forge)

    def date_back(records: list[Record]) -> list[Record]:
        *before, rotation, forged = records
        return [*before, rotation, replace(forged, time_ns=rotation.time_ns - 1)]

    edit(crime.server, LOG, date_back)
    found = crime.verdict()
    assert (int(Exit.VOID), "R007") == (found["exit"], found["first_bad"]["reason"][:4])


@pytest.mark.spec("X-04")
def test_a_whole_log_by_somebody_else_is_not_the_trusted_one(crime: Crime, tmp_path: Path) -> None:
    """A log made from nothing by the attacker holds by itself; it is not the one whose genesis is trusted."""
    foreign = tmp_path / "foreign"
    asyncio.run(noting(foreign, 0, 3))
    for part in ("nats", "tiles", "notary", "keys", "nkeys"):
        shutil.rmtree(crime.home.folder / ENV / part)
        shutil.copytree(foreign / ENV / part, crime.home.folder / ENV / part)
    shutil.copy(foreign / "passphrase", crime.home.folder / "passphrase")
    found = crime.verdict()
    assert (int(Exit.WRONG_SIGNER), "wrong_signer") == (found["exit"], found["verdict"])
    unknown: Done = crime.home.run("audit", "verify", "--json")
    assert int(Exit.UNKNOWN_SIGNER) == unknown.code


async def _append_as(wire: NatsWire, part: str, signer: Signer) -> None:
    """Append a decision of the desk, signed by this key, on the right lane with the right prev."""
    bus = Bus(RealWorld(ENV), wire, part, "1.0.0", [signer])
    draft = Draft(Noted("who1", 999), new_id(bus.world))
    lane = draft.decision.lane(ENV)
    await bus.follow(lane)
    raw = await bus._seal([draft], bus.prefix.lane(lane).last, 0, Context())
    await store(wire, draft.decision.subject(ENV), raw)


def _stolen(crime: Crime, part: str) -> Signer:
    """The signing key of a part, as somebody who knows the passphrase reads it."""
    loaded = load({}, {"env": ENV, "home": str(crime.home.folder)}, "here")
    return Keys(loaded.settings, RealWorld(ENV)).signer(part, "host")
