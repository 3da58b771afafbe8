"""Lineages: every node is named by all that is in it, and a proof from the root is checked by nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, get_args

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import decode, encode
from shared.errors import BadProof, Refused
from shared.log.lineage import CONTEXT, MERGEABLE, TRANSITIONS, Lineage, Node, State, Transition, genesis, verify_proof

NOW_MS = 1_767_225_600_000


def digest(n: int) -> bytes:
    """A payload's digest."""
    return blake3(n.to_bytes(8, "big")).digest()


def grown(seed: int, steps: int) -> Lineage:
    """A lineage that went on at random: lines, branches, merges, whatever the table allows."""
    random, lineage = Random(seed), Lineage.begin("session", NOW_MS, digest(0))
    for n in range(1, steps + 1):
        heads, scores = lineage.heads, [("snr", random.randrange(10**6)), ("ihsan", random.randrange(10**6))]
        joinable = [head for head in heads if lineage.nodes[head].state in MERGEABLE]
        if len(joinable) > 1 and random.random() < 0.3:
            lineage.merge(random.sample(joinable, 2), NOW_MS + n, digest(n), scores)
            continue
        moves: list[tuple[bytes, Transition, State]] = [
            (head, transition, after)
            for head in heads
            for transition, pairs in TRANSITIONS.items()
            for before, after in sorted(pairs)
            if before == lineage.nodes[head].state and (transition != "terminate" or random.random() < 0.1)
        ]
        if not moves:
            break
        parent, transition, state = random.choice(sorted(moves))
        lineage.add(parent, transition, state, NOW_MS + n, digest(n), scores)
    return lineage


@dataclass
class Walk:
    """One line with everything on it: committed, branched and merged."""

    lineage: Lineage
    committed: bytes
    merged: bytes


def walk() -> Walk:
    """The line."""
    lineage = Lineage.begin("session", NOW_MS, digest(0))
    active = lineage.add(lineage.root, "begin", "active", NOW_MS + 1, digest(1))
    branch = lineage.add(active, "branch", "active", NOW_MS + 2, digest(2))
    computing = lineage.add(active, "start_compute", "computing", NOW_MS + 3, digest(3))
    validated = lineage.add(computing, "validate", "validated", NOW_MS + 4, digest(4), [("snr", 900_000)])
    committed = lineage.add(validated, "commit", "committed", NOW_MS + 5, digest(5), [("ihsan", 960_000)])
    merged = lineage.merge([branch, committed], NOW_MS + 6, digest(6))
    return Walk(lineage, committed, merged)


@pytest.mark.spec("BIZ-04")
def test_the_table_is_the_source_s() -> None:
    """Ten states, and from each exactly the states that the source's code allows, branching included."""
    expected = {
        "init": {"active", "terminated"},
        "active": {"computing", "suspended", "failed", "terminated", "active"},
        "computing": {"validated", "failed"},
        "validated": {"committed", "failed"},
        "committed": {"active", "terminated"},
        "suspended": {"resumed", "terminated"},
        "resumed": {"active"},
        "failed": {"recovered", "terminated"},
        "recovered": {"active"},
        "terminated": set(),
    }
    pairs = {pair for allowed in TRANSITIONS.values() for pair in allowed}
    assert expected == {state: {after for before, after in pairs if before == state} for state in get_args(State)}
    assert {"genesis", "merge", *TRANSITIONS} == set(get_args(Transition))


@pytest.mark.spec("BIZ-04")
def test_the_genesis_can_be_computed_again() -> None:
    """From what the genesis holds its id comes out again: BLAKE3 in its own context over its canonical bytes."""
    lineage = Lineage.begin("session", NOW_MS, digest(0))
    first = lineage.nodes[lineage.root]
    again = genesis(first.session, first.time_ms, first.payload)
    assert lineage.root == again.id == blake3(encode(again), derive_key_context=CONTEXT).digest()
    assert lineage.root != blake3(encode(again)).digest()


