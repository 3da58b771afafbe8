"""The datasets organ: registers what stands in the store, reads it again when asked, and says what stands against it.

A dataset is its content's digest, so it never changes; what is said of it is said once. The organ holds nothing that
the log does not: before each answer it reads on to the log's end.
"""

from __future__ import annotations

import re
from typing import ClassVar

from organs.datasets.checking import check_facts, look_again
from organs.datasets.known import Ledger
from organs.datasets.standing import against, approvable
from shared.artifacts import ArtifactStore, MemoryStore, check, checked_digest, store_of
from shared.config import Settings
from shared.constant import constant
from shared.errors import Damaged, Refusal, Refused
from shared.message import Request
from shared.part.organ import Organ, OwnLog
from shared.policy import Policies
from shared.subjects.anchor import AnchorStatus, AnchorStatusRequest
from shared.subjects.datasets import (
    ApproveDataset,
    DatasetApproved,
    DatasetFacts,
    DatasetRegistered,
    DatasetStated,
    DatasetStatus,
    DatasetVerified,
    RegisterDataset,
    VerifyDataset,
)
from shared.subjects.system import Decided
from shared.vault import People, people_of
from shared.world import SimWorld, World

MAX_NAMED = constant(64, "names", "X-12")  # restrictions, sources, transformations, concerns
MAX_FACT_CHARS = constant(200, "characters", "X-12")
#: What a licence or a restriction is called: concerns are lists of such names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:_-]*")


class DatasetsOrgan(Organ):
    """Knows datasets, and reads them again. Owns nothing but how far it read the log."""

    name: ClassVar[str] = "datasets"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(800_000, "micro-lifeforce", "ILL-03")
    asks: ClassVar[tuple[type[Request], ...]] = (AnchorStatusRequest,)

    def __init__(self, store: ArtifactStore, people: People | None) -> None:
        self.store, self.people = store, people
        self.policies = Policies.shipped()

    @classmethod
    def build(cls, settings: Settings, world: World) -> DatasetsOrgan:
        return cls(store_of(settings, world), people_of(settings, world))

    @classmethod
    def simulate(cls, world: SimWorld) -> DatasetsOrgan:  # noqa: ARG003 - as declared
        return cls(MemoryStore(), None)

    def again(self, world: SimWorld) -> DatasetsOrgan:
        return DatasetsOrgan(self.store, self.people)

    async def open(self, log: OwnLog) -> None:
        await self.store.prepare()
        self.log, self.ledger = log, Ledger(log)
        await self.ledger.read_on()

    async def close(self) -> None:
        await self.store.close()

    async def on_register(self, request: RegisterDataset) -> list[DatasetRegistered | Decided]:
        """Read the content, hold what is said against it, then decide. The same again is where it stands already.

        Refused D001, D005, D006, B002, S001, S002.
        """
        checked_digest(request.dataset)
        _check_names(request.facts)
        await self.ledger.read_on()
        registered = DatasetRegistered(request.dataset, request.sha256, request.size_bytes, request.facts)
        known = self.ledger.datasets.get(request.dataset)
        if known is not None:
            if known.registered != registered:
                where = f"({known.decided.index}, {known.decided.offset})"
                found = f"{known.registered.facts.name} is registered at {where} with other facts"
                raise Refused(Refusal("D001", f"{found}; see `nimmerverse dataset status {request.dataset[:16]}…`"))
            return [known.decided]
        await self._check_content(request)
        await check_facts(self.store, request.dataset, request.facts)
        return [registered]

    async def on_verify(self, request: VerifyDataset) -> list[DatasetVerified]:
        """Read a dataset again, and decide what was found, also where that is not what was registered. Refused D002."""
        await self.ledger.read_on()
        known = self.ledger.find(request.dataset)
        found = await look_again(self.store, known.registered, self.people, self._anchor)
        return [
            DatasetVerified(
                dataset=request.dataset,
                purpose=request.purpose,
                batches=found.batches,
                records=found.records,
                merkle_valid=not found.wrong,
                anchor=found.anchor,
                anchored=found.anchored,
                erased=found.erased,
                detail=found.wrong,
            )
        ]

    async def on_approve(self, request: ApproveDataset) -> list[DatasetApproved]:
        """Approve concerns that there are. Refused D002, D003, B002 without a person or a reason."""
        if not request.by.strip() or not request.reason.strip():
            raise Refused(Refusal("B002", "an approval says who approves and why"))
        await self.ledger.read_on()
        facts = self.ledger.find(request.dataset).registered.facts
        there = approvable(facts, self.policies, self.log.env)
        odd = [concern for concern in request.concerns if concern not in there]
        if odd or not request.concerns:
            found = ", ".join(odd)[:MAX_FACT_CHARS] or "none"
            raise Refused(Refusal("D003", f"found {found}; against {facts.name} stand {', '.join(there) or 'none'}"))
        return [DatasetApproved(request.dataset, request.concerns, request.by, request.reason)]

    async def on_status(self, request: DatasetStatus) -> list[DatasetStated]:
        """Say what is known of a dataset, and what keeps it from teaching."""
        await self.ledger.read_on()
        known = self.ledger.datasets.get(request.dataset)
        if known is None:
            return [DatasetStated(request.dataset, None, [], ["unregistered"], -1, 0)]
        facts, at = known.registered.facts, known.decided
        blocked = against(facts, known.approved, self.policies, self.log.env)
        if known.verified is not None and not known.verified.merkle_valid:
            blocked.append("changed")
        return [DatasetStated(request.dataset, facts, list(known.approved), blocked, at.index, at.offset)]

    async def _check_content(self, request: RegisterDataset) -> None:
        """Refuse D005 content that is not what the request says. Refused S002."""
        try:
            known = await check(self.store, request.dataset)
        except Damaged as fault:
            raise Refused(Refusal("D005", str(fault))) from None
        if (known.sha256, known.size) != (request.sha256, request.size_bytes):
            found = f"{known.size} bytes with SHA-256 {known.sha256}"
            raise Refused(Refusal("D005", f"found {found}, expected {request.size_bytes} with {request.sha256[:64]}"))

    async def _anchor(self, sha256: str) -> AnchorStatus:
        """Return how something is anchored. Refused B006 where nobody anchors: then nothing is known of it."""
        answer = await self.log.request(AnchorStatusRequest(bytes.fromhex(sha256)))
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, AnchorStatus)
        return answer


def _check_names(facts: DatasetFacts) -> None:
    """Refuse B002 facts that are empty, too long, or named so that concerns could not be told apart."""
    named = [facts.licence, *facts.restrictions]
    odd = [one for one in named if not _NAME.fullmatch(one) or len(one) > MAX_FACT_CHARS]
    if odd:
        raise Refused(
            Refusal("B002", f"found {odd[0][:80]!r}, expected a licence or restriction without spaces or commas")
        )
    if not facts.name.strip() or len(facts.name) > MAX_FACT_CHARS or not facts.kind or facts.records < 0:
        raise Refused(Refusal("B002", f"a dataset has a name of 1 to {MAX_FACT_CHARS} characters, a kind, and records"))
    if max(len(facts.restrictions), len(facts.sources), len(facts.transformations)) > MAX_NAMED:
        raise Refused(Refusal("B002", f"at most {MAX_NAMED} restrictions, sources and transformations are kept"))
    for source in facts.sources:
        checked_digest(source)
