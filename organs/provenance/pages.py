"""X's pages, as its API v2 gives them: `data` with posts, `includes.users` with who wrote them, `meta.next_token`.

A file holds pages one after another, a line each or spread over lines; of a stream each object is a page of one post.
A page is taken in whole or not at all, because who wrote its posts stands at its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from organs.provenance.post import Post, bad, checked, too_large
from organs.provenance.readers import UNREADABLE, FileSource
from shared.constant import constant
from shared.errors import Refusal, Refused

MAX_PAGE_BYTES = constant(8_388_608, "bytes", "COL-01")
#: A whole string, a brace, or a quote that begins a string whose end is not here yet.
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}"]', re.DOTALL)
_BEGUN = re.compile(rb"\s*(\S)")


class _LongText(msgspec.Struct, frozen=True):
    text: str


class _Said(msgspec.Struct, frozen=True):
    """One post of a page; a long one has all of its text in `note_tweet`."""

    id: str
    text: str
    lang: str | None = None
    created_at: str | None = None
    author_id: str | None = None
    note_tweet: _LongText | None = None


class _User(msgspec.Struct, frozen=True):
    id: str
    username: str


class _Includes(msgspec.Struct, frozen=True):
    users: list[_User] = []


class _Meta(msgspec.Struct, frozen=True):
    next_token: str | None = None


class _Page(msgspec.Struct, frozen=True):
    data: list[_Said] | _Said | None = None
    includes: _Includes | None = None
    meta: _Meta | None = None
    errors: list[msgspec.Raw] | None = None


_read_page: Final = msgspec.json.Decoder(_Page).decode


def posts_of(raw: bytes, where: str) -> list[Post]:
    """Return the posts of one page. Refused C004, C005."""
    try:
        page = _read_page(raw)
    except UNREADABLE as error:
        raise bad(where, str(error)) from None
    if page.data is None and page.meta is None and page.errors is None:
        raise bad(where, "a page has `data`, `meta` or `errors`, and this object none of them")
    said = [page.data] if isinstance(page.data, _Said) else page.data or []
    names = {user.id: f"@{user.username}" for user in page.includes.users} if page.includes else {}
    try:
        return [checked(_post(one, names), where) for one in said]
    except UnicodeEncodeError:
        raise bad(where, "half of a surrogate pair is no character") from None


def _post(said: _Said, names: Mapping[str, str]) -> Post:
    text = said.note_tweet.text if said.note_tweet is not None else said.text
    author = names.get(said.author_id, said.author_id) if said.author_id else None
    return Post(said.id, text, said.lang, said.created_at, author)


class Pages(FileSource):
    """Pages one after another, in a file or from a pipe."""

    def next(self) -> list[Post] | None:
        start = self._raw.offset
        page = self._object()
        return None if page is None else posts_of(page, f"{self._raw.name}, the page at byte {start}")

    def _object(self) -> bytes | None:
        """Return the bytes of the next object, with the white space before it; None at the end, or for now."""
        while True:
            end = end_of(self._raw.held())
            if end is not None:
                return self._raw.give(end)
            held = self._raw.held()
            if self._raw.ended:
                if bytes(held).strip():
                    raise bad(self._raw.place(), "the source ends inside a page")
                self._raw.give(len(held))
                return None
            if len(held) > MAX_PAGE_BYTES:
                raise too_large(self._raw.place(), len(held), MAX_PAGE_BYTES)
            if not self._raw.more():
                return None


def end_of(held: memoryview | bytes) -> int | None:
    """Return where the first whole object ends, None where none does yet. Refused C004 where none begins."""
    begun = _BEGUN.match(held)
    if begun is None:
        return None
    if begun[1] != b"{":
        raise Refused(Refusal("C004", f"a page begins with {{, found {begun[1]!r}: one page after another, no list"))
    depth = 0
    for token in _TOKENS.finditer(held):
        match token[0]:
            case b"{":
                depth += 1
            case b"}":
                depth -= 1
                if depth == 0:
                    return token.end()
            case b'"':
                return None
            case _:
                pass
    return None
