"""From a source to a dataset: read, make, store, seal, anchor, again and again; then one manifest, and registered.

Nothing is sealed before its records stand in the store, and nothing is remembered before it is sealed. So whoever was
killed asks where the corpus stands and goes on from there, with the same salts: the same posts give the same batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from blake3 import blake3

from cells.toxicity_cell.scorer import Scorer
from organs.provenance.making import Made, Maker
from organs.provenance.post import Read, Source
from organs.provenance.remembering import catch_up, salts_of
from organs.provenance.seen import Seen
from shared.artifacts import Artifact, ArtifactStore
from shared.canonical import digest_of
from shared.codec import encode
from shared.constant import constant
from shared.corpus import BATCH_MEDIA_TYPE, MANIFEST_MEDIA_TYPE, Listed, Manifest
from shared.errors import NotPermitted, Refusal, Refused
from shared.log.batch import MAX_RECORDS
from shared.message import MESSAGE_ID_BYTES, Reply, Request
from shared.subjects.anchor import AnchorRequest, AnchorStatus
from shared.subjects.datasets import DatasetFacts, DatasetUse, PiiState, RegisterDataset, Transformation
from shared.subjects.provenance import (
    BatchSealed,
    BeginCorpus,
    CorpusStated,
    CorpusStatus,
    FinishCorpus,
    Intake,
    SealBatch,
)
from shared.subjects.system import Decided
from shared.vault import ManyPeople, People
from shared.version import VERSION
from shared.world import World

INGEST_ASK_S = constant(30.0, "s", "COL-03")
INGEST_TRIES = constant(5, "tries", "COL-03")
SEAL_AGAIN_S = constant(1.0, "s", "COL-03")
ANCHORING = constant(8, "batches", "COL-05")  # so many may wait for their anchor while others are made
WHAT_CHARS = 200
BUSY = ("B006", "B008")  #: nobody answered in time, or too many ask: it may be otherwise a moment later

R = TypeVar("R", bound=Reply)


class Asks(Protocol):
    """Whatever can ask other parts and read a corpus's lane in the log."""

    async def request(
        self, request: Request, timeout_s: float = ..., *, message_id: bytes | None = None
    ) -> Reply | Refusal:
        """Return the declared reply or the refusal. A repeat under the same id is answered as the first was."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is taken in, by which rules, and where everything lies."""

    corpus: str
    intake: Intake
    open: Callable[[int], Awaitable[Source]]  #: the source from a byte on
    use: DatasetUse
    folder: Path  #: of what is remembered between two runs
    size: int | None = None  #: of the source in bytes, where it is a file
    code: str = f"ingest {VERSION}"  #: name and version of what makes the dataset
    sources: tuple[str, ...] = ()  #: digests of the datasets that it is derived from
    earlier: tuple[Transformation, ...] = ()  #: what made those


@dataclass(frozen=True)
class Ports:
    """Through what an ingest acts."""

    bus: Asks
    sealed: Callable[[str], Awaitable[list[BatchSealed]]]  #: the batches of a corpus that the log holds
    store: ArtifactStore
    people: People
    scorer: Scorer
    world: World


@dataclass
class Progress:
    """How far an ingest is."""

    posts: int
    offset: int
    size: int | None


@dataclass(frozen=True)
class Ended:
    """How an ingest ended."""

    stated: CorpusStated
    finished: bool
    registered: Refusal | None  #: why the dataset is not registered; None where it is, or there is none yet
    unanchored: int


Told = Callable[[Progress], None]


