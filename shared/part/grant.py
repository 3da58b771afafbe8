"""What a part must be granted, derived from its declaration alone."""

from __future__ import annotations

import msgspec

from shared.keys import Signer
from shared.part.declare import Declaration
from shared.subjects.system import GrantRequest

FRESH_KEY = "fresh key needed"  #: how the detail of a B005 begins where the part has to come with another signing key


def endorsed(env: str, asked: GrantRequest) -> bytes:
    """Return the bytes by which a part's current key vouches for new keys; no field holds a newline."""
    fields = (env, asked.part, asked.key_id, asked.nkey)
    return b"nimmerverse 2026 grant v1\n" + "\n".join(fields).encode()


def endorse(asked: GrantRequest, env: str, current: Signer) -> GrantRequest:
    """Return the request with the word of the part's current key for its new one."""
    return msgspec.structs.replace(asked, endorsement=current.sign(endorsed(env, asked)))


def grant_request(declared: Declaration, env: str, nkey: str, signer: Signer, owner: str) -> GrantRequest:
    """Return the grant request of a declared part in `env`: subjects, consumers, traces and its two public keys."""
    decided = declared.decides()
    return GrantRequest(
        part=declared.name,
        version=declared.version,
        owner=owner,
        nkey=nkey,
        key_id=signer.key_id,
        public=signer.public,
        publish=declared.publish(env),
        subscribe=declared.subscribe(env),
        answers=True,
        grants=sorted(cls.signing_pattern(env, declared.name) for cls in decided),
        scored=sorted(cls.signing_pattern(env, declared.name) for cls in decided if cls.requires_scores),
        consumers=declared.consumers(env),
        traces=declared.traces(env),
        transitions=declared.transitions(env),
    )
