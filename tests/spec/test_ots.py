"""OpenTimestamps proofs: our reader and writer beside the public library and its command line."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.serialize import BytesDeserializationContext, BytesSerializationContext
from opentimestamps.core.timestamp import DetachedTimestampFile

from organs.anchor import ots
from organs.anchor.calendars import LocalCalendar, merkle_paths
from organs.anchor.ots import (
    APPEND,
    BITCOIN_TAG,
    MAGIC,
    PENDING_TAG,
    PREPEND,
    SHA256,
    Attestation,
    Bitcoin,
    Op,
    Pending,
    Timestamp,
    Unknown,
    path,
    read_detached,
    read_timestamp,
    timestamp,
    varint,
    write_detached,
    write_timestamp,
)
from organs.anchor.store import MemoryProofStore
from shared.errors import Refused
from shared.world import RealWorld
from tests import calendars
from tests.vectors.block_358391 import HEIGHT, MERKLE_ROOT, PROOF, TEXT

CLIENT = Path(sys.executable).parent / "ots"
DIGEST = bytes(range(32))
BODY = MAGIC + b"\x01\x08" + DIGEST
PROMISE = b"\0" + PENDING_TAG + b"\x0a\x09https://a"

attestations: st.SearchStrategy[Attestation] = st.one_of(
    st.builds(Pending, st.from_regex(r"\A[A-Za-z0-9._/:-]{1,60}\Z")),
    st.builds(Bitcoin, st.integers(0, 2**31)),
    st.builds(
        Unknown,
        st.binary(min_size=8, max_size=8).filter(lambda tag: tag not in (PENDING_TAG, BITCOIN_TAG)),
        st.binary(max_size=40),
    ),
)
plain_ops = st.sampled_from([Op(tag) for tag in (0x02, 0x03, SHA256, 0xF2)])
ops = st.one_of(plain_ops, st.builds(Op, st.sampled_from([APPEND, PREPEND]), st.binary(min_size=1, max_size=60)))


@st.composite
def trees(draw: st.DrawFn, message: bytes = DIGEST, depth: int = 4) -> Timestamp:
    """A timestamp of a message, a few levels deep."""
    steps = draw(st.lists(ops, max_size=3, unique=True)) if depth else []
    least = 0 if steps else 1
    ends = draw(st.lists(attestations, min_size=least, max_size=3))
    return timestamp(message, ends, [(op, draw(trees(op(message), depth - 1))) for op in steps])


@pytest.mark.spec("COL-05")
def test_a_published_proof_is_read_to_its_block() -> None:
    """The first proof ever published leads to the Merkle root of block 358391, and is written back byte for byte."""
    proof = read_detached(PROOF)
    assert hashlib.sha256(TEXT).digest() == proof.message
    assert [(bytes.fromhex(MERKLE_ROOT)[::-1], Bitcoin(HEIGHT))] == list(proof.attested())
    assert PROOF == write_detached(proof)


@pytest.mark.spec("COL-05")
@given(trees())
def test_what_is_written_is_read_back(tree: Timestamp) -> None:
    """A timestamp is read back as it was, and has one form: the tree gives the bytes, the bytes give the tree."""
    raw = write_detached(tree)
    assert (tree, raw) == (read_detached(raw), write_detached(read_detached(raw)))
    assert tree == read_timestamp(write_timestamp(tree), DIGEST)
    assert tree == timestamp(DIGEST, tree.attestations * 2, tree.branches * 2)


@pytest.mark.filterwarnings("ignore:OpReverse:PendingDeprecationWarning")  # the library's own wish for the future
@pytest.mark.spec("COL-05")
@given(trees())
def test_the_public_library_reads_the_same(tree: Timestamp) -> None:
    """The public library reads every proof we write, finds the same attestations, and writes the same bytes."""
    raw = write_detached(tree)
    theirs = DetachedTimestampFile.deserialize(BytesDeserializationContext(raw))
    assert DIGEST == theirs.file_digest
    told = BytesSerializationContext()
    theirs.serialize(told)
    assert raw == told.getbytes()
    ours = [(message, one) for message, one in tree.attested() if not isinstance(one, Unknown)]
    found = [(m, _ours(a)) for m, a in theirs.timestamp.all_attestations() if _ours(a) is not None]
    assert sorted(ours, key=repr) == sorted(found, key=repr)


def _ours(theirs: object) -> Attestation | None:
    match theirs:
        case PendingAttestation():
            return Pending(theirs.uri)
        case BitcoinBlockHeaderAttestation():
            return Bitcoin(theirs.height)
        case _:
            return None


def read_or_code(raw: bytes) -> Timestamp | str:
    """The proof in some bytes, or the code of the refusal."""
    try:
        return read_detached(raw)
    except Refused as no:
        return no.refusal.code


@pytest.mark.spec("COL-05", "X-12")
@given(trees(), st.data())
def test_changed_bytes_are_refused_or_another_proof(tree: Timestamp, data: st.DataObject) -> None:
    """A byte changed, cut or added gives a named refusal, or a proof that is written as it was read or shorter."""
    raw = bytearray(write_detached(tree))
    at = data.draw(st.integers(0, len(raw) - 1))
    match data.draw(st.integers(0, 2)):
        case 0:
            raw[at] ^= data.draw(st.integers(1, 255))
        case 1:
            del raw[at:]
        case _:
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=5))
    read = read_or_code(bytes(raw))
    if isinstance(read, Timestamp):
        assert read == read_detached(write_detached(read))
        assert len(write_detached(read)) <= len(raw)
    else:
        assert "A002" == read


@pytest.mark.spec("COL-05", "X-12")
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_name(raw: bytes) -> None:
    """Bytes from anywhere end as a refusal, whatever stands before them."""
    for head in (b"", MAGIC, BODY):
        read = read_or_code(head + raw)
        assert isinstance(read, Timestamp) or read == "A002"


REFUSED = {
    "nothing": (b"", "cut short"),
    "another file": (b"%PDF-1.7" + bytes(60), "does not begin"),
    "a version to come": (MAGIC + b"\x02\x08" + DIGEST + PROMISE, "version 2"),
    "a SHA-1 file digest": (MAGIC + b"\x01\x02" + DIGEST + PROMISE, "0x02"),
    "no timestamp": (BODY, "cut short"),
    "bytes after its end": (BODY + PROMISE + b"\0", "1 bytes follow its end"),
    "an unknown operation": (BODY + b"\x77" + PROMISE, "0x77 is unknown"),
    "keccak, which we cannot compute": (BODY + b"\x67" + PROMISE, "0x67 is unknown"),
    "an empty argument": (BODY + b"\xf0\x00" + PROMISE, "0 bytes follow"),
    "an argument of a gigabyte": (BODY + b"\xf0\x80\x80\x80\x80\x04" + PROMISE, "1073741824 bytes follow"),
    "a number without end": (BODY + b"\xf0" + b"\xff" * 40, "more than 63 bits"),
    "a number written too long": (BODY + b"\xf0\x81\x00a" + PROMISE, "longer than it has to be"),
    "a path without end": (BODY + b"\x08" * 1_000 + PROMISE, "too many operations"),
    "a message that grows": (BODY + b"\xf3" * 8 + PROMISE, "at most 4096"),
    "an address that is none": (BODY + b"\0" + PENDING_TAG + b"\x05\x04a\x1b[m", "other characters"),
    "an address and more": (BODY + b"\0" + PENDING_TAG + b"\x03\x01ab", "1 bytes follow its end"),
    "a height and more": (BODY + b"\0" + BITCOIN_TAG + b"\x02\x01\x01", "1 bytes follow its end"),
    "too much of it": (BODY + bytes(100_000), "at most 100000"),
}


@pytest.mark.spec("COL-05", "X-12")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_proof_is_refused_with_its_reason(name: str) -> None:
    """Each way of being no proof is refused as A002, and the sentence says what was found."""
    raw, said = REFUSED[name]
    with pytest.raises(Refused, match="A002") as refused:
        read_detached(raw)
    assert said in refused.value.refusal.detail


@pytest.mark.spec("COL-05")
def test_a_wide_proof_is_read_in_time_that_its_size_bounds() -> None:
    """A file full of branches is read once, byte after byte: no bytes make more work than there are bytes."""
    heights = [b"\xff\x08\0" + BITCOIN_TAG + b"\x02" + varint(200 + n) for n in range(7_000)]
    found = list(read_detached(BODY + b"".join(heights) + PROMISE).attested())
    assert [DIGEST, *[hashlib.sha256(DIGEST).digest()] * 7_000] == [message for message, _ in found]


@pytest.mark.spec("COL-05")
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40, unique=True))
def test_every_leaf_has_a_path_to_the_one_root(leaves: list[bytes]) -> None:
    """However many commitments a round has, the steps of each lead to the same root."""
    root, steps = merkle_paths(leaves)
    for leaf, ops_of_leaf in zip(leaves, steps, strict=True):
        message = leaf
        for op in ops_of_leaf:
            message = op(message)
        assert root == message


@pytest.mark.spec("COL-05")
def test_an_upgrade_joins_where_it_belongs() -> None:
    """What a calendar says of a message is added at that message, however deep, and the rest stays."""
    promised = path(DIGEST, [Op(APPEND, b"n"), Op(SHA256)], lambda m: timestamp(m, [Pending("https://a")]))
    [(commitment, _)] = promised.attested()
    more = path(commitment, [Op(SHA256)], lambda m: timestamp(m, [Bitcoin(7)]))
    block = (hashlib.sha256(commitment).digest(), Bitcoin(7))
    assert [(commitment, Pending("https://a")), block] == list(promised.merged([more]).attested())
    elsewhere = timestamp(bytes(32), [Bitcoin(8)])
    assert promised == promised.merged([elsewhere])


def client(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the public command line."""
    command = [str(CLIENT), "--no-cache", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.spec("COL-05")
def test_the_public_client_reads_our_files(tmp_path: Path) -> None:
    """`ots info` shows the digest and the promise of a proof that our own calendar made."""
    store = MemoryProofStore()
    own = LocalCalendar(store, RealWorld("dev"))
    (tmp_path / "text").write_bytes(TEXT)

    async def stamped() -> Timestamp:
        await own.open()
        return await own.submit(hashlib.sha256(TEXT).digest())

    (tmp_path / "text.ots").write_bytes(write_detached(asyncio.run(stamped())))
    shown = client("info", "text.ots", cwd=tmp_path)
    assert (0, "") == (shown.returncode, shown.stderr)
    assert f"File sha256 hash: {hashlib.sha256(TEXT).hexdigest()}" in shown.stdout
    assert f"verify PendingAttestation('{own.uri}')" in shown.stdout


@pytest.mark.spec("COL-05")
def test_the_public_client_verifies_what_we_write(tmp_path: Path) -> None:
    """`ots verify` accepts a published proof after our reader and writer had it, and refuses another text for it."""
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "text.ots").write_bytes(write_detached(read_detached(PROOF)))

    async def verified() -> subprocess.CompletedProcess[str]:
        async with calendars.node() as url:
            return await asyncio.to_thread(client, "--bitcoin-node", url, "verify", "text.ots", cwd=tmp_path)

    done = asyncio.run(verified())
    assert 0 == done.returncode, done.stderr
    assert f"Success! Bitcoin block {HEIGHT} attests existence as of 2015-05-28" in done.stderr
    (tmp_path / "text").write_bytes(TEXT + b"!")
    assert 1 == asyncio.run(verified()).returncode


