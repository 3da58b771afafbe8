"""The simulated adapter of what an ingest asks: the nerve itself, its lanes in memory, nothing on a bus.

It decides with the nerve's own code and remembers each message id, as a runner does. Nobody anchors or registers here.
"""

from __future__ import annotations

from typing import Any

from nerves.provenance import ProvenanceNerve
from shared.envelope import derive_event_id
from shared.errors import NotPermitted, Refusal
from shared.message import Decision, Reply, Request
from shared.subjects.provenance import BatchSealed, BeginCorpus, CorpusStatus, FinishCorpus, SealBatch
from shared.subjects.system import Decided


class Desk:
    """Corpora that are decided about in this process."""

    def __init__(self) -> None:
        self.nerve = ProvenanceNerve()
        self.lanes: dict[str, list[Decision]] = {}
        self._states: dict[str, Any] = {}
        self._answered: dict[bytes, Reply | Refusal] = {}

    async def request(
        self, request: Request, timeout_s: float = 0.0, *, message_id: bytes | None = None
    ) -> Reply | Refusal:
        if not isinstance(request, BeginCorpus | SealBatch | FinishCorpus | CorpusStatus):
            raise NotPermitted(f"nobody here hears {request.template}")
        if message_id is not None and message_id in self._answered:
            return self._answered[message_id]
        answer = self._decide(request)
        if message_id is not None:
            self._answered[message_id] = answer
        return answer

    async def sealed(self, corpus: str) -> list[BatchSealed]:
        """Return the batches of a corpus, in order."""
        return [one for one in self.lanes.get(corpus, []) if isinstance(one, BatchSealed)]

    def _decide(self, request: BeginCorpus | SealBatch | FinishCorpus | CorpusStatus) -> Reply | Refusal:
        corpus = request.corpus
        state = self._states.get(corpus, self.nerve.start())
        _, said = self.nerve.decide(state, self.nerve.empty(), request, 0)
        if isinstance(said, Refusal):
            return said
        (one,) = said
        if isinstance(one, Reply):
            return one
        lane = self.lanes.setdefault(corpus, [])
        lane.append(one)
        self._states[corpus] = self.nerve.evolve(state, one)
        event_id = derive_event_id(corpus.encode(), self.nerve.name, "desk", len(lane))
        return Decided(one.template, event_id.hex(), len(lane) - 1, 0, duplicate=False, proof="")
