"""Proposing, voting and checking from the command line, as a person and as a merge check do it."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.people import new_key, voters_key
from shared.ballots import signed_ballot, verify_ballot
from shared.config import load
from shared.errors import Exit, KeyFault
from shared.files import write_private
from shared.home import Keys
from shared.keys import LocalSigner
from shared.keys.sealed import CHEAP
from shared.world import RealWorld
from tests.commands import Done, Home
from tests.proposals import FALLING, MODEL, RECORD
from tests.tokens import soft_token

PARTS = ("nerves.consensus", "organs.reviewer", "organs.notary", "tests/run_teller.py")
UP = tuple(word for part in PARTS for word in ("--part", part))
SUMMARY = ("--summary", "Teach the boundary the new dock", "--family", "boundary")
MANIFEST = "f" * 64
WORST = "e" * 64


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An organism with the nerve and the reviewer, one good run and a bad one, and two people."""
    home = cheap(tmp_path_factory.mktemp("proposals") / "home")
    with home.up(*UP):
        for record, losses in ((RECORD, FALLING), (WORST, [5] * 5)):
            told = {"record": record, "model": MODEL, "losses_micro": losses}
            home.held("request", "trial.teller.run.request", json.dumps(told))
        home.held("people", "add", "ada", "--role", "human", "--role", "safety_lead")
        home.held("people", "add", "bob", "--role", "cto")
        yield home


def cheap(folder: Path) -> Home:
    """A data folder whose keyring opens quickly."""
    return Home.at(folder).without_records().keyed()


def propose(home: Home, name: str, *words: str) -> None:
    """Propose the good run's model, and wait for the AI's vote."""
    home.held("propose", name, *SUMMARY, "--model", MODEL, "--run", RECORD, *words)
    reviewed(home, name)


def reviewed(home: Home, name: str) -> Any:  # noqa: ANN401 - JSON
    """Wait until the AI's vote on a proposal is counted, and return its status."""
    while True:
        [told] = home.held("proposals", "show", name, "--json").documents
        if told["ai"] != "pending":
            return told


def vote(home: Home, about: str, choice: str, *words: str, voter: str = "ada") -> Done:
    """Vote with a reason."""
    return home.run("vote", about, choice, "--as", voter, "--reason", "because", "--json", *words)


@pytest.mark.spec("ZER-02", "ZER-03", "ZER-05")
def test_from_a_proposal_to_a_merge(alive: Home) -> None:
    """A merge check fails until the AI's computed vote and a person's both passed, and then says by whom."""
    propose(alive, "accepted-1")
    assert Exit.REFUSED == alive.run("proposals", "check", "accepted-1").code
    [told] = vote(alive, "accepted-1", "pass").documents
    assert ("counted", "accepted") == (told["counts"], told["state"])
    [checked] = alive.held("proposals", "check", "accepted-1", "--json").documents
    assert (True, "accepted (ai reviewer pass; human ada pass)") == (checked["accepted"], checked["why"])
    status = reviewed(alive, "accepted-1")
    assert "ai reviewer pass counted: loss 54.1367 → 20 → 5 → 1.2 → 0.6547 over 5 points" in status["votes"][0]
    assert "human ada pass counted: because" == status["votes"][1]


@pytest.mark.spec("ZER-02", "ZER-03")
def test_the_ai_fails_a_run_that_did_not_learn(alive: Home) -> None:
    """A flat curve is failed with a proposal to train again; a person's pass is advisory, and the merge check fails."""
    words = ("--model-id", "tiny", "--learning-rate", "0.01", "--dataset", "c" * 64)
    alive.held("propose", "flat-1", *SUMMARY, "--model", MODEL, "--run", WORST, *words)
    assert "train again with a learning rate of 0.008" in reviewed(alive, "flat-1")["votes"][0]
    [told] = vote(alive, "flat-1", "pass").documents
    assert ("advisory", "rejected") == (told["counts"], told["state"])
    assert Exit.REFUSED == alive.run("proposals", "check", "flat-1").code


@pytest.mark.spec("ZER-02")
def test_a_person_fails_what_the_ai_passed(alive: Home) -> None:
    """A person's fail rejects, for good."""
    propose(alive, "rejected-1")
    [told] = vote(alive, "rejected-1", "fail").documents
    assert ("counted", "rejected") == (told["counts"], told["state"])
    assert "G004 FINAL" in vote(alive, "rejected-1", "pass").documents[0]["error"]


