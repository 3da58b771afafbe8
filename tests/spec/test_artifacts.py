"""The artifacts organ and its commands: registered means stored, verified, signed and in the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from organs.artifacts import ArtifactsOrgan
from shared.artifacts import FolderStore, MemoryStore
from shared.codec import decode
from shared.errors import Exit, Refusal
from shared.message import Request, lookup
from shared.part import Part
from shared.subjects.artifacts import (
    ArchiveArtifact,
    ArtifactArchived,
    ArtifactRegistered,
    ArtifactStated,
    ArtifactStatus,
    RegisterArtifact,
)
from shared.subjects.system import Decided
from shared.world import RealWorld, World
from tests.commands import Home
from tests.organisms import Life, Living, live_nats, live_sim

MEDIA = "text/plain"
Live = Callable[[Life], None]


async def stream(content: bytes) -> AsyncIterator[bytes]:
    """A content as a stream."""
    yield content


def digest_of(content: bytes) -> str:
    """The name of a content."""
    return blake3(content).hexdigest()


@pytest.fixture(params=["sim", "nats"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live:
    """An organism of the artifacts organ alone: simulated with its memory, and on a real server with its folder."""
    if request.param == "sim":
        return lambda life: live_sim(life, lambda _: [ArtifactsOrgan(MemoryStore())])

    def make(world: World) -> list[Part]:
        return [ArtifactsOrgan(FolderStore(tmp_path / "artifacts", world))]

    return lambda life: live_nats(life, tmp_path / "home", make)


def store_in(living: Living) -> Any:  # noqa: ANN401 - whichever of the two
    """The store of the organism's organ."""
    organ = living.organism.runners["artifacts"].part
    assert isinstance(organ, ArtifactsOrgan)
    return organ.store


async def asked(living: Living, request: Request) -> Any:  # noqa: ANN401 - a reply or a refusal
    """The answer to a request."""
    return await living.operator.request(request)


async def events(living: Living, *classes: type[Any]) -> list[Any]:
    """Every admitted decision of these classes, in log order."""
    return [
        decode(cls, bytes(event.data))
        async for verdict in living.operator.replay()
        if (cls := lookup(verdict.entry.subject)) in classes
        for _, event in verdict.admitted()
    ]


@pytest.mark.spec("ILL-05")
def test_what_is_stored_is_registered_on_its_own_lane(live: Live) -> None:
    """A registration is an admitted decision on the digest's lane, with what the store read and what the maker said."""

    async def life(living: Living) -> None:
        content, parent = b"the weights", b"the data"
        for each in (content, parent):
            await store_in(living).put(stream(each), MEDIA)
        digest = digest_of(content)
        request = RegisterArtifact(digest, "checkpoint", "step 7", "trainer", [digest_of(parent)])
        answer = await asked(living, request)
        assert isinstance(answer, Decided)
        assert f"{living.operator.env}.organs.artifacts.event.{digest}.registered" == answer.subject_of_event
        said = (hashlib.sha256(content).hexdigest(), len(content), MEDIA)
        expected = ArtifactRegistered(digest, *said, "checkpoint", "step 7", "trainer", [digest_of(parent)])
        assert [expected] == await events(living, ArtifactRegistered)

    live(life)


@pytest.mark.spec("ILL-05", "COL-08")
def test_nothing_is_registered_that_is_not_there(live: Live) -> None:
    """Missing or damaged content, an unknown parent, itself as parent, no digest: refused, and the log has no word."""

    async def life(living: Living) -> None:
        store = store_in(living)
        digest, other = digest_of(b"content"), digest_of(b"never put")
        await store.put(stream(b"content"), MEDIA)
        for asked_for, code in (
            (RegisterArtifact(other, "model", "n", "m", []), "S002"),
            (RegisterArtifact(digest, "model", "n", "m", [other]), "S005"),
            (RegisterArtifact(digest, "model", "n", "m", [digest]), "S005"),
            (RegisterArtifact(digest, "model", "n", "m", ["../x"]), "S001"),
            (RegisterArtifact("../../etc/passwd", "model", "n", "m", []), "S001"),
            (RegisterArtifact(digest, "model", "n" * 1_001, "m", []), "B003"),
            (RegisterArtifact(digest, "model", "n", "m", [other] * 101), "B003"),
            (ArchiveArtifact(other, "old"), "S002"),
            (ArchiveArtifact(digest, ""), "B002"),
        ):
            answer = await asked(living, asked_for)
            assert isinstance(answer, Refusal)
            assert code == answer.code
        spoil(store, digest, b"c0ntent")
        for damaged in (RegisterArtifact(digest, "model", "n", "m", []), ArchiveArtifact(digest, "old")):
            answer = await asked(living, damaged)
            assert isinstance(answer, Refusal)
            assert "B009" == answer.code
            assert digest in answer.detail
        assert [] == await events(living, ArtifactRegistered, ArtifactArchived)

    live(life)


