"""An engine for tests: it does what it is asked to, the worst included."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load(options: dict[str, Any]) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return the engine, or fail as the options say."""
    match options.get("begin"):
        case "missing":
            raise ModuleNotFoundError("No module named 'engine'")
        case "broken":
            raise ValueError("it was never any good")
        case "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            os.write(1, b"a library may print where frames go")

    def ask(header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        match header["do"]:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise ValueError("not this")
            case "wait":  # the first process that is asked waits for ever
                mark = Path(header["mark"])
                if not mark.exists():
                    mark.touch()
                    signal.pause()
            case _:
                pass
        return {"pid": os.getpid()}, data

    return ask
