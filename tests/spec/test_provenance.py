"""Provenance: each post meets one fate, a corpus is batches under roots, and an ingest goes on where it was cut off."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from nerves.provenance import ProvenanceNerve
from nerves.provenance.nerve import Corpus, Nothing
from organs.provenance.desk import Desk
from organs.provenance.ingest import Ingest
from organs.provenance.language import detected, language_of
from organs.provenance.python_text import PythonText
from shared.codec import encode
from shared.corpus import Line, check_proved, read_batch
from shared.errors import BadProof, Refusal, Refused
from shared.log.batch import InclusionProof, record_leaf, verify_inclusion
from shared.message import Decision, registered
from shared.policy import Policies
from shared.subjects.provenance import (
    BatchSealed,
    BeginCorpus,
    CorpusBegun,
    CorpusFinished,
    CorpusStated,
    CorpusStatus,
    FinishCorpus,
    SealBatch,
    Tally,
)
from shared.subjects.system import Decided
from shared.vault import ManyPeople, MemoryStore
from shared.vault.records import kept_records, prove
from shared.world import SimWorld
from tests.corpora import RULES, Place, listed, post, written
from tests.ground import ENV, Founded, SimGround, play_sim
from tests.parts import own_metrics, stage

DIGEST, OTHER = "ab" * 32, "cd" * 32
SEAL = SealBatch("c", 0, DIGEST, DIGEST, DIGEST, 3, Tally(kept=2, toxic=1), 1, 0, 300)
ALL = {"language": "", "scorer": ""}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where a test's ingests take place."""
    return Place(tmp_path)


def decided(state: Corpus, message: BeginCorpus | SealBatch | FinishCorpus | CorpusStatus) -> object:
    """What the nerve says: one message, or its refusal."""
    _, said = ProvenanceNerve().decide(state, Nothing(), message, 0)
    return said if isinstance(said, Refusal) else said[0]


def after(*decisions: CorpusBegun | BatchSealed | CorpusFinished) -> Corpus:
    """The state that decisions lead to."""
    state = Corpus()
    for decision in decisions:
        state = ProvenanceNerve().evolve(state, decision)
    return state


BEGUN = CorpusBegun("c", RULES)
SEALED = BatchSealed("c", 0, DIGEST, DIGEST, DIGEST, 3, Tally(kept=2, toxic=1), 1, 0, 300)
FINISHED = CorpusFinished("c", 1, 3, Tally(kept=2, toxic=1), 1, 0, OTHER)


# The nerve


@pytest.mark.spec("COL-01")
def test_a_corpus_is_begun_sealed_and_finished() -> None:
    """Each step is one decision that says what was asked, and the totals are those of the batches."""
    assert BEGUN == decided(Corpus(), BeginCorpus("c", RULES))
    assert SEALED == decided(after(BEGUN), SEAL)
    assert FINISHED == decided(after(BEGUN, SEALED), FinishCorpus("c", 1, OTHER))


@pytest.mark.spec("COL-03")
def test_a_corpus_says_where_it_stands() -> None:
    """Before its beginning −1 batches; then the sums of what was sealed, and where the next batch begins."""
    nobody = CorpusStated("c", None, -1, 0, Tally(), 0, 0, 0, "")
    assert nobody == decided(Corpus(), CorpusStatus("c"))
    more = msgspec.structs.replace(SEALED, number=1, root=OTHER, next_offset=700, exposed=1)
    stated = CorpusStated("c", RULES, 2, 6, Tally(kept=4, toxic=2), 2, 1, 700, "")
    assert stated == decided(after(BEGUN, SEALED, more), CorpusStatus("c"))


@pytest.mark.spec("COL-03")
@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (after(BEGUN), BeginCorpus("c", RULES)),
        (after(BEGUN, SEALED), SEAL),
        (after(BEGUN, SEALED, FINISHED), SEAL),
        (after(BEGUN, SEALED, FINISHED), FinishCorpus("c", 1, OTHER)),
    ],
)
def test_the_same_again_changes_nothing(state: Corpus, asked: BeginCorpus | SealBatch | FinishCorpus) -> None:
    """Whoever asks for what stands already is told so, and nothing is decided."""
    answer = decided(state, asked)
    assert isinstance(answer, Decided)
    assert answer.duplicate


