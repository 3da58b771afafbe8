"""Calendars: this installation's own, a public one over HTTP, and a simulated one.

The own calendar works offline. It keeps every commitment it promised until one Merkle root over all of them was
promised by a public calendar; the path to that root, and what the public calendar says of it, is then the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from organs.anchor.http import exchange
from organs.anchor.ots import (
    APPEND,
    DIGEST_BYTES,
    PREPEND,
    SHA256,
    Bitcoin,
    Op,
    Pending,
    Timestamp,
    path,
    read_detached,
    read_timestamp,
    timestamp,
    write_detached,
)
from organs.anchor.ports import Calendar, ProofStore
from organs.anchor.state import LOCAL_URI
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.world import SimWorld, World

NONCE_BYTES = constant(16, "bytes", "COL-05")
CALENDAR_TIMEOUT_S = constant(10.0, "s", "COL-05")
MAX_CALENDAR_ANSWER_BYTES = constant(10_000, "bytes", "X-12")
MAX_ROUND = constant(65_536, "commitments", "X-12")
SIM_ANSWER_S = constant(60.0, "s", "X-08")
SIM_HEIGHT = constant(1, "block", "X-08")
HTTP_OK, HTTP_NOT_FOUND = 200, 404
_ACCEPT = {"Accept": "application/vnd.opentimestamps.v1", "Content-Type": "application/x-www-form-urlencoded"}
_HASH = Op(SHA256)


class LocalCalendar:
    """The calendar of this installation, kept in a proof store; its promises are worth PENDING_LOCAL."""

    def __init__(self, store: ProofStore, world: World, uri: str = "") -> None:
        self.store, self.world, self._uri = store, world, uri

    @property
    def uri(self) -> str:
        """Its address: a name that no network knows, made once per installation."""
        assert self._uri, "it is opened first"
        return self._uri

    async def open(self) -> None:
        kept = await self.store.get("rounds/calendar.name")
        if kept is None:
            kept = (LOCAL_URI + self.world.entropy(8).hex()).encode()
            await self.store.put("rounds/calendar.name", kept)
        self._uri = kept.decode()

    async def submit(self, digest: bytes) -> Timestamp:
        made = path(digest, blinding(self.world), lambda message: timestamp(message, [Pending(self.uri)]))
        [(commitment, _)] = made.attested()
        await self.store.put(f"waiting/{commitment.hex()}", b"")
        return made

    async def upgrade(self, commitment: bytes) -> Timestamp | None:
        kept = await self.store.get(f"paths/{commitment.hex()}") if len(commitment) == DIGEST_BYTES else None
        if kept is None:
            return None
        to_root = read_detached(kept)
        [(root, _)] = to_root.attested()
        promised = await self.store.get(f"rounds/{root.hex()}.ots")
        return None if promised is None else _without(to_root, self.uri).merged([read_detached(promised)])

    async def close_round(self, public: Calendar) -> int:
        """See Fallback. Until the last step the commitments still wait, so a crash only means another round."""
        waiting = (await self.store.names("waiting"))[:MAX_ROUND]
        if not waiting:
            return 0
        leaves = [bytes.fromhex(name.partition("/")[2]) for name in waiting]
        root, steps = merkle_paths(leaves)
        await self.store.put(f"rounds/{root.hex()}.ots", write_detached(await public.submit(root)))
        for leaf, ops in zip(leaves, steps, strict=True):
            to_root = path(leaf, ops, lambda message: timestamp(message, [Pending(self.uri)]))
            await self.store.put(f"paths/{leaf.hex()}", write_detached(to_root))
        for name in waiting:
            await self.store.remove(name)
        return len(leaves)


class HttpCalendar:
    """A public calendar: POST /digest and GET /timestamp/HEX, as the OpenTimestamps servers speak them."""

    def __init__(self, url: str, world: World) -> None:
        self.url, self.world = url.rstrip("/"), world

    @property
    def uri(self) -> str:
        return self.url

    async def submit(self, digest: bytes) -> Timestamp:
        ops = blinding(self.world)
        commitment = ops[1](ops[0](digest))
        status, body = await self._ask("POST", "/digest", commitment)
        if status != HTTP_OK:
            raise self._no(f"status {status}")
        promised = self._read(body, commitment)
        named = {attestation.uri for _, attestation in promised.attested() if isinstance(attestation, Pending)}
        if named != {self.uri}:  # a pool's address, for instance, where it is the calendars behind it that promise
            raise self._no(f"promises of {', '.join(sorted(named)) or 'nobody'}; set the calendar that answers later")
        return path(digest, ops, lambda _: promised)

    async def upgrade(self, commitment: bytes) -> Timestamp | None:
        status, body = await self._ask("GET", f"/timestamp/{commitment.hex()}", b"")
        if status == HTTP_NOT_FOUND:  # not yet, or never heard of: calendars answer both alike
            return None
        if status != HTTP_OK:
            raise self._no(f"status {status}")
        return self._read(body, commitment)

    async def _ask(self, method: str, where: str, body: bytes) -> tuple[int, bytes]:
        return await exchange(method, self.url + where, body, _ACCEPT, MAX_CALENDAR_ANSWER_BYTES, CALENDAR_TIMEOUT_S)

    def _read(self, body: bytes, commitment: bytes) -> Timestamp:
        try:
            return read_timestamp(body, commitment)
        except Refused as no:
            raise self._no(no.refusal.detail) from None

    def _no(self, found: str) -> Refused:
        return Refused(Refusal("A004", f"the calendar {self.url} answered with {found}"))


class SimCalendar:
    """The simulated public calendar: promises at once, and claims a block a minute later. It proves nothing."""

    uri = "https://calendar.sim"

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self.promised: dict[bytes, float] = {}

    async def submit(self, digest: bytes) -> Timestamp:
        made = path(digest, blinding(self.world), lambda message: timestamp(message, [Pending(self.uri)]))
        [(commitment, _)] = made.attested()
        self.promised[commitment] = self.world.elapsed_s()
        return made

    async def upgrade(self, commitment: bytes) -> Timestamp | None:
        since = self.promised.get(commitment)
        if since is None or self.world.elapsed_s() < since + SIM_ANSWER_S:
            return None
        return path(commitment, [_HASH], lambda message: timestamp(message, [Bitcoin(SIM_HEIGHT)]))


async def upgraded(proof: Timestamp, calendars: Sequence[Calendar]) -> Timestamp:
    """Return a proof with whatever its calendars know by now; only those given here are asked, whatever it names.

    Refused A002 where it would become more than can be read again.
    """
    asked = {calendar.uri: calendar for calendar in calendars}
    found: list[Timestamp] = []
    for message, attestation in proof.attested():
        if isinstance(attestation, Pending) and attestation.uri in asked:
            more = await asked[attestation.uri].upgrade(message)
            if more is not None:
                assert more.message == message
                found.append(more)
    return read_detached(write_detached(proof.merged(found))) if found else proof


def blinding(world: World) -> tuple[Op, Op]:
    """Return the two steps that hide a digest behind a nonce of this moment."""
    return Op(APPEND, world.entropy(NONCE_BYTES)), _HASH


def merkle_paths(leaves: Sequence[bytes]) -> tuple[bytes, list[list[Op]]]:
    """Return the Merkle root of some messages and the steps from each to it; what has no neighbour goes up alone."""
    steps: list[list[Op]] = [[] for _ in leaves]
    row = [(leaf, [place]) for place, leaf in enumerate(leaves)]
    while len(row) > 1:
        above: list[tuple[bytes, list[int]]] = []
        for (left, of_left), (right, of_right) in zip(row[::2], row[1::2], strict=False):
            for place in of_left:
                steps[place] += [Op(APPEND, right), _HASH]
            for place in of_right:
                steps[place] += [Op(PREPEND, left), _HASH]
            above.append((_HASH(left + right), of_left + of_right))
        row = above + row[len(row) - len(row) % 2 :]
    return row[0][0], steps


def _without(tree: Timestamp, uri: str) -> Timestamp:
    """Return a timestamp without the promises of one calendar: what it promised is there now."""
    kept = [one for one in tree.attestations if one != Pending(uri)]
    return timestamp(tree.message, kept, [(op, _without(after, uri)) for op, after in tree.branches])
