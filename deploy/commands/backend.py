"""`train backend`: a training backend in an environment of its own, from a list of hashes."""

from __future__ import annotations

import subprocess
import sys
import venv
from argparse import Namespace
from pathlib import Path

from deploy.terminal import Terminal
from organs.trainer.backends import Backends
from organs.trainer.surroundings import ROOT
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, Fault
from shared.files import private_folder

LOCKS = ROOT / "requirements"
APART = ("tinygrad", "hivemind")
#: Says where a C compiler is, to what looks for one named clang: the wheel `ziglang` holds it.
CLANG = '#!/bin/sh\nexec "{python}" -m ziglang clang "$@"\n'


def install(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Make the environment and install what the lock names; again, it brings it up to the lock."""
    backends, name = Backends(loaded.settings.home / "backends"), args.name
    lock = LOCKS / f"{name}.txt"
    if name not in APART:
        raise ConfigFault(f"there is no backend {name!r} to install; expected one of {', '.join(APART)}")
    if not lock.is_file():
        raise ConfigFault(f"there is no {lock}: backends are installed from a clone of the product")
    folder = backends.folder / name
    private_folder(backends.folder)
    terminal.note(f"installing {name} into {folder}")
    venv.create(folder, with_pip=True, clear=False)
    _pip(backends.python(name), lock)
    if name == "tinygrad":
        _write_clang(folder / "bin" / "clang", backends.python(name))
    backends.link(name)
    terminal.give({"backend": name, "folder": str(folder)}, f"{name} is installed in {folder}")
    return Exit.OK


def _pip(python: Path, lock: Path) -> None:
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", str(lock)],
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise Fault(f"pip could not install {lock.name} (status {done.returncode}); what it said stands above")


def _write_clang(path: Path, python: Path) -> None:
    path.write_text(CLANG.format(python=python))
    path.chmod(0o700)
