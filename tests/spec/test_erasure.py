"""Erasing a person from a whole organism: log, traces, view, log lines, the vault and the vault's backup.

The organism is real, with nats-server and PostgreSQL; the erasure is the command a person would type.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from deploy.host import EmbeddedHost
from deploy.organism import Organism
from organs.records import PostgresRecords, RecordsOrgan
from organs.vault import VaultOrgan
from shared.bus import Bus
from shared.codec import decode
from shared.config import Loaded, load
from shared.envelope import Verdict, leaf_of
from shared.errors import Exit, Refusal
from shared.home import Keys
from shared.journal import configure
from shared.keys import CHEAP
from shared.log.tree import root_of
from shared.message import Message, lookup
from shared.personal import Personal
from shared.subjects.privacy import (
    MAX_ERASE_BY_CHARS,
    MAX_ERASE_REASON_CHARS,
    EraseRequest,
    ErasureOrdered,
    PersonErased,
)
from shared.subjects.system import DeadLetter, Decided
from shared.vault import Erased, PersonKeys, Vault, erasures, open_vault
from shared.vault.aead import unclose
from shared.vault.format import read_header, unwrap
from shared.world import RealWorld
from tests.commands import Done, Home
from tests.desk import Desk, Greeted, Seen, Visit
from tests.ground import until
from tests.parts import Heard
from tests.searching import Closed, base64_forms, disguises, openers, places

pytestmark = pytest.mark.spec("X-11", "COL-15")

ADA, BOB = "Ada Augusta King", "Robert Bunsen"
HERS, HIS = "12 Saint James's Square, Marylebone", "Plöck 55, Heidelberg"
M = TypeVar("M", bound=Message)

BROKEN = "broken address of Ada, Ockham Park"
DYING = Path(__file__).parents[1] / "faults/vault_part_program.py"
CONTROL = "visit-of-the-control"


@dataclass
class Story:
    """What happened on one data folder before, through and after an erasure."""

    folder: Path
    loaded: Loaded
    hers: Personal[str] = field(init=False)
    his: Personal[str] = field(init=False)
    before: list[Verdict] = field(init=False)
    after: list[Verdict] = field(init=False)
    plain_before: dict[str, list[Path]] = field(init=False)
    wrapped: Closed = field(init=False)  #: an old copy of the file that held her key
    key: bytes = field(init=False)  #: the former generation's key, as a thief of it would have it
    vaults_before: list[bytes] = field(init=False)
    erased: Done = field(init=False)

    @property
    def home(self) -> Path:
        """The data folder."""
        return self.folder / "home"

    @property
    def copy(self) -> Path:
        """The vault's backup."""
        return self.folder / "backup"

    @property
    def cli(self) -> Home:
        """The command line on it."""
        return Home.at(self.home)

    @asynccontextmanager
    async def living(self, *, desk: bool = True) -> AsyncIterator[tuple[EmbeddedHost, Organism, Bus]]:
        """Let an organism live on the folder: a desk, the records view and the vault."""
        host = EmbeddedHost(self.loaded.settings)
        await host.start()
        organism = Organism(host, self.loaded)
        try:
            world = host.world("parts")
            parts = [RecordsOrgan(PostgresRecords(host.database_url)), VaultOrgan.build(self.loaded.settings, world)]
            await organism.start([*parts, *([Desk.build(self.loaded.settings, world)] if desk else [])])
            bus = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
            yield host, organism, bus
            await bus.drain()
        finally:
            await organism.stop()
            await host.stop()


async def visits(story: Story) -> None:
    """Let Ada and Bob come, and one visit fail; wait until the view has it all."""
    async with story.living() as (_, organism, bus):
        dead, seen = Heard(), Heard()
        await bus.subscribe(DeadLetter.pattern(bus.env), dead)
        await bus.subscribe(Seen.pattern(bus.env), seen)
        for visit, name, address in ((CONTROL, ADA, HERS), ("second", BOB, HIS)):
            assert isinstance(await bus.request(Visit(visit, name, address)), Decided)
        assert isinstance(await bus.request(Visit("third", ADA, BROKEN)), Refusal)
        await bus.wire.publish(Visit.pattern(bus.env), b'{"visit": "4", "nam": "' + ADA.encode() + b'"}')
        letters = [decode(DeadLetter, delivery.data) for delivery in await dead.at_least(2)]
        assert [(b"", False)] * 2 == [(letter.data, letter.whole) for letter in letters]
        assert ["B009", "B002"] == [letter.code for letter in letters]
        await seen.at_least(2)
        story.before = [verdict async for verdict in bus.replay()]
        records = organism.runners["records"].part
        assert isinstance(records, RecordsOrgan)
        while await records.records.next_index() < len(story.before):
            await asyncio.sleep(0.05)
    story.hers, story.his = (greeted(story.before, visit).visitor for visit in (CONTROL, "second"))