@pytest.mark.spec("COL-01", "COL-03")
@pytest.mark.parametrize(
    ("code", "state", "asked"),
    [
        ("C001", after(BEGUN), BeginCorpus("c", msgspec.structs.replace(RULES, keep_ppm=1))),
        ("C002", after(BEGUN, SEALED, FINISHED), BeginCorpus("c", RULES)),
        ("C002", after(BEGUN, SEALED, FINISHED), msgspec.structs.replace(SEAL, number=1)),
        ("C002", after(BEGUN, SEALED, FINISHED), FinishCorpus("c", 1, DIGEST)),
        ("C003", after(BEGUN), msgspec.structs.replace(SEAL, number=1)),
        ("C003", after(BEGUN, SEALED), msgspec.structs.replace(SEAL, root=OTHER)),
        ("C003", after(BEGUN, SEALED), FinishCorpus("c", 2, OTHER)),
        ("C003", after(BEGUN), FinishCorpus("c", 0, OTHER)),
        ("C007", Corpus(), SEAL),
        ("C007", Corpus(), FinishCorpus("c", 1, OTHER)),
        ("B002", Corpus(), BeginCorpus("c", msgspec.structs.replace(RULES, licence=" "))),
        ("B002", after(BEGUN), msgspec.structs.replace(SEAL, posts=4)),
        ("B002", after(BEGUN), msgspec.structs.replace(SEAL, posts=1_001, tally=Tally(kept=1_001))),
        ("B002", after(BEGUN), msgspec.structs.replace(SEAL, tally=Tally(kept=4, toxic=-1))),
        ("B002", after(BEGUN), msgspec.structs.replace(SEAL, personal=4)),
        ("B002", after(BEGUN), msgspec.structs.replace(SEAL, root="AB" * 32)),
        ("B002", after(BEGUN, SEALED), msgspec.structs.replace(SEAL, number=1, next_offset=299)),
    ],
)
def test_what_cannot_be_is_refused_by_name(code: str, state: Corpus, asked: SealBatch) -> None:
    """Other rules, a finished corpus, a batch out of turn, a corpus nobody began, and what is no batch."""
    answer = decided(state, asked)
    assert isinstance(answer, Refusal)
    assert code == answer.code


@pytest.mark.spec("COL-01")
def test_its_decisions_come_out_again_from_their_evidence() -> None:
    """Decided again from what was recorded, each decision is the same, byte for byte."""
    nerve = ProvenanceNerve()
    for state, asked, made in (
        (Corpus(), BeginCorpus("c", RULES), BEGUN),
        (after(BEGUN), SEAL, SEALED),
        (after(BEGUN, SEALED), FinishCorpus("c", 1, OTHER), FINISHED),
    ):
        evidence = nerve.evidence(Nothing(), asked, bytes(16), 0)
        assert [encode(made)] == nerve.decide_again(state, evidence, registered())


@pytest.mark.spec("COL-02", "COL-12", "X-06")
@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({"keep_ppm": 300_001}, "toxicity: TOO_HIGH (found 300001, <= 300000)"),
        ({"keep_ppm": 1_000_000}, "toxicity: TOO_HIGH"),
        ({"policy": ""}, "policy: OTHER (found ''"),
        ({"policy": DIGEST}, "policy: OTHER (found 'abababababababab'"),
        ({"policy": "", "scorer": "", "keep_ppm": 1_000_000}, "policy: OTHER"),
    ],
)
def test_a_corpus_begins_by_the_policy_alone(changed: dict[str, Any], row: str) -> None:
    """Whoever asks, a limit that the policy does not set, and other policies than the nerve's, are refused Q004."""
    answer = decided(Corpus(), BeginCorpus("c", msgspec.structs.replace(RULES, **changed)))
    assert isinstance(answer, Refusal)
    assert ("Q004", True) == (answer.code, row in answer.detail), answer


