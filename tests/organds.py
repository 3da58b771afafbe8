"""organd for tests: its own loop in a thread, real workers on tiny models, and HTTP without any client of Ollama's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from organs.organd.devices import Processor
from organs.organd.forward import Upstream
from organs.organd.leases import FileLeases
from organs.organd.ports import Devices
from organs.organd.process import Processes
from organs.organd.registry import Registry
from organs.organd.rest import Rest
from organs.organd.service import Service
from organs.organd.supervisor import Change, Supervisor
from shared.world import RealWorld
from tests.gguf_models import write_bert, write_gemma
from tests.ground import until

T = TypeVar("T")
SAYS, EMBEDS = "tiny", "embed:v1.0"
WAIT_S = 30.0


class Organd:
    """An organd on a folder, with its supervisor within reach. Call it from outside its loop."""

    def __init__(self, folder: Path, devices: Devices | None = None, upstream: str = "") -> None:
        self.folder = folder
        self.world = RealWorld("dev")
        self.models = Registry(folder / "models", self.world)
        self.changes: list[Change] = []
        self._devices, self._upstream = devices or Processor(), upstream
        self.supervisor: Supervisor
        self.rest: Rest
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, runtime: Path) -> None:
        """Begin to answer."""
        self.runtime = runtime
        runtime.mkdir(mode=0o700, exist_ok=True)
        self._thread.start()

        async def begin() -> None:
            engine = Processes(runtime, self.world)
            self.supervisor = Supervisor(self.models, self._devices, engine, FileLeases(runtime), self.world)
            self.supervisor.told = self.changes.append
            service = Service(self.supervisor, self.models, self.world)
            self.rest = Rest(service, Upstream(self._upstream) if self._upstream else None)
            await self.rest.open(0)

        self.run(begin)

    def stop(self) -> None:
        """End it, with everything that it started."""

        async def end() -> None:
            await self.rest.close()
            await self.supervisor.close()

        self.run(end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something in its loop."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(WAIT_S)

    def pid(self, name: str = SAYS) -> int:
        """The process that a model is loaded in."""
        slot = self.supervisor.slots[self._full(name)]
        assert slot.worker is not None
        return slot.worker.pid

    def states(self, name: str = SAYS) -> list[str]:
        """The states that a model went through."""
        return [change.state for change in self.changes if change.model == self._full(name)]

    def settled(self, state: str, name: str = SAYS) -> None:
        """Return once a model is in a state."""
        slots, full = self.supervisor.slots, self._full(name)
        self.wait(lambda: full in slots and slots[full].life.state == state)

    def wait(self, true: Callable[[], object]) -> None:
        """Return once something is true."""
        self.run(lambda: until(true))

    def post(self, path: str, body: object, method: str = "POST", **headers: str) -> tuple[int, Any]:
        """Post something, and return the status and what was answered."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asked(self.rest.url + path, raw, method, **headers)

    def _full(self, name: str) -> str:
        return name if ":" in name else f"{name}:latest"


def asked(url: str, raw: bytes | None, method: str, **headers: str) -> tuple[int, Any]:
    """Ask over HTTP without any client of Ollama's, and return the status and the answer, as JSON where it is."""
    request = Request(url, raw, {"Content-Type": "application/json", **headers}, method=method)  # noqa: S310
    try:
        with urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310 - our own loopback
            return answer.status, _read(answer.read())
    except HTTPError as error:
        with error:
            return error.code, _read(error.read())


def _read(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


@contextmanager
def organd(
    folder: Path, devices: Devices | None = None, upstream: str = "", runtime: Path | None = None
) -> Iterator[Organd]:
    """A running organd that holds a model that says something and one that embeds."""
    here = Organd(folder, devices, upstream)
    here.models.add(write_gemma(folder / "gemma.gguf"), SAYS)
    here.models.add(write_bert(folder / "bert.gguf"), EMBEDS)
    with TemporaryDirectory(prefix="od") as short:  # a socket's path has 107 bytes at most
        here.start(runtime or Path(short))
        try:
            yield here
        finally:
            here.stop()
