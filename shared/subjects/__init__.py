"""Every message class of the product, one module per domain."""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every module here, so that `registered` knows every message class of the product."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
