"""What decisions elsewhere in the log say about the models of a family, written down on the family's own lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from shared.ballots import role_of
from shared.constant import constant
from shared.errors import Refusal
from shared.registry.gate import DEFAULT_QUALITY, word_of
from shared.subjects.consensus import (
    CtoBallot,
    InfrastructureLeadBallot,
    ReleaseManagerBallot,
    SafetyLeadBallot,
    SignerBallot,
    VoteCounted,
)
from shared.subjects.datasets import DatasetVerified
from shared.subjects.energy import PowerWindowDecided
from shared.subjects.evaluation import Evaluated
from shared.subjects.registry import EvidenceKind, EvidenceNoted
from shared.subjects.training import RunRecorded

Word: TypeAlias = ReleaseManagerBallot | SafetyLeadBallot | InfrastructureLeadBallot | CtoBallot | SignerBallot
Evidence: TypeAlias = RunRecorded | DatasetVerified | Evaluated | PowerWindowDecided | VoteCounted | Word

#: A note, nothing to note, or why something that says so is no evidence.
Noted: TypeAlias = EvidenceNoted | Refusal | None

METER = "file"  #: the source that a meter's own program writes; others say what somebody thinks, or what once was
HIGH = ("high", "critical")
QUALITY = "quality"
METRICS = constant(32, "metrics", "X-12")  # of one suite; others stay in the report
NOTE_NAME_CHARS = constant(256, "characters", "X-12")
MS = 1_000


class Place(msgspec.Struct, frozen=True):
    """Where the decision that is heard stands in the log; all else is in the log or in the message."""

    index: int = -1
    offset: int = -1


def family_of(heard: Evidence) -> str | None:
    """Return the family that a decision elsewhere is evidence for; None where it is for none."""
    match heard:
        case DatasetVerified() | PowerWindowDecided():
            return heard.purpose or None
        case _:
            return heard.family or None


def noted(heard: Evidence, at: Place, now_ms: int) -> Noted:
    """Return what a decision says, as a note on its family's lane; a Refusal where that cannot be evidence."""
    if isinstance(heard, Word):
        return _word(heard, at, now_ms)
    match heard:
        case RunRecorded():
            values = {"consensus_ppm": heard.consensus_ppm, "samples_per_s": heard.samples_per_s}
            values |= {"workers": heard.registered} if heard.registered else {}
            run = (heard.family, heard.model, "run", heard.job, heard.record)
            return _note(*run, values, at, now_ms, heard.datasets, heard.base)
        case DatasetVerified():
            values = {"merkle_valid": int(heard.merkle_valid), "anchored": int(heard.anchored)}
            values |= {"batches": heard.batches, "records": heard.records, "erased": heard.erased}
            return _note(heard.purpose, "", "dataset", "", heard.dataset, values, at, now_ms)
        case Evaluated():
            values = {metric.name: metric.ppm for metric in heard.metrics[:METRICS]}
            default = next((metric.ppm for metric in heard.default if metric.name == QUALITY), None)
            values |= {} if default is None else {DEFAULT_QUALITY: default}
            said = (heard.family, heard.model, "evaluation", heard.suite, heard.report)
            return _note(*said, values, at, now_ms, [heard.dataset])
        case PowerWindowDecided():
            return _note(heard.purpose, "", "power", heard.site, heard.input_digest, _power(heard, now_ms), at, now_ms)
        case VoteCounted():
            return _voted(heard, at, now_ms)


def _voted(heard: VoteCounted, at: Place, now_ms: int) -> Noted:
    """Return where a vote left a proposal of a model; a void one leaves it where it was."""
    if not heard.model or heard.counts == "void":
        return None
    values = {heard.state: 1, "high_risk": int(heard.risk in HIGH)}
    return _note(heard.family, heard.model, "proposal", heard.proposal, heard.run, values, at, now_ms)


def _word(ballot: Word, at: Place, now_ms: int) -> Noted:
    """Return a voter's word about a manifest; it names no model, for the manifest does."""
    kind: EvidenceKind = "approval"
    if isinstance(ballot, SignerBallot | CtoBallot):
        kind = "signature" if isinstance(ballot, SignerBallot) else "override"
    name, values = word_of(role_of(ballot), ballot.voter), {"pass": int(ballot.choice == "pass")}
    return _note(ballot.family, "", kind, name, ballot.about, values, at, now_ms)


def _power(heard: PowerWindowDecided, now_ms: int) -> dict[str, int]:
    """Return what a site's meters said; nothing where there was no reading."""
    if not heard.source:
        return {}
    values = {"power_kw": heard.power_kw, "age_s": max(0, now_ms - heard.taken_ms) // MS}
    values["measured"] = int(heard.source == METER)
    nox = {"nox_mg_h": heard.nox_mg_h, "nox_permit_mg_h": heard.nox_permit_mg_h}
    known = {name: found for name, found in nox.items() if found is not None}
    if known or heard.turbines is not None:  # a figure says that there are some, whatever is declared
        values["turbines"] = int(bool(known) or heard.turbines is True)
    return values | known


def _note(  # noqa: PLR0913, PLR0917 - each word of a note is its own fact
    family: str,
    model: str,
    kind: EvidenceKind,
    name: str,
    digest: str,
    values: dict[str, int],
    at: Place,
    now_ms: int,
    parts: Sequence[str] = (),
    base: str = "",
) -> Noted:
    place = (at.index, at.offset)
    note = EvidenceNoted(
        family, model, kind, name[:NOTE_NAME_CHARS], digest, values, *place, now_ms, tuple(parts), base
    )
    try:
        return msgspec.convert(msgspec.to_builtins(note), EvidenceNoted)
    except msgspec.ValidationError as error:
        return Refusal("B002", f"no {kind} can be noted of it: {error}")
