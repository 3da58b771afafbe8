"""A proposal: key events that wait for their owners' signatures, in one file that travels between them.

The file is one line of JSON. Its steps are unsigned envelopes of the key lane, appended together or not at all. Every
owner signs each step's pre-authentication encoding on their own machine; what else the file says is for convenience:
`submit` checks it against the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from shared.codec import MAX_REASON_CHARS, decode
from shared.envelope import Attributes, Signature, Unsigned, assemble, fingerprint_of, read_event, read_signed, type_of
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.envelope.envelope import parse_rfc3339, rfc3339
from shared.envelope.keybook import ROOT_PART
from shared.errors import KeyFault, Refusal, Refused
from shared.keys import Signer, verify
from shared.log.tree import root_of
from shared.message import lookup
from shared.subjects.keys import Genesis, KeyIntroduced, KeyRevoked, RootKey

MAX_BYTES: Final = 4 * 2**20  #: no file of a ceremony is larger
Step = Genesis | KeyIntroduced | KeyRevoked


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One unsigned envelope."""

    payload: bytes
    events: tuple[bytes, ...]

    @property
    def unsigned(self) -> Unsigned:
        """The envelope, to be signed or assembled."""
        return Unsigned(self.payload, self.events)


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one owner signed: every step, in order."""

    key_id: str
    signatures: tuple[bytes, ...]


class Proposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps, whose signatures they need, and the signatures given so far."""

    format: Literal["nimmerverse-proposal-1"]
    env: str
    genesis: str  #: fingerprint of the log it is for, empty where it is the log's own genesis
    threshold: int
    roots: tuple[RootKey, ...]
    steps: tuple[Waiting, ...]
    given: tuple[Given, ...] = ()

    def owner(self, key_id: str) -> str | None:
        """Return who holds a root key, None for any other key."""
        return next((root.owner for root in self.roots if root.key_id == key_id), None)

    def signed_by(self) -> list[str]:
        """Return the owners who signed."""
        return [owner for given in self.given if (owner := self.owner(given.key_id))]

    def attributes(self) -> list[Attributes]:
        """Return what each step's signature covers."""
        return [read_signed(step.unsigned.message) for step in self.steps]

    def events(self) -> list[Step]:
        """Return the key event of each step."""
        return [_event(step, said) for step, said in zip(self.steps, self.attributes(), strict=True)]

    def entries(self) -> list[tuple[str, bytes]]:
        """Return subject and bytes of each step with the signatures given so far."""
        out: list[tuple[str, bytes]] = []
        for place, (step, said) in enumerate(zip(self.steps, self.attributes(), strict=True)):
            signatures = [Signature(given.key_id, given.signatures[place]) for given in self.given]
            out.append((said.subject, assemble(step.unsigned, signatures)))
        return out


def read_proposal(path: Path) -> Proposal:
    """Return the proposal in a file; KeyFault where there is none, Refused R005 where it is damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return msgspec.json.decode(data, type=Proposal)
    except OSError as error:
        raise KeyFault(f"{path} cannot be read ({error.strerror}): name the file of a proposal.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(Refusal("R005", f"{path} is no proposal: {str(error)[:MAX_REASON_CHARS]}")) from None


def encode_proposal(proposal: Proposal) -> str:
    """Return the file's text."""
    return msgspec.json.encode(proposal).decode() + "\n"


def check_proposal(proposal: Proposal, now: int) -> None:
    """Refuse a proposal that nobody should sign or submit at `now` (ms).

    R005 its bytes were changed or are no key events, R001 expired, R002 a signature is not of the key it names,
    R009 an owner signed twice.
    """
    if not proposal.steps:
        raise Refused(Refusal("R005", "the proposal proposes nothing"))
    said = proposal.attributes()
    for place, (step, one) in enumerate(zip(proposal.steps, said, strict=True)):
        whole = root_of(step.events) == one.root and one.count == len(step.events) == 1
        if not whole or (one.batch, one.prev, one.source) != (place, said[0].prev, ROOT_PART):
            raise Refused(Refusal("R005", f"step {place + 1} was changed: it is not what its own signed part says"))
        event = _event(step, one)
        expected = event.subject(proposal.env)
        if (one.subject, one.type) != (expected, type_of(expected)):
            raise Refused(Refusal("R005", f"step {place + 1} says {one.subject}, its event belongs on {expected}"))
        if isinstance(event, Genesis) and (tuple(event.roots), event.threshold) != (proposal.roots, proposal.threshold):
            raise Refused(Refusal("R005", "the roots the proposal lists are not those of its genesis"))
        _check_time(one, now)
    _check_given(proposal)


