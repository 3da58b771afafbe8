"""What a part must be granted, derived from its declaration alone."""

from __future__ import annotations

from shared.keys import Signer
from shared.part.declare import Declaration
from shared.subjects.system import GrantRequest


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
        grants=sorted(cls.pattern(env) for cls in decided),
        scored=sorted(cls.pattern(env) for cls in decided if cls.requires_scores),
        consumers=declared.consumers(env),
        traces=declared.traces(env),
    )