@pytest.mark.spec("ZER-02", "ILL-07")
def test_votes_that_are_refused_before_they_are_cast(alive: Home) -> None:
    """Before the AI, twice, in a role one does not have, as nobody, without words: by name, and nothing is written."""
    alive.held("propose", "waiting-1", *SUMMARY)
    propose(alive, "voted-1")
    vote(alive, "voted-1", "pass")
    tried = {
        ("G005", Exit.REFUSED): vote(alive, "waiting-1", "pass"),
        ("G004", Exit.REFUSED): vote(alive, "voted-1", "fail"),
        ("G001", Exit.REFUSED): vote(alive, "nothing-1", "pass"),
        ("G007", Exit.REFUSED): vote(alive, "waiting-1", "pass", voter="bob"),
        ("R007", Exit.KEY): vote(alive, "waiting-1", "pass", voter="eve"),
        ("G009", Exit.REFUSED): alive.run("vote", "waiting-1", "pass", "--as", "ada", "--reason", " ", "--json"),
    }
    for (code, ended), done in tried.items():
        assert ended == done.code, done.out
        assert code in done.out or ended is Exit.KEY
    [told] = alive.held("proposals", "show", "waiting-1", "--json").documents
    assert ([], "pending") == (told["votes"], told["state"])
    assert "G008" in told["ai_waits"]
    assert Exit.CONFIG == vote(alive, "waiting-1", "pass", "--role", "cto", voter="bob").code
    assert (
        0
        == vote(
            alive, MANIFEST, "pass", "--family", "boundary", "--role", "cto", "--evidence", MANIFEST, voter="bob"
        ).code
    )


@pytest.mark.spec("ILL-07")
def test_a_voters_own_keyring(alive: Home, tmp_path: Path) -> None:
    """A person whose key lies in a folder of their own is introduced by its public half and votes with it."""
    secret, ring = tmp_path / "secret", tmp_path / "ring"
    secret.write_text("a good passphrase\n")
    secret.chmod(0o600)
    folder = ("--keyring", str(ring), "--key", "own", "--passphrase-file", str(secret))
    [made] = alive.held("keys", "owner", *folder, "--owner", "eve", "--json").documents
    alive.held("people", "add", "eve", "--role", "signer", "--public", made["public"])
    assert Exit.KEY == vote(alive, MANIFEST, "pass", "--family", "boundary", "--role", "signer", voter="eve").code
    assert 0 == vote(alive, MANIFEST, "pass", "--family", "boundary", "--role", "signer", *folder, voter="eve").code
    listed = {row["person"]: row for row in alive.held("people", "list", "--json").documents}
    assert (made["key_id"], ["signer"]) == (listed["eve"]["key_id"], listed["eve"]["roles"])


@pytest.mark.spec("ILL-07")
def test_another_key_takes_a_removed_ones_place(alive: Home) -> None:
    """Removed, a person votes no more; added again they have another key, perhaps other roles, and the log both."""
    alive.held("people", "add", "kim", "--role", "human")
    other = LocalSigner(bytes(32)).public.hex()
    assert "with another key" in alive.run("people", "add", "kim", "--role", "human", "--public", other).err
    alive.held("people", "remove", "kim", "--reason", "left the team")
    assert Exit.REFUSED == vote(alive, MANIFEST, "pass", "--family", "boundary", "--role", "signer", voter="kim").code
    alive.held("people", "add", "kim", "--role", "signer")
    assert 0 == vote(alive, MANIFEST, "pass", "--family", "boundary", "--role", "signer", voter="kim").code
    rows = [row for row in alive.held("people", "list", "--json").documents if row["person"] == "kim"]
    assert [["human"], ["signer"]] == [row["roles"] for row in rows]
    assert 2 == len({row["key_id"] for row in rows})
    assert [True, False] == [row["last"] is not None for row in rows]


@pytest.mark.spec("ZER-01", "ZER-08")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--learning-rate", "0"), "learning_rate_ppm"),
        (("--learning-rate", "2"), "learning_rate_ppm"),
        (("--steps", "10001"), "steps"),
        (("--steps", "0"), "steps"),
        (("--backend", "petals"), "training.backend is 'petals'"),
        (("--backend", "hivemind", "--batch", "129"), "training.batch is 129"),
        (("--summary", "too short"), "summary"),
        (("--run", "nonsense"), "run is 'nonsense'"),
    ],
)
def test_a_bad_proposal_is_refused(alive: Home, words: tuple[str, ...], named: str) -> None:
    """What is out of its range is refused G002 with the field's name, and nothing is made."""
    done = alive.run("propose", "invalid-1", *SUMMARY, "--model-id", "tiny", "--dataset", "c" * 64, *words)
    assert Exit.REFUSED == done.code
    assert "G002" in done.sentence
    assert named in done.sentence
    assert "G001" in alive.run("proposals", "show", "invalid-1").sentence


def line(name: str, **changed: object) -> str:
    """A proposal as a file holds it."""
    facts: dict[str, object] = {
        "proposer": "ada",
        "summary": "Teach the boundary the new dock",
        "details": "",
        "change_type": "upgrade",
        "risk": "low",
        "training": None,
        "run": "",
        "model": "",
        "family": "boundary",
    }
    return json.dumps({"proposal": name, "facts": facts | changed}) + "\n"


