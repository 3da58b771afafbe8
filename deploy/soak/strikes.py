"""The strikes themselves: what each kind of fault does to the processes, links, disk and copies of a soak."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.restore import check_manifest
from deploy.soak.beside import OK, SOAK_LOOK_S, SOAK_PATIENCE_S, Beside, objection
from deploy.soak.copies import COPIES, Copied, Flipped, flip
from deploy.soak.filling import FILLED_S, fill
from deploy.soak.judge import Filled
from deploy.soak.plan import SKEW_MS, Kind, Strike
from deploy.soak.proxy import Direction, Proxy
from deploy.soak.roles import Role, still
from deploy.soak.writer import faults
from organs.notary.ports import tiles_folder
from shared.errors import Exit, Fault, Unreachable
from shared.log.tiles import CHECKPOINT

SERVERS = {"bus": "nats-server", "database": "postgres"}
CUT_S = (0.5, 5.0)
FROZEN_S = (2.0, 8.0)


@dataclass
class Field:
    """What can be struck: roles by their names, the link that some of them go through, and the home."""

    beside: Beside
    folder: Path
    proxy: Proxy
    parts: Sequence[str]  #: the roles that are parts
    told: Mapping[str, Path]  #: where each writer writes down what was acknowledged
    words: Callable[[str, int], list[str]]  #: how a part is started with its clock off by so many ms
    roles: dict[str, Role] = field(default_factory=dict[str, Role])


class Strikes:
    """Strikes one by one, several at a time where they last, and keeps what the judgement needs of them."""

    def __init__(self, field: Field) -> None:
        self.field, self.beside, self.world = field, field.beside, field.beside.world
        self.flipped: list[Flipped] = []
        self.filled: list[Filled] = []
        self.copies = 0
        self._linked, self._killing = asyncio.Lock(), asyncio.Lock()
        self._filling, self._flipping = asyncio.Lock(), asyncio.Lock()
        self._how: dict[Kind, Callable[[Strike], Awaitable[str]]] = {
            "part": lambda strike: self._kill(strike.pick(field.parts)),
            "writer": lambda strike: self._kill(strike.pick(tuple(field.told))),
            "organism": self._kill_organism,
            "bus": self._kill_server,
            "database": self._kill_server,
            "cut": self._cut,
            "freeze": self._freeze,
            "full": self._fill,
            "skew": self._skew,
            "flip": self._flip,
        }

    async def strike(self, strike: Strike) -> str:
        """Strike, and return what was done; the Fault by which it missed."""
        return await self._how[strike.kind](strike)

    async def _kill(self, name: str) -> str:
        await self.field.roles[name].kill()
        return f"killed {name}"

    async def _kill_organism(self, _: Strike) -> str:
        async with self._killing:
            return await self._kill("organism")

    async def _kill_server(self, strike: Strike) -> str:
        name, organism = SERVERS[strike.kind], self.field.roles["organism"]
        async with self._killing:
            found = await self.beside.until(lambda: organism.below(name), f"no {name} runs")
            organism.shaken += 1
            with suppress(psutil.NoSuchProcess):
                found[0].kill()
        return f"killed {name}"

    async def _skew(self, strike: Strike) -> str:
        name, skew_ms = strike.pick(self.field.parts), strike.within(-SKEW_MS, SKEW_MS)
        self.field.roles[name].renamed(self.field.words(name, skew_ms))
        await self.field.roles[name].kill()
        return f"killed {name}, whose next clock is off by {skew_ms / 1000:+.1f} s"

    async def _cut(self, strike: Strike) -> str:
        seconds = strike.between(*CUT_S)
        async with self._linked:
            self.field.proxy.cut()
            await self.world.sleep(seconds)
            await self.field.proxy.join()
        return f"cut every connection for {seconds:.1f} s"

    async def _freeze(self, strike: Strike) -> str:
        direction: Direction = "up" if strike.within(0, 1) else "down"
        seconds = strike.between(*FROZEN_S)
        async with self._linked:
            self.field.proxy.freeze(direction)
            await self.world.sleep(seconds)
            self.field.proxy.thaw()
        return f"let nothing {direction} for {seconds:.1f} s"

    async def _fill(self, _: Strike) -> str:
        async with self._filling:
            async with self._linked, self._killing:  # meanwhile nothing but the quota is between writers and the log
                if stuck := await self._still():
                    raise Unreachable(f"{', '.join(stuck)} stood still before the quota was filled")
                mib = await fill(self.beside.settings, (await self.beside.found()).url) // 2**20
                instead = await self._instead()
            met = sum(faults.total() for faults in instead.values())
            self.filled.append(Filled(instead, await self._still() if met else []))
            return f"filled the quota with {mib} MiB: {met} times not acknowledged before there was room again"

    async def _instead(self) -> dict[str, Counter[str]]:
        """Return what each writer is told, from now on, instead of an acknowledgement while there is no room."""
        logs = {name: self.field.roles[name].log for name in self.field.told}
        before = {name: faults(log) for name, log in logs.items()}
        give_up = self.world.elapsed_s() + FILLED_S / 2
        while not all((told := {name: faults(log) - before[name] for name, log in logs.items()}).values()):
            if self.world.elapsed_s() > give_up:
                break
            await self.world.sleep(SOAK_LOOK_S)
        return told

    async def _still(self) -> list[str]:
        """Return which writers are acknowledged nothing any more."""
        await self.world.sleep(SOAK_LOOK_S)  # what is on its way does not count
        return await still(self.field.told, self.world, SOAK_PATIENCE_S)

    async def _flip(self, strike: Strike) -> str:
        async with self._flipping:
            what = COPIES[len(self.flipped) % len(COPIES)]
            self.copies += 1
            copy = self.field.folder / f"copy-{self.copies}"
            signed = tiles_folder(self.beside.settings) / CHECKPOINT
            await self.beside.until(signed.exists, "no checkpoint was signed")
            await self.beside.insist("audit", "bundle" if what == "bundle" else "backup", str(copy))
            checked = copy / "tiles" if what == "tiles" else copy
            trust = (await self.beside.found()).fingerprint
            sound, before = await self._accepted(what, checked, trust)
            files = [path for path in _files(checked) if path.name != "manifest.json"]
            path, at = flip(files, strike)
            accepted, said = await self._accepted(what, checked, trust)
            where = f"byte {at} of {path.relative_to(self.field.folder)}"
            said = said if sound else f"it was refused before that already: {before}"
            self.flipped.append(Flipped(what, where, sound and not accepted, said))
            return f"flipped {where}: {'ACCEPTED' if accepted else said}"

    async def _accepted(self, what: Copied, copy: Path, trust: str) -> tuple[bool, str]:
        """Say whether a copy is accepted, and what is said of it."""
        if what == "backup":
            try:
                check_manifest(copy, self.beside.settings)
            except Fault as fault:
                return False, str(fault)
            return True, "every file is as its manifest says"
        code, told = await self.beside.command("audit", "verify", str(copy), "--trust", trust)
        if code != OK and not Exit(code).is_of_an_audit:
            raise Unreachable(f"`audit verify` of a copy ended with {code}: {objection(told)}")
        return code in (OK, int(Exit.UNKNOWN_SIGNER)), objection(told)


def _files(copy: Path) -> list[Path]:
    return [copy] if copy.is_file() else sorted(path for path in copy.rglob("*") if path.is_file())
