"""What computes a training, each in an environment of its own, so that none brings its dependencies to the others.

`torch` is an extra of this installation. The others lie in `home/backends/NAME`, made from a list of hashes
(requirements/NAME.txt); their workers import our own packages from a folder that holds nothing but links to these.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from organs.trainer.surroundings import ROOT

HERE = "torch"
OWN = "ours"  #: the folder of links
LINKED = ("shared", "organs")
WORKER = "organs.trainer.worker"

#: What an environment's worker finds in its own variables.
_EXTRA: dict[str, dict[str, str]] = {"tinygrad": {"DEV": "CPU", "CPU": "1"}}


class Backends:
    """The backends that are installed for one user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self, backend: str) -> str:
        """Return how to install a backend that is not here, nothing where it is."""
        if backend == HERE:
            found = importlib.util.find_spec("torch") is not None
            return "" if found else "torch is not installed here: pip install 'nimmerverse[train]'"
        python = self.python(backend)
        if shutil.which(python):
            return ""
        found = f"{python} may not be run" if python.exists() else f"there is no {python}"
        return f"{backend} is not installed here ({found}): `nimmerverse train backend {backend}` installs it"

    def python(self, backend: str) -> Path:
        """Return the interpreter of a backend's environment."""
        return self.folder / backend / "bin" / "python"

    def command(self, backend: str) -> list[str]:
        """Return how a worker is started."""
        python = sys.executable if backend == HERE else str(self.python(backend))
        return [python, "-P", "-m", WORKER]

    def environment(self, backend: str) -> Mapping[str, str]:
        """Return what a worker's environment holds besides."""
        if backend == HERE:
            return {"PYTHONPATH": str(ROOT)}
        own = self.folder / backend / OWN
        return {"PYTHONPATH": str(own), "PATH": f"{self.folder / backend / 'bin'}:/usr/bin:/bin"} | _EXTRA.get(
            backend, {}
        )

    def link(self, backend: str) -> None:
        """Put links to our own packages where a backend's workers find them."""
        own = self.folder / backend / OWN
        own.mkdir(mode=0o700, exist_ok=True)
        for name in LINKED:
            link = own / name
            link.unlink(missing_ok=True)
            link.symlink_to(ROOT / name)
