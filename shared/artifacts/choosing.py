"""Which artifact store the settings choose, and the account that a bucket is asked with."""

from __future__ import annotations

from pathlib import Path

from shared.artifacts.folder import FolderStore
from shared.artifacts.port import ArtifactStore
from shared.artifacts.s3 import Bucket, S3Store
from shared.artifacts.sigv4 import Account
from shared.errors import KeyFault
from shared.files import OPEN_TO_OTHERS
from shared.home import place
from shared.settings import Settings
from shared.world import World


def store_of(settings: Settings, world: World) -> ArtifactStore:
    """Return the artifact store that the settings choose: a bucket, or a folder in home. ConfigFault, KeyFault."""
    if settings.artifact_url is None:
        return FolderStore(place(settings) / "artifacts", world)
    assert settings.artifact_credentials is not None, "no address without an account"
    account = read_account(settings.artifact_credentials, settings.artifact_region)
    return S3Store(Bucket.at(settings.artifact_url), account, place(settings) / "spool", world)


def read_account(path: Path, region: str) -> Account:
    """Return the account in a file that its owner alone may read; KeyFault says what is wrong with it."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} cannot be read ({error}); write ACCESS_KEY:SECRET into it") from error
    if mode & OPEN_TO_OTHERS:
        raise KeyFault(f"{path} can be read by others; run `chmod 600 {path}`")
    access_key, colon, secret = text.partition(":")
    if not (access_key and colon and secret and text.isprintable()):
        raise KeyFault(f"{path} does not hold ACCESS_KEY:SECRET in one line; correct it")
    return Account(access_key, secret, region)