def cosign(proposal: Proposal, signer: Signer, now: int) -> Proposal:
    """Return the proposal with one more owner's signatures; Refused as check_proposal, R002 for no root key."""
    check_proposal(proposal, now)
    owner = proposal.owner(signer.key_id)
    if owner is None:
        known = ", ".join(f"{root.key_id} of {root.owner}" for root in proposal.roots)
        raise Refused(Refusal("R002", f"key {signer.key_id} is no root key of this log; those are {known}"))
    if owner in proposal.signed_by():
        raise Refused(
            Refusal("R009", f"{owner} has signed already; a second signature by one owner counts for nothing")
        )
    signatures = tuple(signer.sign(step.unsigned.message) for step in proposal.steps)
    return msgspec.structs.replace(proposal, given=(*proposal.given, Given(signer.key_id, signatures)))


def describe(proposal: Proposal) -> list[str]:
    """Return in words, decoded from the very bytes that are signed, what a signature would agree to."""
    said = proposal.attributes()
    after = f"after entry {said[0].prev} of its key lane" if said[0].prev >= 0 else "as its first entries"
    log = f"genesis {proposal.genesis}" if proposal.genesis else f"to be begun, genesis {_fingerprint(proposal)}"
    until = min(parse_rfc3339(one.time) + one.ttlms for one in said)
    lines = [f"log of {proposal.env} ({log}), {after}, to be submitted before {rfc3339(until)}"]
    lines += [f"{place}. {_words(event)}" for place, event in enumerate(proposal.events(), 1)]
    signed = ", ".join(proposal.signed_by()) or "nobody"
    return [*lines, f"signed by {signed}; {proposal.threshold} owners of {_owners(proposal.roots)} are needed"]


def shown(proposal: Proposal) -> dict[str, Any]:
    """Return the same for programs."""
    steps = [{"event": type(event).__name__, **msgspec.structs.asdict(event)} for event in proposal.events()]
    return {
        "env": proposal.env,
        "genesis": proposal.genesis or _fingerprint(proposal),
        "steps": steps,
        "threshold": proposal.threshold,
        "signed_by": proposal.signed_by(),
    }


def _words(event: Step) -> str:
    if isinstance(event, Genesis):
        roots = "; ".join(f"{root.owner} with key {root.key_id}" for root in event.roots)
        return f"begin the log: {event.threshold} of these owners introduce and revoke keys: {roots}"
    if isinstance(event, KeyRevoked):
        return f"revoke key {event.key_id}: {event.reason}"
    may = ", ".join(grant.pattern for grant in event.grants) or "nothing"
    return f"introduce key {event.key_id} of {event.part} (owner {event.owner}), which may sign {may}"


def _owners(roots: tuple[RootKey, ...]) -> str:
    return ", ".join(sorted({root.owner for root in roots}))


def _fingerprint(proposal: Proposal) -> str:
    event = read_event(proposal.steps[0].events[0])
    return fingerprint_of(bytes(event.data))


def _event(step: Waiting, said: Attributes) -> Step:
    cls = lookup(said.subject)
    for kind in (Genesis, KeyIntroduced, KeyRevoked):
        if cls is kind and len(step.events) == 1:
            return decode(kind, bytes(read_event(step.events[0]).data))
    raise Refused(Refusal("R005", f"{said.subject} is nothing that root keys decide"))


def _check_time(said: Attributes, now: int) -> None:
    written = parse_rfc3339(said.time)
    if now > written + said.ttlms:
        raise Refused(Refusal("R001", f"the proposal of {said.time} was valid for {said.ttlms} ms; propose anew"))
    if written > now + CLOCK_SKEW_MS:
        raise Refused(Refusal("R001", f"the proposal is of {said.time}, this machine's clock says {rfc3339(now)}"))


def _check_given(proposal: Proposal) -> None:
    public = {root.key_id: root.public for root in proposal.roots}
    for given in proposal.given:
        if given.key_id not in public or len(given.signatures) != len(proposal.steps):
            raise Refused(Refusal("R002", f"key {given.key_id} is no root key, or it did not sign every step"))
        for step, signature in zip(proposal.steps, given.signatures, strict=True):
            if not verify(public[given.key_id], step.unsigned.message, signature):
                raise Refused(
                    Refusal("R002", f"signature of key {given.key_id} does not verify: the proposal was changed")
                )
    owners = proposal.signed_by()
    if len(set(owners)) < len(owners):
        twice = next(owner for owner in owners if owners.count(owner) > 1)
        raise Refused(Refusal("R009", f"{twice} signed twice; one owner is one signature"))
