"""A whole verifier in one screen: plain msgpack, BLAKE3 and Ed25519, written from SPEC.md and nothing of the product.

`shared` is not imported here, so that this file proves the written grammar is enough.
"""

# ruff: noqa: ANN401 - decoded bytes may be anything

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
from blake3 import blake3
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPE = "application/vnd.nimmerverse.event.v1+msgpack"

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
    **dict.fromkeys(("ihsanppm", "snrppm"), (int, 0, 1000000)),
}

#: A type, several types, a list of one shape, or a map with exactly these names in this order.
ROOT_KEY = {"key_id": str, "public": bytes, "owner": str}
GRANT = {"pattern": str, "scored": bool, "owners": int}
ENVELOPE = {"t": str, "p": bytes, "s": [{"k": str, "sig": bytes}], "e": [bytes]}
EVENT = {"id": bytes, "cause": bytes, "evidence": bytes, "data": dict}
KEY_EVENTS: dict[str, dict[str, Any]] = {
    "genesis": {"scope": str, "roots": [ROOT_KEY], "threshold": int, "one_host": bool, "streams": [str]},
    "introduced": {
        "scope": str,
        "key_id": str,
        "public": bytes,
        "part": str,
        "owner": str,
        "roles": [str],
        "grants": [GRANT],
    },
    "rotated": {"scope": str, "old_key_id": str, "key_id": str, "public": bytes},
    "revoked": {"scope": str, "key_id": str, "compromised_since_index": (int, type(None)), "reason": str},
}


def fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape."""
    if isinstance(shape, list):
        return type(value) is list and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return (
            type(value) is dict and list(value) == list(shape) and all(fits(value[name], shape[name]) for name in shape)
        )
    return type(value) in (shape if isinstance(shape, tuple) else (shape,))


class No(Exception):
    """A refusal's code."""


def need(code: str, *claims: object) -> None:
    """Refuse unless every claim holds."""
    if not all(claims):
        raise No(code)


def packed(value: object) -> bytes:
    """Canonical MessagePack of a value."""
    raw = msgpack.packb(value)
    assert isinstance(raw, bytes)
    return raw


def unpacked(raw: bytes) -> Any:
    """What canonical MessagePack says."""
    try:
        value = msgpack.unpackb(raw)
        need("R005", packed(value) == raw)
        return value
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        raise No("R005") from None


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962 with BLAKE3."""
    if len(leaves) == 1:
        return blake3(b"\0" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return blake3(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def opened(raw: bytes) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The envelope, its attributes and the milliseconds at which it was written."""
    need("R005", len(raw) <= 59_392)
    outer = unpacked(raw)
    need("R005", fits(outer, ENVELOPE))
    p = unpacked(outer["p"])
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
        return outer, p, (datetime.strptime(p["time"], "%Y-%m-%dT%H:%M:%S.%f%z") - EPOCH) // timedelta(milliseconds=1)
    except ValueError:
        raise No("R005") from None


def plain(value: Any, left: int = 32) -> bool:
    """Whether data is nil, bool, int, text, bytes, arrays and maps by text, 32 levels deep at most."""
    if isinstance(value, (list, dict)):
        inside = value.values() if isinstance(value, dict) else value
        return (
            left > 0
            and all(type(key) is str for key in (value if isinstance(value, dict) else ()))
            and all(plain(v, left - 1) for v in inside)
        )
    return value is None or type(value) in {bool, int, str, bytes}


def event_of(raw: bytes) -> dict[str, Any]:
    """One event, its data a plain map."""
    event = unpacked(raw)
    need("R005", fits(event, EVENT))
    need(
        "R005",
        plain(event["data"]),
        len(event["id"]) == 16,
        len(event["cause"]) in {0, 16},
        len(event["evidence"]) <= 32_768,
    )
    return event


def covers(pattern: str, subject: str) -> bool:
    """NATS wildcards."""
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        want, have = want[:-1], have[: len(want) - 1] if len(have) >= len(want) else []
    return len(want) == len(have) and all(w in {"*", h} for w, h in zip(want, have, strict=True))


