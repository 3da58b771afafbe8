"""`memory add`, `search`, `list`, `forget`, `verify` and `rebuild`: what is remembered, with where it stands."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import msgspec

from deploy.asking import asked
from deploy.attach import operator
from deploy.commands.task import finish
from deploy.passages import files_of, read_passages
from deploy.terminal import Terminal
from organs.cognition.quoting import NEAR_PPM, NO_WORDS
from organs.memory import PlainPassages, digest_of, recall
from organs.memory.retention import id_of
from shared.bus import Bus
from shared.config import Loaded
from shared.constant import constant
from shared.errors import Exit, Refusal, Refused
from shared.message import Reply, Request
from shared.subjects.memory import (
    BATCH_PASSAGES,
    FORGET_IDS,
    ORIGIN_CHARS,
    ForgetRequest,
    MemoryListed,
    MemoryListRequest,
    MemoryRebuildRequest,
    MemoryReply,
    MemoryRequest,
    MemoryStatus,
    MemoryStatusRequest,
    Passage,
    Recalled,
    RememberRequest,
)
from shared.subjects.system import Decided
from shared.vault import people_of
from shared.world import RealWorld, within

ASK_S = constant(60.0, "s", "BIZ-15")
REBUILD_S = constant(600.0, "s", "BIZ-15")
APPLIED_S = constant(30.0, "s", "BIZ-15")
APPLIED_LOOK_S = constant(0.05, "s", "BIZ-15")
LISTED_CHARS = constant(100, "characters", "BIZ-15")

R = TypeVar("R", bound=Reply)


def add(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Remember text files passage by passage, in the place of what memory held of them before."""

    async def main() -> Exit:
        texts = [(str(path)[-ORIGIN_CHARS:], path) for path in files_of(args.files)]
        cut = [(name, read_passages(path, name, args.kind)) for name, path in texts]
        async with operator(loaded, terminal.note) as bus:
            index, unchanged = -1, 0
            for name, passages in cut:
                if not args.person and await _is_held(bus, name, passages):
                    unchanged += 1
                    terminal.say(f"{'unchanged':>15}  {name}")
                    continue
                index = max(index, await _remember(bus, name, passages, args.person))
                terminal.say(f"{len(passages):>5} passages  {name}")
            status = await _applied(bus, index)
        count = sum(len(passages) for _, passages in cut)
        told = {"files": len(cut), "unchanged": unchanged, "passages": count, "index": index}
        left = f", {unchanged} of them unchanged" if unchanged else ""
        text = f"{count} passages of {len(cut)} files{left}; memory holds {status.passages}"
        terminal.give(told | {"remembered": status.passages}, text)
        return Exit.OK

    return finish(main())


