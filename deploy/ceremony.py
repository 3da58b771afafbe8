"""The ceremony of root keys whose owners are several: proposed where the log is, signed by each owner, then submitted.

Nothing here signs. What is submitted was judged by admission before it is sent, so too few owners are R009 before the
log hears of it; the append is a compare-and-set on the key lane, and giving `submit` again is safe.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from deploy.host import HOST_OWNER, ROOT, STEWARD, host_for
from deploy.load import BUILT_IN, ON_REQUEST, find_part
from deploy.organism import needs_of_steward
from deploy.people import public_key
from deploy.proposal import Proposal, Step, Waiting, check_proposal
from deploy.roots import read_roots
from organs.steward import grants_of
from organs.steward.ports import log_config
from shared.ballots import roles_granted
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.bus.ledger import APPEND_TIMEOUT_S
from shared.codec import encode
from shared.config import Loaded
from shared.constant import constant
from shared.envelope import Attributes, admit, derive_event_id, pack_event, prepare, read_event, rfc3339, type_of
from shared.envelope.keybook import Key
from shared.errors import ConfigFault, KeyFault, Refusal, Refused
from shared.home import Keys, Running, nkey_path
from shared.log.entry import Entry
from shared.part import declaration, grant_request
from shared.people import needs_of, roles_in
from shared.settings import Settings
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, Genesis, KeyIntroduced, KeyRevoked, RootKey
from shared.subjects.system import GrantRequest
from shared.version import VERSION
from shared.world import RealWorld, new_id, now_ms

PROPOSAL_TTL_MS = constant(14 * 86_400_000, "ms", "ILL-07")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log is: its bus without any key, the host's own keys, and the root keys the settings name."""

    bus: Bus
    keys: Keys
    settings: Settings

    @property
    def lane(self) -> str:
        """The lane of key events."""
        return KEYS_LANE.format(env=self.bus.env)


@asynccontextmanager
async def place_of(loaded: Loaded) -> AsyncGenerator[Place]:
    """Yield the log's place with the key lane read: of a running organism, or of a host started for the moment."""
    settings = loaded.settings
    running = Running.read(settings) if settings.nats_url is None else None
    world = RealWorld(settings.env)
    if running is not None:
        wire = await connect(running.url, STEWARD, nkey=nkey_path(settings, STEWARD), fast=settings.fast)
        bus = Bus(world, wire, ROOT, VERSION, [])
        try:
            await bus.follow(KEYS_LANE.format(env=bus.env))
            yield Place(bus, Keys(settings, world), settings)
        finally:
            await bus.drain()
        return
    host = host_for(settings)
    await host.start()
    try:
        bus = Bus(world, await host.wire(STEWARD), ROOT, VERSION, [])
        try:
            if await host.ground.subjects_of(bus.log) is None:
                await host.ground.create_stream(log_config(bus.env))
            await bus.follow(KEYS_LANE.format(env=bus.env))
            yield Place(bus, host.keys, settings)
        finally:
            await bus.drain()
    finally:
        await host.stop()


def propose_genesis(place: Place, names: Sequence[str]) -> Proposal:
    """Return the proposal that begins the log with the roots of the settings and introduces these parts at once."""
    if place.bus.prefix.keys.fingerprint is not None:
        raise KeyFault(f"the log of {place.bus.env} has its genesis already: propose `introduce` or `revoke`.")
    if place.settings.root_keys is None:
        raise ConfigFault("no owners are named: set root_keys to the file with their public keys and the threshold")
    roots, threshold = read_roots(place.settings.root_keys)
    one_host = len({root.owner for root in roots}) == 1
    genesis = Genesis(KEYS_ENTITY, roots, threshold, one_host, [place.bus.log])
    events: list[Step] = [genesis]
    for name in names:
        events += _introduction(place, name)
    return _proposal(place, events, tuple(roots), threshold)


def propose_introduce(place: Place, names: Sequence[str]) -> Proposal:
    """Return the proposal that introduces these parts' keys, each with the grants it needs now."""
    events = [event for name in names for event in _introduction(place, name)]
    if not events:
        raise KeyFault(f"the log knows the keys of {', '.join(names)} with all they need: there is nothing to propose.")
    return _of_log(place, events)


def propose_revoke(place: Place, name: str, reason: str) -> Proposal:
    """Return the proposal that ends a part's current key."""
    if not reason:
        raise ConfigFault("keys propose revoke needs --reason TEXT: the log keeps why a key ended")
    current = place.bus.prefix.keys.current(name)
    if current is None or name == ROOT:
        known = sorted({key.part for key in place.bus.prefix.keys.keys.values() if key.last is None} - {ROOT})
        raise KeyFault(f"the log knows no key of {name} that could be revoked; it knows {', '.join(known) or 'none'}")
    return _of_log(place, [KeyRevoked(KEYS_ENTITY, current.key_id, None, reason)])


async def submit(place: Place, proposal: Proposal) -> int:
    """Append what the owners signed and return the index of the last step; repeated, the same index.

    Refused by the name admission has for it before anything is sent, B007 where the key lane moved meanwhile.
    """
    bus = place.bus
    check_proposal(proposal, now_ms(bus.world))
    lane, said = place.lane, proposal.attributes()
    if proposal.env != bus.env or proposal.genesis not in ("", bus.prefix.keys.fingerprint):
        theirs = f"{proposal.env} with genesis {proposal.genesis}"
        raise Refused(Refusal("R008", f"the proposal is for the log of {theirs}, this one is {bus.env}'s own"))
    last_id = read_event(proposal.steps[-1].events[0]).id
    done = bus.prefix.lane(lane).seen.get((ROOT, last_id))
    if done is not None:
        return done[0]
    _check_lane(proposal, bus.prefix.lane(lane).last)
    await _judge(bus, proposal)
    try:
        index = await bus.wire.append(proposal.entries(), lane, said[0].prev, APPEND_TIMEOUT_S)
    except Refused as no:
        if no.refusal.code == "B007":
            await bus.follow(lane)
            _check_lane(proposal, bus.prefix.lane(lane).last)
        raise
    for verdict in await bus.follow(lane):
        if verdict.refusal and verdict.entry.index <= index:
            raise Refused(verdict.refusal)
    return index


