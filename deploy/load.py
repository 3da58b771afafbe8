"""Finding a part: by module name (`cells.math_cell`), by file (`./my_cell.py`), or by entry point."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from shared.errors import ConfigFault
from shared.part import Cell, Nerve, Organ, Part

#: What `up` and the tour run besides the steward.
BUILT_IN = (
    "organs.notary",
    "cells.math_cell",
    "cells.sensor_cell",
    "cells.battery_cell",
    "cells.toxicity_cell",
    "nerves.overload",
    "cells.energy_cell",
    "nerves.energy",
    "nerves.policy",
    "organs.meaning",
    "nerves.gate",
    "nerves.outcome",
    "nerves.training",
    "nerves.thalamus",
    "organs.records",
    "organs.anchor",
    "organs.artifacts",
    "organs.datasets",
    "organs.evaluator",
    "organs.trainer.organ",  # the package alone is what its worker processes import
    "nerves.provenance",
    "organs.vault",
    "organs.boundary",
    "organs.memory",
    "organs.cognition",
    "nerves.consensus",
    "nerves.registry",
    "organs.reviewer",
)
#: Ours too, but run only where they are asked for (`up --part`): they need settings, extras, or a body, of their own.
ON_REQUEST = (
    "organs.signer",
    "organs.witness",
    "organs.organd",
    "cells.distance_cell",
    "cells.light_cell",
    "cells.motor_cell",
    "nerves.collision",
    "nerves.exploration",
    "nerves.charging",
    "organs.motors",
    "organs.vision",
    "organs.voice",
    "organs.ears",
    "nerves.conversation",
)
ENTRY_POINTS = "nimmerverse.parts"

T = TypeVar("T")


def find_part(name: str) -> type[Part]:
    """Return the one part class a name stands for; ConfigFault with what was found instead.

    `name` is a module, a path that ends in `.py`, or an entry point; `:Class` picks one of several.
    """
    where, _, chosen = name.partition(":")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where)
    found = [cls for cls in _parts_in(module) if chosen in ("", cls.__name__)]
    if len(found) != 1:
        listed = ", ".join(cls.__name__ for cls in found) or "none"
        raise ConfigFault(
            f"{where} holds {len(found)} parts ({listed}); one is expected, or name it: {where}:ClassName"
        )
    return found[0]


def _parts_in(module: ModuleType) -> list[type[Part]]:
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass)]
    own = [cls for cls in classes if issubclass(cls, Part) and cls not in (Part, Cell, Nerve, Organ)]
    return [cls for cls in own if cls.__module__.startswith(module.__name__) and not inspect.isabstract(cls)]


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigFault(f"there is no part file {path}; give the path of a Python file with one Cell, Nerve or Organ")
    name = f"part_{path.stem.replace('-', '_')}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path.absolute()):  # importing twice would declare subjects twice
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    assert loader is not None
    sys.modules[name] = module
    _usable(str(path), partial(loader.exec_module, module))
    return module


def _from_module(name: str) -> ModuleType:
    points = _entry_points()
    if name in points:
        return _usable(name, partial(importlib.import_module, points[name]))
    if not all(token.isidentifier() for token in name.split(".")):
        raise _no_part(name)
    return _usable(name, partial(importlib.import_module, name))


@cache
def _entry_points() -> dict[str, str]:
    """Return the module behind each entry point; looking through all that is installed takes long enough to do once."""
    return {point.name: point.module for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _usable(where: str, imported: Callable[[], T]) -> T:
    """Return what an import gives; ConfigFault where there is nothing, or where the part's own code does not load."""
    try:
        return imported()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{where}.".startswith(f"{error.name}."):
            raise _no_part(where) from None
        line = error.lineno if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1].lineno
        raise ConfigFault(f"{where} cannot be used: {type(error).__name__} at line {line}: {error}") from error


def _no_part(name: str) -> ConfigFault:
    known = ", ".join((*BUILT_IN, *ON_REQUEST))
    return ConfigFault(
        f"there is no part {name!r}; known are {known}, your own file as ./my_cell.py, or an entry point"
    )
