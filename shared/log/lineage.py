"""A lineage: the states a session went through, as a graph of nodes that are named by the hash of all that is in them.

    id = BLAKE3 derive_key(CONTEXT, canonical MessagePack of the node)

State, transition, session, time, logical clock, parents, payload, scores: nothing of a node stands outside its hash,
and the parents' ids stand inside it, so a node's id commits to everything that led to it, down to the genesis. A reader
computes every id himself; what a sender claims is never taken over. Times are recorded, the logical clock orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import msgspec
from blake3 import blake3

from shared.codec import decode, encode
from shared.constant import constant
from shared.errors import BadProof, Refusal, Refused

CONTEXT = constant("nimmerverse 2026-11-20 lineage node", "derive_key context", "BIZ-04")
MAX_NODES = constant(10_000, "nodes", "BIZ-04")
MAX_PARENTS = constant(64, "parents", "BIZ-04")
ID_BYTES = constant(32, "bytes", "BIZ-04")
MERGED_HEADS = constant(2, "heads", "BIZ-04")

State = Literal[
    "init", "active", "computing", "validated", "committed", "suspended", "resumed", "failed", "recovered", "terminated"
]
Transition = Literal[
    "genesis",
    "begin",
    "start_compute",
    "validate",
    "commit",
    "reopen",
    "suspend",
    "resume",
    "activate",
    "fail",
    "recover",
    "terminate",
    "branch",
    "merge",
]

#: What leads from which state to which. A genesis comes from nowhere; a merge has its own rule for its parents.
TRANSITIONS: MappingProxyType[Transition, frozenset[tuple[State, State]]] = MappingProxyType(
    {
        "begin": frozenset({("init", "active")}),
        "start_compute": frozenset({("active", "computing")}),
        "validate": frozenset({("computing", "validated")}),
        "commit": frozenset({("validated", "committed")}),
        "reopen": frozenset({("committed", "active")}),
        "suspend": frozenset({("active", "suspended")}),
        "resume": frozenset({("suspended", "resumed")}),
        "activate": frozenset({("resumed", "active"), ("recovered", "active")}),
        "fail": frozenset({("active", "failed"), ("computing", "failed"), ("validated", "failed")}),
        "recover": frozenset({("failed", "recovered")}),
        "terminate": frozenset(
            {
                ("init", "terminated"),
                ("active", "terminated"),
                ("committed", "terminated"),
                ("suspended", "terminated"),
                ("failed", "terminated"),
            }
        ),
        "branch": frozenset({("active", "active")}),
    }
)
#: A merge joins heads in these states and is active itself.
MERGEABLE: frozenset[State] = frozenset({"active", "committed"})


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state of a session. Its id is the hash of all of it."""

    session: str
    transition: Transition
    state: State
    time_ms: int
    clock: int  #: one more than the latest parent's; 0 for the genesis
    parents: tuple[bytes, ...]  #: ids, sorted, each once
    payload: bytes  #: BLAKE3 of what the session holds in this state
    scores_ppm: tuple[tuple[str, int], ...] = ()  #: by name, sorted, each once

    @property
    def id(self) -> bytes:
        """The 32-byte name of this node."""
        return node_id(encode(self))


def node_id(raw: bytes) -> bytes:
    """Return the id of a node from its canonical bytes."""
    return blake3(raw, derive_key_context=CONTEXT).digest()


def genesis(session: str, time_ms: int, payload: bytes) -> Node:
    """Return a session's first node; whoever has it can compute its id again."""
    return Node(session, "genesis", "init", time_ms, 0, (), payload)


