"""Notary and witnesses together: over HTTP and simulated, in an organism, and as a command beside one."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from organs.notary import Cosigners, HttpPost, NotaryOrgan, Post, SimPost
from organs.notary.cosigners import WITNESS_S
from organs.notary.ports import MemoryShelf, tiles_folder
from organs.witness import MemoryMemory, Witness, WitnessOrgan, serve
from shared.codec import decode
from shared.config import load
from shared.errors import Exit, Unreachable
from shared.home import Keys, Running
from shared.keys import LocalSigner
from shared.keys.sealed import CHEAP
from shared.log.checkpoint import log_keys, open_checkpoint, origin_of
from shared.log.note import Note, NoteKey
from shared.log.subtree import second_key
from shared.log.tiles import CHECKPOINT
from shared.log.witness import AddCheckpoint, Answer
from shared.part import Part
from shared.subjects.log import Checkpointed, ForkSeen
from shared.world import RealWorld, SimWorld, World, simulate
from tests.commands import Home
from tests.ground import ENV, until
from tests.organisms import Living, all_parts, live_nats, live_sim
from tests.parts import Heard
from tests.trees import TIME_S, Tree

LOG, KEY = LocalSigner(bytes([1]) * 32), LocalSigner(bytes([3]) * 32)
NAME = "nimmerverse-witness/trial"
URL = "http://witness.test"
NOTARY = ("--part", "organs.notary")


def witness(tree: Tree, name: str = NAME, key: LocalSigner = KEY) -> Witness:
    """A witness of one log."""
    return Witness(name, key, (tree.key,), MemoryMemory(), lambda: TIME_S)


Answering = Callable[[bytes], Answer]
Body = Callable[[Post, str], object]


def over_http(answering: Answering, body: Callable[[Post, str], object]) -> None:
    """Run a body with a real server in between."""
    one = witness(Tree(LOG))
    one.add_checkpoint = answering  # type: ignore[method-assign]  # whatever shall be answered over the socket
    url, close = serve(one)
    try:
        asyncio.run(body(HttpPost(), url))  # type: ignore[arg-type]
    finally:
        close()


def simulated(answering: Answering, body: Callable[[Post, str], object]) -> None:
    """Run a body in simulated time."""
    simulate(lambda: body(SimPost(SimWorld(ENV, 7), {URL: answering}), URL))  # type: ignore[arg-type,return-value]


BOTH = pytest.mark.parametrize("way", [over_http, simulated], ids=["http", "sim"])


# The port


@BOTH
@pytest.mark.spec("X-04")
def test_what_is_answered_arrives(way: Callable[[Answering, Body], None]) -> None:
    """Status, content type and content of an answer arrive as they were given."""
    answers = [Answer(200, "text/plain", b"\xe2\x80\x94 a\n"), Answer(409, "text/x.tlog.size", b"5\n")]
    given: list[bytes] = []

    def answering(body: bytes) -> Answer:
        given.append(body)
        return answers[len(given) - 1]

    async def body(post: Post, url: str) -> None:
        assert answers == [await post.post(url, b"old 1\n\n"), await post.post(url, b"")]
        assert [b"old 1\n\n", b""] == given

    way(answering, body)


@BOTH
@pytest.mark.spec("X-12")
def test_nobody_there_is_unreachable(way: Callable[[Answering, Body], None]) -> None:
    """Where nobody answers it is a fault that may pass."""

    async def body(post: Post, url: str) -> None:
        with pytest.raises(Unreachable, match="does not answer"):
            await post.post(f"http://127.0.0.1:{_closed_port()}", b"")

    way(lambda _: Answer(200, "", b""), body)


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\x00garbage",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_000),
    ],
)
def test_a_server_that_speaks_nonsense_is_unreachable(said: bytes) -> None:
    """Bytes that are no whole HTTP answer, or too many, are one named fault."""

    async def main() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Unreachable):
                await HttpPost().post(f"http://127.0.0.1:{port}", b"")

    asyncio.run(main())


# Asking


async def ask(cosigners: Cosigners, tree: Tree) -> Note:
    """The tree's note with what its witnesses added."""
    lines = await cosigners.ask(tree.note, tree.checkpoint, tree.proof)
    return Note.parse(tree.note).with_lines(lines)


