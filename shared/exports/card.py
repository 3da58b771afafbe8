"""A model's card, written from the log's evidence alone: what was not measured is named as missing, never described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from shared.canonical import canonical
from shared.envelope.envelope import rfc3339
from shared.exports.story import Dataset, Promotion, Said, Story
from shared.subjects.evaluation import Evaluated, Metric
from shared.subjects.registry import Digest, ModelFacts, Row

#: What the gate of promotions asks to be measured (COL-10).
ASKED: Final = ("quality", "bias", "hallucination")
_PERCENT_PPM: Final = 10_000


class Taught(msgspec.Struct, frozen=True):
    """A dataset that taught the model; None and empty where the log does not say."""

    dataset: Digest
    name: str
    licence: str
    restrictions: list[str]
    pii: str
    records: int | None
    corpus: str
    batches: int | None
    anchored: bool | None
    approved: list[str]
    place: str


class Measured(msgspec.Struct, frozen=True):
    """What one suite measured."""

    suite: str
    dataset: Digest
    report: Digest
    metrics: list[Metric]
    baseline: list[Metric]
    place: str


class InForce(msgspec.Struct, frozen=True):
    """A promotion and the rows that let it pass."""

    target: str
    at: str
    manifest: Digest
    policy: Digest
    emergency: bool
    signatures: list[str]
    rows: list[Row]
    place: str


CLAIMED = "claimed when it was registered and not checked"  #: looking takes the owner's key


class Card(msgspec.Struct, frozen=True):
    """A model's card."""

    log: str
    family: str
    model: Digest
    status: str
    facts: ModelFacts
    losses_micro: list[int]
    consensus_ppm: int | None
    taught: list[Taught]
    measured: list[Measured]
    missing: list[str]  #: what the gate asks for and no suite measured
    votes: list[str]
    promotions: list[InForce]
    blocked: int
    place: str


def card(story: Story) -> Card:
    """Return the card of a story."""
    run = story.run.decision if story.run is not None else None
    found = {metric.name for one in story.evaluations for metric in one.decision.metrics}
    return Card(
        story.log,
        story.family,
        story.model,
        story.status,
        story.registered.decision.facts,
        run.losses_micro if run is not None else [],
        run.consensus_ppm if run is not None else None,
        [_taught(dataset) for dataset in story.datasets],
        [_measured(one) for one in story.evaluations],
        [name for name in ASKED if name not in found],
        [f"{v.role} {v.voter} {v.choice} ({v.counts}): {v.reason}" for v in (one.decision for one in story.votes)],
        [_in_force(one) for one in story.promotions],
        len(story.blocked),
        story.registered.place,
    )


def as_json(told: Card) -> bytes:
    """Return a card as canonical JSON."""
    return canonical(told) + b"\n"


def as_markdown(told: Card) -> bytes:
    """Return a card for people; each line that the log proves ends with its place there."""
    facts = told.facts
    lines = [
        f"# {told.family} {facts.version}",
        "",
        f"Model `{told.model}`, {told.status}, {facts.size_bytes} bytes, SHA-256 `{facts.sha256}`.",
        f"Registered at ({told.place}) of the log `{told.log}`; `nimmerverse audit prove` proves each place here.",
        "",
        f"* made by {_inline(facts.code) or 'unnamed code'}, job `{_inline(facts.job)}`, run record `{facts.record}`",
        f"* {'high risk' if facts.high_risk else 'not high risk'}",
        *([f"* owner's mark, {CLAIMED}: `{facts.watermark}`"] if facts.watermark else ["* no owner's mark is claimed"]),
        *(f"* adapted from `{parent}`" for parent in facts.parents),
        "",
        "## Taught by",
        "",
        *(_line(one) for one in told.taught),
        "",
        "## Measured",
        "",
        *_table(told),
        *(f"* **{name} was not measured**" for name in told.missing),
        "",
        "## Decided",
        "",
        *(f"* {_inline(vote)}" for vote in told.votes),
        *(line for one in told.promotions for line in _promoted(one)),
        f"* refused {told.blocked} times before or since" if told.blocked else "* never refused",
        "",
    ]
    return "\n".join(lines).encode()


def _line(one: Taught) -> str:
    if not one.name:
        return f"* `{one.dataset}`: the log does not register it"
    restricted = f", {_inline(', '.join(one.restrictions))}" if one.restrictions else ""
    anchored = "" if one.anchored is None else ", anchored" if one.anchored else ", **not anchored**"
    batches = f", corpus {_inline(one.corpus)} in {one.batches} batches" if one.corpus else ""
    said = f"{one.records} records, {_inline(one.licence)}{restricted}, personal data {one.pii}{batches}{anchored}"
    return f"* {_inline(one.name)} `{one.dataset}`: {said} ({one.place})"


def _table(told: Card) -> Iterator[str]:
    if not told.measured:
        return
    yield "| suite | metric | found | 95 % | examples | without a model | place |"
    yield "|---|---|---|---|---|---|---|"
    for one in told.measured:
        beside = {metric.name: _percent(metric.ppm) for metric in one.baseline}
        for metric in one.metrics:
            bounds = f"{_percent(metric.low_ppm)} to {_percent(metric.high_ppm)}"
            found = (_inline(one.suite), _inline(metric.name), _percent(metric.ppm), bounds, str(metric.examples))
            yield f"| {' | '.join((*found, beside.get(metric.name, '–'), one.place))} |"
    yield ""


def _promoted(one: InForce) -> Iterator[str]:
    signed = f", signed by {_inline(', '.join(one.signatures))}" if one.signatures else ""
    yield f"* promoted to {one.target} on {one.at}{' in an emergency' if one.emergency else ''}{signed} ({one.place})"
    for row in one.rows:
        found = "missing" if row.found is None else row.found
        yield f"  * {'✓' if row.holds else '✗'} {_inline(row.name)}: {found}, demanded {_inline(row.demanded)}"


def _taught(dataset: Dataset) -> Taught:
    said = dataset.registered.decision.facts if dataset.registered is not None else None
    corpus, verified = dataset.corpus, dataset.verified
    return Taught(
        dataset.digest,
        said.name if said is not None else "",
        said.licence if said is not None else "",
        said.restrictions if said is not None else [],
        said.pii if said is not None else "",
        said.records if said is not None else None,
        corpus.begun.decision.corpus if corpus is not None else "",
        len(corpus.roots) if corpus is not None else None,
        verified.decision.anchored if verified is not None else None,
        [f"{', '.join(one.decision.concerns)} by {one.decision.by}" for one in dataset.approved],
        dataset.registered.place if dataset.registered is not None else "",
    )


def _measured(evaluated: Said[Evaluated]) -> Measured:
    said = evaluated.decision
    return Measured(said.suite, said.dataset, said.report, said.metrics, said.baseline, evaluated.place)


def _in_force(promotion: Promotion) -> InForce:
    said = promotion.promoted.decision
    return InForce(
        said.target,
        rfc3339(promotion.promoted.time_ms),
        said.manifest,
        said.judgement.policy,
        said.emergency,
        said.signatures,
        said.judgement.rows,
        promotion.promoted.place,
    )


def _percent(ppm: int) -> str:
    return f"{ppm / _PERCENT_PPM:.2f} %"


def _inline(text: str) -> str:
    """Return words of others as plain text within a line of Markdown."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]<>#|!" else sign for sign in plain)