@pytest.mark.spec("COL-01", "COL-12")
@pytest.mark.parametrize(
    "changed", [{"scorer": ""}, {"reader": "trails", "scorer": "", "language": ""}, {"language": ""}, {"keep_ppm": 0}]
)
def test_what_the_policy_allows_is_begun(changed: dict[str, Any]) -> None:
    """A corpus that nothing scores says so; trails, any language and a stricter limit are allowed too."""
    intake = msgspec.structs.replace(RULES, **changed)
    assert CorpusBegun("c", intake) == decided(Corpus(), BeginCorpus("c", intake))


# Fates


@pytest.mark.spec("COL-01", "COL-03")
def test_every_post_meets_one_fate_that_is_recorded(place: Place, tmp_path: Path) -> None:
    """Kept up to the limit and not beyond, empty, another language, a duplicate: each with its score, in order."""
    posts = [
        post(1),
        post(2, "that is so bad and so bad"),
        post(3, "that is so bad and so bad and so bad"),
        post(4, "   "),
        post(5, "das ist nicht die Sprache, die hier bleiben darf"),
        post(6, "two words", lang="de"),
        post(7, "zwei", lang="en"),
        post(1),
    ]
    ended = place.ingest(written(tmp_path / "posts.jsonl", posts))
    found = [(one.id, one.fate, one.score_ppm) for one in place.records(ended.stated.dataset)]
    assert [
        ("post-1", "kept", 0),
        ("post-2", "kept", 300_000),
        ("post-3", "toxic", 450_000),
        ("post-4", "empty", None),
        ("post-5", "language", None),
        ("post-6", "language", None),
        ("post-7", "kept", 0),
        ("post-1", "duplicate", None),
    ] == found
    assert Tally(kept=3, toxic=1, language=2, empty=1, duplicate=1) == ended.stated.tally


@pytest.mark.spec("COL-01", "COL-12")
def test_the_policy_would_keep_exactly_what_is_kept(place: Place, tmp_path: Path) -> None:
    """Around the limit, with a language and without, the fate of a post is the policy's own word on it."""
    texts = ["is it bad", "bad bad so it is", "bad bad bad so it is", " ", "bad das ist nicht so bad"]
    posts = [post(n, text, **more) for n, text in enumerate(texts) for more in ({},)]
    ended = place.ingest(written(tmp_path / "posts.jsonl", posts))
    by_id = {one.id: one for one in place.records(ended.stated.dataset)}
    for n, text in enumerate(texts):
        input_ = {
            "scored": True,
            "toxicity_ppm": 150_000 * text.split().count("bad"),
            "keep_ppm": RULES.keep_ppm,
            "language": language_of(text, None),
            "wanted_language": "en",
            "characters": len(text.strip()),
        }
        judged = Policies.shipped().evaluate("nimmerverse.data_quality", input_)
        assert judged.allowed == (by_id[f"post-{n}"].fate == "kept"), text


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "the cat sat on the mat and it was not amused"),
        ("de", "das ist nicht das, was wir mit dir machen wollen"),
        ("fr", "ce n'est pas dans les rues que nous sommes avec vous"),
        ("es", "esto no es lo que los chicos quieren para el futuro"),
        ("it", "questo non è quello che gli altri hanno fatto con noi"),
        ("pt", "isso não é o que eles têm para nós, mas eu também"),
        ("nl", "dat is niet wat wij met jullie zijn gaan doen, maar het kan"),
        ("und", "Это не то, что мы хотели"),
        ("und", "これは日本語です"),
        ("und", "x = y + 1"),
        ("und", ""),
    ],
)
def test_small_words_tell_a_language(language: str, text: str) -> None:
    """A sentence of each known language is told by its small words; what nobody can tell is `und`."""
    assert language == detected(text)


@pytest.mark.spec("COL-01")
def test_what_the_source_says_of_the_language_counts_first() -> None:
    """A region is passed over, and `und` says nothing."""
    assert ("de", "en", "en") == tuple(language_of("the end of it", said) for said in ("de-AT", "en_GB", "und"))


# Batches, resumed


