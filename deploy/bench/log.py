"""`bench log`: what building the tree, verifying and replaying cost, beside hashing and checking signatures alone.

Each claim and what it is compared with are measured in one run, in processor time, on the same bytes. Absolute figures
mean nothing on shared machines; the ratios of one run do.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.signing import VerifyKey

from shared.audit import FolderSource, Options, verify
from shared.audit.judges import WORTH_IT
from shared.audit.source import read_leaf
from shared.codec import decode, encode
from shared.constant import constant
from shared.envelope import (
    Attributes,
    Prefix,
    admit,
    fingerprint_of,
    leaf_of,
    pack_event,
    read,
    read_event,
    rfc3339,
    seal,
    type_of,
)
from shared.envelope.keybook import NOTARY_PART, ROOT_PART
from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, origin_of
from shared.log.entry import Entry
from shared.log.store import MemoryTiles, NoTiles
from shared.log.tiles import CHECKPOINT, Tiles, TileWriter
from shared.log.tree import HASH_BYTES
from shared.message import Decision, lookup
from shared.subjects.keys import KEYS_ENTITY, Genesis, Grant, KeyIntroduced, RootKey
from shared.subjects.nervous import Extent, LoadAssessed
from shared.world import World, now_ms

LEAVES = constant(100_000, "leaves", "X-04")
LEAF_SIZE = constant(300, "bytes", "X-04")
ROUNDS = constant(5, "rounds", "X-04")
LANES = constant(64, "lanes", "X-04")
BLOCK = constant(100, "events", "X-04")
TREE = "the notary's tree and tiles"
AUDIT = "audit verify of single signed events"
REPLAY = f"verified replay of sealed blocks of {BLOCK}, bytes to typed events"


@dataclass(frozen=True, slots=True)
class LogFigure:
    """One claim: processor microseconds per item of ours and of what it is compared with, and their ratio."""

    claim: str
    items: int
    cpu_us: float
    compared_with: str
    compared_us: float
    ratio: float
    elapsed_per_second: float | None = None  #: items per second of the clock, where several cores work


@dataclass(frozen=True, slots=True)
class TreeFigure:
    """One measurement: processor seconds of hashing alone and of the whole tree with its tiles, the best of each."""

    leaves: int
    hashing_s: float
    tree_s: float

    @property
    def ratio(self) -> float:
        """How many times as long the tree takes."""
        return self.tree_s / self.hashing_s


def measure_tree(world: World, leaves: int = LEAVES, leaf_bytes: int = LEAF_SIZE, rounds: int = ROUNDS) -> TreeFigure:
    """Measure both ways in turn, so that whatever slows this machine slows both."""
    drawn = [world.entropy(leaf_bytes) for _ in range(leaves)]
    leaf_inputs = [b"\x00" + leaf for leaf in drawn]
    node_inputs = [bytes([1]) + world.entropy(2 * HASH_BYTES) for _ in range(leaves - 1)]  # n leaves have n − 1 nodes

    def hash_alone() -> None:
        for data in leaf_inputs:
            hashlib.sha256(data).digest()
        for data in node_inputs:
            hashlib.sha256(data).digest()

    def build() -> None:
        writer = TileWriter(NoTiles())  # fresh memory for every tile would measure the allocator
        writer.extend(drawn)
        writer.seal()
        writer.root()

    pairs = [(_cpu_s(world, hash_alone), _cpu_s(world, build)) for _ in range(rounds)]
    return TreeFigure(leaves, min(alone for alone, _ in pairs), min(built for _, built in pairs))


def _cpu_s(world: World, act: Callable[[], None]) -> float:
    start = world.cpu_s()
    act()
    return world.cpu_s() - start


class SampleLog:
    """A log in memory, signed and tiled: a genesis, two keys, and decisions of one part."""

    def __init__(self, world: World, events: int, per_entry: int) -> None:
        self.world, self.entries = world, list[Entry]()
        self.desk, self.notary = (LocalSigner.generate(world.entropy) for _ in range(2))
        self.lanes: dict[str, int] = {}
        root = LocalSigner.generate(world.entropy)
        genesis = Genesis(KEYS_ENTITY, [RootKey(root.key_id, root.public, "bench")], 1, one_host=True, streams=[])
        self._put(ROOT_PART, [genesis], root)
        pattern = LoadAssessed.pattern(world.env)
        for part, key, grants in (("desk", self.desk, [Grant(pattern)]), (NOTARY_PART, self.notary, list[Grant]())):
            self._put(
                ROOT_PART, [KeyIntroduced(KEYS_ENTITY, key.key_id, key.public, part, "bench", ["part"], grants)], root
            )
        for first in range(0, events, per_entry):
            self._put("desk", [_assessed(first, n) for n in range(min(per_entry, events - first))], self.desk)
        self.tiles = MemoryTiles()
        writer = TileWriter(self.tiles)
        writer.extend([leaf_of(entry) for entry in self.entries])
        writer.seal()
        self.trust = fingerprint_of(encode(genesis))
        checkpoint = Checkpoint(origin_of(world.env, self.trust, 1), writer.size, writer.root())
        note = checkpoint.signed(self.notary, now_ms(world) // 1000)
        self.tiles.put(CHECKPOINT, str(note).encode())

    def _put(self, part: str, decisions: list[Any], signer: LocalSigner) -> None:
        events = [(self.world.entropy(16), encode(decision)) for decision in decisions]
        self.put(part, decisions[0].subject(self.world.env), events, signer)

    def put(self, part: str, subject: str, drawn: Sequence[tuple[bytes, bytes]], signer: LocalSigner) -> None:
        """Seal events, each its id and data, as one entry, and put it at the end."""
        lane = subject.rpartition(".")[0]
        events = [pack_event(event_id, data) for event_id, data in drawn]
        attributes = Attributes(
            id=drawn[0][0].hex(),
            source=part,
            specversion="1.0",
            type=type_of(subject),
            subject=subject,
            time=rfc3339(now_ms(self.world)),
            ttlms=60_000,
            agent="SOVEREIGN",
            boot="0" * 16,
            sequence=len(self.entries) + 1,
            version="1",
            correlation="",
            prev=self.lanes.get(lane, -1),
            batch=0,
            count=0,
            root=b"",
        )
        self.lanes[lane] = len(self.entries)
        raw = seal(attributes, events, [signer])
        self.entries.append(Entry(len(self.entries), subject, self.world.now_ns(), raw))


def _assessed(first: int, n: int) -> LoadAssessed:
    site, extent = f"site{first % LANES}", Extent(100_000, 200_000)
    return LoadAssessed(
        site=site,
        level="NORMAL",
        before="UNKNOWN",
        reason="asked",
        readings=3,
        span_ms=n,
        cpu=extent,
        memory=extent,
        disk=extent,
        load=extent,
    )


def measure_log(world: World, events: int) -> list[LogFigure]:
    """Measure every claim once."""
    tree = measure_tree(world)
    figures = [
        LogFigure(
            TREE,
            tree.leaves,
            tree.tree_s / tree.leaves * 1e6,
            "the same SHA-256 calls alone",
            tree.hashing_s / tree.leaves * 1e6,
            tree.ratio,
        )
    ]
    singles = max(events, WORTH_IT)  # for fewer, other cores are not asked
    single = SampleLog(world, singles, 1)
    bare_s = _cpu_s(world, _bare(single))
    cores = dict.fromkeys((1, os.cpu_count() or 1))
    figures += [_verified(world, single, singles, bare_s, jobs) for jobs in cores]
    blocks = SampleLog(world, events * 10, BLOCK)
    leaves = list(Tiles(blocks.tiles, len(blocks.entries)).leaves())
    replay_s = _cpu_s(world, lambda: replayed(world.env, leaves))
    decode_s = _cpu_s(world, lambda: _decoded(blocks))
    n = events * 10
    figures.append(
        LogFigure(
            REPLAY,
            n,
            replay_s / n * 1e6,
            "decoding the typed events alone",
            decode_s / n * 1e6,
            replay_s / decode_s,
            n / replay_s,
        )
    )
    return figures


def _verified(world: World, log: SampleLog, events: int, bare_s: float, jobs: int) -> LogFigure:
    before, started, children = world.cpu_s(), world.elapsed_s(), _children_s()
    report = asyncio.run(verify(FolderSource(log.tiles, "memory"), Options(trust=log.trust, jobs=jobs)))
    assert report.ok, report.lines()
    of_others = _children_s() - children
    assert (of_others > 0) == (jobs > 1), "the work of several cores is done by other processes"
    took_s = world.cpu_s() - before + of_others
    rate = events / (world.elapsed_s() - started)
    name = f"{AUDIT}, {jobs} core{'s' if jobs > 1 else ''}"
    per = 1e6 / events
    return LogFigure(name, events, took_s * per, "bare PyNaCl verification", bare_s * per, took_s / bare_s, rate)


def _children_s() -> float:
    """Return the processor seconds of the processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def _bare(log: SampleLog) -> Callable[[], None]:
    """Return the check of every signature, of bytes that are at hand already."""
    key, sealed = VerifyKey(log.desk.public), [read(entry.raw) for entry in log.entries[3:]]
    signed = [(one.signed, one.signatures[0].sig) for one in sealed]

    def check() -> None:
        for message, signature in signed:
            key.verify(message, signature)

    return check


