"""What of a model can be exported: what the command is called with."""

from __future__ import annotations

from pathlib import Path

from deploy.usage.described import Described, option

#: The command's word in the group `registry`.
EXPORT: dict[str, Described] = {
    "export": Described(
        "deploy.commands.model_export:export",
        "write a model and what other tools read of it: signature, SLSA provenance, OpenLineage, CycloneDX, card",
        (
            option("family", metavar="FAMILY", help="the model's family"),
            option("model", metavar="MODEL", help="a version, a digest, or eight digits or more of its beginning"),
            option("folder", type=Path, metavar="DIR", help="a folder that is empty, or is not there yet"),
        ),
    )
}
