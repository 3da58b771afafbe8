"""nats-py as it is imported here: without aiohttp, which it needs for web sockets alone and a start pays 0.1 s for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, cast

WEB_SOCKETS = ("ws://", "wss://")

_loaded = "aiohttp" in sys.modules
if not _loaded:
    cast("dict[str, Any]", sys.modules)["aiohttp"] = None  # importing it fails, as where it is not installed
try:
    from nats.aio import transport
finally:
    if not _loaded:
        del sys.modules["aiohttp"]


def prepare_for(urls: Iterable[str]) -> None:
    """Load what nats-py needs to reach these servers."""
    if any(url.startswith(WEB_SOCKETS) for url in urls):
        import aiohttp
        import multidict

        module = cast("Any", transport)
        module.aiohttp, module.multidict = aiohttp, multidict
