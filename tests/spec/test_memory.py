"""Living memory: passages with their provenance, decided, found by meaning, kept for a time, and forgotten for good."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.passages import cut, files_of, read_passages
from organs.cognition.quoting import NEAR_PPM
from organs.memory import ChromaPassages, MemoryOrgan, Passages, PlainPassages, Row, digest_of, recall
from organs.memory.embedder import gram_vector
from organs.memory.port import Mark
from organs.memory.retention import (
    CONSOLIDATION,
    EPISODES,
    EPISODIC_MS,
    PAST_DUE_MS,
    SETTLED_MS,
    WORKING_MS,
    WORKING_PASSAGES,
    consolidated,
    expired,
    id_of,
)
from organs.vault import VaultOrgan
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal, StorageFault
from shared.message import Reply, Request
from shared.part import Organ, Part
from shared.personal import Personal
from shared.subjects.gates import OutcomeJudged
from shared.subjects.memory import (
    PASSAGE_BYTES,
    ForgetRequest,
    Forgotten,
    MemoryKind,
    MemoryListed,
    MemoryListRequest,
    MemoryReply,
    MemoryRequest,
    MemoryStatus,
    MemoryStatusRequest,
    Origin,
    Passage,
    RememberRequest,
)
from shared.subjects.privacy import EraseRequest
from shared.subjects.system import Decided
from shared.vault import MemoryStore, simulated_people
from shared.world import SimWorld, World, now_ms
from tests.commands import NO_DATABASE, Home
from tests.grams_part import GramsOrgan
from tests.organisms import Living, live_nats, live_sim

PAGE = Origin("file", "page.md", "A heading", 0, 10)
DAY_MS = 86_400_000


def passage(text: str, kind: MemoryKind = "semantic", due_ms: int = 0) -> Passage:
    """A passage of a page."""
    return Passage(kind, text, PAGE, 0, due_ms)


async def asked(living: Living, request: Request) -> Reply | Refusal:
    """What an organism answers."""
    return await living.operator.request(request, 20)


async def settled(living: Living, index: int) -> MemoryStatus:
    """How memory stands once it has applied an entry."""
    async with asyncio.timeout(30):
        while True:
            status = await asked(living, MemoryStatusRequest(whole=True))
            assert isinstance(status, MemoryStatus)
            if status.next_index > index:
                return status
            await living.world.sleep(0.01)


async def remembered(living: Living, *texts: str, person: str = "", renews: bool = False) -> MemoryStatus:
    """Have an organism remember texts."""
    decided = await asked(living, RememberRequest("page.md", tuple(map(passage, texts)), person, renews))
    assert isinstance(decided, Decided), decided
    return await settled(living, decided.index)


async def found(living: Living, text: str, limit: int = 3) -> MemoryReply:
    """What memory holds about a text."""
    reply = await asked(living, MemoryRequest(text, limit, (), 0))
    assert isinstance(reply, MemoryReply), reply
    return reply


class Trail(Organ):
    """Says what became of something, when a test asks it to: a stand-in for the nerve that judges outcomes."""

    name, version = "trail", "1.0.0"

    async def on_ask(self, asked: MemoryListRequest) -> list[OutcomeJudged]:
        return [OutcomeJudged("battery", b"w1".ljust(16), "confirmed", 10, 9, 1, asked.source, 1)]


def mind(passages: Passages | None = None) -> Callable[[World], list[Part]]:
    """Memory, the vault it shares, and somebody who says what texts mean."""

    def make(world: World) -> list[Part]:
        base = world if isinstance(world, SimWorld) else SimWorld("dev", 5)
        store = MemoryStore()
        organ = MemoryOrgan(world, passages or PlainPassages(), simulated_people(base.fork("memory"), store))
        return [GramsOrgan(), VaultOrgan(simulated_people(base.fork("vault"), store)), organ]

    return make


@pytest.mark.spec("BIZ-15")
@pytest.mark.parametrize("where", ["sim", "nats"])
def test_what_is_remembered_is_found_by_meaning(tmp_path: Path, where: str) -> None:
    """Passages are found again, the nearest first, word for word, with where they stand; the same are kept once."""

    async def life(living: Living) -> None:
        await remembered(living, "the battery is nearly empty", "an obstacle lies ahead")
        status = await remembered(living, "the battery is nearly empty")
        assert (2, 2) == (status.passages, status.kinds["semantic"])
        reply = await found(living, "is the battery empty?")
        assert "the battery is nearly empty" == reply.recalled[0].text
        assert (PAGE, "page.md", 2, "grams") == (
            *(reply.recalled[0].origin, reply.recalled[0].source),
            *(reply.searched, reply.embedder),
        )
        assert reply.recalled[0].similarity_ppm > reply.recalled[1].similarity_ppm
        listed = await asked(living, MemoryListRequest("page.md", ""))
        assert isinstance(listed, MemoryListed)
        assert {one.id for one in reply.recalled} == {one.id for one in listed.passages}

    live_sim(life, mind()) if where == "sim" else live_nats(life, tmp_path, mind(ChromaPassages(tmp_path / "memory")))


@pytest.mark.spec("BIZ-15", "X-05")
def test_memory_is_a_view_of_the_log(tmp_path: Path) -> None:
    """Read from the log again, in Chroma or in memory, it has the same digest, also after forgetting and erasing."""

    async def life(living: Living) -> None:
        await remembered(living, "one", "two", "three")
        await remembered(living, "two", "four", renews=True)
        status = await remembered(living, "a secret of hers", person="Ada")
        assert 3 == status.passages
        keys = next(runner.part for runner in living.organism.runners.values() if isinstance(runner.part, MemoryOrgan))
        for fresh in (PlainPassages(), ChromaPassages(tmp_path / "fresh")):
            await fresh.open()
            await recall(fresh, living.operator, keys.keys, stop=status.next_index)
            assert status.digest == await digest_of(fresh)
            await fresh.close()

    live_nats(life, tmp_path, mind(ChromaPassages(tmp_path / "memory")))


@pytest.mark.spec("BIZ-15")
def test_a_source_that_is_renewed_holds_nothing_old() -> None:
    """A source read anew holds what it says now, and what was forgotten is found no more."""

    async def life(living: Living) -> None:
        await remembered(living, "the old words", "words that stay")
        await remembered(living, "words that stay", "new words", renews=True)
        await living.world.sleep(1)
        texts = {one.text for one in (await found(living, "words", 20)).recalled}
        assert {"words that stay", "new words"} == texts
        ids = tuple(one.id for one in (await found(living, "new words", 1)).recalled)
        decided = await asked(living, ForgetRequest(ids))
        assert isinstance(decided, Decided)
        assert 1 == (await settled(living, decided.index)).passages

    live_sim(life, mind())


@pytest.mark.spec("BIZ-15")
def test_a_change_is_answered_at_its_last_decision() -> None:
    """Of several decisions the answer names the last: whoever waits until memory holds that sees all of them."""

    async def life(living: Living) -> None:
        await remembered(living, "the old words", "words that stay")
        passages = tuple(map(passage, ("words that stay", "new words")))
        renewed = await asked(living, RememberRequest("page.md", passages, "", renews=True))
        other = await asked(living, RememberRequest("other.md", (passage("words of another page"),), "", renews=False))
        assert isinstance(renewed, Decided)
        assert isinstance(other, Decided)
        await settled(living, other.index)
        ids = tuple(id_of(passage(text)) for text in ("new words", "words of another page"))
        forgotten = await asked(living, ForgetRequest(ids))
        said = [at.index async for verdict in living.operator.replay() for _, at in decisions_in(verdict, Forgotten)]
        assert isinstance(forgotten, Decided)
        assert 3 == len(said)
        assert (said[0], said[2]) == (renewed.index, forgotten.index)
        assert 1 == (await settled(living, forgotten.index)).passages

    live_sim(life, mind())


@pytest.mark.spec("BIZ-15", "X-12")
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (RememberRequest("s", (passage("ü" * PASSAGE_BYTES),), "", renews=False), "B003"),
        (MemoryRequest("ü" * 8_000, 3, (), 0), "B003"),
        (ForgetRequest(("00" * 16,)), "L005"),
        (RememberRequest("s", (passage("fine"),), "\ud800", renews=False), "B002"),
    ],
)
def test_what_memory_cannot_take_is_refused_by_name(request_: Request, code: str) -> None:
    """Too long a text, an unknown id, a name that is no text: each has its code, and memory stays empty."""

    async def life(living: Living) -> None:
        try:
            answer = await asked(living, request_)
        except UnicodeEncodeError:
            return
        assert isinstance(answer, Refusal)
        assert code == answer.code
        assert 0 == (await settled(living, -1)).passages

    live_sim(life, mind())


@pytest.mark.spec("NIM-17", "BIZ-15")
def test_without_anybody_who_knows_meanings_memory_refuses() -> None:
    """Where nobody says what texts mean, to remember and to search are B011; nothing is made up."""

    async def life(living: Living) -> None:
        for request in (RememberRequest("s", (passage("a"),), "", renews=False), MemoryRequest("a", 3, (), 0)):
            answer = await asked(living, request)
            assert isinstance(answer, Refusal)
            assert "B011" == answer.code

    live_sim(life, lambda world: mind()(world)[1:])


@pytest.mark.spec("NIM-18")
def test_an_outcome_becomes_an_episode() -> None:
    """What became of a signal is remembered as an episode with its position in the log, each outcome once."""

    async def life(living: Living) -> None:
        for words in ("it was low", "it was full"):
            await asked(living, MemoryListRequest(words, ""))
            await living.world.sleep(3)
        [first, second] = (await found(living, "battery confirmed it was low")).recalled
        assert "battery: confirmed; expected 10, found 9. it was low" == first.text
        assert ("episodic", "log", "trail", "trails") == (
            *(first.kind, first.origin.kind),
            *(first.origin.name, first.source),
        )
        entries = [verdict async for verdict in living.operator.replay()]
        assert OutcomeJudged.pattern("dev").split(".")[1:3] == entries[first.origin.first].entry.subject.split(".")[1:3]
        assert second.origin.first > first.origin.first
        assert 2 == sum("memory.event.trails" in verdict.entry.subject for verdict in entries)

    def parts(world: World) -> list[Part]:
        grams, vault, memory = mind()(world)
        assert isinstance(memory, MemoryOrgan)
        memory_class = type("Deaf", (MemoryOrgan,), {"on_list": None})
        deaf = memory_class(world, memory.passages, memory.keys)
        return [grams, vault, Trail(), deaf]

    live_sim(life, parts)


# Personal data


@pytest.mark.spec("X-11", "BIZ-15")
def test_what_is_about_a_person_dies_with_the_key(tmp_path: Path) -> None:
    """It is sealed in the log and in Chroma; after the erasure no byte of its vector is in any file of memory."""
    memory = tmp_path / "memory"
    words = "hers are the violets in the cellar"

    async def life(living: Living) -> None:
        await remembered(living, "something about nobody")
        status = await remembered(living, words, person="Ada")
        assert 2 == status.passages
        [mine, *_] = (await found(living, words)).recalled
        assert isinstance(mine.sealed, Personal)
        assert ("", "sealed", mine.sealed.person.hex()) == (mine.text, mine.origin.name, mine.source)
        organ = living.organism.runners["memory"].part
        assert isinstance(organ, MemoryOrgan)
        assert words == await organ.keys.open(mine.sealed)
        assert not held(memory, b"violets")
        assert held(memory, mine.sealed.sealed.hex().encode())
        ordered = await asked(living, EraseRequest(mine.sealed.person.hex(), "as asked", "operator"))
        assert isinstance(ordered, Decided)
        after = await settled(living, ordered.index + 1)
        assert 1 == after.passages
        assert not held(memory, mine.sealed.person.hex().encode())
        assert not held(memory, mine.sealed.sealed.hex().encode())
        fresh = PlainPassages()
        await recall(fresh, living.operator, organ.keys)
        assert after.digest == await digest_of(fresh)

    live_nats(life, tmp_path / "home", mind(ChromaPassages(memory)))
    assert held(tmp_path / "home", b"something about nobody")
    assert not held(tmp_path, b"violets")


def held(folder: Path, what: bytes) -> bool:
    """Whether any file below a folder holds these bytes."""
    return any(what in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.spec("X-07", "X-11")
def test_rows_that_cannot_be_removed_are_not_said_to_be_erased(tmp_path: Path) -> None:
    """Where Chroma's files were moved to another disk and linked, every try, and every start, names what stays."""
    person, folder = "ab" * 16, tmp_path / "memory"
    hers = Personal[str](bytes.fromhex(person), bytes(40))
    row = Row("0" * 32, "semantic", "", gram_vector("one"), PAGE, person, "grams", 0, 0, 1, 0, hers)

    async def life() -> None:
        passages = ChromaPassages(folder)
        await passages.open()
        await passages.apply([row], [], Mark(next_index=1))
        (folder / "g0").rename(tmp_path / "elsewhere")
        (folder / "g0").symlink_to(tmp_path / "elsewhere")
        for _ in range(2):
            with pytest.raises(StorageFault, match="g0 holds what memory let go of"):
                await passages.erase(person, Mark(next_index=2))
        with pytest.raises(StorageFault, match="g0 holds what memory let go of"):
            await passages.apply([row], [], Mark(next_index=3))
        await passages.close()
        again = ChromaPassages(folder)
        with pytest.raises(StorageFault, match="g0 holds what memory let go of"):
            await again.open()
        (folder / "g0").unlink()
        assert 2 == (await again.open()).next_index
        assert 0 == await again.count()
        await again.close()

    asyncio.run(life())


