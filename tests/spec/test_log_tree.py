"""The log's tree: its root is RFC 6962's, and a proof proves one thing and nothing near it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log.tree import (
    MAX_PROOF_HASHES,
    BadProof,
    blake3_hash,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    nodes_of,
    root_from,
    root_of,
    root_of_hashes,
    sha256,
    verify_consistency,
    verify_inclusion,
)

pytestmark = pytest.mark.spec("X-04")

FIXED = settings(max_examples=150, report_multiple_bugs=False)
SIZES = st.integers(1, 300)
HASHES = leaf_hashes([n.to_bytes(2, "big") for n in range(600)])
NODE = nodes_of(HASHES)


def by_the_book(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962's recursion, written out a second time."""
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + by_the_book(leaves[:k]) + by_the_book(leaves[k:])).digest()


@cache
def root(size: int) -> bytes:
    """The root of the first leaves."""
    return root_from(NODE, size)


def holds(check: Callable[[], None]) -> bool:
    """Whether a proof is accepted; whatever else than BadProof is raised goes through."""
    try:
        check()
    except BadProof:
        return False
    return True


def included(index: int, size: int, leaf: bytes, proof: Sequence[bytes], top: bytes) -> bool:
    """Whether a proof of inclusion is accepted."""
    return holds(lambda: verify_inclusion(index, size, leaf, proof, top))


def consistent(old: int, new: int, proof: Sequence[bytes], before: bytes, after: bytes) -> bool:
    """Whether a proof of consistency is accepted."""
    return holds(lambda: verify_consistency(old, new, proof, before, after))


