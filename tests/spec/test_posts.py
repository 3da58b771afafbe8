"""Readers of posts: every format gives its posts or a named refusal with the place, whatever the bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from organs.provenance import lines
from organs.provenance.lines import Bytes
from organs.provenance.pages import Pages, end_of
from organs.provenance.post import MAX_LINE_BYTES, MAX_TEXT_BYTES, Post
from organs.provenance.readers import FileSource, JsonLines, Paragraphs, TrailLines
from shared.errors import ConfigFault, Refused
from shared.world import RealWorld

ELAPSED_S = RealWorld("dev").elapsed_s
SLOW = [HealthCheck.function_scoped_fixture]
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
POSTS = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.integers(0, 2**63), "text": TEXT},
        optional={
            "lang": st.none() | st.sampled_from(["en", "und"]),
            "author": st.none() | st.just("@ada"),
            "label": st.none() | st.integers(0, 2) | st.sampled_from(["a", "b"]),
            "created_at": st.none() | st.just("2026-01-01T00:00:00Z"),
            "unknown": st.integers(),
        },
    ),
    max_size=12,
)


def reader(cls: type[FileSource], path: Path, offset: int = 0) -> FileSource:
    """A reader of a file from a byte on."""
    return cls(Bytes(path, offset), ELAPSED_S)


def all_of(cls: type[FileSource], path: Path, most: int = 1_000) -> list[Post]:
    """Every post of a file, each batch read by a reader that begins where the last one ended."""
    found: list[Post] = []
    offset = 0
    while True:
        source = reader(cls, path, offset)
        read = source.read(most)
        source._raw.close()
        found += read.posts
        assert len(read.posts) <= most
        if read.ended:
            return found
        assert read.next_offset > offset
        offset = read.next_offset


def page(posts: Sequence[dict[str, Any]], users: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A page as the API gives it."""
    named = [{"id": user, "name": "N", "username": name} for user, name in (users or {}).items()]
    return {"data": list(posts), "includes": {"users": named}, "meta": {"result_count": len(posts)}, **more}


# JSON lines


@pytest.mark.spec("COL-01")
@settings(max_examples=30, suppress_health_check=SLOW)
@given(posts=POSTS, most=st.integers(1, 5), ascii_=st.booleans(), end=st.sampled_from(["", "\n", "\r\n\n"]))
def test_json_lines_come_back(tmp_path: Path, posts: list[dict[str, Any]], most: int, ascii_: bool, end: str) -> None:  # noqa: FBT001
    """Whatever the posts and however few are taken at once, each comes once, in order, with its fields as texts."""
    path = tmp_path / "posts.jsonl"
    path.write_bytes("\n".join([json.dumps(one, ensure_ascii=ascii_) for one in posts] + [end]).encode())
    label = [None if one.get("label") is None else str(one["label"]) for one in posts]
    expected = [(str(one["id"]), one["text"], one.get("author"), lb) for one, lb in zip(posts, label, strict=True)]
    assert expected == [(one.id, one.text, one.author, one.label) for one in all_of(JsonLines, path, most)]


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("C004", b'{"id": "1", "text": "\xff"}'),
        ("C004", b'{"id": "1"}'),
        ("C004", b'{"text": "who said it?"}'),
        ("C004", b'{"id": "", "text": "nobody"}'),
        ("C004", b'{"id": "1", "text": 5}'),
        ("C004", b'{"id": "1", "text": "half \\ud800 of it"}'),
        ("C004", b'{"id": "1", "text": "t", "lang": 5}'),
        ("C004", b'{"id": "1", "text": "t", "author": "' + b"a" * 201 + b'"}'),
        ("C004", b'{"id": "' + b"1" * 257 + b'", "text": "t"}'),
        ("C004", b'["1", "t"]'),
        ("C004", b'{"id": "1", "text": "t"'),
        ("C004", b"\x00"),
        ("C004", b"[" * 100_000),
        ("C005", b'{"id": "1", "text": "' + b"x" * (MAX_TEXT_BYTES + 1) + b'"}'),
        ("C005", b'{"id": "1", "text": "' + b"x" * 10_000_000 + b'"}'),
        ("C005", b"x" * (MAX_LINE_BYTES + 300_000)),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, code: str, line: bytes, before: int) -> None:
    """Broken UTF-8, a missing field, one of another kind, one too large: by name, and where it stands."""
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b'{"id": "good", "text": "this is good"}\n' * before + line + b"\n" + b'{"id": "x", "text": "y"}')
    with pytest.raises(Refused, match=rf"{code}.*posts\.jsonl, byte \d+ \(line {before + 1}\)"):
        all_of(JsonLines, path)


