"""The private folder of a Unix socket, in a short place when the wanted path is too long for one."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigFault
from shared.files import OPEN_TO_OTHERS, private_folder, storing

SOCKET_PORT = 5432
#: The longest path of a Unix socket on Linux: 108 bytes with the closing zero.
PATH_LIMIT_BYTES = 107
_TEMPORARY = Path("/tmp")


@dataclass(frozen=True, slots=True)
class SocketFolder:
    """A folder of mode 0700 for PostgreSQL's socket; `short` ones lie elsewhere and are removed on close."""

    path: Path
    short: bool

    @classmethod
    def open(cls, folder: Path, owner: int | None, port: int, short_folder: Path | None) -> SocketFolder:
        """The one inside `folder`, or a short one where that is too long or `owner`, another user, must reach it."""
        near = folder / "socket"
        if owner is None and _fits(near, port):
            private_folder(near)
            return cls(near, short=False)
        path = next(each for each in _short_paths(folder, owner, short_folder) if _fits(each, port))
        _claim(path, owner)
        return cls(path, short=True)

    def close(self) -> None:
        """Remove a short folder; the one inside the data folder stays."""
        if self.short:
            shutil.rmtree(self.path, ignore_errors=True)


def _fits(folder: Path, port: int) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{port}")) <= PATH_LIMIT_BYTES


def _short_paths(folder: Path, owner: int | None, short_folder: Path | None) -> list[Path]:
    """Candidates, best first. The name follows from the folder: what a crash left is found and used again."""
    name = f"nimmerverse-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") if owner is None else ""
    places = [short_folder, Path(runtime) if Path(runtime).is_absolute() else None, _TEMPORARY]
    return [place / name for place in places if place is not None and place.is_dir()]


def _claim(path: Path, owner: int | None) -> None:
    """Make `path` ours alone; somebody else's folder or link of that name is refused."""
    with storing(path):
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_mode & OPEN_TO_OTHERS
            or found.st_uid not in {os.geteuid(), owner}
        ):
            raise ConfigFault(
                f"{path} belongs to somebody else, expected a private folder of ours for a socket; remove it."
            )
        if os.geteuid() == 0:
            os.chown(path, owner or 0, owner or 0, follow_symlinks=False)
