"""`energy`: what a site draws and holds, whether a training may start there, and how that was over the day."""

from __future__ import annotations

import csv
from argparse import Namespace
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import cast

import msgspec
from rich.progress import track

from cells.energy_cell.cell import METER_BEATS, Site, local_minute
from cells.energy_cell.meters import CsvMeter, Metered
from deploy.attach import operator
from deploy.commands.talk import kept
from deploy.commands.task import finish
from deploy.terminal import Terminal
from deploy.windows import Moment, lines, svg
from nerves.energy import EnergyNerve
from shared.bus import Bus
from shared.codec import decode
from shared.config import Loaded
from shared.constant import constant
from shared.decisions import decisions_in
from shared.errors import ConfigFault, Exit, Refusal, Refused
from shared.files import storing
from shared.policy import Policies
from shared.subjects.energy import PowerWindow, PowerWindowDecided, PowerWindowRequest, SiteReading, WindowReason
from shared.world import now_ms

SHOWN_MS = constant(86_400_000, "ms", "COL-06")
PLAYED_READINGS = constant(20_000, "readings", "COL-06")


def energy(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the window now and the last day, or what the windows would be over a recorded series."""
    site = Site.of(loaded.settings)
    if args.play is not None:
        return _played(args, site, terminal)

    async def main() -> Exit:
        async with operator(loaded, terminal.note) as bus:
            answer = await _asked(bus, PowerWindowRequest(site.name, args.purpose, args.heavy), loaded.settings.beat_ms)
            decisions = await _decisions(bus, site.name)
            moments = await _day(bus, site.name, decisions)
        terminal.give(_shown(decisions[answer.index, answer.offset]), _sentence(decisions, answer))
        _draw(moments, args.plot, site, terminal)
        return Exit.OK if answer.allowed else Exit.FAILED

    return finish(main())


async def _asked(bus: Bus, request: PowerWindowRequest, beat_ms: int) -> PowerWindow:
    """Return the window; where there is no reading, that of the next one, since an organism may have just begun."""
    answer = await bus.request(request)
    if isinstance(answer, PowerWindow) and answer.reason == "NO_READING":
        await bus.world.sleep(METER_BEATS * beat_ms / 1_000 + 1)
        answer = await bus.request(request)
    if isinstance(answer, Refusal):
        raise Refused(answer)
    assert isinstance(answer, PowerWindow)
    return answer


async def _decisions(bus: Bus, site: str) -> dict[tuple[int, int], PowerWindowDecided]:
    """Return what was decided about a site, by place in the log."""
    found = dict[tuple[int, int], PowerWindowDecided]()
    for verdict in await bus.follow(PowerWindowDecided.lane_about(bus.env, site)):
        for said, at in decisions_in(verdict, PowerWindowDecided):
            found[at.index, at.offset] = said
    return found


async def _day(bus: Bus, site: str, decisions: dict[tuple[int, int], PowerWindowDecided]) -> list[Moment]:
    """Return the last day's kept readings, each with the window that was in force then."""
    since_ms, readings = now_ms(bus.world) - SHOWN_MS, list[SiteReading]()
    for stream in await kept(bus, "traces", "energy_cell"):
        subject = SiteReading.pattern(bus.env)
        newest = await bus.wire.last(stream, subject)
        start = max(0, newest.index - PLAYED_READINGS) if newest else 0
        while entries := await bus.wire.read(stream, start, subject):
            readings += [decode(SiteReading, entry.raw) for entry in entries]
            start = entries[-1].index + 1
    by_itself = [each for each in decisions.values() if not each.purpose]
    starts = [each.taken_ms for each in by_itself]

    def then(at_ms: int) -> WindowReason:
        place = bisect_right(starts, at_ms)
        return by_itself[place - 1].reason if place else "NO_READING"

    wanted = [each for each in readings if each.site == site and each.taken_ms >= since_ms]
    return [Moment(each.taken_ms, each.power_kw, each.soc_ppm, then(each.taken_ms)) for each in wanted]


def _sentence(decisions: dict[tuple[int, int], PowerWindowDecided], answer: PowerWindow) -> str:
    d = decisions[answer.index, answer.offset]
    word = f"a job may start at {d.scale_ppm / 10_000:.0f} %" if d.allowed else f"no job starts: {d.reason}"
    later = f", ask again in {d.delay_s} s" if d.delay_s else ""
    slowed = f"; what runs is throttled to {d.throttle_ppm / 10_000:.0f} %" if d.throttle_ppm < 1_000_000 else ""  # noqa: PLR2004 - the whole
    if d.source:
        hours = "off-peak" if d.off_peak else "not off-peak"
        there = f"{d.local_minute // 60:02}:{d.local_minute % 60:02} there, {hours}"
        read = f"{d.power_kw / 1_000:.3f} MW, charge {d.soc_ppm / 10_000:.0f} % ({d.source}), {there}"
    else:
        read = "no reading of the last minute"
    place = f"decided at ({answer.index}, {answer.offset}) by policy {d.policy[:16]}"
    return f"{d.site}: {read}\n{word}{later}{slowed}\n{place}"


def _shown(decided: PowerWindowDecided) -> object:
    return msgspec.to_builtins(decided)


def _draw(moments: list[Moment], plot: Path | None, site: Site, terminal: Terminal) -> None:
    """Print the day's lines for people, and write the picture where one is wanted."""
    if not moments:
        terminal.note("no reading is kept of the last day, so there is nothing to draw")
        return
    limit_kw = cast("int", Policies.shipped().limits["power_kw"])
    for line in lines(moments, limit_kw, site.zone):
        terminal.say(line)
    if plot is not None:
        with storing(plot):
            plot.write_text(svg(moments, limit_kw, site.zone), encoding="utf-8")
        terminal.note(f"{plot}: {len(moments)} readings")


def _played(args: Namespace, site: Site, terminal: Terminal) -> Exit:
    """Say what the windows would have been over a recorded series; nothing is decided, nothing needs to run."""
    nerve, moments = EnergyNerve(), list[Moment]()
    rows = _rows(args)
    for row in track(rows, "judging", disable=not terminal.interactive, transient=True):
        minute = local_minute(row.taken_ms, site.zone)
        hours = (site.off_peak_from, site.off_peak_to)
        read = SiteReading(site.name, "csv", row.taken_ms, row.power_kw, row.soc_ppm, None, None, None, minute, *hours)
        decided = nerve.judged(site.name, "", args.heavy, read)
        moments.append(Moment(row.taken_ms, row.power_kw, row.soc_ppm, decided.reason))
    counted = Counter(moment.reason for moment in moments)
    changes = sum(one.reason != other.reason for one, other in pairwise(moments))
    shown = {"readings": len(moments), "changes": changes, "reasons": dict(counted), "policy": nerve.policies.digest}
    told = ", ".join(f"{count} {reason}" for reason, count in counted.most_common())
    terminal.give(shown, f"{len(moments)} readings: {told}; the window changed {changes} times")
    _draw(moments, args.plot, site, terminal)
    return Exit.OK


def _rows(args: Namespace) -> list[Metered]:
    """Return a meter's own series, or readings made of columns that hold shares. ConfigFault where it is neither."""
    if args.load is None:
        return CsvMeter(args.play).rows
    try:
        with args.play.open(newline="", encoding="utf-8") as file:
            return [*_shares(csv.DictReader(file), args)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigFault(f"{args.play} cannot be played: {error}") from None


def _shares(table: csv.DictReader[str], args: Namespace) -> Iterator[Metered]:
    for number, row in enumerate(table):
        try:
            load, charge = float(row[args.load]), 1.0 if args.charge is None else float(row[args.charge])
            made = {
                "taken_ms": number * args.every_s * 1_000,
                "power_kw": round(load * args.full_kw),
                "soc_ppm": round(charge * 1e6),
            }
            yield msgspec.convert(made, Metered)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigFault(
                f"{args.play}, row {number + 1}: {error}; --load and --charge name columns of shares from 0 to 1"
            ) from None
