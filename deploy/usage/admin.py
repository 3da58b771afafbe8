"""Looking after an installation: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, option

_ADMIN = "deploy.commands.admin"

ADMIN: dict[str, Described] = {
    "config": Described(f"{_ADMIN}:config", "print every effective setting and its origin"),
    "doctor": Described(f"{_ADMIN}:doctor", "look at what has to be right, and say what is not"),
    "keys": Described(
        f"{_ADMIN}:keys",
        "list, rotate or revoke keys, change the passphrase; let several owners agree on root keys",
        (
            option(
                "action",
                nargs="?",
                choices=(
                    *("list", "log", "rotate", "revoke", "generate", "passphrase"),
                    *("owner", "propose", "cosign", "submit"),
                ),
                default="list",
            ),
            option("names", nargs="*", help="whose key; for `propose` what; for `cosign` and `submit` the file"),
            option("--reason", default="", help="for `revoke`: why, as the log will say"),
            option("--file", type=Path, help="for `passphrase`: the file with the new one"),
            option("--keyring", type=Path, metavar="FOLDER", help="for `owner` and `cosign`: the owner's own keyring"),
            option("--key", metavar="NAME", help="for `owner` and `cosign`: the key in it"),
            option("--passphrase-file", type=Path, metavar="FILE", help="for `owner` and `cosign`: what opens it"),
            option("--owner", default="", metavar="NAME", help="for `owner`: the person or office"),
            option("--yes", action="store_true", help="for `cosign`: sign what is shown without asking"),
        ),
    ),
    "connect": Described(f"{_ADMIN}:connect", "print URL, credentials and a nats command line context"),
    "subjects": Described(
        "deploy.references:run",
        "list the subjects; check or write the generated references",
        (
            option("--check", action="store_true", help="1 if a generated file differs from the declarations"),
            option("--write", action="store_true", help="write the generated files"),
            option("--schema", metavar="SUBJECT", help="print the JSON schema of one subject's message"),
        ),
    ),
    "completion": Described(
        f"{_ADMIN}:completion", "print a shell completion script", (option("shell", choices=("bash", "zsh", "fish")),)
    ),
}
