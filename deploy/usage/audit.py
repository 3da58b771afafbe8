"""Proving what the log says, and having it witnessed outside: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import TRUST, Described, Group, option
from deploy.usage.values import above_zero, address, count, natural, pattern

_AUDIT = "deploy.commands.audit"
_EVIDENCE = "deploy.commands.evidence"
_SOURCE = option("source", type=Path, nargs="?", help="a log folder or a bundle (default: the live log)")
_TILES = option("source", type=Path, nargs="?", help="a log folder or a bundle (default: the notary's own tiles)")
_OUT = option("--out", type=Path, metavar="FILE", help="write it there (default: standard output)")
_EVENT = "an index, index,offset, or an event's id"
_AGAINST = "a checkpoint you kept: the log must go on from it (repeat it)"
_POLICY = "the same nerve with other rules: show which decisions would differ (repeat it)"
_KNOWN = "a void entry you know of already (repeat it)"
_ANCHOR = "deploy.commands.anchor"
_DIGESTED = option("target", metavar="FILE|DIGEST", help="a file, or a SHA-256 digest in hexadecimal digits")
_PERSONAL = "deploy.commands.personal"

AUDIT: dict[str, Described | Group] = {
    "audit": Group(
        "prove, check and keep the log",
        {
            "verify": Described(
                f"{_AUDIT}:verify",
                "check a log: whole, as signed, fresh, by whom; names the first bad event",
                (
                    _SOURCE,
                    TRUST,
                    option("--mode", choices=("links", "signatures", "full"), default="full", help="how much to check"),
                    option("--against", type=Path, action="append", default=[], metavar="FILE", help=_AGAINST),
                    option("--max-age", type=above_zero, metavar="S", help="how old the checkpoint may be"),
                    option("--witness", action="append", default=[], metavar="VKEY", help="a witness you trust"),
                    option("--quorum", type=natural, default=0, metavar="N", help="so many witnesses must have signed"),
                    option("--known-void", type=natural, action="append", default=[], metavar="INDEX", help=_KNOWN),
                    option("--jobs", type=count, metavar="N", help="cores to judge on (default: all, if worth it)"),
                    option("--state", type=Path, metavar="FILE", help="remember what was proven, and go on from there"),
                ),
            ),
            "replay": Described(
                "deploy.commands.replay:replay",
                "read a log back: filtered, decoded, each decision run again from its evidence",
                (
                    _SOURCE,
                    TRUST,
                    option("--subject", type=pattern, default=">", metavar="PATTERN", help="print only what matches"),
                    option("--entity", metavar="NAME", help="print only what concerns this entity"),
                    option("--since", metavar="TIME", help="print only what was stored at or after this time (UTC)"),
                    option("--until", metavar="TIME", help="print only what was stored before this time (UTC)"),
                    option("--part", action="append", default=[], metavar="NAME", help="a nerve of yours to run again"),
                    option("--policy", action="append", default=[], metavar="FILE.py", help=_POLICY),
                ),
            ),
            "witness": Described(
                "deploy.commands.witness:witness",
                "cosign other logs' checkpoints over HTTP, each only if it goes on from the last; stays",
                (
                    option(
                        "--listen",
                        type=address,
                        default=("127.0.0.1", 0),
                        metavar="HOST:PORT",
                        help="where to answer (default: a free port on 127.0.0.1)",
                    ),
                    option(
                        "--log",
                        action="append",
                        default=[],
                        metavar="VKEY",
                        help="a log to cosign: its verifier key, or a file of them (repeat it)",
                    ),
                    option("--name", help="the name to cosign under (default: made from the key)"),
                ),
            ),
            "erase": Described(
                f"{_PERSONAL}:erase",
                "erase a person: destroy the key of everything that is sealed about them",
                (
                    option("person", help="the name that the data was sealed under; - reads it from standard input"),
                    option("--reason", required=True, help="why, as the log will say for ever; never who"),
                    option("--timeout", type=above_zero, default=60.0, metavar="S", help="seconds to wait for the end"),
                ),
            ),
            "bundle": Described(
                f"{_EVIDENCE}:bundle",
                "write the log, or chosen entries of it, into one file that anybody can check offline",
                (
                    option("out", type=Path, help="the file to write, for instance log.zip"),
                    _TILES,
                    option("--as-found", action="store_true", help="also where the log does not verify"),
                    option("--event", action="append", default=[], metavar="EVENT", help="only this one (repeat it)"),
                    option(
                        "--subject",
                        action="append",
                        default=[],
                        type=pattern,
                        metavar="PATTERN",
                        help="only what matches (repeat it)",
                    ),
                ),
            ),
            "verifier": Described(f"{_EVIDENCE}:verifier", "print the stand-alone verifier, one file of Python"),
            "prove": Described(
                f"{_EVIDENCE}:prove",
                "write the proof that an event is in the log",
                (option("event", help=_EVENT), _TILES, _OUT),
            ),
            "check-proof": Described(
                f"{_EVIDENCE}:check_proof",
                "check a proof file offline",
                (
                    option("file", type=Path, help="a .tlog-proof file"),
                    TRUST,
                    option("--log-key", metavar="VKEY", help="the log's key, as `audit verify` prints it"),
                ),
            ),
            "diff": Described(
                f"{_EVIDENCE}:diff",
                "say where two logs part",
                (
                    option("a", type=Path, help="a log folder or a bundle"),
                    option("b", type=Path, nargs="?", help="the other (default: the live log)"),
                ),
            ),
            "export": Described(
                f"{_EVIDENCE}:export",
                "write an event in another world's format",
                (
                    option(
                        "format",
                        choices=("dsse", "in-toto", "cose", "prov"),
                        help="DSSE, in-toto, COSE receipt, PROV-JSON",
                    ),
                    option("what", help=f"{_EVENT}; for prov also a subject pattern, for in-toto also a bundle"),
                    _TILES,
                    _OUT,
                ),
            ),
            "backup": Described(
                f"{_AUDIT}:backup",
                "write a backup of the log, its tiles and its sealed keys into a new folder",
                (option("folder", type=Path, help="a folder that does not exist yet"),),
            ),
            "restore": Described(
                f"{_AUDIT}:restore",
                "put a backup in the log's place, or go on after a loss; what is missing is named",
                (
                    option("folder", type=Path, nargs="?", help="a backup; without one the log goes on as it is"),
                    option("--reason", required=True, help="why, as the log will say"),
                    option("--checkpoint", type=Path, metavar="FILE", help="the newest that a witness or auditor has"),
                ),
            ),
        },
    ),
    "anchor": Group(
        "have digests witnessed outside, and see what a proof is worth",
        {
            "stamp": Described(
                f"{_ANCHOR}:stamp",
                "anchor a file or a digest",
                (
                    _DIGESTED,
                    option("--out", type=Path, metavar="PATH", help="where the proof goes (default: FILE.ots)"),
                ),
            ),
            "status": Described(
                f"{_ANCHOR}:status",
                "say how a file or a digest is anchored; alone, list what this data folder holds",
                (option("target", nargs="?", metavar="FILE|DIGEST", help="default: everything"),),
            ),
            "verify": Described(
                f"{_ANCHOR}:verify",
                "judge a proof offline: 0 for a checked block, 7 for less, 19 if it is wrong",
                (
                    option("proof", type=Path, metavar="FILE.ots", help="the proof"),
                    option("--file", type=Path, help="what it is of (default: FILE, where that exists)"),
                    option("--header", metavar="HEX", help="the block's header in 160 hexadecimal digits"),
                ),
            ),
        },
    ),
}
