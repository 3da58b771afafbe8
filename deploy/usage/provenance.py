"""From posts to a dataset: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, Group, option
from deploy.usage.values import count, fingerprint, share

_INGEST = "deploy.commands.ingest"
_DATASET = "deploy.commands.dataset"
_NAMED = option("dataset", metavar="DATASET", help="its digest, eight or more digits of it, or its name")

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
            "register": Described(
                f"{_DATASET}:register",
                "put a file with one record a line, or weights from elsewhere, into the store, and register it",
                (
                    option(
                        "file",
                        type=Path,
                        metavar="FILE",
                        help="pairs, labelled texts, trails, one a line; or weights",
                    ),
                    option("--kind", default="pairs", metavar="KIND", help="pairs (default), suite, or weights"),
                    option(
                        "--use", choices=("train", "evaluate"), default="evaluate", help="what it is for (evaluate)"
                    ),
                    option("--name", metavar="NAME", help="what it is called (default: the file's name)"),
                    option("--licence", default="unknown", metavar="SPDX", help="under which it may be used (unknown)"),
                    option(
                        "--restriction", action="append", default=[], metavar="NAME", help="no-training (repeat it)"
                    ),
                    option("--pii", choices=("none", "in_the_open"), default="none", help="are persons in it (none)"),
                    option(
                        "--source",
                        type=fingerprint,
                        action="append",
                        default=[],
                        metavar="DIGEST",
                        help="what it was made from: a dataset, or weights of a run (repeat it)",
                    ),
                ),
            ),
            "list": Described(f"{_DATASET}:listed", "list what is registered"),
            "status": Described(
                f"{_DATASET}:status", "say what is known of it; fails where it may not teach", (_NAMED,)
            ),
            "verify": Described(
                f"{_DATASET}:verify",
                "have it read again, whole: every leaf, every root, every anchor",
                (_NAMED, option("--purpose", default="", metavar="FAMILY", help="the model family that asks for it")),
            ),
            "approve": Described(
                f"{_DATASET}:approve",
                "approve what stands against it, by name",
                (
                    _NAMED,
                    option(
                        "concern", nargs="+", metavar="CONCERN", help="pii, weights, licence:NAME, restriction:NAME"
                    ),
                    option("--by", metavar="NAME", help="who approves (default: operator)"),
                    option("--reason", required=True, metavar="TEXT", help="why it may teach in spite of that"),
                ),
            ),
            "sanitise": Described(
                "deploy.commands.sanitise:sanitise",
                "derive a dataset of posts without authors, addresses, numbers and handles; goes on where it stood",
                (_NAMED, option("--corpus", metavar="NAME", help="what it is called (default: its name-sanitised)")),
            ),
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