def greeted(verdicts: list[Verdict], visit: str) -> Greeted:
    """The decision about one visit."""
    [found] = [g for g in decisions(verdicts, Greeted) if g.visit == visit]
    return found


def decisions(verdicts: list[Verdict], cls: type[M]) -> list[M]:
    """Every admitted decision of a class."""
    return [
        decode(cls, bytes(event.data))
        for verdict in verdicts
        if lookup(verdict.entry.subject) is cls
        for _, event in verdict.admitted()
    ]


def rob(story: Story, vault: Vault) -> None:
    """Copy what a thief could: the wrapped key of Ada, and the key that it is wrapped with."""
    generation = unwrap(vault._master, read_header(vault.folder))
    assert generation is not None
    name = generation.file_of(("person", story.hers.person.hex()))
    story.wrapped = Closed((vault.folder / generation.folder / name).read_bytes(), generation._about + name.encode())
    story.key = generation._key
    story.vaults_before = [p.read_bytes() for f in (vault.folder, story.copy) for p in f.rglob("*") if p.is_file()]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Ada and Bob came, the vault was backed up, and Ada was erased by the command."""
    folder = tmp_path_factory.mktemp("erasure")
    loaded = load({}, {"env": "dev", "site": "here", "home": str(folder / "home"), "beat_ms": "50"}, "here")
    world = RealWorld("dev")
    Keys(loaded.settings, world, CHEAP)
    vault = open_vault(loaded.settings, world, CHEAP)
    story = Story(folder, loaded)
    with (story.home / "journal.log").open("w") as journal:
        configure("debug", journal)
        asyncio.run(visits(story))
    assert 1 == len(story.cli.held("vault", "backup", str(story.copy), "--json").documents[0]["copies"])
    rob(story, vault)
    everywhere = (story.home, story.copy)
    forms = disguises(HERS) | {f"name {form}": raw for form, raw in disguises(ADA).items()}
    forms |= {f"broken {form}": raw for form, raw in disguises(BROKEN).items()}
    story.plain_before = {form: places(raw, *everywhere) for form, raw in forms.items()}
    story.erased = story.cli.run("audit", "erase", ADA, "--reason", "she asked for it", "--json")

    async def look() -> None:
        async with story.living() as (_, _, bus):
            story.after = [verdict async for verdict in bus.replay()]

    asyncio.run(look())
    return story


def test_the_command_says_where_the_erasure_stands(story: Story) -> None:
    """The command ends well and names the order's and the erasure's position, and every copy that was rewritten."""
    assert (int(Exit.OK), "") == (story.erased.code, "".join(story.erased.err.splitlines()[1:]))
    [told] = story.erased.documents
    [ordered], [erased] = decisions(story.after, ErasureOrdered), decisions(story.after, PersonErased)
    assert (story.hers.person.hex(), "she asked for it", "operator") == (ordered.person, ordered.reason, ordered.by)
    assert told["ordered"] == [erased.ordered_index, erased.ordered_offset]
    assert erased.copies == [copy["id"] for copy in told["copies"]]
    assert [str(story.copy)] == [copy["folder"] for copy in told["copies"]]
    assert told["erased"] == [*msgspec.structs.astuple(erasures(story.after)[story.hers.person.hex()])]


def test_the_open_text_was_never_anywhere(story: Story) -> None:
    """Neither her address nor her name is in any file, before the erasure or after, in any form a file may hold it.

    The search finds what is there: a control text, and the sealed bytes in the log, the traces and the view.
    """
    assert {form: [] for form in story.plain_before} == story.plain_before
    everywhere = (story.home, story.copy)
    for text in (HERS, ADA, HIS, BOB, BROKEN):
        for raw in disguises(text).values():
            assert [] == places(raw, *everywhere)
    nats, postgres = story.home / "dev/nats", story.home / "dev/postgres"
    assert places(CONTROL.encode(), nats)
    assert places(CONTROL.encode(), postgres)
    streams = {path.relative_to(nats).parts[-3] for path in places(story.hers.sealed, nats)}
    assert 2 == len(streams), f"the log's and the desk's traces: {streams}"
    assert any(places(form, postgres) for form in base64_forms(story.hers.sealed))
    assert [story.home / "journal.log"] == places(f"greeted {story.hers}".encode(), story.home)


def test_no_key_that_opens_it_is_left(story: Story, tmp_path: Path) -> None:
    """Of every 32 bytes in a row of every file, none opens what is sealed for her, nor the old copy of her wrapped key.

    The search finds a key that was planted, whole or in the middle of other bytes.
    """
    sealed = Closed(story.hers.sealed, b"nimmerverse personal 1\0" + story.hers.person)
    targets = [sealed, story.wrapped]
    found, tries = openers(targets, story.home, story.copy)
    assert [] == found
    assert tries > 10_000
    raw = unclose(story.key, story.wrapped.bytes, story.wrapped.about)
    assert raw is not None
    hers = msgspec.msgpack.decode(msgspec.msgpack.decode(raw)["value"])["key"]
    for name, key in (("her key", hers), ("the key of her key", story.key)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "planted").write_bytes(os.urandom(999) + key + os.urandom(999))
        assert [folder / "planted"] == openers(targets, folder)[0]


def test_the_vault_and_its_backup_are_new_in_every_byte(story: Story) -> None:
    """No file of the vault or its backup is what it was; both open with the passphrase and hold Bob alone."""
    passphrase = (story.home / "passphrase").read_bytes().removesuffix(b"\n")
    for folder in (story.home / "dev/vault", story.copy):
        assert not {p.read_bytes() for p in folder.rglob("*") if p.is_file()} & set(story.vaults_before)
        vault = Vault.unlock(folder, passphrase, RealWorld("dev").entropy)
        assert [BOB] == vault.names("name")
        assert [story.his.person.hex()] == vault.names("person")


def test_the_vault_lists_erasures_and_no_names(story: Story) -> None:
    """`vault list` counts people and names none unless it is asked to; it shows each erasure and each backup."""
    [told] = story.cli.held("vault", "list", "--json").documents
    assert (1, 0) == (told["people"], told["secrets"])
    at = [*msgspec.structs.astuple(erasures(story.after)[story.hers.person.hex()])]
    ordered = story.erased.documents[0]["ordered"]
    assert [{"person": story.hers.person.hex(), "ordered": ordered, "complete": at}] == told["erased"]
    assert [(str(story.copy), True)] == [(row["folder"], row["reachable"]) for row in told["backups"]]
    assert BOB not in story.cli.held("vault", "list").out
    assert BOB in story.cli.held("vault", "list", "--names").out


def test_what_is_erased_answers_erased_at(story: Story) -> None:
    """Opening anything of hers answers `erased at` the log's position; his still opens; so says the log alone, too."""

    async def look() -> None:
        world = RealWorld("dev")
        desk = Desk.build(story.loaded.settings, world)
        assert HIS == await desk.keys.open(story.his)
        at = erasures(story.after)[story.hers.person.hex()]
        with pytest.raises(Erased, match=rf"erased at \({at.index}, {at.offset}\)"):
            await desk.keys.open(story.hers)
        assert story.his.person.hex() not in erasures(story.after)

    asyncio.run(look())


