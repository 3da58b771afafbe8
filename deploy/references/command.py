"""The command `nimmerverse subjects`: the table of subjects, one subject's schema, and the generated files."""

from __future__ import annotations

import difflib
import json
from argparse import Namespace
from typing import Any

from rich.text import Text

from deploy.references.asyncapi import schemas
from deploy.references.catalogue import Subject, catalogue
from deploy.references.files import check, write
from deploy.references.subjects import TRY_ENV, by_hand
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import Exit
from shared.message import Decision, lookup

UNCHANGED = "every generated file says what the code says"


def run(args: Namespace, loaded: Loaded | None = None, terminal: Terminal | None = None) -> Exit:
    """Do what `args` asks (check, write, json, schema) and return the exit code. Raises ConfigFault and StorageFault.

    `schema` is a subject, with or without its environment, or a class name.
    """
    terminal = terminal or Terminal(None, as_json=args.json)
    if args.schema:
        return _schema(args.schema, loaded.settings.env if loaded else TRY_ENV, terminal)
    if args.write:
        return _write(terminal)
    return _check(terminal) if args.check else _list(terminal)


def _list(terminal: Terminal) -> Exit:
    subjects = catalogue()
    terminal.give([_described(subject) for subject in subjects], Text("\n".join(_lines(subjects))))
    return Exit.OK


def _lines(subjects: list[Subject]) -> list[str]:
    rows = [("SUBJECT", "KIND", "CLASS", "PUBLISHED BY", "HEARD BY")]
    rows += [(s.address, s.cls.kind, s.cls.__name__, ", ".join(s.publishers), ", ".join(s.listeners)) for s in subjects]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _described(subject: Subject) -> dict[str, Any]:
    cls = subject.cls
    return {
        "subject": subject.address,
        "class": cls.__name__,
        "kind": cls.kind,
        "doc": subject.doc,
        "streams": list(subject.streams),
        "published_by": list(subject.publishers),
        "heard_by": list(subject.listeners),
        "reply": cls.reply.__name__ if cls.reply else None,
        "requires_scores": cls.requires_scores,
        "owners": cls.owners,
        "ttl_ms": cls.ttl_ms,
    }


def _schema(asked: str, env: str, terminal: Terminal) -> Exit:
    """Print the JSON schema of one subject, and beside it how to write the message by hand."""
    subjects = catalogue()
    found = _find(asked, subjects)
    if found is None:
        known = [name for s in subjects for name in (s.cls.template, s.cls.__name__)]
        near = difflib.get_close_matches(asked, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "`nimmerverse subjects` lists them."
        error = f"no message class is declared for {asked!r}: {hint}"
        terminal.note(error)
        if terminal.as_json:
            terminal.give({"ok": False, "error": error, "exit": int(Exit.USAGE)})
        return Exit.USAGE
    schema = stand_alone(found)
    terminal.give(schema, Text(json.dumps(schema, indent=2, ensure_ascii=False)))
    if not issubclass(found.cls, Decision):
        terminal.note(by_hand(found.cls, env=env))
    return Exit.OK


def stand_alone(subject: Subject) -> dict[str, Any]:
    """Return the JSON schema of one subject with every struct that it refers to inside it."""
    name = subject.cls.__name__
    found = schemas([subject.cls], "#/$defs/{name}")
    own = found.pop(name)
    return own | {"$defs": found} if found else own


def _find(asked: str, subjects: list[Subject]) -> Subject | None:
    named = {name: s for s in subjects for name in (s.cls.__name__, s.cls.template, s.address)}
    of_class = {s.cls: s for s in subjects}
    cls = lookup(asked) or lookup(f"{TRY_ENV}.{asked}")
    return named.get(asked) or (of_class.get(cls) if cls else None)


def _check(terminal: Terminal) -> Exit:
    drifts = check()
    said = {"ok": not drifts, "drift": [{"path": d.path.as_posix(), "found": d.found} for d in drifts]}
    terminal.give(said, Text("\n".join(map(str, drifts)) or UNCHANGED))
    return Exit.FAILED if drifts else Exit.OK


def _write(terminal: Terminal) -> Exit:
    written = [path.as_posix() for path in write()]
    terminal.give({"written": written}, Text("\n".join(f"wrote {path}" for path in written) or UNCHANGED))
    return Exit.OK
