"""The root keys of a log whose owners are other people than this host: the file that `root_keys` names.

TOML or JSON by its ending: `threshold`, and a list `roots` of `owner` and `public` (64 hexadecimal digits).
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConfigFault, KeyFault
from shared.keys import check_public, key_id_of
from shared.subjects.keys import RootKey


class _Root(BaseModel):
    """One line: who holds which key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    public: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _File(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[int, Field(ge=1)]
    roots: Annotated[list[_Root], Field(min_length=1, max_length=64)]


def read_roots(path: Path) -> tuple[list[RootKey], int]:
    """Return the root keys and the threshold; ConfigFault for a file that no log could be begun with."""
    try:
        text = path.read_text(encoding="utf-8")
        file = _File.model_validate(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
        for root in file.roots:
            check_public(bytes.fromhex(root.public))
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}): root_keys names a TOML or JSON file.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(place) for place in first["loc"])
        raise ConfigFault(f"{path} is no list of root keys: {where}: {first['msg']}; correct it.") from None
    except (ValueError, KeyFault) as error:
        raise ConfigFault(f"{path} is no list of root keys ({error}): correct it.") from error
    roots = [RootKey(key_id_of(key), key, r.owner) for r in file.roots for key in [bytes.fromhex(r.public)]]
    owners = {root.owner for root in roots}
    if len({root.key_id for root in roots}) != len(roots):
        raise ConfigFault(f"{path} lists one key twice: each owner gives a key of their own.")
    if file.threshold > len(owners):
        raise ConfigFault(f"{path} asks for {file.threshold} owners and names {len(owners)}: lower the threshold.")
    return roots, file.threshold
