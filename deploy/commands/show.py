"""How messages and entries of the log are shown: a line for people, a document for programs."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.text import Text

from deploy.terminal import Terminal, subject_text
from shared.codec import decode_any
from shared.constant import constant
from shared.envelope import Verdict
from shared.errors import Refused
from shared.message import lookup
from shared.personal import redacted

READABLE_CHARS = constant(1_000, "characters", "X-10")


def print_verdict(verdict: Verdict, terminal: Terminal) -> None:
    """Print every event of a judged entry, admitted or void."""
    entry, sealed = verdict.entry, verdict.sealed
    source = f"{sealed.attributes.source} {sealed.attributes.version}" if sealed else "?"
    for offset, event in verdict.admitted():
        body = msgspec.msgpack.decode(event.data)
        shown = {
            "index": entry.index,
            "offset": offset,
            "subject": entry.subject,
            "id": event.id.hex(),
            "source": source,
            "verified": True,
            "data": body,
        }
        terminal.give(shown, line(entry.subject, body, f"({entry.index}, {offset}) {source} ✓"))
    for offset, no in verdict.void():
        terminal.give(
            {
                "index": entry.index,
                "offset": offset,
                "subject": entry.subject,
                "verified": False,
                "refusal": no.code,
                "detail": no.detail,
            },
            line(entry.subject, str(no), f"({entry.index}, {offset}) void ✗"),
        )


def line(subject: str, body: object, about: str) -> Text:
    """Return one line for people: the subject in its colours, where it stands, what it says."""
    plain = redacted(body)
    shown = body if isinstance(body, str) else msgspec.json.encode(plain, enc_hook=str, order="deterministic").decode()
    if len(shown) > READABLE_CHARS:
        shown = f"{shown[:READABLE_CHARS]}… and {len(shown) - READABLE_CHARS:,} characters more; --json shows all"
    return subject_text(subject).append(f"  {about}  ", "bold").append(shown, "default")


def decoded(subject: str, raw: bytes) -> tuple[Any, str]:
    """Return a message as plain data, through its class where this side knows it, and what is wrong with it."""
    cls = lookup(subject)
    try:
        if cls is not None:
            return msgspec.to_builtins(decode_any(cls, raw)[0], builtin_types=(bytes,)), ""
        return (msgspec.json.decode(raw) if raw[:1] == b"{" else msgspec.msgpack.decode(raw)), ""
    except (Refused, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return raw[:200].hex(), str(problem)


def full_subject(subject: str, env: str) -> str:
    """Return a subject with its environment: `nervous.cells.math.request` and `dev.nervous…` both work."""
    first = subject.partition(".")[0]
    known = first == env or first in (">", "*")
    return (f"{env}.>" if subject == ">" else subject) if known else f"{env}.{subject}"
