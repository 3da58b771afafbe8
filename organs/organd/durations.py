"""How long a model stays loaded, as Ollama writes it: `"5m"`, `"1h30m"`, a number of seconds, negative for ever."""

from __future__ import annotations

import math
import re

from organs.organd.ports import BadRequest

_UNITS_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_PART = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|ms|s|m|h)"
_DURATION = re.compile(rf"[+-]?(?:{_PART})+")
MAX_CHARS = 64
LONGEST_MS = 2**53  #: beyond this a time is no longer exact, and nobody waits as long


def keep_alive_ms(written: object) -> int | None:
    """Return a `keep_alive` in milliseconds, None where it is negative: for ever. Raises BadRequest."""
    match written:
        case bool():
            pass
        case int() | float() if math.isfinite(written):
            return _bounded(written * 1e3)
        case str() if len(written) <= MAX_CHARS and _DURATION.fullmatch(written):
            return _bounded(_read_ms(written))
        case str() if written.strip() == "0":
            return 0
        case _:
            pass
    raise BadRequest(f'keep_alive is seconds or a duration such as "5m", found {str(written)[:MAX_CHARS]!r}')


def _read_ms(text: str) -> float:
    total = sum(float(number) * _UNITS_MS[unit] for number, unit in re.findall(r"([0-9.]+)(ns|us|µs|ms|s|m|h)", text))
    return -total if text.startswith("-") else total


def _bounded(ms: float) -> int | None:
    if ms < 0:
        return None
    return min(math.ceil(ms), LONGEST_MS)
