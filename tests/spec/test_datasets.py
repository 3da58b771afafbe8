"""The datasets organ: facts are said once, content is read again, and what stands against a dataset has a name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from organs.anchor import AnchorOrgan
from organs.datasets import DatasetsOrgan
from shared.artifacts import ArtifactStore, FolderStore, MemoryStore
from shared.codec import decode
from shared.corpus import MANIFEST_MEDIA_TYPE, Manifest, batch_of, line_of, read_manifest
from shared.corpus.batches import Content, encode_line
from shared.errors import Refusal
from shared.message import Request, lookup
from shared.part import Part
from shared.subjects.anchor import AnchorRequest, AnchorStatus
from shared.subjects.datasets import (
    ApproveDataset,
    DatasetApproved,
    DatasetRegistered,
    DatasetStated,
    DatasetStatus,
    DatasetVerified,
    RegisterDataset,
    VerifyDataset,
)
from shared.subjects.system import Decided
from shared.world import SimWorld, World
from tests.organisms import Life, Living, live_nats, live_sim
from tests.trainings import facts, pieces, stored

Live = Callable[[Life], None]
TEXTS = [f"a post with number {number}" for number in range(1_200)]


@pytest.fixture(params=["sim", "nats"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live:
    """An organism of datasets and anchors: simulated in memory, and on a real server with a folder."""
    if request.param == "sim":

        def simulated(world: World) -> list[Part]:
            assert isinstance(world, SimWorld)
            return [AnchorOrgan.simulate(world.fork("anchor")), DatasetsOrgan(MemoryStore(), None)]

        return lambda life: live_sim(life, simulated)

    def make(world: World) -> list[Part]:
        store = FolderStore(tmp_path / "artifacts", world)
        return [AnchorOrgan.simulate(SimWorld("dev", 7)), DatasetsOrgan(store, None)]

    return lambda life: live_nats(life, tmp_path / "home", make)


def organ_in(living: Living) -> DatasetsOrgan:
    """The organ of an organism."""
    organ = living.organism.runners["datasets"].part
    assert isinstance(organ, DatasetsOrgan)
    return organ


async def asked(living: Living, request: Request) -> Any:  # noqa: ANN401 - a reply or a refusal
    """The answer to a request."""
    return await living.operator.request(request, 20.0)


async def events(living: Living, *classes: type[Any]) -> list[Any]:
    """Every admitted decision of these classes, in log order."""
    return [
        decode(cls, bytes(event.data))
        async for verdict in living.operator.replay()
        if (cls := lookup(verdict.entry.subject)) in classes
        for _, event in verdict.admitted()
    ]


async def registering(store: ArtifactStore, dataset: str, **changed: Any) -> RegisterDataset:  # noqa: ANN401 - facts
    """The request that registers a stored corpus by what its manifest says."""
    known, manifest = await store.stat(dataset), await read_manifest(store, dataset)
    intake = manifest.intake
    said = {"corpus": manifest.corpus, "licence": intake.licence, "restrictions": intake.restrictions}
    about = facts(manifest.kind, **(said | {"records": manifest.kept} | changed))
    return RegisterDataset(dataset, known.sha256, known.size, about)


def refused(answer: object) -> str:
    """The code of a refusal."""
    assert isinstance(answer, Refusal), answer
    return answer.code


@pytest.mark.spec("ILL-03")
def test_what_is_said_of_a_dataset_is_said_once(live: Live) -> None:
    """The same facts again are where they stand already; other facts are refused, and the log has one registration."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        request = await registering(store, await stored(store, TEXTS))
        first = await asked(living, request)
        again = await asked(living, request)
        assert isinstance(first, Decided)
        assert isinstance(again, Decided)
        assert (first.index, first.offset, first.id) == (again.index, again.offset, again.id)
        assert (False, True) == (first.duplicate, again.duplicate)
        other = msgspec.structs.replace(request, facts=msgspec.structs.replace(request.facts, name="another"))
        assert refused(await asked(living, other)) == "D001"
        expected = DatasetRegistered(request.dataset, request.sha256, request.size_bytes, request.facts)
        assert [expected] == await events(living, DatasetRegistered)

    live(life)


