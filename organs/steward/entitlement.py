"""What a part that asks for itself may be granted: its own subjects, and nothing of the system's or a neighbour's.

One pure function judges a request whole; whoever asks learns everything that is wrong with it at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from shared.ballots import REVIEWER, ai_ballots, is_ballot
from shared.bus.bucket import bucket_permissions
from shared.bus.wire import inbox_prefix, stream_name
from shared.declaration import EVENT_TOKEN, EVENT_TOKENS
from shared.envelope.keybook import Key
from shared.errors import KeyFault
from shared.keys import check_public, key_id_of
from shared.message import Request, registered
from shared.part.declare import NAME
from shared.subjects.models import LEASE_HOLDER, LEASES
from shared.subjects.signing import SignRequest
from shared.subjects.system import DeadLetter, Decided, GrantRequest, Handshake, Heartbeat, LifeforceTold

RESERVED = ("root", "steward", "operator")
ENTITY = 4  #: the place of the entity in env.domain.service.event.entity.type
MAX_OWNER_CHARS = 200
_PATTERN = re.compile(r"((\*|[A-Za-z0-9_=-]+)\.)+(\*|>|[A-Za-z0-9_=-]+)")
_NKEY = re.compile(r"(U[A-Z2-7]{55})?")  # empty where somebody else administers the connections


def objections(asked: GrantRequest, env: str, others: Iterable[GrantRequest], keys: Collection[Key] = ()) -> list[str]:
    """Return why this request may not be granted beside the parts granted before and the keys the log knows.

    Empty when it may.
    """
    if asked.part in RESERVED or not NAME.fullmatch(asked.part):
        return [f"{asked.part!r} is a reserved identity or no part's name"]
    others = [other for other in others if other.part != asked.part]
    taken = [g.pattern for key in keys if key.last is None and key.part != asked.part for g in key.grants]
    taken += [p for other in others for p in other.grants]
    found = [
        f"publishing {p}"
        for p in asked.publish
        if not _may_publish(p, asked.part, env, others) or (_decides(p) and not _may_decide(p, asked, taken))
    ]
    found += [f"hearing {p}" for p in asked.subscribe if not _may_hear(p, asked.part, env, others)]
    found += [f"voting on {p}" for p in asked.grants if is_ballot(p, env) and not _may_vote(p, asked.part, env)]
    decides = [p for p in asked.publish if _decides(p)]
    found += [f"signing {p}" for p in (*asked.grants, *asked.scored) if p not in decides]
    found += [f"keeping {p}" for p in (*asked.traces, *asked.transitions) if p not in asked.publish or p in decides]
    for durable, filters in asked.consumers.items():
        if durable != asked.part or not all(p == f"{env}.>" or _under(p, env) for p in filters):
            found.append(f"the durable consumer {durable} of {', '.join(filters)}")
    if not _NKEY.fullmatch(asked.nkey) or (asked.nkey and asked.nkey in {other.nkey for other in others}):
        found.append(f"the connection key {asked.nkey!r}")
    return found + key_objections(asked, keys)


def key_objections(asked: GrantRequest, keys: Iterable[Key]) -> list[str]:
    """Return why the log would not take the request's signing key as this part's."""
    try:
        check_public(asked.public)
    except KeyFault as fault:
        return [f"the signing key: {fault}"]
    if asked.key_id != key_id_of(asked.public):
        return [f"the signing key {asked.key_id!r}: its id is {key_id_of(asked.public)}"]
    if not (0 < len(asked.owner) <= MAX_OWNER_CHARS and asked.owner.isprintable()):
        return [f"the owner {asked.owner!r}"]
    theirs = next((key.part for key in keys if key.key_id == asked.key_id and key.part != asked.part), None)
    return [f"the signing key {asked.key_id}: it is registered to {theirs}"] if theirs else []


def same_needs(asked: GrantRequest, deployed: GrantRequest) -> bool:
    """Say whether a request asks for exactly what was deployed, whatever keys it comes with."""
    names = ("version", "publish", "subscribe", "grants", "scored", "consumers", "traces", "transitions", "answers")
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
        SignRequest.pattern(env).replace("*", part),
    ):
        return True
    if part == LEASE_HOLDER and pattern in bucket_permissions(LEASES, env):
        return True
    tokens = pattern.split(".")
    if _overlap(tokens, SignRequest.pattern(env).split(".")):
        return False  # nobody asks for a signature in another's name, not even in one that is not granted yet
    if not _under(pattern, env) or tokens[1] == "system" or ">" in tokens or tokens[3:4] == ["*"]:
        return False  # a wildcard for the fourth token covers decisions, whosever they are
    theirs = (p for other in others for p in other.publish if _under(p, env))
    return not any(_overlap(tokens, p.split(".")) for p in theirs)


def _decides(pattern: str) -> bool:
    return pattern.split(".")[3:4] == [EVENT_TOKEN]


def _may_vote(pattern: str, part: str, env: str) -> bool:
    """Say whether this is the AI's vote, asked for by the reviewer; no other part votes in any role."""
    return part == REVIEWER and pattern == ai_ballots(env)


def _may_decide(pattern: str, asked: GrantRequest, taken: Iterable[str]) -> bool:
    """Say whether a pattern is of one type on lanes of one service that are nobody else's, and is asked for as such."""
    tokens = pattern.split(".")
    fixed = [token for place, token in enumerate(tokens) if place != ENTITY]
    if len(tokens) != EVENT_TOKENS + 1 or "*" in fixed or pattern not in asked.grants:
        return False
    return not any(_overlap(tokens[: ENTITY + 1], _lanes(p)) for p in taken)


def _lanes(grant: str) -> list[str]:
    """Return the tokens of the lanes on which a key may sign."""
    tokens = grant.split(".")
    return tokens if ">" in tokens[: ENTITY + 1] else tokens[: ENTITY + 1]


def _may_hear(pattern: str, part: str, env: str, others: Iterable[GrantRequest]) -> bool:
    """Decisions are heard from the log alone, of the system only heartbeats and lifeforce, a request by one part."""
    system = (Heartbeat.pattern(env), LifeforceTold.pattern(env))
    if pattern in ("$SRV.*", f"$SRV.*.{part}", f"$SRV.*.{part}.*", f"{inbox_prefix(part)}.>", *system):
        return True
    tokens = pattern.split(".")
    if not _under(pattern, env) or tokens[1] == "system" or ">" in tokens or _decides(pattern):
        return False
    if _overlap(tokens, [env, "*", "*", EVENT_TOKEN, "*", "*"]):
        return False
    theirs = [p.split(".") for other in others for p in other.subscribe if _under(p, env)]
    return not any(_overlap(tokens, p) and _is_request(p, env) for p in theirs)


def _is_request(heard: list[str], env: str) -> bool:
    """Say whether what a part hears is a request: a class known here, or named as one."""
    known = (c.pattern(env).split(".") for c in registered().values() if issubclass(c, Request))
    return heard[-1] == "request" or any(_overlap(heard, p) for p in known)


def _under(pattern: str, env: str) -> bool:
    """Say whether a well-formed pattern stays within one domain of the environment."""
    first, *rest = pattern.split(".")
    return _PATTERN.fullmatch(pattern) is not None and first == env and len(rest) > 1 and rest[0] not in ("*", ">", "")


def _overlap(a: list[str], b: list[str]) -> bool:
    """Say whether some subject matches both patterns."""
    for x, y in zip(a, b, strict=False):
        if ">" in (x, y):
            return True
        if x != y and "*" not in (x, y):
            return False
    return len(a) == len(b)