@pytest.mark.spec("X-11", "BIZ-15")
def test_room_for_more_rows_holds_nothing(tmp_path: Path) -> None:
    """Chroma makes room for a hundred rows from whatever this process had in memory: on disk it is zeros."""

    async def life() -> None:
        for n in range(5):
            passages = ChromaPassages(tmp_path / f"{n}")
            await passages.open()
            one = Row(f"{n:032x}", "semantic", "one", gram_vector("one"), PAGE, "page.md", "grams", 0, 0, 1, 0)
            await passages.apply([one], [], Mark(next_index=1))
            await passages.close()

    asyncio.run(life())
    room = {name: [*tmp_path.glob(f"*/g0/*/{name}.bin")] for name in ("data_level0", "length")}
    assert {"data_level0": 5, "length": 5} == {name: len(paths) for name, paths in room.items()}
    assert not [path for paths in room.values() for path in paths if any(path.read_bytes())]


# What Chroma's files are worth


@pytest.mark.spec("X-05", "BIZ-15")
@pytest.mark.parametrize("harm", ["gone", "rows gone", "mark gone", "garbage"])
def test_lost_files_are_read_from_the_log_again(tmp_path: Path, harm: str) -> None:
    """Whatever happens to memory's files, the next start holds what the log says."""
    folder, digests = tmp_path / "memory", list[str]()

    async def before(living: Living) -> None:
        digests.append((await remembered(living, "one", "two", "three")).digest)

    async def after(living: Living) -> None:
        status = await settled(living, -1)
        assert (digests[0], 3) == (status.digest, status.passages)
        assert 4 == (await remembered(living, "four")).passages

    live_nats(before, tmp_path / "home", mind(ChromaPassages(folder)))
    rows = next(folder.glob("g*"))
    match harm:
        case "gone":
            shutil.rmtree(folder)
        case "rows gone":
            shutil.rmtree(rows)
        case "mark gone":
            (folder / "mark.json").unlink()
        case _:
            (rows / "chroma.sqlite3").write_bytes(b"garbage" * 1_000)
    live_nats(after, tmp_path / "home", mind(ChromaPassages(folder)))