def flipped(raw: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    at, place = divmod(bit % (8 * len(raw)), 8)
    return raw[:at] + bytes([raw[at] ^ (1 << place)]) + raw[at + 1 :]


def changes(proof: Sequence[bytes], random: Random) -> list[list[bytes]]:
    """Proofs near this one: a bit changed in any hash, one left out, doubled or added, the order changed."""
    bits = [[*proof[:i], flipped(one, random.randrange(256)), *proof[i + 1 :]] for i, one in enumerate(proof)]
    fewer = [[*proof[:i], *proof[i + 1 :]] for i in range(len(proof))]
    more = [[*proof[:i], random.choice([random.randbytes(32), *proof]), *proof[i:]] for i in range(len(proof) + 1)]
    short = [[*proof[:i], one[:-1], *proof[i + 1 :]] for i, one in enumerate(proof)]
    turned = [list(proof[::-1])] if len(set(proof)) > 1 else []
    return [*bits, *fewer, *more, *short, *turned]


def test_roots_are_the_books() -> None:
    """The roots of 0 to 70 leaves are those of RFC 6962's recursion, by every way we have to make them."""
    leaves = [bytes([n]) * n for n in range(70)]
    for size in range(70):
        hashes = leaf_hashes(leaves[:size])
        expected = by_the_book(leaves[:size])
        assert expected == root_of(leaves[:size], sha256) == root_of_hashes(hashes)
        assert expected == root_from(nodes_of(leaf_hashes(leaves)), size)


def test_a_leaf_is_never_a_node() -> None:
    """The bytes of two hashes, put in as one leaf, have another root than the two leaves they hash."""
    left, right = HASHES[:2]
    assert root_of_hashes([left, right]) != leaf_hash(left + right)
    assert root_of([b"a", b"b"]) != root_of([b"a", b"b", b"b"])


def test_every_proof_of_small_trees_holds() -> None:
    """Every leaf of every tree of up to 40 leaves is proven, and every tree to be the beginning of every later one."""
    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(NODE, index, size)
            assert included(index, size, HASHES[index], proof, root(size))
        for old in range(1, size + 1):
            assert consistent(old, size, consistency_proof(NODE, old, size), root(old), root(size))


def test_proofs_work_over_blake3() -> None:
    """The same proofs hold in a tree of another hash, and not across the two."""
    leaves = [leaf_hash(bytes([n]), blake3_hash) for n in range(7)]
    node = nodes_of(leaves, blake3_hash)
    proof = inclusion_proof(node, 4, 7, blake3_hash)
    top = root_of([bytes([n]) for n in range(7)], blake3_hash)
    verify_inclusion(4, 7, leaves[4], proof, top, blake3_hash)
    assert not included(4, 7, leaves[4], proof, top)


@FIXED
@given(SIZES, st.data(), st.randoms(use_true_random=False))
def test_no_changed_inclusion_proof_holds(size: int, data: st.DataObject, random: Random) -> None:
    """A proof of inclusion holds for its own leaf, index, size and root, and no changed one does.

    The size alone is not covered where the path has the same shape; the root is of one size, so a checkpoint covers it.
    """
    index = data.draw(st.integers(0, size - 1))
    leaf, proof, top = HASHES[index], inclusion_proof(NODE, index, size), root(size)
    assert included(index, size, leaf, proof, top)
    assert not any(included(index, size, leaf, other, top) for other in changes(proof, random))
    assert not any(included(other, size, leaf, proof, top) for other in range(-1, size + 2) if other != index)
    bit = random.randrange(256)
    assert not included(index, size, flipped(leaf, bit), proof, top)
    assert not included(index, size, leaf, proof, flipped(top, bit))
    assert not included(index, size, leaf, proof, b"")
    others = [root(other) for other in range(1, 301) if other != size]
    assert not any(included(index, size, leaf, proof, other) for other in others)
    for other in (0, index, 2 * size + 1, 1 << 64):
        assert other == size or not included(index, other, leaf, proof, top)


@FIXED
@given(SIZES, st.data(), st.randoms(use_true_random=False))
def test_no_changed_consistency_proof_holds(new: int, data: st.DataObject, random: Random) -> None:
    """A proof of consistency holds for its own sizes and roots, and no changed one does."""
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(NODE, old, new)
    assert consistent(old, new, proof, root(old), root(new))
    assert not any(consistent(old, new, other, root(old), root(new)) for other in changes(proof, random))
    bit = random.randrange(256)
    assert not consistent(old, new, proof, flipped(root(old), bit), root(new))
    assert not consistent(old, new, proof, root(old), flipped(root(new), bit))
    assert not consistent(new, old, proof, root(new), root(old)) or old == new
    assert not consistent(0, new, proof, root_of_hashes([]), root(new))
    for other in (2 * new, 1 << 64):
        assert not consistent(old, other, proof, root(old), root(new))
        assert not consistent(old, other, [*proof, proof[-1] if proof else root(new)], root(old), root(new))
    for other in range(1, 301):
        assert other == old or not consistent(other, new, proof, root(other), root(new))
        assert other == new or not consistent(old, other, proof, root(old), root(other))


@FIXED
@given(SIZES, SIZES, st.randoms(use_true_random=False))
def test_a_rewritten_beginning_is_found(old: int, more: int, random: Random) -> None:
    """No proof shows a tree whose beginning was rewritten to go on from the one before."""
    new = old + more
    hashes = [*HASHES[:new]]
    at = random.randrange(old)
    hashes[at] = flipped(hashes[at], random.randrange(256))
    forged = nodes_of(hashes)
    for node in (forged, NODE):
        proof = consistency_proof(node, old, new)
        assert not consistent(old, new, proof, root(old), root_from(forged, new))


def test_what_cannot_be_asked() -> None:
    """Proofs of leaves and trees that are not there are refused by name, when made and when verified."""
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(BadProof, match=f"no leaf {index} in a tree of {size}"):
            inclusion_proof(NODE, index, size)
        with pytest.raises(BadProof, match=f"no leaf {index} in a tree of {size}"):
            verify_inclusion(index, size, HASHES[0], [], root(1))
    for old, new in ((4, 3), (-1, 3)):
        with pytest.raises(BadProof, match="is no beginning"):
            consistency_proof(NODE, old, new)
    assert [] == consistency_proof(NODE, 0, 3) == consistency_proof(NODE, 3, 3)


def test_a_proof_is_bounded() -> None:
    """A proof with more hashes than any tree needs is refused before anything is hashed."""
    many = [HASHES[0]] * (MAX_PROOF_HASHES + 1)
    for check in (
        lambda: verify_inclusion(0, 1 << 70, HASHES[0], many, root(1)),
        lambda: verify_consistency(1, 1 << 70, many, root(1), root(1)),
    ):
        with pytest.raises(BadProof, match="at most 64"):
            check()
