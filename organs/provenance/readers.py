"""Readers of files and pipes: JSON lines, plain text by paragraphs, and decision trails. X's pages are in pages.py."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

import msgspec

from organs.provenance.lines import FLUSH_S, Bytes
from organs.provenance.post import MAX_BATCH_BYTES, MAX_TEXT_BYTES, Post, Read, bad, checked, too_large
from shared.boundary.training.trails import Trail
from shared.errors import Refusal, Refused

#: What bytes that are no post make msgspec raise.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FileSource:
    """Posts from bytes, read beside the event loop; each reader says how the next posts are cut out of them."""

    def __init__(self, raw: Bytes, elapsed_s: Callable[[], float]) -> None:
        self._raw, self._elapsed_s = raw, elapsed_s
        self.size = raw.size
        self._over: list[Post] = []  #: what did not fit into the last batch, and begins where that ended

    async def take(self, most: int) -> Read:
        return await asyncio.to_thread(self.read, most)

    async def close(self) -> None:
        self._raw.close()

    def read(self, most: int) -> Read:
        """Return up to `most` posts, fewer where they are large, at the end, and where a pipe gives no more in time."""
        posts, self._over = self._over, []
        first, began_s = self._raw.offset, self._elapsed_s()
        while len(posts) < most and self._raw.offset - first < MAX_BATCH_BYTES:
            start = self._raw.offset
            found = self.next()
            if found is None:
                return Read(posts, self._raw.offset, ended=self._raw.ended and not self._raw.held())
            if len(found) > most:
                raise bad(f"{self._raw.name}, byte {start}", f"{len(found)} posts in one page, at most {most} may be")
            if len(posts) + len(found) > most:
                self._over = found
                return Read(posts, start, ended=False)
            posts += found
            if self.size is None and self._elapsed_s() - began_s > FLUSH_S:
                break
        return Read(posts, self._raw.offset, ended=False)

    @abstractmethod
    def next(self) -> list[Post] | None:
        """Return what comes next, together or not at all; None where nothing does, for now or for good."""


class _Said(msgspec.Struct, frozen=True):
    """The fields of a line of JSON that are read; others are passed over."""

    id: str | int
    text: str
    lang: str | None = None
    created_at: str | int | None = None
    author: str | None = None
    label: str | int | bool | None = None


_read_said: Final = msgspec.json.Decoder(_Said).decode
_read_trail: Final = msgspec.json.Decoder(Trail).decode


class JsonLines(FileSource):
    """One post a line: id, text, and where known lang, created_at, author, label. Empty lines are passed over."""

    def next(self) -> list[Post] | None:
        while line := self._raw.line():
            if not line.isspace():
                return [self._post(line)]
        return None

    def _post(self, line: bytes) -> Post:
        try:
            said = _read_said(line)
            author = said.author.strip() or None if said.author is not None else None
            made = (_text(said.created_at), author, _text(said.label))
            return checked(Post(str(said.id), said.text, said.lang, *made), "")
        except UNREADABLE as error:
            raise bad(self._place(line), str(error)) from None
        except UnicodeEncodeError:
            raise bad(self._place(line), "half of a surrogate pair is no character") from None
        except Refused as no:
            raise Refused(Refusal(no.refusal.code, self._place(line) + no.refusal.detail)) from None

    def _place(self, line: bytes) -> str:
        self._raw.offset -= len(line)
        return self._raw.place()


class Paragraphs(FileSource):
    """Plain text: every paragraph is a post of nobody, and its id is the byte at which it begins."""

    def next(self) -> list[Post] | None:
        said, start = b"", self._raw.offset
        while (line := self._raw.line()) or (line is None and said):  # half a paragraph waits for the other half
            if line is None:
                continue
            if line.isspace():
                if said:
                    break
                start = self._raw.offset
                continue
            said += line
            if len(said) > MAX_TEXT_BYTES:
                raise too_large(f"the paragraph at byte {start}", len(said), MAX_TEXT_BYTES)
        if not said:
            return None
        try:
            return [Post(str(start), said.decode().rstrip())]
        except UnicodeDecodeError as error:
            raise bad(f"{self._raw.name}, the paragraph at byte {start}", str(error)) from None


class TrailLines(FileSource):
    """Decision trails of the boundary, a line each: the text is the line, the id the byte at which it begins."""

    def next(self) -> list[Post] | None:
        while True:
            start = self._raw.offset
            line = self._raw.line()
            if not line:
                return None
            if line.isspace():
                continue
            try:
                _read_trail(line)
                return [Post(str(start), line.decode().rstrip())]
            except UNREADABLE as error:
                raise bad(f"{self._raw.name}, the line at byte {start}", str(error)) from None


def _text(said: object) -> str | None:
    return said if said is None or isinstance(said, str) else str(said).lower()
