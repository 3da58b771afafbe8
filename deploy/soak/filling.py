"""Filling the quota of an embedded bus, as its steward may, with what goes away by itself after a while."""

from __future__ import annotations

import json
from contextlib import suppress

from nats.errors import Error as NatsError

from deploy.host import STEWARD
from organs.steward import NatsGround
from organs.steward.ports import kept_config
from shared.bus.connecting import connect
from shared.constant import constant
from shared.errors import Unreachable
from shared.home import nkey_path
from shared.settings import Settings

STREAM = "SOAK_FILLING"
FILLED_S = constant(20, "s", "X-07")  #: so long there is no room
LARGEST_BYTES = constant(900_000, "bytes", "X-07")
SMALLEST_BYTES = constant(256, "bytes", "X-07")
FILL_ANSWER_S = constant(5.0, "s", "X-07")


async def fill(settings: Settings, url: str) -> int:
    """Fill the account to its last bytes and return with how many; Unreachable where the bus dies meanwhile."""
    wire = await connect(url, STEWARD, nkey=nkey_path(settings, STEWARD))
    try:
        subject = f"{settings.env}.system.soak.filling"
        await NatsGround(wire.client).create_stream(kept_config(STREAM, [subject], FILLED_S))
        written, size = 0, LARGEST_BYTES
        while size >= SMALLEST_BYTES:
            answer = await wire.client.request(subject, bytes(size), timeout=FILL_ANSWER_S)
            if "error" in json.loads(answer.data):
                size //= 2
            else:
                written += size
    except (NatsError, OSError) as error:
        raise Unreachable(f"the bus went away while it was filled ({type(error).__name__})") from error
    finally:
        with suppress(NatsError, OSError):
            await wire.close()
    return written