def test_a_replay_says_what_was_erased(story: Story) -> None:
    """`audit replay` prints her sealed values as they stand and says where they were erased; of Bob it says nothing."""
    at = erasures(story.after)[story.hers.person.hex()]
    printed = story.cli.held("audit", "replay", "--json").documents
    [told] = [row for row in printed if "erased" in row and "person" in row]
    assert (story.hers.person.hex(), [at.index, at.offset]) == (told["person"], told["erased"])
    hers = base64.b64encode(story.hers.person).decode()
    holds = [row for row in printed if hers in json.dumps(row.get("data", {}))]
    assert told["events"] == [[row["index"], row["offset"]] for row in holds]
    assert f"erased at ({at.index}, {at.offset}): no key opens" in story.cli.held("audit", "replay").out


def test_the_log_stands(story: Story) -> None:
    """Every entry from before is there byte for byte, all are admitted, and the prefix's RFC 6962 root is the same."""
    roots = [
        root_of([leaf_of(v.entry) for v in verdicts[: len(story.before)]], lambda data: hashlib.sha256(data).digest())
        for verdicts in (story.before, story.after)
    ]
    assert roots[0] == roots[1]
    assert len(story.before) < len(story.after)
    assert [] == [no for verdict in story.after for _, no in verdict.void()]
    assert story.hers == greeted(story.after, CONTROL).visitor


def test_nobody_is_erased_twice_or_unknown(story: Story) -> None:
    """Erasing whom the vault does not know is refused by name, and nothing is ordered."""
    for name in (ADA, "Nobody at all"):
        done = story.cli.run("audit", "erase", name, "--reason", "again", "--json")
        assert (int(Exit.REFUSED), "P002") == (done.code, done.documents[0]["kind"])

    async def ask() -> None:
        async with story.living(desk=False) as (_, _, bus):
            count = len([v async for v in bus.replay()])
            for person, code in ((story.hers.person.hex(), "P001"), ("00" * 16, "P002"), ("Ada", "P002")):
                answer = await bus.request(EraseRequest(person, "again", "operator"))
                assert isinstance(answer, Refusal)
                assert code == answer.code
            assert count == len([v async for v in bus.replay()])

    asyncio.run(ask())


