"""Throws bytes that are no message at a part on a simulated server, and looks whether it minds."""

from __future__ import annotations

from shared.bus import Bus
from shared.bus.bus import ERROR_CODE
from shared.bus.sim import Faults, SimDurable, SimServer, SimStream
from shared.bus.wire import stream_name
from shared.codec import encode
from shared.errors import CODES, Fault, Refused
from shared.keys import LocalSigner
from shared.message import Message, Request, Signal
from shared.part.declare import Part
from shared.part.runner import Runner
from shared.part.samples import Sampler
from shared.subjects.system import Tick
from shared.world import SimWorld

QUIET_S = 10**9
SETTLE_S = 1.0


async def garbage(part: Part, world: SimWorld) -> list[str]:
    """Return what went wrong while the part was fed garbage: no named refusal, a broken part, or a deaf one."""
    server = SimServer(world.fork("server"), Faults(delay_s=0.0))
    log = stream_name("log", world.env)
    server.streams[log] = SimStream((f"{world.env}.*.*.event.>",))
    server.durables[log, part.name] = SimDurable(log, (f"{world.env}.>",))
    bus = Bus(world.fork(part.name), server.wire(part.name), part.name, part.version, [LocalSigner(world.entropy(32))])
    runner = Runner(part, bus, beat_s=QUIET_S, handshake=False)
    stranger = Bus(world.fork("stranger"), server.wire("stranger"), "stranger", "1.0.0", [])
    await runner.start()
    found: list[str] = []
    for cls in runner.declared.hears:
        if issubclass(cls, Signal | Request) and cls is not Tick:
            found += await _thrown_at(runner, stranger, cls, Sampler(world.fork("samples")))
    try:
        runner.raise_if_broken()
    except Exception as error:  # noqa: BLE001 - whatever broke it
        found.append(f"garbage broke it: {type(error).__name__}: {error}")
    await runner.stop()
    return found


async def _thrown_at(runner: Runner, stranger: Bus, cls: type[Message], sampler: Sampler) -> list[str]:
    good = sampler.message(cls, edge=False)
    if good is None:
        return []
    subject, found = good.subject(stranger.env), list[str]()
    for name, data in _kinds(encode(good), cls.max_bytes):
        before = runner.work.refused
        try:
            if issubclass(cls, Request):
                answer = await stranger.wire.request(subject, data, None, SETTLE_S)
                if answer.headers.get(ERROR_CODE) not in CODES:
                    found.append(f"{name} on {subject} was not refused")
            else:
                await stranger.wire.publish(subject, data)
                await stranger.world.sleep(SETTLE_S)
        except (Refused, Fault) as no:
            found.append(f"{name} on {subject}: {no}")
        if runner.work.refused != before + 1:
            found.append(f"{name} on {subject} reached the part")
    handled = runner.work.handled
    await stranger.wire.publish(subject, encode(good))
    await stranger.world.sleep(SETTLE_S)
    return found if runner.work.handled > handled else [*found, f"after garbage nothing is heard on {subject}"]


def _kinds(good: bytes, most: int) -> list[tuple[str, bytes]]:
    """Return garbage by name: what is wrong with it, and its bytes."""
    return [
        ("nothing", b""),
        ("no MessagePack", b"\xc1\xc1"),
        ("a message cut short", good[:-1]),
        ("a message with a byte more", good + b"\0"),
        ("a list", b"\x93\x01\x02\x03"),
        ("another shape", b"\x81\xa7nothing\x01"),
        ("a long-winded map", b"\xdf\x00\x00\x00" + bytes([good[0] & 0x0F]) + good[1:]),
        ("JSON of another shape", b'{"nothing": 1}'),
        ("half of a JSON text", b'{"'),
        ("too much of it", bytes(most + 1)),
    ]
