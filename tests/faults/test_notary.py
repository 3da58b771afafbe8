"""The notary under every crash and every damage: what it signed stays true, and what contradicts it is refused."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from organs.notary import FolderShelf, Inconsistent, MemoryShelf, Notary, NotaryOrgan, Shelf
from organs.notary.notary import SCRUBBED_TILES, KeyEnded
from organs.notary.ports import MEMORY
from shared.bus import Bus, Draft
from shared.envelope import KeyBook, leaf_of
from shared.envelope.keybook import Key
from shared.errors import InUse, Refusal, StorageFault
from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, open_checkpoint
from shared.log.entry import Entry
from shared.log.note import cosign
from shared.log.tiles import CHECKPOINT, TileKeeper, Tiles
from shared.log.tree import consistency_proof, leaf_hashes, root_of, root_of_hashes, sha256, verify_consistency
from shared.subjects.keys import KeyRevoked
from shared.subjects.log import Checkpointed, NotaryRefused, ProofRequest
from shared.world import new_id
from tests.commands import ROOT, Home, Living
from tests.faults.notary_program import Hasty
from tests.forge import Log, epoch, revoked, roots, rotated, signer
from tests.ground import ENV, LOG, Founded, Ground, NatsGround, Noted, SimGround, play_nats, play_sim, until
from tests.logs import NOTARY, told
from tests.parts import Heard, Stage, stage

KEY, WITNESS = LocalSigner(bytes([1]) * 32), LocalSigner(bytes([3]) * 32)
BOOK = KeyBook()
BOOK.fingerprint = "f" * 64
BOOK.keys[KEY.key_id] = Key(KEY.key_id, KEY.public, "notary", "host", (), 0)
SIZES = (3, 200, 256, 300, 812)


def entries(size: int, word: str = "entry") -> list[Entry]:
    """A log's first entries."""
    return [Entry(n, f"dev.trial.desk.event.{word}.noted", n, f"{word} {n}".encode()) for n in range(size)]


ALL = entries(SIZES[-1])
LEAVES = [leaf_of(entry) for entry in ALL]


# Every step may be the last one


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Trapped:
    """A shelf on which one step fails, before or after it is done."""

    inner: Shelf
    at: int
    after: bool
    failure: type[BaseException]
    steps: int = 0
    notes: list[str] = field(default_factory=list[str])  #: every note that was remembered

    @property
    def tiles(self) -> TileKeeper:
        """Itself: tiles are put through the trap."""
        return self

    def hold(self) -> None:
        """Nobody else is there."""

    def release(self) -> None:
        """Nobody else is there."""

    def recall(self) -> str | None:
        """What the inner shelf recalls."""
        return self.inner.recall()

    def remember(self, note: str) -> None:
        """Remember, or fail."""
        self._step(lambda: (self.inner.remember(note), self.notes.append(note)))

    def get(self, path: str) -> bytes | None:
        """What the inner shelf holds."""
        return self.inner.tiles.get(path)

    def put(self, path: str, data: bytes) -> None:
        """Put, or fail; nobody sees a checkpoint that is not remembered."""
        assert path != CHECKPOINT or data.decode() == self.inner.recall()
        self._step(lambda: self.inner.tiles.put(path, data))

    def remove(self, path: str) -> None:
        """Remove, or fail."""
        self._step(lambda: self.inner.tiles.remove(path))

    def _step(self, deed: Callable[[], object]) -> None:
        self.steps += 1
        if self.steps - 1 == self.at and not self.after:
            raise self.failure("before this step")
        deed()
        if self.steps - 1 == self.at and self.after:
            raise self.failure("after this step")