def test_a_reason_may_not_name_the_person(story: Story) -> None:
    """The log keeps the reason for ever, so one with the person's name in it is refused before anything happens."""
    words = ("audit", "erase", "--reason", "Mr. bunsen asked", "--json")
    done = story.cli.run(*words, BOB)
    assert (int(Exit.REFUSED), "B002") == (done.code, done.documents[0]["kind"])
    piped = subprocess.run(
        [*story.cli.program, *words, "-"],
        cwd=story.cli.cwd,
        env=story.cli.environ,
        input=f"{BOB}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.code, done.out) == (piped.returncode, piped.stdout), "a name need not stand on the command line"


def test_the_vault_orders_no_erasure_that_names_anybody(story: Story) -> None:
    """Asked past the command, the organ refuses a reason or a role that names somebody or is too long.

    Nothing of it is in the log or in a dead letter.
    """
    person = story.his.person.hex()

    async def ask() -> None:
        people = Desk.build(story.loaded.settings, RealWorld("dev")).keys
        await people.seal("Emmy Noether", "Erlangen")
        async with story.living(desk=False) as (_, _, bus):
            dead, count = Heard(), len([v async for v in bus.replay()])
            await bus.subscribe(DeadLetter.pattern(bus.env), dead)
            for reason, by in (
                (f"{BOB} asked for it", "operator"),
                ("Bunsen!", "operator"),
                ("as asked", f"{BOB}, {HIS}"),
                ("not Emmy Noether", "operator"),
                ("x" * (MAX_ERASE_REASON_CHARS + 1), "operator"),
                ("as asked", "x" * (MAX_ERASE_BY_CHARS + 1)),
            ):
                answer = await bus.request(EraseRequest(person, reason, by))
                assert isinstance(answer, Refusal)
                assert "B002" == answer.code
            letters = [decode(DeadLetter, delivery.data) for delivery in await dead.at_least(2)]
            assert [(b"", "B002")] * 2 == [(letter.data, letter.code) for letter in letters]
            assert count == len([v async for v in bus.replay()])

    asyncio.run(ask())


def test_an_erasure_waits_for_a_backup_that_is_away(story: Story) -> None:
    """While a backup cannot be reached an erasure does not call itself complete; it goes on when it is back."""
    away = story.folder / "away"

    async def erase() -> None:
        desk = Desk.build(story.loaded.settings, RealWorld("dev"))
        await desk.keys.seal("Carl", "here and there")
        person = (await desk.keys.seal("Carl", "")).person.hex()
        story.copy.rename(away)
        async with story.living(desk=False) as (_, organism, bus):
            done = Heard()
            await bus.subscribe(PersonErased.pattern(bus.env), done)
            assert isinstance(await bus.request(EraseRequest(person, "as asked", "operator")), Decided)
            vault = organism.runners["vault"].part
            assert isinstance(vault, VaultOrgan)
            store = await vault.people.store()
            await until(lambda: store.get("erased", person) is not None)
            assert [] == done.all
            away.rename(story.copy)
            await done.at_least(1)
        held = Vault.unlock(story.copy, (story.home / "passphrase").read_bytes()[:-1], RealWorld("dev").entropy)
        assert person in held.names("erased")
        assert person not in held.names("person")

    asyncio.run(erase())


def test_a_killed_vault_organ_finishes_after_its_restart(story: Story) -> None:
    """Killed by kill -9 between destroying the key and saying so, the organ finishes the erasure when it is back.

    The command that asked for it waits meanwhile.
    """
    people = Desk.build(story.loaded.settings, RealWorld("dev")).keys
    dora = asyncio.run(people.seal("Dora", "somewhere"))
    dying = replace(story.cli, program=(sys.executable, str(DYING)))
    with (
        story.cli.without_records().up("--part", "cells.math_cell"),
        dying.living("part", "organs.vault", "--json") as part,
    ):
        assert "vault" == part.document()["part"]
        with story.cli.living("audit", "erase", "Dora", "--reason", "-", "--timeout", "120", "--json") as command:
            assert -signal.SIGKILL == part.process.wait(60)
            with pytest.raises(Erased, match="being erased, as ordered at"):
                asyncio.run(people.open(dora))
            with story.cli.living("part", "organs.vault"):
                done = command.end(120)
                assert int(Exit.OK) == done.code, done.err
                index, offset = done.documents[0]["erased"]
                asyncio.run(_answers(people, dora, rf"erased at \({index}, {offset}\)"))


async def _answers(people: PersonKeys, personal: Personal[str], sentence: str) -> None:
    """Open it until the organ has read its own decision back, and compare the answer."""
    async with asyncio.timeout(60):
        while True:
            with pytest.raises(Erased) as found:
                await people.open(personal)
            if found.value.complete:
                break
            await asyncio.sleep(0.05)
    assert found.match(sentence)
