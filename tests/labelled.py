"""Posts that are labelled toxic or clean: made-up ones, and real ones where this machine has them."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator
from pydoc_data.topics import topics

from tests.published import published

Post = tuple[str, bool]  #: a text, and whether it is toxic

#: Words that nobody's lexicon has, so that only posts can teach them.
RUDE = ("flurbish", "grotzel", "snarvin")
KIND = ("mellify", "brindle", "tansome")
FRAMES = ("what {} people live here", "{} again, as on every day", "so {} of them", "they are {} number {}", "how {}")


def made_up(count: int = 600) -> list[Post]:
    """Posts of made-up words, half of them rude; none is written twice."""
    return [
        (f"{FRAMES[n % 5].format(word, n)} at {n} o'clock", rude)
        for n in range(count)
        for rude in [n % 2 == 0]
        for word in [(RUDE if rude else KIND)[n // 2 % 3]]
    ]


def real_posts() -> list[Post]:
    """The labelled posts of davidson; the test is left out where they are not."""
    with published("data", "davidson", "davidson_dev.csv").open(newline="", encoding="utf-8") as file:
        return [(html.unescape(row["tweet"]), row["class"] != "2") for row in csv.DictReader(file)]


def other_kinds() -> dict[str, list[str]]:
    """Texts of other kinds, which should mostly be kept; the test is left out where they are not."""
    data = published("data")
    return {
        "questions": [text for text, _ in _read("clinc150/clinc150_dev.json")["val"]],
        "commands": (data / "tldr" / "commands.txt").read_text().splitlines(),
        "shell": (data / "nl2bash" / "commands.txt").read_text().splitlines(),
        "reference": list(reference()),
        "stereotypes": [row[side] for row in stereotypes() for side in ("sent_more", "sent_less")],
        "answers": [
            json.loads(line)["chatgpt_response"]
            for line in (data / "halueval" / "general_dev.jsonl").read_text().splitlines()
        ],
    }


def reference() -> Iterator[str]:
    """The paragraphs of CPython's own reference."""
    for topic in topics.values():
        yield from (part.strip() for part in re.split(r"\n\s*\n", topic) if part.strip())


def stereotypes() -> list[dict[str, str]]:
    """The rows of crows-pairs; the test is left out where they are not."""
    with published("data", "crows-pairs", "crows_dev.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _read(name: str) -> dict[str, list[list[str]]]:
    return json.loads(published("data", *name.split("/")).read_text())