def seen_whole(shelf: Shelf, leaves: list[bytes] = LEAVES) -> Checkpoint | None:
    """What a reader finds: a signed checkpoint whose tiles are all there and the log's own; None before the first."""
    raw = shelf.tiles.get(CHECKPOINT)
    if raw is None:
        return None
    seen = open_checkpoint(raw, KEY.public).checkpoint
    tiles = Tiles(shelf.tiles, seen.size)
    assert leaves[: seen.size] == list(tiles.leaves())
    assert leaf_hashes(leaves[: seen.size]) == tiles.leaf_hashes(0, seen.size)
    assert seen.root == root_of(leaves[: seen.size], sha256)
    for old in {0, 1, seen.size // 2, seen.size}:
        consistency_proof(tiles.node, old, seen.size)
    return seen


def live(shelf: Trapped) -> None:
    """Take and sign everything, starting again wherever it ends, as a supervisor or the next beat would."""
    notary: Notary | None = None
    size = 0
    while size < SIZES[-1] or notary is None or notary.pending:
        try:
            if notary is None:
                notary = Notary(shelf, KEY, ENV)
            notary.mend()
            end = next((size for size in SIZES if size > notary.size), SIZES[-1])
            notary.take(ALL[notary.size : end])
            if notary.pending:
                notary.sign(BOOK, 1)
            notary.settle()
        except Crash:
            notary = None
        except StorageFault:
            pass
        seen = seen_whole(shelf.inner)
        assert size <= (seen.size if seen else 0), "readers never see the log shrink"
        size = seen.size if seen else 0


@pytest.mark.spec("X-04", "X-07", "X-10")
@pytest.mark.parametrize("failure", [Crash, StorageFault])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_step_may_fail_or_be_the_last(failure: type[BaseException], after: bool) -> None:  # noqa: FBT001
    """A crash or a full disk before or after any write: readers always see a whole tree, and one history is signed."""
    whole = Trapped(MemoryShelf(), -1, after, failure)
    live(whole)
    assert whole.steps > 4 * len(SIZES)
    for at in range(whole.steps):
        shelf = Trapped(MemoryShelf(), at, after, failure)
        live(shelf)
        for note in shelf.notes:
            said = open_checkpoint(note, KEY.public).checkpoint
            assert said.root == root_of(LEAVES[: said.size], sha256)


# What lies on the disk is lost or damaged


def shelved(folder: Path, size: int = 812) -> FolderShelf:
    """A shelf on disk that a notary left in good order."""
    shelf = FolderShelf(folder / "tiles", folder / "memory")
    notary = Notary(shelf, KEY, ENV)
    notary.take(ALL[notary.size : size])
    notary.sign(BOOK, 1)
    return shelf


@pytest.mark.spec("X-04", "X-10")
def test_without_its_memory_it_goes_on_from_what_it_published(tmp_path: Path) -> None:
    """Without the memory the published checkpoint, signed by our key, is taken up; another log is refused as before."""
    shelf = shelved(tmp_path)
    shutil.rmtree(tmp_path / "memory")
    notary = Notary(shelf, KEY, ENV)
    assert (812, 0) == (notary.size, notary.pending)
    assert shelf.recall() == notary.note
    with pytest.raises(Inconsistent, match="the log was rewritten"):
        notary.check_last(entries(812, "other")[-1])


@pytest.mark.spec("X-04", "X-10")
def test_without_memory_somebody_elses_checkpoint_is_no_beginning(tmp_path: Path) -> None:
    """A checkpoint that our key did not sign, or a damaged memory, stops the notary; nothing is overwritten."""
    shelf = shelved(tmp_path)
    mine = shelf.recall()
    assert mine is not None
    with pytest.raises(Inconsistent, match="notary's memory is damaged or signed by a key"):
        Notary(shelf, LocalSigner(bytes([2]) * 32), ENV)
    assert 812 == Notary(shelf, LocalSigner(bytes([2]) * 32), ENV, BOOK).size, "a key that was rotated"
    shelf.remember(mine.replace("\n812\n", "\n811\n"))
    with pytest.raises(Inconsistent, match="notary's memory is damaged"):
        Notary(shelf, KEY, ENV)
    shutil.rmtree(tmp_path / "memory")
    (tmp_path / "memory").mkdir(mode=0o700)
    (tmp_path / "memory" / MEMORY).write_bytes(b"\xff\xfe")
    with pytest.raises(Inconsistent, match="notary's memory is damaged"):
        Notary(shelf, KEY, ENV)
    shutil.rmtree(tmp_path / "memory")
    shelf.tiles.put(CHECKPOINT, b"nonsense")
    with pytest.raises(Inconsistent, match="published checkpoint is damaged"):
        Notary(shelf, KEY, ENV)
    assert b"nonsense" == shelf.tiles.get(CHECKPOINT)


@pytest.mark.spec("X-04", "X-10")
def test_a_memory_from_a_backup_does_not_turn_it_back(tmp_path: Path) -> None:
    """An older memory than what is published is caught up, never published; two truths of one size are refused."""
    old = shelved(tmp_path / "old", 300).recall()
    shelf = shelved(tmp_path / "new")
    newest = shelf.recall()
    assert old is not None
    shelf.remember(old)
    assert 812 == Notary(shelf, KEY, ENV).size
    assert newest == shelf.recall()
    other = Checkpoint(open_checkpoint(old, KEY.public).checkpoint.origin, 812, bytes(32))
    shelf.remember(str(other.signed(KEY, 1)))
    with pytest.raises(Inconsistent, match="two checkpoints of 812 entries"):
        Notary(shelf, KEY, ENV)


@pytest.mark.spec("X-04")
def test_growth_is_proven_between_any_two_sizes(tmp_path: Path) -> None:
    """Whatever was signed since, the tiles prove that one signed tree is the beginning of another."""
    notary = Notary(shelved(tmp_path), KEY, ENV)
    for new in SIZES:
        for old in (size for size in SIZES if size <= new):
            roots = (root_of(LEAVES[:old], sha256), root_of(LEAVES[:new], sha256))
            verify_consistency(old, new, notary.prove_growth(old, new), *roots)


@pytest.mark.spec("X-04", "X-10")
def test_a_line_that_comes_late_turns_nothing_back(tmp_path: Path) -> None:
    """A cosignature for a notary whose shelf another one went on from is left out; in time it is published, once."""
    shelf = shelved(tmp_path, 300)
    before = Notary(shelf, KEY, ENV)
    assert before.signed is not None
    lines = [cosign("witness.test", before.signed.text, WITNESS, time_s) for time_s in (1, 2)]
    for line in lines:
        before.add_lines(before.signed, [line])
    published = open_checkpoint(shelf.tiles.get(CHECKPOINT) or b"", KEY.public).note
    assert [lines[1]] == [line for line in published.signatures if line.name == "witness.test"]
    assert before.note == Notary(shelf, KEY, ENV).note, "a restart keeps it"
    after = shelved(tmp_path)
    before.add_lines(before.signed, lines[:1])
    assert seen_whole(after) == open_checkpoint(after.recall() or "", KEY.public).checkpoint


# Who may sign, and when


def shelf_of(log: Log, key: LocalSigner, count: int | None = None) -> MemoryShelf:
    """The shelf of a notary that signed the beginning of a log with a key."""
    shelf = MemoryShelf()
    notary = Notary(shelf, key, ENV)
    notary.take(log.entries[:count])
    book = KeyBook()
    book.fingerprint = log.prefix.keys.fingerprint
    book.keys[key.key_id] = Key(key.key_id, key.public, "notary", "host", (), 0)
    assert notary.sign(book, 1) is not None
    return shelf


def handed_over(size: int) -> Log:
    """A log whose notary's key was replaced by its last entry."""
    log = told(size - 1)
    assert log.key_event(rotated("notary's", "notary's second"), NOTARY, source="notary").refusal is None
    return log


SECOND = signer("notary's second")


@pytest.mark.spec("X-04", "X-10")
@pytest.mark.parametrize("size", [30, 41, 50])
@pytest.mark.parametrize("remembers", [True, False], ids=["with its memory", "without"])
def test_what_a_former_key_signed_later_is_refused(size: int, remembers: bool) -> None:  # noqa: FBT001
    """A checkpoint by a replaced key counts up to the replacement; a larger one stops the notary, untouched."""
    log = handed_over(41)
    shelf, other = shelf_of(log, SECOND), shelf_of(told(size), NOTARY)
    note = shelf.recall() if remembers else None
    shelf.tiles, shelf.note = other.tiles, note
    published = shelf.tiles.get(CHECKPOINT)
    expected = (
        f"of {size} entries is signed by the key {NOTARY.key_id}, which was not entitled"
        if size > 40
        else "the tiles of the last checkpoint"
        if remembers
        else None
    )
    if expected is None:
        assert size == Notary(shelf, SECOND, ENV, log.prefix.keys).size
        return
    with pytest.raises(Inconsistent, match=expected):
        Notary(shelf, SECOND, ENV, log.prefix.keys)
    assert (note, published) == (shelf.recall(), shelf.tiles.get(CHECKPOINT))


@pytest.mark.spec("X-04", "X-10")
def test_a_larger_checkpoint_has_to_go_on_from_the_memory() -> None:
    """A published checkpoint of our own key that the tiles do not lead to from the memory is not taken for it."""
    log = handed_over(41)
    shelf, other = shelf_of(log, SECOND), shelf_of(told(50), SECOND)
    shelf.tiles, note = other.tiles, shelf.recall()
    with pytest.raises(Inconsistent, match="do not prove that 50 entries go on from the 41 in the notary's memory"):
        Notary(shelf, SECOND, ENV, log.prefix.keys)
    assert note == shelf.recall()


@pytest.mark.spec("X-04")
def test_a_key_signs_from_its_introduction_to_its_end() -> None:
    """A notary waits while the log does not know its key, and says so once the key was replaced or revoked."""
    log = told(60)
    early, late = (Notary(MemoryShelf(), key, ENV) for key in (SECOND, NOTARY))
    for notary in (early, late):
        notary.take(log.entries)
    assert early.sign(log.prefix.keys, 1) is None
    assert (None, None) == (early.shelf.recall(), early.shelf.tiles.get(CHECKPOINT))
    assert late.sign(log.prefix.keys, 1) is not None
    note = late.shelf.recall()
    assert log.key_event(revoked("notary's"), *roots("ada", "bob")).refusal is None
    assert late.sign(log.prefix.keys, 2) is not None, "60 entries are still before the end"
    late.take(log.entries[60:])
    note = late.shelf.recall()
    with pytest.raises(KeyEnded, match=f"{NOTARY.key_id} was replaced or revoked by entry 60"):
        late.sign(log.prefix.keys, 3)
    assert note == late.shelf.recall()


@pytest.mark.spec("X-04", "X-10")
def test_nothing_is_signed_again_below_a_new_epoch() -> None:
    """What lies before the entry that names a loss is not signed once more; from it on the new epoch is."""
    log = told(60)
    assert log.key_event(epoch(2, 60, 79), *roots("ada", "bob")).refusal is None
    notary = Notary(MemoryShelf(), NOTARY, ENV)
    notary.take(log.entries[:60])
    assert notary.sign(log.prefix.keys, 1) is None
    assert notary.shelf.recall() is None
    notary.take(log.entries[60:])
    signed = notary.sign(log.prefix.keys, 1)
    assert signed is not None
    assert (61, "2") == (signed.size, signed.origin.rpartition("/")[2])


# Two on one shelf


@pytest.mark.spec("X-04", "X-10")
def test_a_second_notary_turns_nothing_back(tmp_path: Path) -> None:
    """Of two notaries on one shelf the one that is behind signs nothing and publishes nothing."""
    shelf = shelved(tmp_path, 200)
    behind = Notary(shelf, KEY, ENV)
    newest = Notary(shelved(tmp_path, 300), KEY, ENV)
    behind.settle()
    assert newest.note.encode() == shelf.tiles.get(CHECKPOINT)
    behind.take(ALL[200:256])
    with pytest.raises(Inconsistent, match="memory holds 300 entries, 256 would be signed: another notary"):
        behind.sign(BOOK, 2)
    assert newest.note == shelf.recall()
    behind.take(ALL[256:310])
    assert behind.sign(BOOK, 3) is not None, "it goes on from what the other signed"


@pytest.mark.spec("X-04", "X-10")
@pytest.mark.parametrize("size", [300, 812])
def test_a_second_notary_signs_no_second_history(tmp_path: Path, size: int) -> None:
    """A notary that read other entries than those behind the memory does not sign beside it."""
    shelf = shelved(tmp_path, 200)
    behind = Notary(shelf, KEY, ENV)
    note = shelved(tmp_path, 300).recall()
    behind.take(entries(size, "other")[200:])
    with pytest.raises(Inconsistent, match=f"do not prove that {size} entries go on from the 300"):
        behind.sign(BOOK, 2)
    assert note == shelf.recall()


@pytest.mark.spec("X-04", "X-10")
def test_a_memory_that_is_damaged_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """A running notary whose memory turned into nonsense publishes and signs nothing until it is put right."""
    shelf = shelved(tmp_path, 200)
    notary, note = Notary(shelf, KEY, ENV), shelf.recall()
    assert note is not None
    shelf.remember("nonsense")
    notary.take(ALL[200:300])
    for deed in (notary.settle, lambda: notary.sign(BOOK, 2)):
        with pytest.raises(Inconsistent, match=r"notary's memory is damaged .*; restore it from a backup"):
            deed()
    assert "nonsense" == shelf.recall()
    shelf.remember(note)
    assert notary.sign(BOOK, 3) is not None


# On a bus


Play = Callable[[Callable[[Ground], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["sim", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Each kind of server."""
    return play_sim if request.param == "sim" else lambda body: play_nats(body, tmp_path / "ground", links=False)


class Bench:
    """A log that is written to, a notary on it that signs at every beat, and what it says."""

    founded: Founded

    def __init__(self, ground: Ground, here: Stage, signer: LocalSigner, desk: Bus, ear: Bus) -> None:
        self.ground, self.here, self.signer, self.desk, self.ear = ground, here, signer, desk, ear
        self.refused, self.said = Heard(), Heard()
        self.shelf: Shelf = MemoryShelf()
        self.written = 0

    @classmethod
    async def on(cls, ground: Ground, here: Stage) -> Bench:
        """Found a log."""
        founded = await Founded.on(ground)
        notary = await founded.introduce("notary", f"{ENV}.trial.notary.event.>")
        desk = Bus(ground.world, await ground.wire("desk"), "desk", "1", [await founded.introduce("desk")])
        bench = cls(ground, here, notary, desk, await here.asker("ear"))
        bench.founded = founded
        await bench.ear.subscribe(NotaryRefused.pattern(ENV), bench.refused)
        await bench.ear.subscribe(Checkpointed.pattern(ENV), bench.said)
        return bench

    async def write(self, count: int) -> None:
        """Append decisions."""
        drafts = [Draft(Noted("ada", self.written + n), new_id(self.ground.world)) for n in range(count)]
        self.written += count
        for start in range(0, count, 50):
            await self.desk.append_many(drafts[start : start + 50])

    async def notarise(self, simulated_beat_s: float = 11.0) -> NotaryOrgan:
        """Start a notary on the shelf."""
        world = Hasty(ENV) if isinstance(self.ground, NatsGround) else self.here.world("notary")
        organ = NotaryOrgan(self.shelf, world)
        beat_s = 0.01 if isinstance(self.ground, NatsGround) else simulated_beat_s
        self.runner = await self.here.carry(organ, [self.signer], beat_s=beat_s)
        return organ

    async def stop(self) -> None:
        """Stop the notary in good order."""
        self.here.runners.remove(self.runner)
        await self.runner.stop()

    async def leaves(self) -> list[bytes]:
        """Every leaf of the stored log."""
        found: list[Entry] = []
        while more := await self.ear.entries(len(found)):
            found += more
        return [leaf_of(entry) for entry in found]

    async def size(self) -> int:
        """How many entries the log has."""
        newest = await self.ear.newest()
        return newest.index + 1 if newest else 0

    def signed(self) -> int:
        """The size that the published checkpoint says; 0 before the first."""
        raw = self.shelf.tiles.get(CHECKPOINT)
        return open_checkpoint(raw, self.signer.public).checkpoint.size if raw else 0

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something, in the ground's own time."""
        if isinstance(self.ground, NatsGround):
            await until(true)
            return
        for _ in range(100):
            if true():
                return
            await self.ground.world.sleep(11)
        raise AssertionError("it did not come")

    async def recreate(self, raw: list[tuple[str, bytes]]) -> None:
        """Put another stream in the log's place, with these messages."""
        if isinstance(self.ground, NatsGround):
            await self.ground.api(f"STREAM.DELETE.{LOG}", {})
            await self.ground.create_stream(LOG, f"{ENV}.*.*.event.>")
        else:
            assert isinstance(self.ground, SimGround)
            self.ground.server.streams.pop(LOG)
            await self.ground.create_stream(LOG, f"{ENV}.*.*.event.>")
        await self.force(raw)

    async def force(self, raw: list[tuple[str, bytes]]) -> None:
        """Store messages past every rule of the bus; return when they are there."""
        wire = await self.ground.wire("writer")
        before = await self.size()
        for subject, data in raw:
            await wire.publish(subject, data)
        for _ in range(1_000):
            if await self.size() >= before + len(raw):
                return
            await self.ground.world.sleep(0.01)
        raise AssertionError("what was published is not stored")


def on_a_bench(play: Play, body: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    """Run a body with a log and a notary's place."""

    async def whole(ground: Ground) -> None:
        async with stage(ground) as here:
            await body(await Bench.on(ground, here))

    play(whole)


@pytest.mark.spec("X-04")
def test_a_tail_that_is_gone_is_refused_once(play: Play) -> None:
    """When the last entries vanish the notary says so once, by name, signs nothing more, and its end signs nothing."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        note = bench.shelf.recall()
        stored = await bench.ear.entries(0)
        for index in (size - 1, size - 2):
            await bench.ground.remove(LOG, index)
        await bench.until(lambda: bench.refused.all)
        await bench.force([(entry.subject, entry.raw) for entry in stored[4:9]])
        await bench.stop()
        assert (1, note) == (len(bench.refused.all), bench.shelf.recall())
        with pytest.raises(Inconsistent, match="the log was rewritten"):
            await bench.notarise()
        bench.here.runners.pop()
        assert note == bench.shelf.recall(), "a notary that could not start signed nothing as it ended"

    on_a_bench(play, body)


@pytest.mark.spec("X-04")
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
def test_another_log_in_its_place_is_refused(play: Play, running: bool) -> None:  # noqa: FBT001
    """A stream that was deleted and filled again, with as many entries or more, is refused, and nothing is signed."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        note = bench.shelf.recall()
        if not running:
            await bench.stop()
        stored = await bench.ear.entries(0)
        copy = [(entry.subject, entry.raw) for entry in stored]
        await bench.recreate([*copy, *copy[5:9]])
        if running:
            await bench.until(lambda: bench.refused.all)
            await bench.stop()
        else:
            with pytest.raises(Inconsistent, match="the log was rewritten"):
                await bench.notarise()
            bench.here.runners.pop()
        assert note == bench.shelf.recall()

    on_a_bench(play, body)


@pytest.mark.spec("X-04")
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
def test_one_old_entry_that_is_gone_is_refused(play: Play, running: bool) -> None:  # noqa: FBT001
    """When one entry in the middle vanishes, the notary finds it by reading again, and signs nothing from then on."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        if not running:
            await bench.stop()
        await bench.ground.remove(LOG, 9)
        if not running:
            await bench.notarise()
        await bench.until(lambda: bench.refused.all)
        note = bench.shelf.recall()
        stored = await bench.ear.entries(0)
        if isinstance(bench.ground, NatsGround):  # the simulated stream counts what it holds, and would count anew
            await bench.force([(entry.subject, entry.raw) for entry in stored[4:7]])
        await bench.stop()
        assert (1, note) == (len(bench.refused.all), bench.shelf.recall())

    on_a_bench(play, body)


@pytest.mark.spec("X-04", "X-10")
def test_a_notary_that_cannot_know_what_it_signed_does_not_start(play: Play) -> None:
    """With a damaged memory the start ends with that one fault, and nothing is signed as it is taken back."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        await bench.stop()
        bench.shelf.remember("nonsense")
        await bench.write(5)
        with pytest.raises(Inconsistent, match="notary's memory is damaged"):
            await bench.notarise()
        bench.here.runners.pop()
        assert ("nonsense", size) == (bench.shelf.recall(), bench.signed())

    on_a_bench(play, body)


@pytest.mark.spec("X-04")
def test_a_log_that_only_lagged_is_signed_again() -> None:
    """A reader that was behind for a while is refused, and taken up again when it caught up."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        assert isinstance(bench.ground, SimGround)
        stream = bench.ground.server.streams[LOG]
        late = [stream.entries.pop() for _ in range(4)]
        await bench.until(lambda: bench.refused.all)
        assert size == bench.signed()
        stream.entries.extend(reversed(late))
        await bench.write(5)
        await bench.until(lambda: bench.signed() == size + 5)
        assert 1 == len(bench.refused.all)
        seen = open_checkpoint(bench.shelf.recall() or "", bench.signer.public).checkpoint
        assert seen.root == root_of(await bench.leaves(), sha256)

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-10")
@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
def test_damaged_tiles_are_made_again(damage: str, running: bool) -> None:  # noqa: FBT001
    """Each tile in turn deleted, cut short or changed by a bit is made again from the log, byte for byte."""

    async def body(bench: Bench) -> None:
        await bench.write(550)
        organ = await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        assert isinstance(bench.shelf, MemoryShelf)
        files = bench.shelf.tiles.files
        whole = dict(files)
        full = [path for path in sorted(whole) if path.startswith("tile/") and ".p/" not in path]
        partial = [path for path in sorted(whole) if ".p/" in path]
        for path in full if running else full + partial:
            if not running:
                await bench.stop()
            if damage == "deleted":
                del files[path]
            else:
                data = whole[path]
                at = len(data) // 2
                files[path] = data[:at] if damage == "cut" else data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
            if not running:
                organ = await bench.notarise()
            await bench.until(lambda path=path: files.get(path) == whole[path])
            assert "" == organ.trouble
        assert size == bench.signed()
        assert len(full) / 2 < SCRUBBED_TILES

    on_a_bench(play_sim, body)


def other_tree(bench: Bench, size: int) -> MemoryShelf:
    """The shelf of somebody who has this notary's key and another history."""
    shelf, book = MemoryShelf(), KeyBook()
    book.fingerprint = "f" * 64
    book.keys[bench.signer.key_id] = Key(bench.signer.key_id, bench.signer.public, "notary", "host", (), 0)
    notary = Notary(shelf, bench.signer, ENV)
    notary.take(entries(size, "other"))
    assert notary.sign(book, 1) is not None
    return shelf


@pytest.mark.spec("X-04", "X-10")
@pytest.mark.parametrize("remembers", [True, False], ids=["with its memory", "without"])
@pytest.mark.parametrize(("more", "why"), [(-2, "does not have the root"), (5, "is missing")])
def test_a_log_has_to_lead_to_what_is_published(remembers: bool, more: int, why: str) -> None:  # noqa: FBT001
    """A larger checkpoint by our key in the published place stops the start where the log has no such root."""

    async def body(bench: Bench) -> None:
        await bench.write(5)
        await bench.notarise()
        await bench.until(bench.signed)
        await bench.stop()
        assert isinstance(bench.shelf, MemoryShelf)
        if not remembers:
            bench.shelf.note = None
        await bench.write(20)
        note = bench.shelf.recall()
        bench.shelf.tiles = other_tree(bench, await bench.size() + more).tiles
        with pytest.raises(Inconsistent, match=why):
            await bench.notarise()
        bench.here.runners.pop()
        assert note == bench.shelf.recall()

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-10")
def test_a_log_has_to_lead_to_the_memory_too() -> None:
    """A memory of another history stops the start, although the log leads to the larger one that is published."""

    async def body(bench: Bench) -> None:
        await bench.write(5)
        await bench.notarise()
        await bench.until(bench.signed)
        await bench.stop()
        note = other_tree(bench, 3).recall()
        assert note is not None
        bench.shelf.remember(note)
        with pytest.raises(Inconsistent, match="does not have the root that was signed at 3 entries"):
            await bench.notarise()
        bench.here.runners.pop()
        assert note == bench.shelf.recall()

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-10")
@pytest.mark.parametrize("tiles", ["whole", "lost"])
def test_an_older_memory_is_caught_up_where_the_log_leads_to_it(tiles: str) -> None:
    """A memory that was put back from a backup becomes what is published, tiles or no tiles, once the log agrees."""

    async def body(bench: Bench) -> None:
        await bench.write(5)
        await bench.notarise()
        await bench.until(bench.signed)
        old = bench.shelf.recall()
        await bench.write(300)
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        await bench.stop()
        newest = bench.shelf.recall()
        assert isinstance(bench.shelf, MemoryShelf)
        assert old is not None
        bench.shelf.remember(old)
        if tiles == "lost":
            bench.shelf.tiles.remove("tile")
        organ = await bench.notarise()
        assert (newest, size) == (bench.shelf.recall(), organ.notary.size)

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-12")
def test_a_notary_whose_key_is_revoked_says_so_once(play: Play) -> None:
    """After its key's end a running notary names the key once, and tells whoever asks for a proof; it signs nothing."""

    async def body(bench: Bench) -> None:
        await bench.write(5)
        organ = await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        await bench.founded.root.append(
            Draft(KeyRevoked("root", bench.signer.key_id, None, "lost"), new_id(bench.ground.world))
        )
        await bench.write(50)
        await bench.until(lambda: bench.refused.all)
        note = bench.shelf.recall()
        reason = f"key {bench.signer.key_id} was replaced or revoked by entry {size}"
        assert reason in organ.trouble
        assert reason.encode() in bench.refused.all[0].data
        await bench.ground.world.sleep(2 if isinstance(bench.ground, SimGround) else 0.05)
        refusal = await organ.on_proof(ProofRequest(size + 20))
        assert isinstance(refusal, Refusal)
        assert "B013" == refusal.code
        assert reason in refusal.detail
        assert not isinstance(await organ.on_proof(ProofRequest(2)), Refusal), "what was signed stays proven"
        await bench.write(5)
        await bench.ground.world.sleep(60 if isinstance(bench.ground, SimGround) else 0.2)
        await bench.stop()
        assert (1, note) == (len(bench.refused.all), bench.shelf.recall())
        assert size == bench.signed()

    on_a_bench(play, body)


@pytest.mark.spec("X-04", "X-12")
def test_an_ended_key_that_a_proof_finds_is_said_once() -> None:
    """What a request found between two signatures is said at the next beat, and stays true at those that follow."""

    async def body(bench: Bench) -> None:
        await bench.write(5)
        organ = await bench.notarise(1.0)
        size = await bench.size()
        await bench.ground.world.sleep(2)
        assert not isinstance(await organ.on_proof(ProofRequest(size - 1)), Refusal)
        await bench.founded.root.append(
            Draft(KeyRevoked("root", bench.signer.key_id, None, "lost"), new_id(bench.ground.world))
        )
        await bench.ground.world.sleep(2)  # a request may ask for a signature, and none is due by itself yet
        assert isinstance(await organ.on_proof(ProofRequest(size)), Refusal)
        for _ in range(30):
            await bench.ground.world.sleep(1)
            assert "was replaced or revoked" in organ.trouble
        assert 1 == len(bench.refused.all)

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-12")
def test_a_proof_that_finds_the_tail_gone_says_so() -> None:
    """Asked for a proof between two beats, the notary finds the tail gone, answers so, and says it once at the beat."""

    async def body(bench: Bench) -> None:
        await bench.write(20)
        organ = await bench.notarise()
        size = await bench.size()
        await bench.until(lambda: bench.signed() == size)
        note = bench.shelf.recall()
        await bench.ground.world.sleep(2)
        await bench.ground.remove(LOG, size - 1)
        refusal = await organ.on_proof(ProofRequest(size))
        assert isinstance(refusal, Refusal)
        gone = f"the log has {size - 1} entries, {size} were read: its tail is gone"
        assert f"nothing more is signed: {gone}" in refusal.detail
        assert [] == bench.refused.all
        await bench.until(lambda: bench.refused.all)
        await bench.ground.world.sleep(60)
        assert (1, note) == (len(bench.refused.all), bench.shelf.recall())

    on_a_bench(play_sim, body)


@pytest.mark.spec("X-04", "X-10")
def test_one_notary_alone_holds_a_shelf(tmp_path: Path) -> None:
    """A second notary on a folder is refused by name and takes nothing from the first; after its end it may start."""

    async def body(bench: Bench) -> None:
        places = (tmp_path / "tiles", tmp_path / "memory")
        bench.shelf = FolderShelf(*places)
        await bench.write(5)
        await bench.notarise()
        first = bench.runner
        for shelf in (bench.shelf, FolderShelf(*places)):
            bench.shelf = shelf
            with pytest.raises(InUse, match=f"another notary signs on {places[1]}"):
                await bench.notarise()
            bench.here.runners.pop()
        await bench.until(bench.signed)
        bench.runner = first
        await bench.stop()
        await bench.notarise()

    on_a_bench(play_sim, body)


# Killed again and again


class Rounds:
    """A notary process that is killed at random moments while the log grows; every checkpoint it showed is kept."""

    def __init__(self, bench: Bench, folder: Path, seed: int) -> None:
        self.bench, self.folder, self.chance = bench, folder, random.Random(seed)
        self.shelf = FolderShelf(folder / "tiles", folder / "memory")
        self.shown: dict[int, Checkpoint] = {}

    async def run(self, rounds: int) -> None:
        """Kill and look, round after round; then let it end in good order and compare with the stream."""
        ground = self.bench.ground
        assert isinstance(ground, NatsGround)
        await ground.wire("notary")
        (self.folder / "seed").write_text(self.bench.signer.seed().hex())
        words = (ground.server.url, str(ground.folder / "notary.nk"), str(self.folder / "seed"), str(self.folder))
        program = Home(self.folder, {}, (sys.executable, str(ROOT / "tests" / "faults" / "notary_program.py")))
        writing = asyncio.get_running_loop().create_task(self._write())
        for turn in range(rounds):
            with program.living(*words) as notary:
                await self._begun(notary)
                before = self.shelf.tiles.get(CHECKPOINT)
                if turn % 3:
                    await until(lambda before=before: self.shelf.tiles.get(CHECKPOINT) != before, 60)
                await asyncio.sleep(0.1 * self.chance.random())  # whatever it does at that moment
                notary.process.kill()
                notary.end()
            await self.look()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await self.bench.desk.settled()
        with program.living(*words) as notary:
            await self._begun(notary)
            done = await asyncio.to_thread(notary.stop)
            assert 0 == done.code, done.err
        last = await self.look()
        assert last is not None
        leaves = await self.bench.leaves()
        assert (len(leaves), root_of_hashes(leaf_hashes(leaves))) == (last.size, last.root)

    async def _begun(self, notary: Living) -> None:
        await asyncio.to_thread(notary.said, lambda line: line == "notarising")

    async def _write(self) -> None:
        while True:
            await self.bench.write(1 + int(self.chance.random() * 40))

    async def look(self) -> Checkpoint | None:
        """Hold that what readers see is whole, is the log's, and goes on from everything they saw before."""
        raw = self.shelf.tiles.get(CHECKPOINT)
        if raw is None:
            return None
        seen = open_checkpoint(raw, self.bench.signer.public).checkpoint
        leaves = (await self.bench.leaves())[: seen.size]
        tiles = Tiles(self.shelf.tiles, seen.size)
        assert leaves == list(tiles.leaves())
        assert seen.root == root_of_hashes(tiles.leaf_hashes(0, seen.size)) == root_of_hashes(leaf_hashes(leaves))
        for old in self.shown.values():
            proof = consistency_proof(tiles.node, old.size, seen.size)
            verify_consistency(old.size, seen.size, proof, old.root, seen.root)
        self.shown[seen.size] = seen
        return seen


@pytest.mark.spec("X-04", "X-07", "X-10")
@pytest.mark.parametrize("kills", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_again_and_again_it_signs_one_history(tmp_path: Path, kills: int) -> None:
    """Through kill -9 under load every checkpoint goes on from all earlier ones; the last is the stream's."""

    async def body(bench: Bench) -> None:
        rounds = Rounds(bench, tmp_path, 7)
        await rounds.run(kills)
        assert len(rounds.shown) > kills // 2

    on_a_bench(lambda whole: play_nats(whole, tmp_path / "ground", links=False), body)
