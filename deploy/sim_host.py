"""The place a simulated organism lives in, and what goes wrong there."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, fields, replace

from organs.notary import Shelf
from organs.steward import Door, Ground, SimGround
from shared.bus import Wire
from shared.bus.sim import Faults, SimServer
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import ConfigFault
from shared.keys import LocalSigner, Signer
from shared.world import SimWorld, World


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, per message or per minute; every name is an option of `--faults name=value,…`."""

    drop: float = 0.0  #: chance that a signal, request or answer vanishes
    duplicate: float = 0.0  #: chance that it arrives twice
    delay: float = 0.002  #: longest extra delay in seconds; more than the gap between messages reorders them
    lose_ack: float = 0.0  #: chance that an append is stored and its acknowledgement lost
    lose_append: float = 0.0  #: chance that an append never reaches the log
    crash: float = 0.0  #: crashes per minute, each of a part drawn at random, back after up to 5 s
    cut: float = 0.0  #: cut links per minute, each of a part drawn at random, back after up to 30 s
    skew: float = 0.0  #: every part's clock is off by up to this many seconds

    @classmethod
    def parse(cls, text: str) -> Trouble:
        """Read `drop=0.1,crash=5`; ConfigFault names what is known."""
        known = {f.name for f in fields(cls)}
        given: dict[str, float] = {}
        for item in filter(None, text.split(",")):
            name, _, value = item.partition("=")
            try:
                given[name] = float(value)
            except ValueError:
                raise ConfigFault(f"--faults {item!r} is not name=number") from None
            if name not in known or not 0 <= given[name] < float("inf"):
                raise ConfigFault(f"--faults {item!r} is unknown or negative; known are {', '.join(sorted(known))}")
        return replace(cls(), **given)

    @property
    def voids(self) -> frozenset[str]:
        """The refusals that it may bring about in the log."""
        return frozenset({"R001"} if self.skew * 1000 > CLOCK_SKEW_MS else ())

    def __str__(self) -> str:
        return ",".join(
            f"{f.name}={getattr(self, f.name):g}" for f in fields(self) if getattr(self, f.name) != f.default
        )


class SimHost:
    """The place a simulated organism lives in: one simulated server, keys from the seed."""

    def __init__(self, world: SimWorld, trouble: Trouble) -> None:
        self.base, self.trouble = world, trouble
        faults = Faults(trouble.drop, trouble.duplicate, trouble.delay, trouble.lose_ack, trouble.lose_append)
        self.server = SimServer(world.fork("server"), faults)
        self.permissions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._starts: dict[str, int] = {}

    @property
    def ground(self) -> Ground:
        return SimGround(self.server)

    @property
    def door(self) -> Door:
        return self

    @property
    def shelf(self) -> Shelf | None:
        return None

    def raise_if_broken(self) -> None:
        """Nothing is raised: a simulated server is there for good."""

    async def admit(self, name: str, nkey: str, publish: list[str], subscribe: list[str], *, answers: bool) -> None:
        self.permissions[name] = (tuple(publish), tuple(subscribe))

    def at_once(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def world(self, name: str) -> World:
        start = self._starts[name] = self._starts.get(name, 0) + 1
        fork = self.base.fork(f"{name}/{start}")
        skew_ns = round((2 * fork.chance() - 1) * self.trouble.skew * 1e9)
        return self.base.fork(f"{name}/{start}", skew_ns)

    async def wire(self, name: str) -> Wire:
        publish, subscribe = self.permissions.get(name, ((">",), (">",)))
        return self.server.wire(name, publish, subscribe)

    def signer(self, name: str, owner: str) -> Signer:
        return LocalSigner(self.base.fork(f"key/{name}").entropy(32))

    def nkey(self, name: str) -> str:
        return ""