@BOTH
@pytest.mark.spec("X-04")
def test_a_witness_is_asked_from_what_it_has(way: Callable[[Answering, Body], None]) -> None:
    """A growing log is cosigned at every size; a notary that forgot its size tries once more."""
    tree = Tree(LOG, 3)
    one = witness(tree)
    asked: list[int] = []

    def answering(body: bytes) -> Answer:
        asked.append(AddCheckpoint.parse(body).old)
        return Witness.add_checkpoint(one, body)

    async def body(post: Post, url: str) -> None:
        cosigners = Cosigners(post, [url], [one.key])
        for more in (0, 4, 0, 300):
            note = await ask(cosigners, tree.grow(more))
            assert (one.key,) == open_checkpoint(str(note), LOG.public, witnesses=(one.key,)).witnesses
        assert [0, 3, 7, 7] == asked
        await ask(Cosigners(post, [url], [one.key]), tree.grow(1))
        assert [0, 307] == asked[4:]
        assert (4, 0) == (cosigners.cosigned[url], cosigners.failed[url])

    way(answering, body)


def lying(one: Witness) -> dict[str, Answering]:
    """What a witness may answer that helps nobody."""
    stranger = Witness(NAME, LocalSigner(bytes([9]) * 32), one.logs, MemoryMemory(), lambda: TIME_S)

    def other_text(body: bytes) -> Answer:
        other = Tree(LOG, 2)
        answer = Witness(NAME, KEY, one.logs, MemoryMemory(), lambda: TIME_S).add_checkpoint(other.ask(0))
        assert 200 == answer.status
        return answer

    return {
        "a stranger's line": stranger.add_checkpoint,
        "a line of another tree": other_text,
        "no line": lambda _: Answer(200, "text/plain", b""),
        "nonsense": lambda _: Answer(200, "text/plain", b"\xff\xfe\n"),
        "a page": lambda _: Answer(200, "text/html", b"<html>\n</html>\n"),
        "many lines": lambda _: Answer(200, "text/plain", b"\xe2\x80\x94 a AAAAAAAA\n" * 17),
        "a size ahead": lambda _: Answer(409, "text/x.tlog.size", b"99\n"),
        "our own size": lambda _: Answer(409, "text/x.tlog.size", b"0\n"),
        "no size": lambda _: Answer(409, "text/x.tlog.size", b"many\n"),
        "a size in another type": lambda _: Answer(409, "text/plain", b"1\n"),
        "forbidden": lambda _: Answer(403, "text/plain", b"no\n"),
        "a redirect": lambda _: Answer(302, "text/plain", b""),
        "broken": lambda _: Answer(500, "text/plain", b""),
    }


@BOTH
@pytest.mark.spec("X-04", "X-12")
@pytest.mark.parametrize("lie", lying(witness(Tree(LOG))))
def test_a_lying_witness_adds_nothing(way: Callable[[Answering, Body], None], lie: str) -> None:
    """Whatever a witness answers that is no cosignature by a known key over this very text, the note stays as it is."""
    tree = Tree(LOG, 5)

    async def body(post: Post, url: str) -> None:
        cosigners = Cosigners(post, [url], [witness(tree).key])
        assert Note.parse(tree.note) == await ask(cosigners, tree)
        assert (0, 1) == (cosigners.cosigned[url], cosigners.failed[url])

    way(lying(witness(tree))[lie], body)


