"""`ask`, `pub`, `request`, `dead` and `replay`: speaking to an organism, and reading what it said."""

from __future__ import annotations

import difflib
import re
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from deploy.attach import operator
from deploy.commands.show import decoded, full_subject, line, print_verdict
from deploy.commands.task import finish
from deploy.terminal import Terminal
from shared.bus import Bus
from shared.bus.bus import ERROR_CODE
from shared.bus.wire import Kept, stream_name
from shared.codec import decode, decode_any, decode_loosely
from shared.config import Loaded
from shared.constant import constant
from shared.envelope import covers
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import ConfigFault, Exit, NoStream, NotPermitted, Refusal, Refused
from shared.message import AnyWaveFields, Decision, Message, Reply, Wave, is_wave, lookup, registered
from shared.part.declare import NAME
from shared.subjects.cognition import CognitiveRequest, CognitiveResponse
from shared.subjects.nervous import MathRequest, MathResponse
from shared.world import RealWorld, now_ms

ASK_ULF = constant(20_000_000, "micro-lifeforce", "NIM-07")
MAX_TIMEOUT_MS = constant(600_000, "ms", "X-12")


def ask(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Ask the math cell what is arithmetic and cognition everything else, and print the answer."""
    text = " ".join(args.text)
    request = MathRequest(text) if is_arithmetic(text) else _cognitive(text, args)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            answer = await bus.request(request, args.timeout)
        if isinstance(answer, Refusal):
            terminal.give(msgspec.to_builtins(answer), f"refused: {answer}")
            return Exit.REFUSED
        terminal.give(msgspec.to_builtins(answer), _in_words(answer))
        return Exit.OK

    return finish(main())


def is_arithmetic(text: str) -> bool:
    """Say whether a text has digits and no letters, but for the e of 1e3."""
    plain = re.sub(r"(?i)(?<=\d)e(?=[+-]?\d)", "", text)
    return any(c.isdigit() for c in plain) and not any(c.isalpha() for c in plain)


def _cognitive(text: str, args: Namespace) -> CognitiveRequest:
    try:
        schema = args.schema.read_text(encoding="utf-8") if args.schema else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"{args.schema} cannot be read ({error}); name a file with a JSON schema") from None
    patience_ms = min(max(round(1_000 * args.timeout), 1), MAX_TIMEOUT_MS)
    about = ("", "question", "person" if args.personal else "operator", 1_000_000)
    return CognitiveRequest(*about, text, (), ASK_ULF, patience_ms, args.how, schema, args.personal)


def _in_words(answer: Reply) -> str:
    """Return an answer for people: a value, or words and what they rest on."""
    if isinstance(answer, MathResponse):
        return answer.exact + ("" if answer.exact == f"{answer.value:g}" else f"  ≈ {answer.value}")
    assert isinstance(answer, CognitiveResponse)
    quoted = answer.decision in ("quoted", "nothing_held")
    shown = "" if quoted else "".join(f"\n[{n}] {quote.origin.name}" for n, quote in enumerate(answer.quotes, 1))
    return f"{answer.answer}{shown}"


def pub(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Publish one JSON message; it is checked here before it leaves, as far as this side knows what it has to be."""

    async def main() -> Exit:
        subject = full_subject(args.subject, loaded.settings.env)
        if _check(subject, args.data, loaded) is None:
            terminal.note(
                f"this command knows no class for {subject} (a part's own file may) and sends it unchecked; "
                "`nimmerverse dead` shows what no part could read"
            )
        async with operator(loaded, terminal.note) as bus:
            with _unheard(subject):
                await bus.wire.publish(subject, args.data.encode())
                await bus.wire.confirm(subject)
        terminal.give(
            {"subject": subject, "bytes": len(args.data.encode())},
            f"published {len(args.data.encode())} bytes on {subject}",
        )
        return Exit.OK

    return finish(main())


def request(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Send one JSON request and print the JSON answer; exit code 7 for a refusal."""

    async def main() -> Exit:
        subject = full_subject(args.subject, loaded.settings.env)
        _check(subject, args.data, loaded)
        async with operator(loaded, terminal.note) as bus:
            with _unheard(subject):
                answer = await bus.wire.request(subject, args.data.encode(), None, args.timeout)
        try:
            terminal.give(msgspec.json.decode(answer.data), answer.data.decode())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused(Refusal("B002", f"the answer on {subject} is not JSON: {answer.data[:100]!r}")) from None
        return Exit.REFUSED if ERROR_CODE in answer.headers else Exit.OK

    return finish(main())


def replay(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Read the log from its genesis, admit every entry again, and print what matches; 1 if anything is void."""

    async def main() -> Exit:
        pattern = full_subject(args.pattern, loaded.settings.env)
        async with operator(loaded, terminal.note) as bus:
            if args.traces:
                return await _traces(bus, pattern, args.traces, terminal)
            entries, void = 0, 0
            async for verdict in bus.replay(args.trust):
                entries += 1
                void += len(verdict.void())
                if covers(pattern, verdict.entry.subject):
                    print_verdict(verdict, terminal)
        trust = f"genesis {args.trust}" if args.trust else "an unnamed genesis (give --trust FINGERPRINT)"
        terminal.note(
            f"{entries} entries replayed from {trust}: signatures, chains and keys hold for "
            + (f"all but {void} events" if void else "every event")
        )
        if args.trust and args.trust != bus.prefix.keys.fingerprint:
            terminal.note(f"the genesis is {bus.prefix.keys.fingerprint}, you trust {args.trust}")
            return Exit.WRONG_SIGNER
        return Exit.FAILED if void else Exit.OK

    return finish(main())


def dead(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """List dead letters, and publish one again where it first arrived."""
    from shared.subjects.system import DeadLetter

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            entries = await bus.wire.read(
                stream_name("dead", loaded.settings.env), args.index or 0, "", 1 if args.index is not None else 500
            )
            for entry in entries:
                letter = decode(DeadLetter, entry.raw)
                if args.index is not None:
                    await bus.redrive(letter)
                shown = {
                    "index": entry.index,
                    "original": letter.original,
                    "code": letter.code,
                    "detail": letter.detail,
                    "bytes": len(letter.data),
                }
                verb = "redriven" if args.index is not None else "dead"
                terminal.give(shown, f"{entry.index:>6} {verb} {letter.original} {letter.code} {letter.detail}")
        if args.index is not None and not entries:
            raise Refused(Refusal("B001", f"there is no dead letter {args.index}; list them with `nimmerverse dead`"))
        return Exit.OK

    return finish(main())


async def _traces(bus: Bus, pattern: str, part: str, terminal: Terminal) -> Exit:
    """Print the kept signals of one part, oldest first."""
    kinds: tuple[Kept, ...] = ("traces", "transitions")
    streams = [each for kind in kinds for each in await kept(bus, kind, part)] if NAME.fullmatch(part) else []
    if not streams:
        raise Refused(
            Refusal("B001", f"{bus.env} keeps no traces of {part!r}; a part that traces and ran here has some")
        )
    for stream in streams:
        start = 0
        while entries := await bus.wire.read(stream, start):
            for entry in entries:
                if covers(pattern, entry.subject):
                    body, _ = decoded(entry.subject, entry.raw)
                    shown = {"index": entry.index, "subject": entry.subject, "data": body}
                    terminal.give(shown, line(entry.subject, body, f"#{entry.index}"))
            start = entries[-1].index + 1
    return Exit.OK


async def kept(bus: Bus, kind: Kept, part: str) -> list[str]:
    """Return the streams that keep a part's signals: none is ever changed, so later subjects have one more."""
    found: list[str] = []
    while True:
        stream = stream_name(kind, bus.env, part) + (f"_{len(found) + 1}" if found else "")
        try:
            await bus.wire.last(stream, ">")
        except NoStream:
            return found
        found.append(stream)


@contextmanager
def _unheard(subject: str) -> Generator[None]:
    """Say with a server's refusal what it comes from: the operator may speak where a running part hears."""
    try:
        yield
    except NotPermitted as no:
        env, _, wanted = subject.partition(".")
        spoken = [template for template, cls in registered().items() if cls.kind == "request"]
        near = difflib.get_close_matches(wanted, spoken, n=1, cutoff=0.8)
        hint = f"did you mean {near[0]}?" if near else "`nimmerverse subjects` lists what parts of ours hear"
        raise NotPermitted(
            f"no part that runs in {env} hears people on {subject} yet, so {no}: start such a part first; {hint}"
        ) from None


def _check(subject: str, data: str, loaded: Loaded) -> type[Message] | None:
    """Return the class of what is sent, if one is declared; refuse early what the receiving part would refuse.

    Here every message is a JSON object, and a wave of any class has what all waves have.
    """
    cls: type[Message] | None = lookup(subject)
    if cls is not None and issubclass(cls, Decision):
        raise Refused(
            Refusal(
                "B005", f"{subject} is a decision; decisions are made by parts, signed, and never published by hand"
            )
        )
    try:
        msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(Refusal("B002", f"write the message as a JSON object ({error})")) from None
    if not data.startswith("{"):
        raise Refused(Refusal("B002", "write the JSON object from its first brace on; nothing stands before it"))
    if cls is not None:
        message, _ = decode_any(cls, data.encode())
        if isinstance(message, Wave):
            _check_stamp(getattr(message, "taken_ms", 0), loaded)
    elif is_wave(subject):
        decode_loosely(AnyWaveFields, data.encode())
    return cls


def _check_stamp(taken_ms: int, loaded: Loaded) -> None:
    """Refuse a reading that claims to be of later."""
    early_ms = taken_ms - now_ms(RealWorld(loaded.settings.env))
    if early_ms > CLOCK_SKEW_MS:
        detail = f"taken_ms lies {early_ms} ms in the future, at most {CLOCK_SKEW_MS} ms of skew are allowed"
        raise Refused(Refusal("R001", detail))
