"""The generated references say what the code says: subjects.md and everything generated under docs/."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cells.math_cell import MathCell
from deploy import references
from deploy.references import asyncapi, constants, errors, files, subjects
from deploy.references.catalogue import catalogue, hears, message_classes, parts, says
from deploy.references.fields import fields, line_comments, structs
from deploy.references.metrics import every_metric
from deploy.references.samples import sample
from shared.codec import decode, decode_any, encode, encode_json
from shared.errors import CODES, ConfigFault, Exit, Fault
from shared.message import Decision, Message, Reply, Request, Signal, lookup
from shared.settings import Settings
from shared.subjects.nervous import MathRequest, VitalsWave
from shared.subjects.system import Tick

CLASSES = message_classes()

#: One name for two things, each in its own module's words; rename one and its line goes.
HOMONYMS: dict[str, str] = {}


def arguments(**given: object) -> argparse.Namespace:
    """What the command line would hand over."""
    return argparse.Namespace(**({"check": False, "write": False, "json": False, "schema": None} | given))


#: Each page rendered once: in one process the code does not change.
RENDERED = {path: functools.cache(render) for path, render in references.FILES.items()}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone, with every generated file freshly written."""
    monkeypatch.setattr(files, "FILES", RENDERED)
    (tmp_path / "pyproject.toml").touch()
    references.write(tmp_path)
    return tmp_path


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("path", references.FILES, ids=str)
def test_each_generated_file_is_its_rendering(root: Path, path: Path) -> None:
    """What stands in the repository is what the declarations say today; `nimmerverse subjects --write` mends it."""
    assert RENDERED[path]() == (root / path).read_text(encoding="utf-8")


@pytest.mark.spec("X-01")
def test_a_planted_drift_is_caught(clone: Path) -> None:
    """A changed, a missing and an unreadable file are each named with the line and the command that mends them."""
    assert [] == references.check(clone)
    page = clone / "subjects.md"
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    page.write_text("".join((*lines[:2], "# Planted\n", *lines[3:])), encoding="utf-8")
    (clone / "docs/metrics.md").unlink()
    (clone / "docs/config.md").write_bytes(b"\xff")
    drifts = references.check(clone)
    assert ["subjects.md", "docs/config.md", "docs/metrics.md"] == [str(drift.path) for drift in drifts]
    assert "subjects.md differs from the code from line 3 on; mend it with `nimmerverse subjects --write`" == str(
        drifts[0]
    )
    assert "is missing" == drifts[2].found
    assert [drift.path for drift in drifts] == references.write(clone)
    assert [] == references.check(clone)


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("ending", ["\r\n", "\n\n"])
def test_a_drift_at_the_end_of_a_line_or_file_is_caught(clone: Path, ending: str) -> None:
    """The comparison is of bytes: other line ends and a longer file are drift too."""
    page = clone / "subjects.md"
    page.write_bytes(page.read_bytes().removesuffix(b"\n") + ending.encode())
    assert [Path("subjects.md")] == [drift.path for drift in references.check(clone)]


def test_an_installed_copy_is_not_checked(tmp_path: Path) -> None:
    """Where there is no clone there is nothing to compare, and the sentence says so."""
    with pytest.raises(ConfigFault, match="not a clone"):
        references.check(tmp_path)


@pytest.mark.spec("X-01")
def test_rendering_is_the_same_in_every_process(root: Path) -> None:
    """A process with another hash seed, where no test has declared a class, renders the same bytes as this one."""
    program = (
        "import json; from deploy.references import FILES; print(json.dumps({str(p): r() for p, r in FILES.items()}))"
    )
    environ = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environ, check=True, capture_output=True, text=True
    )
    assert {str(path): render() for path, render in RENDERED.items()} == json.loads(done.stdout)


# subjects.md


