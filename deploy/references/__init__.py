"""The generated references: each subject, setting, error, constant and metric, rendered from the declarations alone.

`nimmerverse subjects --write` writes them; `--check` names each file that says something else than the code.
"""

from __future__ import annotations

from deploy.references.command import run as run
from deploy.references.files import FILES as FILES
from deploy.references.files import Drift as Drift
from deploy.references.files import check as check
from deploy.references.files import write as write
