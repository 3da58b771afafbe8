"""Anchors: what each state means, how a digest gets from one to the next, and that none is held for more."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organs.anchor import AnchorOrgan, Ports, State, checkpoint_digest, minimum_of, require
from organs.anchor.authorities import LocalAuthority, SimAuthority
from organs.anchor.bitcoin import FileHeaders, Headers, NoHeaders, OneHeader, check_header, parse_header
from organs.anchor.calendars import HttpCalendar, LocalCalendar, SimCalendar
from organs.anchor.kept import Kept, Record
from organs.anchor.organ import MAX_WAITING_DIGESTS, UNHEARD_S
from organs.anchor.ots import (
    SHA256,
    Bitcoin,
    Op,
    Pending,
    Timestamp,
    Unknown,
    path,
    read_detached,
    timestamp,
    write_detached,
)
from organs.anchor.ports import Calendar, ProofStore, TimestampAuthority
from organs.anchor.state import LOCAL_URI, judge
from organs.anchor.store import FileProofStore, MemoryProofStore
from shared.codec import decode
from shared.config import load
from shared.errors import ConfigFault, Exit, Refused, StorageFault, Unreachable
from shared.part import Part
from shared.subjects.anchor import AnchorAdvanced, AnchorRequest, AnchorStatus, AnchorStatusRequest
from shared.subjects.system import Tick
from shared.world import RealWorld, SimWorld, World, simulate
from tests import calendars
from tests.commands import EVENT_S, Home
from tests.organisms import Living, live_nats, live_sim
from tests.vectors.block_358391 import BLOCK_HASH, HEADER, HEADERS, HEIGHT, MERKLE_ROOT, PROOF, TEXT, TIME

DIGEST = bytes(range(32))
HELLO = hashlib.sha256(TEXT).digest()
ROOT = bytes.fromhex(MERKLE_ROOT)[::-1]
WORDS = ["none", "pending_local", "pending", "bitcoin_unchecked", "verified"]
INTERVAL_S = 3_600.0

# States and the gate


@pytest.mark.spec("COL-05")
def test_the_states_are_in_order() -> None:
    """From no proof to a checked block there are five states, and no two are worth the same."""
    assert WORDS == [state.word for state in sorted(State)]
    assert list(State) == [State.of(state.word) for state in State]


@pytest.mark.spec("COL-05")
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("minimum", State)
def test_the_gate_lets_through_what_is_worth_enough(state: State, minimum: State) -> None:
    """A state passes a minimum exactly if it is at least as much; else the refusal A001 names both."""
    refusal = require(state, minimum)
    assert (state >= minimum) == (refusal is None)
    if refusal is not None:
        assert "A001" == refusal.code
        assert f"stands at {state.word}, {minimum.word} is the least" in refusal.detail


@pytest.mark.spec("COL-05")
def test_elsewhere_than_in_dev_somebody_outside_has_to_know() -> None:
    """Nothing is demanded in dev, an outside promise everywhere else, and a setting overrules both."""

    def minimum(**given: str) -> State:
        return minimum_of(load({}, {"home": "/nonexistent", "site": "here", **given}, "here").settings)

    assert [State.NONE, State.PENDING, State.PENDING] == [minimum(env=env) for env in ("dev", "staging", "prod")]
    assert State.VERIFIED == minimum(env="dev", anchor_minimum="verified")
    assert State.NONE == minimum(env="prod", anchor_minimum="none")
    with pytest.raises(ConfigFault, match="none, pending_local, pending, bitcoin_unchecked or verified"):
        minimum(anchor_minimum="certain")
    with pytest.raises(ConfigFault, match="belong together"):
        minimum(anchor_tsa_url="https://tsa.example")


@pytest.mark.spec("COL-05")
def test_a_proof_is_worth_its_best_attestation() -> None:
    """Our promise, a public one, a claimed block and a checked one count in this order; strange kinds for nothing."""
    own, public = Pending(f"{LOCAL_URI}00"), Pending("https://a")
    strange = Unknown(b"12345678", b"")
    assert State.NONE == judge(timestamp(ROOT, [strange]), NoHeaders()).state
    assert State.PENDING_LOCAL == judge(timestamp(ROOT, [own, strange]), NoHeaders()).state
    assert State.PENDING == judge(timestamp(ROOT, [own, public]), NoHeaders()).state
    claimed = timestamp(ROOT, [own, public, Bitcoin(HEIGHT)])
    assert State.BITCOIN_UNCHECKED == judge(claimed, NoHeaders()).state
    assert State.VERIFIED == judge(claimed, FileHeaders(HEADERS)).state


# Block headers


@pytest.mark.spec("COL-05")
def test_a_published_proof_holds_against_its_block() -> None:
    """The first published proof is VERIFIED against the real header of its block, and not without it."""
    proof = read_detached(PROOF)
    assert State.BITCOIN_UNCHECKED == judge(proof, NoHeaders()).state
    judged = judge(proof, OneHeader(HEADER))
    assert (State.VERIFIED, ()) == (judged.state, judged.objections)
    assert judged.block is not None
    assert (BLOCK_HASH, 1_432_827_678) == (judged.block.block_hash, judged.block.time_s)


@pytest.mark.spec("COL-05")
@given(st.integers(0, 8 * len(HEADER) - 1))
def test_a_header_with_another_bit_is_refused(bit: int) -> None:
    """Whichever of a header's 640 bits is turned, it is refused as A003 and the proof counts for nothing."""
    forged = (int.from_bytes(HEADER, "big") ^ 1 << bit).to_bytes(len(HEADER), "big")
    with pytest.raises(Refused, match="A003"):
        check_header(forged, ROOT)
    judged = judge(read_detached(PROOF), OneHeader(forged))
    assert (State.NONE, ["A003"]) == (judged.state, [no.code for no in judged.objections])


