"""The model registry, promotions and lineage: what the commands are called with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from deploy.usage.described import Described, Group, option
from deploy.usage.exports import EXPORT
from deploy.usage.values import fingerprint
from shared.subjects.registry import Target

_REGISTRY, _PROMOTE = "deploy.commands.registry", "deploy.commands.promote"
_FAMILY = option("family", metavar="FAMILY", help="the models' family, such as boundary")
_VERSION = option("model", metavar="MODEL", help="a version, a digest, or eight digits or more of its beginning")
_MODEL = option("model", type=fingerprint, metavar="MODEL", help="the model's digest")
_TO = option("--to", choices=get_args(Target), required=True, help="where it is to be in force")
_EMERGENCY = option(
    "--emergency", action="store_true", help="on the word of cto and safety lead; no threshold is waived"
)
_PLOT = option("--plot", type=Path, metavar="FILE.svg", help="write the gate's table as a picture")

REGISTRY: dict[str, Described | Group] = {
    "registry": Group(
        "models: their versions, what was in force when, what taught them",
        {
            "list": Described(f"{_REGISTRY}:listed", "list the families and what is in force of each"),
            "show": Described(f"{_REGISTRY}:show", "tell a family's versions and their evidence", (_FAMILY,)),
            "at": Described(
                f"{_REGISTRY}:at",
                "tell what was in force at a time, exactly",
                (
                    _FAMILY,
                    option("when", metavar="WHEN", help="an index of the log, or a time such as 2026-01-31T12:00"),
                ),
            ),
            "register": Described(
                f"{_REGISTRY}:register",
                "register what a recorded run left, under a version that never changes",
                (
                    _MODEL,
                    option("--version", required=True, metavar="NAME", help="what it is called"),
                    option("--code", default="", metavar="NAME", help="name and version of the code that made it"),
                    option("--high-risk", action="store_true", help="three signers instead of one"),
                    option(
                        "--watermark", default="", metavar="DIGEST", help="of the owner's mark that you claim is in it"
                    ),
                ),
            ),
            "manifest": Described(
                f"{_PROMOTE}:manifest",
                "tell what signers sign for a promotion, and what stands against it",
                (_FAMILY, _VERSION, _TO, _EMERGENCY, _PLOT),
            ),
            "verify": Described(
                f"{_REGISTRY}:verify",
                "check the log whole and judge every promotion and training in it again; 1 where one differs",
                (option("source", type=Path, nargs="?", metavar="FOLDER|BUNDLE", help="a stored log (default: live)"),),
            ),
            "lineage": Described(
                f"{_REGISTRY}:lineage",
                "walk from a model back to its runs, datasets, corpora and batches",
                (_MODEL, option("--post", metavar="ID", help="and prove that this post stands in one of them")),
            ),
            "forward": Described(
                f"{_REGISTRY}:forward",
                "walk from a post or a dataset to every model that it taught",
                (option("what", metavar="POST|DATASET", help="a post's id, or a dataset's digest"),),
            ),
            "taught-by": Described(
                f"{_REGISTRY}:taught_by",
                "name every model that a person's posts taught",
                (
                    option(
                        "person", metavar="PERSON", help="their name, or the pseudonym that stays when they are erased"
                    ),
                ),
            ),
            **EXPORT,
        },
    ),
    "promote": Described(
        f"{_PROMOTE}:promote",
        "put a model in force on fresh evidence; 7 where the gate blocks it",
        (
            _FAMILY,
            _VERSION,
            _TO,
            _EMERGENCY,
            option("--reason", default="", metavar="TEXT", help="why, as the log will say; an emergency needs it"),
            _PLOT,
        ),
    ),
    "rollback": Described(
        f"{_PROMOTE}:rollback",
        "take back what is in force and restore what was there before",
        (
            _FAMILY,
            option("--from", dest="target", choices=get_args(Target), required=True, help="where"),
            option("--reason", required=True, metavar="TEXT", help="why, as the log will say"),
        ),
    ),
}
