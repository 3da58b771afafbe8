"""The document `docs/asyncapi.json`: the same declarations as an AsyncAPI 3.0 document, for other people's tools."""

from __future__ import annotations

import inspect
import json
from typing import Any

import msgspec

from deploy.references.catalogue import Subject, catalogue, hears, parts, says
from deploy.references.samples import sample
from shared.bus.bus import ERROR_CODE, ERROR_TEXT
from shared.errors import CODES, Refusal
from shared.message import Decision, Message, Reply, Request, Signal
from shared.part import Declaration
from shared.subjects.system import Tick
from shared.version import VERSION

ASYNCAPI = "3.0.0"
CONTENT_TYPE = "application/vnd.msgpack"
REPLIES = "inbox"
NATS_BINDING = "0.1.0"

Json = dict[str, Any]

_ABOUT = """\
Every message class of the product. A message is canonical MessagePack; requests and signals are also read as JSON
(first byte `{`) and then answered in JSON, bytes as base64. A decision travels as one event of a signed envelope."""
_HEADERS = {
    "ce-id": "Message id: 32 hexadecimal digits.",
    "ce-source": "The part that wrote it.",
    "ce-specversion": "CloudEvents version.",
    "ce-type": "Message class, as its subject without the environment.",
    "ce-time": "RFC 3339 with milliseconds, in UTC.",
    "ce-correlation": "What runs through the whole conversation.",
    "ce-causation": "Id of the message that caused this one.",
}


def render() -> str:
    """Return `docs/asyncapi.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Json:
    """Return the AsyncAPI document."""
    subjects = catalogue()
    classes = [subject.cls for subject in subjects]
    return {
        "asyncapi": ASYNCAPI,
        "info": {"title": "Nimmerverse", "version": VERSION, "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "defaultContentType": CONTENT_TYPE,
        "servers": {"local": _server()},
        "channels": {s.cls.__name__: _channel(s) for s in subjects} | {REPLIES: _replies(classes)},
        "operations": {key: operation for part in parts() for key, operation in _operations(part, classes)},
        "components": {
            "messages": {cls.__name__: _message(cls) for cls in classes} | {"Refusal": _refusal()},
            "schemas": schemas([*classes, Refusal]),
            "messageTraits": {"cloudevents": {"headers": _text_object(_HEADERS)}},
        },
    }


def schemas(classes: list[type[Any]], place: str = "#/components/schemas/{name}") -> dict[str, Json]:
    """Return the JSON schema of each class and each struct inside one, by name; references point to `place`."""
    _, found = msgspec.json.schema_components(classes, ref_template=place)
    return {name: _marked(_unindented(found[name])) for name in sorted(found)}


def _marked(described: Json) -> Json:
    """Return a schema that says of personal data that it is."""
    return described | ({"x-personal-data": True} if str(described.get("title", "")).startswith("Personal[") else {})


def _unindented(described: Json) -> Json:
    """Return a schema with its docstring unindented: Python 3.13 keeps it so, older ones as it stands in the file."""
    return described | {"description": inspect.cleandoc(described.get("description", ""))}


def _server() -> Json:
    port = {"default": "4222", "description": "Chosen freely at start; `nimmerverse connect` prints it."}
    return {
        "host": "127.0.0.1:{port}",
        "protocol": "nats",
        "description": "The embedded nats-server.",
        "variables": {"port": port},
    }


def _channel(subject: Subject) -> Json:
    cls = subject.cls
    tokens = {
        t[1:-1]: {"location": f"$message.payload#/{t[1:-1]}", "description": "A field of the message, as one token."}
        for t in cls.tokens
        if t[0] == "{"
    }
    environment = {"env": {"default": "dev", "examples": ["dev", "staging", "prod"], "description": "Environment."}}
    kept = f"Kept in {', '.join(subject.streams)}." if subject.streams else "Kept nowhere."
    return {
        "address": subject.address,
        "description": f"{cls.kind.capitalize()}. {kept}",
        "messages": {cls.__name__: _ref("components", "messages", cls.__name__)},
        "parameters": environment | tokens,
    }


def _replies(classes: list[type[Message]]) -> Json:
    names = [cls.__name__ for cls in classes if issubclass(cls, Reply)] + ["Refusal"]
    return {
        "address": None,
        "description": "The private inbox that a request names as its reply subject; it begins with `_INBOX`.",
        "messages": {name: _ref("components", "messages", name) for name in names},
    }


def _message(cls: type[Message]) -> Json:
    doc = inspect.cleandoc(cls.__doc__ or "")
    described: Json = {
        "name": cls.__name__,
        "title": cls.__name__,
        "summary": doc.split("\n\n")[0],
        "contentType": CONTENT_TYPE,
        "tags": [{"name": cls.kind}],
        "payload": _ref("components", "schemas", cls.__name__),
    }
    if not issubclass(cls, Decision):
        described["traits"] = [_ref("components", "messageTraits", "cloudevents")]
    if issubclass(cls, Request | Signal):
        described["examples"] = [{"name": "JSON", "payload": json.loads(msgspec.json.encode(sample(cls)))}]
    return described


def _refusal() -> Json:
    headers = {ERROR_CODE: "The refusal's code.", ERROR_TEXT: "The code's name."}
    return {
        "name": "Refusal",
        "title": "Refusal",
        "summary": inspect.cleandoc(Refusal.__doc__ or ""),
        "description": "Codes: " + ", ".join(f"{code.code} {code.name}" for code in CODES.values()),
        "contentType": CONTENT_TYPE,
        "headers": _text_object(headers),
        "payload": _ref("components", "schemas", "Refusal"),
    }


def _operations(part: Declaration, classes: list[type[Message]]) -> list[tuple[str, Json]]:
    sent, received = says(part), hears(part) - {Tick}
    found = [(f"{part.name}.send.{cls.__name__}", _send(part, cls)) for cls in classes if cls in sent]
    return found + [(f"{part.name}.receive.{cls.__name__}", _receive(part, cls)) for cls in classes if cls in received]


def _send(part: Declaration, cls: type[Message]) -> Json:
    return _operation("send", part, cls) | (_reply(cls) if cls.reply else {})


def _receive(part: Declaration, cls: type[Message]) -> Json:
    shared = part.kind != "nerve" and not issubclass(cls, Decision)
    queue = {"bindings": {"nats": {"queue": part.name, "bindingVersion": NATS_BINDING}}} if shared else {}
    return _operation("receive", part, cls) | queue | (_reply(cls) if cls.reply else {})


def _operation(action: str, part: Declaration, cls: type[Message]) -> Json:
    name = cls.__name__
    return {
        "action": action,
        "title": f"{part.kind} {part.name} {action}s {name}",
        "channel": _ref("channels", name),
        "messages": [_ref("channels", name, "messages", name)],
        "tags": [{"name": part.name}],
    }


def _reply(cls: type[Message]) -> Json:
    assert cls.reply is not None
    names = (cls.reply.__name__, "Refusal")
    return {
        "reply": {
            "channel": _ref("channels", REPLIES),
            "messages": [_ref("channels", REPLIES, "messages", name) for name in names],
        }
    }


def _text_object(described: dict[str, str]) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in described.items()},
    }


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}
