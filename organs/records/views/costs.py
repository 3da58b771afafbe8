"""`resource_observations`: what each part used, account by account; `cell_cost_profiles`: what its messages cost."""

from __future__ import annotations

from collections.abc import Iterator

from organs.records.view import Change, Column, Table, View
from organs.records.views.trails import Told, bounded
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.subjects.thalamus import CostsObserved, Observed

OBSERVATIONS = Table(
    "resource_observations",
    ("mind", "beat", "what"),
    (
        Column("mind", "text", "whose account it is"),
        Column("beat", "bigint", "the last beat of 30 seconds of the account"),
        Column("what", "text", "the part; or `tier 4`, the answers to escalations"),
        Column("messages", "bigint", "how many messages it worked on"),
        Column("cpu_us", "bigint", "processor time, in microseconds"),
        Column("energy_uj", "bigint", "energy in microjoules; empty: the machine reports none", optional=True),
        Column("moved_bytes", "bigint", "bytes received and sent"),
        Column("elapsed_us", "bigint", "how long it was at work, in microseconds"),
        Column("cost_ulf", "bigint", "all of it in micro-lifeforce"),
        Column("observed_index", "bigint", "the index of the account"),
    ),
    "what each part used, account by account, by measurement",
)

PROFILES = Table(
    "cell_cost_profiles",
    ("mind", "what"),
    (
        Column("mind", "text", "whose account it is"),
        Column("what", "text", "the part; or `tier 4`, the answers to escalations"),
        Column("mean_ulf", "bigint", "what one message of it has cost lately"),
        Column("spread_ulf", "bigint", "how far messages lie from that, on average"),
        Column("observations", "bigint", "how many accounts that rests on"),
        Column("messages", "bigint", "all messages", merge="add"),
        Column("cost_ulf", "bigint", "all they cost", merge="add"),
        Column("observed_index", "bigint", "the index of the newest account"),
    ),
    "what a message of each part costs, by measurement",
)


def project(verdict: Verdict) -> Iterator[Change]:
    """Add what one account observed."""
    for account, at in decisions_in(verdict, CostsObserved):
        for observed in account.costs:
            yield from _changes(account, observed, at.index)


def _changes(account: CostsObserved, o: Observed, index: int) -> Iterator[Change]:
    whose: Told = {"mind": account.mind, "what": o.what, "observed_index": index}
    used: Told = {"messages": o.messages, "cost_ulf": o.cost_ulf}
    more: Told = {
        "cpu_us": o.cpu_us,
        "energy_uj": o.energy_uj,
        "moved_bytes": o.moved_bytes,
        "elapsed_us": o.elapsed_us,
    }
    yield OBSERVATIONS.put(**bounded(whose | used | more | {"beat": account.beat}))
    profile: Told = {"mean_ulf": o.mean_ulf, "spread_ulf": o.spread_ulf, "observations": o.observations}
    yield PROFILES.put(**bounded(whose | used | profile))


VIEW = View("costs", 1, (OBSERVATIONS, PROFILES), project)