@dataclass
class Lineage:
    """The nodes of one session, each checked as it comes in. `root` is the genesis' id."""

    root: bytes
    nodes: dict[bytes, Node]
    _followed: set[bytes] = field(default_factory=set[bytes])  #: nodes that one line went on from

    @classmethod
    def begin(cls, session: str, time_ms: int, payload: bytes) -> Lineage:
        """Return a new session's lineage."""
        return cls.load([encode(genesis(session, time_ms, payload))])

    @classmethod
    def load(cls, raws: Iterable[bytes]) -> Lineage:
        """Return the lineage of these canonical nodes, in whatever order they come; every id is computed anew.

        BadProof names what is wrong: unreadable or repeated bytes, a missing parent, a second genesis, a state that the
        table does not allow, a clock that does not fit.
        """
        nodes = _read(raws)
        first = [name for name, node in nodes.items() if not node.parents]
        if len(first) != 1:
            raise BadProof(f"{len(first)} nodes without parents, expected one: the genesis")
        lineage = cls(first[0], {})
        # A parent's clock is below its child's: a node that this order puts before its parent cannot be right.
        for name, node in sorted(nodes.items(), key=lambda item: (item[1].clock, item[0])):
            lineage._take(name, node)
        return lineage

    @property
    def heads(self) -> list[bytes]:
        """The ids from which a line may go on, sorted: only branches have followed them, and they are not over."""
        return sorted(n for n, node in self.nodes.items() if n not in self._followed and node.state != "terminated")

    def add(  # noqa: PLR0913, PLR0917 - a node's own facts
        self,
        parent: bytes,
        transition: Transition,
        state: State,
        time_ms: int,
        payload: bytes,
        scores_ppm: Iterable[tuple[str, int]] = (),
    ) -> bytes:
        """Go on from one node, or branch off from it, and return the new node's id.

        BadProof where it may not be, Refused B002 or B003 where it cannot be written; nothing has changed then.
        """
        return self._add(transition, state, (parent,), time_ms, payload, scores_ppm)

    def merge(
        self, parents: Sequence[bytes], time_ms: int, payload: bytes, scores_ppm: Iterable[tuple[str, int]] = ()
    ) -> bytes:
        """Join two or more heads into one active node and return its id; BadProof where they are not such heads."""
        return self._add("merge", "active", tuple(sorted(parents)), time_ms, payload, scores_ppm)

    def get_proof(self, name: bytes) -> tuple[bytes, ...]:
        """Return the lineage of a node from the root: the canonical bytes of all its ancestors and, last, itself.

        Refused B002 where there is no such node.
        """
        if name not in self.nodes:
            raise Refused(Refusal("B002", f"there is no node {name.hex()} in this lineage"))
        wanted, todo = set[bytes](), [name]
        while todo:
            one = todo.pop()
            if one not in wanted:
                wanted.add(one)
                todo += self.nodes[one].parents
        return tuple(encode(self.nodes[one]) for one in sorted(wanted, key=lambda n: (self.nodes[n].clock, n)))

    def export(self) -> tuple[bytes, ...]:
        """Return every node's canonical bytes, ordered by clock and id."""
        return tuple(encode(self.nodes[n]) for n in sorted(self.nodes, key=lambda n: (self.nodes[n].clock, n)))

    def verify(self) -> None:
        """Compute everything anew; BadProof names the first node that is not what its name says, or is out of place."""
        for name, node in self.nodes.items():
            if node.id != name:
                raise BadProof(f"node {name.hex()} holds what is named {node.id.hex()}: it was changed")
        if Lineage.load(self.export()).root != self.root:
            raise BadProof(f"the lineage does not begin with {self.root.hex()}")

    def _add(  # noqa: PLR0913, PLR0917 - a node's own facts
        self,
        transition: Transition,
        state: State,
        parents: tuple[bytes, ...],
        time_ms: int,
        payload: bytes,
        scores_ppm: Iterable[tuple[str, int]],
    ) -> bytes:
        clock = 1 + max((self.nodes[p].clock for p in parents if p in self.nodes), default=0)
        scores = tuple(sorted(scores_ppm))
        node = Node(self.nodes[self.root].session, transition, state, time_ms, clock, parents, payload, scores)
        (name, checked), *_ = _read([encode(node)]).items()
        self._take(name, checked)
        return name

    def _take(self, name: bytes, node: Node) -> None:
        """Add a node whose parents are here; BadProof, and nothing changed, if it may not be here."""
        if name in self.nodes:
            raise BadProof(f"{name.hex()} is here already")
        if len(self.nodes) >= MAX_NODES:
            raise BadProof(f"more than {MAX_NODES} nodes")
        for parent in node.parents:
            if parent not in self.nodes:
                raise BadProof(f"{name.hex()} names the parent {parent.hex()}, which is unknown before it")
        _check_step(name, node, [self.nodes[parent] for parent in node.parents])
        followed = set(node.parents) if node.transition != "branch" else set[bytes]()
        twice = followed & self._followed
        if twice:
            raise BadProof(f"{name.hex()} goes on from {min(twice).hex()}, which is no head any more; branch first")
        self.nodes[name] = node
        self._followed |= followed