class Ingest:
    """One run of an ingest."""

    def __init__(self, plan: Plan, ports: Ports, told: Told) -> None:
        self.plan, self.ports, self.told = plan, ports, told
        self._anchoring = set[asyncio.Task[None]]()
        self._unanchored = 0
        self._anchors = True  #: whether anybody here anchors, as far as is known

    async def run(self) -> Ended:
        """Take the source in to its end, from where the corpus stands. Refused as its parts refuse; see docs."""
        stated = await self._stated()
        if stated.dataset and stated.intake == self.plan.intake:
            self._check_ended(stated)
            return Ended(stated, finished=True, registered=await self._conclude(stated), unanchored=0)
        await self._asked(BeginCorpus(self.plan.corpus, self.plan.intake), Decided)
        stated = await self._stated()
        seen = Seen(self.plan.folder)
        try:
            return await self._run(stated, seen)
        finally:
            for task in self._anchoring:
                task.cancel()
            seen.close()

    def _check_ended(self, stated: CorpusStated) -> None:
        """Refuse C002 where the source of a finished corpus has become another one: nothing of it is passed over."""
        if self.plan.size not in (None, stated.next_offset):
            found = f"{stated.corpus} is finished at byte {stated.next_offset}, its source has {self.plan.size} now"
            raise Refused(Refusal("C002", f"{found}; take what is new in as another corpus: --corpus NAME"))

    async def _run(self, stated: CorpusStated, seen: Seen) -> Ended:
        ports = self.ports
        await catch_up(seen, stated.batches, ports.store, lambda: ports.sealed(self.plan.corpus))
        maker = Maker(self.plan.intake, ports.scorer, seen, salts_of(self.plan.folder, ports.world))
        source = await self.plan.open(stated.next_offset)
        try:
            ended = await self._take_in(source, maker, seen, stated)
        finally:
            await source.close()
        await self._anchor_rest(seen)
        if not ended:
            return Ended(await self._stated(), finished=False, registered=None, unanchored=self._unanchored)
        await self._finish(seen)
        stated = await self._stated()
        registered = await self._conclude(stated)
        seen.discard()
        return Ended(stated, finished=True, registered=registered, unanchored=self._unanchored)

    async def _take_in(self, source: Source, maker: Maker, seen: Seen, stated: CorpusStated) -> bool:
        """Take batch after batch; say whether the source ended. The next one is read while one is made and sealed."""
        number, progress = stated.batches, Progress(stated.posts, stated.next_offset, source.size)
        coming = asyncio.create_task(source.take(MAX_RECORDS))
        try:
            while True:
                read = await coming
                coming = asyncio.create_task(source.take(MAX_RECORDS) if not read.ended else _nothing(read))
                if read.posts:
                    await self._batch(number, read, maker, seen)
                    number += 1
                progress.posts += len(read.posts)
                progress.offset = read.next_offset
                self.told(progress)
                if read.ended:
                    return not read.stopped
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _batch(self, number: int, read: Read, maker: Maker, seen: Seen) -> None:
        """Make, store and seal one batch; only then is it remembered, and anchored beside what comes next."""
        if maker.people is None and any(post.author for post in read.posts):
            maker.people = ManyPeople(await self.ports.people.store(), self.ports.people.entropy)
        made = await asyncio.to_thread(maker.make, read.posts)
        artifact = await self.ports.store.put(_whole(made.raw), BATCH_MEDIA_TYPE)
        await self._asked(self._seal(number, made, artifact, read.next_offset), Decided)
        listed = Listed(number, made.root, artifact.blake3, made.posts, made.tally.kept)
        await asyncio.to_thread(seen.add, listed, artifact.sha256, made.marks)
        await self._anchor_soon(number, artifact.sha256, seen)

    def _seal(self, number: int, made: Made, artifact: Artifact, next_offset: int) -> SealBatch:
        return SealBatch(
            corpus=self.plan.corpus,
            number=number,
            root=made.root,
            records=artifact.blake3,
            sha256=artifact.sha256,
            posts=made.posts,
            tally=made.tally,
            personal=made.personal,
            exposed=made.exposed,
            next_offset=next_offset,
        )

    # Anchoring

    async def _anchor_soon(self, number: int, sha256: str, seen: Seen) -> None:
        """Have a batch anchored beside what comes next; no more than a few wait."""
        task = asyncio.create_task(self._anchor(number, sha256, seen))
        self._anchoring.add(task)
        task.add_done_callback(self._anchoring.discard)
        while len(self._anchoring) >= ANCHORING:
            await asyncio.wait(self._anchoring, return_when=asyncio.FIRST_COMPLETED)

    async def _anchor_rest(self, seen: Seen) -> None:
        """Wait for what is being anchored, and ask again for whatever nobody said is."""
        await asyncio.gather(*self._anchoring)
        self._anchors = True
        for number, sha256 in seen.unanchored():
            await self._anchor(number, sha256, seen)
        self._unanchored = len(seen.unanchored())

    async def _anchor(self, number: int, sha256: str, seen: Seen) -> None:
        """Have one batch's artifact anchored. Where nobody anchors here, nobody is asked again before the end."""
        if not self._anchors:
            return
        what = f"batch {number} of {self.plan.corpus}"[:WHAT_CHARS]
        answer = await self._ask(AnchorRequest(bytes.fromhex(sha256), what))
        if isinstance(answer, AnchorStatus):
            await asyncio.to_thread(seen.anchored, number)
        else:
            self._anchors = False

    # Ending

    async def _finish(self, seen: Seen) -> None:
        kind = "trails" if self.plan.intake.reader == "trails" else "posts"
        manifest = Manifest(kind, self.plan.corpus, self.plan.intake, list(seen.listed()))
        artifact = await self.ports.store.put(_whole(manifest.bytes()), MANIFEST_MEDIA_TYPE)
        await self._asked(FinishCorpus(self.plan.corpus, len(manifest.batches), artifact.blake3), Decided)

    async def _conclude(self, stated: CorpusStated) -> Refusal | None:
        """Have the dataset anchored as a whole, and registered; return why it is not, so that it is said by name.

        One anchor over all batches, for an installation anchors so many digests at once and no more.
        """
        known = await self.ports.store.stat(stated.dataset)
        if self._anchors:
            await self._ask(AnchorRequest(bytes.fromhex(known.sha256), f"dataset {stated.corpus}"[:WHAT_CHARS]))
        intake = self.plan.intake
        pii: PiiState = "in_the_open" if stated.exposed else "sealed" if stated.personal else "none"
        facts = DatasetFacts(
            name=stated.corpus,
            use=self.plan.use,
            kind="trails" if intake.reader == "trails" else "posts",
            corpus=stated.corpus,
            sources=[*self.plan.sources],
            transformations=[*self.plan.earlier, Transformation(self.plan.code, digest_of(intake))],
            licence=intake.licence,
            restrictions=intake.restrictions,
            pii=pii,
            records=stated.tally.kept,
        )
        answer = await self._ask(RegisterDataset(stated.dataset, known.sha256, known.size, facts))
        return answer if isinstance(answer, Refusal) else None

    # Asking

    async def _stated(self) -> CorpusStated:
        return await self._asked(CorpusStatus(self.plan.corpus), CorpusStated)

    async def _asked(self, request: Request, reply: type[R]) -> R:
        answer = await self._ask(request)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, reply)
        return answer

    async def _ask(self, request: Request) -> Reply | Refusal:
        """Ask under an id that the request's own bytes give, so that asking again changes nothing; a few times."""
        message_id = None if isinstance(request, CorpusStatus) else blake3(encode(request)).digest()[:MESSAGE_ID_BYTES]
        try:
            for _ in range(INGEST_TRIES - 1):
                answer = await self.ports.bus.request(request, INGEST_ASK_S, message_id=message_id)
                if not isinstance(answer, Refusal) or answer.code not in BUSY:
                    return answer
                await self.ports.world.sleep(SEAL_AGAIN_S)
            return await self.ports.bus.request(request, INGEST_ASK_S, message_id=message_id)
        except NotPermitted:  # where no part of an environment hears a request, nobody may send it
            return Refusal("B006", f"no part here hears {request.template}; start the one that does")


async def _nothing(read: Read) -> Read:
    return read


async def _whole(raw: bytes) -> AsyncIterator[bytes]:
    yield raw
