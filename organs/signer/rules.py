"""What the signing proxy signs for whom: one rule per caller, and the one function that judges a request by it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.constant import constant
from shared.envelope import covers, read_signed, rfc3339, type_of
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.envelope.envelope import Agent, parse_rfc3339
from shared.envelope.keybook import ROOT_PART
from shared.errors import ConfigFault, Refusal, Refused
from shared.message import lane_of
from shared.settings import Token
from shared.subjects.keys import KEYS_LANE

MAX_SIGNED_BYTES = constant(8_192, "bytes", "ILL-07")
Pattern = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*\.[a-z0-9_-]+\.event\.[A-Za-z0-9_=*-]+\.[a-z0-9_-]+$")]
KEPT: Final = (ROOT_PART, "steward")  #: who signs by hand or at home, never by proxy


class Rule(BaseModel):
    """What is signed for one caller: with which key, on which subjects (without the environment), as which agent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Token
    subjects: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    agent: Agent = "SOVEREIGN"
    ttl_ms: Annotated[int, Field(gt=0)] = 60_000  #: no envelope that is valid for longer is signed


class Rules(BaseModel):
    """The whole file: `[callers.NAME]` tables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: dict[Token, Rule]


def read_rules(path: Path) -> dict[str, Rule]:
    """Return the rules in a TOML file by caller; ConfigFault where it is anything else."""
    try:
        with path.open("rb") as file:
            rules = Rules.model_validate(tomllib.load(file)).callers
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}): signing_rules names a TOML file.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"])
        raise ConfigFault(f"{path} is no list of signing rules: {where}: {first['msg']}; correct it.") from None
    except ValueError as error:
        raise ConfigFault(f"{path} is not valid TOML ({error}): correct it.") from error
    kept = next((name for caller, rule in rules.items() for name in (caller, rule.key) if name in KEPT), None)
    if kept:
        raise ConfigFault(f"{path} lets the proxy sign as {kept}, which it never does: remove that rule.")
    return dict(rules)


def judge(rules: Mapping[str, Rule], caller: str, message: bytes, env: str, now: int) -> Rule:
    """Return the rule by which the message is signed for the caller at `now` (ms); Refused otherwise.

    B005 no rule, B003 too large, R005 no envelope, R001 expired, future or valid for too long, R008 a subject that is
    no decision of this environment, R007 the caller's rule does not cover what the envelope says.
    """
    rule = rules.get(caller)
    if rule is None:
        raise Refused(Refusal("B005", f"there is no signing rule for {caller}"))
    if len(message) > MAX_SIGNED_BYTES:
        raise Refused(Refusal("B003", f"the message has {len(message)} bytes, at most {MAX_SIGNED_BYTES} are signed"))
    said = read_signed(message)
    written = parse_rfc3339(said.time)
    if not 0 < said.ttlms <= rule.ttl_ms:
        raise Refused(Refusal("R001", f"it would be valid for {said.ttlms} ms, at most {rule.ttl_ms} ms are signed"))
    if not now - said.ttlms <= written <= now + CLOCK_SKEW_MS:
        raise Refused(Refusal("R001", f"written {said.time}, the proxy's clock says {rfc3339(now)}"))
    lane = lane_of(said.subject)
    if lane is None or not said.subject.startswith(f"{env}.") or said.type != type_of(said.subject):
        raise Refused(Refusal("R008", f"{said.subject} of type {said.type} is no decision of {env}"))
    if said.source != caller:
        raise Refused(Refusal("R007", f"{caller} asked for an envelope of {said.source}"))
    if said.agent != rule.agent:
        raise Refused(Refusal("R007", f"{caller} asked as {said.agent}, its rule says {rule.agent}"))
    if lane == KEYS_LANE.format(env=env) or not any(covers(f"{env}.{p}", said.subject) for p in rule.subjects):
        raise Refused(Refusal("R007", f"the rule of {caller} does not cover {said.subject}"))
    return rule
