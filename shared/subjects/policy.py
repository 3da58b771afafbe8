"""Policies that an operator adds to the product's own, and their life: draft, simulating, canary, active (ILL-08)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, PlacedReply, Ppm, Reply, Request
from shared.subjects.registry import Judgement
from shared.subjects.system import Decided

PolicyState = Literal["draft", "simulating", "canary", "active", "deprecated"]
#: What a policy does with what it does not allow; `allow` is what it says of what it does.
Effect = Literal["deny", "quarantine", "remediate", "allow"]
PolicyName = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,62}$")]
PolicyText = Annotated[str, msgspec.Meta(min_length=1, max_length=12_000)]
RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Given = Annotated[str, msgspec.Meta(max_length=8_000)]  #: the input as JSON, whole numbers alone


class PolicyDrafted(Decision, subject="governance.policy.event.{policy}.drafted"):
    """A policy has this text now, and is a draft: nobody asks it."""

    policy: PolicyName
    text: PolicyText
    digest: str  #: BLAKE3 of the bundle that it is judged in: the product's own files and this one
    effect: Effect
    by: str


class PolicyMoved(Decision, subject="governance.policy.event.{policy}.moved"):
    """A policy is in another state of its life now; `by` is empty where it fell back by itself."""

    policy: PolicyName
    before: PolicyState
    state: PolicyState
    share_ppm: Ppm  #: of the requests that a canary has a say in
    reason: str
    by: str
    at_ms: int


class PolicyChecked(Decision, subject="governance.policy.event.{policy}.checked"):
    """A policy was asked about a request: what it says, and what of that counts in its state."""

    policy: PolicyName
    request: RequestId
    state: PolicyState
    says: Effect
    effect: Effect  #: what counts: `allow` while it is only simulated, and for requests outside a canary's share
    judgement: Judgement


class PolicyEffect(PlacedReply, subject="governance.policy.check.reply"):
    """What a policy does with a request; the decision stands at (index, offset)."""

    policy: PolicyName
    state: PolicyState
    says: Effect
    effect: Effect
    judgement: Judgement


class PolicyStated(Reply, subject="governance.policy.status.reply"):
    """Where a policy stands."""

    policy: PolicyName
    state: PolicyState
    share_ppm: Ppm
    effect: Effect
    digest: str
    text: PolicyText
    asked: int  #: how often it had a say, or would have had, since it came into this state; at most the last 50
    objected: int  #: how often of these it did not allow


class DraftPolicy(Request, subject="governance.policy.draft.request", reply=Decided):
    """Give a policy its text. Refused Q003 where it is no policy, Q005 unless it is new, a draft, or deprecated."""

    policy: PolicyName
    text: PolicyText
    effect: Effect
    by: str


class MovePolicy(Request, subject="governance.policy.move.request", reply=Decided):
    """Move a policy on in its life, or back to draft. Refused Q005, Q006."""

    policy: PolicyName
    state: PolicyState
    share_ppm: Ppm  #: for a canary
    reason: str
    by: str


class CheckPolicy(Request, subject="governance.policy.check.request", reply=PolicyEffect):
    """Ask a policy about a request. Refused Q006 where there is none, or it is a draft or deprecated; Q003."""

    policy: PolicyName
    request: RequestId
    given: Given


class PolicyStatus(Request, subject="governance.policy.status.request", reply=PolicyStated):
    """Ask where a policy stands. Refused Q006 where there is none."""

    policy: PolicyName