def replayed(env: str, leaves: list[bytes]) -> None:
    """Read leaves, admit every entry again, and decode every event that is admitted."""
    prefix = Prefix(env, recalls=False)
    for index, leaf in enumerate(leaves):
        stored = read_leaf(index, leaf)
        verdict = admit(prefix, stored.entry, sealed=stored.sealed)
        prefix.fold(verdict)
        cls = lookup(stored.entry.subject)
        assert cls is not None
        for _, event in verdict.admitted():
            decode(cls, bytes(event.data))


def _decoded(log: SampleLog) -> None:
    for entry in log.entries:
        cls = lookup(entry.subject)
        assert cls is not None
        assert issubclass(cls, Decision)
        for raw in read(entry.raw).events:
            decode(cls, bytes(read_event(raw).data))


def table(figures: list[LogFigure]) -> str:
    """Return the figures for people."""
    lines = [f"{'claim':<64} {'items':>8} {'µs each':>8} {'beside':<32} {'µs each':>8} {'ratio':>6} {'per second':>11}"]
    for f in figures:
        rate = "" if f.elapsed_per_second is None else f"{f.elapsed_per_second:,.0f}"
        beside = f"{f.compared_with:<32} {f.compared_us:>8.1f} {f.ratio:>6.2f}"
        lines.append(f"{f.claim:<64} {f.items:>8} {f.cpu_us:>8.1f} {beside} {rate:>11}")
    return "\n".join(lines)
