"""Mutated envelopes, events and messages, at byte and at structure level, against everything that reads them.

    python -m tests.fuzz.fuzz_envelope --seconds 60 --seed 7

What must hold: reading raises nothing but Refused; every verdict names its refusal; nothing that differs by a byte from
what was signed is admitted, or recalled; judging changes nothing; and the stand-alone verifier of tests/spec says the
same. A failure prints the one line that repeats it.
"""

# ruff: noqa: ANN401 - decoded bytes may be anything

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

import msgpack
import msgspec

from shared.audit.stand_alone.verify import Reader
from shared.codec import decode, decode_any, encode, encode_json
from shared.envelope import KeyBook, Prefix, admit, read, read_event, recall
from shared.envelope.envelope import pae
from shared.errors import CODES, Refused
from shared.log import Entry, root_of
from shared.message import Message
from tests.forge import (
    ADA,
    BOB,
    ENV,
    JOINT,
    PLAIN,
    SCORED,
    event,
    founded,
    introduced,
    packed,
    roots,
    rotated,
    signer,
    subject_of,
)
from tests.specimens import declared, specimen

ODD_BYTES = bytes(
    (0x00, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x91, 0xA0, 0xA1, 0xC0, 0xC1, 0xC2, 0xC4, 0xC7, 0xCA, 0xCB, 0xCC, 0xCF, 0xD0)
)
ODD_BYTES += bytes((0xD3, 0xD4, 0xD6, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xE0, 0xFF, ord("{"), ord("["), ord('"')))
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.0,
    float("nan"),
    float("inf"),
    "",
    "x" * 200,
    "\0",
    b"",
)
ODD_VALUES += (
    b"\0" * 16,
    b"\0" * 32,
    b"\0" * 64,
    [],
    [[]],
    {},
    {"a": 1},
    {1: 1},
    msgspec.msgpack.Ext(1, b"x"),
    "1.0",
    "USER",
    "R005",
)

SIGNERS = {key.key_id: key for key in (*map(signer, ("ada's", "bob's", "ada's second")), *roots(ADA, BOB))}


# Mutations


def mutate_bytes(raw: bytes, random: Random) -> bytes:  # noqa: PLR0911 - one return for each kind of change
    """One change at byte level."""
    if not raw:
        return random.randbytes(3)
    at, to = random.randrange(len(raw)), random.randrange(len(raw) + 1)
    low, high = min(at, to), max(at, to)
    match random.randrange(8):
        case 0:
            return raw[:at] + bytes([raw[at] ^ (1 << random.randrange(8))]) + raw[at + 1 :]
        case 1:
            return raw[:at] + bytes([random.choice(ODD_BYTES)]) + raw[at + 1 :]
        case 2:
            return raw[:at] + bytes([random.choice(ODD_BYTES)]) * random.choice((1, 2, 40)) + raw[at:]
        case 3:
            return raw[:low] + raw[min(high, low + 8) :]
        case 4:
            return raw[:at]
        case 5:
            return raw[:high] + raw[low:]
        case 6:
            return raw + random.randbytes(random.choice((1, 9)))
        case _:
            return raw[:low] + raw[low:high][::-1] + raw[high:]


