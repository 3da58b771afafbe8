"""Batches of records: the root binds every record, its place and their number, which the reference's root does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadProof, Exit, Refused
from shared.log.batch import (
    MAX_RECORDS,
    Batch,
    InclusionProof,
    record_leaf,
    reference_holds,
    reference_leaf,
    reference_proof,
    reference_root,
    verify_inclusion,
)
from shared.log.tree import blake3_hash, leaf_hash, node_hash, root_of

SIZES = st.integers(1, MAX_RECORDS)


def leaves_of(size: int) -> list[bytes]:
    """Distinct leaves, the same each time."""
    return [record_leaf(blake3(n.to_bytes(4, "big")).digest(), f"record {n}".encode()) for n in range(size)]


def batch_of(size: int) -> Batch:
    """A batch of so many records."""
    return Batch.of(leaves_of(size))


@pytest.mark.spec("COL-04")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 100, 255, 256, 257, 1_000])
def test_every_leaf_has_its_proof(size: int) -> None:
    """The proof of every leaf leads to the root, which is that of the log's own tree over the same leaves."""
    batch = batch_of(size)
    assert root_of(batch.leaves) == batch.root
    for index, leaf in enumerate(batch.leaves):
        proof = batch.prove(index)
        verify_inclusion(batch.root, size, index, leaf, proof)
        assert len(proof.path) <= (size - 1).bit_length()


@pytest.mark.spec("COL-04")
@settings(max_examples=40)
@given(size=SIZES, data=st.data())
def test_a_proof_is_for_one_leaf_at_one_place_in_one_batch(size: int, data: st.DataObject) -> None:
    """Another index, size, leaf or root, a sibling too many, too few, changed or moved: each is a BadProof."""
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    batch = batch_of(size)
    leaf, proof = batch.leaves[index], batch.prove(index)
    verify_inclusion(batch.root, size, index, leaf, proof)
    wrong = [
        (batch.root, size, index, bytes([leaf[0] ^ 1]) + leaf[1:], proof),
        (bytes(32), size, index, leaf, proof),
        (batch.root, size, index, leaf, replace(proof, path=(*proof.path, bytes(32)))),
        (batch.root, size, index, leaf, replace(proof, path=(bytes(32), *proof.path))),
        (batch.root, size, index, leaf, replace(proof, path=(*proof.path, b""))),
        (batch.root, size, index, leaf[:-1], proof),
        (batch.root, size, size, leaf, replace(proof, index=size)),
        (batch.root, size, -1, leaf, replace(proof, index=-1)),
        (batch.root, 0, index, leaf, replace(proof, size=0)),
        (batch.root, MAX_RECORDS + 1, index, leaf, replace(proof, size=MAX_RECORDS + 1)),
        (batch.root, size, index, leaf, replace(proof, size=size + 1)),
    ]
    if proof.path:
        at = data.draw(st.integers(0, len(proof.path) - 1))
        changed = [bytes([s[0] ^ 1]) + s[1:] if n == at else s for n, s in enumerate(proof.path)]
        wrong.append((batch.root, size, index, leaf, replace(proof, path=tuple(changed))))
        wrong.append((batch.root, size, index, leaf, replace(proof, path=proof.path[:-1])))
        wrong.append((batch.root, size, index, leaf, replace(proof, path=proof.path[1:])))
    if other != index:
        wrong.append((batch.root, size, other, leaf, replace(proof, index=other)))
        wrong.append((batch.root, size, index, batch.leaves[other], proof))
    for attempt in wrong:
        with pytest.raises(BadProof):
            verify_inclusion(*attempt)
    assert Exit.BAD_PROOF == BadProof.exit


@pytest.mark.spec("COL-04")
def test_what_is_wrong_is_named() -> None:
    """The sentence of a BadProof says what was found and what was expected."""
    batch = batch_of(5)
    proof = batch.prove(4)
    for arguments, sentence in (
        ((batch.root, 5, 3, batch.leaves[4], proof), "for leaf 4 of 5, expected leaf 3 of 5"),
        ((batch.root, 6, 4, batch.leaves[4], proof), "for leaf 4 of 5, expected leaf 4 of 6"),
        (
            (batch.root, 5, 4, batch.leaves[4], replace(proof, path=())),
            "has 0 hashes, too few for leaf 4 of 5",
        ),
        ((batch.root, 5, 4, batch.leaves[3], proof), "leads to root"),
        ((batch.root, 5, 5, batch.leaves[4], proof), "for leaf 4 of 5, expected leaf 5 of 5"),
        ((batch.root[:31], 5, 4, batch.leaves[4], proof), "32 bytes each"),
    ):
        with pytest.raises(BadProof, match=sentence):
            verify_inclusion(*arguments)


@pytest.mark.spec("COL-04")
@settings(max_examples=300)
@given(
    size=st.integers(-2, 1_005),
    index=st.integers(-3, 1_005),
    path=st.lists(st.binary(max_size=40) | st.binary(min_size=32, max_size=32), max_size=14),
    leaf=st.binary(max_size=40) | st.binary(min_size=32, max_size=32),
    given_size=st.integers(-2, 1_005) | st.none(),
)
def test_no_made_up_proof_is_accepted(
    size: int, index: int, path: list[bytes], leaf: bytes, given_size: int | None
) -> None:
    """Whatever a hostile proof is made of it is refused as a BadProof, and nothing else happens."""
    proof = InclusionProof(index, size if given_size is None else given_size, tuple(path))
    with pytest.raises(BadProof):
        verify_inclusion(batch_of(8).root, size, index, leaf, proof)


