"""The steward: the one identity that creates streams and consumers, introduces keys and greets parts.

Every change is logged before it is made; the genesis records the log itself. Nobody else may change the ground.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from organs.steward.ports import STREAM_KINDS, Door, Ground, StreamKind, consumer_config, stream_config
from shared.bus import Bus, Draft
from shared.bus.wire import stream_name
from shared.codec import decode
from shared.config import Loaded
from shared.envelope import Verdict, derive_event_id
from shared.errors import LogFault, Refusal, Refused
from shared.keys import Signer
from shared.message import Decision, lookup, registered
from shared.part.declare import Declaration
from shared.part.handshake import shape_digest
from shared.part.organ import Organ
from shared.subjects.keys import KEYS_ENTITY, Genesis, Grant, KeyIntroduced, KeyRevoked, RootKey
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


class StewardOrgan(Organ):
    """Prepares the ground, then answers grant requests and handshakes. Speaks as `steward` and, for keys, as `root`."""

    name: ClassVar[str] = "steward"
    version: ClassVar[str] = "1.0.0"

    def __init__(self, ground: Ground, door: Door, bus: Bus, root: Bus) -> None:
        self.ground, self.door, self.bus, self.root = ground, door, bus, root
        self.env = bus.env
        self.granted: dict[str, GrantRequest] = {}
        self._logged: dict[str, tuple[str, list[str], list[str]]] = {}
        bus.observers.append(self._remember)

    # Preparing the ground

    async def prepare(self, roots: Sequence[RootKey], threshold: int, steward: GrantRequest) -> str:
        """Make the log and its genesis, the steward's own key and the other streams exist; return the fingerprint."""
        if not await self.ground.has_stream("log"):
            await self.ground.create_stream(stream_config("log", self.env))
        await self.root.follow(self._keys_lane())
        if self.root.prefix.keys.fingerprint is None:
            streams = [stream_name(kind, self.env) for kind in STREAM_KINDS]
            genesis = Genesis(KEYS_ENTITY, list(roots), threshold, len({r.owner for r in roots}) == 1, streams)
            await self.root.append(Draft(genesis, derive_event_id(b"", "root", "genesis", 0)))
        known = {key.key_id for key in self.root.prefix.keys.keys.values() if key.part == "root"}
        if known != {root.key_id for root in roots}:
            raise LogFault(f"the log of {self.env} was begun with other root keys than this keyring's; use its own keyring or another home")
        await self._introduce(steward)
        self.granted[steward.part] = steward
        await self.bus.follow(f"{self.env}.system.steward.event.{KEYS_ENTITY}")
        for kind in STREAM_KINDS[1:]:
            await self._stream(kind)
        fingerprint = self.root.prefix.keys.fingerprint
        assert fingerprint is not None
        return fingerprint

    async def record_start(self, loaded: Loaded, version: str) -> None:
        """Log the effective configuration this start runs with (COL-17)."""
        settings = [Setting(row.name, str(row.value), row.origin) for row in loaded.effective()]
        await self._log(Started(KEYS_ENTITY, self.bus.world.boot, version, settings))

    async def grant(self, asked: GrantRequest) -> int:
        """Give a part its subjects, consumers and key; each change is logged first. Return the newest key index."""
        if self._logged.get(asked.part) != (asked.version, asked.publish, asked.subscribe):
            await self._log(PartGranted(KEYS_ENTITY, asked.part, asked.version, asked.publish, asked.subscribe))
        for durable, filters in asked.consumers.items():
            config = consumer_config(durable, sorted(filters))
            if not await self.ground.has_consumer(self.bus.log, config):
                await self._log(StreamsChanged(KEYS_ENTITY, self.bus.log, "consumer", json.dumps(config, sort_keys=True)))
                await self.ground.create_consumer(self.bus.log, config)
        await self.door.admit(asked.part, asked.nkey, asked.publish, asked.subscribe, answers=asked.answers)
        index = await self._introduce(asked)
        self.granted[asked.part] = asked
        return index

    # Answering

    async def on_grant(self, request: GrantRequest) -> Granted | Refusal:
        """Admit a part at once in dev; elsewhere a part is admitted by `up` from the deployed declarations alone."""
        if self.env != "dev" and request.part not in self.granted:
            return Refusal("B005", f"in {self.env} parts are admitted from the deployed set; {request.part} is not in it")
        if request.part in ("root", "steward", "operator"):
            return Refusal("B005", f"{request.part} is a reserved identity")
        foreign = [pattern for pattern in request.publish if not self._may_be_granted(pattern, request.part)]
        if foreign:
            return Refusal("B005", f"{request.part} may not be granted {', '.join(foreign)}")
        return Granted(request.part, await self.grant(request))

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
                    return f"{request.part} was never granted; run it with `nimmerverse part` or add it to the deployed set"
                key = self.root.prefix.keys.current(request.part)
                expected = key.key_id if key else ""
                return "" if claims.get("key") in ("", expected) else f"its key is {claims.get('key')}, the log knows {expected or 'none'}"
            case "environment":
                return "" if claims.get("env") == self.env else f"it runs for {claims.get('env')!r}, this is {self.env!r}"
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
        return f"its schema differs for {', '.join(differing)}; deploy both sides from one version" if differing else ""

    async def _judge_connection(self, ping: str, part: str) -> str:
        if not ping.startswith(f"$SRV.PING.{part}."):
            return f"{ping!r} is not its own discovery subject"
        try:
            await self.bus.wire.request(ping, b"", None, 2.0)
        except Refused as no:
            return f"it does not hear its own discovery subject: {no.refusal}"
        return ""

    # Logging and keys

    async def _stream(self, kind: StreamKind) -> None:
        if not await self.ground.has_stream(kind):
            config = stream_config(kind, self.env)
            await self._log(StreamsChanged(KEYS_ENTITY, config["name"], "create", json.dumps(config, sort_keys=True)))
            await self.ground.create_stream(config)

    async def _introduce(self, asked: GrantRequest) -> int:
        """Make the log know the part's key with the grants it needs now; another key of the part ends."""
        grants = [Grant(pattern, scored=pattern in asked.scored) for pattern in asked.grants]
        await self.root.follow(self._keys_lane())
        current = self.root.prefix.keys.current(asked.part)
        if current is not None and current.key_id == asked.key_id and list(current.grants) == grants:
            return current.first
        if current is not None:
            await self._key_event(KeyRevoked(KEYS_ENTITY, current.key_id, None, "replaced at a new grant"))
        new = KeyIntroduced(KEYS_ENTITY, asked.key_id, asked.public, asked.part, asked.owner, ["part"], grants)
        return await self._key_event(new) + 1

    async def _key_event(self, event: Decision) -> int:
        return (await self.root.append(Draft(event, new_id(self.bus.world)))).index

    async def _log(self, decision: Decision) -> None:
        await self.bus.append(Draft(decision, new_id(self.bus.world)))

    def _remember(self, verdict: Verdict) -> None:
        """Fold the newest logged grant of each part, so that a restart does not log it again."""
        if lookup(verdict.entry.subject) is PartGranted:
            for _, event in verdict.admitted():
                granted = decode(PartGranted, bytes(event.data))
                self._logged[granted.part] = (granted.version, granted.publish, granted.subscribe)

    def _may_be_granted(self, pattern: str, part: str) -> bool:
        """Say whether a part that asks for itself may publish here: never on the system's or another part's subjects."""
        owned = {p for name, granted in self.granted.items() if name != part for p in granted.publish if p.startswith(self.env)}
        if pattern.startswith(("$JS.API.DIRECT.GET.", f"$JS.API.CONSUMER.MSG.NEXT.{self.bus.log}.{part}", f"$JS.ACK.{self.bus.log}.{part}.")):
            return True
        if pattern.startswith(f"{self.env}.system."):
            return pattern.endswith((f".parts.heartbeat.{part}", f".dead.letter.{part}", ".spark.handshake.request"))
        return pattern.startswith(f"{self.env}.") and pattern not in owned

    def _keys_lane(self) -> str:
        return f"{self.env}.system.keys.event.{KEYS_ENTITY}"



def grant_request(declared: Declaration, env: str, nkey: str, signer: Signer, owner: str) -> GrantRequest:
    """Return what a part must be granted, derived from its declaration alone."""
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
    )