@pytest.mark.spec("COL-04")
def test_a_batch_is_a_thousand_posts_under_one_root(place: Place, tmp_path: Path) -> None:
    """2,500 posts are three batches; each root commits to every record, under salts that lie beside them."""
    ended = place.ingest(written(tmp_path / "posts.jsonl", [post(n) for n in range(2_500)]))
    assert [1_000, 1_000, 500] == [one.posts for one in place.manifest(ended.stated.dataset).batches]
    assert [f"post-{n}" for n in range(2_500)] == [one.id for one in place.records(ended.stated.dataset)]
    lines = asyncio.run(read_batch(place.store, listed(place, ended.stated.dataset, 2).records))
    line = lines[7]
    assert line.leaf == record_leaf(bytes.fromhex(line.salt or ""), bytes(line.record)).hex()
    assert len({one.salt for one in lines}) == len(lines)


@pytest.mark.spec("COL-03")
@pytest.mark.parametrize("cut", [0, 999, 1_000, 1_001, 2_300])
def test_an_ingest_goes_on_where_it_was_cut_off(place: Place, tmp_path: Path, cut: int) -> None:
    """A bad line ends it after the batches before; mended, the same command ends as if nothing had been."""
    posts = [post(n) for n in range(2_500)]
    whole = written(tmp_path / "posts.jsonl", posts)
    (tmp_path / "calm" / "c").mkdir(parents=True, mode=0o700)
    calm = Place(tmp_path / "calm")
    expected = calm.roots(calm.ingest(whole).stated.dataset)
    (place.folder / "c").mkdir(mode=0o700)
    (place.folder / "c" / "salts").write_bytes((tmp_path / "calm" / "c" / "salts").read_bytes())
    lines = whole.read_bytes().splitlines(keepends=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"".join([*lines[:cut], b'{"id": "broken", "text": \xff}\n', *lines[cut:]]))
    with pytest.raises(Refused, match=rf"C004.*line {cut + 1}\)"):
        place.ingest(broken)
    assert cut // 1_000 * 1_000 == sum(place.told[-1:])
    ended = place.ingest(whole)
    assert expected == place.roots(ended.stated.dataset)


@pytest.mark.spec("COL-03")
def test_a_lost_cache_is_built_again(place: Place, tmp_path: Path) -> None:
    """Without its file, or with another in its place, a duplicate of an earlier run is found all the same."""
    posts = [post(n, author=f"@somebody{n % 7}" if n % 2 else None) for n in range(1_200)]
    path = written(tmp_path / "posts.jsonl", [*posts, {"id": 5}])
    for spoil in (b"", b"this is no database at all, but something else" * 100):
        with pytest.raises(Refused, match="C004"):
            place.ingest(path)
        for file in (place.folder / "c").glob("seen.sqlite*"):
            file.unlink()
        if spoil:
            (place.folder / "c" / "seen.sqlite").write_bytes(spoil)
    ended = place.ingest(written(path, [*posts, posts[0], posts[1]]))
    assert (1_200, 2) == (ended.stated.tally.kept, ended.stated.tally.duplicate)


@pytest.mark.spec("COL-03")
def test_an_id_with_another_text_is_refused(place: Place, tmp_path: Path) -> None:
    """In one batch or in two, and nothing of the batch is sealed."""
    for corpus, gap in (("near", 0), ("far", 1_500)):
        between = [post(n) for n in range(10, 10 + gap)]
        path = written(tmp_path / "posts.jsonl", [post(1), *between, post(1, "another one than that was")])
        with pytest.raises(Refused, match="C006"):
            place.ingest(path, corpus)


