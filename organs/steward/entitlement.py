"""What a part that asks for itself may be granted: its own subjects, and nothing of the system's or a neighbour's.

One pure function judges a request whole; whoever asks learns everything that is wrong with it at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.bus.wire import inbox_prefix, stream_name
from shared.message import EVENT_TOKEN
from shared.part.declare import NAME
from shared.subjects.system import DeadLetter, Decided, GrantRequest, Handshake, Heartbeat

RESERVED = ("root", "steward", "operator")
_NKEY = re.compile(r"(U[A-Z2-7]{55})?")  # empty where somebody else administers the connections


def objections(asked: GrantRequest, env: str, others: Iterable[GrantRequest]) -> list[str]:
    """Return why this request may not be granted beside the parts granted before; empty when it may."""
    if asked.part in RESERVED or not NAME.fullmatch(asked.part):
        return [f"{asked.part!r} is a reserved identity or no part's name"]
    others = [other for other in others if other.part != asked.part]
    found = [f"publishing {p}" for p in asked.publish if not _may_publish(p, asked.part, env, others)]
    found += [f"hearing {p}" for p in asked.subscribe if not _may_hear(p, asked.part, env)]
    decides = [p for p in asked.publish if p.split(".")[3:4] == [EVENT_TOKEN]]
    found += [f"signing {p}" for p in (*asked.grants, *asked.scored) if p not in decides]
    found += [f"keeping {p}" for p in asked.traces if p not in asked.publish or p in decides]
    for durable, filters in asked.consumers.items():
        if durable != asked.part or not all(p == f"{env}.>" or _under(p, env) for p in filters):
            found.append(f"the durable consumer {durable} of {', '.join(filters)}")
    if not _NKEY.fullmatch(asked.nkey) or (asked.nkey and asked.nkey in {other.nkey for other in others}):
        found.append(f"the connection key {asked.nkey!r}")
    return found


def same_needs(asked: GrantRequest, deployed: GrantRequest) -> bool:
    """Say whether a request asks for exactly what was deployed, whatever keys and version it comes with."""
    names = ("publish", "subscribe", "grants", "scored", "consumers", "traces", "answers")
    return all(getattr(asked, name) == getattr(deployed, name) for name in names)


def _may_publish(pattern: str, part: str, env: str, others: Iterable[GrantRequest]) -> bool:
    log = stream_name("log", env)
    if pattern in (
        f"$JS.API.DIRECT.GET.{log}",
        f"$JS.API.DIRECT.GET.{log}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{log}.{part}",
        f"$JS.ACK.{log}.{part}.>",
        Heartbeat.pattern(env).replace("*", part),
        DeadLetter.pattern(env).replace("*", part),
        Handshake.pattern(env),
        Decided.pattern(env),
    ):
        return True
    tokens = pattern.split(".")
    if not _under(pattern, env) or tokens[1] == "system" or ">" in tokens:
        return False
    theirs = (p for other in others for p in other.publish if _under(p, env))
    return not any(_overlap(tokens, p.split(".")) for p in theirs)


def _may_hear(pattern: str, part: str, env: str) -> bool:
    own = ("$SRV.*", f"$SRV.*.{part}", f"$SRV.*.{part}.*", f"{inbox_prefix(part)}.>")
    return pattern in own or _under(pattern, env)


def _under(pattern: str, env: str) -> bool:
    """Say whether a pattern stays within one domain of the environment."""
    first, *rest = pattern.split(".")
    return first == env and len(rest) > 1 and rest[0] not in ("*", ">", "")


def _overlap(a: list[str], b: list[str]) -> bool:
    """Say whether some subject matches both patterns."""
    for x, y in zip(a, b, strict=False):
        if ">" in (x, y):
            return True
        if x != y and "*" not in (x, y):
            return False
    return len(a) == len(b)
