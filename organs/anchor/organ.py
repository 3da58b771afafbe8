"""The anchor organ: has digests witnessed outside, asks after them until Bitcoin holds them, and says how they stand.

A digest is anchored with OpenTimestamps and with an RFC 3161 token. Offline both come from this installation itself,
which is what their state says. Whatever fails outside leaves the states as they are and is tried again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from organs.anchor.authorities import HttpAuthority, LocalAuthority, SimAuthority
from organs.anchor.bitcoin import FileHeaders, Headers, NoHeaders
from organs.anchor.calendars import HttpCalendar, LocalCalendar, SimCalendar, upgraded
from organs.anchor.checkpoint import WHAT, anchors_folder, checkpoint_digest
from organs.anchor.kept import METHODS, Kept, Record
from organs.anchor.ots import Timestamp, read_detached, timestamp, write_detached
from organs.anchor.ports import Calendar, Fallback, ProofStore, TimestampAuthority
from organs.anchor.state import State, judge, minimum_of, require
from organs.anchor.store import FileProofStore, MemoryProofStore
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused, Unreachable
from shared.journal import record as journal
from shared.part.organ import Log, Organ
from shared.settings import Settings
from shared.subjects.anchor import AnchorAdvanced, AnchorProof, AnchorRequest, AnchorStatus, AnchorStatusRequest
from shared.subjects.log import Checkpointed
from shared.subjects.system import Tick
from shared.world import SimWorld, World

T = TypeVar("T")

MAX_SENT_BYTES = constant(16_384, "bytes", "X-12")
UNHEARD_S = constant(60.0, "s", "COL-05")
MAX_WAITING_DIGESTS = constant(2_000, "digests", "X-12")
MAX_BY_CHARS = constant(1_000, "characters", "X-12")


@dataclass(frozen=True, slots=True)
class Ports:
    """Whom the organ asks: the store first, then this installation's calendar, those outside, and an authority."""

    store: ProofStore
    own: Fallback
    calendars: Sequence[Calendar]
    authority: TimestampAuthority
    headers: Headers


