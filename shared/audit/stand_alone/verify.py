#!/usr/bin/env python3
"""Verify a Nimmerverse log offline with nothing of Nimmerverse: a bundle, a folder of tiles, or a .tlog-proof file.

    python verify.py BUNDLE.zip --trust FINGERPRINT [--max-age S] [--against CHECKPOINT] [--json]
    python verify.py EVENT.tlog-proof --log-key VKEY [--trust FINGERPRINT]

It needs Python 3.11 and two packages: `pip install blake3 pynacl`. Read it before you trust it: it goes from the bytes
up (MessagePack, envelope, keys, admission; leaf, tree, note; bundle; audit), and the numbers in brackets are sections
of shared/envelope/SPEC.md. It changes nothing, asks no network, and believes nothing that it reads. Get the
fingerprint, and this file, from somewhere else than the log: a bundle's own copy would say what its maker likes. It is
one long file so that one digest vouches for all of it, and one person can read it from top to bottom.

Exit codes: 0 verified, 2 usage, 10 consistent but nobody said whom to trust, 11 tampered, 12 incomplete, 13 stale,
14 from the future, 15 truncated, 16 enlarged, 17 mixed, 18 wrong signer, 19 bad proof, 20 forked, 21 void entries,
22 lost, and an epoch of the log says so.
"""

# ruff: noqa: ANN401, PLR0911, PLR2004, TRY301 - decoded bytes may be anything; a format is its branches and numbers
# pyright: basic

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import struct
import sys
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

try:
    from blake3 import blake3
    from nacl.bindings import crypto_core_ed25519_is_valid_point
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey
except ImportError as missing:
    sys.exit(f"{missing}: this needs two packages, `pip install blake3 pynacl`")

UNKNOWN_SIGNER, TAMPERED, INCOMPLETE, STALE, FUTURE, TRUNCATED, ENLARGED, MIXED = range(10, 18)
WRONG_SIGNER, BAD_PROOF, FORKED, VOID, LOST = range(18, 23)
NAMES = (
    *("unknown signer", "tampered", "incomplete", "stale", "from the future", "truncated", "enlarged", "mixed"),
    *("wrong signer", "bad proof", "forked", "void entries", "lost"),
)


class No(Exception):
    """A refusal's code: the entry, or whatever is being read, is not admitted."""


class Missing(Exception):
    """A tile or a leaf is not there, or is cut short."""


class BadLeaf(Exception):
    """A stored leaf that no entry has: its index, and why."""


class BadNote(Exception):
    """A note or a checkpoint is malformed, or is not signed by whom it names."""


class BadProof(Exception):
    """A proof does not prove what it says."""


class Broken(Exception):
    """A bundle that is not what its manifest lists: the exit code, and why."""


def need(code: str, *claims: object) -> None:
    """Refuse unless every claim holds."""
    if not all(claims):
        raise No(code)


def fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape: a type or several, a list of one shape, a map of exactly these names in order."""
    if isinstance(shape, list):
        return type(value) is list and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return (
            type(value) is dict and list(value) == list(shape) and all(fits(value[name], shape[name]) for name in shape)
        )
    return type(value) in (shape if isinstance(shape, tuple) else (shape,))


# MessagePack: bytes are valid exactly if they re-encode to themselves [1]

DEPTH = 40  # no valid value nests so deep [4]
SIZES = {0: 1, 1: 2, 2: 4, 3: 8}


def header(kinds: tuple[int, ...], count: int) -> bytes:
    """The shortest header of so many bytes or items; `kinds` are the heads for counts of 1, 2 and 4 bytes."""
    for head, size in zip(kinds, (1, 2, 4), strict=True):
        if head and count < 1 << 8 * size:
            return bytes([head]) + count.to_bytes(size, "big")
    raise No("R005")


def pack(value: Any) -> bytes:
    """The one spelling of a value."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        if -32 <= value < 128:
            return bytes([value % 256])
        for i, size in SIZES.items():
            if 0 <= value < 1 << 8 * size:
                return bytes([0xCC + i]) + value.to_bytes(size, "big")
            if -(1 << 8 * size - 1) <= value < 0:
                return bytes([0xD0 + i]) + value.to_bytes(size, "big", signed=True)
        raise No("R005")
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 | len(text)]) if len(text) < 32 else header((0xD9, 0xDA, 0xDB), len(text))) + text
    if isinstance(value, bytes):
        return header((0xC4, 0xC5, 0xC6), len(value)) + value
    short, kinds = (0x80, (0, 0xDE, 0xDF)) if isinstance(value, dict) else (0x90, (0, 0xDC, 0xDD))
    items = [x for pair in value.items() for x in pair] if isinstance(value, dict) else value
    head = bytes([short | len(value)]) if len(value) < 16 else header(kinds, len(value))
    return head + b"".join(map(pack, items))


def unpack(raw: bytes) -> Any:
    """What canonical bytes say; R005 for anything else."""
    try:
        value, _ = value_at(raw, 0, DEPTH)
    except UnicodeDecodeError:
        raise No("R005") from None
    need("R005", pack(value) == raw)
    return value


