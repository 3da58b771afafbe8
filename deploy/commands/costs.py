"""`costs`: what each part costs, by measurement, as the log says it."""

from __future__ import annotations

from argparse import Namespace

import msgspec

from deploy.attach import operator
from deploy.commands.task import finish
from deploy.terminal import Terminal
from nerves.thalamus.nerve import MIND
from shared.bus import Bus
from shared.config import Loaded
from shared.decisions import decisions_in
from shared.errors import Exit
from shared.subjects.thalamus import BeatClosed, CostsObserved, Observed, Rested

UNREPORTED = "energy: this machine reports none that may be read (Linux: /sys/class/powercap/*/energy_uj)"

NOTHING_YET = "nothing is measured yet: the thalamus writes the first account within ten minutes"


def costs(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print what one message of each part has cost lately, what the part used last, and what lifeforce is left."""

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            newest, balance, resting = await read_costs(bus)
        rows = [newest[what] for what in sorted(newest)]
        shown = {"balance_ulf": balance, "resting": resting, "costs": msgspec.to_builtins(rows)}
        lines = [line_of(observed) for observed in rows]
        if rows and all(observed.energy_uj is None for observed in rows):
            lines.append(UNREPORTED)
        if balance is not None:
            lines.append(f"balance {balance / 1e6:.1f} LF" + (", so who may rest rests" if resting else ""))
        terminal.give(shown, "\n".join(lines if rows else [NOTHING_YET, *lines]))
        return Exit.OK

    return finish(main())


async def read_costs(bus: Bus) -> tuple[dict[str, Observed], int | None, bool]:
    """Return the newest observation of each part, the newest balance, and whether parts rest."""
    newest, balance, resting = dict[str, Observed](), None, False
    for verdict in await bus.follow(f"{bus.env}.nervous.thalamus.event.{MIND}"):
        for said, _ in decisions_in(verdict, CostsObserved, BeatClosed, Rested):
            match said:
                case CostsObserved():
                    newest |= {observed.what: observed for observed in said.costs}
                case BeatClosed():
                    balance = said.balance_ulf
                case Rested():
                    resting = said.resting
    return newest, balance, resting


def line_of(o: Observed) -> str:
    """Return what one part costs, for people."""
    if not o.observations:
        return f"{o.what:<14} nothing is measured yet: no message of it in any account"
    energy = "" if o.energy_uj is None else f"  {o.energy_uj / 1e6:.3f} J"
    one = f"{o.mean_ulf / 1e6:.6f} ± {o.spread_ulf / 1e6:.6f} LF a message"
    time = f"{o.cpu_us / 1e3:.1f} of {o.elapsed_us / 1e3:.1f} ms on a processor"
    used = f"{o.messages} messages  {time}  {o.moved_bytes / 1e3:.1f} kB{energy}"
    return f"{o.what:<14} {one}  of {o.observations} accounts; last: {used}"