class AnchorOrgan(Organ):
    """Anchors what it is asked to, looks after what is pending, and holds nothing pending for more than it is."""

    name: ClassVar[str] = "anchor"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(1_000_000, "micro-lifeforce", "COL-05")

    def __init__(self, world: World, ports: Ports, minimum: State, interval_s: float) -> None:
        self.world, self.ports, self.minimum, self.interval_s = world, ports, minimum, interval_s
        self.kept = Kept(ports.store)
        self._looked_s = self._swept_s = float("-inf")
        self._checkpointed_s = float("-inf")
        self._anchored_size = self._own_words = 0  #: so far it is to be anchored; what of the rest we said ourselves
        self._newest: tuple[bytes, str] | None = None  #: the newest checkpoint, until it is anchored
        self._waiting = set[str]()  #: digests that no block is known of yet
        self._asked_s: dict[bytes, float] = {}  #: when somebody asked lately, by digest
        self._said: dict[str, tuple[State, float]] = {}  #: what the log was told lately, by record

    @classmethod
    def build(cls, settings: Settings, world: World) -> AnchorOrgan:
        folder = anchors_folder(settings)
        store = FileProofStore(folder)
        calendars = [HttpCalendar(url, world) for url in (settings.anchor_calendars or "").split(",") if url]
        outside = settings.anchor_tsa_url is not None and settings.anchor_tsa_ca is not None
        authority = (
            HttpAuthority(str(settings.anchor_tsa_url), settings.anchor_tsa_ca)
            if outside and settings.anchor_tsa_ca is not None
            else LocalAuthority(folder / "authority")
        )
        headers = NoHeaders() if settings.anchor_headers is None else FileHeaders(settings.anchor_headers)
        ports = Ports(store, LocalCalendar(store, world), calendars, authority, headers)
        return cls(world, ports, minimum_of(settings), settings.anchor_interval_s)

    @classmethod
    def simulate(cls, world: SimWorld) -> AnchorOrgan:
        store = MemoryProofStore()
        own = LocalCalendar(store, world)
        ports = Ports(store, own, [SimCalendar(world.fork("calendar"))], SimAuthority(world), NoHeaders())
        return cls(world, ports, State.NONE, 60.0)

    def again(self, world: SimWorld) -> AnchorOrgan:
        return AnchorOrgan(world, self.ports, self.minimum, self.interval_s)

    async def open(self, log: Log) -> None:
        await self.ports.store.open()
        await self.ports.own.open()
        for record in await self._all():
            self._note(record)

    # Hearing

    async def on_anchor(self, request: AnchorRequest) -> list[AnchorAdvanced | AnchorStatus]:
        """Anchor a digest, decide on what is new about it, and answer how it stands. Refused A006.

        A repeat improves what can be improved, though nobody outside is asked again at once; it decides nothing else.
        """
        digest, now = request.digest, self.world.elapsed_s()
        self._asked_s = {one: at for one, at in self._asked_s.items() if now < at + UNHEARD_S}
        found = list[Record]()
        if digest not in self._asked_s:
            await self._check_room(digest)
            found = await self.anchor(digest, request.what)
            self._asked_s[digest] = now
        return [*(self._say(record) for record in found if self._is_news(record)), await self._status(digest)]

    async def on_status(self, request: AnchorStatusRequest) -> AnchorStatus:
        """Say how a digest is anchored, with proofs small enough to send."""
        return await self._status(request.digest)

    async def _status(self, digest: bytes) -> AnchorStatus:
        records = [await self.kept.find(digest.hex(), method) for method in METHODS]
        known = [record for record in records if record is not None]
        best = max((record.worth for record in known), default=State.NONE)
        enough = require(best, self.minimum) is None
        proofs = [await self._shown(record) for record in known]
        return AnchorStatus(digest, best.word, self.minimum.word, enough, proofs)

    async def on_advanced(self, decision: AnchorAdvanced) -> None:
        """Note what the log holds by now."""
        self._own_words += 1
        await self.kept.hear(decision)

    async def on_checkpointed(self, heard: Checkpointed) -> None:
        """Have the newest checkpoint anchored at the next interval, unless all that is new in it is our own words."""
        if heard.size > self._anchored_size + self._own_words:
            self._anchored_size, self._own_words = heard.size, 0
            self.remember(checkpoint_digest(heard.note.encode()), f"{WHAT}{heard.size}")

    async def on_tick(self, tick: Tick) -> list[AnchorAdvanced]:
        """Anchor the newest checkpoint and look after everything pending, when it is time for it."""
        now, found = self.world.elapsed_s(), list[Record]()
        if self._newest is not None and now >= self._checkpointed_s + self.interval_s:
            newest, self._newest, self._checkpointed_s = self._newest, None, now
            found += await self.anchor(*newest)
        if now >= self._swept_s + UNHEARD_S:
            self._swept_s = now
            found += [record for record in await self._all() if not record.is_logged]
        if now >= self._looked_s + self.interval_s:
            self._looked_s = now
            found += await self.look()
        unsaid = {record.name: record for record in found if self._is_news(record)}
        return [self._say(record) for record in unsaid.values()]

    def remember(self, digest: bytes, what: str) -> None:
        """Have a checkpoint anchored at the next interval, instead of an older one that still waits."""
        self._newest = (digest, what)

    # Acting

    async def anchor(self, digest: bytes, what: str) -> list[Record]:
        """Return the records of a digest once it is anchored as well as can be now. Raises StorageFault."""
        name = digest.hex()
        kept = await self.kept.find(name, "ots")
        if kept is None or kept.worth <= State.PENDING_LOCAL:
            kept = await self._stamp(digest, what, kept)
        kept = await self._upgrade(kept, [self.ports.own, *self.ports.calendars])
        token = await self._tried(self._token(digest, what)) or await self.kept.find(name, "rfc3161")
        return [kept, *([token] if token is not None else [])]

    async def look(self) -> list[Record]:
        """Return every record that came further since the last look. Who cannot be reached is asked once."""
        for calendar in self.ports.calendars:
            if await self._tried(self.ports.own.close_round(calendar)) is not None:
                break
        asked: list[Calendar] = [self.ports.own, *self.ports.calendars]
        found, signing = list[Record | None](), True
        for record in await self._all():
            if record.method != "ots":
                continue
            if record.worth < State.VERIFIED:
                after = await self._tried(self._upgrade(record, asked))
                found.append(after if after is not None and after.worth > record.worth else None)
            if signing:
                token = await self._tried(self._token(bytes.fromhex(record.digest), record.what))
                found.append(token)
                signing = token is not None
        return [record for record in found if record is not None]

    async def _all(self) -> list[Record]:
        """Return every record that can be read; a line tells of the others."""
        read = [await self._tried(self.kept.read(name)) for name in await self.kept.names()]
        return [record for record in read if record is not None]

    async def _stamp(self, digest: bytes, what: str, before: Record | None) -> Record:
        """Have every calendar promise a digest; where none does, this installation's own does."""
        promised = [await self._tried(calendar.submit(digest)) for calendar in self.ports.calendars]
        found = [one for one in promised if one is not None]
        if before is not None:
            found.append(read_detached(await self.kept.proof(before)))
        elif not found:
            found.append(await self.ports.own.submit(digest))
        return await self._keep(timestamp(digest).merged(found), what)

    async def _upgrade(self, record: Record, asked: list[Calendar]) -> Record:
        """Return a record after these calendars were asked and the headers at hand were looked at.

        A calendar that cannot be reached is taken off the list.
        """
        proof = read_detached(await self.kept.proof(record))
        for calendar in list(asked) if record.worth < State.BITCOIN_UNCHECKED else []:
            try:
                proof = await upgraded(proof, [calendar])
            except (Refused, Fault) as trouble:
                journal(self.name, "anchor_failed", detail=str(trouble))
                if isinstance(trouble, Unreachable):
                    asked.remove(calendar)
        return await self._keep(proof, record.what)

    async def _token(self, digest: bytes, what: str) -> Record:
        """Return the record of a digest's token, signed now where there is none, or only one of our own."""
        authority, kept = self.ports.authority, await self.kept.find(digest.hex(), "rfc3161")
        if kept is not None and (authority.local or kept.worth > State.PENDING_LOCAL):
            return kept
        token = await authority.stamp(digest)
        state = State.PENDING_LOCAL if authority.local else State.PENDING
        return await self.kept.keep(digest.hex(), "rfc3161", what, state, authority.name[:MAX_BY_CHARS], token)

    async def _keep(self, proof: Timestamp, what: str) -> Record:
        judged = judge(proof, self.ports.headers)
        for objection in judged.objections:
            journal(self.name, "anchor_failed", detail=str(objection))
        by = " ".join(judged.by)[:MAX_BY_CHARS]
        kept = await self.kept.keep(proof.message.hex(), "ots", what, judged.state, by, write_detached(proof))
        self._note(kept)
        return kept

    def _note(self, record: Record) -> None:
        """Count a digest among those that wait, or no more."""
        if record.method == "ots" and record.worth < State.BITCOIN_UNCHECKED:
            self._waiting.add(record.digest)
        elif record.method == "ots":
            self._waiting.discard(record.digest)

    async def _check_room(self, digest: bytes) -> None:
        """Raise Refused A006 where a new digest is one too many. Our own checkpoints come once per interval anyway."""
        if len(self._waiting) >= MAX_WAITING_DIGESTS and await self.kept.find(digest.hex(), "ots") is None:
            found = f"{len(self._waiting)} digests wait, at most {MAX_WAITING_DIGESTS} may"
            todo = "configure calendars that can be reached, or anchor one digest over many"
            raise Refused(Refusal("A006", f"{found}: {todo}"))

    async def _tried(self, asking: Awaitable[T]) -> T | None:
        """Return what somebody outside answers; None, and a line, where nothing of use came."""
        try:
            return await asking
        except (Refused, Fault) as trouble:
            journal(self.name, "anchor_failed", detail=str(trouble))
            return None

    # Saying

    def _is_news(self, record: Record) -> bool:
        """Whether the log has to hear of a record: it does not hold it, and was not told a moment ago."""
        state, told_s = self._said.get(record.name, (State.NONE, float("-inf")))
        return not record.is_logged and (state < record.worth or self.world.elapsed_s() >= told_s + UNHEARD_S)

    def _say(self, record: Record) -> AnchorAdvanced:
        self._said = {n: at for n, at in self._said.items() if self.world.elapsed_s() < at[1] + UNHEARD_S}
        self._said[record.name] = (record.worth, self.world.elapsed_s())
        return record.decision()

    async def _shown(self, record: Record) -> AnchorProof:
        small = record.proof_bytes <= MAX_SENT_BYTES
        proof = await self.kept.proof(record) if small else b""
        said = record.decision()
        digests = (said.proof_blake3, said.proof_sha256, said.proof_bytes)
        return AnchorProof(said.method, said.state, said.what, said.by, *digests, record.location, proof)