@pytest.mark.spec("COL-01")
@settings(max_examples=150, suppress_health_check=SLOW)
@given(
    raw=st.binary(max_size=300)
    | st.lists(
        st.sampled_from([b"{", b"}", b'"', b"\\", b'"id"', b":", b"1", b"\n", b"x", b"\xff", b'{"id":"1","text":"t"}']),
        max_size=40,
    ).map(b"".join)
)
@pytest.mark.parametrize("cls", [JsonLines, Pages, Paragraphs, TrailLines])
def test_any_bytes_are_posts_or_a_named_refusal(tmp_path: Path, cls: type[FileSource], raw: bytes) -> None:
    """No reader fails otherwise than by C004 or C005, and none goes on for ever."""
    path = tmp_path / "raw"
    path.write_bytes(raw)
    try:
        how = "read" if all(one.id for one in all_of(cls, path, 3)) else "without an id"
    except Refused as no:
        how = no.refusal.code
    assert how in {"read", "C004", "C005"}


# Plain text and trails


@pytest.mark.spec("COL-01")
def test_plain_text_is_read_by_paragraphs(tmp_path: Path) -> None:
    """Empty lines part them, however many; the id is the byte at which one begins."""
    path = tmp_path / "text.txt"
    path.write_text("\n\nfirst\nstill first\n  \n\nsecond ä\n\nthird", encoding="utf-8")
    expected = [("2", "first\nstill first"), ("24", "second ä"), ("35", "third")]
    for most in (1, 2, 1_000):
        assert expected == [(one.id, one.text) for one in all_of(Paragraphs, path, most)]
    path.write_bytes(b"x" * 100_000 + (b"\n" + b"y" * 99_999) * 3)
    with pytest.raises(Refused, match="C005"):
        all_of(Paragraphs, path)


@pytest.mark.spec("COL-01")
def test_a_trail_is_a_post(tmp_path: Path) -> None:
    """Its text is the line; a line that is no trail is refused."""
    line = '{"call":{"function":"wait","args":{}},"state":{"battery":5}}'
    path = tmp_path / "trails.jsonl"
    path.write_text(f"{line}\n\n{line}\n")
    assert [("0", line), (str(len(line) + 2), line)] == [(one.id, one.text) for one in all_of(TrailLines, path)]
    path.write_text(f'{line}\n{{"state": {{}}}}\n')
    with pytest.raises(Refused, match="C004"):
        all_of(TrailLines, path)


