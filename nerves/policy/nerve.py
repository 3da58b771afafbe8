"""The policy nerve: keeps the policies that an operator adds, judges by them, and takes a wild one out of use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from nerves.policy.life import Life, checked, drafted, falls, may_draft, may_move, moved
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.part import Garden, Nerve
from shared.policy import Judged, Policies
from shared.policy.effects import ASKED, sampled
from shared.subjects.policy import (
    CheckPolicy,
    DraftPolicy,
    Effect,
    MovePolicy,
    PolicyChecked,
    PolicyDrafted,
    PolicyEffect,
    PolicyMoved,
    PolicyStated,
    PolicyStatus,
)

#: What Rego may ask for beside its input; nothing that is judged by it could be judged again.
OUTSIDE = re.compile(r"\b(time\.now_ns|rand\.|uuid\.rfc4122|http\.send|opa\.runtime|net\.lookup)")
BUNDLES = constant(32, "bundles", "X-12")

Heard = DraftPolicy | MovePolicy | CheckPolicy | PolicyStatus
Said = PolicyDrafted | PolicyMoved | PolicyChecked | PolicyEffect | PolicyStated


class NoWindow(msgspec.Struct, frozen=True):
    """Nothing is remembered beside the log."""


class PolicyNerve(Nerve[Life, NoWindow]):
    """Drafts, moves and checks in; what became of them out. An added policy can forbid more, never allow more."""

    name: ClassVar[str] = "policy"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "ILL-08")
    unchecked: ClassVar[Mapping[str, str]] = {
        "rerun": "made-up texts are no Rego; tests/spec/test_policy_life.py decides everything again"
    }

    def digests(self) -> dict[str, str]:
        return {"policy": Policies.shipped().digest}

    def entity(self, message: Heard) -> str | None:
        return message.policy

    def evolve(self, state: Life, decision: PolicyDrafted | PolicyMoved | PolicyChecked) -> Life:
        match decision:
            case PolicyDrafted():
                return drafted(state, decision)
            case PolicyMoved():
                return moved(state, decision)
            case PolicyChecked():
                return checked(state, decision)

    def decide(
        self, state: Life, window: NoWindow, message: Heard, now_ms: int
    ) -> tuple[NoWindow, list[Said] | Refusal]:
        if not state.text and not isinstance(message, DraftPolicy):
            return window, Refusal("Q006", f"nobody drafted {message.policy}")
        match message:
            case DraftPolicy():
                return window, _draft(state, message)
            case MovePolicy():
                return window, _move(state, message, now_ms)
            case CheckPolicy():
                return window, _check(self, state, message, now_ms)
            case PolicyStatus():
                return window, [_stated(state, message.policy)]


def package_of(policy: str) -> str:
    """Return the package that an added policy has to be."""
    return f"nimmerverse.added.{policy}"


@lru_cache(BUNDLES)
def bundle(policy: str, text: str) -> Policies:
    """Return the product's own policies with an added one beside them. Refused Q003 where it is none."""
    outside = OUTSIDE.search(text)
    if outside is not None:
        raise Refused(Refusal("Q003", f"{outside[0]} asks for what is not in the input, and is no evidence"))
    policies = Policies({**Policies.shipped().texts, f"added.{policy}.rego": text})
    added = {*policies.packages} - {*Policies.shipped().packages}
    if added != {package_of(policy)}:
        found = ", ".join(sorted(added)) or "one of the product's own"
        raise Refused(Refusal("Q003", f"the package has to be {package_of(policy)}, found {found}"))
    return policies


def _draft(state: Life, message: DraftPolicy) -> list[Said] | Refusal:
    no = may_draft(state)
    if no is not None:
        return no
    if message.effect == "allow":
        return Refusal("Q003", "an added policy denies, quarantines or remediates what it does not allow")
    try:
        digest = bundle(message.policy, message.text).digest
    except Refused as refused:
        return refused.refusal
    return [PolicyDrafted(message.policy, message.text, digest, message.effect, message.by)]


def _move(state: Life, message: MovePolicy, now_ms: int) -> list[Said] | Refusal:
    no = may_move(state, message.state, message.share_ppm, now_ms)
    if no is not None:
        return no
    if not message.by:
        return Refusal("Q005", "whoever moves a policy says who they are")
    where = (message.policy, state.state, message.state, message.share_ppm)
    return [PolicyMoved(*where, message.reason, message.by, now_ms)]


def _check(nerve: PolicyNerve, state: Life, message: CheckPolicy, now_ms: int) -> list[Said] | Refusal:
    if state.state not in ASKED:
        return Refusal("Q006", f"{message.policy} is {state.state}, and nobody asks it")
    try:
        judged = _judged(state, message)
    except Refused as refused:
        return refused.refusal
    says: Effect = "allow" if judged.allowed else state.effect
    counts = state.state == "active" or (state.state == "canary" and sampled(message.request, state.share_ppm))
    effect: Effect = says if counts else "allow"
    about, judgement = (message.policy, message.request), judged.judgement()
    decision = PolicyChecked(*about, state.state, says, effect, judgement)
    reply = PolicyEffect(message.policy, state.state, says, effect, judgement)
    why = falls(nerve.evolve(state, decision))
    fall = [PolicyMoved(message.policy, state.state, "draft", 0, why, "", now_ms)] if why else []
    return [decision, *fall, reply]


def _judged(state: Life, message: CheckPolicy) -> Judged:
    """Return what the policy says. Refused Q003 where the input is none."""
    try:
        given = msgspec.json.decode(message.given, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal("Q003", f"the input is not one JSON object: {error}")) from None
    return bundle(message.policy, state.text).evaluate(package_of(message.policy), given)


def _stated(life: Life, policy: str) -> PolicyStated:
    counted = (len(life.objected), sum(life.objected))
    return PolicyStated(policy, life.state, life.share_ppm, life.effect, life.digest, life.text, *counted)