@pytest.mark.spec("ZER-07", "ZER-01")
def test_a_queue_is_imported_whole_or_not_at_all(alive: Home, tmp_path: Path) -> None:
    """One bad line and nothing is made, the line is named; good ones are made once; another's id is refused."""
    queue = tmp_path / "queue.jsonl"
    queue.write_text(line("queued-1") + line("queued-2", summary="short") + "{}\n" + line("bad", run="x"))
    assert Exit.REFUSED == alive.run("proposals", "validate", str(queue)).code
    problems = [row["problems"] for row in alive.run("proposals", "validate", str(queue), "--json").documents]
    assert [False, True, True, True] == [bool(found) for found in problems]
    refused = alive.run("proposals", "import", str(queue)).sentence
    assert all(f"line {number}: " in refused for number in (2, 3, 4))
    assert "G001" in alive.run("proposals", "show", "queued-1").sentence
    queue.write_text(line("queued-1") + line("queued-2"))
    for made, known in ((2, 0), (0, 2)):
        assert {"made": made, "known": known} == alive.held("proposals", "import", str(queue), "--json").documents[0]
    queue.write_text(line("queued-3") + line("queued-1", risk="high"))
    assert "G003" in alive.run("proposals", "import", str(queue)).sentence
    assert "G001" in alive.run("proposals", "show", "queued-3").sentence
    queue.write_text(line("queued-4") * 2)
    assert "G003" in alive.run("proposals", "import", str(queue)).sentence


@pytest.mark.spec("ZER-05", "ZER-07")
def test_a_merge_check_by_file(alive: Home, tmp_path: Path) -> None:
    """Each proposal of the file has to be accepted as exactly what the file says; changed by one word it is not."""
    propose(alive, "merged-1")
    vote(alive, "merged-1", "pass")
    queue = tmp_path / "all.jsonl"
    alive.held("proposals", "export", str(queue))
    [own] = [row for row in queue.read_text().splitlines(keepends=True) if '"merged-1"' in row]
    queue.write_text(own)
    assert 0 == alive.run("proposals", "check", "--file", str(queue)).code
    queue.write_text(own.replace("the new dock", "the old dock"))
    assert Exit.REFUSED == alive.run("proposals", "check", "--file", str(queue)).code
    queue.write_text(own + line("never-made"))
    assert Exit.REFUSED == alive.run("proposals", "check", "--file", str(queue)).code
    for words in ((), ("merged-1", "--file", str(queue))):
        assert Exit.CONFIG == alive.run("proposals", "check", *words).code


@pytest.mark.spec("ZER-06")
def test_lists_and_numbers(alive: Home) -> None:
    """A proposal named `stats` is shown as any other, beside the numbers, which add up; a list is by state."""
    alive.run("propose", "stats", *SUMMARY)
    [told] = alive.held("proposals", "show", "stats", "--json").documents
    assert "stats" == told["proposal"]
    [numbers] = alive.held("proposals", "stats", "--json").documents
    assert numbers["total"] == sum(count for name, count in numbers.items() if name != "total")
    states = {row["state"] for row in alive.held("proposals", "list", "--state", "pending", "--json").documents}
    assert {"pending"} == states


@pytest.mark.spec("ZER-07")
def test_proposals_and_votes_survive_a_backup(tmp_path: Path) -> None:
    """After the loss of everything, a restored backup has every proposal, vote, person and role, and goes on."""
    home, copy = cheap(tmp_path / "home"), tmp_path / "copy"
    with home.up(*UP):
        told = {"record": RECORD, "model": MODEL, "losses_micro": FALLING}
        home.held("request", "trial.teller.run.request", json.dumps(told))
        home.held("people", "add", "ada", "--role", "human")
        propose(home, "kept-1")
        propose(home, "open-1")
        vote(home, "kept-1", "pass")
        before = [reviewed(home, name) for name in ("kept-1", "open-1")]
        home.held("audit", "backup", str(copy))
    passphrase = (home.folder / "passphrase").read_bytes()  # kept elsewhere, never beside a backup
    shutil.rmtree(home.folder)
    home.folder.mkdir(mode=0o700)
    write_private(home.folder / "passphrase", passphrase.decode())
    home.held("audit", "restore", str(copy), "--reason", "the disk was lost")
    with home.up(*UP):
        assert before == [reviewed(home, name) for name in ("kept-1", "open-1")]
        assert 0 == home.run("proposals", "check", "kept-1").code
        assert "accepted" == vote(home, "open-1", "pass").documents[0]["state"]


@pytest.mark.spec("ILL-07")
def test_a_persons_key_on_a_token(tmp_path: Path) -> None:
    """A voter whose key is on a PKCS#11 token is introduced by it and signs their ballots there."""
    with soft_token(tmp_path / "token") as soft:
        loaded = load({}, {"home": str(tmp_path / "home"), **soft.settings("ada")}, "here")
        keys = Keys(loaded.settings, RealWorld("dev"), CHEAP)
        made = keys.generate("ada")
        assert made.public == new_key(keys, "ada", set()).public
        signer = voters_key(Namespace(keyring=None, voter="ada"), loaded.settings)
        ballot = signed_ballot(signer, "signer", "ada", MANIFEST, "pass", "because")
        assert verify_ballot(ballot, made.public)
        with pytest.raises(KeyFault, match="cannot stage a successor"):
            new_key(keys, "ada", {made.key_id})
