"""Questions about this product's own pages, and about something else: how well memory finds what answers them.

`python -m tests.questions` measures it with vectors of spelling; `measure` takes any other embedder.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.passages import files_of, read_passages
from organs.memory import GramEmbedder
from organs.memory.port import cosine_ppm
from shared.subjects.memory import Passage

Embed = Callable[[Sequence[str]], Awaitable[list[bytes]]]
ROOT = Path(__file__).resolve().parents[1]

#: Question, the files whose passage answers it, and what such a passage says; both are regular expressions.
ANSWERED = (
    ("What is a cell?", "README", r"cell \|"),
    ("What is a nerve?", "README", r"nerve \|"),
    ("what does the notary do", "README|architecture", "notary"),
    ("What is a wave?", "README", r"wave \|"),
    ("How is a person erased?", "architecture|README|operations|controls|0012", "eras"),
    ("How do I rotate a key?", "keys|operations", "rotat"),
    ("What does exit code 20 mean?", "errors", "FORKED"),
    ("How do I make a backup of the log?", "operations|README", "backup"),
    ("what happens when the disk is full", "errors|operations", "disk"),
    ("Which setting chooses the data folder?", "config", "`home`"),
    ("How do I use my own NATS server?", "README|config|operations", "NATS"),
    ("what is lifeforce", "README", r"lifeforce \|"),
    ("How are the PostgreSQL views rebuilt?", "views|architecture|operations|logs", "rebuil"),
    ("What is an epoch?", "README|architecture|verify|0015", "epoch"),
    ("who may create streams", "architecture|README", "steward|streams"),
    ("What is a witness good for?", "README|operations|verify", "witness"),
    ("How can I verify the log offline?", "verify|README", "verif|check"),
    ("what does refusal R002 mean", "errors", "R002"),
    ("How are artifacts stored?", "architecture|operations|0013", "artifact|store"),
    ("What is a lane?", "README", r"lane \|"),
    ("how long are traces kept", "README|config|operations|0004", "traces|days|seven"),
    ("what is the World", "README|architecture", "World"),
    ("Who can sign decisions?", "keys|architecture|README", "sign"),
)
UNANSWERED = (
    *("What is the capital of France?", "Who won the football world cup in 1998?", "How do I bake bread?"),
    *("What colour is my car?", "When does the next train leave?", "How old is the universe?"),
    *("translate good morning into Spanish", "Which medicine helps against headache?", "Who wrote Hamlet?"),
    *("What is the weather in Berlin tomorrow?", "Tell me a joke", "how many legs has a spider"),
)


@dataclass(frozen=True, slots=True)
class Quality:
    """How many questions find their answer first, and among the first three; how near strangers come, and answers."""

    passages: int
    asked: int
    first: int
    among_three: int
    nearest_stranger_ppm: int
    farthest_answer_ppm: int


async def measure(embed: Embed, paths: Sequence[Path] = (ROOT / "README.md", ROOT / "docs")) -> Quality:
    """Return how well passages of these files are found by an embedder."""
    held = [one for path in files_of(paths) for one in read_passages(path, str(path.relative_to(ROOT)), "semantic")]
    vectors = await embed([one.text for one in held])

    def nearest(vector: bytes) -> list[tuple[int, Passage]]:
        found = [(cosine_ppm(vector, other), one) for other, one in zip(vectors, held, strict=True)]
        return sorted(found, key=lambda each: -each[0])[:3]

    hits, nears = list[list[bool]](), list[int]()
    for (_, files, says), vector in zip(ANSWERED, await embed([q for q, _, _ in ANSWERED]), strict=True):
        found = nearest(vector)
        hits.append([bool(re.search(files, one.origin.name) and re.search(says, one.text)) for _, one in found])
        nears += [near for (near, _), hit in zip(found[:1], hits[-1], strict=False) if hit]
    strange = max([nearest(vector)[0][0] for vector in await embed(UNANSWERED)])
    first, three = sum(hit[0] for hit in hits), sum(any(hit) for hit in hits)
    return Quality(len(held), len(ANSWERED), first, three, strange, min(nears, default=0))


if __name__ == "__main__":
    print(asyncio.run(measure(GramEmbedder().embed)))  # noqa: T201 - it is asked to print
