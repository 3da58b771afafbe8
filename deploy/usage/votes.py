"""Proposals, votes and the people who cast them: what the commands are called with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from deploy.usage.described import Described, Group, option
from deploy.usage.values import finite, natural
from shared.ballots import PEOPLES
from shared.subjects.consensus import ChangeType, Choice, ProposalState, Risk

_PEOPLE, _PROPOSALS = "deploy.commands.people", "deploy.commands.proposals"
_PROPOSAL = option("proposal", metavar="PROPOSAL", help="the proposal's id")
_FILE = option("file", type=Path, metavar="FILE", help="a JSONL file, one proposal a line")

VOTES: dict[str, Described | Group] = {
    "people": Group(
        "who may vote and sign, and in which roles",
        {
            "add": Described(
                f"{_PEOPLE}:add",
                "introduce a person's key for ballots in their roles; without --public it is made here",
                (
                    option("name", metavar="NAME", help="lower-case letters, digits, '_' and '-'"),
                    option(
                        "--role",
                        action="append",
                        choices=PEOPLES,
                        required=True,
                        help="what they vote and sign as (repeat it)",
                    ),
                    option("--public", metavar="HEX", help="the public half of a key that lies with them"),
                ),
            ),
            "list": Described(f"{_PEOPLE}:listed", "list who was introduced, with which key, from which index on"),
            "remove": Described(
                f"{_PEOPLE}:remove",
                "revoke a person's key; what it signed before stays counted",
                (
                    option("name", metavar="NAME"),
                    option("--reason", required=True, help="why, as the log will say"),
                ),
            ),
        },
    ),
    "vote": Described(
        f"{_PEOPLE}:vote",
        "cast a ballot on a proposal, or sign a promotion's manifest, with the voter's own key",
        (
            option("about", metavar="SUBJECT", help="a proposal's id, or the digest of a manifest"),
            option("--family", default="", metavar="NAME", help="the models' family that a manifest is of"),
            option("choice", choices=get_args(Choice)),
            option("--as", dest="voter", required=True, metavar="NAME", help="who votes"),
            option("--role", choices=PEOPLES, default="human", help="in which role (default: human)"),
            option("--reason", required=True, metavar="TEXT", help="why, as the log will say"),
            option("--evidence", default="", metavar="DIGEST", help="what the vote rests on, if that has a digest"),
            option("--keyring", type=Path, metavar="FOLDER", help="the voter's own keyring (default: the host's)"),
            option("--key", metavar="NAME", help="the key in it (default: the voter's name)"),
            option("--passphrase-file", type=Path, metavar="FILE", help="what opens it"),
        ),
    ),
    "propose": Described(
        f"{_PROPOSALS}:propose",
        "propose a model or a change; it is pending until the AI and a person voted",
        (
            option("proposal", metavar="ID", help="five characters or more"),
            option("--summary", required=True, metavar="TEXT", help="10 to 500 characters"),
            option("--details", default="", metavar="TEXT"),
            option("--proposer", default="operator", metavar="NAME"),
            option("--change-type", choices=get_args(ChangeType), default="research", help="default: research"),
            option("--risk", choices=get_args(Risk), default="low", help="default: low"),
            option("--family", default="", metavar="NAME", help="the model's family"),
            option("--model", default="", metavar="DIGEST", help="the model that is proposed"),
            option(
                "--run",
                dest="run_record",
                default="",
                metavar="DIGEST",
                help="the record of its run: the AI votes by it",
            ),
            option("--model-id", default="", metavar="NAME", help="what is trained; the next options say how"),
            option("--dataset", action="append", default=[], metavar="DIGEST", help="what it learns from (repeat it)"),
            option("--base", default="", metavar="DIGEST", help="the weights that it goes on from"),
            option("--backend", default="torch", metavar="NAME", help="torch, tinygrad or hivemind (default: torch)"),
            option("--steps", type=natural, default=1, metavar="N", help="up to 10,000"),
            option("--learning-rate", type=finite, default=0.01, metavar="RATE", help="above 0, up to 1"),
            option("--batch", type=natural, default=32, metavar="N", help="up to 256 with tinygrad, 128 with hivemind"),
            option("--epochs", type=natural, default=0, metavar="N", help="up to 1,000 with tinygrad"),
        ),
    ),
    "proposals": Group(
        "where proposals stand",
        {
            "list": Described(
                f"{_PROPOSALS}:listed",
                "list the newest proposals",
                (
                    option("--state", choices=get_args(ProposalState), help="only these"),
                    option("--limit", type=natural, default=20, metavar="N", help="up to 20 (default)"),
                ),
            ),
            "show": Described(
                f"{_PROPOSALS}:show",
                "tell a proposal's votes, its ethics review, and what the AI waits for",
                (_PROPOSAL,),
            ),
            "stats": Described(f"{_PROPOSALS}:stats", "count the proposals by their state"),
            "check": Described(
                f"{_PROPOSALS}:check",
                "succeed only where a proposal is accepted, 7 otherwise: a merge's status",
                (
                    option("proposal", nargs="?", metavar="PROPOSAL", help="the proposal's id"),
                    option("--file", type=Path, metavar="FILE", help="or a JSONL file: each as it says, and accepted"),
                ),
            ),
            "validate": Described(f"{_PROPOSALS}:validate", "say of each line of a file whether it is valid", (_FILE,)),
            "export": Described(f"{_PROPOSALS}:export", "write every proposal into a JSONL file", (_FILE,)),
            "import": Described(
                f"{_PROPOSALS}:import_", "make the proposals of a JSONL file that are not there yet", (_FILE,)
            ),
        },
    ),
}