def spoil(store: Any, digest: str, content: bytes) -> None:  # noqa: ANN401 - whichever of the two
    """Change what is stored under a digest."""
    if isinstance(store, MemoryStore):
        store.contents[digest] = bytearray(content)
    else:
        (store.folder / "objects" / digest[:2] / digest / "content").write_bytes(content)


@pytest.mark.spec("ILL-05")
def test_retention_is_a_decision_with_its_reason(live: Live) -> None:
    """Archiving is a decision that repeats the digests; asked again the reason stays, and the bytes stay readable."""

    async def life(living: Living) -> None:
        content = b"an old checkpoint"
        put = await store_in(living).put(stream(content), MEDIA)
        await asked(living, RegisterArtifact(put.blake3, "checkpoint", "step 1", "trainer", []))
        for reason in ("superseded", "for no reason"):
            assert isinstance(await asked(living, ArchiveArtifact(put.blake3, reason)), Decided)
        expected = ArtifactArchived(put.blake3, put.sha256, put.size, "superseded")
        assert [expected, expected] == await events(living, ArtifactArchived)
        stated = await asked(living, ArtifactStatus(put.blake3, whole=True))
        assert ArtifactStated(put.blake3, "archived", put.sha256, put.size, MEDIA, "superseded") == stated

    live(life)


@pytest.mark.spec("ILL-05")
def test_the_status_says_what_is_there(live: Live) -> None:
    """Stored, missing and damaged are told apart; damage shows when every byte is asked for."""

    async def life(living: Living) -> None:
        store = store_in(living)
        put = await store.put(stream(b"content"), MEDIA)
        expected = ArtifactStated(put.blake3, "stored", put.sha256, 7, MEDIA, "")
        assert expected == await asked(living, ArtifactStatus(put.blake3, whole=True))
        assert "missing" == (await asked(living, ArtifactStatus("0" * 64, whole=True))).state
        spoil(store, put.blake3, b"c0ntent")
        assert expected == await asked(living, ArtifactStatus(put.blake3, whole=False))
        assert "damaged" == (await asked(living, ArtifactStatus(put.blake3, whole=True))).state

    live(life)