@pytest.mark.spec("COL-03")
def test_a_finished_corpus_is_only_told_again(place: Place, tmp_path: Path) -> None:
    """The same command says the same dataset; other rules are refused, and so is a file that became shorter."""
    path = written(tmp_path / "posts.jsonl", [post(n) for n in range(10)])
    ended = place.ingest(path)
    assert (ended.stated, True) == (place.ingest(path).stated, ended.finished)
    for more in ([post(10)], [post(3, "another one than that was")]):
        with pytest.raises(Refused, match=r"C002.*--corpus NAME"):
            place.ingest(written(tmp_path / "posts.jsonl", [*(post(n) for n in range(10)), *more]))
    written(path, [post(n) for n in range(10)])
    with pytest.raises(Refused, match="C001"):
        place.ingest(path, intake=msgspec.structs.replace(RULES, language="de"))
    cut = written(tmp_path / "cut.jsonl", [*(post(n) for n in range(1_100)), {"id": 1}])
    with pytest.raises(Refused, match="C004"):
        place.ingest(cut, "cut")
    with pytest.raises(Refused, match="C003"):
        place.ingest(path, "cut")


@pytest.mark.spec("COL-01")
def test_who_does_not_answer_is_said_by_name(place: Place, tmp_path: Path) -> None:
    """Without anybody who anchors or registers, the corpus is finished, and both are told."""
    ended = place.ingest(written(tmp_path / "posts.jsonl", [post(n) for n in range(1_001)]))
    assert ended.finished
    assert 2 == ended.unanchored
    assert ended.registered is not None
    assert "B006" == ended.registered.code
    assert "lifecycle.datasets.register" in ended.registered.detail


@pytest.mark.spec("COL-01")
def test_a_fresh_machine_has_real_text(place: Place, tmp_path: Path) -> None:
    """What CPython says of its own language: English by paragraphs, nobody named in it."""
    place.world.elapsed_s()
    intake = msgspec.structs.replace(RULES, reader="text", source="CPython", licence="PSF-2.0")

    async def opened(offset: int) -> PythonText:
        return PythonText(offset)

    plan = replace(place.plan(tmp_path / "none", "python", intake), open=opened)
    ended = asyncio.run(Ingest(plan, place.ports(), lambda _: None).run())
    kept = [one for one in place.records(ended.stated.dataset) if one.fate == "kept"]
    assert len(kept) > 1_500
    assert 0 == ended.stated.exposed
    assert any("generator" in (one.text or "") for one in kept)


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        ("ask @somebody about it", 1),
        ("it was sent to ada@example.org", 1),
        ("call 718-622-0221 or +44 20 7946 0958", 1),
        ("it costs 1,234,567,890 in 2012-2013", 0),
        ("we meet @ 5 and that is it", 0),
    ],
)
def test_posts_of_nobody_that_name_somebody_are_counted(place: Place, tmp_path: Path, text: str, exposed: int) -> None:
    """A handle, an address of mail, a number to call; what is none of them is not counted."""
    ended = place.ingest(written(tmp_path / "posts.jsonl", [post(1, text)]))
    assert exposed == ended.stated.exposed


# Proofs