class Reader:
    """One reader of one log."""

    def __init__(self, env: str, trusted: str) -> None:
        self.env, self.trusted, self.founded, self.threshold = env, trusted, False, 0
        self.keys: dict[str, dict[str, Any]] = {}
        self.lanes: dict[str, dict[str, Any]] = {}

    def read(self, index: int, subject: str, time_ns: int, raw: bytes) -> tuple[str | None, list[int]]:
        """Return an entry's refusal, or None, and the offsets that it admits; then go on behind it."""
        lane = self.lanes.setdefault(subject.rpartition(".")[0], {"last": -1, "seen": set(), "batch": None})
        batch, lane["batch"] = lane["batch"], None
        try:
            p, events, admitted = self.judge((index, subject, time_ns, raw), lane, batch)
        except No as no:
            return str(no), []
        finally:
            lane["last"] = index
        lane["batch"] = (p["source"], p["prev"], p["batch"], index)
        lane["seen"] |= {(p["source"], events[i]["id"]) for i in admitted}
        if admitted and self.is_key_event(subject):
            self.learn(subject.split(".")[5], events[0]["data"], index)
        return None, admitted

    def judge(
        self, entry: tuple[int, str, int, bytes], lane: dict[str, Any], batch: object
    ) -> tuple[dict[str, Any], list[Any], list[int]]:
        """The rules of SPEC.md in their order."""
        index, subject, time_ns, raw = entry
        outer, p, written = opened(raw)
        need("R001", written - 30_000 <= time_ns // 1_000_000 <= written + p["ttlms"])
        keys = [self.proven(s, outer, index, subject) for s in outer["s"]]
        grants = [next((g for g in key["grants"] if covers(g["pattern"], subject)), None) for key in keys]
        scored = any(g and g["scored"] for g in grants)
        need("R003", not scored or (p["ihsanppm"] or 0) >= 950_000)
        need("R004", not scored or (p["snrppm"] or 0) >= 850_000)
        need("R005", root(outer["e"]) == p["root"])
        events = [event_of(raw) for raw in outer["e"]]
        need("R005", events[0]["id"].hex() == p["id"])
        follows = (
            (p["source"], p["prev"], p["batch"] - 1, index - 1) == batch if p["batch"] else p["prev"] == lane["last"]
        )
        need("R006", follows)
        ids = [(p["source"], e["id"]) for e in events]
        admitted = [i for i, one in enumerate(ids) if one not in lane["seen"] and one not in ids[:i]]
        grants = [next((g for g in key["grants"] if covers(g["pattern"], p["subject"])), None) for key in keys]
        key_event = subject.split(".")[5] if self.is_key_event(subject) else ""
        need("R007", all(key["first"] <= index <= (index if key["last"] is None else key["last"]) for key in keys))
        need("R007", all(key["part"] in {p["source"], "root"} for key in keys), key_event == "rotated" or all(grants))
        owners = max(g["owners"] if g else 1 for g in grants)
        if key_event:
            need("R007", len(events) == 1)
            owners = max(owners, self.key_event(key_event, events[0]["data"], index, keys))
        words = p["subject"].split(".")
        need("R008", p["subject"] == subject, len(words) == 6, words[3:4] == ["event"], words[0] == self.env)
        need("R008", key_event or words[1:4] != ["system", "keys", "event"] or words[5] not in KEY_EVENTS)
        need("R008", not key_event or events[0]["data"]["scope"] == "root")
        need("R008", p["type"] == f"nimmerverse.{words[1]}.{words[2]}.{words[5]}")
        need("R009", len({key["owner"] for key in keys}) >= owners)
        return p, events, admitted

    def is_key_event(self, subject: str) -> bool:
        """Whether a subject is one of the four key events', on their lane."""
        lane, _, kind = subject.rpartition(".")
        return lane == f"{self.env}.system.keys.event.root" and kind in KEY_EVENTS

    def proven(self, signature: dict[str, Any], outer: dict[str, Any], index: int, subject: str) -> dict[str, Any]:
        """The registered key that made a signature; a first genesis is proven by the keys that it lists."""
        known = self.keys
        if not self.founded and self.is_key_event(subject) and subject.endswith(".genesis"):
            founding = event_of(outer["e"][0])["data"]
            need("R005", fits(founding, KEY_EVENTS["genesis"]), len(packed(founding)) <= 60_000)
            known = self.roots(founding)
        key = known.get(signature["k"])
        if key is None or index < key["first"]:
            raise No("R002")
        kind, payload = outer["t"].encode(), outer["p"]
        try:
            VerifyKey(key["public"]).verify(
                b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload), signature["sig"]
            )
        except (BadSignatureError, ValueError):
            raise No("R002") from None
        return key

    def roots(self, genesis: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The keys of a genesis."""
        grants = [
            {"pattern": f"{self.env}.system.keys.event.*.{kind}", "scored": False, "owners": 1} for kind in KEY_EVENTS
        ]
        return {
            r["key_id"]: {**r, "part": "root", "grants": grants, "first": 0, "last": None} for r in genesis["roots"]
        }

    def key_event(self, kind: str, data: dict[str, Any], index: int, keys: list[dict[str, Any]]) -> int:
        """Judge a key event, and return how many owners it needs."""
        need("R005", fits(data, KEY_EVENTS[kind]), len(packed(data)) <= 60_000)
        if kind == "genesis":
            whole = blake3(packed(data), derive_key_context="nimmerverse 2026 genesis fingerprint v1").hexdigest()
            need("R007", not self.founded, index == 0, whole == self.trusted)
            need(
                "R007",
                len({r["key_id"] for r in data["roots"]}) == len(data["roots"]),
                all(self.is_new(r) for r in data["roots"]),
            )
            possible = 1 <= data["threshold"] <= len({r["owner"] for r in data["roots"]})
            return data["threshold"] if possible else 2**64
        need("R007", kind == "rotated" or all(key["part"] == "root" for key in keys))
        if kind == "revoked":
            need("R007", data["key_id"] in self.keys)
        else:
            need(
                "R007", kind != "rotated" or [key["key_id"] for key in keys] == [data["old_key_id"]], self.is_new(data)
            )
        return 1 if kind == "rotated" else self.threshold

    def is_new(self, new: dict[str, Any]) -> bool:
        """Whether a key is sound, rightly named and not yet registered."""
        name = blake3(new["public"], derive_key_context="nimmerverse 2026 key id v1").digest(16).hex()
        sound = len(new["public"]) == 32 and crypto_core_ed25519_is_valid_point(new["public"])
        return sound and new["key_id"] == name and name not in self.keys

    def learn(self, kind: str, data: dict[str, Any], index: int) -> None:
        """Take an admitted key event into the book."""
        if kind == "genesis":
            self.founded, self.threshold, self.keys = True, data["threshold"], self.roots(data)
        elif kind == "introduced":
            self.keys[data["key_id"]] = {**data, "first": index + 1, "last": None}
        elif kind == "rotated":
            old = self.keys[data["old_key_id"]]
            new = {**old, "key_id": data["key_id"], "public": data["public"], "first": index + 1, "last": None}
            self.keys[data["key_id"]], old["last"] = new, index
        else:
            old = self.keys[data["key_id"]]
            old["last"] = index if old["last"] is None else min(old["last"], index)
