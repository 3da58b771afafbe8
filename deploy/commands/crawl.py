"""`crawl`: a small simulated body, moved by the real cells, nerves and motors organ, in an arena drawn from a seed."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from deploy.body.layout import Layout, boxed, drawn
from deploy.body.record import Crawl
from deploy.load import find_part
from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import ConfigFault, Exit, StorageFault

TOTALS = ("distance_mm", "evasions", "confirmed", "false_alarms", "contradictions", "boxed_in", "collisions",
          "collisions_avoidable", "empty", "empty_unnoticed", "decisions", "waves")  # fmt: skip


def crawl(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Let a body crawl and show what happened.

    A collision that could be avoided and an unnoticed end are a failure, and so is a body that did not live at all.
    """
    if args.seeds > 1:
        if args.plot or args.runs > 1:
            raise ConfigFault("--plot and --runs belong to one seed; leave --seeds away")
        return _many(args, terminal)
    layouts = [_layout(args, args.seed + run) for run in range(args.runs)]
    told = _crawl(args, layouts, args.seed)
    summaries = [record.summary() for record in told.records]
    if args.plot:
        _plot(args, told)
    document = {
        "seed": args.seed, "minutes": args.minutes, "bus": not args.direct, "digest": told.digest,
        "entries": told.entries, "crashes": told.crashes, "runs": summaries, "held": all(map(held, summaries)),
    }  # fmt: skip
    terminal.give(document, _page(told, summaries, document))
    if args.plot:
        terminal.note(f"wrote {args.plot}: the last arena and the way through it")
    return Exit.OK if document["held"] else Exit.FAILED


def held(summary: dict[str, Any]) -> bool:
    """Say whether a body lived, and nothing happened that must not: see `Record`'s properties of these names."""
    return not (summary["collisions_avoidable"] or summary["empty_unnoticed"] or summary["lifeless"])


def _crawl(args: Namespace, layouts: list[Layout], seed: int) -> Crawl:
    from deploy.body import alive, direct
    from deploy.sim_host import Trouble

    if args.direct:
        if args.faults or args.part:
            raise ConfigFault("--faults and --part need a bus, and --direct has none; leave one of them away")
        return direct.crawl(layouts, seed, args.minutes)
    trouble = Trouble.parse(args.faults) if args.faults else alive.CALM
    return alive.crawl(layouts, seed, args.minutes, trouble, [find_part(name) for name in args.part])


def _layout(args: Namespace, seed: int) -> Layout:
    return boxed(seed) if args.boxed else drawn(seed, args.minutes)


def _many(args: Namespace, terminal: Terminal) -> Exit:
    """Crawl once for every seed, and add up."""
    totals, broken = dict.fromkeys(TOTALS, 0), list[dict[str, Any]]()
    summaries = list[dict[str, Any]]()
    for seed in range(args.seed, args.seed + args.seeds):
        [summary] = [record.summary() for record in _crawl(args, [_layout(args, seed)], seed).records]
        summaries.append(summary)
        for name in TOTALS:
            totals[name] += summary[name]
        if not held(summary):
            broken.append({"seed": seed, **summary})
            terminal.note(f"seed {seed} did not hold: {_verdict([summary])}")
    first, last = args.seed, args.seed + args.seeds - 1
    lines = [f"seeds {first} to {last}, {args.minutes:g} simulated minutes each:"]
    lines += [f"  {name.replace('_', ' '):<22} {count}" for name, count in totals.items()]
    lines.append(_verdict(summaries))
    document = {"seed": first, "seeds": args.seeds, "minutes": args.minutes, "totals": totals, "broken": broken}
    terminal.give(document, "\n".join(lines))
    return Exit.FAILED if broken else Exit.OK


def _verdict(summaries: list[dict[str, Any]]) -> str:
    """Return the sentence that a reader takes along; of what does not hold, the worst."""
    if avoidable := sum(summary["collisions_avoidable"] for summary in summaries):
        return f"✗ the body collided although it was warned in time, {avoidable} times"
    if any(summary["empty_unnoticed"] for summary in summaries):
        return "✗ the body's battery ran empty, and no decision before had said so"
    if lifeless := [summary["lifeless"] for summary in summaries if summary["lifeless"]]:
        several = f" in {len(lifeless)} of {len(summaries)} runs" if len(summaries) > 1 else ""
        return f"✗ the body did not live{several}, so nothing is shown: {lifeless[0]}"
    collisions = sum(summary["collisions"] for summary in summaries)
    unavoidable = f"; {collisions} unavoidable ones" if collisions else ""
    return f"✓ no collision where the first sure reading left the stopping distance{unavoidable}; no end unnoticed"


def _page(told: Crawl, summaries: list[dict[str, Any]], document: dict[str, Any]) -> str:
    from deploy.body.picture import ascii_map

    lines = [ascii_map(told.arenas[-1]), ""]
    lines.append("run  distance  evasions  clear  collisions  battery  weight  habit       per evasion      earned")
    for number, s in enumerate(summaries, 1):
        habit = max(s["habits"], key=s["habits"].__getitem__, default="none")
        per = f"{s['mean_evasion_ulf'] / 1e6:5.2f} LF {s['mean_evasion_ms']:5d} ms"
        lines.append(
            f"{number:>3}  {s['distance_mm'] / 1000:6.1f} m  {s['evasions']:8d}  {s['confirmed']:5d}  "
            f"{s['collisions']:10d}  {s['energy_ppm'] / 1e4:5.1f} %  {s['weight_ppm'] / 1e6:6.2f}  {habit:<10}  {per}"
            f"  {s['earned_ulf'] / 1e6:7.1f} LF"
        )
    newest = summaries[-1]
    for domain, gate in newest["gates"].items():
        grant = "acts at once" if gate["granted"] else "no reflex"
        lines.append(f"     gate of {domain}: weight {gate['weight_ppm'] / 1e6:.2f}, {grant}")
    spent = f"{newest['feeling_ulf'] / 1e6:.1f} LF to feel, {newest['deciding_ulf'] / 1e6:.1f} to decide"
    lines += ["", f"the last run spent {spent}, {newest['moving_ulf'] / 1e6:.1f} to move"]
    lines += [f"  {reason:<32} {count}" for reason, count in newest["reasons"].items()]
    if told.digest:
        lines.append(f"log of {told.entries} entries, digest {told.digest}, {told.crashes} crashes")
    lines.append(_verdict(summaries))
    return "\n".join(lines)


def _plot(args: Namespace, told: Crawl) -> None:
    from deploy.body.picture import svg

    try:
        args.plot.write_text(svg(told.arenas[-1]), encoding="utf-8")
    except OSError as error:
        raise StorageFault(f"{args.plot} cannot be written: {error}") from error