def value_at(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at a place, and where it ends; no float and no extension is one [4]."""
    need("R005", at < len(raw), depth)
    head, at = raw[at], at + 1

    def number(size: int, *, signed: bool = False) -> int:
        need("R005", at + size <= len(raw))
        return int.from_bytes(raw[at : at + size], "big", signed=signed)

    if head < 0x80 or head >= 0xE0:
        return (head if head < 0x80 else head - 256), at
    if head in {0xC0, 0xC2, 0xC3}:
        return {0xC0: None, 0xC2: False, 0xC3: True}[head], at
    if 0xCC <= head <= 0xD3:
        size = SIZES[(head - 0xCC) % 4]
        return number(size, signed=head >= 0xD0), at + size
    if head < 0xA0:
        kind, count = ("map" if head < 0x90 else "array"), head & 15
    elif head < 0xC0:
        kind, count = "text", head & 31
    else:
        heads = {0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("text", 1), 0xDA: ("text", 2)}
        heads |= {0xDB: ("text", 4), 0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}
        need("R005", head in heads)
        kind, size = heads[head]
        count, at = number(size), at + size
    if kind in {"bytes", "text"}:
        need("R005", at + count <= len(raw))
        piece = raw[at : at + count]
        return (piece if kind == "bytes" else piece.decode()), at + count
    items: list[Any] = []
    for place in range(count * (2 if kind == "map" else 1)):
        item, at = value_at(raw, at, depth - 1)
        need("R005", kind == "array" or place % 2 or type(item) is str)
        items.append(item)
    return (items if kind == "array" else dict(zip(items[::2], items[1::2], strict=True))), at


# The envelope and its events [2, 3, 4, 5]

TYPE = "application/vnd.nimmerverse.event.v1+msgpack"
UNIX = datetime(1970, 1, 1, tzinfo=UTC)

#: Every attribute in its order: its type, and its bounds (of a text, its length in characters).
ATTRIBUTES: dict[str, tuple[type, int, int]] = {
    **dict.fromkeys(("id", "source", "specversion"), (str, 0, 128)),
    **dict.fromkeys(("type", "subject"), (str, 0, 2048)),
    "time": (str, 24, 24),
    "ttlms": (int, 1, 2**64),
    **dict.fromkeys(("agent", "boot"), (str, 0, 128)),
    "sequence": (int, 0, 2**64),
    **dict.fromkeys(("version", "correlation"), (str, 0, 128)),
    "prev": (int, -1, 2**64),
    "batch": (int, 0, 99),
    "count": (int, 1, 1_000),
    "root": (bytes, 32, 32),
    **dict.fromkeys(("ihsanppm", "snrppm"), (int, 0, 1_000_000)),
}
ENVELOPE = {"t": str, "p": bytes, "s": [{"k": str, "sig": bytes}], "e": [bytes]}
EVENT = {"id": bytes, "cause": bytes, "evidence": bytes, "data": dict}


def blake3_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 with BLAKE3."""
    if len(leaves) == 1:
        return blake3(b"\0" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return blake3(b"\1" + blake3_root(leaves[:k]) + blake3_root(leaves[k:])).digest()


def opened(raw: bytes) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The envelope, its attributes and the milliseconds at which it was written."""
    need("R005", len(raw) <= 59_392)
    outer = unpack(raw)
    need("R005", fits(outer, ENVELOPE))
    p = unpack(outer["p"])
    need("R005", outer["t"] == TYPE, type(p) is dict)
    need("R005", list(p) == list(ATTRIBUTES))
    for name, (kind, least, most) in ATTRIBUTES.items():
        if not (p[name] is None and name in {"ihsanppm", "snrppm"}):
            need("R005", type(p[name]) is kind)
            need("R005", least <= (p[name] if kind is int else len(p[name])) <= most)
    need("R005", p["specversion"] == "1.0", p["agent"] in {"USER", "MODEL", "SOVEREIGN"})
    need("R005", p["count"] == len(outer["e"]), 1 <= len(outer["s"]) <= 64)
    need("R005", all(len(s["k"]) <= 128 and len(s["sig"]) == 64 for s in outer["s"]))
    ids = [s["k"] for s in outer["s"]]
    need("R005", ids == sorted(set(ids)))
    try:
        need("R005", re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", p["time"], re.ASCII), p["time"] >= "1970")
        return outer, p, (datetime.strptime(p["time"], "%Y-%m-%dT%H:%M:%S.%f%z") - UNIX) // timedelta(milliseconds=1)
    except ValueError:
        raise No("R005") from None


def plain(value: Any, left: int = 32) -> bool:
    """Whether data is nil, bool, int, text, bytes, arrays and maps by text, 32 levels deep at most."""
    if isinstance(value, list | dict):
        inside = value.values() if isinstance(value, dict) else value
        return left > 0 and all(plain(item, left - 1) for item in inside)
    return value is None or type(value) in {bool, int, str, bytes}


def event_of(raw: bytes) -> dict[str, Any]:
    """One event, its data a plain map."""
    event = unpack(raw)
    need("R005", fits(event, EVENT))
    need("R005", plain(event["data"]), len(event["id"]) == 16)
    need("R005", len(event["cause"]) in {0, 16}, len(event["evidence"]) <= 32_768)
    return event


# Keys and admission, sections 6 to 9

GRANT = {"pattern": str, "scored": bool, "owners": int}
ROOT_KEY = {"key_id": str, "public": bytes, "owner": str}
NEW_KEY = {"scope": str, "key_id": str, "public": bytes, "part": str, "owner": str, "roles": [str], "grants": [GRANT]}
NEW_EPOCH = {
    "scope": str,
    "epoch": int,
    "first_missing": int,
    "last_missing": int,
    "old_checkpoint": str,
    "proof": [bytes],
    "reason": str,
}
KEY_EVENTS: dict[str, dict[str, Any]] = {
    "genesis": {"scope": str, "roots": [ROOT_KEY], "threshold": int, "one_host": bool, "streams": [str]},
    "introduced": NEW_KEY,
    "rotated": {"scope": str, "old_key_id": str, "key_id": str, "public": bytes},
    "revoked": {"scope": str, "key_id": str, "compromised_since_index": (int, type(None)), "reason": str},
    "epoch": NEW_EPOCH,
}


def covers(pattern: str, subject: str) -> bool:
    """NATS wildcards: `*` one token, `>` the rest."""
    want, have = pattern.split("."), subject.split(".")
    for i, word in enumerate(want):
        if word == ">":
            return len(have) > i
        if i >= len(have) or word not in {"*", have[i]}:
            return False
    return len(want) == len(have)


def lane_of(subject: str) -> str | None:
    """The lane of a decision's subject; nothing else has one."""
    words = subject.split(".")
    return ".".join(words[:5]) if len(words) == 6 and words[3] == "event" else None


class Reader:
    """One reader of one log: what it knows of keys and lanes before the next entry."""

    def __init__(self, env: str, trusted: str | None = None) -> None:
        self.env, self.trusted, self.fingerprint, self.threshold = env, trusted, "", 0
        self.keys: dict[str, dict[str, Any]] = {}
        self.lanes: dict[str, dict[str, Any]] = {}
        self.epochs: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []  #: of the last entry that was not refused

    def read(
        self, index: int, subject: str, time_ns: int, raw: bytes, *, chained: bool = True
    ) -> tuple[str | None, list[int]]:
        """Return an entry's refusal, or None, and the offsets that it admits; then go on behind it."""
        lane, name = {"last": -1, "seen": set(), "batch": None}, lane_of(subject)
        if name is not None and chained:
            lane = self.lanes.setdefault(name, lane)
        batch, lane["batch"], self.events = lane["batch"], None, []
        try:
            p, events, admitted = self.judge((index, subject, time_ns, raw), lane, batch, chained=chained)
        except No as no:
            return str(no), []
        finally:
            lane["last"] = index
        self.events = events
        lane["batch"] = (p["source"], p["prev"], p["batch"], index)
        lane["seen"] |= {(p["source"], events[i]["id"]) for i in admitted}
        if admitted and self.is_key_event(subject):
            self.learn(subject.split(".")[5], events[0]["data"], index)
        return None, admitted

    def judge(
        self, entry: tuple[int, str, int, bytes], lane: dict[str, Any], batch: object, *, chained: bool
    ) -> tuple[dict[str, Any], list[Any], list[int]]:
        """The rules of section 7 in their order."""
        index, subject, time_ns, raw = entry
        outer, p, written = opened(raw)
        need("R001", written - 30_000 <= time_ns // 1_000_000 <= written + p["ttlms"])
        keys = [self.proven(s, outer, index, subject) for s in outer["s"]]
        grants = [next((g for g in key["grants"] if covers(g["pattern"], subject)), None) for key in keys]
        scored = any(g and g["scored"] for g in grants)
        need("R003", not scored or (p["ihsanppm"] or 0) >= 950_000)
        need("R004", not scored or (p["snrppm"] or 0) >= 850_000)
        need("R005", blake3_root(outer["e"]) == p["root"])
        events = [event_of(one) for one in outer["e"]]
        need("R005", events[0]["id"].hex() == p["id"])
        goes_on = (p["source"], p["prev"], p["batch"] - 1, index - 1) == batch
        need("R006", not chained or (goes_on if p["batch"] else p["prev"] == lane["last"]))
        ids = [(p["source"], event["id"]) for event in events]
        first = {one: place for place, one in reversed(list(enumerate(ids)))}
        fresh = [i for i, one in enumerate(ids) if not chained or (one not in lane["seen"] and first[one] == i)]
        grants = [next((g for g in key["grants"] if covers(g["pattern"], p["subject"])), None) for key in keys]
        key_event = subject.split(".")[5] if self.is_key_event(subject) else ""
        need("R007", all(key["first"] <= index <= (index if key["last"] is None else key["last"]) for key in keys))
        need("R007", all(key["part"] in {p["source"], "root"} for key in keys), key_event == "rotated" or all(grants))
        owners = max([1, *(g["owners"] for g in grants if g)])
        if key_event:
            need("R007", len(events) == 1)
            owners = max(owners, self.key_event(key_event, events[0]["data"], index, keys))
        words = p["subject"].split(".")
        need("R008", p["subject"] == subject, lane_of(subject), words[0] == self.env)
        need("R008", key_event or words[1:4] != ["system", "keys", "event"] or words[5] not in KEY_EVENTS)
        need("R008", not key_event or events[0]["data"]["scope"] == "root")
        need("R008", p["type"] == f"nimmerverse.{words[1]}.{words[2]}.{words[5]}")
        need("R009", len({key["owner"] for key in keys}) >= owners)
        return p, events, fresh

    def is_key_event(self, subject: str) -> bool:
        """Whether a subject is one of the key events', on their lane."""
        lane, _, kind = subject.rpartition(".")
        return lane == f"{self.env}.system.keys.event.root" and kind in KEY_EVENTS

    def proven(self, signature: dict[str, Any], outer: dict[str, Any], index: int, subject: str) -> dict[str, Any]:
        """The registered key that made a signature; a first genesis is proven by the keys that it lists."""
        known = self.keys
        if not self.fingerprint and self.is_key_event(subject) and subject.endswith(".genesis"):
            founding = event_of(outer["e"][0])["data"]
            need("R005", fits(founding, KEY_EVENTS["genesis"]), len(pack(founding)) <= 60_000)
            known = self.roots(founding)
        key = known.get(signature["k"])
        if key is None or index < key["first"]:
            raise No("R002")
        kind, payload = outer["t"].encode(), outer["p"]
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        need("R002", verifies(key["public"], signed, signature["sig"]))
        return key

    def roots(self, genesis: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The keys of a genesis."""
        patterns = [f"{self.env}.system.keys.event.*.{kind}" for kind in KEY_EVENTS]
        held = {"part": "root", "grants": [{"pattern": p, "scored": False, "owners": 1} for p in patterns]}
        return {root["key_id"]: {**root, **held, "first": 0, "last": None} for root in genesis["roots"]}

    def key_event(self, kind: str, data: dict[str, Any], index: int, keys: list[dict[str, Any]]) -> int:
        """Judge a key event, and return how many owners it needs."""
        need("R005", fits(data, KEY_EVENTS[kind]), len(pack(data)) <= 60_000)
        if kind == "genesis":
            whole = blake3(pack(data), derive_key_context="nimmerverse 2026 genesis fingerprint v1").hexdigest()
            need("R007", not self.fingerprint, index == 0, self.trusted in {None, whole})
            ids = [root["key_id"] for root in data["roots"]]
            need("R007", len(set(ids)) == len(ids), all(self.is_new(root) for root in data["roots"]))
            possible = 1 <= data["threshold"] <= len({root["owner"] for root in data["roots"]})
            return data["threshold"] if possible else 2**64
        if kind == "rotated":
            need("R007", [key["key_id"] for key in keys] == [data["old_key_id"]], self.is_new(data))
            return 1
        need("R007", all(key["part"] == "root" for key in keys))
        if kind == "introduced":
            need("R007", self.is_new(data))
        elif kind == "revoked":
            need("R007", data["key_id"] in self.keys)
        else:
            need("R007", data["epoch"] == len(self.epochs) + 2, data["first_missing"] == index <= data["last_missing"])
        return self.threshold

    def is_new(self, new: dict[str, Any]) -> bool:
        """Whether a key is sound, rightly named and not yet registered."""
        name = blake3(new["public"], derive_key_context="nimmerverse 2026 key id v1").digest(16).hex()
        sound = len(new["public"]) == 32 and crypto_core_ed25519_is_valid_point(new["public"])
        return sound and new["key_id"] == name and name not in self.keys

    def learn(self, kind: str, data: dict[str, Any], index: int) -> None:
        """Take an admitted key event into the book."""
        if kind == "genesis":
            self.threshold, self.keys = data["threshold"], self.roots(data)
            self.fingerprint = blake3(
                pack(data), derive_key_context="nimmerverse 2026 genesis fingerprint v1"
            ).hexdigest()
        elif kind == "introduced":
            self.keys[data["key_id"]] = {**data, "first": index + 1, "last": None}
        elif kind == "rotated":
            old = self.keys[data["old_key_id"]]
            new = {**old, "key_id": data["key_id"], "public": data["public"], "first": index + 1, "last": None}
            self.keys[data["key_id"]], old["last"] = new, index
        elif kind == "revoked":
            old = self.keys[data["key_id"]]
            old["last"] = index if old["last"] is None else min(old["last"], index)
        else:
            self.epochs.append({**data, "index": index})


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether Ed25519 accepts a signature, as libsodium does."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


# Leaves, and the tree over them [6; RFC 6962; C2SP tlog-tiles]


def entry_of(index: int, leaf: bytes) -> tuple[int, str, int, bytes]:
    """The entry of a leaf: index, delivery subject, broker time in nanoseconds, envelope."""
    time_ns, rest = int.from_bytes(leaf[:8], "big"), leaf[8:]
    if not rest:
        raise BadLeaf(index, "a leaf has more than 8 bytes")
    if rest[0] != 0xC1:
        if (signed_for := signed_subject(rest)) is None:
            raise BadLeaf(index, "the leaf holds no envelope, and does not say on which subject it was delivered")
        return index, signed_for, time_ns, rest
    end = 3 + int.from_bytes(rest[1:3], "big")
    try:
        subject = rest[3:end].decode()
    except UnicodeDecodeError:
        raise BadLeaf(index, "the leaf's subject is not UTF-8") from None
    if len(rest) < max(3, end) or signed_subject(rest[end:]) == subject:
        raise BadLeaf(index, "the leaf is not the one of its entry")
    return index, subject, time_ns, rest[end:]


def signed_subject(raw: bytes) -> str | None:
    """The subject that an envelope was signed for, None where there is no envelope."""
    try:
        return opened(raw)[1]["subject"]
    except No:
        return None


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256 of a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def peaks(size: int) -> list[tuple[int, int]]:
    """The complete subtrees that a tree is made of, (level, index), the largest first."""
    found, start = [], 0
    while start < size:
        level = (size - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def joined(parts: list[bytes]) -> bytes:
    """The root over complete subtrees, the largest first."""
    if not parts:
        return hashlib.sha256(b"").digest()
    root = parts[-1]
    for part in reversed(parts[:-1]):
        root = node_hash(part, root)
    return root


class Tree:
    """A tree that grows leaf by leaf: the roots of its complete subtrees."""

    def __init__(self) -> None:
        self.size, self.parts = 0, list[bytes]()

    def add(self, hashed: bytes) -> None:
        """Append a leaf's hash: it joins as many subtrees as the size has ones at its end."""
        at = self.size
        while at & 1:
            hashed, at = node_hash(self.parts.pop(), hashed), at >> 1
        self.parts.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The root over every leaf so far."""
        return joined(self.parts)


def tile_path(level: int | str, index: int, width: int = 256) -> str:
    """Where a tile lies: its number in groups of three digits, all but the last behind an x."""
    digits = f"{index:0{3 * -(-len(str(index)) // 3)}d}"
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    whole = f"tile/{level}/" + "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return whole if width == 256 else f"{whole}.p/{width}"


class Tiles:
    """The tree of the first `size` leaves as `get` finds it; nothing is believed until a root is compared."""

    def __init__(self, get: Any, size: int) -> None:
        self.get, self.size = get, size
        self.kept: dict[tuple[int, int], list[list[bytes]]] = {}

    def find(self, level: int | str, tile: int, width: int) -> bytes:
        """A tile's bytes; a partial tile may have been filled meanwhile."""
        for path in (tile_path(level, tile, width), tile_path(level, tile)):
            if (data := self.get(path)) is not None:
                return data
        raise Missing(f"{tile_path(level, tile, width)} is missing")

    def tile(self, level: int, tile: int) -> list[list[bytes]]:
        """A tile's hashes, and above them the roots of pairs, of pairs of pairs, and so on."""
        if (level, tile) not in self.kept:
            width = min(256, (self.size >> 8 * level) - tile * 256)
            data = self.find(level, tile, width) if width > 0 else b""
            if width <= 0 or len(data) < width * 32 or len(data) % 32:
                raise Missing(f"tile {level}/{tile} is too short")
            rows = [[data[i : i + 32] for i in range(0, width * 32, 32)]]
            while len(rows[-1]) > 1:
                rows.append([node_hash(*pair) for pair in zip(rows[-1][::2], rows[-1][1::2], strict=False)])
            if len(self.kept) >= 64:
                del self.kept[next(iter(self.kept))]
            self.kept[level, tile] = rows
        return self.kept[level, tile]

    def node(self, level: int, index: int) -> bytes:
        """The root of the complete subtree of 2^level leaves."""
        tall, rest = divmod(level, 8)
        tile, place = divmod(index << rest, 256)
        return self.tile(tall, tile)[rest][place >> rest]

    def leaves(self, tile: int) -> list[bytes]:
        """The leaves of one entry bundle, as many as belong to this tree."""
        width = min(256, self.size - tile * 256)
        leaves, whole = leaves_in(self.find("entries", tile, width))
        if not whole or len(leaves) < width:
            raise Missing(f"{tile_path('entries', tile, width)} is cut short")
        return leaves[:width]


def leaves_in(data: bytes) -> tuple[list[bytes], bool]:
    """The leaves of an entry bundle, each behind its length; and whether the last one is whole."""
    leaves, at = list[bytes](), 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            return leaves, False
        leaves.append(data[at + 2 : end])
        at = end
    return leaves, True


def range_root(node: Any, start: int, end: int) -> bytes:
    """The root over leaves start … end − 1, where start is a multiple of the next power of two."""
    return joined([node(level, index + (start >> level)) for level, index in peaks(end - start)])


def inclusion(node: Any, index: int, size: int) -> list[bytes]:
    """The hashes beside the way from a leaf up to the root."""
    path, start, end = list[bytes](), 0, size
    if not 0 <= index < size:
        raise BadProof(f"there is no leaf {index} in a tree of {size}")
    while end - start > 1:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if index < middle:
            path.append(range_root(node, middle, end))
            end = middle
        else:
            path.append(range_root(node, start, middle))
            start = middle
    return path[::-1]


def climb(index: int, size: int, hashed: bytes, path: list[bytes]) -> bytes:
    """The root that a proof of inclusion leads to; BadProof where its length does not fit."""
    if not 0 <= index < size or any(len(one) != 32 for one in path):
        raise BadProof(f"there is no leaf {index} in a tree of {size}, or a hash has not 32 bytes")
    place, last, left = index, size - 1, list(path)
    while last:
        if place % 2 or place < last:
            if not left:
                raise BadProof(f"the proof has {len(path)} hashes, too few for leaf {index} of {size}")
            sibling = left.pop(0)
            hashed = node_hash(sibling, hashed) if place % 2 else node_hash(hashed, sibling)
        place, last = place // 2, last // 2
    if left:
        raise BadProof(f"the proof has {len(left)} hashes too many for leaf {index} of {size}")
    return hashed


def goes_on(small: int, small_root: bytes, large: int, large_root: bytes, proof: list[bytes]) -> bool:
    """Whether a proof of consistency shows the tree of `small` leaves to begin the one of `large` leaves [RFC 9162]."""
    if not 0 < small < large or any(len(one) != 32 for one in proof):
        return small == large and small_root == large_root and not proof
    path = proof if small & (small - 1) else [small_root, *proof]
    place, last = small - 1, large - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0] if path else b""
    for one in path[1:]:
        if not last:
            return False
        if place & 1 or place == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, one)
        place, last = place >> 1, last >> 1
    return not last and (old, new) == (small_root, large_root)


# Signed notes and checkpoints [C2SP signed-note, tlog-checkpoint, tlog-cosignature]


def unbase64(text: str) -> bytes:
    """The bytes of canonical base 64."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise BadNote(f"{text[:60]!r} is not base 64") from None
    if base64.b64encode(raw).decode() != text:
        raise BadNote(f"{text[:60]!r} is not canonical base 64")
    return raw


def checked_name(name: str) -> str:
    """A key's or a log's name."""
    if not name or re.search(r"[\s+\x00-\x1f]", name) or len(name.encode()) > 255:
        raise BadNote(f"{name[:60]!r} is no name")
    return name


class Checkpoint:
    """What a note says: under this origin, so many leaves have this root. Proven only by `signed_by`."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) > 131_072:
            raise BadNote("the note is too large")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise BadNote("the note is not UTF-8") from None
        body, empty, lines = text.rpartition("\n\n")
        if any(c < " " and c != "\n" for c in text) or not empty or not lines.endswith("\n"):
            raise BadNote("a note is a text, an empty line and signature lines")
        self.text, self.lines = body + "\n", [self.line(one) for one in lines[:-1].split("\n")]
        said = self.text.split("\n")
        if len(self.lines) > 64 or len(said) != 4 or said[3] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", said[1]):
            raise BadNote("a checkpoint is three lines: origin, size, root; and at most 64 signatures")
        self.root = unbase64(said[2])
        if len(self.root) != 32:
            raise BadNote("the checkpoint's root has not 32 bytes")
        self.origin, self.size = checked_name(said[0]), int(said[1])

    @staticmethod
    def line(line: str) -> tuple[str, bytes, bytes]:
        """A signature line: name, key id, signature."""
        mark, _, rest = line.partition(" ")
        name, _, blob = rest.partition(" ")
        raw = unbase64(blob)
        if mark != "—" or len(raw) <= 4:
            raise BadNote(f"{line[:60]!r} is no signature line")
        return checked_name(name), raw[:4], raw[4:]

    def signed_by(self, public: bytes) -> int | None:
        """The time (POSIX seconds) at which the log's key says it signed; BadNote where it did not sign."""
        plain_signed, times = False, list[int]()
        for name, key_id, signature in self.lines:
            if (name, key_id) == (self.origin, key_id_of(self.origin, 1, public)):
                plain_signed = verifies(public, self.text.encode(), signature)
                if not plain_signed:
                    raise BadNote("a signature in the log's name does not verify")
            elif (name, key_id) == (self.origin, key_id_of(self.origin, 4, public)):
                seconds = int.from_bytes(signature[:8], "big")
                message = f"cosignature/v1\ntime {seconds}\n{self.text}".encode()
                if len(signature) != 72 or not verifies(public, message, signature[8:]):
                    raise BadNote("a cosignature in the log's name does not verify")
                times.append(seconds)
        if not plain_signed:
            raise BadNote("the log's key did not sign it")
        return max(times, default=None)

    def cosigned(self, witnesses: tuple[tuple[str, int, bytes], ...]) -> int:
        """How many of the witnesses signed; BadNote where a signature in the name of one of them does not verify."""
        found = 0
        for name, kind, public in witnesses:
            lines = [one for one in self.lines if one[:2] == (name, key_id_of(name, kind, public))]
            for _, _, signature in lines:
                message, start = self.text, 0
                if kind == 4:
                    message, start = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{self.text}", 8
                if kind not in {1, 4} or not verifies(public, message.encode(), signature[start:]):
                    raise BadNote(f"the signature of {name} does not verify")
            found += bool(lines)
        return found


def verifier_key(text: str) -> tuple[str, int, bytes]:
    """The name, kind and public key of a verifier key (`name+id+key`)."""
    parts = text.strip().split("+", 2)
    raw = unbase64(parts[2]) if len(parts) == 3 else b""
    kind, public = (raw[0] if raw else 0), raw[1:]
    if not raw or parts[1] != key_id_of(checked_name(parts[0]), kind, public).hex():
        raise BadNote(f"{text[:60]!r} is no verifier key")
    if kind not in {1, 4} or len(public) != 32:
        raise BadNote(f"the verifier key of {parts[0]} is no Ed25519 key of 32 bytes, and no other kind is known here")
    return parts[0], kind, public


def key_id_of(name: str, kind: int, public: bytes) -> bytes:
    """The four bytes by which a signature line names a key."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


# Bundles: one zip, every member stored as it is; valid exactly if it is what its manifest makes

FORM = (20, 0, 0, 0, 33)  # version, flags, method, time, date: the only ones a bundle has
MAX_MEMBERS, MAX_MEMBER = 65_000, 1 << 25
NAME = re.compile(
    r"manifest\.json|checkpoint|keys\.json|README\.txt|verify\.py|anchors/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
    r"|leaf/(0|[1-9][0-9]{0,18})|tile/(entries|[0-7])/(x[0-9]{3}/){0,6}[0-9]{3}(\.p/[1-9][0-9]{0,2})?"
)
MANIFEST = {
    "format": str,
    "kind": str,
    "origin": str,
    "size": int,
    "fingerprint": str,
    "signed_at_s": (int, type(None)),
    "indices": [int],
    "members": [{"name": str, "size": int, "sha256": str}],
}


class Bundle:
    """A bundle's members; `changed` are those whose bytes are not the ones that the manifest lists."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.places: dict[str, tuple[int, int]] = {}
        self.digests: dict[str, str] = {}
        self.changed: list[str] = []
        self.scan()
        self.manifest = self.listed()
        self.size = self.manifest["size"]
        self.compare()

    def get(self, name: str) -> bytes | None:
        """A member's bytes."""
        if name not in self.places:
            return None
        start, size = self.places[name]
        self.file.seek(start)
        return self.file.read(size)

    def take(self, size: int) -> bytes:
        """The next bytes; Broken where the file ends before."""
        data = self.file.read(size)
        if len(data) < size:
            raise Broken(TRUNCATED, "the file ends before the bundle does")
        return data

    def scan(self) -> None:
        """Read from the front, member by member; the directory must be the one that follows from them."""
        directory, at = b"", 0
        while (mark := self.take(4)) == b"PK\3\4":
            *form, crc, stored, size, named, extra = struct.unpack("<5H3I2H", self.take(26))
            if tuple(form) != FORM or stored != size or extra:
                raise Broken(TAMPERED, f"the member at byte {at} is not written as a bundle's are")
            name = self.take(named).decode("latin-1")
            if not NAME.fullmatch(name) or name in self.places:
                raise Broken(ENLARGED, f"{name[:60]!r} has no place in a bundle, or has two")
            if size > MAX_MEMBER or len(self.places) >= MAX_MEMBERS:
                raise Broken(ENLARGED, f"{name} is too large, or one member too many")
            data = self.take(size)
            self.places[name] = (at + 30 + named, size)
            self.digests[name] = hashlib.sha256(data).hexdigest()
            if zlib.crc32(data) != crc:
                self.changed.append(name)
            head = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *FORM, crc, size, size, named, *(0,) * 5, at)
            directory, at = directory + head + name.encode(), at + 30 + named + size
        count = len(self.places)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), at, 0)
        found, wanted = mark + self.file.read(len(directory) + len(end) - 3), directory + end
        if found != wanted:
            short, long = wanted.startswith(found), found.startswith(wanted)
            code = TRUNCATED if short else ENLARGED if long else TAMPERED
            raise Broken(code, "the end of the bundle is cut off, followed by more, or not the end of this bundle")

    def listed(self) -> dict[str, Any]:
        """The manifest, which is the first member."""
        if next(iter(self.places), None) != "manifest.json":
            raise Broken(TAMPERED, "the first member is not manifest.json: this is no bundle")
        raw = self.get("manifest.json") or b""
        try:
            told: dict[str, Any] = json.loads(raw)
            same = (json.dumps(told, indent=1) + "\n").encode() == raw and json.dumps(told, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            same, told = False, {}
        if not same or not fits(told, MANIFEST) or told["format"] != "nimmerverse-bundle-v1":
            raise Broken(TAMPERED, "manifest.json is not written as a bundle's is")
        numbers = [told["size"], told["signed_at_s"] or 0, *told["indices"], *(m["size"] for m in told["members"])]
        if any(not 0 <= number < 2**63 for number in numbers):
            raise Broken(TAMPERED, "a number in manifest.json is out of its range")
        if told["kind"] not in {"complete", "partial"} or told["indices"] != sorted(set(told["indices"])):
            raise Broken(TAMPERED, "manifest.json is of no known kind, or its indices are not in order")
        if any(index >= told["size"] for index in told["indices"]):
            raise Broken(TAMPERED, "manifest.json speaks of entries that no log has")
        return told

    def compare(self) -> None:
        """Hold the members against the manifest."""
        listed = {member["name"]: member for member in self.manifest["members"]}
        there = [name for name in self.places if name != "manifest.json"]
        if more := [name for name in there if name not in listed]:
            raise Broken(ENLARGED, f"{more[0]} is not listed in the manifest")
        if lost := [name for name in listed if name not in self.places]:
            raise Broken(TRUNCATED, f"{lost[0]} is listed in the manifest and not there")
        if there != [member["name"] for member in self.manifest["members"]]:
            raise Broken(TAMPERED, "the members are not in the order of the manifest, or one is listed twice")
        for name in there:
            size = self.places[name][1]
            if size != listed[name]["size"]:
                code = TRUNCATED if size < listed[name]["size"] else ENLARGED
                raise Broken(code, f"{name} has {size} bytes, the manifest lists {listed[name]['size']}")
            if self.digests[name] != listed[name]["sha256"]:
                self.changed.append(name)
        for name in there:
            if name.startswith(("tile/", "leaf/")) and name not in self.changed and not self.belongs(name):
                raise Broken(ENLARGED, f"{name} holds more than the tree of {self.size} entries")

    def belongs(self, name: str) -> bool:
        """Whether a tile is one of this tree, and holds no more than its share of it."""
        kind, level, rest = (name + "/").split("/", 2)
        partial = self.manifest["kind"] == "partial"
        if kind == "leaf":
            return partial and int(level) in self.manifest["indices"]
        number = int("".join(c for c in rest.partition(".p/")[0] if c.isdigit()))
        width = min(256, (self.size >> (0 if level == "entries" else 8 * int(level))) - number * 256)
        if width <= 0 or name != tile_path(level, number, width):
            return False
        if level == "entries":
            return not partial and len(leaves_in(self.get(name) or b"")[0]) <= width
        return self.places[name][1] <= width * 32


# The audit


class Report:
    """What was found. Of each question the first objection stays; the exit code is the weightiest question's."""

    def __init__(self) -> None:
        self.objections: dict[str, tuple[int, str]] = {}
        self.first_bad: dict[str, Any] | None = None
        self.missing: tuple[int, int] | None = None
        self.void: list[int] = []
        self.entries = self.events = self.signed = 0
        self.origin = self.fingerprint = self.root = self.limits = ""
        self.signed_at_s: int | None = None
        self.newest_ms: int | None = None

    @property
    def exit(self) -> int:
        """Tampering weighs more than loss, loss than age, age than void entries, those than trust."""
        order = ("integrity", "completeness", "freshness", "admission", "trust")
        return next((self.objections[name][0] for name in order if name in self.objections), 0)

    def object(self, question: str, code: int, why: str) -> None:
        """Record an objection."""
        self.objections.setdefault(question, (code, why))

    def tampered(self, index: int, why: str, code: int = TAMPERED) -> None:
        """Name an entry that is not what was committed to."""
        if self.first_bad is None or "integrity" not in self.objections:
            self.first_bad = {"index": index, "offset": 0, "reason": why}
        self.object("integrity", code, f"entry {index}: {why}")

    def gone(self, first: int, last: int, why: str) -> None:
        """Name a range of entries that is missing; that weighs more than a loss that the log names."""
        if self.objections.get("completeness", (0,))[0] == LOST:
            del self.objections["completeness"]
            self.missing = None
        self.missing = self.missing or (first, last)
        self.object("completeness", INCOMPLETE, f"entries {first} to {last} are missing: {why}")

    def refused(self, index: int, offset: int, code: str) -> None:
        """Name a void event."""
        if len(self.void) < 1_000:
            self.void.append(index)
        self.first_bad = self.first_bad or {"index": index, "offset": offset, "reason": code}
        self.object("admission", VOID, f"entry {index} is void: {code}")


class Wanted(NamedTuple):
    """What an auditor wants to know, and what it knows already."""

    trust: str | None = None  #: the fingerprint of the genesis it trusts
    against: tuple[bytes, ...] = ()  #: checkpoints it kept: the log must go on from each
    now_s: int | None = None  #: its clock, POSIX seconds; None judges no age
    max_age_s: int | None = None
    witnesses: tuple[tuple[str, int, bytes], ...] = ()
    quorum: int = 0  #: how many of the witnesses must have signed


class Audit:
    """One pass over one log, whose files `get` finds."""

    def __init__(self, get: Any, wanted: Wanted) -> None:
        self.get, self.wanted, self.report = get, wanted, Report()
        self.reader: Reader | None = None
        self.differs: int | None = None  #: the first entry whose leaf is not the one in the tiles
        self.claims: list[tuple[bool, Checkpoint]] = []  #: checkpoints the log must fit, its own newest last
        own = get("checkpoint")
        for current, raw in [*((False, raw) for raw in wanted.against), *([(True, own)] if own is not None else [])]:
            try:
                self.claims.append((current, Checkpoint(raw)))
            except BadNote as bad:
                self.report.object("integrity", TAMPERED, f"a checkpoint cannot be read: {bad}")
        self.newest = next((claim for current, claim in self.claims if current), None)
        self.roots: dict[int, bytes] = {}
        self.tiles = Tiles(get, self.newest.size if self.newest else 0)
        self.tiles_hold = self.newest is not None and self.root_of_tiles() == self.newest.root

    def root_of_tiles(self) -> bytes | None:
        """The root that the tiles themselves have, if the hash of each full tile is the root of what it holds."""
        level, size = 1, self.tiles.size
        try:
            while size >> 8 * level:
                for index in range(size >> 8 * level):
                    below, above = self.tiles.tile(level - 1, index), self.tiles.tile(level, index // 256)
                    if below[8][0] != above[0][index % 256]:
                        return None
                level += 1
            return joined([self.tiles.node(level, index) for level, index in peaks(self.tiles.size)])
        except Missing:
            return None

    def judge(self, entry: tuple[int, str, int, bytes], *, chained: bool = True) -> None:
        """Admit one entry, or name it void."""
        assert self.reader is not None
        refusal, admitted = self.reader.read(*entry, chained=chained)
        self.report.events += len(admitted)
        if refusal:
            self.report.refused(entry[0], 0, refusal)
        for offset in range(len(self.reader.events)):
            if offset not in admitted:
                self.report.refused(entry[0], offset, "R006")

    def read_complete(self) -> None:
        """Judge every entry in order until the end, or until one cannot be read."""
        report, tree = self.report, Tree()
        wanted = {claim.size for _, claim in self.claims}
        try:
            for tile in range(-(-self.tiles.size // 256)):
                leaves = self.tiles.leaves(tile)
                entries = [entry_of(tile * 256 + place, leaf) for place, leaf in enumerate(leaves)]
                self.reader = self.reader or Reader(entries[0][1].partition(".")[0])
                hashes = [leaf_hash(leaf) for leaf in leaves]
                self.compare(tile, hashes)
                wanted |= {entry[0] for entry in entries if entry[1].endswith(".epoch")}
                for entry, hashed in zip(entries, hashes, strict=True):
                    if tree.size in wanted:
                        self.roots[tree.size] = tree.root()
                    tree.add(hashed)
                    if self.differs is None or entry[0] < self.differs or not self.tiles_hold:
                        self.judge(entry)
                report.entries += len(leaves)
                report.newest_ms = entries[-1][2] // 1_000_000
        except BadLeaf as bad:
            report.tampered(bad.args[0], f"R005: {bad.args[1]}")
        except Missing as gone:
            report.gone(report.entries, max(report.entries, self.tiles.size - 1), str(gone))
        self.roots[tree.size] = tree.root()
        for current, claim in self.claims:
            self.fit(claim, current=current)
        for loss in self.reader.epochs if self.reader else ():
            self.follows(loss)

    def compare(self, tile: int, hashes: list[bytes]) -> None:
        """Find the first entry that is not the one in the tiles."""
        try:
            known = self.tiles.tile(0, tile)[0] if self.differs is None else []
        except Missing:
            return
        here = zip(hashes, known, strict=False)
        self.differs = next((tile * 256 + i for i, (a, b) in enumerate(here) if a != b), self.differs)

    def fit(self, claim: Checkpoint, *, current: bool) -> None:
        """Hold one checkpoint against what was read: its signature, its name, its size, its root."""
        report = self.report
        if current and self.differs is not None and self.tiles_hold:  # whoever signed these tiles
            report.tampered(self.differs, "the entries are not those that were signed")
        if not self.signed(claim, current=current):
            return
        if current:
            report.root = self.roots.get(claim.size, b"").hex()
        elif self.lost(claim):
            return
        if report.entries < claim.size:
            report.gone(report.entries, claim.size - 1, f"a checkpoint commits to {claim.size} entries")
        elif self.roots.get(claim.size, Tree().root()) != claim.root:
            newest = self.newest
            if not current and newest and self.roots.get(newest.size) == newest.root:
                report.tampered(claim.size, "two checkpoints of this log contradict each other", FORKED)
                return
            void = next(iter(report.void), claim.size)
            good = [c.size for _, c in self.claims if self.roots.get(c.size) == c.root]
            suspect = self.differs if self.differs is not None else min(void, max(good, default=0))
            report.tampered(suspect, "the entries are not those that were signed")
        elif current:
            denied = [index for index in (self.differs, self.inner_differs()) if index is not None]
            if denied or not self.tiles_hold:
                report.tampered(min(denied, default=0), "the entries are as signed, the tiles are not")

    def inner_differs(self) -> int | None:
        """The first entry under an inner hash, in a full tile, that is not the root of the tile below it."""
        size, level = self.tiles.size, 1
        while size >> 8 * (level + 1):
            for index in range((size >> 8 * (level + 1)) << 8):
                try:
                    same = (
                        self.tiles.tile(level - 1, index)[8][0] == self.tiles.tile(level, index // 256)[0][index % 256]
                    )
                except Missing:
                    continue
                if not same:
                    return index << 8 * level
            level += 1
        return None

    def signed(self, claim: Checkpoint, *, current: bool) -> bool:
        """Whether one of the log's own keys signed a checkpoint; the objection, where none did."""
        report, reader = self.report, self.reader
        if reader is None or not reader.fingerprint:
            return False
        if claim.origin not in self.names():
            report.object("integrity", MIXED, f"the checkpoint is of {claim.origin}, the entries of {self.names()[0]}")
            return False
        try:
            signed_at_s, cosigned = self.opened(claim)
        except BadNote as bad:
            report.object("integrity", WRONG_SIGNER, f"the checkpoint over {claim.size} entries does not count: {bad}")
            return False
        if current:
            report.origin, report.signed, report.signed_at_s = claim.origin, claim.size, signed_at_s
            if cosigned < self.wanted.quorum:
                report.object("trust", WRONG_SIGNER, f"{cosigned} witnesses of {self.wanted.quorum} signed")
        return True

    def names(self) -> list[str]:
        """What the log may be called: one name for each of its epochs."""
        assert self.reader is not None
        name = f"nimmerverse/{self.reader.env}/{self.reader.fingerprint[:32]}"
        return [name, *(f"{name}/{e}" for e in range(2, len(self.reader.epochs) + 2))]

    def opened(self, claim: Checkpoint) -> tuple[int | None, int]:
        """When one of the log's own keys signed a checkpoint, and how many witnesses; BadNote where no key did."""
        assert self.reader is not None
        trouble = "the log knows no key that may sign it"
        later = [loss["index"] for loss in self.reader.epochs if claim.origin in self.names()[: loss["epoch"] - 1]]
        at = min([claim.size, *later])  # of what was lost beyond, the keys at the end of what remains
        for key in self.reader.keys.values():
            last = at if key["last"] is None else key["last"]
            if key["part"] == "notary" and key["first"] <= at <= last:
                try:
                    return claim.signed_by(key["public"]), claim.cosigned(self.wanted.witnesses)
                except BadNote as bad:
                    trouble = str(bad)
        raise BadNote(trouble)

    def follows(self, loss: dict[str, Any]) -> None:
        """Hold an epoch to the checkpoint it names: the log's own, of an earlier epoch, over the entries before it."""
        why, index = "", loss["index"]
        if not loss["old_checkpoint"]:  # none had been signed
            return
        try:
            old = Checkpoint(loss["old_checkpoint"].encode())
            if old.origin not in self.names()[: loss["epoch"] - 1] or old.size > loss["last_missing"] + 1:
                why = f"that is of {old.origin}, over {old.size} entries"
            self.opened(old)
            here, there = sorted(((index, self.roots[index]), (old.size, old.root)), key=lambda one: one[0])
            if not goes_on(*here, *there, loss["proof"]):
                why = why or "other entries stand before it"
        except BadNote as bad:
            why = str(bad)
        if why:
            self.report.tampered(index, f"epoch {loss['epoch']} does not go on from the checkpoint it names: {why}")

    def lost(self, claim: Checkpoint) -> bool:
        """Whether the last entries of a checkpoint of an earlier epoch are gone, as an epoch says; then what is."""
        report = self.report
        for loss in self.reader.epochs if self.reader else ():
            if claim.origin not in self.names()[: loss["epoch"] - 1] or loss["index"] >= claim.size:
                continue
            try:
                old = Checkpoint(loss["old_checkpoint"].encode())
            except BadNote:
                old = None
            if old and (old.origin, old.size) == (claim.origin, claim.size) and old.root != claim.root:
                report.tampered(loss["index"], "two checkpoints of this log contradict each other", FORKED)
            report.missing = report.missing or (loss["index"], claim.size - 1)
            why = f"entries {loss['index']} to {claim.size - 1} are gone, as epoch {loss['epoch']} says"
            if old is None or old.text != claim.text:
                why += "; that the entries before are the same, this checkpoint cannot show"
            report.object("completeness", LOST, why)
            return True
        return False

    def conclude(self) -> Report:
        """Answer the rest: is anything there, how old is it, and whose is it."""
        report, trust = self.report, self.wanted.trust
        report.fingerprint = self.reader.fingerprint if self.reader else ""
        if self.newest is None:
            report.object("completeness", INCOMPLETE, "no checkpoint says how long the log is")
        if not report.fingerprint:
            report.object("completeness", INCOMPLETE, "the log has no genesis")
        fresh(report, self.wanted)
        if trust is None:
            report.object("trust", UNKNOWN_SIGNER, "nobody said which genesis to trust (--trust)")
        elif trust != report.fingerprint:
            report.object("trust", WRONG_SIGNER, f"the genesis is {report.fingerprint}, you trust {trust}")
        return report

    def read_partial(self, indices: list[int]) -> None:
        """Judge chosen entries: each is in the tree, its signatures and keys hold; what is between stays unseen."""
        report = self.report
        report.limits = "the entries between these, a later key event, the lanes' chains: this is a partial bundle"
        if self.newest is None:
            return
        for index in indices:
            leaf = self.get(f"leaf/{index}")
            try:
                if leaf is None:
                    raise Missing(f"leaf/{index} is missing")
                path = inclusion(self.tiles.node, index, self.tiles.size)
                if climb(index, self.tiles.size, leaf_hash(leaf), path) != self.newest.root:
                    raise BadProof("it does not lead to the root that was signed")
                entry = entry_of(index, leaf)
            except BadLeaf as bad:
                report.tampered(index, f"R005: {bad.args[1]}")
                break
            except BadProof as bad:
                report.tampered(index, str(bad), BAD_PROOF)
                break
            except Missing as gone:
                report.gone(index, index, str(gone))
                break
            self.reader = self.reader or Reader(entry[1].partition(".")[0])
            self.judge(entry, chained=lane_of(entry[1]) == f"{self.reader.env}.system.keys.event.root")
            report.entries += 1
            report.newest_ms = entry[2] // 1_000_000
        if self.signed(self.newest, current=True):
            report.root = self.newest.root.hex()


def fresh(report: Report, wanted: Wanted) -> None:
    """Judge the age by this machine's clock."""
    if wanted.now_s is None:
        return
    now_s, signed_at_s = wanted.now_s, report.signed_at_s
    for at_s in (signed_at_s, None if report.newest_ms is None else report.newest_ms // 1000):
        if at_s is not None and at_s > now_s + 30:
            report.object("freshness", FUTURE, f"the checkpoint or an entry is {at_s - now_s} s from the future")
    if wanted.max_age_s is not None and (signed_at_s is None or now_s - signed_at_s > wanted.max_age_s):
        report.object("freshness", STALE, f"no checkpoint of the last {wanted.max_age_s} s")


def audit_folder(path: Path, wanted: Wanted) -> Report:
    """Verify a folder of tiles."""

    def get(name: str) -> bytes | None:
        try:
            return (path / name).read_bytes()
        except OSError:
            return None

    audit = Audit(get, wanted)
    audit.read_complete()
    return audit.conclude()


def audit_bundle(path: Path, wanted: Wanted) -> Report:
    """Verify a bundle: first that it is what its manifest lists, then the log in it, then what it says of that log."""
    with path.open("rb") as file:
        try:
            bundle = Bundle(file)
        except Broken as broken:
            report = Report()
            report.object("integrity", *broken.args)
            return report
        audit = Audit(bundle.get, wanted)
        if bundle.manifest["kind"] == "partial":
            audit.read_partial(bundle.manifest["indices"])
        else:
            audit.read_complete()
        report = audit.conclude()
        if bundle.changed:
            blame(bundle, audit)
        elif "integrity" not in report.objections and "completeness" not in report.objections:
            agree(bundle, audit)
        return report


def blame(bundle: Bundle, audit: Audit) -> None:
    """A member was changed since the bundle was made: name it, and the first entry that it touches."""
    report, name = audit.report, min(bundle.changed, key=list(bundle.places).index)
    if report.objections.get("integrity", (0,))[0] == TAMPERED:
        return
    report.objections.pop("integrity", None)
    why = f"{name} is not what the manifest lists"
    index = first_changed(bundle, name)
    if index is None:
        report.object("integrity", TAMPERED, why)
    else:
        report.tampered(index, why)


def first_changed(bundle: Bundle, name: str) -> int | None:
    """The first entry of a changed member that is not the one in the tiles."""
    if name.startswith("leaf/"):
        return int(name[5:])
    if not name.startswith("tile/entries/"):
        return None
    tile = int("".join(c for c in name.partition(".p/")[0] if c.isdigit()))
    leaves, _ = leaves_in(bundle.get(name) or b"")
    try:
        known = Tiles(bundle.get, bundle.size).tile(0, tile)[0]
    except Missing:
        return tile * 256
    same = (leaf_hash(leaf) == hashed for leaf, hashed in zip(leaves, known, strict=False))
    return tile * 256 + next((i for i, one in enumerate(same) if not one), min(len(leaves), len(known) - 1))


def agree(bundle: Bundle, audit: Audit) -> None:
    """Hold what the bundle says of the log, in manifest and keys.json, against the log itself."""
    report, told, reader = audit.report, bundle.manifest, audit.reader
    found = (report.origin, report.signed, report.fingerprint, report.signed_at_s)
    if found != (told["origin"], told["size"], told["fingerprint"], told["signed_at_s"]):
        report.object("integrity", MIXED, "the manifest speaks of another log, or of another state of it")
    keys = [
        {name: key[name].hex() if name == "public" else key[name] for name in KEY_FIELDS}
        for key in (reader.keys.values() if reader else ())
    ]
    if bundle.get("keys.json") not in {None, (json.dumps(keys, indent=1) + "\n").encode()}:
        report.object("integrity", MIXED, "keys.json is not the key history of these entries")


KEY_FIELDS = ("key_id", "public", "part", "owner", "first", "last")


PROOF = "c2sp.org/tlog-proof@v1"


def audit_proof(raw: bytes, wanted: Wanted, log_key: str | None) -> Report:
    """Verify a .tlog-proof file: the leaf is in the tree, and the log's key, where it is given, signed that tree."""
    report = Report()
    report.limits = "a proof shows one entry under one checkpoint; whose key signed that, only the whole log tells"
    try:
        head, empty, note = raw.decode().partition("\n\n")
        lines = head.split("\n")
        if not empty or lines.pop(0) != PROOF or not lines:
            raise BadProof("this is no proof file")
        leaf = unbase64(lines.pop(0)[6:]) if lines[0].startswith("extra ") else b""
        said = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines.pop(0)) if lines else None
        if said is None or len(lines) > 64 or not leaf:
            raise BadProof("the proof names no index, encloses no leaf, or is too long")
        index, path, claim = int(said[1]), [unbase64(line) for line in lines], Checkpoint(note.encode())
        if climb(index, claim.size, leaf_hash(leaf), path) != claim.root:
            raise BadProof(f"the proof of entry {index} does not lead to the root of the checkpoint")
        entry_of(index, leaf)
    except (BadProof, BadNote, UnicodeDecodeError) as bad:
        report.object("integrity", BAD_PROOF, str(bad))
        return report
    except BadLeaf as bad:
        report.object("integrity", BAD_PROOF, bad.args[1])
        return report
    report.origin, report.signed, report.entries, report.root = claim.origin, claim.size, 1, claim.root.hex()
    whose(report, claim, wanted, log_key)
    fresh(report, wanted)
    return report


def whose(report: Report, claim: Checkpoint, wanted: Wanted, log_key: str | None) -> None:
    """Judge who signed the checkpoint of a proof: it names 32 digits of the genesis, and its key is told elsewhere."""
    if wanted.trust is not None and claim.origin.split("/")[2:3] != [wanted.trust[:32]]:
        report.object("trust", WRONG_SIGNER, f"the proof is of {claim.origin}, you trust {wanted.trust}")
    if log_key is None:
        report.object("trust", UNKNOWN_SIGNER, "nobody said which key signs this log (--log-key)")
        return
    try:
        name, kind, public = verifier_key(log_key)
        if kind != 1 or name != claim.origin:
            raise BadNote(f"the proof is of {claim.origin}, the --log-key is of {name}, or no log's")
        report.signed_at_s, cosigned = claim.signed_by(public), claim.cosigned(wanted.witnesses)
        if cosigned < wanted.quorum:
            report.object("trust", WRONG_SIGNER, f"{cosigned} witnesses of {wanted.quorum} signed")
    except BadNote as bad:
        report.object("trust", WRONG_SIGNER, str(bad))


def main(argv: list[str] | None = None) -> int:
    """Verify one thing, say what was found, and end with its exit code."""
    parser = argparse.ArgumentParser(description="Verify a Nimmerverse log offline.")
    parser.add_argument("path", type=Path, help="a bundle (.zip), a folder of tiles, or a .tlog-proof file")
    parser.add_argument("--trust", type=fingerprint, metavar="FINGERPRINT", help="the genesis you trust")
    parser.add_argument("--against", type=Path, action="append", default=[], help="a checkpoint you kept from before")
    parser.add_argument("--max-age", type=natural, metavar="S", help="how old the checkpoint may be")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness you trust")
    parser.add_argument("--quorum", type=natural, default=0, metavar="N", help="so many witnesses must have signed")
    parser.add_argument("--log-key", metavar="VKEY", help="for a proof: the log's key, as a whole audit printed it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    try:
        against = tuple(path.read_bytes() for path in args.against)
        witnesses = tuple(verifier_key(text) for text in args.witness)
        wanted = Wanted(args.trust, against, int(time.time()), args.max_age, witnesses, args.quorum)
        if args.path.is_dir():
            report = audit_folder(args.path, wanted)
        elif not args.path.is_file():
            parser.error(f"{args.path} is no file and no folder")
        elif is_proof(args.path):
            report = audit_proof(args.path.read_bytes(), wanted, args.log_key)
        else:
            report = audit_bundle(args.path, wanted)
    except BadNote as bad:
        parser.error(str(bad))
    except OSError as error:
        parser.error(f"{error.filename} cannot be read: {error.strerror}")
    show(report, as_json=args.json)
    return report.exit


def is_proof(path: Path) -> bool:
    """Whether a file says that it is a proof; one that is far too large for a proof is not."""
    with path.open("rb") as file:
        return file.read(len(PROOF)) == PROOF.encode() and path.stat().st_size <= 262_144


def natural(text: str) -> int:
    """A number from 0 on."""
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise argparse.ArgumentTypeError(f"a whole number from 0 on is wanted, found {text!r}")
    return int(text)


def fingerprint(text: str) -> str:
    """A genesis's fingerprint."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"a fingerprint has 64 digits 0-9a-f, found {text!r}")
    return text


def show(report: Report, *, as_json: bool) -> None:
    """Print what was found."""
    verdict = NAMES[report.exit - 10] if report.exit else "verified"
    told = {name: value for name, value in vars(report).items() if name != "objections"}
    objections = {name: why for name, (_, why) in report.objections.items()}
    if as_json:
        print(json.dumps({"ok": not report.exit, "exit": report.exit, "verdict": verdict, **objections, **told}))
        return
    print(f"log      {report.origin or 'unnamed'}\nentries  {report.entries} read, {report.signed} signed")
    print(f"root     {report.root or '-'}\ngenesis  {report.fingerprint or '-'}")
    for name, why in objections.items():
        print(f"✗ {name:13}{why}")
    if report.limits:
        print(f"not shown: {report.limits}")
    print(f"verdict: {verdict}")


if __name__ == "__main__":
    sys.exit(main())
