"""What is kept beside the log: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import TRUST, Described, Group, option
from deploy.usage.values import recalled

_VIEWS = "deploy.commands.views"
_ARTIFACT = "deploy.commands.artifact"
_HOLDS = ("checkpoint", "model", "log", "dataset", "evaluation", "other")
_DIGEST = option("digest", help="the BLAKE3 digest, 64 hexadecimal digits")
_MEMORY = "deploy.commands.memory"
_KINDS = ("episodic", "semantic", "procedural", "working", "prospective")
_PERSONAL = "deploy.commands.personal"

KEEP: dict[str, Described | Group] = {
    "artifact": Group(
        "store content under its digest, and see that it is what the log says",
        {
            "put": Described(
                f"{_ARTIFACT}:put",
                "store a file and have it registered",
                (
                    option("file", type=Path, help="what to store"),
                    option("--holds", choices=_HOLDS, default="other", help="what it is (default: other)"),
                    option("--name", help="a name for people (default: the file's)"),
                    option("--made-by", help="who or what made it (default: operator)"),
                    option("--media-type", default="application/octet-stream", help="type/subtype"),
                    option(
                        "--parent", action="append", default=[], metavar="DIGEST", help="made from this (repeat it)"
                    ),
                ),
            ),
            "get": Described(
                f"{_ARTIFACT}:get",
                "write a content to a file, every byte verified",
                (
                    _DIGEST,
                    option("--out", metavar="FILE", help="where to (default: the digest here; - for standard output)"),
                ),
            ),
            "list": Described(f"{_ARTIFACT}:listing", "list what is stored or registered"),
            "verify": Described(
                f"{_ARTIFACT}:verify",
                "read every byte and compare it with the log",
                (
                    option("digest", nargs="?", help="only this one"),
                    option("--all", action="store_true", help="every artifact (the default)"),
                ),
            ),
            "archive": Described(
                f"{_ARTIFACT}:archive",
                "take an artifact out of use; what it was remains provable",
                (_DIGEST, option("--reason", required=True, help="why, as the log will say")),
            ),
        },
    ),
    "views": Group(
        "the log's views in PostgreSQL: list, verify and rebuild them",
        {
            "list": Described(f"{_VIEWS}:list_views", "list every table: version, rows, next index, digest"),
            "verify": Described(
                f"{_VIEWS}:verify_views",
                "compare every table with one built from the log; 11 names the first row that differs",
                (TRUST,),
            ),
            "rebuild": Described(
                f"{_VIEWS}:rebuild_views",
                "build every view anew from the log, beside the present ones until it is done",
            ),
        },
    ),
    "memory": Group(
        "what is remembered: add, search, list, forget, verify and rebuild it",
        {
            "add": Described(
                f"{_MEMORY}:add",
                "remember text files passage by passage, in the place of what was remembered of them",
                (
                    option("files", nargs="+", type=Path, metavar="FILE", help="text files, or folders with some"),
                    option(
                        "--kind", choices=_KINDS, default="semantic", help="what is so (semantic), how it is done …"
                    ),
                    option("--person", default="", metavar="NAME", help="it is about this person: seal it for them"),
                ),
            ),
            "search": Described(
                f"{_MEMORY}:search",
                "print the passages that are nearest in meaning to a text",
                (
                    option("text", nargs="+", help="a question or a few words"),
                    option("--limit", type=recalled, default=5, metavar="N", help="at most so many"),
                    option("--kind", choices=_KINDS, action="append", default=[], help="only these (repeat it)"),
                    option("--open", action="store_true", help="show what is sealed, with the keys of this vault"),
                ),
            ),
            "list": Described(
                f"{_MEMORY}:list_passages",
                "print every passage: id, kind, origin",
                (option("--source", default="", metavar="NAME", help="only those of one file, or of `trails`"),),
            ),
            "forget": Described(
                f"{_MEMORY}:forget",
                "forget passages; the log goes on saying that they were remembered",
                (
                    option("ids", nargs="*", metavar="ID", help="as `memory list` prints them"),
                    option("--source", default="", metavar="NAME", help="everything of one source"),
                ),
            ),
            "verify": Described(
                f"{_MEMORY}:verify", "read memory from the log again and compare the digests; 11 unless they are equal"
            ),
            "rebuild": Described(
                f"{_MEMORY}:rebuild", "have memory read from the log again, in the place of what it keeps"
            ),
        },
    ),
    "vault": Group(
        "look after people's keys and other secrets",
        {
            "list": Described(
                f"{_PERSONAL}:listed",
                "say what the vault holds and where its backups lie",
                (option("--names", action="store_true", help="print names too; what is sealed is never printed"),),
            ),
            "backup": Described(
                f"{_PERSONAL}:backup",
                "write a copy of the vault that erasures rewrite",
                (
                    option("folder", nargs="?", type=Path, help="a new folder elsewhere; none rewrites every backup"),
                    option(
                        "--forget", action="store_true", help="take a backup that exists no more out of the register"
                    ),
                ),
            ),
            "rotate": Described(f"{_PERSONAL}:rotate", "seal the vault and its backups under a new key"),
        },
    ),
}