def mined(root: bytes, bits: int) -> bytes:
    """A header that we made ourselves, with as little work as `bits` ask for."""
    for nonce in range(2**20):
        raw = HEADER[:36] + root + HEADER[68:72] + bits.to_bytes(4, "little") + nonce.to_bytes(4, "little")
        if int.from_bytes(hashlib.sha256(hashlib.sha256(raw).digest()).digest(), "little") <= 0x7FFFFF << 232:
            return raw
    raise AssertionError("no nonce was found")


@pytest.mark.spec("COL-05")
def test_a_header_that_anybody_could_make_is_refused() -> None:
    """A header with the right root and all the work its own nBits ask for is refused where they ask for too little."""
    easy = mined(DIGEST, 0x207FFFFF)
    with pytest.raises(Refused, match="anybody could make it"):
        check_header(easy, DIGEST)
    judged = judge(timestamp(DIGEST, [Bitcoin(7)]), OneHeader(easy))
    assert State.NONE == judged.state


@pytest.mark.spec("COL-05")
@pytest.mark.parametrize("bits", [0, 0x1D800001, 0x23000001, 0xFF123456, 0x01000000, 0x181686F5 | 0x800000])
def test_a_target_that_is_none_is_refused(bits: int) -> None:
    """Bits that are negative, nothing or beyond any hash name no target."""
    raw = HEADER[:72] + bits.to_bytes(4, "little") + HEADER[76:]
    with pytest.raises(Refused, match="A003"):
        check_header(raw, ROOT)


@pytest.mark.spec("COL-05")
def test_a_real_header_is_no_proof_of_something_else() -> None:
    """A real header does not hold for another Merkle root, and the sentence names both as explorers show them."""
    with pytest.raises(Refused, match=f"its Merkle root is {MERKLE_ROOT}, the proof leads to {DIGEST[::-1].hex()}"):
        check_header(HEADER, DIGEST)


@pytest.mark.spec("COL-05")
def test_headers_are_read_by_height(tmp_path: Path) -> None:
    """A file of headers gives the one of a height, none for another, and its line where something else stands there."""
    file = tmp_path / "headers"
    file.write_text(f"1 {'00' * 80}\n{HEADERS.read_text()}3 00\n5 {'zz' * 80}\n")
    assert (HEADER, None) == (FileHeaders(file).header(HEIGHT), FileHeaders(file).header(2))
    for height, line in ((3, 3), (5, 4)):
        with pytest.raises(ConfigFault, match=f"line {line}: a block header is expected"):
            FileHeaders(file).header(height)
    with pytest.raises(ConfigFault, match="cannot be read"):
        FileHeaders(tmp_path / "nothing").header(1)
    with pytest.raises(Refused, match="A003"):
        parse_header(HEADER.hex()[:-1])


# The organ


class Broken:
    """A calendar and an authority that nobody can reach."""

    uri, name, local = "https://broken", "https://broken", False

    async def submit(self, digest: bytes) -> Timestamp:
        """Nothing answers."""
        raise Unreachable("nobody is there")

    async def upgrade(self, commitment: bytes) -> Timestamp | None:
        """Nothing answers."""
        raise Unreachable("nobody is there")

    async def stamp(self, digest: bytes) -> bytes:
        """Nothing answers."""
        raise Unreachable("nobody is there")

    async def check(self, digest: bytes, response: bytes) -> None:
        """Nothing answers."""
        raise Unreachable("nobody is there")


class NoLog:
    """The log of an organ that never replays it."""

    async def replay(self) -> AsyncIterator[Any]:
        """Nothing."""
        for nothing in ():
            yield nothing


def organ(
    world: SimWorld,
    *outside: Calendar,
    store: ProofStore | None = None,
    authority: TimestampAuthority | None = None,
    headers: Headers | None = None,
) -> AnchorOrgan:
    """An organ in a simulated World, with these ports."""
    kept = store or MemoryProofStore()
    own = LocalCalendar(kept, world)
    ports = Ports(kept, own, outside, authority or SimAuthority(world), headers or NoHeaders())
    return AnchorOrgan(world, ports, State.PENDING, INTERVAL_S)