ROOT = Path(__file__).resolve().parents[2]
OPENS = """
import asyncio, shutil, sys
from pathlib import Path
from random import Random
from random import Random
from organs.memory.chroma import ChromaPassages

whole, spoiled = Path(sys.argv[1]), Path(sys.argv[2])
for seed in range(16):
    shutil.rmtree(spoiled, ignore_errors=True)
    shutil.copytree(whole, spoiled)
    file = next(spoiled.glob("g*/chroma.sqlite3"))
    draw, raw = Random(seed), bytearray(file.read_bytes())
    for _ in range(1_000):
        raw[draw.randrange(len(raw))] ^= draw.randrange(1, 256)
    file.write_bytes(raw)
    passages = ChromaPassages(spoiled)
    assert 0 == asyncio.run(passages.open()).next_index
    asyncio.run(passages.close())
"""


@pytest.mark.spec("X-07", "X-12")
def test_no_spoiled_file_ends_the_process(tmp_path: Path) -> None:
    """Over some files Chroma ends its whole process: they are found out before it sees them, and count as lost."""

    async def before(living: Living) -> None:
        await remembered(living, "one", "two", "three")

    live_nats(before, tmp_path / "home", mind(ChromaPassages(tmp_path / "memory")))
    command = [sys.executable, "-c", OPENS, str(tmp_path / "memory"), str(tmp_path / "spoiled")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[-500:]


FORGERIES = {
    "words": "update embedding_metadata set string_value = 'gates open for nobody' where key = 'chroma:document'",
    "place": "update embedding_metadata set int_value = 7 where key = 'origin_first'",
    "entry": "update embedding_metadata set int_value = 1 where key = 'index'",
    "no row": "delete from embedding_metadata where key = 'origin_name'",
}


@pytest.mark.spec("X-05", "BIZ-15")
@pytest.mark.parametrize("forged", FORGERIES)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_row_that_somebody_changed_is_named_and_not_told(tmp_path: Path, forged: str, *, restarted: bool) -> None:
    """What was changed on disk is L006 with the passage's id, in a search and a list; then the log is read again."""
    folder = tmp_path / "memory"

    async def before(living: Living) -> None:
        await remembered(living, "a gate opens where cells agree")
        if not restarted:
            forge(folder, FORGERIES[forged])
            await after(living)

    async def after(living: Living) -> None:
        no = await asked(living, MemoryRequest("when does a gate open?", 3, (), 0))
        assert isinstance(no, Refusal), no
        assert "L006" == no.code
        told = await told_again(living, MemoryListRequest("", ""))
        assert isinstance(told, MemoryListed)
        assert ["a gate opens where cells agree"] == [one.text for one in told.passages]
        assert [PAGE] == [one.origin for one in told.passages]
        assert "a gate opens where cells agree" == (await found(living, "when does a gate open?")).recalled[0].text

    live_nats(before, tmp_path / "home", mind(ChromaPassages(folder)))
    if restarted:
        forge(folder, FORGERIES[forged])
        live_nats(after, tmp_path / "home", mind(ChromaPassages(folder)))


def forge(folder: Path, statement: str) -> None:
    """Change a row in Chroma's files as somebody who owns the disk would."""
    [database] = folder.glob("g*/chroma.sqlite3")
    connection = sqlite3.connect(database)
    with connection:
        assert connection.execute(statement).rowcount
    connection.close()


async def told_again(living: Living, request: Request) -> Reply | Refusal:
    """What is answered once memory has read the log again; until then every answer is L006."""
    async with asyncio.timeout(30):
        while isinstance(answer := await asked(living, request), Refusal):
            assert "L006" == answer.code
            await living.world.sleep(0.01)
    return answer


@pytest.mark.spec("NIM-18", "BIZ-15")
def test_no_forged_episode_becomes_a_decision() -> None:
    """Episodes that become one passage are held to the log first; what was forged is read anew, then they do."""
    passages = PlainPassages()

    async def life(living: Living) -> None:
        old_ms = now_ms(living.world) - 2 * SETTLED_MS
        origins = [msgspec.structs.replace(PAGE, first=n) for n in range(EPISODES)]
        episodes = tuple(Passage("episodic", "the battery was low", origin, old_ms, 0) for origin in origins)
        decided = await asked(living, RememberRequest("page.md", episodes, "", renews=False))
        assert isinstance(decided, Decided)
        assert EPISODES == (await settled(living, decided.index)).kinds["episodic"]
        passages.rows = {one: msgspec.structs.replace(row, text="forged") for one, row in passages.rows.items()}
        await living.world.sleep(200)
        [one] = (await found(living, "battery")).recalled
        assert ("semantic", "the battery was low", EPISODES) == (one.kind, one.text, one.heard)
        assert not [v async for v in living.operator.replay() if b"forged" in v.entry.raw]

    live_sim(life, mind(passages))


# What time does


def row(  # noqa: PLR0913 - a row has as many facts as it has
    text: str, kind: MemoryKind, about_ms: int, *, due_ms: int = 0, source: str = "trails", heard: int = 1
) -> Row:
    """A row of a certain age."""
    one = Passage(kind, text, PAGE, about_ms, due_ms)
    return Row(id_of(one), kind, text, gram_vector(text), PAGE, source, "grams", about_ms, due_ms, heard, 0)


@pytest.mark.spec("BIZ-15")
@pytest.mark.parametrize(
    ("kind", "due_ms", "lives_ms"),
    [("working", 0, WORKING_MS), ("episodic", 0, EPISODIC_MS), ("prospective", 5_000, 5_000 + PAST_DUE_MS)],
)
def test_each_kind_is_kept_for_its_time(kind: MemoryKind, due_ms: int, lives_ms: int) -> None:
    """Working memory is gone in minutes, an episode in a quarter, what was to come a day after it was due."""
    one = row("a", kind, 0, due_ms=due_ms)
    assert [] == expired([one], lives_ms - 1)
    assert [one.id] == expired([one], lives_ms)


@pytest.mark.spec("BIZ-15")
def test_what_is_so_and_how_it_is_done_stays() -> None:
    """Semantic and procedural memory end by nothing but a decision; of working memory there is only so much."""
    assert [] == expired([row("a", "semantic", 0), row("b", "procedural", 0)], 2**60)
    many = [row(f"n{n}", "working", n) for n in range(WORKING_PASSAGES + 3)]
    assert sorted(one.id for one in many[:3]) == expired(many, 100)


@pytest.mark.spec("BIZ-15")
def test_episodes_that_say_the_same_become_one_passage() -> None:
    """Enough alike episodes of a day ago become one semantic passage: one's words, and how many they were."""
    alike = [row(f"the battery was low again, {n}", "episodic", n) for n in range(EPISODES)]
    others = [
        row("an obstacle lay ahead", "episodic", 1),
        row("the battery was low again, 9", "episodic", 1, source="x"),
    ]
    assert consolidated([*alike, *others], SETTLED_MS - 1) is None
    assert consolidated([*alike[1:], *others], SETTLED_MS * 2) is None
    become = consolidated([*others, *alike], SETTLED_MS * 2)
    assert become is not None
    one, episodes = become
    assert sorted(row.id for row in alike) == episodes
    assert one.text in {row.text for row in alike}
    assert ("semantic", CONSOLIDATION, EPISODES) == (one.kind, one.source, one.heard)
    assert one.id not in episodes


@pytest.mark.spec("BIZ-15")
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * DAY_MS), st.integers(1, 5)), max_size=12),
    st.randoms(),
)
def test_consolidation_loses_no_episode_and_knows_no_order(made: list[tuple[str, int, int]], random: Random) -> None:
    """However rows are ordered the result is the same, the count is kept, and it comes to an end."""
    rows = {one.id: one for one in (row(text * 9, "episodic", at, heard=n) for text, at, n in made)}
    total, steps = sum(one.heard for one in rows.values()), 0
    while True:
        shuffled = list(rows.values())
        random.shuffle(shuffled)
        become = consolidated(rows.values(), 5 * DAY_MS)
        assert become == consolidated(shuffled, 5 * DAY_MS)
        if become is None:
            break
        for gone in become[1]:
            del rows[gone]
        rows[become[0].id] = become[0]
        steps += 1
    assert total >= sum(one.heard for one in rows.values())
    assert steps <= len(made)


