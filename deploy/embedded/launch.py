"""How a server's command is wrapped so that it dies with its parent and runs as somebody it accepts.

PostgreSQL refuses to run as root. As root it gets a user namespace in which root is called nobody; where such
namespaces are blocked (many containers) it runs as the real nobody.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

from shared.errors import ServerFailed

if TYPE_CHECKING:
    from pathlib import Path

#: The user and group called nobody on Linux.
NOBODY = 65534

#: All that a server sees of our environment: no setting of the shell it was started from leaks into it.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Launcher:
    """One way to run a command: as we are, in a user namespace, or as nobody (then `owner` must own its files)."""

    name: str
    namespace: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    owner: int | None = None

    def argv(self, command: tuple[str, ...], death: signal.Signals) -> tuple[str, ...]:
        """`command` wrapped; on Linux the kernel sends it `death` when the thread that started it ends.

        setpriv sets the death signal after the namespace and the identity: both would clear it.
        """
        if not sys.platform.startswith("linux"):
            return command
        dying = ("--pdeathsig", death.name.removeprefix("SIG"))
        return (*self._namespace_argv(), _tool("setpriv"), *self.identity, *dying, "--", *command)

    def _namespace_argv(self) -> tuple[str, ...]:
        return (_tool("unshare"), *self.namespace) if self.namespace else ()


AS_WE_ARE = Launcher("as we are")
IN_NAMESPACE = Launcher("in a user namespace", namespace=("--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"))
AS_NOBODY = Launcher(
    "as nobody", identity=("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"), owner=NOBODY
)


async def unprivileged(program: Path) -> Launcher:
    """The first launcher under which `program --version` succeeds without being root; raises ServerFailed.

    A shell stands between, because setpriv itself may still read what the program's own children may not.
    """
    if os.geteuid() != 0:
        return AS_WE_ARE
    probe = ("/bin/sh", "-c", 'exec "$0" --version', str(program))
    found: list[str] = []
    for launcher in (IN_NAMESPACE, AS_NOBODY):
        error = await _error(launcher.argv(probe, signal.SIGKILL))
        if error is None:
            return launcher
        found.append(f"{launcher.name}: {error}")
    raise ServerFailed(
        f"{program} refuses to run as root and runs in no other way here ({'; '.join(found)}); "
        "run as an ordinary user, or install it where every user may read it."
    )


async def _error(argv: tuple[str, ...]) -> str | None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=ENVIRONMENT, start_new_session=True
    )
    _, errors = await process.communicate()
    return (
        None if process.returncode == 0 else errors.decode(errors="replace").strip() or f"status {process.returncode}"
    )


def _tool(name: str) -> str:
    path = shutil.which(name, path=ENVIRONMENT["PATH"])
    if path is None:
        raise ServerFailed(
            f"{name} was not found; install util-linux, without which a server could outlive its parent."
        )
    return path