def _check_lane(proposal: Proposal, last: int) -> None:
    prev = proposal.attributes()[0].prev
    if last != prev:
        raise Refused(
            Refusal(
                "B007",
                f"the key lane moved from {prev} to {last} since this was proposed, so these signatures fit it no "
                "more: propose anew and have the owners sign that",
            )
        )


async def _judge(bus: Bus, proposal: Proposal) -> None:
    """Refuse what admission would refuse if it were appended now."""
    if not proposal.given:  # an envelope without any signature could not even be read
        raise Refused(Refusal("R009", f"nobody signed yet, {proposal.threshold} distinct owners are needed"))
    newest = await bus.newest()
    index, prefix = (newest.index + 1 if newest else 0), copy.deepcopy(bus.prefix)
    for place, (subject, raw) in enumerate(proposal.entries()):
        verdict = admit(prefix, Entry(index + place, subject, bus.world.now_ns(), raw))
        if verdict.refusal is not None:
            raise Refused(verdict.refusal)
        prefix.fold(verdict)


def _introduction(place: Place, name: str) -> list[Step]:
    """Return the steps by which the log learns a part's key with what it needs; none where it knows it so."""
    asked = _needs(place, name)
    book = place.bus.prefix.keys
    current, wanted = book.current(asked.part), grants_of(asked)
    known = book.keys.get(asked.key_id)
    if known is not None and known == current and list(known.grants) == wanted:
        return []
    if known is not None and (known.part != asked.part or "=" in name):
        raise KeyFault(f"the log knows {asked.key_id} as a key of {known.part}; give {asked.part} another one")
    key_id, public = asked.key_id, asked.public
    if known is not None:  # a key is introduced once: another one takes its place, and is kept staged until then
        staged = place.keys.stage_rotation(asked.part)
        key_id, public = staged.key_id, staged.public
    ended: list[Step] = [KeyRevoked(KEYS_ENTITY, current.key_id, None, "replaced at a new grant")] if current else []
    roles = roles_granted(place.bus.env, asked.part, asked.grants) or ["part"]
    return [*ended, KeyIntroduced(KEYS_ENTITY, key_id, public, asked.part, asked.owner, [*roles], wanted)]


def _needs(place: Place, name: str) -> GrantRequest:
    env = place.bus.env
    if name == STEWARD:
        return needs_of_steward(env, "", place.keys.signer(STEWARD, HOST_OWNER))
    if "=" in name:
        return _needs_of_person(place, name)
    spelled = next((known for known in (*BUILT_IN, *ON_REQUEST) if known.rpartition(".")[2] == name), name)
    part = find_part(spelled)
    signer = place.keys.signer(part.name, HOST_OWNER)
    return grant_request(declaration(part.__new__(part)), env, "", signer, HOST_OWNER)


def _needs_of_person(place: Place, spelled: str) -> GrantRequest:
    """Return what `ada=human,cto` needs, or `ada=human=64 hex digits` of a key that lies with its owner."""
    name, _, rest = spelled.partition("=")
    roles, _, public = rest.partition("=")
    chosen = roles_in(roles.split(","))
    key = public_key(public) if public else place.keys.signer(name, name).public
    return needs_of(place.bus.env, name, chosen, "", key)


def _of_log(place: Place, events: Sequence[Step]) -> Proposal:
    book = place.bus.prefix.keys
    if book.fingerprint is None:
        raise KeyFault(
            f"the log of {place.bus.env} has no genesis yet: `nimmerverse keys propose genesis` comes first."
        )
    roots = [key for key in book.keys.values() if key.part == ROOT]
    return _proposal(place, events, tuple(_root_key(key) for key in roots), book.threshold)


def _root_key(key: Key) -> RootKey:
    return RootKey(key.key_id, key.public, key.owner)


def _proposal(place: Place, events: Sequence[Step], roots: tuple[RootKey, ...], threshold: int) -> Proposal:
    bus, steps = place.bus, list[Waiting]()
    prev, written = bus.prefix.lane(place.lane).last, rfc3339(now_ms(bus.world))
    for at, event in enumerate(events):
        subject = event.subject(bus.env)
        genesis = derive_event_id(b"", ROOT, "genesis", 0)
        event_id = genesis if isinstance(event, Genesis) else new_id(bus.world)
        attributes = Attributes(
            id=event_id.hex(),
            source=ROOT,
            specversion="1.0",
            type=type_of(subject),
            subject=subject,
            time=written,
            ttlms=PROPOSAL_TTL_MS,
            agent="SOVEREIGN",
            boot=bus.world.boot,
            sequence=at + 1,
            version=VERSION,
            correlation="",
            prev=prev,
            batch=at,
            count=0,
            root=b"",
        )
        unsigned = prepare(attributes, [pack_event(event_id, encode(event))])
        steps.append(Waiting(unsigned.payload, unsigned.events))
    fingerprint = bus.prefix.keys.fingerprint or ""
    return Proposal("nimmerverse-proposal-1", bus.env, fingerprint, threshold, roots, tuple(steps))