def search(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the passages that are nearest in meaning to a text, and say which are too far from it for an answer."""
    text = " ".join(args.text)
    if not text.strip():
        raise Refused(NO_WORDS)

    async def main() -> Exit:
        asked = MemoryRequest(text, args.limit, tuple(args.kind), 0)
        async with operator(loaded, terminal.note) as bus:
            found = await _asked(bus, asked, MemoryReply)
        read = [(one, await _text(one, loaded) if args.open else one.text) for one in found.recalled]
        lines = [f"{_nearness(one)}  {_line(one)}\n{said or _sealed(one)}\n" for one, said in read]
        near = [one.similarity_ppm >= NEAR_PPM for one in found.recalled]
        shown = [
            msgspec.to_builtins(one) | {"text": said, "near": is_near}
            for (one, said), is_near in zip(read, near, strict=True)
        ]
        terminal.give(shown, "\n".join(lines) or "memory holds nothing")
        return Exit.OK

    return finish(main())


def list_passages(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every passage's id, kind and origin, of one source or of all."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            found = [one async for one in _all(bus, args.source)]
        lines = [f"{_line(one)}  {(' '.join(one.text.split()) or _sealed(one))[:LISTED_CHARS]}" for one in found]
        terminal.give(msgspec.to_builtins(found), "\n".join(lines) or "memory holds nothing")
        return Exit.OK

    return finish(main())


def forget(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Forget passages by their ids, or all of one source; the log goes on saying that they were remembered."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            ids = list(args.ids) + ([one.id async for one in _all(bus, args.source)] if args.source else [])
            index = -1
            for at in range(0, len(ids), FORGET_IDS):
                decided = await _asked(bus, ForgetRequest(tuple(ids[at : at + FORGET_IDS])), Decided)
                index = decided.index
            status = await _applied(bus, index)
        told = {"forgotten": len(ids), "index": index, "remembered": status.passages}
        terminal.give(told, f"{len(ids)} passages forgotten; memory holds {status.passages}")
        return Exit.OK

    return finish(main())


def verify(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Read memory from the log again and compare its digest with that of what is kept; 11 unless they are equal."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            live = await bus.request(MemoryStatusRequest(whole=True), ASK_S)
            if isinstance(live, Refusal) and live.code == "L006":
                terminal.give({"ok": False, "refusal": msgspec.to_builtins(live)}, f"✗ {live}")
                return Exit.TAMPERED
            live = _reply(live, MemoryStatus)
            fresh = PlainPassages()
            await recall(fresh, bus, people_of(loaded.settings, RealWorld(loaded.settings.env)), stop=live.next_index)
        rebuilt, count = await digest_of(fresh), await fresh.count()
        equal = rebuilt == live.digest
        told = {
            "ok": equal,
            "next_index": live.next_index,
            "passages": live.passages,
            "digest": live.digest,
            "rebuilt": {"passages": count, "digest": rebuilt},
        }
        kept = f"memory holds {live.passages} passages with digest {live.digest[:16]}"
        log = "which is what the log says" if equal else f"the log says {count} with {rebuilt[:16]}"
        remedy = "" if equal else "; `nimmerverse memory rebuild` reads it from the log again"
        terminal.give(told, f"{'✓' if equal else '✗'} {kept}, {log} at index {live.next_index}{remedy}")
        return Exit.OK if equal else Exit.TAMPERED

    return finish(main())


def rebuild(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Have memory read from the log again, in the place of whatever it keeps."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            status = _reply(await bus.request(MemoryRebuildRequest(), REBUILD_S), MemoryStatus)
        told = f"rebuilt from {status.next_index} entries: {status.passages} passages"
        terminal.give(msgspec.to_builtins(status), f"{told} with digest {status.digest[:16]}")
        return Exit.OK

    return finish(main())


async def _is_held(bus: Bus, name: str, passages: Sequence[Passage]) -> bool:
    """Say whether memory holds exactly these passages of a source: to remember them again would say nothing new."""
    return {id_of(passage) for passage in passages} == {one.id async for one in _all(bus, name)}


async def _remember(bus: Bus, name: str, passages: Sequence[Passage], person: str) -> int:
    """Return the index of the last decision to remember these; the first batch takes the place of what was before."""
    index = -1
    for at in range(0, len(passages), BATCH_PASSAGES):
        batch = tuple(passages[at : at + BATCH_PASSAGES])
        decided = await _asked(bus, RememberRequest(name, batch, person, renews=at == 0), Decided)
        index = decided.index
    return index


async def _applied(bus: Bus, index: int) -> MemoryStatus:
    """Return how memory stands once it has applied the entry at an index; Refused B006 where that takes too long."""

    async def reached() -> MemoryStatus:
        while (status := await _asked(bus, MemoryStatusRequest(whole=False), MemoryStatus)).next_index <= index:
            await bus.world.sleep(APPLIED_LOOK_S)
        return status

    try:
        return await within(APPLIED_S, reached())
    except TimeoutError:
        raise Refused(Refusal("B006", f"it is decided at {index}, but memory has not applied it yet")) from None


async def _all(bus: Bus, source: str) -> AsyncGenerator[Recalled]:
    after = ""
    while page := (await _asked(bus, MemoryListRequest(source, after), MemoryListed)).passages:
        for one in page:
            yield one
        after = page[-1].id


async def _asked(bus: Bus, request: Request, reply: type[R]) -> R:
    """Return the reply to a request; a refusal is raised as one."""
    return await asked(bus, request, reply, ASK_S)


def _reply(answer: Reply | Refusal, reply: type[R]) -> R:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, reply)
    return answer


async def _text(one: Recalled, loaded: Loaded) -> str:
    """Return the words of a passage, those about a person with the key of this home's vault."""
    if one.sealed is None:
        return one.text
    return await people_of(loaded.settings, RealWorld(loaded.settings.env)).open(one.sealed)


def _nearness(one: Recalled) -> str:
    near = f"{one.similarity_ppm / 1e6:.2f}"
    return near if one.similarity_ppm >= NEAR_PPM else f"{near} (an answer takes {NEAR_PPM / 1e6:.2f})"


def _line(one: Recalled) -> str:
    origin = one.origin
    heading = f" # {origin.heading}" if origin.heading else ""
    times = f"  ×{one.heard}" if one.heard > 1 else ""
    return f"{one.id}  {one.kind}{times}  {origin.kind} {origin.name}{heading} [{origin.first}, {origin.end})"


def _sealed(one: Recalled) -> str:
    return "" if one.sealed is None else f"(sealed for {one.sealed.person.hex()[:4]}…; --open shows it)"