@pytest.mark.spec("BIZ-15")
def test_time_takes_what_is_old_by_decisions() -> None:
    """A working passage is forgotten after its minutes, and the log says so: the view can still be rebuilt."""

    async def life(living: Living) -> None:
        one = Passage("working", "what matters now", PAGE, now_ms(living.world), 0)
        decided = await asked(living, RememberRequest("s", (one,), "", renews=False))
        assert isinstance(decided, Decided)
        assert 1 == (await settled(living, decided.index)).passages
        await living.world.sleep(WORKING_MS / 1_000 + 61)
        status = await settled(living, decided.index + 1)
        assert 0 == status.passages
        fresh = PlainPassages()
        await recall(fresh, living.operator, living.organism.runners["memory"].part.keys)  # type: ignore[attr-defined]
        assert status.digest == await digest_of(fresh)

    live_sim(life, mind())


# Cutting files


@pytest.mark.spec("BIZ-15")
@given(st.text(alphabet=st.sampled_from("a b#\n|`-ü.🙂"), max_size=400), st.integers(1, 60))
def test_a_passage_stands_in_its_file_word_for_word(text: str, times: int) -> None:
    """Whatever a file says, each passage is exactly the bytes that it names, in order, none of them twice."""
    raw = (text * times).encode()
    end = 0
    for one in cut(raw, "f.md", "semantic"):
        assert one.text.encode() == raw[one.origin.first : one.origin.end]
        assert end <= one.origin.first < one.origin.end
        assert len(one.text.encode()) <= PASSAGE_BYTES
        end = one.origin.end