def verify_proof(name: bytes, proof: Sequence[bytes], root: bytes | None = None) -> Lineage:
    """Return the lineage that a proof shows, checked from the genesis up to the node `name`, by nothing but itself.

    BadProof where anything in it is not what the name commits to, where a node of it does not lead there, or where it
    begins with another genesis than `root`. Only `name` has to be known from elsewhere: it commits to all the rest.
    """
    lineage = Lineage.load(proof)
    if root is not None and lineage.root != root:
        raise BadProof(f"the proof begins with {lineage.root.hex()}, expected the genesis {root.hex()}")
    if name not in lineage.nodes:
        raise BadProof(f"the proof does not lead to {name.hex()}")
    needed = lineage.get_proof(name)
    if needed != tuple(proof):
        raise BadProof(
            f"the proof has {len(proof)} nodes, the lineage of {name.hex()} has {len(needed)}, in their order"
        )
    return lineage


def _read(raws: Iterable[bytes]) -> dict[bytes, Node]:
    """Return nodes by their ids, each well formed in itself."""
    nodes: dict[bytes, Node] = {}
    for place, raw in enumerate(raws):
        if place >= MAX_NODES:
            raise BadProof(f"more than {MAX_NODES} nodes")
        try:
            node = decode(Node, bytes(raw))
        except Refused as no:
            raise BadProof(f"node {place} cannot be read: {no.refusal.detail}") from None
        name = node_id(bytes(raw))
        _check_form(name, node)
        if name in nodes:
            raise BadProof(f"{name.hex()} comes twice")
        nodes[name] = node
    return nodes


def _check_form(name: bytes, node: Node) -> None:
    """Hold that a node is written in the one way there is."""
    digests = (*node.parents, node.payload)
    scores = [score for score, _ in node.scores_ppm]
    for wrong, what in (
        (any(len(digest) != ID_BYTES for digest in digests), f"parents and payload have {ID_BYTES} bytes each"),
        (list(node.parents) != sorted(set(node.parents)), "parents are sorted and named once"),
        (scores != sorted(set(scores)), "scores are sorted and named once"),
        (len(node.parents) > MAX_PARENTS, f"at most {MAX_PARENTS} parents"),
        (not node.session, "a session has a name"),
        (node.time_ms < 0 or node.clock < 0, "time and clock are not negative"),
    ):
        if wrong:
            raise BadProof(f"{name.hex()} is not written as a node is: {what}")


def _check_step(name: bytes, node: Node, parents: Sequence[Node]) -> None:
    """Hold that a node may follow its parents: session, clock, and the table of transitions."""
    if any(parent.session != node.session for parent in parents):
        raise BadProof(f"{name.hex()} is of session {node.session!r}, a parent of it is not")
    states = sorted(parent.state for parent in parents)
    if node.transition == "genesis":
        allowed = not parents and node.state == "init"
    elif node.transition == "merge":
        allowed = len(parents) >= MERGED_HEADS and set(states) <= MERGEABLE and node.state == "active"
    else:
        allowed = len(parents) == 1 and (states[0], node.state) in TRANSITIONS[node.transition]
    if not allowed:
        came = " + ".join(states) or "nothing"
        raise BadProof(f"{name.hex()}: {node.transition!r} does not lead from {came} to {node.state}")
    clock = 1 + max((parent.clock for parent in parents), default=-1)
    if node.clock != clock:
        raise BadProof(f"{name.hex()} has the logical clock {node.clock}, expected {clock}")
