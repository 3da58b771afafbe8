"""The page `subjects.md`: every subject with its class, who says it, who hears it, and what it carries."""

from __future__ import annotations

import inspect
from itertools import groupby
from typing import Any

import msgspec

from deploy.references.catalogue import ENV, PART, Subject, catalogue, message_classes
from deploy.references.fields import Field, fields, structs
from deploy.references.page import page, table
from deploy.references.samples import sample
from organs.steward.ports import (
    TRACE_AGE_S,
    TRANSITION_AGE_S,
    dead_config,
    kept_config,
    log_config,
    outcomes_config,
)
from shared.bus.wire import Kept, stream_name
from shared.codec import encode_json
from shared.message import MAX_MESSAGE_BYTES, Decision, Message, Request
from shared.subjects.nervous import MathRequest, MathResponse

TRY_ENV = "dev"


def render() -> str:
    """Return `subjects.md`."""
    subjects = catalogue()
    blocks = [_head(), "## Streams", _streams(), "## Overview", _overview(subjects)]
    for domain, group in groupby(subjects, key=lambda subject: subject.cls.tokens[0]):
        blocks.append(f"## The {domain} domain")
        blocks += [_section(subject) for subject in group]
    blocks += ["## Structures", "Structs that stand inside messages."]
    blocks += [_structure(cls) for cls in structs(message_classes())]
    return page("Subjects", *blocks)


def by_hand(cls: type[Message], message: Message | None = None, env: str = TRY_ENV) -> str:
    """Return the `nats` command that publishes a message of a class, or asks with it."""
    written = message or sample(cls)
    verb = "request" if issubclass(cls, Request) else "pub"
    return f"nats {verb} {written.subject(env)} {_quoted(encode_json(written).decode())}"


def kind_of(cls: type[Message]) -> str:
    """Return the kind of a class in words, with what it demands."""
    words = [cls.kind]
    if cls.confidential:
        words.append(
            "confidential: it carries personal data in the open, so nothing keeps it, not even as a dead letter"
        )
    if cls.by_parts:
        words.append("made by parts alone: the operator may not")
    if cls.max_bytes > MAX_MESSAGE_BYTES:
        words.append(f"up to {cls.max_bytes} bytes")
    if cls.reply is not None:
        words.append(f"answered by {_link(cls.reply)}")
    if issubclass(cls, Decision):
        if cls.requires_scores:
            words.append("needs the scores ihsan and snr")
        if cls.owners > 1:
            words.append(f"signed by {cls.owners} distinct owners")
    return ", ".join(words)


def _head() -> str:
    asked = MathRequest("2 + 3 * 4")
    answer = encode_json(MathResponse(asked.text, 14.0, "14")).decode()
    return f"""\
A message class is its subject. `{ENV}` is the environment, for instance `{TRY_ENV}`; a token in braces is a field of
the message, in which every byte but `A–Z a–z 0–9 _ -` is written `=XX`. A *signal* is lost when nobody listens, unless
a stream keeps it. A *request* is answered with its reply or with a refusal (`docs/errors.md`). A *decision* is signed
and appended to the log, and true only when it is acknowledged and admitted; it is never JSON, never written by hand.

On the wire a message is MessagePack. Requests and signals may also be JSON, so that the `nats` tool works: run
`nimmerverse connect` for its address, credentials and context, then

```
{by_hand(MathRequest, asked)}
```

answers `{answer}`. Bytes are base64 in JSON. Unknown fields are refused. You speak as `operator`, who may
publish whatever some part hears, but the requests that parts alone make, and hears everything:
`nats sub '{TRY_ENV}.>'`, or decoded and verified `nimmerverse watch`. *Personal data* is always ciphertext, whoever
reads it: the vault alone holds what opens it, and `nimmerverse audit erase` destroys that."""


def _streams() -> str:
    ages: tuple[tuple[Kept, int], ...] = (("traces", TRACE_AGE_S), ("transitions", TRANSITION_AGE_S))
    kept = [kept_config(stream_name(kind, ENV, PART), [], age_s) for kind, age_s in ages]
    rows = [_stream_row(config) for config in (log_config(ENV), outcomes_config(ENV), dead_config(ENV), *kept)]
    return table(("stream", "keeps", "for how long", "written"), rows)


def _stream_row(config: dict[str, Any]) -> tuple[str, str, str, str]:
    copied = [f"`{source['filter_subject']}`, copied from `{source['name']}`" for source in config.get("sources", [])]
    subjects = (
        ", ".join([*(f"`{subject}`" for subject in config["subjects"]), *copied]) or "the part's own kept signals"
    )
    days = config.get("max_age", 0) // (24 * 3600 * 10**9)
    age = f"{days} day{'s' if days > 1 else ''}" if days else "for ever: nothing may delete"
    most = f", at most {config['max_msgs']:,} messages" if "max_msgs" in config else ""
    best_effort = config.get("persist_mode") == "async"
    return f"`{config['name']}`", subjects, age + most, "best effort" if best_effort else "before it is acknowledged"


def _overview(subjects: list[Subject]) -> str:
    rows = [
        (
            f"`{s.address}`",
            _link(s.cls),
            s.cls.kind,
            _names(s.streams, code=True),
            _names(s.publishers),
            _names(s.listeners),
        )
        for s in subjects
    ]
    return table(("subject", "class", "kind", "stream", "published by", "heard by"), rows)


def _section(subject: Subject) -> str:
    cls = subject.cls
    facts = [
        f"- kind: {kind_of(cls)}; lives {cls.ttl_ms:,} ms",
        f"- stream: {_names(subject.streams, code=True)}",
        f"- published by: {_names(subject.publishers)}",
        f"- heard by: {_names(subject.listeners)}",
    ]
    blocks = [f"### {cls.__name__}", f"`{subject.address}`", subject.doc, "\n".join(facts), field_table(fields(cls))]
    if issubclass(cls, Request) and not cls.by_parts:
        blocks.append(f"```\n{by_hand(cls)}\n```")
    return "\n\n".join(blocks)


def _structure(cls: type[msgspec.Struct]) -> str:
    return "\n\n".join((f"### {cls.__name__}", inspect.cleandoc(cls.__doc__ or ""), field_table(fields(cls))))


def field_table(rows: list[Field]) -> str:
    """Return a struct's fields as a table."""
    cells = [(f"`{f.name}`", f.type, "required" if f.default is None else f"`{f.default}`", f.comment) for f in rows]
    return table(("field", "type", "default", "meaning"), cells)


def _names(names: tuple[str, ...], *, code: bool = False) -> str:
    return ", ".join(f"`{name}`" if code else name for name in names) or "–"


def _link(cls: type[Message]) -> str:
    return f"[{cls.__name__}](#{cls.__name__.lower()})"


def _quoted(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