@pytest.mark.spec("COL-04")
@settings(max_examples=60)
@given(size=SIZES, other=SIZES)
def test_the_root_binds_the_number_of_leaves(size: int, other: int) -> None:
    """Batches of different sizes have different roots, also where one is the other with its last leaf repeated."""
    leaves = leaves_of(size)
    padded = (leaves + [leaves[-1]] * MAX_RECORDS)[: max(size, other)]
    assert (size >= other) == (Batch.of(leaves).root == Batch.of(padded).root)


@pytest.mark.spec("COL-04")
def test_a_batch_has_its_bounds() -> None:
    """No record, more than 1,000, or a leaf that is no digest: Refused by name."""
    for leaves, code in (([], "B003"), (leaves_of(1) * 1_001, "B003"), ([b"short"], "B002"), ([bytes(33)], "B002")):
        with pytest.raises(Refused, match=code):
            Batch.of(leaves)
    for index in (-1, 3):
        with pytest.raises(Refused, match="B002"):
            batch_of(3).prove(index)


@pytest.mark.spec("COL-04")
def test_a_leaf_commits_to_the_whole_record_and_hides_it() -> None:
    """Any changed byte of record or salt is another leaf; without its salt a record cannot be told by guessing."""
    record, salt = b'{"id":7,"text":"hello","score":12}', bytes(range(32))
    leaf = record_leaf(salt, record)
    changed = [record_leaf(salt, record[:n] + bytes([record[n] ^ 1]) + record[n + 1 :]) for n in range(len(record))]
    salted = [record_leaf(salt[:n] + bytes([salt[n] ^ 1]) + salt[n + 1 :], record) for n in range(32)]
    assert len(record) + 32 + 1 == len({leaf, *changed, *salted})
    assert leaf not in {blake3(record).digest(), blake3(bytes(32) + record).digest()}
    assert blake3(salt + record).digest() == leaf
    for wrong in (b"", salt[:31], salt + b"\0"):
        with pytest.raises(AssertionError, match="32 bytes"):
            record_leaf(wrong, record)


# The reference


@pytest.mark.spec("COL-04")
def test_the_reference_roots_are_reproduced() -> None:
    """The roots measured on the reference's own code come out bit for bit, and the length of its proofs."""
    letters, numbers = [reference_leaf(c) for c in "abc"], [blake3(bytes([n])).digest() for n in range(5)]
    assert "248af8bcc8de124ea6f136e2318c70dd1429f3ede1e4b3736cfd9fc2a085e1c7" == reference_root(letters).hex()
    assert "7253ae5c9a450e9d214d42336722e92f5ab818aa64917116704a639118fc02c2" == reference_root(numbers).hex()
    assert {3} == {len(reference_proof(numbers, n)) for n in range(5)}


@pytest.mark.spec("COL-04")
@given(size=st.integers(1, 70))
def test_the_reference_proves_its_own_leaves(size: int) -> None:
    """Every proof of the reference mode leads to its root."""
    leaves = leaves_of(size)
    for index, leaf in enumerate(leaves):
        assert reference_holds(reference_root(leaves), index, leaf, reference_proof(leaves, index))
    for index in (-1, size):
        with pytest.raises(Refused, match="B002"):
            reference_proof(leaves, index)
    with pytest.raises(Refused, match="B003"):
        reference_root([])


@pytest.mark.spec("COL-04")
def test_a_repeated_last_leaf_shows_in_our_root_only() -> None:
    """[a, b, c] and [a, b, c, c] have one root in the reference, and two here."""
    a, b, c = leaves_of(3)
    assert reference_root([a, b, c]) == reference_root([a, b, c, c])
    assert Batch.of([a, b, c]).root != Batch.of([a, b, c, c]).root


@pytest.mark.spec("COL-04")
def test_an_inner_pair_cannot_pose_as_leaves_here() -> None:
    """The reference takes two inner nodes for two leaves, and proves an inner node as a leaf; here neither works."""
    leaves = leaves_of(4)
    inner = [blake3(leaves[0] + leaves[1]).digest(), blake3(leaves[2] + leaves[3]).digest()]
    assert reference_root(leaves) == reference_root(inner)
    assert reference_holds(reference_root(leaves), 0, inner[0], inner[1:])
    batch = Batch.of(leaves)
    assert batch.root != Batch.of(inner).root
    hashes = [leaf_hash(leaf, blake3_hash) for leaf in leaves]
    nodes = (node_hash(hashes[0], hashes[1], blake3_hash), node_hash(hashes[2], hashes[3], blake3_hash))
    assert batch.root != Batch.of(nodes).root
    for size in (2, 4):
        with pytest.raises(BadProof):
            verify_inclusion(batch.root, size, 0, nodes[0], InclusionProof(0, size, nodes[1:]))
