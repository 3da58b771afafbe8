"""Evaluation: what the commands are called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, Group, option

_EVALUATION = "deploy.commands.evaluation"
_PLOT = option("--plot", type=Path, metavar="FILE.svg", help="draw each demanded metric with its interval")

EVALUATION: dict[str, Described | Group] = {
    "eval": Group(
        "what a model is worth, measured",
        {
            "suites": Described(f"{_EVALUATION}:suites", "list what models are measured by"),
            "run": Described(
                f"{_EVALUATION}:run",
                "measure a model by a suite; fails where what is demanded does not hold",
                (
                    option("model", metavar="MODEL|FILE", help="its digest in the store, or a file to put there"),
                    option("--family", required=True, metavar="FAMILY", help="boundary, toxicity, language, answers"),
                    option("--suite", required=True, metavar="SUITE", help="its name, or a dataset of `dataset list`"),
                    _PLOT,
                ),
            ),
            "show": Described(
                f"{_EVALUATION}:show",
                "show what was measured of a model, beside what is demanded",
                (option("model", metavar="MODEL", help="its digest"), _PLOT),
            ),
        },
    ),
}
