"""A server that speaks Ollama's protocol and really looks: its model finds what differs from the ground."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from PIL import Image

MODEL = "sees:latest"
DIFFERENT = 30  #: of a colour's 255
SMALLEST = 40  #: pixels
FULL = 0.9  #: a square fills its box, a disc fills π/4 of it

Say = Callable[[bytes], Awaitable[str]]


async def listed(picture: bytes) -> str:
    """What the model says of a picture."""
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float32)
    mask = (np.abs(image - np.median(image, (0, 1))) > DIFFERENT).mean(2) > 0.5
    height, width = mask.shape
    things: list[dict[str, Any]] = []
    while mask.any():
        region = grown(mask)
        mask = mask & ~region
        rows, columns = np.nonzero(region)
        if len(rows) < SMALLEST:
            continue
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        label = "square" if len(rows) > FULL * (right - left) * (bottom - top) else "disc"
        box = [
            round(1_000 * float(a) / b) for a, b in zip((left, top, right, bottom), (width, height) * 2, strict=True)
        ]
        things.append({"label": label, "sure": 90, "box": box})
    return json.dumps({"things": things})


def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One of the connected regions of a mask."""
    region = np.zeros_like(mask)
    region[np.unravel_index(mask.argmax(), mask.shape)] = True
    size = 0
    while size != (size := int(region.sum())):
        wide = region.copy()
        wide[1:] |= region[:-1]
        wide[:-1] |= region[1:]
        wide[:, 1:] |= region[:, :-1]
        wide[:, :-1] |= region[:, 1:]
        region = wide & mask
    return region


@asynccontextmanager
async def seeing(say: Say = listed, capabilities: tuple[str, ...] = ("completion", "vision")) -> AsyncIterator[str]:
    """A server on a free port, its address; what its model says of a picture, and what it is said to be able to."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response({"capabilities": list(capabilities)} if capabilities else {})

    async def chat(request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["format"]["required"] == ["things"]
        text = await say(base64.b64decode(asked["messages"][0]["images"][0], validate=True))
        turn = {"role": "assistant", "content": text}
        return web.json_response({"message": turn, "done": True, "done_reason": "stop", "total_duration": 5_000_000})

    app = web.Application()
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/chat", chat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