# The commands


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which the artifacts organ lives."""
    home = Home.at(tmp_path_factory.mktemp("artifacts") / "home").without_records().keyed()
    with home.up("--part", "organs.artifacts"):
        yield home


def stored(home: Home, digest: str) -> Path:
    """The file of a stored content."""
    (path,) = (home.folder / "dev" / "artifacts").glob(f"*/{digest[:2]}/{digest}/content")
    return path


def put(home: Home, tmp_path: Path, content: bytes, *words: str) -> Any:  # noqa: ANN401 - JSON
    """What `artifact put` says of a file with this content."""
    file = tmp_path / "file"
    file.write_bytes(content)
    [told] = home.held("artifact", "put", str(file), *words, "--json").documents
    return told


@pytest.mark.spec("ILL-05")
def test_a_file_goes_in_and_comes_out(home: Home, tmp_path: Path) -> None:
    """`put` names a file by its digest, `get` brings the same bytes back, to a file or to standard output."""
    content = b"some text\n" * 1_000
    told = put(home, tmp_path, content, "--holds", "dataset", "--name", "a set", "--media-type", MEDIA)
    assert (digest_of(content), 10_000, MEDIA, "pending") == tuple(
        told[key] for key in ("blake3", "size", "media_type", "proof")
    )
    out = tmp_path / "out"
    home.held("artifact", "get", told["blake3"], "--out", str(out))
    assert content == out.read_bytes()
    assert content.decode() == home.held("artifact", "get", told["blake3"], "--out", "-").out
    child = put(home, tmp_path, b"made of it", "--parent", told["blake3"])
    rows = {row["digest"]: row for row in home.held("artifact", "list", "--json").documents}
    assert ("sound", "a set") == (rows[told["blake3"]]["finding"], rows[told["blake3"]]["registered"]["name"])
    assert [told["blake3"]] == rows[child["blake3"]]["registered"]["parents"]
    assert ["file", "out"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.spec("ILL-05", "COL-08")
def test_a_flipped_byte_has_its_exit_code(home: Home, tmp_path: Path) -> None:
    """A flipped byte on the disk is found by `get`, which leaves no file, and by `verify`: both end with 11."""
    digest = put(home, tmp_path, b"precious")["blake3"]
    assert "sound" == home.held("artifact", "verify", digest, "--json").documents[0]["finding"]
    stored(home, digest).write_bytes(b"prec1ous")
    done = home.run("artifact", "get", digest, "--out", str(tmp_path / "out"))
    assert int(Exit.TAMPERED) == done.code
    assert digest in done.err
    assert ["file"] == [path.name for path in tmp_path.iterdir()]
    for words in ((digest,), ("--all",), ()):
        done = home.run("artifact", "verify", *words, "--json")
        assert int(Exit.TAMPERED) == done.code
        assert "damaged" in {row["finding"] for row in done.documents if row["digest"] == digest}
    assert digest == put(home, tmp_path, b"precious")["blake3"]
    assert "sound" == home.held("artifact", "verify", digest, "--json").documents[0]["finding"]


@pytest.mark.spec("ILL-05")
def test_what_is_gone_is_incomplete(home: Home, tmp_path: Path) -> None:
    """A registered content that the store lost ends `verify` with 12; one that was never known with 7."""
    digest = put(home, tmp_path, b"lost")["blake3"]
    folder = stored(home, digest).parent
    folder.rename(tmp_path / "taken")
    done = home.run("artifact", "verify", digest, "--json")
    assert (int(Exit.INCOMPLETE), "missing") == (done.code, done.documents[0]["finding"])
    (tmp_path / "taken").rename(folder)
    for words in (("verify", "0" * 64), ("get", "0" * 64), ("get", "../../etc/passwd"), ("verify", "x")):
        assert int(Exit.REFUSED) == home.run("artifact", *words).code
    assert int(Exit.CONFIG) == home.run("artifact", "put", str(tmp_path / "nothing")).code


@pytest.mark.spec("ILL-05")
def test_a_sheet_that_contradicts_the_log_is_found(home: Home, tmp_path: Path) -> None:
    """A media type changed in the store differs from what was registered: `verify` ends with 11."""
    digest = put(home, tmp_path, b"typed")["blake3"]
    sheet = stored(home, digest).with_name("sheet")
    text = sheet.read_bytes()
    sheet.write_bytes(msgspec.json.encode(msgspec.json.decode(text) | {"media_type": "text/html"}))
    done = home.run("artifact", "verify", digest, "--json")
    assert (int(Exit.TAMPERED), "differs") == (done.code, done.documents[0]["finding"])
    sheet.write_bytes(text)


@pytest.mark.spec("ILL-05")
def test_an_archived_artifact_is_still_provable(home: Home, tmp_path: Path) -> None:
    """`archive` moves the content into the archive with its reason; `verify` still reads all of it."""
    digest = put(home, tmp_path, b"outdated")["blake3"]
    home.held("artifact", "archive", digest, "--reason", "a better one is there")
    assert "archive" == stored(home, digest).parents[2].name
    [row] = home.held("artifact", "verify", digest, "--json").documents
    assert ("archived", "a better one is there") == (row["finding"], row["archived"])


@pytest.mark.spec("ILL-05")
def test_content_that_nobody_registered_is_named(home: Home) -> None:
    """What lies in the store without a word in the log is listed as such; it is no damage."""

    async def body() -> str:
        store = FolderStore(home.folder / "dev" / "artifacts", RealWorld("dev"))
        return (await store.put(stream(b"smuggled"), MEDIA)).blake3

    digest = asyncio.run(body())
    [row] = home.held("artifact", "verify", digest, "--json").documents
    assert ("unregistered", None) == (row["finding"], row["registered"])