@pytest.mark.spec("X-04")
def test_a_witness_that_never_answers_costs_a_bounded_time() -> None:
    """Beside a silent witness and a dead one the third is still heard, and all of it ends after the time-out."""
    tree = Tree(LOG, 5)
    one = witness(tree)
    world = SimWorld(ENV, 7)

    class Silent(SimPost):
        """Never answers at one address."""

        async def post(self, url: str, body: bytes) -> Answer:
            if url == "http://silent.test":
                await self.world.sleep(86_400)
            return await super().post(url, body)

    async def main() -> None:
        post = Silent(world, {URL: one.add_checkpoint})
        cosigners = Cosigners(post, ["http://silent.test", "http://dead.test", URL], [one.key])
        before = world.elapsed_s()
        note = await ask(cosigners, tree)
        assert WITNESS_S == world.elapsed_s() - before
        assert [one.key] == note.by([one.key])
        assert {"http://silent.test": 1, "http://dead.test": 1} == dict(cosigners.failed)

    simulate(main)


# In an organism


class Cosigned:
    """The parts of an organism whose notary asks a witness; the witness knows the log once that is founded."""

    def __init__(self) -> None:
        self.shelf, self.memory = MemoryShelf(), MemoryMemory()
        self.answering: Answering = lambda _: Answer(404, "text/plain", b"")

    def make(self, world: World) -> list[Part]:
        """The parts."""
        self.witness = WitnessOrgan(self.memory, world, ())
        base = world if isinstance(world, SimWorld) else SimWorld(ENV, 7)
        post = SimPost(base if isinstance(world, SimWorld) else world, {URL: self._answer})
        self.cosigners = Cosigners(post, [URL], [])
        notary = NotaryOrgan(self.shelf, world, self.cosigners)
        rest = [part for part in all_parts(world) if part.name not in ("notary", "witness")]
        return [notary, *rest, self.witness]

    def trust(self, living: Living) -> NoteKey:
        """Tell the witness the log's key, and the notary the witness's."""
        notary = living.organism.runners["notary"].bus.signers[0]
        plain, _ = log_keys(origin_of(ENV, living.organism.fingerprint, 1), notary.public)
        self.witness.witness.logs = (plain,)
        self.cosigners.keys = (self.witness.witness.key,)
        self.answering = self.witness.witness.add_checkpoint
        return plain

    def _answer(self, body: bytes) -> Answer:
        return self.answering(body)


def lines_by(shelf: MemoryShelf, public: bytes, key: NoteKey) -> int:
    """The size at which readers see a checkpoint with this witness's cosignature; 0 where they see none."""
    raw = shelf.tiles.get(CHECKPOINT)
    seen = open_checkpoint(raw, public, witnesses=(key,)) if raw else None
    return seen.checkpoint.size if seen is not None and seen.witnesses else 0


async def _cosigned_and_forked(trial: Cosigned, living: Living) -> None:
    heard = Heard()
    await living.operator.subscribe(ForkSeen.pattern(ENV), heard)
    plain = trial.trust(living)
    key = trial.witness.witness.key
    await _until(living, lambda: lines_by(trial.shelf, plain.public, key))
    seen = lines_by(trial.shelf, plain.public, key)
    notary = living.organism.runners["notary"]
    signer = notary.bus.signers[0]
    assert isinstance(signer, LocalSigner)
    other, another = Tree(signer, seen, plain.name), Tree(signer, seen - 1, plain.name).grow(1, "another")
    for _ in range(3):
        await notary.bus.emit(Checkpointed(plain.name, seen, other.checkpoint.root, other.note))
    await _until(living, lambda: heard.all)
    for turn in range(3):
        assert 409 == trial.witness.witness.add_checkpoint(other.ask(seen)).status
        assert 409 == trial.witness.witness.add_checkpoint(another.ask(seen)).status
        await _until(living, lambda: len(heard.all) > 1)
        await living.world.sleep(0.2 * turn)
    assert {other.note, another.note} == {decode(ForkSeen, told.data).second for told in heard.all}
    assert 2 == len(heard.all)


async def _until(living: Living, true: Callable[[], object]) -> None:
    """Wait in the organism's own time."""
    for _ in range(2_000):
        if true():
            return
        await living.world.sleep(0.05)
    raise AssertionError("it did not come")


@pytest.mark.spec("X-04")
def test_an_organism_is_cosigned_and_its_fork_is_seen_simulated() -> None:
    """A notary publishes its checkpoint with the witness's line; a second face shown on the bus is told as a fork."""
    trial = Cosigned()
    live_sim(partial(_cosigned_and_forked, trial), trial.make)


