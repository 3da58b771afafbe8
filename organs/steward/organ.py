"""The steward: the one identity that creates streams and consumers, introduces keys and greets parts.

Every change is logged before it is made; the genesis records the log itself. Nobody else may change the ground.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from organs.steward.entitlement import RESERVED, key_objections, objections, same_needs
from organs.steward.ports import (
    TRACE_AGE_S,
    TRANSITION_AGE_S,
    Door,
    Ground,
    consumer_config,
    dead_config,
    kept_config,
    leases_config,
    log_config,
    outcomes_config,
)
from shared.ballots import roles_granted
from shared.bus import Bus, Draft
from shared.bus.wire import Kept, stream_name
from shared.codec import MAX_REASON_CHARS
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope import Verdict, derive_event_id
from shared.envelope.keybook import NOTARY_PART, Key
from shared.errors import KeyFault, LogFault, Refusal, Refused
from shared.keys import verify
from shared.message import Decision, registered
from shared.part.declare import NAME
from shared.part.grant import FRESH_KEY, endorsed
from shared.part.handshake import shape_digest
from shared.part.organ import Organ
from shared.people import needs_of, needs_of_all, person_of, roles_refused
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, Genesis, Grant, KeyIntroduced, KeyRevoked, RootKey
from shared.subjects.people import EndPerson, IntroducePerson, PersonEnded
from shared.subjects.system import (
    Granted,
    GrantRequest,
    Handshake,
    HandshakeAck,
    PartGranted,
    Setting,
    Started,
    StreamsChanged,
)
from shared.world import new_id

ECHOES = constant(5, "attempts", "NIM-22")
ECHO_S = constant(0.8, "s", "NIM-22")


class NeedsFreshKey(Refused):
    """The log holds this signing key otherwise than it is needed now: another one has to take its place."""

    def __init__(self, why: str) -> None:
        super().__init__(Refusal("B005", f"{FRESH_KEY}: {why}"))


class StewardOrgan(Organ):
    """Prepares the ground, then answers grant requests and handshakes. Speaks as `steward` and, for keys, as `root`."""

    name: ClassVar[str] = "steward"
    version: ClassVar[str] = "1.0.0"

    def __init__(self, ground: Ground, door: Door, bus: Bus, root: Bus) -> None:
        self.ground, self.door, self.bus, self.root = ground, door, bus, root
        self.env = bus.env
        self.granted: dict[str, GrantRequest] = {}
        self.deployed: dict[str, GrantRequest] = {}  #: those the host granted itself
        self._granting = asyncio.Lock()
        self._logged: dict[str, tuple[str, list[str], list[str]]] = {}
        bus.observers.append(self._remember)

    # Preparing the ground

    async def prepare(self, roots: Sequence[RootKey], threshold: int, steward: GrantRequest) -> str:
        """Make the log and its genesis, the steward's own key and the other streams exist; return the fingerprint."""
        await self.begin()
        if self.root.prefix.keys.fingerprint is None:
            genesis = Genesis(KEYS_ENTITY, list(roots), threshold, len({r.owner for r in roots}) == 1, [self.bus.log])
            await self.root.append(Draft(genesis, derive_event_id(b"", "root", "genesis", 0)))
        known = {key.key_id for key in self.root.prefix.keys.keys.values() if key.part == "root"}
        if known != {root.key_id for root in roots}:
            raise LogFault(
                f"the log of {self.env} was begun with other root keys; use its own keyring, or another home"
            )
        await self._introduce(steward)
        self.granted[steward.part] = steward
        await self.bus.follow(f"{self.env}.system.steward.event.{KEYS_ENTITY}")
        for shape in (dead_config, outcomes_config, leases_config):
            config = shape(self.env, self.ground.replicas)
            if await self.ground.subjects_of(config["name"]) is None:
                await self._create_stream(config)
        fingerprint = self.root.prefix.keys.fingerprint
        assert fingerprint is not None
        return fingerprint

    async def begin(self) -> None:
        """Make the log's stream exist, and read what it says about keys."""
        if await self.ground.subjects_of(self.bus.log) is None:
            await self.ground.create_stream(log_config(self.env, self.ground.replicas))
        await self.root.follow(self._keys_lane())

    async def unknown(self, asked: Sequence[GrantRequest]) -> list[str]:
        """Return the parts whose keys the log does not know with the grants they need: its roots have to sign first."""
        out: list[str] = []
        for one in asked:
            try:
                known = await self._known(one, trusted=True)
            except (NeedsFreshKey, KeyFault):
                known = None
            if known is None:
                out.append(one.part)
        return out

    async def record_start(self, loaded: Loaded, version: str) -> None:
        """Log the effective configuration this start runs with (COL-17)."""
        settings = [Setting(row.name, str(row.value), row.origin) for row in loaded.effective()]
        await self._log(Started(KEYS_ENTITY, self.bus.world.boot, version, settings))

    async def grant(self, asked: GrantRequest, *, trusted: bool = False) -> int:
        """Give a part its subjects, consumers and key; each change is logged first. Return the newest key index.

        `trusted` says that the host deploys the part itself: nobody else may then take its name with other needs.
        Raises Refused, NeedsFreshKey among it, and KeyFault before anything is written.
        """
        async with self._granting:
            index = await self._grant(asked, trusted=trusted)
            if trusted:
                self.deployed[asked.part] = asked
            return index

    async def _grant(self, asked: GrantRequest, *, trusted: bool) -> int:
        if await self._known(asked, trusted=trusted) is None and not self.root.signers:
            how = f"`nimmerverse keys propose introduce {asked.part}`"
            raise Refused(Refusal("B005", f"the root keys are with their owners, who introduce {asked.part}: {how}"))
        unfit = key_objections(asked, self.root.prefix.keys.keys.values())
        if unfit:
            raise Refused(Refusal("B005", f"{asked.part} may not be granted {'; '.join(unfit)}"[:MAX_REASON_CHARS]))
        if self._logged.get(asked.part) != (asked.version, asked.publish, asked.subscribe):
            await self._log(PartGranted(KEYS_ENTITY, asked.part, asked.version, asked.publish, asked.subscribe))
        for durable, filters in asked.consumers.items():
            config = consumer_config(durable, sorted(filters))
            if not await self.ground.has_consumer(self.bus.log, config):
                await self._log(
                    StreamsChanged(KEYS_ENTITY, self.bus.log, "consumer", json.dumps(config, sort_keys=True))
                )
                await self.ground.create_consumer(self.bus.log, config)
        await self._keep("traces", TRACE_AGE_S, asked.part, asked.traces)
        await self._keep("transitions", TRANSITION_AGE_S, asked.part, asked.transitions)
        index = await self._introduce(asked)
        await self.door.admit(asked.part, asked.nkey, asked.publish, asked.subscribe, answers=asked.answers)
        self.granted[asked.part] = asked
        return index

    # Answering

    async def on_grant(self, request: GrantRequest) -> Granted | Refusal:
        """Admit a part at once in dev; elsewhere a part is admitted by `up` from the deployed declarations alone."""
        async with self._granting:
            try:
                await self._judge_grant(request)
                return Granted(request.part, await self._grant(request, trusted=False))
            except Refused as no:
                return no.refusal

    async def _judge_grant(self, request: GrantRequest) -> None:
        """Raise Refused where the request asks for too much, or comes from somebody else than the part it names."""
        deployed = self.deployed.get(request.part)
        open_to_all = self.env == "dev" and deployed is None and request.part != NOTARY_PART
        if not open_to_all and not (deployed and same_needs(request, deployed)):
            found = "not in it" if deployed is None else "in it with other needs"
            why = f"{request.part} is admitted from the deployed set of {self.env}, it is {found}"
            raise Refused(Refusal("B005", why))
        await self.root.follow(self._keys_lane())
        book = self.root.prefix.keys
        unlawful = objections(request, self.env, self.granted.values(), book.keys.values())
        if unlawful:
            why = f"{request.part} may not be granted {'; '.join(unlawful)}"
            raise Refused(Refusal("B005", why[:MAX_REASON_CHARS]))
        await self._known(request, trusted=False)
        current, before = book.current(request.part), self.granted.get(request.part)
        same_key = current is None or current.key_id == request.key_id
        same_nkey = before is None or before.nkey == request.nkey
        vouched = current and verify(current.public, endorsed(self.env, request), request.endorsement)
        if not (same_key and same_nkey) and not vouched:
            why = f"{request.part} is known with other keys; its current signing key has to endorse new ones"
            raise Refused(Refusal("B005", why))

    async def on_person(self, request: IntroducePerson) -> Granted | Refusal:
        """Introduce a person's key for ballots in their roles; another key, or other roles, need an end first."""
        async with self._granting:
            try:
                no = roles_refused(request.roles) or await self._name_refused(request.person, request.key_id)
                if no is not None:
                    return no
                asked = needs_of(self.env, request.person, request.roles, request.nkey, request.public)
                return Granted(request.person, await self._grant(asked, trusted=False))
            except (Refused, KeyFault) as no:
                return no.refusal if isinstance(no, Refused) else Refusal("B005", str(no))

    async def _name_refused(self, name: str, key_id: str) -> Refusal | None:
        """Return why nobody can be introduced by this name and key; None where somebody can."""
        await self.root.follow(self._keys_lane())
        current = self.root.prefix.keys.current(name)
        known = self.granted.get(name)
        if name in RESERVED or not NAME.fullmatch(name) or (known is not None and not self._is_person(name)):
            return Refusal("B005", f"{name!r} is a part's name, or none: lower-case letters, digits, '_' and '-'")
        if current is not None and not self._is_person(name):
            return Refusal("B005", f"{name!r} is the name of a part")
        if current is not None and current.key_id != key_id:
            return Refusal("B005", f"{name} is known with another key: `nimmerverse people remove {name}` first")
        return None

    def _is_person(self, name: str) -> bool:
        return person_of(self.root.prefix.keys, self.env, name) is not None

    async def on_end(self, request: EndPerson) -> PersonEnded | Refusal:
        """Revoke a person's key, and shut the door."""
        async with self._granting:
            await self.root.follow(self._keys_lane())
            found = person_of(self.root.prefix.keys, self.env, request.person)
            if found is None:
                return Refusal("G010", f"the log knows no {request.person!r}; `nimmerverse people list` shows them")
            if not request.reason.strip():
                return Refusal("B002", "say why: the log keeps why a key ended")
            if not self.root.signers:
                how = f"`nimmerverse keys propose revoke {request.person} --reason TEXT`"
                return Refusal("B005", f"the root keys are with their owners: {how}")
            index = await self._key_event(KeyRevoked(KEYS_ENTITY, found.key.key_id, None, request.reason))
            known = self.granted.pop(request.person, None)
            if known is not None:
                await self.door.admit(request.person, known.nkey, [], [], answers=False)
            return PersonEnded(request.person, found.key.key_id, index)

    async def admit_people(self, nkey: Callable[[str], str]) -> None:
        """Open the door to everybody whom the log introduced, by their connection keys."""
        for asked in needs_of_all(self.root.prefix.keys, self.env, nkey):
            await self.grant(asked, trusted=False)

    async def on_handshake(self, request: Handshake) -> HandshakeAck:
        """Judge one phase of a part's start-up self-check."""
        reason = await self._judge_phase(request)
        return HandshakeAck(request.phase, not reason, reason)

    async def _judge_phase(self, request: Handshake) -> str:
        claims = request.claims
        match request.phase:
            case "identity":
                granted = self.granted.get(request.part)
                if granted is None:
                    return f"{request.part} was never granted; run it with `nimmerverse part`, or deploy it"
                key = self.root.prefix.keys.current(request.part)
                known, claimed = key.key_id if key else "", claims.get("key", "")
                return "" if claimed in ("", known) else f"its key is {claimed}, the log knows {known or 'none'}"
            case "environment":
                env = claims.get("env", "")
                return "" if env == self.env else f"it runs for {env!r}, this is {self.env!r}"
            case "vocabulary":
                return self._judge_vocabulary(claims)
            case "connection":
                return await self._judge_connection(claims.get("ping", ""), request.part)
            case "attention":
                unknown = sorted(t for t in claims if t in registered() and registered()[t].kind != claims[t])
                return f"it hears {', '.join(unknown)} as another kind" if unknown else ""

    def _judge_vocabulary(self, claims: dict[str, str]) -> str:
        known = registered()
        differing = sorted(t for t, digest in claims.items() if t in known and shape_digest(known[t]) != digest)
        return f"its schema differs for {', '.join(differing)}; deploy one version on both sides" if differing else ""

    async def _judge_connection(self, ping: str, part: str) -> str:
        if not ping.startswith(f"$SRV.PING.{part}."):
            return f"{ping!r} is not its own discovery subject"
        no = Refusal("B006")
        for _ in range(ECHOES):
            try:
                await self.bus.wire.request(ping, b"", None, ECHO_S)
            except Refused as refused:
                no = refused.refusal
            else:
                return ""
        return f"it does not hear its own discovery subject: {no}"

    # Logging and keys

    async def _keep(self, kind: Kept, age_s: int, part: str, subjects: Sequence[str]) -> None:
        """Make a stream for some of a part's signals; a stream is never changed, so new subjects get one more."""
        missing, place = set(subjects), 0
        while missing:
            place += 1
            name = stream_name(kind, self.env, part) + (f"_{place}" if place > 1 else "")
            kept = await self.ground.subjects_of(name)
            if kept is None:
                await self._create_stream(kept_config(name, sorted(missing), age_s, self.ground.replicas))
                return
            missing -= set(kept)

    async def _create_stream(self, config: dict[str, Any]) -> None:
        await self._log(StreamsChanged(KEYS_ENTITY, config["name"], "create", json.dumps(config, sort_keys=True)))
        await self.ground.create_stream(config)

    async def _introduce(self, asked: GrantRequest) -> int:
        """Make the log know the part's key with the grants it needs now; another key of the part ends."""
        known = await self._known(asked, trusted=True)
        if known is not None:
            return known.first
        current = self.root.prefix.keys.current(asked.part)
        if current is not None:
            await self._key_event(KeyRevoked(KEYS_ENTITY, current.key_id, None, "replaced at a new grant"))
        grants = grants_of(asked)
        roles = roles_granted(self.env, asked.part, asked.grants) or ["part"]
        new = KeyIntroduced(KEYS_ENTITY, asked.key_id, asked.public, asked.part, asked.owner, [*roles], grants)
        return await self._key_event(new) + 1

    async def _known(self, asked: GrantRequest, *, trusted: bool) -> Key | None:
        """Return the part's key where the log knows it with these grants, None where it may be introduced.

        A key is introduced once: NeedsFreshKey where the log holds it otherwise. An ended key of the host's own keyring
        is a KeyFault, a person decides what became of it.
        """
        await self.root.follow(self._keys_lane())
        known = self.root.prefix.keys.keys.get(asked.key_id)
        if known is None:
            return None
        if known.part != asked.part:
            raise Refused(Refusal("B005", f"the signing key {asked.key_id} is registered to {known.part}"))
        if known.last is not None:
            if not trusted:
                raise NeedsFreshKey(f"the one of {asked.part} ended in the log at {known.last}")
            raise KeyFault(
                f"the key of {asked.part} in this keyring ended in the log at {known.last}, no other is sealed here; "
                f"finish with `nimmerverse keys rotate {asked.part}`, or `keys revoke` if it was revoked"
            )
        if known != self.root.prefix.keys.current(asked.part) or list(known.grants) != grants_of(asked):
            raise NeedsFreshKey(f"the one of {asked.part} stands in the log with other grants")
        return known

    async def _key_event(self, event: Decision) -> int:
        return (await self.root.append(Draft(event, new_id(self.bus.world)))).index

    async def _log(self, decision: Decision) -> None:
        await self.bus.append(Draft(decision, new_id(self.bus.world)))

    def _remember(self, verdict: Verdict) -> None:
        """Fold the newest logged grant of each part, so that a restart does not log it again."""
        for granted, _ in decisions_in(verdict, PartGranted):
            self._logged[granted.part] = (granted.version, granted.publish, granted.subscribe)

    def _keys_lane(self) -> str:
        return KEYS_LANE.format(env=self.env)


def grants_of(asked: GrantRequest) -> list[Grant]:
    """Return what the part's key has to be entitled to."""
    return [Grant(pattern, scored=pattern in asked.scored) for pattern in asked.grants]