@pytest.mark.spec("X-01")
def test_every_declared_class_appears() -> None:
    """Every message class in shared/subjects, and every struct inside one, has its section and fields."""
    page = subjects.render()
    for cls in CLASSES:
        section = page.split(f"\n### {cls.__name__}\n")[1].split("\n### ")[0]
        assert f"`{{env}}.{cls.template}`" in section
        assert [f.name for f in fields(cls)] == re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    for struct in structs(CLASSES):
        assert f"\n### {struct.__name__}\n" in page


@pytest.mark.spec("X-01")
def test_every_link_of_the_page_leads_somewhere() -> None:
    """Each link in subjects.md is to a heading of the page, and no two headings share an anchor."""
    page = subjects.render()
    anchors = [heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)]
    assert len(set(anchors)) == len(anchors)
    assert set() == set(re.findall(r"\]\(#(\w+)\)", page)) - set(anchors)


@pytest.mark.spec("X-02")
def test_every_decision_says_who_appends_it_and_is_kept_in_the_log() -> None:
    """Each decision has an author and stands in the log's stream alone; no signal, request or reply stands there."""
    for subject in catalogue():
        kept_in_log = "LOG_{env}" in subject.streams
        assert (subject.cls.kind == "decision") == kept_in_log, subject.address
        assert len(subject.streams) <= 1, f"{subject.address} is stored twice"
        assert subject.publishers, (
            f"nobody publishes {subject.address}: name its author in catalogue.GROUND, or delete it"
        )


@pytest.mark.spec("X-01")
def test_every_request_has_someone_who_answers() -> None:
    """Each request is heard by a part, and its reply is published by that part."""
    found = {subject.cls: subject for subject in catalogue()}
    for cls in CLASSES:
        if cls.reply is not None:
            assert found[cls].listeners, cls
            assert set(found[cls].listeners) <= set(found[cls.reply].publishers), cls


@pytest.mark.spec("X-01")
def test_the_commands_of_the_page_are_read_by_the_parts() -> None:
    """Each request that an operator may make is shown as JSON that its class reads, on the subject it is sent to."""
    commands = [shlex.split(line) for line in re.findall(r"^nats .*$", subjects.render(), re.MULTILINE)]
    requests = {cls for cls in CLASSES if issubclass(cls, Request) and not cls.by_parts}
    assert requests == {lookup(command[2]) for command in commands}
    for _, verb, subject, payload in commands:
        cls = lookup(subject)
        assert cls is not None
        message, as_json = decode_any(cls, payload.encode())
        assert ("request", True, subject) == (verb, as_json, message.subject("dev"))


@pytest.mark.spec("X-01")
def test_the_answer_of_the_page_is_the_cells_answer() -> None:
    """What subjects.md says the math cell answers is what it answers."""
    [answer] = [said for said in MathCell().on_request(MathRequest("2 + 3 * 4")) if isinstance(said, Reply)]
    assert f"answers `{encode_json(answer).decode()}`" in subjects.render()


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_sample_is_a_message(cls: type[Message]) -> None:
    """The sample made for a class can be sent and read again."""
    message = sample(cls)
    assert message == decode(cls, encode(message))


@pytest.mark.spec("X-01")
def test_inherited_and_commented_fields_are_described() -> None:
    """A field stands with its base's fields in wire order, and with the comment written beside it."""
    found = {field.name: field.comment for field in fields(VitalsWave)}
    assert ["domain", "confidence_ppm", "content", "cost_ulf"] == list(found)[:4]
    assert found["boot"].startswith("the sensing cell's start")
    assert [("a", "first")] == list(line_comments("class A:\n    a: int  #: first\n    b: int  # not said\n", "A"))