@pytest.mark.spec("ILL-03", "X-12")
def test_nothing_is_registered_that_is_not_what_is_said(live: Live) -> None:
    """Missing content, another size or digest, facts that the manifest contradicts, bad names: refused by name."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        request = await registering(store, await stored(store, TEXTS[:50]))
        change = msgspec.structs.replace
        about = request.facts
        for asked_for, code in (
            (change(request, dataset="0" * 64), "S002"),
            (change(request, dataset="../etc"), "S001"),
            (change(request, size_bytes=7), "D005"),
            (change(request, sha256="0" * 64), "D005"),
            (change(request, facts=change(about, licence="MIT")), "D006"),
            (change(request, facts=change(about, records=about.records + 1)), "D006"),
            (change(request, facts=change(about, corpus="another")), "D006"),
            (change(request, facts=change(about, restrictions=["none, really"])), "B002"),
            (change(request, facts=change(about, name=" ")), "B002"),
            (change(request, facts=change(about, sources=["x"])), "S001"),
        ):
            assert code == refused(await asked(living, asked_for))
        assert [] == await events(living, DatasetRegistered)

    live(life)


@pytest.mark.spec("ILL-03")
def test_a_derivative_names_what_it_was_derived_from(live: Live) -> None:
    """Where a manifest says that it was read from another dataset, whoever registers it says so too."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        source = await stored(store, TEXTS[:50])
        manifest = await read_manifest(store, source)
        intake = msgspec.structs.replace(manifest.intake, reader="dataset", source=source)
        raw = msgspec.structs.replace(manifest, intake=intake).bytes()
        derived = (await store.put(pieces(raw), MANIFEST_MEDIA_TYPE)).blake3
        assert "D006" == refused(await asked(living, await registering(store, derived)))
        assert isinstance(await asked(living, await registering(store, derived, sources=[source])), Decided)

    live(life)


@pytest.mark.spec("ILL-03", "COL-05")
def test_a_dataset_is_read_again_whole(live: Live) -> None:
    """A sound dataset verifies with its batches and records; an anchor over the whole is worth that for every batch."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        request = await registering(store, await stored(store, TEXTS))
        await asked(living, request)
        await asked(living, VerifyDataset(request.dataset, "boundary"))
        status = await asked(living, AnchorRequest(bytes.fromhex(request.sha256), "dataset"))
        assert isinstance(status, AnchorStatus)
        await asked(living, VerifyDataset(request.dataset, "boundary"))
        before, after = await events(living, DatasetVerified)
        expected = DatasetVerified(
            request.dataset, "boundary", 2, 1_200, merkle_valid=True, anchor="none", anchored=True, erased=0, detail=""
        )
        assert expected == before
        assert msgspec.structs.replace(expected, anchor=status.state) == after
        assert after.anchor != "none"
        assert "D002" == refused(await asked(living, VerifyDataset("0" * 64, "")))

    live(life)


@pytest.mark.spec("ILL-03", "COL-04")
def test_a_dataset_that_was_changed_is_found_and_may_not_teach(tmp_path: Path) -> None:
    """A flipped byte in a batch is decided as D005 by name, and from then on the dataset stands blocked."""

    def make(world: World) -> list[Part]:
        store = FolderStore(tmp_path / "artifacts", world)
        return [AnchorOrgan.simulate(SimWorld("dev", 7)), DatasetsOrgan(store, None)]

    async def life(living: Living) -> None:
        store = organ_in(living).store
        request = await registering(store, await stored(store, TEXTS[:50]))
        await asked(living, request)
        [listed] = (await read_manifest(store, request.dataset)).batches
        [file] = [p for p in (tmp_path / "artifacts").rglob("*") if p.is_file() and listed.records[8:] in str(p)][:1]
        raw = await asyncio.to_thread(file.read_bytes)
        file.chmod(0o600)
        await asyncio.to_thread(file.write_bytes, raw[:100] + bytes([raw[100] ^ 1]) + raw[101:])
        await asked(living, VerifyDataset(request.dataset, ""))
        [verified] = await events(living, DatasetVerified)
        assert not verified.merkle_valid
        assert verified.detail.startswith("D005")
        assert ["changed"] == (await asked(living, DatasetStatus(request.dataset))).blocked

    live_nats(life, tmp_path / "home", make)


@pytest.mark.spec("ILL-03", "COL-04")
def test_a_manifest_that_lists_another_root_never_verifies(live: Live) -> None:
    """Batches whose leaves do not lead to the listed root are found, though every digest of the store is right."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        sound = await read_manifest(store, await stored(store, TEXTS[:50]))
        [listed] = sound.batches
        forged = msgspec.structs.replace(sound, batches=[msgspec.structs.replace(listed, root="0" * 64)])
        dataset = (await store.put(pieces(forged.bytes()), "application/json")).blake3
        await asked(living, await registering(store, dataset))
        await asked(living, VerifyDataset(dataset, ""))
        [verified] = await events(living, DatasetVerified)
        assert (False, True) == (verified.merkle_valid, "leaves of batch 0" in verified.detail)

    live(life)


