"""Copies of a vault: the same files in a folder elsewhere, opened by the same passphrase.

A copy follows its vault generation by generation; what an erasure destroys in the one it destroys in the other.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import KeyFault, StorageFault
from shared.files import storing, sync_folder
from shared.keys.files import check_folder, make_folder, read_file, write_file
from shared.vault.format import HEADER_NAME, SUFFIX, read_header
from shared.vault.generations import replace_header, sweep
from shared.vault.port import BackupUnreachable


def reach(folder: Path, vault: bytes) -> None:
    """Raise BackupUnreachable unless the folder holds a copy of this vault: an empty mount point is none."""
    try:
        check_folder(folder)
        found = read_header(folder).header.vault
    except KeyFault as fault:
        raise _unreachable(folder, str(fault)) from fault
    if found != vault:
        raise _unreachable(folder, "it holds another vault")


def copy_to(source: Path, generation: str, folder: Path) -> None:
    """Make `folder` a copy of the vault in `source`; whoever calls it holds the vault's lock.

    At every instant the folder holds one whole vault, though not always the newest.
    """
    try:
        make_folder(folder)
        check_folder(folder)
        _copy(source / generation, folder / generation)
        with storing(folder):
            sync_folder(folder)
        replace_header(folder, read_file(source / HEADER_NAME))
        sweep(folder, generation)
    except (KeyFault, StorageFault) as fault:
        raise _unreachable(folder, str(fault)) from fault


def _copy(source: Path, target: Path) -> None:
    make_folder(target)
    with storing(source):
        names = {path.name for path in source.iterdir() if path.suffix == SUFFIX}
    for name in sorted(names):
        write_file(target / name, read_file(source / name), temporary=f".{name}.tmp", replace=True)
    with storing(target):
        for path in target.iterdir():
            if path.name not in names:
                path.unlink()
        sync_folder(target)


def _unreachable(folder: Path, found: str) -> BackupUnreachable:
    todo = "mount or repair it, or take it out with `nimmerverse vault backup --forget`"
    return BackupUnreachable(f"the vault's backup {folder} cannot be rewritten ({found}): {todo}.")
