"""Policies and the site's energy: what the commands are called with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from deploy.usage.described import Described, Group, option
from deploy.usage.values import count, share
from shared.subjects.policy import Effect, PolicyState

EFFECTS = tuple(effect for effect in get_args(Effect) if effect != "allow")
STATES = get_args(PolicyState)
_POLICY = "deploy.commands.policy"
_DRAFT = option(
    "--draft",
    type=Path,
    action="append",
    default=[],
    metavar="FILE.rego",
    help="in the place of the shipped file of that name (repeat it)",
)
_LIFE = "deploy.commands.policy_life"
_NAME = option("name", help="of an added policy")
_PACKAGE = option("package", help="promotion, training, energy …; see `policy list`")

RULES: dict[str, Described | Group] = {
    "policy": Group(
        "the rules in Rego by which posts, trainings and promotions are judged",
        {
            "list": Described(f"{_POLICY}:listed", "list every package that judges", (_DRAFT,)),
            "show": Described(f"{_POLICY}:show", "print the text of a policy", (_PACKAGE, _DRAFT)),
            "check": Described(
                f"{_POLICY}:check",
                "say what a policy says about an input, row by row; fails where it denies",
                (_PACKAGE, option("given", metavar="INPUT.json", help="the input, or - for standard input"), _DRAFT),
            ),
            "test": Described(
                f"{_POLICY}:test",
                "hold expectations against the policies: JSON lines of package, given, allowed, failing",
                (option("files", nargs="+", metavar="FILE.jsonl", help="one expectation a line"), _DRAFT),
            ),
            "digest": Described(f"{_POLICY}:digest", "print the digest that decisions carry", (_DRAFT,)),
            "draft": Described(
                f"{_LIFE}:draft",
                "add a policy of your own, package nimmerverse.added.NAME; nobody asks a draft",
                (
                    _NAME,
                    option("file", type=Path, metavar="FILE.rego", help="its text"),
                    option("--effect", choices=EFFECTS, default="deny", help="on what it does not allow (deny)"),
                ),
            ),
            "move": Described(
                f"{_LIFE}:move",
                "move an added policy on in its life, or back to draft",
                (
                    _NAME,
                    option("state", choices=STATES, help="draft, simulating, canary, active, deprecated"),
                    option("--share", type=share, default=0.0, metavar="S", help="of a canary, below 1: 0.05"),
                    option("--reason", required=True, help="why"),
                ),
            ),
            "ask": Described(
                f"{_LIFE}:ask",
                "ask an added policy about a request; fails where its effect is not to allow it",
                (
                    _NAME,
                    option("request", help="the request's id, by which a canary draws"),
                    option("given", metavar="INPUT.json", help="the input, or - for standard input"),
                ),
            ),
            "status": Described(f"{_LIFE}:status", "show where an added policy stands", (_NAME,)),
        },
    ),
    "energy": Described(
        "deploy.commands.energy:energy",
        "show what the site draws, whether a training may start, and the last day; fails where none may",
        (
            option(
                "--purpose", default="operator", metavar="NAME", help="a job or model family; the decision names it"
            ),
            option("--heavy", action="store_true", help="ask for a heavy run, which waits for off-peak"),
            option("--plot", type=Path, metavar="FILE.svg", help="write the day as a picture"),
            option("--play", type=Path, metavar="FILE.csv", help="judge a recorded series instead, and decide nothing"),
            option("--load", metavar="COLUMN", help="with --play: a column of shares of --full-kw"),
            option("--charge", metavar="COLUMN", help="with --load: a column of shares (default: always full)"),
            option("--full-kw", type=count, default=300_000, metavar="N", help="with --load (default: 300000)"),
            option(
                "--every-s", type=count, default=1_800, metavar="S", help="with --load: between rows (default: 1800)"
            ),
        ),
    ),
}
