"""Personal data as a field type: what may be declared, what shows, what proofs disclose, and who may open it."""

from __future__ import annotations

import ast
import asyncio
import base64
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from blake3 import blake3

from deploy.commands.show import READABLE_CHARS, line
from deploy.references.asyncapi import schemas
from deploy.references.fields import fields, structs
from deploy.references.subjects import kind_of
from shared.bus.confidential import quotable
from shared.codec import decode, decode_any, encode, encode_json
from shared.errors import CODES, Refusal
from shared.log.batch import record_leaf
from shared.log.entry import Position
from shared.log.tree import root_of
from shared.message import DeclarationError, Request, Signal
from shared.part import Nerve, Organ, declaration
from shared.part.checks import check_part
from shared.personal import Personal
from shared.subjects.privacy import EraseRequest, ErasureOrdered, PersonErased
from shared.subjects.system import Decided
from shared.vault import simulated_people
from shared.world import SimWorld
from tests.desk import Desk, Greeted, Visit
from tests.parts import Seen, Tally

pytestmark = pytest.mark.spec("X-11")

SEALED = Personal[str](bytes(range(16)), bytes(range(72)))


def test_a_decision_may_carry_personal_data() -> None:
    """A Personal field stands in a decision like any exact type: its bytes are canonical and come back the same."""
    message = Greeted("first", SEALED)
    assert message == decode(Greeted, encode(message))


@pytest.mark.parametrize(
    ("person", "sealed"),
    [(bytes(15), bytes(72)), (bytes(17), bytes(72)), (bytes(16), bytes(71)), (bytes(16), bytes(8193))],
)
def test_what_cannot_be_sealed_bytes_is_refused(person: bytes, sealed: bytes) -> None:
    """A field whose pseudonym or ciphertext has an impossible length is no message: an open text does not slip in."""
    raw = msgspec.msgpack.encode({"visit": "first", "visitor": {"person": person, "sealed": sealed}})
    with pytest.raises(Exception, match="B002"):
        decode(Greeted, raw)


def test_what_people_read_is_redacted() -> None:
    """repr, str and so every log line show the first digits of the pseudonym and a length, in a message or alone."""
    shown = "Personal(0001…, 72 bytes sealed)"
    assert shown == repr(SEALED) == str(SEALED) == f"{SEALED}"
    assert f"Greeted(visit='first', visitor={shown})" == repr(Greeted("first", SEALED))


def test_what_watch_and_replay_print_is_redacted() -> None:
    """The lines that a person reads show personal data as its repr does, wherever in a message it stands."""
    plain = {"person": SEALED.person, "sealed": SEALED.sealed}
    shown = "Personal(0001…, 72 bytes sealed)"
    told = line("dev.desk.book.event.first.greeted", {"visitor": plain, "all": [plain], "person": "p"}, "").plain
    assert told.endswith(f'{{"all":["{shown}"],"person":"p","visitor":"{shown}"}}')


@pytest.mark.spec("X-10")
def test_a_line_for_people_ends_somewhere() -> None:
    """What is longer than people read is cut, and the line says how much more there is and what shows it."""
    told = line("dev.memory.store.event.page.remembered", "v" * (READABLE_CHARS + 50_000), "").plain
    assert len(told) < READABLE_CHARS + 200
    assert told.endswith("v… and 50,000 characters more; --json shows all")
    assert line("dev.a.b.c", "x" * READABLE_CHARS, "").plain.endswith("x" * READABLE_CHARS)


def test_json_holds_ciphertext_only() -> None:
    """JSON carries the sealed bytes as the wire does, so that a view of them is a copy of ciphertext."""
    told = msgspec.json.decode(encode_json(Greeted("first", SEALED)))
    wanted = {"person": base64.b64encode(SEALED.person).decode(), "sealed": base64.b64encode(SEALED.sealed).decode()}
    assert wanted == told["visitor"]


def test_the_references_mark_personal_data() -> None:
    """subjects.md calls the field personal data and links its structure; AsyncAPI marks the schema."""
    [_, visitor] = fields(Greeted)
    assert "personal data: [Personal](#personal)" == visitor.type
    assert [Personal] == structs([Greeted])
    assert ["Personal_str_"] == [name for name, schema in schemas([Greeted]).items() if "x-personal-data" in schema]
    assert "confidential" in kind_of(Visit)