def mutate_value(value: Any, random: Random) -> Any:  # noqa: PLR0911 - one return for each kind of change
    """One change somewhere inside a decoded value."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        match random.randrange(6):
            case 0:
                return {key: item for key, item in value.items() if key != name}
            case 1:
                return {**value, random.choice(("x", "", f"{name}_", "id")): random.choice(ODD_VALUES)}
            case 2:
                return dict(random.sample(list(value.items()), len(value)))
            case _:
                return {**value, name: mutate_value(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        match random.randrange(5):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case 2:
                return value[::-1]
            case _:
                return [*value[:at], mutate_value(value[at], random), *value[at + 1 :]]
    return mutate_leaf(value, random)


def mutate_leaf(value: Any, random: Random) -> Any:
    """Another value in the place of one, near it or far."""
    match value:
        case bytes() if value and random.random() < 0.7:
            return mutate_bytes(value, random) if random.random() < 0.3 else repacked(value, random)
        case bool():
            return random.choice((not value, int(value)))
        case int() if random.random() < 0.7:
            return max(-(2**63), min(2**64 - 1, value + random.choice((-1, 1, 2, -(2**32), 2**32))))
        case str() if random.random() < 0.7:
            return value + random.choice(("", " ", "\0", "é", "x")) if random.random() < 0.5 else value[:-1]
        case _:
            return random.choice(ODD_VALUES)


def repacked(raw: bytes, random: Random) -> bytes:
    """Bytes that hold MessagePack, changed inside; others, and what cannot be written again, changed as bytes."""
    try:
        return packed_oddly(mutate_value(msgpack.unpackb(raw, strict_map_key=False), random), random)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return mutate_bytes(raw, random)


def packed_oddly(value: Any, random: Random) -> bytes:
    """MessagePack of a value, now and then in a second spelling."""
    raw = msgspec.msgpack.encode(value)
    if random.random() < 0.9 or not isinstance(value, dict) or len(value) > 15:
        return raw
    if random.random() < 0.5:
        return b"\xde\x00" + bytes([len(value)]) + raw[1:]
    double = b"".join(msgspec.msgpack.encode(key) + msgspec.msgpack.encode(item) for key, item in value.items())
    first = next((msgspec.msgpack.encode(key) + msgspec.msgpack.encode(item) for key, item in value.items()), b"")
    return bytes([0x80 + (len(value) + 1) % 16]) + double + first


def mutated(raw: bytes, random: Random, others: list[bytes]) -> bytes:
    """One to three changes of any kind."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        match random.randrange(10):
            case 0:
                return random.randbytes(random.choice((1, 20, 300)))
            case 1:
                other = random.choice(others)
                raw = raw[: random.randrange(len(raw) + 1)] + other[random.randrange(len(other) + 1) :]
            case 2 | 3 | 4:
                raw = mutate_bytes(raw, random)
            case 5:
                raw = swapped(raw, random.choice(others), random)
            case _:
                raw = repacked(raw, random)
    return raw


def swapped(raw: bytes, other: bytes, random: Random) -> bytes:
    """An envelope with one of its four parts taken from another."""
    try:
        mine, theirs = msgpack.unpackb(raw), msgpack.unpackb(other)
        name = random.choice("tpse")
        return msgspec.msgpack.encode({**mine, name: theirs[name]})
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        return mutate_bytes(raw, random)


def resigned(raw: bytes, random: Random) -> bytes:
    """An envelope changed before its keys signed it: what a registered part could send, however wrong."""
    wire = msgpack.unpackb(raw)
    head = msgpack.unpackb(wire["p"])
    try:
        if random.random() < 0.5:
            wire["e"] = [repacked(one, random) if random.random() < 0.7 else one for one in wire["e"]]
            first = msgpack.unpackb(wire["e"][0])["id"].hex() if random.random() < 0.5 else head["id"]
            head |= {"root": root_of(wire["e"]), "count": len(wire["e"]), "id": first}
        else:
            head = mutate_value(head, random)
        payload = packed_oddly(head, random)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError, msgpack.UnpackException):
        return raw
    signed = pae(wire["t"], payload)
    return msgspec.msgpack.encode(
        {**wire, "p": payload, "s": [{"k": s["k"], "sig": SIGNERS[s["k"]].sign(signed)} for s in wire["s"]]}
    )


# What must hold


@dataclass
class Target:
    """A log in hand: before each of its entries, what a reader and the stand-alone verifier knew."""

    entries: list[Entry] = field(default_factory=list[Entry])
    before: list[Prefix] = field(default_factory=list[Prefix])
    strangers: list[Reader] = field(default_factory=list[Reader])
    after: Prefix = field(default_factory=lambda: Prefix(ENV))


def target() -> Target:
    """A log with every kind of admitted entry, each with exactly the signatures that it needs."""
    log, adas, bobs = founded(), signer("ada's"), signer("bob's")
    log.say(PLAIN, "a", adas)
    log.say(JOINT, "b", adas, bobs)
    log.say(SCORED, "c", adas, ihsanppm=950_000, snrppm=850_000)
    log.put(
        log.sealed(subject_of(PLAIN), [event(n, packed(n=1, s="x", deep={"list": [1, [b"y"]]})) for n in "def"], adas)
    )
    log.key_event(introduced("cyd's", ADA), *roots(ADA, BOB))
    log.key_event(rotated("ada's", "ada's second"), adas, source="nerves.math")
    log.say(PLAIN, "g", signer("ada's second"), entity="two")
    fingerprint = log.prefix.keys.fingerprint
    assert fingerprint
    found, reader, stranger = Target(after=log.prefix), Prefix(ENV, KeyBook(fingerprint)), Reader(ENV, fingerprint)
    for entry in log.entries:
        found.entries.append(entry)
        found.before.append(copy.deepcopy(reader))
        found.strangers.append(copy.deepcopy(stranger))
        verdict = admit(reader, entry)
        assert verdict.refusal is None, verdict.refusal
        reader.fold(verdict)
        stranger.read(entry.index, entry.subject, entry.time_ns, entry.raw)
    return found