@pytest.mark.spec("COL-04")
def test_any_post_is_proved_against_the_signed_root(place: Place, tmp_path: Path) -> None:
    """First, last, kept or dropped: the proof holds with the log's root and fails with any other."""
    posts = [post(n, "bad bad bad is that" if n % 5 == 0 else None) for n in range(1_007)]
    ended = place.ingest(written(tmp_path / "posts.jsonl", posts))
    assert isinstance(place.desk, Desk)
    sealed = asyncio.run(place.desk.sealed("c"))
    for number in (0, 3, 999, 1_000, 1_006):
        proved = asyncio.run(prove(place.store, ended.stated.dataset, f"post-{number}", place.people))
        root = bytes.fromhex(sealed[number // 1_000].root)
        path = InclusionProof(proved.index, proved.size, tuple(map(bytes.fromhex, proved.path)))
        verify_inclusion(root, proved.size, proved.index, bytes.fromhex(proved.leaf), path)
        assert posts[number]["text"] == json.loads(proved.record)["text"]
        for wrong in (
            msgspec.structs.replace(proved, record=proved.record.replace("post", "past")),
            msgspec.structs.replace(proved, root=DIGEST),
            msgspec.structs.replace(proved, salt=DIGEST),
            msgspec.structs.replace(proved, path=[*proved.path, DIGEST]),
        ):
            with pytest.raises(BadProof):
                check_proved(wrong)
    with pytest.raises(Refused, match="C008"):
        asyncio.run(prove(place.store, ended.stated.dataset, "post-1007", place.people))


@pytest.mark.spec("COL-04")
@pytest.mark.parametrize("what", ["record", "leaf", "fate", "order", "short"])
def test_a_batch_that_was_changed_is_not_believed(place: Place, tmp_path: Path, what: str) -> None:
    """Another text, leaf, fate or order, or a record less: whoever reads the dataset is refused."""
    ended = place.ingest(written(tmp_path / "posts.jsonl", [post(n) for n in range(5)]))
    manifest = place.manifest(ended.stated.dataset)
    lines = asyncio.run(read_batch(place.store, manifest.batches[0].records))
    match what:
        case "record":
            raw = msgspec.Raw(bytes(lines[1].record).replace(b"number 1", b"number 9"))
            lines[1] = msgspec.structs.replace(lines[1], record=raw)
        case "leaf":
            lines[1] = msgspec.structs.replace(lines[1], leaf=lines[2].leaf)
        case "fate":
            lines[1], lines[2] = (msgspec.structs.replace(line, score_ppm=7) for line in lines[1:3])
        case "order":
            lines[1], lines[2] = lines[2], lines[1]
        case _:
            lines.pop()
    changed = place_of(place, lines)
    batch = msgspec.structs.replace(manifest.batches[0], records=changed)
    other = put(place, msgspec.structs.replace(manifest, batches=[batch]).bytes())
    with pytest.raises(Refused, match="D005"):
        place.records(other)


def place_of(place: Place, lines: list[Line]) -> str:
    """Put a batch's artifact with these lines, and return its digest."""
    return put(place, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def put(place: Place, raw: bytes) -> str:
    """Put a content, and return its digest."""

    async def stored() -> str:
        async def pieces():  # noqa: ANN202 - an iterator over one piece
            yield raw

        return (await place.store.put(pieces(), "application/json")).blake3

    return asyncio.run(stored())


@pytest.mark.spec("COL-04")
@pytest.mark.parametrize("raw", [b"", b"{}", b"[1, 2]", b'{"kind": "posts"}'])
def test_what_is_no_manifest_is_refused(place: Place, raw: bytes) -> None:
    """Any artifact may be named as a dataset; one that is none is D005."""
    with pytest.raises(Refused, match="D005"):
        place.records(put(place, raw))


# Persons


@pytest.mark.spec("X-11")
def test_a_post_of_a_person_is_sealed_under_their_key(place: Place, tmp_path: Path) -> None:
    """Neither name nor text stands in what is kept, and whoever has the keys reads it; one person is one pseudonym."""
    posts = [post(n, f"the secret of post {n}", author="@ada" if n % 2 else "@bob", lang="en") for n in range(6)]
    long = "so it goes on and on " * 3_000
    posts.append(post(99, long, author="@ada"))
    ended = place.ingest(written(tmp_path / "posts.jsonl", posts))
    contents = (ended.stated.dataset, listed(place, ended.stated.dataset, 0).records)
    kept = b"".join(asyncio.run(whole(place, digest)) for digest in contents)
    assert b"secret" not in kept
    assert b"@ada" not in kept
    found = place.records(ended.stated.dataset)
    assert [one["text"] for one in posts] == [one.text for one in found]
    assert 2 == len({one.author for one in found})
    assert 7 == ended.stated.personal


async def whole(place: Place, digest: str) -> bytes:
    """A content of the store."""
    return b"".join([piece async for piece in place.store.open(digest)])


@pytest.mark.spec("X-11")
def test_an_erased_person_is_gone_and_every_proof_holds(place: Place, tmp_path: Path) -> None:
    """Their records answer where they were erased, their leaves and their neighbours' are proved, the rest is read."""
    posts = [post(n, author="@ada" if n == 3 else "@bob" if n == 4 else None) for n in range(6)]
    ended = place.ingest(written(tmp_path / "posts.jsonl", posts))
    dataset = ended.stated.dataset

    async def erased() -> None:
        person = await place.people.find("@ada")
        await place.people.erase(person, 12, 0)
        await place.people.complete(person, 15, 1)

    asyncio.run(erased())
    found = place.records(dataset)
    assert "erased at (15, 1)" in found[3].erased
    assert [None if n == 3 else one["text"] for n, one in enumerate(posts)] == [one.text for one in found]

    async def learned() -> list[str]:
        return [one.id async for one in kept_records(place.store, dataset, place.people)]

    assert [f"post-{n}" for n in range(6) if n != 3] == asyncio.run(learned())
    for number in range(6):
        proved = asyncio.run(prove(place.store, dataset, f"post-{number}", place.people))
        check_proved(proved)
        assert (number == 3) == ("erased at (15, 1)" in proved.erased)
        assert (number == 3) == (proved.record == "" == proved.salt)


@pytest.mark.spec("X-11")
def test_an_erasure_in_the_middle_of_an_ingest_is_respected(place: Place, tmp_path: Path) -> None:
    """No key is used after it; whoever writes under that name again is somebody else, and a repeat is a duplicate."""
    first = [post(n, author="@ada") for n in range(1_000)]
    with pytest.raises(Refused, match="C004"):
        place.ingest(written(tmp_path / "posts.jsonl", [*first, {"id": 1}]))
    old = asyncio.run(place.people.find("@ada"))
    asyncio.run(place.people.erase(old, 3, 0))
    ended = place.ingest(written(tmp_path / "posts.jsonl", [*first, post(2_000, author="@ada"), first[0]]))
    found = place.records(ended.stated.dataset)
    assert {old.hex()} == {one.author for one in found[:1_000]}
    assert all(one.erased for one in found[:1_000])
    assert [("kept", post(2_000)["text"]), ("duplicate", first[0]["text"])] == [(o.fate, o.text) for o in found[1_000:]]
    assert old.hex() not in {one.author for one in found[1_000:]}


@pytest.mark.spec("X-11")
@settings(max_examples=30)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40), times=st.sampled_from([1, 200, 900]))
def test_a_sealed_text_comes_back_whatever_it_is(text: str, times: int) -> None:
    """Sealed in one piece or in many, cut inside no character, the same each time."""
    many = ManyPeople(MemoryStore(), SimWorld("dev", 3).entropy)
    with many.held():
        keys = many.named("@ada")
        sealed = keys.seal(b"1", text * times)
        assert text * times == keys.open(sealed)
        assert sealed == keys.seal(b"1", text * times)
        assert len(sealed) == len(set(sealed))
        assert not text or sealed != keys.seal(b"2", text * times)


@pytest.mark.spec("COL-01")
def test_the_nerve_decides_nothing_of_another_corpus() -> None:
    """Each message is about the corpus that it names, and every decision stands on that lane."""
    nerve = ProvenanceNerve()
    for asked, state in ((BeginCorpus("c", RULES), Corpus()), (SEAL, after(BEGUN))):
        made = decided(state, asked)
        assert isinstance(made, Decision)
        assert "c" == nerve.entity(asked) == getattr(made, made.entity_field())
    assert 32 == len(blake3(encode(SEAL)).digest())


@pytest.mark.spec("COL-13", "COL-01")
def test_sealed_batches_are_counted() -> None:
    """The nerve tells Prometheus the batches of all its corpora, each once, however often somebody asks to seal it."""

    async def body(ground: SimGround) -> None:
        async with stage(ground) as here:
            signer = await (await Founded.on(ground)).introduce("provenance", f"{ENV}.provenance.corpus.>")
            runner = await here.carry(ProvenanceNerve(), [signer])
            desk = await here.asker()
            assert {("provenance_batches_total", ""): 0} == own_metrics(runner)
            for corpus in ("one", "other"):
                seal = msgspec.structs.replace(SEAL, corpus=corpus)
                more = msgspec.structs.replace(seal, number=1, next_offset=400)
                for request in (BeginCorpus(corpus, RULES), seal, seal, more):
                    assert isinstance(await desk.request(request), Decided)
            assert {("provenance_batches_total", ""): 4} == own_metrics(runner)

    play_sim(body)
