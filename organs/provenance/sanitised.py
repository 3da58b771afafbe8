"""A dataset of posts as the source of another one, in which nobody is named: its sanitised derivative (ILL-03).

What was kept goes on with its text masked, and without author and time. Its id is the leaf that it has in its source:
the salted leaf says nothing of the post, and whoever may read the source finds it again by that leaf.
"""

from __future__ import annotations

from organs.provenance.naming import masked
from organs.provenance.post import MAX_BATCH_BYTES, Post, Read
from shared.artifacts import ArtifactStore
from shared.corpus import Manifest
from shared.errors import Refusal, Refused
from shared.vault import People
from shared.vault.records import check_batch


class Sanitised:
    """The kept posts of a dataset, each batch proved before it is believed. An offset counts the dataset's posts."""

    def __init__(self, manifest: Manifest, store: ArtifactStore, people: People | None, offset: int) -> None:
        self.manifest, self.store, self.people = manifest, store, people
        self.size: int | None = sum(listed.posts for listed in manifest.batches)
        self._offset = offset
        self._held: tuple[int, list[Post | None]] = (-1, [])  #: one batch, and the place of its first post

    async def take(self, most: int) -> Read:
        posts: list[Post] = []
        held = 0
        while self._offset < (self.size or 0) and len(posts) < most and held < MAX_BATCH_BYTES:
            post = await self._post(self._offset)
            self._offset += 1
            if post is not None:
                posts.append(post)
                held += len(post.text)
        return Read(posts, self._offset, ended=self._offset >= (self.size or 0))

    async def close(self) -> None:
        return

    async def _post(self, place: int) -> Post | None:
        """Return what a post became; None if it was not kept, or its person was erased. Refused D005, S002; Damaged."""
        first, posts = self._held
        if not first <= place < first + len(posts) or first < 0:
            first, posts = self._held = await self._batch(place)
        return posts[place - first]

    async def _batch(self, place: int) -> tuple[int, list[Post | None]]:
        first = 0
        for listed in self.manifest.batches:
            if place < first + listed.posts:
                checked = await check_batch(self.store, listed, self.people)
                both = zip(checked.lines, checked.records, strict=True)
                return first, [
                    Post(line.leaf, masked(record.text), record.lang, label=record.label)
                    if record.fate == "kept" and record.text is not None
                    else None
                    for line, record in both
                ]
            first += listed.posts
        raise AssertionError("an offset lies within the dataset")


def check_source(kind: str) -> None:
    """Refuse B002 a kind of dataset that is no batches of posts."""
    if kind != "posts":
        raise Refused(Refusal("B002", f"found {kind[:80]}, expected posts: what `ingest` took in can be sanitised"))