@pytest.mark.spec("BIZ-04")
@pytest.mark.parametrize(
    "change",
    [
        {"session": "another"},
        {"transition": "activate"},
        {"state": "failed"},
        {"time_ms": NOW_MS},
        {"clock": 5},
        {"parents": (digest(9),)},
        {"payload": digest(9)},
        {"scores_ppm": (("ihsan", 960_001),)},
        {"scores_ppm": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_nothing_stands_outside_the_hash(change: dict[str, Any]) -> None:
    """Another session, transition, state, time, clock, parent, payload or score is another id, and verify finds it."""
    walked = walk()
    node = walked.lineage.nodes[walked.committed]
    changed = msgspec.structs.replace(node, **change)
    assert node.id != changed.id
    walked.lineage.nodes[walked.committed] = changed
    with pytest.raises(BadProof, match=walked.committed.hex()):
        walked.lineage.verify()


@pytest.mark.spec("BIZ-04")
def test_any_changed_byte_of_a_proof_is_refused() -> None:
    """Each byte of each node of a proof, changed in each of its bits, is refused: so is a node less, more or moved."""
    walked = walk()
    proof = walked.lineage.get_proof(walked.merged)
    verify_proof(walked.merged, proof, walked.lineage.root)
    for place, raw in enumerate(proof):
        for at in range(len(raw)):
            for bit in range(8):
                bent = raw[:at] + bytes([raw[at] ^ (1 << bit)]) + raw[at + 1 :]
                with pytest.raises(BadProof):
                    verify_proof(walked.merged, (*proof[:place], bent, *proof[place + 1 :]))
        for wrong in ((*proof[:place], *proof[place + 1 :]), (*proof[: place + 1], *proof[place:])):
            with pytest.raises(BadProof):
                verify_proof(walked.merged, wrong)
    for wrong in ((), proof[::-1], proof[1:], (*proof, b""), (*proof, b"\xc1"), [raw + b"\0" for raw in proof]):
        with pytest.raises(BadProof):
            verify_proof(walked.merged, wrong)


@pytest.mark.spec("BIZ-04")
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 40), data=st.data())
def test_every_node_has_a_proof_that_stands_alone(seed: int, steps: int, data: st.DataObject) -> None:
    """Of any node of any lineage the proof is accepted for it and no other, and any changed byte of it is refused."""
    lineage = grown(seed, steps)
    lineage.verify()
    names = sorted(lineage.nodes)
    name, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    proof = lineage.get_proof(name)
    shown = verify_proof(name, proof, lineage.root)
    assert lineage.nodes[name] == shown.nodes[name]
    assert lineage.root == shown.root
    if other != name:
        with pytest.raises(BadProof):
            verify_proof(other, proof)
    place = data.draw(st.integers(0, len(proof) - 1))
    at, mask = data.draw(st.integers(0, len(proof[place]) - 1)), data.draw(st.integers(1, 255))
    bent = proof[place][:at] + bytes([proof[place][at] ^ mask]) + proof[place][at + 1 :]
    with pytest.raises(BadProof):
        verify_proof(name, (*proof[:place], bent, *proof[place + 1 :]))
    with pytest.raises(BadProof):
        verify_proof(name, proof, digest(9))


@pytest.mark.spec("BIZ-04")
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), shuffled=st.randoms(use_true_random=False))
def test_the_order_of_import_does_not_matter(seed: int, shuffled: Random) -> None:
    """Imported in any order the nodes make the same lineage, with the same heads and the same bytes."""
    lineage = grown(seed, 25)
    raws = list(lineage.export())
    shuffled.shuffle(raws)
    again = Lineage.load(raws)
    assert lineage.export() == again.export()
    assert (lineage.root, lineage.heads) == (again.root, again.heads)


@pytest.mark.spec("BIZ-04")
def test_a_merge_needs_two_known_heads() -> None:
    """One head, the same head twice, an unknown one, one that is no head any more, one not ready: refused by name."""
    walked = walk()
    lineage = walked.lineage
    suspended = lineage.add(
        lineage.add(walked.merged, "branch", "active", NOW_MS, digest(7)), "suspend", "suspended", NOW_MS, digest(8)
    )
    for parents, sentence in (
        ([walked.merged], "'merge' does not lead from active"),
        ([], "'merge' does not lead from nothing"),
        ([walked.merged, walked.merged], "named once"),
        ([walked.merged, digest(99)], "unknown"),
        ([walked.merged, walked.committed], "no head any more"),
        ([walked.merged, suspended], "'merge' does not lead from active \\+ suspended"),
    ):
        before = lineage.export()
        with pytest.raises(BadProof, match=sentence):
            lineage.merge(parents, NOW_MS, digest(9))
        assert before == lineage.export()


