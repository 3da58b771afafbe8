"""The life of an added policy: which state follows which, and when a canary falls back by itself."""

from __future__ import annotations

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.policy.effects import sampled
from shared.subjects.policy import Effect, PolicyChecked, PolicyDrafted, PolicyMoved, PolicyState

WATCHED = constant(50, "checks", "ILL-08")
OBJECTING_PPM = constant(300_000, "ppm", "ILL-08")
COOLDOWN_MS = constant(600_000, "ms", "ILL-08")

#: From each state, the states that a person may move a policy to; nothing is skipped on the way up.
NEXT: dict[PolicyState, tuple[PolicyState, ...]] = {
    "draft": ("simulating", "deprecated"),
    "simulating": ("canary", "draft", "deprecated"),
    "canary": ("active", "canary", "simulating", "draft", "deprecated"),
    "active": ("canary", "draft", "deprecated"),
    "deprecated": (),
}


class Life(msgspec.Struct, frozen=True):
    """Where an added policy stands; the fold of its decisions. Without a text there is none."""

    text: str = ""
    digest: str = ""
    state: PolicyState = "draft"
    effect: Effect = "deny"
    share_ppm: int = 0
    objected: tuple[bool, ...] = ()  #: whether each of the last checks that counted was not allowed, the newest last
    fell_ms: int = 0  #: when it last fell back by itself


def drafted(life: Life, decision: PolicyDrafted) -> Life:
    """Return the life after a new text; when it last fell back is remembered."""
    return Life(decision.text, decision.digest, "draft", decision.effect, 0, (), life.fell_ms)


def moved(life: Life, decision: PolicyMoved) -> Life:
    """Return the life in another state, its checks counted anew."""
    fell_ms = life.fell_ms if decision.by else decision.at_ms
    return msgspec.structs.replace(
        life, state=decision.state, share_ppm=decision.share_ppm, objected=(), fell_ms=fell_ms
    )


def checked(life: Life, decision: PolicyChecked) -> Life:
    """Return the life after one more check; a request in which a canary had no say proves nothing about it."""
    if decision.state == "canary" and not sampled(decision.request, life.share_ppm):
        return life
    objected = (*life.objected, decision.says != "allow")[-WATCHED:]
    return msgspec.structs.replace(life, objected=objected)


def may_draft(life: Life) -> Refusal | None:
    """Say why a policy may not be given a text."""
    if not life.text or life.state in ("draft", "deprecated"):
        return None
    return Refusal("Q005", f"it is {life.state}: move it back to draft before it is changed")


def may_move(life: Life, state: PolicyState, share_ppm: int, now_ms: int) -> Refusal | None:
    """Say why a policy may not get into another state."""
    if state not in NEXT[life.state]:
        listed = " or ".join(NEXT[life.state]) or "nothing but a new draft"
        return Refusal("Q005", f"after {life.state} comes {listed}, not {state}")
    if (state == "canary") != bool(share_ppm):
        return Refusal("Q005", f"a canary has a share above 0, nothing else has one; found {state} with {share_ppm}")
    left_ms = life.fell_ms + COOLDOWN_MS - now_ms
    if state == "canary" and life.fell_ms and left_ms > 0:
        return Refusal(
            "Q005", f"it fell back by itself and is looked at for {left_ms // 1_000} s more before it may again"
        )
    return None


def falls(life: Life) -> str:
    """Return why a canary falls back to draft, or an empty text: too much of what it had a say in it objected to."""
    count = sum(life.objected)
    if life.state != "canary" or len(life.objected) < WATCHED or count * 1_000_000 <= OBJECTING_PPM * WATCHED:
        return ""
    return f"it objected to {count} of its last {WATCHED} requests, more than {OBJECTING_PPM / 10_000:.0f} %"
