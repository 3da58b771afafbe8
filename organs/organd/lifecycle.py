"""The life of one model, as pure functions: what it is now, and what becomes of it (NIM-16).

    unconfigured → cold → loading → ready → idle → unloading → verifying_release → cold
                              ↘       ↓      ↙                        ↓
                               ───── died ─────→ verifying_release → failed(reason, until when)

A model is *ready* exactly while somebody uses it, and *idle* while it is loaded and nobody does; its time runs only
then. Whatever was loaded passes through `verifying_release` before anything else gets its place. A call that the state
does not allow is a bug of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.constant import constant
from shared.subjects.models import ModelState

State = ModelState

KEEP_ALIVE_MS = constant(300_000, "ms", "NIM-16")  # as Ollama: five minutes after its last use
FIRST_BACKOFF_MS = constant(1_000, "ms", "NIM-16")
LONGEST_BACKOFF_MS = constant(60_000, "ms", "NIM-16")

#: Where each state may lead.
NEXT: dict[State, frozenset[State]] = {
    "unconfigured": frozenset({"cold"}),
    "cold": frozenset({"loading", "unconfigured"}),
    "loading": frozenset({"ready", "unloading", "verifying_release"}),
    "ready": frozenset({"ready", "idle", "unloading", "verifying_release"}),
    "idle": frozenset({"ready", "idle", "unloading", "verifying_release"}),
    "unloading": frozenset({"verifying_release"}),
    "verifying_release": frozenset({"cold", "failed"}),
    "failed": frozenset({"loading", "unconfigured"}),
}
LOADED: frozenset[State] = frozenset({"ready", "idle"})
LEAVING: frozenset[State] = frozenset({"unloading", "verifying_release"})
#: A place is taken from the moment that something is loaded into it until its release is verified.
OCCUPYING: frozenset[State] = frozenset({"loading", *LOADED, *LEAVING})


@dataclass(frozen=True, slots=True)
class Life:
    """One model's state, who uses it, and how long it stays."""

    state: State = "unconfigured"
    users: int = 0
    keep_ms: int | None = KEEP_ALIVE_MS  #: how long it stays after its last use; None for ever
    until_ms: int | None = None  #: while idle: when it leaves, None never
    reason: str = ""  #: why it failed, or why it is leaving after a death
    failures: int = 0  #: in a row
    retry_ms: int = 0  #: while failed: when it may be loaded again

    def waits_ms(self, now_ms: int) -> int:
        """Return how long a failed model may not be loaded yet."""
        return max(0, self.retry_ms - now_ms) if self.state == "failed" else 0


def configure(life: Life) -> Life:
    """Its file is there."""
    return _to(life, "cold")


def forget(life: Life) -> Life:
    """Its file was taken away."""
    return replace(_to(life, "unconfigured"), reason="", failures=0, retry_ms=0)


def load(life: Life, now_ms: int) -> Life:
    """Somebody needs it, and it has a place; how long an earlier load was to stay is forgotten."""
    assert life.waits_ms(now_ms) == 0, life
    return replace(_to(life, "loading"), keep_ms=KEEP_ALIVE_MS)


def loaded(life: Life) -> Life:
    """It is there, and whoever needed it is its first user."""
    return replace(_to(life, "ready"), users=1, reason="")


def take(life: Life) -> Life:
    """One more uses it."""
    assert life.state in LOADED, life
    return replace(_to(life, "ready"), users=life.users + 1, until_ms=None)


def keep(life: Life, keep_ms: int | None, now_ms: int) -> Life:
    """From now on it stays this long after its last use."""
    assert keep_ms is None or keep_ms >= 0, keep_ms
    kept = replace(life, keep_ms=keep_ms)
    return replace(kept, until_ms=_until(kept, now_ms)) if life.state == "idle" else kept


def give(life: Life, now_ms: int, *, answered: bool) -> Life:
    """One uses it no more; the last one starts its time."""
    assert life.state == "ready", life
    assert life.users > 0, life
    left = replace(life, users=life.users - 1, failures=0 if answered else life.failures)
    return left if left.users else replace(_to(left, "idle"), until_ms=_until(left, now_ms))


def expired(life: Life, now_ms: int) -> bool:
    """Say whether its time is over."""
    return life.state == "idle" and life.until_ms is not None and now_ms >= life.until_ms


def unload(life: Life) -> Life:
    """It has to leave: its time is over, another needs its place, or whoever had it loaded left meanwhile."""
    assert life.users == 0, life
    return replace(_to(life, "unloading"), until_ms=None)


def stop(life: Life) -> Life:
    """It has to leave with everybody who uses it: the supervisor stops."""
    return unload(replace(life, users=0))


def ended(life: Life) -> Life:
    """Its process was ended on purpose."""
    assert life.state == "unloading", life
    return _to(life, "verifying_release")


def died(life: Life, reason: str) -> Life:
    """Its process ended by itself, or never became ready; whoever used it has been told."""
    assert reason
    return replace(_to(life, "verifying_release"), users=0, until_ms=None, reason=reason, failures=life.failures + 1)


def verified(life: Life, now_ms: int) -> Life:
    """Its process is gone and its memory is back."""
    if not life.reason:
        return _to(life, "cold")
    return replace(_to(life, "failed"), retry_ms=now_ms + backoff_ms(life.failures))


def held(life: Life, now_ms: int, reason: str) -> Life:
    """Its memory did not come back in time."""
    return verified(replace(life, reason=reason, failures=life.failures + 1), now_ms)


def backoff_ms(failures: int) -> int:
    """Return how long a model is left alone after so many failures in a row: the first one costs nothing."""
    if failures < 2:  # noqa: PLR2004 - the first failure
        return 0
    return min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS << min(failures - 2, 30))


def _until(life: Life, now_ms: int) -> int | None:
    return None if life.keep_ms is None else now_ms + life.keep_ms


def _to(life: Life, state: State) -> Life:
    assert state in NEXT[life.state], f"{life.state} does not lead to {state}"
    return replace(life, state=state)