def check_admission(found: Target, at: int, raw: bytes, seen: Counter[str], *, honest: bool) -> None:
    """Judge other bytes in an entry's place; only if its keys signed them (`honest`) may they be admitted."""
    entry, prefix = msgspec.structs.replace(found.entries[at], raw=raw), found.before[at]
    same = raw == found.entries[at].raw
    verdict = admit(prefix, entry)
    seen[verdict.refusal.code if verdict.refusal else "admitted"] += 1
    assert honest or same == bool(verdict.admitted()), "admitted, but not what was signed"
    if verdict.refusal:
        assert verdict.refusal.code in CODES
        assert 0 < len(verdict.refusal.detail) < 5_000
        encode(verdict.refusal)
    assert same == bool(recall(found.after, entry).admitted()), "recalled, but not what was judged"
    offsets = [offset for offset, _ in verdict.admitted()]
    theirs = copy.deepcopy(found.strangers[at]).read(entry.index, entry.subject, entry.time_ns, raw)
    assert (verdict.refusal.code if verdict.refusal else None, offsets) == theirs, (
        f"the stand-alone verifier says {theirs}"
    )


def check_reading(raw: bytes) -> None:
    """Read any bytes as an envelope and as an event."""
    for reader in (read, read_event):
        refused_or(lambda reader=reader: reader(raw))


def check_message(cls: type[Message], raw: bytes) -> None:
    """Read any bytes as a message: what is accepted re-encodes to itself."""
    found = refused_or(lambda: decode(cls, raw))
    assert found is None or encode(found) == raw
    any_form = refused_or(lambda: decode_any(cls, raw))
    if any_form is not None:
        message, as_json = any_form
        assert decode(cls, encode(message)) == message
        assert as_json or message == found


def refused_or(call: Callable[[], Any]) -> Any:
    """What a call returns, or None when it is refused by name."""
    try:
        return call()
    except Refused as no:
        refusal = no.refusal
    assert refusal.code in CODES
    assert len(refusal.detail) < 5_000
    return None


class Finding(AssertionError):
    """Something that must hold did not; the sentence repeats it."""


def fuzz(seed: int, *, steps: float = inf, seconds: float = inf) -> Counter[str]:
    """Mutate so often or so long; return how often each verdict was given. Finding when something did not hold."""
    found, classes, seen = target(), declared(), Counter[str]()
    untouched = copy.deepcopy(found.before)
    others = [entry.raw for entry in found.entries]
    end, step = time.monotonic() + seconds, 0
    while step < steps and time.monotonic() < end:
        step += 1
        one_step(found, classes, others, seen, f"{seed}:{step}")
    if found.before != untouched:
        raise Finding(f"judging changed the prefix (seed {seed}, {step} steps)")
    return seen


def one_step(found: Target, classes: list[type[Message]], others: list[bytes], seen: Counter[str], name: str) -> None:
    """One round of every check, drawn from its name."""
    random = Random(name)
    at, cls = random.randrange(len(found.entries)), random.choice(classes)
    raw = mutated(found.entries[at].raw, random, others)
    signed = resigned(found.entries[at].raw, random)
    inner = mutated(read(found.entries[at].raw).events[0], random, others)
    message = specimen(cls, random)
    written = mutated(encode(message) if random.random() < 0.7 else encode_json(message), random, others)
    try:
        check_admission(found, at, raw, seen, honest=False)
        check_admission(found, at, signed, seen, honest=True)
        check_reading(inner)
        check_message(cls, written)
    except Exception as error:
        drawn = f"entry {at}: {raw.hex()}\nsigned: {signed.hex()}\n{cls.__name__}: {written.hex()}"
        sentence = (
            f"{type(error).__name__}: {error}\nrepeat: python -m tests.fuzz.fuzz_envelope --repeat {name}\n{drawn}"
        )
        raise Finding(sentence) from error


def repeat(name: str) -> None:
    """Do one step again by its name."""
    found = target()
    one_step(found, declared(), [entry.raw for entry in found.entries], Counter(), name)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz envelopes, events and messages.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="where to start (default: 0)")
    parser.add_argument("--repeat", metavar="NAME", help="do one failed step again")
    options = parser.parse_args()
    if options.repeat:
        repeat(options.repeat)
        return 0
    try:
        seen = fuzz(options.seed, seconds=options.seconds)
    except Finding as finding:
        sys.stderr.write(f"{finding}\n")
        return 1
    sys.stdout.write("".join(f"{code:9} {count}\n" for code, count in sorted(seen.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