# docs/asyncapi.json


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The AsyncAPI document as a reader gets it."""
    return json.loads(asyncapi.render())


def nodes(node: object) -> Iterator[dict[str, Any]]:
    """Every object inside a JSON value."""
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(item)


def resolve(document: dict[str, Any], ref: dict[str, str]) -> dict[str, Any]:
    """What a reference object points to; KeyError when it points nowhere. References are followed to their end."""
    assert ["$ref"] == list(ref)
    assert ref["$ref"].startswith("#/")
    found: Any = document
    for key in ref["$ref"][2:].split("/"):
        found = found[key]
    return resolve(document, found) if "$ref" in found else found


@pytest.mark.spec("X-01")
def test_every_reference_resolves(document: dict[str, Any]) -> None:
    """Each `$ref` of the document points to something inside it."""
    refs = [node for node in nodes(document) if "$ref" in node]
    assert refs
    assert all(isinstance(resolve(document, ref), dict) for ref in refs)


@pytest.mark.spec("X-01")
def test_the_document_has_what_asyncapi_3_requires(document: dict[str, Any]) -> None:
    """Version, info, servers and component names are as AsyncAPI 3.0.0 demands; nothing else is there."""
    known = {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components"}
    assert known == document.keys()
    assert ("3.0.0", "application/vnd.msgpack") == (document["asyncapi"], document["defaultContentType"])
    assert {"title", "version"} <= document["info"].keys()
    assert all({"host", "protocol"} <= server.keys() for server in document["servers"].values())
    names = [name for group in document["components"].values() for name in group]
    assert [] == [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)]


@pytest.mark.spec("X-01")
def test_each_class_is_a_channel_with_its_message(document: dict[str, Any]) -> None:
    """Each class has one channel at its subject, one message and its schema; the inbox is the only other channel."""
    assert [*(cls.__name__ for cls in CLASSES), "inbox"] == list(document["channels"])
    for cls in CLASSES:
        channel = document["channels"][cls.__name__]
        assert "{env}." + cls.template == channel["address"]
        assert [cls.__name__] == list(channel["messages"])
        message = resolve(document, channel["messages"][cls.__name__])
        payload = resolve(document, message["payload"])
        assert ([f.name for f in fields(cls)], False) == (list(payload["properties"]), payload["additionalProperties"])


@pytest.mark.spec("X-01")
def test_parameters_are_the_tokens_of_the_address(document: dict[str, Any]) -> None:
    """A channel's parameters are the braces of its address; each but the environment is a field of its payload."""
    for name, channel in document["channels"].items():
        if channel["address"] is None:
            assert "inbox" == name
            continue
        assert re.findall(r"\{(\w+)\}", channel["address"]) == list(channel["parameters"])
        properties = document["components"]["schemas"][name]["properties"]
        places = {key: given["location"] for key, given in channel["parameters"].items() if key != "env"}
        assert {key: f"$message.payload#/{key}" for key in places} == places
        assert places.keys() <= properties.keys()


@pytest.mark.spec("X-01")
def test_operations_are_what_the_parts_declare(document: dict[str, Any]) -> None:
    """There is one operation per part and class it may publish or hears, on that class's channel, and no other."""
    wanted = {
        f"{part.name}.{verb}.{cls.__name__}"
        for part in parts()
        for verb, classes in (("send", says(part)), ("receive", hears(part) - {Tick}))
        for cls in classes
    }
    assert wanted == document["operations"].keys()
    for key, operation in document["operations"].items():
        _, verb, name = key.split(".")
        assert (verb, {"$ref": f"#/channels/{name}"}) == (operation["action"], operation["channel"])
        assert [{"$ref": f"#/channels/{name}/messages/{name}"}] == operation["messages"]


@pytest.mark.spec("X-01")
def test_requests_name_their_answers(document: dict[str, Any]) -> None:
    """Only operations on requests have a reply: the declared class or a refusal, on an inbox known at run time."""
    by_name = {cls.__name__: cls for cls in CLASSES}
    for key, operation in document["operations"].items():
        declared = by_name[key.split(".")[2]].reply
        assert (declared is not None) == ("reply" in operation), key
        if declared is not None:
            reply = operation["reply"]
            assert resolve(document, reply["channel"])["address"] is None
            ends = [f"#/channels/inbox/messages/{name}" for name in (declared.__name__, "Refusal")]
            assert ends == [ref["$ref"] for ref in reply["messages"]]