@pytest.mark.spec("COL-05")
def test_the_public_client_stamps_with_our_servers_and_we_read_it(tmp_path: Path) -> None:
    """The client stamps and upgrades at the calendar our tests run; both of its files are read here, to the block."""
    (tmp_path / "text").write_bytes(TEXT)

    async def life() -> tuple[Timestamp, Timestamp]:
        async with calendars.calendar() as server:
            stamping = ("stamp", "-c", server.url, "-m", "1", "text")
            stamped = await asyncio.to_thread(client, *stamping, cwd=tmp_path)
            assert 0 == stamped.returncode, stamped.stderr
            before = read_detached((tmp_path / "text.ots").read_bytes())
            server.mine()
            upgrading = ("-l", server.url, "--no-bitcoin", "upgrade", "text.ots")
            await asyncio.to_thread(client, *upgrading, cwd=tmp_path)
            assert [Pending(server.url)] == [one for _, one in before.attested()]
            return before, read_detached((tmp_path / "text.ots").read_bytes())

    before, after = asyncio.run(life())
    assert hashlib.sha256(TEXT).digest() == before.message == after.message
    assert Bitcoin(calendars.CLAIMED) in [one for _, one in after.attested()]


@pytest.mark.spec("COL-05")
def test_the_product_holds_no_code_of_the_library() -> None:
    """Nothing of the product imports the public library: it is a reader beside ours, in tests alone."""
    folder = Path(ots.__file__).parents[2]
    for part in ("shared", "cells", "nerves", "organs", "deploy"):
        for file in (folder / part).rglob("*.py"):
            assert "import opentimestamps" not in file.read_text(), file
            assert "from opentimestamps" not in file.read_text(), file
