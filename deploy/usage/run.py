"""Running the organism, simulating it and measuring it: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, option
from deploy.usage.values import above_zero, count, natural, whole

_RUN = "deploy.commands.run"
#: Written out: the help of one command loads none of what is measured.
_AREAS = ("all", "bus", "appends", "log", "gates", "attention", "ingest", "train")
_PART = option("name", help="cells.math_cell, ./my_cell.py, or ./my_cells.py:OneOfThem")

RUN: dict[str, Described] = {
    "tour": Described(
        f"{_RUN}:tour",
        "start everything and walk through it (what bare ./run does)",
        (
            option("--exit", action="store_true", help="stop at the end; implied without a terminal"),
            option("--quick", action="store_true", help="without the posts and the models"),
            option("--retrain", action="store_true", help="train and promote anew what an earlier tour promoted"),
            option("--ask", metavar="TEXT", help="what the math cell shall compute"),
            option("--json", dest="report", metavar="FILE", help="write a machine-readable report to FILE"),
        ),
    ),
    "up": Described(
        f"{_RUN}:up",
        "start the servers and every part, and stay",
        (
            option(
                "--part", action="append", metavar="NAME", help="only these parts (repeat it); lower steps work alone"
            ),
        ),
    ),
    "part": Described(f"{_RUN}:part", "run one part: a module, ./your_file.py, or an entry point", (_PART,)),
    "check": Described(f"{_RUN}:check", "run the checks every part gets for free", (_PART,)),
    "sim": Described(
        f"{_RUN}:sim",
        "simulate the organism under virtual time",
        (
            option("--seed", type=whole, required=True, help="the same seed gives the same log, byte for byte"),
            option("--minutes", type=above_zero, default=2.0, help="simulated minutes"),
            option(
                "--faults",
                default="",
                metavar="NAME=VALUE,…",
                help="drop, duplicate, delay, lose_ack, lose_append, crash, cut, skew",
            ),
        ),
    ),
    "soak": Described(
        "deploy.commands.soak:soak",
        "let an organism of its own live under load while everything is killed, cut, filled and flipped; judge it",
        (
            option(
                "--minutes", type=above_zero, default=10.0, help="how long it lives (10); memory is judged from 6 on"
            ),
            option("--seed", type=natural, default=1, help="the same seed strikes the same at the same times"),
            option(
                "--folder", type=Path, metavar="DIR", help="an empty folder, kept afterwards (default: a temporary)"
            ),
            option("--plot", type=Path, metavar="FILE", help="write memory, files, appends and strikes as SVG"),
        ),
    ),
    "crawl": Described(
        "deploy.commands.crawl:crawl",
        "let a small simulated body crawl through an arena, moved by the real cells, nerves and motors organ",
        (
            option("--seed", type=natural, required=True, help="the same seed gives the same arena and the same log"),
            option("--minutes", type=above_zero, default=2.0, help="simulated minutes of each run"),
            option(
                "--runs", type=count, default=1, metavar="K", help="arenas in a row; the body keeps what it learned"
            ),
            option("--seeds", type=count, default=1, metavar="K", help="so many seeds from --seed on, and add up"),
            option("--direct", action="store_true", help="without a bus and a log: the parts' functions alone, faster"),
            option("--boxed", action="store_true", help="in a pen with no way out"),
            option(
                "--part", action="append", default=[], metavar="NAME", help="a part that lives with it, as the gates"
            ),
            option("--faults", default="", metavar="NAME=VALUE,…", help="of the bus and the parts; as for `sim`"),
            option("--plot", type=Path, metavar="FILE", help="write the last arena and the way through it as SVG"),
        ),
    ),
    "bench": Described(
        "deploy.commands.bench:bench",
        "measure ours beside what it is made of, in one run",
        (
            option("area", nargs="?", choices=_AREAS, default="bus", help="what to measure (default: bus)"),
            option("--events", type=count, default=5_000, metavar="N", help="events of one measurement"),
            option("--write", type=Path, metavar="FILE", help="write the figures as a page, with machine and commit"),
        ),
    ),
}