def tick(world: World) -> Tick:
    """A beat."""
    return Tick("anchor", world.boot, 1, world.now_ns() // 1_000_000)


def states(said: Sequence[AnchorAdvanced | AnchorStatus]) -> dict[str, str]:
    """What was decided, by method."""
    return {one.method: one.state for one in decided(said)}


def decided(said: Sequence[AnchorAdvanced | AnchorStatus]) -> list[AnchorAdvanced]:
    """The decisions among what was said."""
    return [one for one in said if isinstance(one, AnchorAdvanced)]


def stands(said: Sequence[AnchorAdvanced | AnchorStatus]) -> dict[str, str]:
    """What was answered, by method."""
    [status] = [one for one in said if isinstance(one, AnchorStatus)]
    return {proof.method: proof.state for proof in status.proofs}


Body: TypeAlias = Callable[[SimWorld], Coroutine[Any, Any, None]]


def play(body: Body) -> None:
    """Run a body under simulated time."""

    async def whole() -> None:
        await body(SimWorld("dev", 7))

    simulate(whole)


@pytest.mark.spec("COL-05")
def test_offline_everything_stays_with_us() -> None:
    """Without anybody outside both proofs are PENDING_LOCAL, however long one waits and however often one asks."""

    async def body(world: SimWorld) -> None:
        part = organ(world, Broken())
        await part.open(NoLog())
        for _ in range(5):
            said = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
            assert {"ots": "pending_local", "rfc3161": "pending_local"} == stands(said)
            await world.sleep(INTERVAL_S)
            await part.on_tick(tick(world))
        status = await part.on_status(AnchorStatusRequest(DIGEST))
        assert ("pending_local", "pending", False) == (status.state, status.minimum, status.enough)

    play(body)


@pytest.mark.spec("COL-05")
def test_a_repeated_request_changes_nothing() -> None:
    """Asked again, however often, the organ keeps the very proof it has, answers how it stands, and decides nothing."""

    async def body(world: SimWorld) -> None:
        part = organ(world)
        await part.open(NoLog())
        *first, status = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        assert ["ots", "rfc3161"] == [one.method for one in decided(first)]
        for _ in range(50):
            assert [status] == await part.on_anchor(AnchorRequest(DIGEST, "another name for it"))
        for one in decided(first):
            await part.on_advanced(one)
        await world.sleep(UNHEARD_S)
        assert [status] == await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        after = organ(world.fork("later"), store=part.ports.store)
        await after.open(NoLog())
        assert [status] == await after.on_anchor(AnchorRequest(DIGEST, "a test"))
        kept = part.ports.store
        assert isinstance(kept, MemoryProofStore)
        assert 2 == len(await kept.names("proofs")) == len(await kept.names("anchors"))

    play(body)


@pytest.mark.spec("COL-05", "X-12")
def test_a_repeated_request_asks_nobody_at_once() -> None:
    """Asked again within a minute the organ asks no calendar; later it does, and decides on what came further only."""

    class Counting(SimCalendar):
        submitted = 0

        async def submit(self, digest: bytes) -> Timestamp:
            """Count, and promise from the third time on."""
            self.submitted += 1
            if self.submitted < 3:
                raise Unreachable("nobody is there")
            return await super().submit(digest)

    async def body(world: SimWorld) -> None:
        public = Counting(world.fork("outside"))
        part = organ(world, public)
        await part.open(NoLog())
        for turn, state in enumerate(("pending_local", "pending_local", "pending")):
            for repeat in range(5):
                said = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
                assert state == stands(said)["ots"]
                if turn or repeat:
                    assert ({"ots": "pending"} if (turn, repeat) == (2, 0) else {}) == states(said)
                for one in decided(said):
                    await part.on_advanced(one)
            assert turn + 1 == public.submitted
            await world.sleep(UNHEARD_S)

    play(body)


@pytest.mark.spec("COL-05", "X-12")
def test_so_many_digests_may_wait() -> None:
    """A new digest beyond the bound is refused as A006 and leaves nothing; a known one is answered, a checkpoint kept.

    What waited before a restart is counted after it, and what a block is known of is counted no more.
    """

    async def body(world: SimWorld) -> None:
        store, public = MemoryProofStore(), SimCalendar(world.fork("outside"))
        first = organ(world, public, store=store)
        await first.open(NoLog())
        for n in range(MAX_WAITING_DIGESTS - 1):
            proof = write_detached(timestamp(n.to_bytes(32, "big"), [Pending("https://a")]))
            await first.kept.keep(f"{n:064x}", "ots", "a test", State.PENDING, "", proof)
        part = organ(world.fork("later"), public, store=store)
        await part.open(NoLog())
        assert 2 == len(states(await part.on_anchor(AnchorRequest(DIGEST, "the last"))))
        kept = len(store.kept)
        for _ in range(2):
            with pytest.raises(Refused, match="A006"):
                await part.on_anchor(AnchorRequest(HELLO, "one more"))
        assert kept == len(store.kept)
        assert "pending" == stands(await part.on_anchor(AnchorRequest(DIGEST, "the last")))["ots"]
        await world.sleep(UNHEARD_S)
        part.remember(hashlib.sha256(b"checkpoint").digest(), "checkpoint 1")
        assert "checkpoint 1" in {one.what for one in await part.on_tick(tick(world))}
        await world.sleep(2 * UNHEARD_S)
        for digest in (DIGEST, hashlib.sha256(b"checkpoint").digest()):
            said = await part.on_anchor(AnchorRequest(digest, "a test"))
            assert "bitcoin_unchecked" == stands(said)["ots"]
        assert 2 == len(states(await part.on_anchor(AnchorRequest(HELLO, "one more"))))

    play(body)


@pytest.mark.spec("COL-05")
def test_a_digest_advances_and_the_log_hears_of_each_step_once() -> None:
    """A public promise makes it PENDING, the claimed block BITCOIN_UNCHECKED; each step is said once, then silence."""

    async def body(world: SimWorld) -> None:
        part = organ(world, SimCalendar(world.fork("outside")))
        await part.open(NoLog())
        said = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        assert {"ots": "pending", "rfc3161": "pending_local"} == states(said)
        for one in decided(said):
            await part.on_advanced(one)
        heard = list[AnchorAdvanced]()
        for _ in range(200):
            await world.sleep(60)
            new = await part.on_tick(tick(world))
            for one in new:
                await part.on_advanced(one)
            heard += new
        assert [("ots", "bitcoin_unchecked")] == [(one.method, one.state) for one in heard]
        status = await part.on_status(AnchorStatusRequest(DIGEST))
        assert ("bitcoin_unchecked", True) == (status.state, status.enough)

    play(body)


@pytest.mark.spec("COL-05", "X-07")
def test_what_the_log_did_not_hear_is_said_again() -> None:
    """A decision that never arrived is repeated after a while, by this start of the organ and by the next."""

    async def body(world: SimWorld) -> None:
        store = MemoryProofStore()
        part = organ(world, store=store)
        await part.open(NoLog())
        lost = decided(await part.on_anchor(AnchorRequest(DIGEST, "a test")))
        assert [] == await part.on_tick(tick(world))
        await world.sleep(61)
        assert lost == await part.on_tick(tick(world))
        after = organ(world.fork("again"), store=store)
        await after.open(NoLog())
        assert lost == await after.on_tick(tick(world))
        for one in lost:
            await after.on_advanced(one)
        await world.sleep(3 * INTERVAL_S)
        assert [] == await after.on_tick(tick(world))

    play(body)


@pytest.mark.spec("COL-05")
def test_what_was_stamped_offline_catches_up() -> None:
    """What was PENDING_LOCAL is PENDING once a public calendar promised a round over it, and goes on from there."""

    async def body(world: SimWorld) -> None:
        store, public = MemoryProofStore(), SimCalendar(world.fork("outside"))
        alone = organ(world, Broken(), store=store)
        await alone.open(NoLog())
        for n in range(3):
            await alone.on_anchor(AnchorRequest(bytes([n]) * 32, "a test"))
        joined = organ(world.fork("later"), public, store=store)
        await joined.open(NoLog())
        assert 3 == len([one for one in await joined.on_tick(tick(world)) if one.state == "pending"])
        assert 1 == len(public.promised)
        await world.sleep(INTERVAL_S)
        assert 3 == len([one for one in await joined.on_tick(tick(world)) if one.state == "bitcoin_unchecked"])

    play(body)


@pytest.mark.spec("COL-05")
def test_a_header_makes_the_difference() -> None:
    """A kept proof becomes VERIFIED when the header of its block is at hand, at the next look and not before."""

    async def body(world: SimWorld) -> None:
        store = MemoryProofStore()
        before = organ(world, store=store)
        await before.open(NoLog())
        await before.kept.keep(HELLO.hex(), "ots", "hello", State.BITCOIN_UNCHECKED, "elsewhere", PROOF)
        assert "bitcoin_unchecked" == states(await before.on_tick(tick(world)))["ots"]
        after = organ(world.fork("later"), store=store, headers=FileHeaders(HEADERS))
        await after.open(NoLog())
        [said] = [one for one in await after.on_tick(tick(world)) if one.method == "ots"]
        assert ("verified", f"bitcoin block {HEIGHT}") == (said.state, said.by)
        assert (hashlib.sha256(PROOF).digest(), len(PROOF)) == (said.proof_sha256, said.proof_bytes)

    play(body)


@pytest.mark.spec("COL-05")
def test_a_state_never_falls_back() -> None:
    """What was checked stays VERIFIED when the header is no longer at hand, and a poorer proof does not replace it."""

    async def body(world: SimWorld) -> None:
        store = MemoryProofStore()
        with_header = organ(world, store=store, headers=FileHeaders(HEADERS))
        await with_header.open(NoLog())
        await with_header.kept.keep(HELLO.hex(), "ots", "hello", State.BITCOIN_UNCHECKED, "elsewhere", PROOF)
        assert "verified" == states(await with_header.on_tick(tick(world)))["ots"]
        without = organ(world.fork("later"), store=store)
        await without.open(NoLog())
        poorer = write_detached(timestamp(HELLO, [Pending("https://a")]))
        kept = await without.kept.keep(HELLO.hex(), "ots", "hello", State.PENDING, "https://a", poorer)
        assert ("verified", len(PROOF)) == (kept.state, kept.proof_bytes)
        assert "verified" == stands(await without.on_anchor(AnchorRequest(HELLO, "hello")))["ots"]

    play(body)


@pytest.mark.spec("COL-05")
def test_a_block_that_a_header_contradicts_counts_for_nothing() -> None:
    """A calendar's claim that the header at hand contradicts leaves the digest as it was."""

    async def body(world: SimWorld) -> None:
        part = organ(world, SimCalendar(world.fork("outside")), headers=OneHeader(HEADER))
        await part.open(NoLog())
        await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        await world.sleep(INTERVAL_S)
        await part.on_tick(tick(world))
        status = await part.on_status(AnchorStatusRequest(DIGEST))
        assert "pending" == status.state

    play(body)


@pytest.mark.spec("COL-05")
def test_one_that_fails_does_not_hold_up_the_others() -> None:
    """With a broken calendar, a broken authority and a calendar that works, the digest is PENDING by the one."""

    async def body(world: SimWorld) -> None:
        part = organ(world, Broken(), SimCalendar(world.fork("outside")), authority=Broken())
        await part.open(NoLog())
        said = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        assert {"ots": "pending"} == states(said)

    play(body)


@pytest.mark.spec("COL-05")
def test_who_was_away_is_asked_again() -> None:
    """A token that the authority owed is signed at the next look; a calendar that is gone is asked once per look."""

    class Counting(Broken):
        asked = 0

        async def upgrade(self, commitment: bytes) -> Timestamp | None:
            """Count, and do not answer."""
            self.asked += 1
            return await super().upgrade(commitment)

    async def body(world: SimWorld) -> None:
        store, gone = MemoryProofStore(), Counting()
        first = organ(world, store=store, authority=Broken())
        await first.open(NoLog())
        for n in range(5):
            proof = path(bytes([n]) * 32, [Op(SHA256)], lambda message: timestamp(message, [Pending(gone.uri)]))
            await first.kept.keep(proof.message.hex(), "ots", "a test", State.PENDING, "", write_detached(proof))
        second = organ(world.fork("later"), gone, store=store)
        await second.open(NoLog())
        said = await second.on_tick(tick(world))
        assert (5, 1) == (len([one for one in said if one.method == "rfc3161"]), gone.asked)

    play(body)


@pytest.mark.spec("COL-05", "X-07")
def test_one_damaged_proof_does_not_hold_up_the_others() -> None:
    """With one record that is none and one proof that is gone, a look still brings every other digest further."""

    async def body(world: SimWorld) -> None:
        store = MemoryProofStore()
        part = organ(world, SimCalendar(world.fork("outside")), store=store)
        await part.open(NoLog())
        for n in range(4):
            await part.on_anchor(AnchorRequest(bytes([n]) * 32, "a test"))
        await store.put(f"anchors/{'00' * 32}.ots", b"garbage")
        await store.remove((await part.kept.read(f"anchors/{'01' * 32}.ots")).location)
        await world.sleep(INTERVAL_S)
        assert 2 == len([one for one in await part.on_tick(tick(world)) if one.state == "bitcoin_unchecked"])

    play(body)


@pytest.mark.spec("COL-05")
def test_a_local_token_is_no_evidence() -> None:
    """A token of our own is worth PENDING_LOCAL, one of an authority outside PENDING, and neither ever more."""

    class Outside(SimAuthority):
        local = False

    async def body(world: SimWorld) -> None:
        for authority, state in ((SimAuthority(world), "pending_local"), (Outside(world), "pending")):
            part = organ(world, authority=authority, headers=OneHeader(HEADER))
            await part.open(NoLog())
            assert state == states(await part.on_anchor(AnchorRequest(DIGEST, "a test")))["rfc3161"]

    play(body)


@pytest.mark.spec("COL-05", "X-04")
def test_the_newest_checkpoint_is_anchored_once_per_interval() -> None:
    """Of the checkpoints that came meanwhile, the newest is anchored when the interval is over, and no other."""

    async def body(world: SimWorld) -> None:
        part = organ(world)
        await part.open(NoLog())
        anchored = list[str]()
        for n in range(100):
            part.remember(hashlib.sha256(bytes([n])).digest(), f"checkpoint {n}")
            anchored += [one.what for one in await part.on_tick(tick(world)) if one.method == "ots"]
            for name in await part.kept.names():
                await part.on_advanced((await part.kept.read(name)).decision())
            await world.sleep(INTERVAL_S / 30)
        assert ["checkpoint 0", "checkpoint 30", "checkpoint 60", "checkpoint 90"] == anchored

    play(body)


@pytest.mark.spec("X-04")
def test_a_checkpoint_is_anchored_without_its_signatures() -> None:
    """The digest is of the note's text alone, so witnesses may sign later; what is no signed note is refused."""
    text = "log.example\n12\nAAAA\n"
    expected = hashlib.sha256(text.encode()).digest()
    assert expected == checkpoint_digest(f"{text}\n— a AAAA\n".encode())
    assert expected == checkpoint_digest(f"{text}\n— a AAAA\n— b BBBB\n".encode())
    for wrong in (b"", text.encode(), f"{text}\n".encode(), f"\n\n{text}".encode(), f"{text}\nunsigned\n".encode()):
        with pytest.raises(Refused, match="A002"):
            checkpoint_digest(wrong)


# Crashes and damage


class Crash(Exception):
    """The machine stops here."""


class Failing(MemoryProofStore):
    """A store whose machine stops at the nth change."""

    def __init__(self, kept: dict[str, bytes], left: int) -> None:
        super().__init__()
        self.kept, self.left = kept, left

    async def put(self, name: str, content: bytes) -> None:
        """Count down."""
        self._step()
        await super().put(name, content)

    async def remove(self, name: str) -> None:
        """Count down."""
        self._step()
        await super().remove(name)

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


@pytest.mark.spec("COL-05", "X-07")
@pytest.mark.parametrize("steps", range(12))
def test_a_crash_at_any_write_is_made_good(steps: int) -> None:
    """Wherever among its writes the organ is cut off, the next start ends where an undisturbed one would."""

    async def life(world: SimWorld, store: ProofStore, public: Calendar) -> None:
        part = organ(world, store=store)
        await part.open(NoLog())
        await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        later = organ(world.fork("later"), public, store=store)
        await later.open(NoLog())
        await later.on_tick(tick(world))

    async def body(world: SimWorld) -> None:
        kept, public = dict[str, bytes](), SimCalendar(world.fork("outside"))
        crashed = False
        try:
            await life(world, Failing(kept, steps), public)
        except Crash:
            crashed = True
        assert crashed == (steps < 11)
        await life(world.fork("after"), Failing(kept, 1_000), public)
        store = MemoryProofStore()
        store.kept = kept
        found = [await Kept(store).read(name) for name in await Kept(store).names()]
        records = {record.method: record for record in found}
        assert {"ots": "pending", "rfc3161": "pending_local"} == {m: r.state for m, r in records.items()}
        for record in records.values():
            assert record.proof_bytes == len(await Kept(store).proof(record))
        assert [] == await store.names("waiting")

    play(body)


@pytest.mark.spec("COL-05")
def test_damage_is_named() -> None:
    """A proof that is gone or changed, and a record that is none, are named and never taken for an anchor."""

    async def body(world: SimWorld) -> None:
        store = MemoryProofStore()
        part = organ(world, store=store)
        await part.open(NoLog())
        await part.on_anchor(AnchorRequest(DIGEST, "a test"))
        record = await part.kept.find(DIGEST.hex(), "ots")
        assert isinstance(record, Record)
        good = dict(store.kept)
        for name, content, said in (
            (record.location, PROOF, "is not what was written"),
            (record.location, None, "is missing"),
            (record.name, b"{}", "is no record of an anchor"),
            (record.name, good[record.name].replace(b"pending_local", b"certain"), "is no record of an anchor"),
            (record.name, good[f"anchors/{DIGEST.hex()}.rfc3161"], "is the record of"),
        ):
            store.kept = {n: c for n, c in good.items() if n != name} | ({} if content is None else {name: content})
            with pytest.raises(StorageFault, match=said):
                await part.on_status(AnchorStatusRequest(DIGEST))

    play(body)


# In an organism


def parts(folder: Path, outside: list[Calendar]) -> Callable[[World], list[Part]]:
    """An organ with its real adapters, and calendars that may be added while it lives."""

    def make(world: World) -> list[Part]:
        store = FileProofStore(folder / "anchors")
        authority = LocalAuthority(folder / "anchors" / "authority")
        ports = Ports(store, LocalCalendar(store, world), outside, authority, NoHeaders())
        return [AnchorOrgan(world, ports, State.NONE, 0.1)]

    return make


async def asked(living: Living, digest: bytes, state: str) -> AnchorStatus:
    """Ask until a digest stands at a state."""
    async with asyncio.timeout(30):
        while True:
            status = await living.operator.request(AnchorStatusRequest(digest))
            assert isinstance(status, AnchorStatus)
            if status.state == state:
                return status
            await living.world.sleep(0.05)


async def decisions(living: Living) -> list[AnchorAdvanced]:
    """Every admitted anchor decision of the log."""
    pattern, found = ".organs.anchor.event.", list[AnchorAdvanced]()
    async for verdict in living.operator.replay():
        if pattern in verdict.entry.subject:
            assert [] == list(verdict.void())
            found += [decode(AnchorAdvanced, bytes(event.data)) for _, event in verdict.admitted()]
    return found


@pytest.mark.spec("COL-05", "X-04")
def test_an_organism_anchors_on_a_real_server(tmp_path: Path) -> None:
    """On a real nats-server, with a calendar on loopback and openssl, each step of a digest is a signed decision."""
    outside: list[Calendar] = []

    async def life(living: Living) -> None:
        answer = await living.operator.request(AnchorRequest(DIGEST, "a test"), 30.0)
        assert isinstance(answer, AnchorStatus)
        assert (DIGEST, "pending_local") == (answer.digest, answer.state)
        await asked(living, DIGEST, "pending_local")
        async with calendars.calendar() as server:
            outside.append(HttpCalendar(server.url, RealWorld("dev")))
            status = await asked(living, DIGEST, "pending")
            assert ["ots", "rfc3161"] == [proof.method for proof in status.proofs]
            server.mine()
            status = await asked(living, DIGEST, "bitcoin_unchecked")
            outside.clear()
        [proof, token] = status.proofs
        assert DIGEST == read_detached(proof.proof).message
        assert proof.proof == (tmp_path / "anchors" / proof.location).read_bytes()
        await LocalAuthority(tmp_path / "anchors" / "authority").check(DIGEST, token.proof)
        said = await decisions(living)
        assert ["pending_local", "pending", "bitcoin_unchecked"] == [d.state for d in said if d.method == "ots"]
        assert (proof.proof_sha256, proof.proof_blake3) == (said[-1].proof_sha256, said[-1].proof_blake3)

    live_nats(life, tmp_path / "home", parts(tmp_path, outside))


@pytest.mark.spec("COL-05")
def test_settings_choose_who_is_asked(tmp_path: Path) -> None:
    """Built from settings that name a calendar and an authority, the organ is PENDING with both, by their own words."""

    async def body() -> None:
        async with calendars.calendar() as server, calendars.authority(tmp_path) as (url, trusted):
            given = {"home": str(tmp_path / "home"), "site": "here", "env": "prod", "anchor_calendars": server.url}
            given |= {"anchor_tsa_url": url, "anchor_tsa_ca": str(trusted), "anchor_headers": str(HEADERS)}
            part = AnchorOrgan.build(load({}, given, "here").settings, RealWorld("prod"))
            await part.open(NoLog())
            said = await part.on_anchor(AnchorRequest(DIGEST, "a test"))
            assert {("ots", "pending", server.url), ("rfc3161", "pending", url)} == {
                (one.method, one.state, one.by) for one in decided(said)
            }
            status = await part.on_status(AnchorStatusRequest(DIGEST))
            assert ("pending", "pending", True) == (status.state, status.minimum, status.enough)
            assert [] == await part.ports.store.names("waiting")

    asyncio.run(body())


@pytest.mark.spec("COL-05", "X-08")
def test_an_organism_anchors_in_a_simulation() -> None:
    """With its simulated ports the organ does the same under simulated time."""

    async def life(living: Living) -> None:
        for _ in range(3):
            answer = await living.operator.request(AnchorRequest(DIGEST, "a test"))
            assert isinstance(answer, AnchorStatus)
        await living.world.sleep(600)
        status = await living.operator.request(AnchorStatusRequest(DIGEST))
        assert isinstance(status, AnchorStatus)
        assert "bitcoin_unchecked" == status.state
        said = await decisions(living)
        mine = [d.state for d in said if d.digest == DIGEST.hex()]
        assert ["pending", "pending_local", "bitcoin_unchecked"] == mine
        checkpoints = {d.what for d in said} - {"a test"}
        assert all(what.startswith("checkpoint ") for what in checkpoints)
        assert 0 < len(checkpoints) < 600 / 60, "what the anchors say of themselves is no reason to anchor again"

    live_sim(life)


# The command line


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A data folder nothing lives on."""
    return Home.at(tmp_path / "home").without_records()


def proof_of(folder: Path, *ends: Pending | Bitcoin) -> Path:
    """A proof of a text beside it."""
    (folder / "text").write_bytes(TEXT)
    made = path(HELLO, [Op(SHA256)], lambda message: timestamp(message, ends))
    (folder / "text.ots").write_bytes(write_detached(made))
    return folder / "text.ots"


@pytest.mark.spec("COL-05")
def test_verify_says_ok_for_a_checked_block_alone(home: Home, tmp_path: Path) -> None:
    """`anchor verify` ends with 0 for the published proof and its header, by option or setting, and says the rest."""
    (tmp_path / "hello.ots").write_bytes(PROOF)
    (tmp_path / "hello").write_bytes(TEXT)
    for words in (("--header", HEADER.hex()), ("--set", f"anchor_headers={HEADERS}")):
        done = home.held("anchor", "verify", str(tmp_path / "hello.ots"), *words, "--json")
        [told] = done.documents
        assert (True, "verified", TIME, BLOCK_HASH) == (told["ok"], told["state"], told["time"], told["block"])
        assert "chain with the most work" in told["unchecked"]


@pytest.mark.spec("COL-05")
@pytest.mark.parametrize(
    ("ends", "state"),
    [
        ((Pending(f"{LOCAL_URI}00"),), "pending_local"),
        ((Pending("https://a"),), "pending"),
        ((Bitcoin(HEIGHT),), "bitcoin_unchecked"),
    ],
)
def test_what_is_pending_is_never_called_anything_else(
    home: Home, tmp_path: Path, ends: tuple[Pending | Bitcoin, ...], state: str
) -> None:
    """For anything less `anchor verify` ends with 7 and the state's name, and the word for more is nowhere in it."""
    proof = proof_of(tmp_path, *ends)
    done, plain = home.run("anchor", "verify", str(proof), "--json"), home.run("anchor", "verify", str(proof))
    assert (int(Exit.REFUSED), int(Exit.REFUSED)) == (done.code, plain.code)
    assert (False, state) == (done.documents[0]["ok"], done.documents[0]["state"])
    assert state.split("_", maxsplit=1)[0].removeprefix("bitcoin") in plain.out
    assert "verified" not in (done.out + done.err + plain.out + plain.err).lower()


@pytest.mark.spec("COL-05")
def test_what_is_wrong_ends_with_19(home: Home, tmp_path: Path) -> None:
    """A proof that cannot be read, of another file, or contradicted by the header ends with 19 and its sentence."""
    proof = proof_of(tmp_path, Bitcoin(HEIGHT))
    other = tmp_path / "other"
    other.write_bytes(b"other")
    garbage = tmp_path / "garbage.ots"
    garbage.write_bytes(b"garbage")
    for words, code in (
        ((str(garbage),), "A002"),
        ((str(proof), "--file", str(other)), "A002"),
        ((str(proof), "--header", HEADER.hex()), "A003"),
        ((str(proof), "--header", "00"), "A003"),
    ):
        done = home.run("anchor", "verify", *words)
        assert int(Exit.BAD_PROOF) == done.code
        assert done.sentence.startswith(code)
    assert int(Exit.CONFIG) == home.run("anchor", "verify", str(tmp_path / "nothing.ots")).code


@pytest.mark.spec("COL-05", "X-07")
def test_the_command_line_anchors_and_survives_kill_9(home: Home, tmp_path: Path) -> None:
    """`stamp` writes a proof beside a file; after kill -9 the next start knows it, and the gate of prod says no."""
    file = tmp_path / "text"
    file.write_bytes(TEXT)
    part = ("--part", "organs.anchor")
    with home.up(*part) as up:
        [told] = home.held("anchor", "stamp", str(file), "--json").documents
        assert ("pending_local", f"{file}.ots") == (told["state"], told["file"])
        up.process.kill()
    first = file.with_name("text.ots").read_bytes()
    assert HELLO == read_detached(first).message
    with home.set(anchor_minimum="pending").up(*part):
        status = home.run("anchor", "status", str(file), "--json")
        assert (7, "pending_local", False) == (status.code, *(status.documents[0][k] for k in ("state", "enough")))
        again = home.held("anchor", "stamp", str(file), "--json")
        assert first == file.with_name("text.ots").read_bytes()
        assert told["proofs"] == again.documents[0]["proofs"]
        file.with_name("text.ots").write_bytes(b"mine")
        refused = home.run("anchor", "stamp", str(file))
        assert (int(Exit.CONFIG), b"mine") == (refused.code, file.with_name("text.ots").read_bytes())
        assert int(Exit.CONFIG) == home.run("anchor", "stamp", "neither").code
        assert "none" == home.run("anchor", "status", "ab" * 32, "--json").documents[0]["state"]
        kept = home.folder / "dev" / "anchors" / "anchors" / f"{HELLO.hex()}.ots"
        give_up_s = time.monotonic() + EVENT_S
        while "pending_local" != json.loads(kept.read_bytes())["logged"]:
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
    listed = home.held("anchor", "status", "--json").documents[0]
    assert [("ots", "text"), ("rfc3161", "text")] == [(one["method"], one["what"]) for one in listed]