@pytest.mark.spec("BIZ-04")
def test_a_line_goes_on_once_and_branches_as_often_as_it_likes() -> None:
    """A node is followed by one line; a branch leaves it a head; what is committed is never changed, only followed."""
    lineage = Lineage.begin("session", NOW_MS, digest(0))
    active = lineage.add(lineage.root, "begin", "active", NOW_MS, digest(1))
    branches = [lineage.add(active, "branch", "active", NOW_MS, digest(n)) for n in range(2, 5)]
    assert sorted([active, *branches]) == lineage.heads
    computing = lineage.add(active, "start_compute", "computing", NOW_MS, digest(5))
    assert sorted([computing, *branches]) == lineage.heads
    with pytest.raises(BadProof, match="no head any more"):
        lineage.add(active, "fail", "failed", NOW_MS, digest(6))
    with pytest.raises(BadProof, match="is here already"):
        lineage.add(active, "branch", "active", NOW_MS, digest(2))


@pytest.mark.spec("BIZ-04")
def test_every_other_step_is_refused() -> None:
    """For each transition and each pair of states, a node is accepted exactly if the table says so."""
    for transition in get_args(Transition):
        for before in get_args(State):
            for after in get_args(State):
                parent = genesis("s", NOW_MS, digest(0))
                raws = [encode(parent)]
                lineage = Lineage.load(raws)
                lineage.nodes[lineage.root] = msgspec.structs.replace(parent, state=before)
                allowed = (before, after) in TRANSITIONS.get(transition, ())
                try:
                    lineage.add(lineage.root, transition, after, NOW_MS, digest(1))
                except BadProof:
                    assert not allowed
                else:
                    assert allowed


@pytest.mark.spec("BIZ-04")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clock": 0}, "logical clock 0, expected 2|unknown before it"),
        ({"clock": 7}, "logical clock 7, expected 2"),
        ({"session": "other"}, "is of session 'other'"),
        ({"session": ""}, "a session has a name"),
        ({"payload": b"short"}, "32 bytes each"),
        ({"scores_ppm": (("b", 1), ("a", 2))}, "scores are sorted"),
        ({"scores_ppm": (("a", 1), ("a", 2))}, "named once"),
        ({"time_ms": -1}, "not negative"),
        ({"parents": (digest(1),)}, "unknown before it"),
        ({"parents": ()}, "2 nodes without parents"),
        ({"transition": "merge"}, "'merge' does not lead"),
        ({"state": "committed"}, "does not lead from active to committed"),
    ],
    ids=str,
)
def test_an_import_trusts_nothing(change: dict[str, Any], sentence: str) -> None:
    """A node that is well hashed but may not be there is refused on import, with the reason."""
    lineage = Lineage.begin("session", NOW_MS, digest(0))
    active = lineage.add(lineage.root, "begin", "active", NOW_MS, digest(1))
    node = Node("session", "start_compute", "computing", NOW_MS, 2, (active,), digest(2))
    Lineage.load([*lineage.export(), encode(node)])
    with pytest.raises(BadProof, match=sentence):
        Lineage.load([*lineage.export(), encode(msgspec.structs.replace(node, **change))])


@pytest.mark.spec("BIZ-04")
@settings(max_examples=200)
@given(raws=st.lists(st.binary(max_size=80), max_size=5))
def test_garbage_is_no_lineage(raws: list[bytes]) -> None:
    """Bytes that are no nodes are a BadProof, and nothing else happens."""
    with pytest.raises(BadProof):
        Lineage.load(raws)
    with pytest.raises(BadProof):
        verify_proof(digest(0), raws)


@pytest.mark.spec("BIZ-04")
def test_an_unknown_node_has_no_proof() -> None:
    """The proof of a node that is not there is Refused B002; nodes are read back as they were written."""
    walked = walk()
    with pytest.raises(Refused, match="B002"):
        walked.lineage.get_proof(digest(99))
    for raw in walked.lineage.export():
        assert raw == encode(decode(Node, raw))
