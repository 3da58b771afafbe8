"""Writes shared/envelope/vectors.json: one small log, judged entry by entry, from fixed seeds and no clock.

    python -m tests.vectors.make_envelope_vectors

A test makes the vectors again and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from shared.envelope import Verdict, fingerprint_of, leaf_of, read, rfc3339
from shared.envelope.envelope import pae
from shared.keys import LocalSigner
from shared.log import Entry, root_of
from shared.message import encode_token
from shared.subjects.keys import Grant
from tests.forge import (
    ADA,
    BOB,
    CYD,
    ENV,
    JOINT,
    PART,
    PLAIN,
    SCORED,
    TTL_MS,
    Log,
    epoch,
    event,
    event_id,
    genesis,
    introduced,
    packed,
    revoked,
    roots,
    rotated,
    signer,
    subject_of,
)

PATH = Path(__file__).parents[2] / "shared" / "envelope" / "vectors.json"
KEYS = {
    "root ada": ADA,
    "root bob": BOB,
    "root cyd": CYD,
    "ada's": ADA,
    "bob's": BOB,
    "ada's second": ADA,
    "stranger": "nobody",
}
FLOORS = {"ihsanppm": 950_000, "snrppm": 850_000}


def tampered(entry: Entry, **fields: object) -> Entry:
    """An entry whose envelope's outer fields were replaced after it was signed."""
    return replace(entry, raw=msgspec.msgpack.encode({**msgspec.msgpack.decode(entry.raw), **fields}))


def spoiled(entry: Entry) -> Entry:
    """An entry whose first signature has one bit changed."""
    first, *others = msgspec.msgpack.decode(entry.raw)["s"]
    return tampered(entry, s=[{**first, "sig": bytes([first["sig"][0] ^ 1]) + first["sig"][1:]}, *others])


def told(log: Log) -> list[tuple[str, Callable[[], Verdict]]]:
    """What happens in the log, in order: a sentence, and the act."""
    adas, bobs, both = signer("ada's"), signer("bob's"), roots(ADA, BOB)

    def make(names: list[str], *signers: LocalSigner, kind: str = PLAIN, **changes: object) -> Entry:
        return log.sealed(subject_of(kind), [event(name) for name in names], *signers, **changes)

    def say(name: str, *signers: LocalSigner, kind: str = PLAIN, **changes: object) -> Verdict:
        return log.put(make([name], *signers, kind=kind, **changes))

    second = Grant(f"{ENV}.nervous.math.event.*.{PLAIN}")
    return [
        ("genesis: three root owners, two must agree", lambda: log.key_event(genesis(), *both)),
        ("introduced: ada's key of the part", lambda: log.key_event(introduced("ada's", ADA), *both)),
        ("introduced: bob's key of the same part", lambda: log.key_event(introduced("bob's", BOB), *both)),
        ("one event, sealed", lambda: say("single", adas)),
        ("a sealed block of three", lambda: log.put(make(["x", "y", "z"], adas))),
        (
            "cause and evidence",
            lambda: log.put(log.sealed(subject_of(PLAIN), [event("c", cause=event_id("x"), evidence=b"window")], adas)),
        ),
        ("scores at their floors", lambda: say("scored", adas, kind=SCORED, **FLOORS)),
        ("two owners agree", lambda: say("joint", adas, bobs, kind=JOINT)),
        ("an atomic batch, place 0", lambda: say("batch 0", adas)),
        ("an atomic batch, place 1: the same prev", lambda: say("batch 1", adas, prev=log.index - 2, batch=1)),
        ("a block with an old event: only the new one is admitted", lambda: log.put(make(["new", "single"], adas))),
        ("R005: one byte too many", lambda: log.put(trailing(make(["r"], adas)))),
        ("R001: ttl over by a millisecond", lambda: log.put(later(make(["r"], adas), TTL_MS + 1))),
        ("R001: written 30,001 ms in the future", lambda: log.put(later(make(["r"], adas), -30_001))),
        ("R002: a key that nobody registered", lambda: say("r", signer("stranger"))),
        ("R002: one bit of the signature", lambda: log.put(spoiled(make(["r"], adas)))),
        ("R003: ihsan below 0.95", lambda: say("r", adas, kind=SCORED, ihsanppm=949_999, snrppm=850_000)),
        ("R004: snr missing", lambda: say("r", adas, kind=SCORED, ihsanppm=950_000)),
        ("R005: the events do not match the root", lambda: log.put(tampered(make(["r"], adas), e=[event("s")]))),
        (
            "R005: an event holds a float",
            lambda: log.put(log.sealed(subject_of(PLAIN), [event("f", packed(n=1.0))], adas)),
        ),
        (
            "R006: the same bytes again",
            lambda: log.put(replace(log.entries[3], index=log.index, time_ns=make(["r"], adas).time_ns)),
        ),
        ("R006: prev is not the lane's last index", lambda: say("r", adas, prev=3)),
        ("R006: a batch place that continues nothing", lambda: say("r", adas, batch=1)),
        ("R007: a subject without a grant", lambda: say("r", adas, kind="unheard")),
        ("R007: another part's name", lambda: say("r", adas, source="nerves.other")),
        ("R008: delivered on another subject", lambda: log.put(replace(make(["r"], adas), subject=subject_of(JOINT)))),
        ("R009: one owner where two are needed", lambda: say("r", adas, kind=JOINT)),
        ("R009: one root owner introduces", lambda: log.key_event(introduced("x", ADA), *roots(ADA))),
        ("R007: a second genesis", lambda: log.key_event(genesis(), *both)),
        ("R007: introduced twice", lambda: log.key_event(introduced("ada's", ADA, grants=[second]), *both)),
        ("rotated: ada's key, by itself", lambda: log.key_event(rotated("ada's", "ada's second"), adas, source=PART)),
        ("R007: the predecessor signs after its end", lambda: say("after", adas)),
        ("the successor signs", lambda: say("after", signer("ada's second"))),
        ("revoked: bob's key", lambda: log.key_event(revoked("bob's"), *both)),
        ("R007: a revoked key signs", lambda: say("late", bobs)),
        ("R007: an epoch that is not the next", lambda: log.key_event(epoch(3, log.index, log.index + 9), *both)),
        ("R007: an epoch that begins elsewhere", lambda: log.key_event(epoch(2, log.index - 1, log.index), *both)),
        ("R009: one root owner begins an epoch", lambda: log.key_event(epoch(2, log.index, log.index), *roots(ADA))),
        ("epoch: ten entries are lost", lambda: log.key_event(epoch(2, log.index, log.index + 9), *both)),
        ("R007: the same epoch again", lambda: log.key_event(epoch(2, log.index, log.index + 9), *both)),
    ]