# X's pages


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("block", [7, 262_144])
def test_pages_are_read_one_after_another(
    tmp_path: Path, indent: int | None, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one line or on many, in blocks of any size: who wrote a post stands at the page's end, a long post in full."""
    monkeypatch.setattr(lines, "READ_BLOCK_BYTES", block)
    first = page([{"id": "1", "text": 'a "quoted" } brace \\', "author_id": "7", "lang": "en"}], {"7": "ada"})
    second = page([{"id": "2", "text": "short…", "note_tweet": {"text": "the whole of it"}, "author_id": "8"}])
    third = {"data": {"id": "3", "text": "of a stream"}, "matching_rules": [{"id": "9"}]}
    last: dict[str, Any] = {"meta": {"result_count": 0, "next_token": "n"}}
    path = tmp_path / "pages.json"
    path.write_text("\n".join(json.dumps(one, indent=indent) for one in (first, second, third, last)))
    for most in (1, 1_000):
        found = all_of(Pages, path, most)
        assert [
            ("1", 'a "quoted" } brace \\', "@ada"),
            ("2", "the whole of it", "8"),
            ("3", "of a stream", None),
        ] == [(one.id, one.text, one.author) for one in found]


@pytest.mark.spec("COL-01", "COL-03")
def test_a_page_is_never_cut(tmp_path: Path) -> None:
    """What does not fit waits for the next batch, which begins where its page does; a page too many is refused."""
    path = tmp_path / "pages.json"
    pages = [page([{"id": f"{p}.{n}", "text": "t"} for n in range(4)]) for p in range(3)]
    path.write_text("\n".join(json.dumps(one) for one in pages))
    source = reader(Pages, path)
    sizes = [len(source.read(10).posts) for _ in range(3)]
    assert [8, 4, 0] == sizes
    assert 12 == len(all_of(Pages, path, 5))
    with pytest.raises(Refused, match="C004"):
        all_of(Pages, path, 3)


@pytest.mark.spec("COL-01")
@pytest.mark.parametrize(
    "raw",
    [b'[{"data": []}]', b'{"data": [{"id": 5}]}', b"{}", b'{"data": [', b'{"data": [{"id": "1", "text": "\xff"}]}'],
)
def test_what_is_no_page_is_refused(tmp_path: Path, raw: bytes) -> None:
    """A list of pages, a post without a text, an object of another kind, half a page, broken UTF-8."""
    path = tmp_path / "pages.json"
    path.write_bytes(raw)
    with pytest.raises(Refused, match="C004"):
        all_of(Pages, path)


@pytest.mark.spec("COL-01")
@settings(max_examples=100)
@given(
    value=st.recursive(TEXT | st.integers(), lambda v: st.dictionaries(TEXT, v, max_size=3) | st.lists(v, max_size=3)),
    more=st.binary(max_size=20),
)
def test_the_end_of_an_object_is_found(value: Any, more: bytes) -> None:  # noqa: ANN401 - JSON
    """Exactly at its last brace, whatever its strings hold, and never before."""
    raw = json.dumps({"v": value}).encode()
    assert len(raw) == end_of(raw + more)
    assert all(end_of(raw[:cut]) is None for cut in range(1, len(raw)))


# Pipes


@pytest.mark.spec("COL-03")
def test_a_pipe_that_gives_nothing_flushes_what_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line waits for its other half; whole ones are given when nothing more comes in time."""
    monkeypatch.setattr(lines, "FLUSH_S", 0.01)
    out, into = os.pipe()
    monkeypatch.setattr(lines, "_STANDARD_INPUT", out)
    source = JsonLines(Bytes(None, 0), ELAPSED_S)
    os.write(into, b'{"id": "1", "text": "a"}\n{"id": "2", ')
    read = source.read(1_000)
    assert (["1"], 25, False) == ([one.id for one in read.posts], read.next_offset, read.ended)
    os.write(into, b'"text": "b"}\n')
    os.close(into)
    read = source.read(1_000)
    assert (["2"], True) == ([one.id for one in read.posts], read.ended)
    os.close(out)


@pytest.mark.spec("COL-03")
def test_a_pipe_is_passed_over_up_to_where_it_was_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes again go on after what was sealed; fewer of them are another source."""
    for size, ends in ((25, False), (900, True)):
        out, into = os.pipe()
        monkeypatch.setattr(lines, "_STANDARD_INPUT", out)
        os.write(into, b'{"id": "1", "text": "a"}\n{"id": "2", "text": "b"}\n')
        os.close(into)
        if ends:
            with pytest.raises(Refused, match="C003"):
                Bytes(None, size)
        else:
            assert ["2"] == [one.id for one in JsonLines(Bytes(None, size), ELAPSED_S).read(10).posts]
        os.close(out)


@pytest.mark.spec("COL-01")
def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing file is a fault of the command, not of a post."""
    with pytest.raises(ConfigFault, match="cannot be read"):
        Bytes(tmp_path / "none", 0)
