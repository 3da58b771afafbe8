"""One part as a process of its own, by a clock that is off: `python -m deploy.soak.part NAME URL SKEW_MS`.

It joins what runs on the home of the settings as any other, but reaches the bus at URL.
"""

from __future__ import annotations

import sys
from functools import partial

from deploy.load import find_part
from shared.part.main import main
from shared.world import RealWorld

if __name__ == "__main__":
    _, name, url, skew_ms = sys.argv
    sys.exit(main(find_part(name), partial(RealWorld, skew_ns=int(skew_ms) * 10**6), url))