def trailing(entry: Entry) -> Entry:
    """An entry with a byte after its end."""
    return replace(entry, raw=entry.raw + b"\0")


def later(entry: Entry, ms: int) -> Entry:
    """An entry that the broker stamped later."""
    return replace(entry, time_ns=entry.time_ns + ms * 1_000_000)


def judged(name: str, verdict: Verdict) -> dict[str, Any]:
    """One entry and what every reader says of it."""
    entry = verdict.entry
    return {
        "name": name,
        "index": entry.index,
        "subject": entry.subject,
        "time_ns": str(entry.time_ns),
        "envelope": entry.raw.hex(),
        "refusal": verdict.refusal.code if verdict.refusal else None,
        "admitted": [offset for offset, _ in verdict.admitted()],
    }


def derivations(log: Log) -> dict[str, Any]:
    """The pieces of the grammar, each with its input and output."""
    single = log.entries[3]
    sealed = read(single.raw)
    three = list(read(log.entries[4].raw).events)
    texts = ["math", "one two", "ü", "a.b.>", "=", "x" * 128]
    return {
        "pae": {"type": "a/b", "payload": b"\0\xff".hex(), "encoded": pae("a/b", b"\0\xff").hex()},
        "signed": {"entry": 3, "bytes": sealed.signed.hex()},
        "roots": [{"leaves": [leaf.hex() for leaf in three[:n]], "root": root_of(three[:n]).hex()} for n in range(4)],
        "event_ids": [
            {
                "cause": cause.hex(),
                "part": PART,
                "handler": handler,
                "ordinal": ordinal,
                "id": derive(cause, handler, ordinal),
            }
            for cause, handler, ordinal in ((b"", "on_wave", 0), (event_id("x"), "on_wave", 12))
        ],
        "tokens": [{"text": text, "token": encode_token(text)} for text in texts],
        "times": [{"ms": ms, "time": rfc3339(ms)} for ms in (0, 1, 1_767_225_600_000, 253_402_300_799_999)],
        "leaf": {"entry": 3, "bytes": leaf_of(single).hex()},
        "log_root_sha256": root_of([leaf_of(e) for e in log.entries], lambda data: sha256(data).digest()).hex(),
    }


def derive(cause: bytes, handler: str, ordinal: int) -> str:
    """An event id written out a second time, beside the product's own derivation."""
    parts = (cause, PART.encode(), handler.encode(), str(ordinal).encode())
    material = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return blake3(material, derive_key_context="nimmerverse 2026 event id v1").digest(16).hex()


def make() -> str:
    """The vectors as JSON text."""
    log = Log()
    entries = [judged(name, act()) for name, act in told(log)]
    for entry in entries:
        assert entry["refusal"] is None if entry["admitted"] else entry["name"].startswith(entry["refusal"]), entry[
            "name"
        ]
    keys = {
        name: {
            "seed": signer(name).seed().hex(),
            "public": signer(name).public.hex(),
            "key_id": signer(name).key_id,
            "owner": owner,
        }
        for name, owner in KEYS.items()
    }
    founding = bytes(log.verdicts[0].events[0].data)
    whole = {
        "about": "A log judged entry by entry, made from these seeds; SPEC.md has the grammar. Bytes are hexadecimal.",
        "env": ENV,
        "genesis_fingerprint": fingerprint_of(founding),
        "keys": keys,
        "derivations": derivations(log),
        "log": entries,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(make(), encoding="utf-8")