@pytest.mark.spec("X-01")
def test_examples_are_messages_in_json(document: dict[str, Any]) -> None:
    """Every request and signal has a JSON example that a part reads; a decision or a reply has none."""
    for cls in CLASSES:
        examples = document["components"]["messages"][cls.__name__].get("examples", [])
        assert issubclass(cls, Request | Signal) == bool(examples), cls
        for example in examples:
            assert decode_any(cls, json.dumps(example["payload"]).encode())[1]


@pytest.mark.spec("X-01")
def test_schemas_stay_within_the_dialect_of_asyncapi(document: dict[str, Any]) -> None:
    """Payload schemas use nothing newer than JSON Schema draft 07, which is the dialect AsyncAPI reads by default."""
    newer = {"prefixItems", "$defs", "dependentRequired", "unevaluatedProperties", "$dynamicRef"}
    assert set() == {key for node in nodes(document["components"]["schemas"]) for key in node} & newer


# docs/errors.md, docs/config.md, docs/metrics.md


def test_errors_page_lists_every_no() -> None:
    """The errors page has every refusal code, every Fault class that is loaded here, and every exit code, in words."""
    page = errors.render()
    assert [*CODES] == re.findall(r"^\| `([A-Z]\d{3})` \|", page, re.MULTILINE)
    assert [str(code.value) for code in Exit] == re.findall(r"^\| `(\d+)` \|", page, re.MULTILINE)
    listed = {fault.name: fault for fault in errors.faults()}
    assert all(fault.doc for fault in listed.values())
    for cls in derived(Fault):
        if cls.__module__.partition(".")[0] in ("shared", "cells", "nerves", "organs", "deploy"):
            found = listed[cls.__name__]
            assert (cls.retry, cls.exit) == (found.retry, found.exit)
    assert all(len(words) > 3 for _, _, words in errors.exits())


def derived(cls: type[Fault]) -> Iterator[type[Fault]]:
    """Every class under a Fault."""
    for sub in cls.__subclasses__():
        yield sub
        yield from derived(sub)


@pytest.mark.spec("COL-17")
def test_config_page_lists_every_setting() -> None:
    """Each setting stands in docs/config.md once, with its variable."""
    page = references.FILES[Path("docs/config.md")]()
    assert [*Settings.model_fields] == re.findall(r"^\| `(\w+)` \| `NIMMERVERSE_\w+` \|", page, re.MULTILINE)


def test_metrics_page_lists_every_metric() -> None:
    """Each declared metric stands in docs/metrics.md once."""
    page = references.FILES[Path("docs/metrics.md")]()
    assert [metric.name for metric in every_metric()] == re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)


# docs/constants.md


def test_no_constant_is_said_twice() -> None:
    """No constant is declared in two places, nor one name for two things, but for the homonyms explained here."""
    found = constants.doubles(constants.constants())
    assert [] == [sentence for sentence in found if sentence.split(" ")[0] not in HOMONYMS]
    assert HOMONYMS.keys() == {sentence.split(" ")[0] for sentence in found}, "an explanation that is no longer needed"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("A_S = constant(2, 's', 'X-07')", "A_S = constant(2, 's', 'X-07')", "said twice"),
        ("A_S = constant(60 * 2, 's', 'X-07')", "A_S: int = constant(120, 's', 'X-07')", "said twice"),
        ("A_S = constant(2, 's', 'X-07')", "A_S = constant(3, 's', 'X-07')", "two things"),
        ("class C:\n    a = constant(2, 's', 'X-07')", "class D:\n    a = constant(3, 's', 'X-07')", ""),
        ("A_S = constant(2, 's', 'X-07')", "B_S = constant(2, 's', 'X-07')", ""),
        ("T = (constant(2, 's', 'X-07'),)", "T = (constant(3, 's', 'X-07'),)", ""),
    ],
)
def test_a_planted_double_is_judged_rightly(tmp_path: Path, first: str, second: str, said: str) -> None:
    """A constant that is said twice or differently is found however it is written; a class's attribute is its own."""
    for name, source in (("one", first), ("two", second)):
        (tmp_path / "shared").mkdir(exist_ok=True)
        (tmp_path / "shared" / f"{name}.py").write_text(source)
    found = constants.doubles(constants.constants(tmp_path))
    assert [said] * bool(said) == [said for sentence in found if said in sentence and "shared/two.py" in sentence]
    assert bool(said) == bool(found)


