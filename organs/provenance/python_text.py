"""The text of a fresh machine: what CPython says about its own language, by paragraphs. Real English, PSF-2.0."""

from __future__ import annotations

import platform
from importlib import import_module
from typing import Final, cast

from organs.provenance.post import Post, Read

LICENCE: Final = "PSF-2.0"


def name() -> str:
    """Return what the source is called; another release of Python has another text."""
    return f"CPython {platform.python_version()} pydoc_data.topics"


class PythonText:
    """Every paragraph a post of nobody, its id the topic and the paragraph's number; an offset counts paragraphs."""

    def __init__(self, offset: int) -> None:
        self.posts, self._offset = _posts(), offset
        self.size: int | None = len(self.posts)

    async def take(self, most: int) -> Read:
        taken = self.posts[self._offset : self._offset + most]
        self._offset += len(taken)
        return Read(taken, self._offset, ended=self._offset >= len(self.posts))

    async def close(self) -> None:
        return


def _posts() -> list[Post]:
    topics = cast("dict[str, str]", import_module("pydoc_data.topics").topics)
    return [
        Post(f"{topic}.{number}", paragraph.strip())
        for topic in sorted(topics)
        for number, paragraph in enumerate(topics[topic].split("\n\n"))
        if paragraph.strip()
    ]