@pytest.mark.spec("BIZ-15")
@given(st.text(alphabet="ab \n", max_size=3_000))
def test_no_word_is_left_out(text: str) -> None:
    """All that has a letter is in some passage."""
    said = "".join(one.text for one in cut(text.encode(), "f", "semantic"))
    assert sorted(c for c in text if not c.isspace()) == sorted(c for c in said if not c.isspace())


@pytest.mark.spec("BIZ-15")
def test_the_readme_is_cut_by_headings_and_rows(root: Path) -> None:
    """A row of the glossary is a passage of its own, under its heading; the rows above the rule are none."""
    passages = read_passages(root / "README.md", "README.md", "semantic")
    [nerve] = [one for one in passages if one.text.startswith("| nerve |")]
    assert "Nimmerverse › Glossary" == nerve.origin.heading
    assert [] == [one.text for one in passages if one.text == "| word | meaning |"]
    assert [root / "README.md"] == files_of([root / "README.md"])


@pytest.mark.spec("BIZ-15")
def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    """A folder without texts, a missing file and bytes that are no text are ConfigFaults with the path."""
    (tmp_path / "picture.md").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(ConfigFault, match=str(path)):
            files_of([path])
    with pytest.raises(ConfigFault, match=r"picture\.md"):
        read_passages(tmp_path / "picture.md", "p", "semantic")


