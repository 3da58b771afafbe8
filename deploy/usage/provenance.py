"""From posts to a dataset: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, Group, option
from deploy.usage.values import count, share

_INGEST = "deploy.commands.ingest"

PROVENANCE: dict[str, Described | Group] = {
    "ingest": Described(
        f"{_INGEST}:ingest",
        "take posts in, in batches that each have one root, until they are a dataset; goes on where it stood",
        (
            option("file", nargs="?", metavar="FILE|-", help="posts (default: what CPython says of its language)"),
            option("--corpus", metavar="NAME", help="what it is called (default: the file's name)"),
            option("--format", choices=("jsonl", "x", "text", "trails"), help="what FILE holds (default: by its end)"),
            option("--source", metavar="NAME", help="what it is read from, in the log (default: the file's name)"),
            option("--licence", metavar="SPDX", help="under which it may be used (default: unknown)"),
            option("--restriction", action="append", default=[], metavar="NAME", help="as no-training (repeat it)"),
            option("--language", metavar="LL", help="what is kept, such as en; any keeps all (default: en)"),
            option("--keep", type=share, default=0.30, metavar="SHARE", help="the most toxic that is kept (0.30)"),
            option("--no-scorer", action="store_true", help="score nothing, and say so in the log"),
            option("--use", choices=("train", "evaluate"), default="train", help="what it is for (default: train)"),
            option("--x-stream", nargs="?", const="", metavar="URL", help="listen to X's filtered stream instead"),
            option("--x-token", type=Path, metavar="FILE", help="the bearer token for it, in a file of mode 600"),
            option("--count", type=count, metavar="N", help="end a stream after N posts (default: Ctrl-C ends a run)"),
        ),
    ),
    "dataset": Group(
        "what may teach a model",
        {
            "prove": Described(
                f"{_INGEST}:prove",
                "write the proof that a post stands in a dataset",
                (
                    option("dataset", metavar="DATASET", help="its digest, 64 hexadecimal digits"),
                    option("post", metavar="POST_ID", help="the post's id, as its source gives it"),
                    option("--out", type=Path, metavar="FILE", help="where to (default: POST_ID.proof.json)"),
                ),
            ),
        },
    ),
}
