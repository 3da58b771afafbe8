"""Making a batch: each post meets one fate, is sealed if it is somebody's, and becomes a line under its root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from cells.toxicity_cell.scorer import Scorer
from organs.provenance.language import language_of
from organs.provenance.naming import names_somebody
from organs.provenance.post import Post
from organs.provenance.seen import PRINT_BYTES, Mark, Seen
from shared.corpus.batches import Content, encode_line, line_of
from shared.errors import Refusal, Refused
from shared.log.batch import Batch
from shared.subjects.provenance import Fate, Intake, Tally
from shared.vault import Erased, ManyPeople


@dataclass(frozen=True, slots=True)
class Made:
    """A batch that is ready to be put into the store and sealed."""

    raw: bytes  #: the artifact
    root: str
    posts: int
    tally: Tally
    personal: int
    exposed: int
    marks: list[tuple[str, Mark]]  #: of the ids that it is the first to use


@dataclass(slots=True)
class _Draft:
    """A post on its way to its line."""

    post: Post
    salt: bytes
    person: str | None
    sealed: list[bytes] | None
    fate: Fate | None = None  #: None until it is scored
    score_ppm: int | None = None


class Maker:
    """Makes batches of one corpus by its rules. `salts` is the secret that the salts of nobody's posts come from."""

    def __init__(self, intake: Intake, scorer: Scorer, seen: Seen, salts: bytes) -> None:
        self.intake, self.scorer, self.seen, self.salts = intake, scorer, seen, salts
        self.people: ManyPeople | None = None  #: given before the first post of a person is made into a batch

    def make(self, posts: Sequence[Post]) -> Made:
        """Return the batch of 1 to 1,000 posts. Refused C006 where an id was used for another text; nothing is kept."""
        drafts = self._drafts(posts)
        marks = self._judge(drafts)
        self._score([draft for draft in drafts if draft.fate is None])
        lines: list[bytes] = []
        leaves: list[bytes] = []
        counts = dict.fromkeys(Tally.__struct_fields__, 0)
        for draft in drafts:
            line, leaf = line_of(_content(draft), draft.salt)
            lines.append(encode_line(line))
            leaves.append(leaf)
            counts[line.fate] += 1
        lines.append(b"")
        personal = sum(draft.person is not None for draft in drafts)
        posted = self.intake.reader in ("jsonl", "x", "dataset")
        exposed = sum(draft.person is None and names_somebody(draft.post.text, posted=posted) for draft in drafts)
        root = Batch.of(leaves).root.hex()
        return Made(b"\n".join(lines), root, len(drafts), Tally(**counts), personal, exposed, marks)

    def _drafts(self, posts: Sequence[Post]) -> list[_Draft]:
        """Return the posts with their salts, what is somebody's sealed; the vault is opened only if anything is."""
        salts = self.salts
        if not any(post.author for post in posts):
            return [_Draft(post, blake3(post.id.encode(), key=salts).digest(), None, None) for post in posts]
        drafts: list[_Draft] = []
        assert self.people is not None, "somebody's post needs keys"
        with self.people.held():
            for post in posts:
                record_id = post.id.encode()
                if post.author is None:
                    drafts.append(_Draft(post, blake3(record_id, key=salts).digest(), None, None))
                    continue
                keys = self.people.named(post.author)
                sealed = keys.seal(record_id, post.text)
                drafts.append(_Draft(post, keys.salt(record_id), keys.person.hex(), sealed))
        return drafts

    def _judge(self, drafts: Sequence[_Draft]) -> list[tuple[str, Mark]]:
        """Give a fate to every draft that needs no score; return the marks of the ids that are new."""
        known = self.seen.marks([draft.post.id for draft in drafts])
        wanted = self.intake.language
        fresh: list[tuple[str, Mark]] = []
        for draft in drafts:
            post = draft.post
            mark = Mark(draft.person, _print(draft))
            earlier = known.get(post.id)
            if earlier is None:
                known[post.id] = mark
                fresh.append((post.id, mark))
                if not post.text or post.text.isspace():
                    draft.fate = "empty"
                elif wanted and language_of(post.text, post.lang) != wanted:
                    draft.fate = "language"
            elif earlier == mark or self._is_erased(earlier, mark):
                draft.fate = "duplicate"
            else:
                raise Refused(
                    Refusal("C006", f"{post.id[:80]!r} was taken in with another text; remove one of the two")
                )
        return fresh

    def _is_erased(self, earlier: Mark, mark: Mark) -> bool:
        """Say whether an id's first post was of somebody who was erased since: nobody can compare the two any more."""
        if earlier.person is None or earlier.person == mark.person or self.people is None:
            return False
        try:
            with self.people.held():
                self.people.person(bytes.fromhex(earlier.person))
        except Erased:
            return True
        return False

    def _score(self, drafts: Sequence[_Draft]) -> None:
        if not drafts:
            return
        if not self.scorer.name:
            for draft in drafts:
                draft.fate = "kept"
            return
        scores = self.scorer.scores([draft.post.text for draft in drafts])
        for draft, score in zip(drafts, scores, strict=True):
            draft.score_ppm = score
            draft.fate = "kept" if score <= self.intake.keep_ppm else "toxic"


def _content(draft: _Draft) -> Content:
    post = draft.post
    assert draft.fate is not None, "every post met a fate"
    text = post.text if draft.sealed is None else None
    about = (post.lang, post.created_at, draft.person, post.label)
    return Content(post.id, draft.fate, draft.score_ppm, *about, text, draft.sealed)


def _print(draft: _Draft) -> bytes:
    kept = draft.post.text.encode() if draft.sealed is None else b"".join(draft.sealed)
    return blake3(kept).digest()[:PRINT_BYTES]
