"""Lineage out of the log alone: from a model back to the batches that taught it, and from data forward to models.

Pure: judged entries in, answers out. What a batch holds lies in the artifact store; its root stands here, so an
inclusion proof joins a post to a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias, cast, get_args

import msgspec

from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.log.entry import Position
from shared.subjects.datasets import DatasetRegistered
from shared.subjects.provenance import BatchSealed, CorpusFinished
from shared.subjects.registry import ModelPromoted, ModelRegistered
from shared.subjects.training import RunRecorded


class Node(msgspec.Struct, frozen=True):
    """One thing in a lineage, where the log says it, and what it came from."""

    kind: str  #: model, run, dataset, corpus, batch
    name: str
    says: str
    index: int
    offset: int
    came_from: tuple[Node, ...] = ()


class Taught(msgspec.Struct, frozen=True):
    """A model that something taught, and through which datasets or models it did."""

    model: str
    family: str
    through: tuple[str, ...]  #: digests, from the data to the model
    promoted: tuple[str, ...]  #: the targets at which it was ever in force
    index: int  #: of its run
    offset: int


Heard: TypeAlias = RunRecorded | ModelRegistered | ModelPromoted | DatasetRegistered | CorpusFinished | BatchSealed
HEARD: Final = cast("tuple[type[Heard], ...]", get_args(Heard))


class Lineage:
    """What the log says of data, runs and models. Fed with judged entries, in order."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[RunRecorded, Position]]] = {}  #: by model
        self.of: dict[str, str] = {}  #: the model whose weights these are
        self.models: dict[str, tuple[ModelRegistered, Position]] = {}
        self.promoted: dict[str, list[tuple[ModelPromoted, Position]]] = {}
        self.datasets: dict[str, tuple[DatasetRegistered, Position]] = {}
        self.corpora: dict[str, tuple[CorpusFinished, Position]] = {}  #: by dataset
        self.batches: dict[str, list[tuple[BatchSealed, Position]]] = {}  #: by corpus

    def take(self, verdict: Verdict) -> None:
        """Take in what an entry's admitted decisions say."""
        for decision, at in decisions_in(verdict, *HEARD):
            self.hear(decision, at)

    def hear(self, decision: Heard, at: Position) -> None:
        """Take in one decision."""
        match decision:
            case RunRecorded():
                self.of.setdefault(decision.weights, decision.model)
                self.runs.setdefault(decision.model, []).append((decision, at))
            case ModelRegistered():
                self.models[decision.model] = (decision, at)
            case ModelPromoted():
                self.promoted.setdefault(decision.model, []).append((decision, at))
            case DatasetRegistered():
                self.datasets.setdefault(decision.dataset, (decision, at))
            case CorpusFinished():
                self.corpora[decision.dataset] = (decision, at)
            case BatchSealed():
                self.batches.setdefault(decision.corpus, []).append((decision, at))

    def back(self, model: str) -> Node | None:
        """Return where a model came from, down to the batches; None where the log names no such model."""
        return self._model(model, ()) if model in self.runs or model in self.models else None

    def datasets_of(self, model: str) -> list[str]:
        """Return every dataset that taught a model, directly or through what it was derived or adapted from."""
        found = dict[str, None]()
        models, seen = [model], set[str]()
        while models:
            one = models.pop()
            if one in seen:
                continue
            seen.add(one)
            models += self._parents(one)
            found |= dict.fromkeys(self._sources(self._learned(one)))
        return [*found]

    def forward(self, data: Iterable[str]) -> list[Taught]:
        """Return every model that these datasets taught, also through other datasets and models, by its run."""
        through: dict[str, tuple[str, ...]] = {dataset: (dataset,) for dataset in data}
        changed = True
        while changed:
            changed = False
            for name, parents in self._edges():
                parent = next((one for one in parents if one in through), None)
                if parent is not None and name not in through:
                    through[name], changed = (*through[parent], name), True
        taught = [self._taught(model, through[model]) for model in self.runs if model in through]
        return sorted(taught, key=lambda one: (one.index, one.offset))

    def root_of(self, corpus: str, number: int) -> tuple[str, Position] | None:
        """Return the root of a corpus's batch as the log says it, and where."""
        return next(((b.root, at) for b, at in self.batches.get(corpus, []) if b.number == number), None)

    def _edges(self) -> Iterable[tuple[str, list[str]]]:
        """Yield each dataset and model with what it came from directly."""
        for name, (dataset, _) in self.datasets.items():
            yield name, [self.of.get(source, source) for source in dataset.facts.sources]
        for model in {*self.runs, *self.models}:
            yield model, [*self._learned(model), *self._parents(model)]

    def _taught(self, model: str, through: tuple[str, ...]) -> Taught:
        run, at = self.runs[model][0]
        targets = dict.fromkeys(promoted.target for promoted, _ in self.promoted.get(model, []))
        return Taught(model, run.family, through, tuple(targets), at.index, at.offset)

    def _learned(self, model: str) -> list[str]:
        runs = [dataset for run, _ in self.runs.get(model, []) for dataset in run.datasets]
        said = self.models[model][0].facts.datasets if model in self.models else []
        return [*dict.fromkeys([*runs, *said])]

    def _parents(self, model: str) -> list[str]:
        bases = [run.base for run, _ in self.runs.get(model, []) if run.base]
        said = self.models[model][0].facts.parents if model in self.models else []
        return [*dict.fromkeys(self.of.get(one, one) for one in [*bases, *said])]

    def _sources(self, datasets: Iterable[str]) -> list[str]:
        """Return datasets and all that they were derived from."""
        found, left = dict[str, None](), [*datasets]
        while left:
            one = left.pop(0)
            if one not in found:
                found[one] = None
                left += self.datasets[one][0].facts.sources if one in self.datasets else []
        return [*found]

    def _model(self, model: str, above: tuple[str, ...]) -> Node:
        if model in above:
            return Node("model", model, "named above", -1, 0)
        registered, at = self.models.get(model, (None, Position(-1, 0)))
        says = f"{registered.family} {registered.facts.version}" if registered is not None else "not registered"
        runs = tuple(self._run(run, place) for run, place in self.runs.get(model, []))
        adapted = [parent for parent in self._parents(model) if parent not in self.datasets]  # those stand at the run
        parents = tuple(self._model(parent, (*above, model)) for parent in adapted)
        return Node("model", model, says, at.index, at.offset, (*runs, *parents))

    def _run(self, run: RunRecorded, at: Position) -> Node:
        says = f"job {run.job}, {run.consensus_ppm / 10_000:.2f} % of its workers agreed"
        return Node("run", run.record, says, at.index, at.offset, tuple(self._dataset(d, ()) for d in run.datasets))

    def _dataset(self, dataset: str, above: tuple[str, ...]) -> Node:
        if dataset in above:
            return Node("dataset", dataset, "named above", -1, 0)
        registered, at = self.datasets.get(dataset, (None, Position(-1, 0)))
        says = "not registered"
        sources: tuple[Node, ...] = ()
        if registered is not None:
            facts = registered.facts
            says = f"{facts.name}, {facts.records} records, licence {facts.licence}, persons' data {facts.pii}"
            sources = tuple(self._source(source, (*above, dataset)) for source in facts.sources)
        corpus = self.corpora.get(dataset)
        corpora = (self._corpus(*corpus),) if corpus is not None else ()
        return Node("dataset", dataset, says, at.index, at.offset, (*sources, *corpora))

    def _source(self, source: str, above: tuple[str, ...]) -> Node:
        model = self.of.get(source, source)
        return self._model(model, above) if model in self.runs else self._dataset(source, above)

    def _corpus(self, corpus: CorpusFinished, at: Position) -> Node:
        says = f"{corpus.posts} posts, {corpus.tally.kept} kept"
        batches = tuple(
            Node("batch", batch.root, f"number {batch.number}, {batch.posts} posts", place.index, place.offset)
            for batch, place in self.batches.get(corpus.corpus, [])
        )
        return Node("corpus", corpus.corpus, says, at.index, at.offset, batches)