def test_cells_and_nerves_have_no_way_to_a_key(root: Path) -> None:
    """No cell and no nerve imports what opens personal data, and nothing below the organs but the vault itself does."""
    found = [
        f"{path.relative_to(root)}: {name}"
        for top in ("cells", "nerves", "shared")
        for path in sorted((root / top).rglob("*.py"))
        if not path.is_relative_to(root / "shared/vault")
        for name in _imported(path.read_text())
        if name.startswith("shared.vault")
    ]
    assert [] == found
    assert ["shared.vault.People"] == list(_imported("from shared.vault import People"))


def _imported(source: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_a_neighbours_record_cannot_be_guessed_from_a_proof() -> None:
    """Who holds an inclusion proof of their own record learns a leaf beside it, and cannot confirm a right guess by it.

    Without the salt the same guess is confirmed at once.
    """
    neighbour, mine = b"Bob: hired", b"Ada: hired"

    async def salts() -> tuple[bytes, bytes]:
        keys = simulated_people(SimWorld("dev", 3))
        bob, ada = (await keys.seal("Bob", "")).person, (await keys.seal("Ada", "")).person
        return await keys.salt(bob, b"record 1"), await keys.salt(ada, b"record 2")

    bobs, adas = asyncio.run(salts())
    salted, bare = [record_leaf(bobs, neighbour), record_leaf(adas, mine)], [neighbour, mine]
    for leaves, confirmed in ((salted, False), (bare, True)):
        proof, root = _leaf(leaves[0]), root_of(leaves)  # the path of leaf 1 in a tree of two: its neighbour's hash
        assert root == blake3(b"\x01" + proof + _leaf(leaves[1])).digest(), "the proof holds"
        guesses = [neighbour, record_leaf(bytes(32), neighbour), record_leaf(adas, neighbour)]
        assert confirmed == (proof in [_leaf(guess) for guess in guesses])
    assert _leaf(record_leaf(bobs, neighbour)) == _leaf(salted[0]), "who holds Bob's key can still show it"


def _leaf(leaf: bytes) -> bytes:
    return blake3(b"\x00" + leaf).digest()


def test_only_a_request_or_a_reply_may_carry_it_in_the_open() -> None:
    """A confidential class that would be kept, or would put a field of it into its subject, is no declaration."""
    with pytest.raises(DeclarationError, match="seal it"):

        class Told(Signal, subject="trial.personal.told", confidential=True):
            name: str

    with pytest.raises(DeclarationError, match="seal it"):

        class Asked(Request, subject="trial.personal.{name}.ask", reply=Decided, confidential=True):
            name: str


def test_no_nerve_hears_it_in_the_open() -> None:
    """A nerve's evidence is kept in the log, so a nerve that hears a confidential class is no declaration."""

    class Reckless(Nerve[Tally, Seen]):
        name: ClassVar[str] = "reckless"
        version: ClassVar[str] = "1.0.0"

        def entity(self, message: Visit) -> str | None:
            return message.visit

        def evolve(self, state: Tally, decision: Greeted) -> Tally:
            return state

        def decide(self, state: Tally, window: Seen, message: Visit, now_ms: int) -> tuple[Seen, list[Greeted]]:
            return window, []

    with pytest.raises(DeclarationError, match="cannot hear Visit"):
        declaration(Reckless())


def test_a_refusal_of_it_quotes_nothing() -> None:
    """A dead letter or a log line about a confidential message says the code's own sentence, never what was found."""
    no = Refusal("B002", "found Ada")
    assert CODES["B002"].when == quotable("dev.desk.book.visit.request", no)
    assert "found Ada" == quotable("dev.desk.book.other.request", no)


def test_only_a_decision_has_a_place() -> None:
    """A handler may take the Position of a decision; of anything else that is no declaration."""

    class Wrong(Organ):
        name: ClassVar[str] = "wrong"
        version: ClassVar[str] = "1.0.0"

        async def on_visit(self, visit: Visit, at: Position) -> None:
            return

    with pytest.raises(DeclarationError, match="only a decision has a Position"):
        declaration(Wrong())


def test_an_organ_with_personal_data_passes_the_checks_every_part_gets() -> None:
    """Made-up messages with personal data go through the desk like any other."""
    assert [] == [finding for finding in check_part(Desk) if not finding.ok]


def test_no_name_ever_travels() -> None:
    """The messages about an erasure hold a pseudonym, a reason and a role; a JSON request by hand says the same."""
    assert ("person", "reason", "by") == EraseRequest.__struct_fields__ == ErasureOrdered.__struct_fields__
    assert ("person", "ordered_index", "ordered_offset", "copies") == PersonErased.__struct_fields__
    by_hand = b'{"person":"00","reason":"-","by":"operator"}'
    assert EraseRequest("00", "-", "operator") == decode_any(EraseRequest, by_hand)[0]
