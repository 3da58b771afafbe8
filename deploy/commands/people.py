"""`people add`, `people list`, `people remove` and `vote`: who may vote and sign, in which roles, and doing it."""

from __future__ import annotations

import re
from argparse import Namespace
from typing import cast

from deploy.asking import seen
from deploy.attach import operator, reader
from deploy.commands.task import finish
from deploy.load import BUILT_IN, ON_REQUEST
from deploy.people import new_key, public_key, voice, voters_key
from deploy.promoting import noted
from deploy.terminal import Terminal
from shared.ballots import signed_ballot, verify_ballot
from shared.bus import Bus, Draft, Receipt
from shared.config import Loaded
from shared.consensus import VOTING
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, KeyFault, NotPermitted, Refusal, Refused, Unreachable
from shared.home import Keys
from shared.keys import key_id_of
from shared.people import Person, people_of, roles_in
from shared.subjects.consensus import Choice, MayVote, Role, VoteCounted
from shared.subjects.keys import KEYS_LANE
from shared.subjects.people import EndPerson, IntroducePerson, PersonEnded
from shared.subjects.registry import FamilyStated, FamilyStatus
from shared.subjects.system import Granted
from shared.world import RealWorld, new_id

COUNTED_S = constant(5.0, "s", "ZER-02")
_MANIFEST = re.compile(r"[0-9a-f]{64}")


def add(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Introduce a person's key, made here unless its public half is given, for ballots in these roles."""
    name, roles = cast("str", args.name), roles_in(args.role)
    ours = {part.rpartition(".")[2] for part in (*BUILT_IN, *ON_REQUEST)}
    if name in ours:
        raise ConfigFault(f"{name} is the name of a part; give the person another one")

    async def main() -> Exit:
        settings = loaded.settings
        async with operator(loaded, terminal.note) as bus:
            people = await _people(bus)
            keys = Keys(settings, RealWorld(settings.env))
            ended = {one.key.key_id for one in people if one.key.last is not None}
            public = public_key(args.public) if args.public else new_key(keys, name, ended).public
            nkey = keys.nkey(name) if settings.nats_url is None else ""
            answer = await bus.request(IntroducePerson(name, roles, key_id_of(public), public, nkey))
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, Granted)
        told = {"person": name, "roles": roles, "key_id": key_id_of(public), "index": answer.index}
        terminal.give(
            told, f"{name} votes as {', '.join(roles)} from index {answer.index} on, with key {told['key_id']}"
        )
        return Exit.OK

    return finish(main())


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List the people whom the log introduced, and those whose keys ended."""

    async def main() -> Exit:
        async with reader(loaded) as bus:
            for person in await _people(bus):
                key = person.key
                until = "" if key.last is None else f" to {key.last}"
                told = {"person": person.name, "roles": list(person.roles), "key_id": key.key_id}
                told |= {"first": key.first, "last": key.last}
                terminal.give(told, f"{person.name:<20} {', '.join(person.roles):<40} {key.key_id}  {key.first}{until}")
        return Exit.OK

    return finish(main())


def remove(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Revoke a person's key; what it signed before stays counted."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(EndPerson(args.name, args.reason))
        if isinstance(answer, Refusal):
            raise Refused(answer)
        assert isinstance(answer, PersonEnded)
        told = {"person": answer.person, "key_id": answer.key_id, "index": answer.index}
        terminal.give(told, f"{answer.person} votes no more: key {answer.key_id} ended at {answer.index}")
        return Exit.OK

    return finish(main())


def vote(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Sign a ballot with the voter's own key, append it on their lane, and tell how it was counted."""
    about, role, choice = cast("str", args.about), cast("Role", args.role), cast("Choice", args.choice)
    if role not in VOTING and not _MANIFEST.fullmatch(about):
        raise ConfigFault(f"{role} signs manifests, named by 64 hexadecimal digits; {about!r} is no such digest")
    if role not in VOTING and not args.family:
        raise ConfigFault("a manifest is of a family of models: name it with --family")

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            signer = voters_key(args, loaded.settings)
            ballot = signed_ballot(signer, role, args.voter, about, choice, args.reason, args.evidence, args.family)
            await _check_role(bus, args.voter, role, signer.public)
            if role in VOTING:
                allowed = await bus.request(MayVote(about, args.voter, role))
                if isinstance(allowed, Refusal):
                    raise Refused(allowed)
            if not verify_ballot(ballot, signer.public):
                raise KeyFault(f"the key of {args.voter} made a signature that does not verify; nothing was cast")
            async with voice(loaded, args.voter, signer) as own:
                receipt = await own.append(Draft(ballot, new_id(own.world)))
            counted = await _counted(bus, about, receipt.index) if role in VOTING else None
            heard = role not in VOTING and await _noted(bus, args.family, receipt)
        told = {"voter": args.voter, "role": role, "about": about, "choice": choice}
        told |= {"index": receipt.index, "counts": counted.counts if counted else None}
        told |= {"state": counted.state if counted else None, "noted": None if role in VOTING else heard}
        cast_at = f"{args.voter} votes {choice} as {role} at ({receipt.index}, 0)"
        terminal.give(told, _said(cast_at, counted) if role in VOTING else _signed(cast_at, heard=heard))
        return Exit.REFUSED if counted is not None and counted.counts == "void" else Exit.OK

    return finish(main())


async def _people(bus: Bus) -> list[Person]:
    await bus.follow(KEYS_LANE.format(env=bus.env))
    return people_of(bus.prefix.keys, bus.env)


async def _check_role(bus: Bus, voter: str, role: Role, public: bytes) -> None:
    """Refuse what the bus would refuse too, by its own name: another key, or a role it was not introduced with."""
    found = [one for one in await _people(bus) if one.name == voter and one.key.last is None]
    if not found:
        raise Refused(Refusal("G010", f"the log knows no {voter!r}; `nimmerverse people list` shows them"))
    [person] = found
    if person.key.public != public:
        here, there = key_id_of(public), person.key.key_id
        raise Refused(Refusal("R007", f"this is key {here}, the log knows {voter} by {there}"))
    if role not in person.roles:
        raise Refused(Refusal("G007", f"{voter} was introduced as {', '.join(person.roles)}, not as {role}"))


async def _counted(bus: Bus, proposal: str, index: int) -> VoteCounted | None:
    """Return how a ballot was counted, None where nobody did so in time."""
    lane = VoteCounted.lane_about(bus.env, proposal)

    async def counted() -> VoteCounted | None:
        votes = [vote for verdict in await bus.follow(lane) for vote, _ in decisions_in(verdict, VoteCounted)]
        return next((vote for vote in votes if vote.ballot_index == index), None)

    return await seen(bus, COUNTED_S, counted)


async def _noted(bus: Bus, family: str, receipt: Receipt) -> bool:
    """Wait until the registry has noted a word about a family that it knows; False where nobody does."""
    try:
        known = await bus.request(FamilyStatus(family))
    except (NotPermitted, Unreachable):  # nobody here ever was who could answer, or can now
        return False
    return isinstance(known, FamilyStated) and await noted(bus, family, [(receipt.index, receipt.offset)])


def _signed(cast_at: str, *, heard: bool) -> str:
    noting = "noted by the registry" if heard else "the registry has not noted it yet"
    return f"{cast_at}; {noting}, it counts where the manifest is promoted"


def _said(cast_at: str, counted: VoteCounted | None) -> str:
    if counted is None:
        return f"{cast_at}; nobody counted it yet"
    why = f" ({counted.void_reason})" if counted.void_reason else ""
    return f"{cast_at}; {counted.counts}{why}, the proposal is {counted.state}"