def test_every_constant_names_a_unit_and_a_row() -> None:
    """Each constant carries a unit and a row such as X-12, and its value is the one the code uses."""
    found = {(c.name, c.file): c for c in constants.constants()}
    assert all(c.unit and re.fullmatch(r"[A-Z]+-\d\d", c.row) for c in found.values())
    assert Message.ttl_ms == found["Message.ttl_ms", "shared/message.py"].value


# nimmerverse subjects


@pytest.mark.spec("X-01")
def test_the_command_lists_subjects(capsys: pytest.CaptureFixture[str]) -> None:
    """The plain command prints one line per subject, with --json one object per subject."""
    assert Exit.OK == references.run(arguments())
    assert ["{env}." + cls.template for cls in CLASSES] == [
        line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]
    ]
    assert Exit.OK == references.run(arguments(json=True))
    listed = json.loads(capsys.readouterr().out)
    assert [(cls.__name__, cls.kind) for cls in CLASSES] == [(row["class"], row["kind"]) for row in listed]


@pytest.mark.spec("X-01")
def test_the_command_checks(monkeypatch: pytest.MonkeyPatch, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` ends with status 0 where nothing drifted."""
    monkeypatch.setattr(files, "FILES", {Path("LICENSE"): (root / "LICENSE").read_text})
    assert Exit.OK == references.run(arguments(check=True, json=True))
    assert {"ok": True, "drift": []} == json.loads(capsys.readouterr().out)


@pytest.mark.spec("X-01")
def test_the_command_fails_on_drift(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` ends with status 1 and one sentence per file where something drifted."""
    monkeypatch.setattr(files, "FILES", {Path("docs/planted.md"): lambda: "planted\n"})
    assert Exit.FAILED == references.run(arguments(check=True))
    assert "docs/planted.md is missing; mend it with `nimmerverse subjects --write`\n" == capsys.readouterr().out


@pytest.mark.spec("X-01")
@pytest.mark.parametrize(
    "asked",
    ["MathRequest", "nervous.cells.math.request", "dev.nervous.cells.math.request", "{env}.nervous.cells.math.request"],
)
def test_the_command_shows_a_schema(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--schema` takes a subject with or without its environment, or a class name."""
    assert Exit.OK == references.run(arguments(schema=asked))
    assert "MathRequest" == json.loads(capsys.readouterr().out)["title"]


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_schema_stands_alone(cls: type[Message], capsys: pytest.CaptureFixture[str]) -> None:
    """The schema of one subject holds everything that it refers to, and says how to publish unless it is a decision."""
    assert Exit.OK == references.run(arguments(schema=cls.__name__))
    printed = capsys.readouterr()
    schema = json.loads(printed.out)
    assert [] == [ref for ref in nodes(schema) if "$ref" in ref and not resolve(schema, ref)]
    assert issubclass(cls, Decision) != printed.err.startswith("nats ")


def test_an_unknown_subject_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt subject is a usage error that names the nearest known one."""
    assert Exit.USAGE == references.run(arguments(schema="nervous.cells.maths.request"))
    assert "did you mean nervous.cells.math.request?" in capsys.readouterr().err