# The command line


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which memory and cognition live, with somebody who says what texts mean."""
    home = Home.at(tmp_path_factory.mktemp("memory") / "alive", database_url=NO_DATABASE).keyed()
    parts = ("tests/grams_part.py", "organs.memory", "organs.cognition", "cells.math_cell")
    with home.up(*(word for part in parts for word in ("--part", part))):
        yield home


@pytest.mark.spec("BIZ-15", "NIM-17")
def test_a_page_is_added_searched_asked_about_verified_and_forgotten(alive: Home) -> None:
    """What a person does with memory: add a page, search it, ask about it, check it against the log, forget it."""
    [told] = alive.held("memory", "add", "README.md", "--json").documents
    assert (1, told["remembered"]) == (told["files"], told["passages"])
    entries = alive.held("replay").out
    [again] = alive.held("memory", "add", "README.md", "--json").documents
    assert (1, -1, told["remembered"]) == (again["unchanged"], again["index"], again["remembered"])
    assert "unchanged  README.md" in alive.held("memory", "add", "README.md").out
    assert entries == alive.held("replay").out
    assert "B012 NOT_COMPUTABLE: the question has no words; ask something" in alive.run("memory", "search", " ").err
    [far] = alive.held("memory", "search", "qqq zzz xxx", "--limit", "1", "--json").documents
    assert not far[0]["near"]
    assert "(an answer takes 0.36)" in alive.held("memory", "search", "qqq zzz xxx").out
    [found] = alive.held("memory", "search", "notary signs checkpoints of the log", "--limit", "2", "--json").documents
    assert "README.md" == found[0]["origin"]["name"]
    assert found[0]["similarity_ppm"] >= found[1]["similarity_ppm"]
    assert [one["similarity_ppm"] >= NEAR_PPM for one in found] == [one["near"] for one in found]
    raw = Path("README.md").read_bytes()
    assert all(raw[one["origin"]["first"] : one["origin"]["end"]].decode() == one["text"] for one in found)
    said = alive.held("ask", "notary: the organ that keeps the tree over the log and signs checkpoints of it").out
    assert "I quote what I hold:" in said
    assert "— README.md # Nimmerverse › Glossary, bytes" in said
    [nothing] = alive.held("ask", "--json", "qqq zzz xxx").documents
    assert ("nothing_held", "memory", []) == (nothing["decision"], nothing["engine"], nothing["quotes"])
    refused = alive.run("ask", "--how", "generate", "write a poem")
    assert (int(Exit.REFUSED), True) == (refused.code, "B011 NO_MODEL" in refused.out)
    assert "which is what the log says" in alive.held("memory", "verify").out
    [gone] = alive.held("memory", "forget", "--source", "README.md", "--json").documents
    assert (told["passages"], 0) == (gone["forgotten"], gone["remembered"])


@pytest.mark.spec("X-11", "BIZ-15")
def test_what_a_person_said_is_opened_here_alone(alive: Home, tmp_path: Path) -> None:
    """What is added about a person is listed sealed, its file's name too, and shown with the keys of this vault."""
    (tmp_path / "diary.txt").write_text("violets grow in her cellar")
    alive.held("memory", "add", str(tmp_path / "diary.txt"), "--person", "Ada")
    [row] = alive.held("memory", "list", "--source", "", "--json").documents[0]
    assert ("", "sealed", False) == (row["text"], row["origin"]["name"], "diary" in str(row))
    assert "violets grow in her cellar" in alive.held("memory", "search", "violets in the cellar", "--open").out


@pytest.mark.spec("BIZ-15")
def test_memory_that_is_not_what_the_log_says_is_found_out(alive: Home) -> None:
    """A row that somebody changed in Chroma's files makes `memory verify` end with 11, both digests and the remedy."""
    alive.held("memory", "add", "LICENSE")
    forged = "update embedding_metadata set string_value = 'forged' where key = 'origin_name'"
    forge(alive.folder / "dev" / "memory", forged)
    done = alive.run("memory", "verify", "--json")
    [told] = done.documents
    assert (int(Exit.TAMPERED), False) == (done.code, told["ok"])
    assert told["digest"] != told["rebuilt"]["digest"]
    assert "`nimmerverse memory rebuild`" in alive.run("memory", "verify").out
    assert "passages with digest" in alive.held("memory", "rebuild").out
    assert "which is what the log says" in alive.held("memory", "verify").out
    forge(alive.folder / "dev" / "memory", "delete from embedding_metadata where key = 'origin_name'")
    unread = alive.run("memory", "verify", "--json")
    assert (int(Exit.TAMPERED), "L006") == (unread.code, unread.documents[0]["refusal"]["code"])
