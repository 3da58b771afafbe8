"""The witness: cosigns what goes on from what it saw, says exactly what else is wrong, and forgets nothing."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organs.witness import FolderMemory, MemoryMemory, Witness, WitnessMemory, serve
from organs.witness.service import REQUESTS_AT_ONCE
from organs.witness.witness import FORKS
from shared.errors import ConfigFault, InUse, StorageFault
from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, open_checkpoint
from shared.log.note import Note, NoteKey, cosign, signed, time_of
from shared.log.tree import root_of_hashes
from shared.log.witness import (
    MAX_HASHES,
    MAX_REQUEST_BYTES,
    PATH,
    SIZE_TYPE,
    TEXT_TYPE,
    AddCheckpoint,
    Answer,
    note_keys,
)
from tests.trees import ORIGIN, TIME_S, Tree

LOG, OTHER, WITNESS = (LocalSigner(bytes([n]) * 32) for n in (1, 2, 3))
NAME = "nimmerverse-witness/trial"
TREE = Tree(LOG, 3)
REAL_LINE = Note.parse(TREE.note).signatures[0]
#: Under the log's name and key id, by somebody else.
FALSE_LINE = replace(REAL_LINE, signature=OTHER.sign(TREE.checkpoint.text.encode())).line


@pytest.fixture(params=["memory", "folder"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> WitnessMemory:
    """Each kind of memory."""
    return MemoryMemory() if request.param == "memory" else FolderMemory(tmp_path / "witness")


def witness(memory: WitnessMemory | None = None) -> Witness:
    """A witness of the one log."""
    return Witness(NAME, WITNESS, (Tree(LOG).key,), memory or MemoryMemory(), lambda: TIME_S)


def told(answer: Answer) -> tuple[int, str, bytes]:
    """What an answer says, where its words do not matter."""
    return answer.status, answer.kind, answer.body if answer.kind == SIZE_TYPE else b""


def cosigned(one: Witness, note: str, answer: Answer) -> bool:
    """Whether the answer cosigns exactly this note, now."""
    assert (200, TEXT_TYPE) == (answer.status, answer.kind), answer
    [line] = answer.lines()
    assert TIME_S == time_of(line.signature)
    return line.is_by(one.key) and signed(one.key, Note.parse(note).text, line.signature)


@pytest.mark.spec("X-04")
def test_it_cosigns_what_goes_on(memory: WitnessMemory) -> None:
    """A log that only grows is cosigned at every size, and again at the same size; a new witness goes on from there."""
    tree = Tree(LOG)
    last = 0
    for more in (1, 1, 5, 0, 249, 1, 300, 0):
        tree.grow(more)
        one = witness(memory)
        answer = one.add_checkpoint(tree.ask(last))
        assert cosigned(one, tree.note, answer)
        last = len(tree.leaves)
    whole = Note.parse(tree.note).with_lines(answer.lines())
    assert (one.key,) == open_checkpoint(str(whole), LOG.public, ORIGIN, (one.key,)).witnesses


@pytest.mark.spec("X-04")
def test_its_line_is_what_a_cosignature_is() -> None:
    """The line is the one a cosignature is defined as: name, key id, time and signature of the whole text."""
    tree = Tree(LOG, 5)
    expected = cosign(NAME, tree.checkpoint.text, WITNESS, TIME_S).line
    assert Answer(200, TEXT_TYPE, expected.encode()) == witness().add_checkpoint(tree.ask(0))


@pytest.mark.spec("X-04")
def test_another_old_size_is_a_conflict_with_its_own(memory: WitnessMemory) -> None:
    """A request from another size than the witness has is answered 409 with that size, as text/x.tlog.size."""
    tree, one = Tree(LOG, 7), witness(memory)
    assert (409, SIZE_TYPE, b"0\n") == told(one.add_checkpoint(tree.ask(3)))
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    tree.grow(4)
    for old in (0, 6, 8, 11):
        answer = one.add_checkpoint(tree.ask(old))
        assert (409, SIZE_TYPE, b"7\n") == told(answer)
        assert 7 == answer.size()
    assert 200 == one.add_checkpoint(tree.ask(7)).status


@pytest.mark.spec("X-04")
def test_a_fork_is_never_cosigned(memory: WitnessMemory) -> None:
    """The same size with another root is 409, a larger tree that does not go on 422; the two notes are the evidence."""
    tree, one = Tree(LOG, 9), witness(memory)
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    fork = tree.forked(4)
    assert (409, SIZE_TYPE, b"9\n") == told(one.add_checkpoint(fork.ask(9)))
    [found] = one.forks
    assert (ORIGIN, 9, tree.note, fork.note) == (found.origin, found.size, found.first, found.second)
    one.add_checkpoint(fork.ask(9))
    assert [found] == one.forks
    assert 422 == one.add_checkpoint(fork.grow(8).ask(9)).status
    assert 422 == one.add_checkpoint(bytes(AddCheckpoint(9, (), fork.note))).status
    assert tree.note == memory.recall(ORIGIN)
    assert 200 == one.add_checkpoint(tree.grow(1).ask(9)).status


@pytest.mark.spec("X-04")
@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        (Tree(OTHER, 3).ask(0), 403),
        (bytes(AddCheckpoint(0, (), TREE.checkpoint.text + "\n" + FALSE_LINE)), 403),
        (bytes(AddCheckpoint(0, (), TREE.note.replace("\n3\n", "\n4\n"))), 403),
        (Tree(LOG, 3, "nimmerverse/dev/unknown").ask(0), 404),
        (bytes(AddCheckpoint(4, (), TREE.note)), 400),
        (bytes(AddCheckpoint(0, (bytes(32),), TREE.note)), 422),
        (bytes(AddCheckpoint(0, (), str(Checkpoint(ORIGIN, 0, b"\1" * 32).signed(LOG, 1)))), 409),
        (b"", 400),
        (b"old 0\n", 400),
        (b"old 00\n\n" + TREE.note.encode(), 400),
        (b"old -1\n\n" + TREE.note.encode(), 400),
        (b"old 0\r\n\n" + TREE.note.encode(), 400),
        (b"old 0\nAAAA\n\n" + TREE.note.encode(), 400),
        (b"old 0\n\n\n" + TREE.note.encode(), 400),
        (b"old 0\n\n" + TREE.note.encode()[:-1], 400),
        (b"old 0\n\n\xff" + TREE.note.encode(), 400),
        (bytes(AddCheckpoint(0, (bytes(32),) * (MAX_HASHES + 1), TREE.note)), 400),
        (TREE.ask(0) + bytes(MAX_REQUEST_BYTES), 400),
    ],
)
def test_what_is_wrong_is_said_by_number(wrong: bytes, status: int) -> None:
    """A signature by nobody known is 403, a log nobody knows 404, malformed 400, a proof that proves nothing 422."""
    one = witness()
    assert status == one.add_checkpoint(wrong).status
    assert None is one.memory.recall(ORIGIN)


@pytest.mark.spec("X-04")
def test_the_empty_tree_is_cosigned_too() -> None:
    """A log of no leaves has a checkpoint like every other."""
    one, tree = witness(), Tree(LOG)
    assert root_of_hashes([]) == tree.checkpoint.root
    assert cosigned(one, tree.note, one.add_checkpoint(tree.ask(0)))
    assert cosigned(one, tree.grow(2).note, one.add_checkpoint(tree.ask(0)))


@pytest.mark.spec("X-12")
@given(st.data())
def test_hostile_bytes_never_crash_it_nor_move_it(data: st.DataObject) -> None:
    """Whatever bytes come, the answer is a number from 400 on and nothing is remembered, or it was the honest text."""
    tree = Tree(LOG, 6)
    honest = tree.ask(0)
    body = bytearray(data.draw(st.one_of(st.just(honest), st.binary(max_size=400))))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    one = witness()
    answer = one.add_checkpoint(bytes(body))
    if answer.status == 200:  # other lines may be malformed only in what is nobody's signature
        assert Note.parse(bytes(body).partition(b"\n\n")[2]).text == tree.checkpoint.text
        return
    assert answer.status in {400, 403, 404, 409, 422}
    assert None is one.memory.recall(ORIGIN)


@pytest.mark.spec("X-12")
@given(old=st.integers(0, 10**19 - 1), proof=st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_HASHES))
def test_a_request_is_read_as_it_was_written(old: int, proof: list[bytes]) -> None:
    """Every request is parsed to what it was made of."""
    asked = AddCheckpoint(old, tuple(proof), Tree(LOG, 2).note)
    assert asked == AddCheckpoint.parse(bytes(asked))


@pytest.mark.spec("X-04", "X-10")
def test_of_two_futures_one_is_cosigned(tmp_path: Path) -> None:
    """When many ask at once, from one size and with trees that contradict each other, exactly one tree is cosigned."""
    for turn in range(5):
        folder = tmp_path / str(turn)
        tree = Tree(LOG, 4)
        assert 200 == witness(FolderMemory(folder)).add_checkpoint(tree.ask(0)).status
        asked = [Tree(LOG, 4).grow(3, f"future {n % 4}").ask(4) for n in range(24)]
        others = [witness(FolderMemory(folder)) for _ in asked]  # each as another process would
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda pair: pair[0].add_checkpoint(pair[1]), zip(others, asked, strict=True)))
        won = [n % 4 for n, answer in enumerate(answers) if answer.status == 200]
        assert 1 == len(set(won))
        assert {200, 409} == {answer.status for answer in answers}


class Full(MemoryMemory):
    """A memory whose disk is full."""

    def remember(self, origin: str, note: str) -> None:
        raise StorageFault("the disk is full")


@pytest.mark.spec("X-07", "X-10")
def test_nothing_is_cosigned_that_could_not_be_remembered() -> None:
    """Where the memory cannot be written the fault goes out, over HTTP as 503, and no cosignature does."""
    one, tree = witness(Full()), Tree(LOG, 3)
    with pytest.raises(StorageFault, match="the disk is full"):
        one.add_checkpoint(tree.ask(0))
    url, close = serve(one)
    try:
        assert 503 == post(url, tree.ask(0))[0]
    finally:
        close()


@pytest.mark.spec("X-07", "X-10")
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"nonsense\n", b"another/log\n3\n"])
def test_a_damaged_memory_stops_it(tmp_path: Path, damage: bytes) -> None:
    """What was cosigned last and cannot be read any more is a fault, never a fresh start."""
    memory, tree = FolderMemory(tmp_path), Tree(LOG, 3)
    assert 200 == witness(memory).add_checkpoint(tree.ask(0)).status
    [kept] = [path for path in tmp_path.iterdir() if path.is_file()]
    kept.write_bytes(damage)
    with pytest.raises(StorageFault, match="restore it"):
        witness(memory).add_checkpoint(tree.ask(0))


@pytest.mark.spec("X-04")
def test_what_the_bus_shows_is_compared() -> None:
    """A signed checkpoint that contradicts a cosigned one is a fork with both notes; an unsigned one never is."""
    one, tree = witness(), Tree(LOG, 8)
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    assert None is one.hear(tree.note)
    assert None is one.hear(tree.forked(3).note.replace("\n8\n", "\n9\n"))
    assert None is one.hear("nonsense")
    fork = one.hear(tree.forked(3).note)
    assert fork is not None
    assert (8, tree.note, tree.forked(3).note) == (fork.size, fork.first, fork.second)
    again = witness(one.memory).hear(tree.forked(3).note)
    assert fork == again, "after a restart too"


@pytest.mark.spec("X-04", "X-12")
def test_a_fork_is_told_once(memory: WitnessMemory) -> None:
    """However often one fork is shown, over HTTP or on the bus and freshly signed, it is one fork; another is one more.

    A witness that starts again on what it remembers says nothing of those that were told.
    """
    tree, one = Tree(LOG, 9), witness(memory)
    forks = [tree.forked(at) for at in (4, 6)]
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    for turn in range(20):
        for fork in forks:
            again = str(fork.checkpoint.signed(LOG, TIME_S + turn))
            assert 409 == one.add_checkpoint(bytes(AddCheckpoint(9, (), again))).status
            assert None is one.hear(again)
        assert ([fork.note for fork in forks] if turn == 0 else []) == [fork.second for fork in one.forks]
        one.forks.clear()
    one.remember_told()
    after = witness(memory)
    for fork in forks:
        assert 409 == after.add_checkpoint(fork.ask(9)).status
        assert None is after.hear(fork.note)
    assert after.hear(tree.forked(7).note) is not None
    assert [] == after.forks


@pytest.mark.spec("X-04", "X-12")
def test_a_log_that_forks_without_end_is_told_of_so_often(memory: WitnessMemory) -> None:
    """Of one log so many forks are told and no more, and what is remembered of them has a bound."""
    tree, one = Tree(LOG, 3), witness(memory)
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    for turn in range(FORKS + 20):
        assert 409 == one.add_checkpoint(Tree(LOG).grow(3, f"other {turn}").ask(3)).status
    assert FORKS == len(one.forks)
    one.forks.clear()
    one.remember_told()
    assert None is witness(memory).hear(Tree(LOG).grow(3, "one more").note)


@pytest.mark.spec("X-07")
def test_a_lost_memory_of_forks_tells_them_again(tmp_path: Path) -> None:
    """What was told and cannot be read any more is told again: a fork is never passed over for it."""
    tree, one = Tree(LOG, 9), witness(FolderMemory(tmp_path))
    assert 200 == one.add_checkpoint(tree.ask(0)).status
    before = set(tmp_path.iterdir())
    assert one.hear(tree.forked(4).note) is not None
    one.remember_told()
    [kept] = set(tmp_path.iterdir()) - before
    for damage in (b"", b"\xff\xfe", b"nonsense\n"):
        kept.write_bytes(damage)
        assert witness(FolderMemory(tmp_path)).hear(tree.forked(4).note) is not None


# Over HTTP


def post(url: str, body: bytes, path: str = PATH, method: str = "POST") -> tuple[int, str, bytes]:
    """Ask with a client of the standard library."""
    at = urlsplit(url)
    client = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    client.request(method, path, body)
    answer = client.getresponse()
    said = answer.status, answer.headers["Content-Type"], answer.read()
    client.close()
    return said


@pytest.mark.spec("X-04")
def test_over_http_it_says_the_same() -> None:
    """Status, content type and body over HTTP are those of the witness itself; there is one path and one method."""
    tree, one = Tree(LOG, 3), witness()
    url, close = serve(one)
    try:
        same = witness()
        for body in (tree.ask(0), tree.ask(2), b"nonsense", Tree(OTHER, 1).ask(0)):
            answer = same.add_checkpoint(body)
            assert (answer.status, answer.kind, answer.body) == post(url, body)
        assert 404 == post(url, tree.ask(0), "/add")[0]
        assert 405 == post(url, b"", method="GET")[0]
    finally:
        close()
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset
        post(url, tree.ask(3))


@pytest.mark.spec("X-12")
def test_hostile_clients_cost_nothing() -> None:
    """Garbage, endless lengths and clients that never finish are turned away, and the next request is answered."""
    tree, one = Tree(LOG, 3), witness()
    url, close = serve(one)
    at = urlsplit(url)
    assert at.port
    heads = {
        b"POST /add-checkpoint HTTP/1.1\r\n\r\n": b"411",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -5\r\n\r\n": b"411",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n": b"413",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n": b"400",
    }
    try:
        for head, status in heads.items():
            with socket.create_connection((at.hostname, at.port), 20) as client:
                client.sendall(head)
                assert status in client.recv(4096)
        idle = [socket.create_connection((at.hostname, at.port), 20) for _ in range(REQUESTS_AT_ONCE - 1)]
        assert 200 == post(url, tree.ask(0))[0]
        for client in idle:
            client.close()
        with pytest.raises(InUse, match="choose another address"):
            serve(one, port=at.port)
    finally:
        close()


# Keys from settings


@pytest.mark.spec("X-12")
def test_verifier_keys_come_from_a_list_or_a_file(tmp_path: Path) -> None:
    """A setting holds keys separated by commas or names a file with one a line; what is no key is a wrong setting."""
    keys = (Tree(LOG).key, Tree(OTHER).key)
    assert keys == note_keys(",".join(map(str, keys)), "witnesses")
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{keys[0]}\n\n{keys[1]}\n")
    assert keys == note_keys(str(file), "witnesses")
    assert () == note_keys(None, "witnesses")
    for wrong in (f"{keys[0]}x", str(tmp_path / "none"), str(NoteKey("a", 1, b"short"))):
        with pytest.raises(ConfigFault, match=r"^witnesses"):
            note_keys(wrong, "witnesses")