@pytest.mark.spec("ILL-03", "ILL-08")
def test_what_stands_against_a_dataset_is_approved_by_name(live: Live) -> None:
    """Personal data, a licence and a restriction block until each is approved, by somebody, for a reason."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        dataset = await restricted(store)
        await asked(living, await registering(store, dataset, pii="sealed"))
        concerns = ["licence:CC-BY-NC-4.0", "restriction:no-training", "pii"]
        stated = await asked(living, DatasetStatus(dataset))
        assert isinstance(stated, DatasetStated)
        assert sorted(concerns) == sorted(stated.blocked)
        approve = ApproveDataset(dataset, ["pii"], "a safety lead", "sealed under each person's key")
        for wrong, code in (
            (msgspec.structs.replace(approve, concerns=["licence:MIT"]), "D003"),
            (msgspec.structs.replace(approve, concerns=[]), "D003"),
            (msgspec.structs.replace(approve, concerns=["use:evaluate"]), "D003"),
            (msgspec.structs.replace(approve, reason=" "), "B002"),
            (msgspec.structs.replace(approve, by=""), "B002"),
            (msgspec.structs.replace(approve, dataset="0" * 64), "D002"),
        ):
            assert code == refused(await asked(living, wrong))
        await asked(living, approve)
        assert sorted(concerns[:2]) == sorted((await asked(living, DatasetStatus(dataset))).blocked)
        await asked(living, msgspec.structs.replace(approve, concerns=concerns[:2]))
        stated = await asked(living, DatasetStatus(dataset))
        assert ([], sorted(concerns)) == (stated.blocked, sorted(stated.approved))
        assert 2 == len(await events(living, DatasetApproved))
        restarted = DatasetsOrgan(store, None)
        await restarted.open(living.operator)
        assert [stated] == await restarted.on_status(DatasetStatus(dataset))

    live(life)


@pytest.mark.spec("ILL-03", "ILL-06")
def test_what_measures_never_teaches(live: Live) -> None:
    """A dataset for evaluation is blocked from training, and nobody can approve that away."""

    async def life(living: Living) -> None:
        store = organ_in(living).store
        request = await registering(store, await stored(store, TEXTS[:20]), use="evaluate")
        await asked(living, request)
        assert ["use:evaluate"] == (await asked(living, DatasetStatus(request.dataset))).blocked
        unknown = await asked(living, DatasetStatus("0" * 64))
        assert (None, ["unregistered"], -1) == (unknown.facts, unknown.blocked, unknown.index)

    live(life)


async def restricted(store: ArtifactStore) -> str:
    """A stored corpus that nobody may simply train on."""
    line, _ = line_of(Content("p0", "kept", None, "en", None, None, None, "a post", None), bytes(32))
    raw = encode_line(line) + b"\n"
    known = await store.put(pieces(raw), "application/x-ndjson")
    sound = await read_manifest(store, await stored(store, ["a post"]))
    intake = msgspec.structs.replace(sound.intake, licence="CC-BY-NC-4.0", restrictions=["no-training"])
    listed = msgspec.structs.replace(sound.batches[0], root=batch_of([line]).root.hex(), records=known.blake3)
    manifest: Manifest = msgspec.structs.replace(sound, intake=intake, batches=[listed])
    assert blake3(manifest.bytes()).hexdigest()
    return (await store.put(pieces(manifest.bytes()), "application/json")).blake3