@pytest.mark.spec("X-04")
def test_an_organism_is_cosigned_and_its_fork_is_seen(tmp_path: Path) -> None:
    """The same on a real server."""
    trial = Cosigned()
    live_nats(partial(_cosigned_and_forked, trial), tmp_path, trial.make)


# The command


@pytest.mark.spec("X-04", "X-10")
def test_the_command_beside_an_organism(tmp_path: Path) -> None:
    """`audit witness` on a home of its own cosigns what `up` signs; killed and started again it goes on."""
    home = Home.at(tmp_path / "home").without_records()
    settings = load(home.environ, {}, "here").settings
    keys = Keys(settings, RealWorld(ENV), CHEAP)
    other = Home.at(tmp_path / "witness")
    Keys(load(other.environ, {}, "here").settings, RealWorld(ENV), CHEAP)
    with home.up(*NOTARY):
        running = Running.read(settings)
        assert running is not None
        fingerprint = running.fingerprint
    plain, _ = log_keys(origin_of(ENV, fingerprint, 1), keys.signer("notary", "host").public)
    published = tiles_folder(settings) / CHECKPOINT
    with other.living("audit", "witness", "--log", str(plain), "--json") as one:
        told = one.document()
        key = NoteKey.parse(told["key"])
        assert ([plain.name], True) == (told["logs"], told["url"].startswith("http://127.0.0.1:"))
        asking = home.set(witness_urls=told["url"], witnesses=told["key"])
        with asking.up(*NOTARY):
            asyncio.run(until(lambda: _witnesses(published, plain, key), 60))
        first = open_checkpoint(published.read_bytes(), plain.public, plain.name, (key,))
        assert (key,) == first.witnesses
        one.process.kill()
        one.end()
    address = told["url"].removeprefix("http://")
    with other.living("audit", "witness", "--log", str(plain), "--listen", address, "--json") as one:
        assert told == one.document()
        with asking.up(*NOTARY):
            pass  # signed, and cosigned, as it ends
        last = open_checkpoint(published.read_bytes(), plain.public, plain.name, (key,))
        assert (key,) == last.witnesses
        assert first.checkpoint.size < last.checkpoint.size
        assert int(Exit.OK) == one.stop(signal.SIGTERM).code


def _witnesses(published: Path, plain: NoteKey, key: NoteKey) -> tuple[NoteKey, ...]:
    return open_checkpoint(published.read_bytes(), plain.public, plain.name, (key,)).witnesses


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "a witness needs the verifier key of a log"),
        (("--log", "nonsense"), "neither verifier keys nor a file of them"),
        (("--log", "a+b+c"), "is not"),
    ],
)
def test_a_witness_that_knows_no_log_does_not_start(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    """Without a usable verifier key the command ends as a wrong setting."""
    done = Home.at(tmp_path).run("audit", "witness", *words)
    assert (int(Exit.CONFIG), "") == (done.code, done.out)
    assert sentence in done.sentence


# A second signature, by the settings


@pytest.mark.spec("X-04")
def test_checkpoints_are_signed_twice_where_asked_for(tmp_path: Path) -> None:
    """With `second_signature` each checkpoint carries an ML-DSA-44 line that an auditor can demand, and nobody must."""
    home = Home.at(tmp_path / "home", second_signature="ml-dsa-44").without_records()
    with home.up("--part", "organs.notary") as up:
        told = json.loads(up.said(lambda line: '"notary_signs"' in line))
    checked = home.held("audit", "verify", "--trust", _trust(home))
    assert "verdict: ok" in checked.out
    words = ("audit", "verify", "--trust", _trust(home), "--quorum", "1", "--witness")
    assert told["second"].split("+")[0] in home.held(*words, told["second"]).out
    stranger = str(second_key(told["second"].split("+")[0], bytes(1312)))
    assert int(Exit.WRONG_SIGNER) == home.run(*words, stranger).code


def _trust(home: Home) -> str:
    [told] = home.run("audit", "verify", "--json").documents
    return told["fingerprint"]
