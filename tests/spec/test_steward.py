"""What the steward grants a part that asks for itself, and what it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cells.math_cell import MathCell
from nerves.overload import OverloadNerve
from organs.steward.entitlement import objections
from shared.errors import Refusal
from shared.keys import LocalSigner
from shared.part import Part, declaration, grant_request
from shared.subjects.system import Granted, GrantRequest
from tests.ground import ENV
from tests.organisms import Living, all_parts, live_sim
from tests.parts import BenchCell, LedgerOrgan, TallyNerve

NKEY = "U" + "A" * 55


def request_of(carried: Part, /, **changes: Any) -> GrantRequest:  # noqa: ANN401 - any field of the request
    """What a part needs, and what somebody made of it."""
    asked = grant_request(declaration(carried), ENV, NKEY, LocalSigner(bytes(32)), "ann")
    return msgspec.structs.replace(asked, **changes)


def with_more(part: Part, field: str, *patterns: str) -> GrantRequest:
    """The request of a part that wants these besides."""
    asked = request_of(part)
    return msgspec.structs.replace(asked, **{field: [*getattr(asked, field), *patterns]})


NEIGHBOURS = [request_of(MathCell(), nkey="U" + "B" * 55), request_of(OverloadNerve(), nkey="U" + "C" * 55)]


@pytest.mark.spec("X-09")
@pytest.mark.parametrize("part", [BenchCell(), TallyNerve(), LedgerOrgan(), MathCell()])
def test_what_a_declaration_needs_is_granted(part: Part) -> None:
    """A part that asks for what its own declaration needs, and no more, is granted it, also a second time."""
    assert [] == objections(request_of(part), ENV, NEIGHBOURS)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    "pattern",
    [
        ">",
        "*.>",
        "dev.>",
        "dev.*.math.wave",
        "dev.*.keys.event.root.introduced",
        "dev.system.keys.event.root.introduced",
        "dev.system.steward.event.root.granted",
        "dev.system.parts.heartbeat.math_cell",
        "dev.system.dead.letter.math_cell",
        "dev.nervous.cells.math.response",
        "dev.nervous.cells.*.response",
        "dev.nervous.overload.event.*.assessed",
        "dev.nervous.overload.event.here.assessed",
        "dev.trial.>",
        "prod.trial.bench.ann.shown",
        "$JS.API.STREAM.CREATE.LOG_dev",
        "$JS.API.DIRECT.GET.LOG_prod",
        "$JS.API.CONSUMER.MSG.NEXT.LOG_dev.records",
        "$JS.API.CONSUMER.MSG.NEXT.LOG_dev.bench_too",
        "$JS.ACK.LOG_dev.records.>",
        "$SYS.>",
        "_INBOX.>",
        "",
    ],
)
def test_a_foreign_subject_is_not_granted(pattern: str) -> None:
    """No part gets the system's subjects, a neighbour's, another environment's, or a wildcard over any of them."""
    assert [f"publishing {pattern}"] == objections(with_more(BenchCell(), "publish", pattern), ENV, NEIGHBOURS)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    "pattern", [">", "*", "dev.>", "prod.trial.a.b", "_INBOX_P.math_cell.>", "_INBOX.>", "$JS.>", "$SRV.PING.x"]
)
def test_a_neighbours_inbox_is_not_heard(pattern: str) -> None:
    """No part hears another's inbox, the server's own subjects, or a whole environment."""
    assert [f"hearing {pattern}"] == objections(with_more(BenchCell(), "subscribe", pattern), ENV, NEIGHBOURS)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    ("asked", "objection"),
    [
        (request_of(BenchCell(), part="root"), "reserved identity"),
        (request_of(BenchCell(), part="steward"), "reserved identity"),
        (request_of(BenchCell(), part="operator"), "reserved identity"),
        (request_of(BenchCell(), part="a.b"), "no part's name"),
        (request_of(BenchCell(), part="*"), "no part's name"),
        (with_more(TallyNerve(), "grants", "dev.system.keys.event.>"), "signing dev.system.keys.event.>"),
        (with_more(TallyNerve(), "grants", "dev.trial.tally.*.sum"), "signing dev.trial.tally.*.sum"),
        (with_more(BenchCell(), "traces", "dev.nervous.cells.math.wave"), "keeping dev.nervous.cells.math.wave"),
        (with_more(TallyNerve(), "traces", "dev.trial.tally.event.*.added"), "keeping dev.trial.tally.event.*.added"),
        (request_of(LedgerOrgan(), consumers={"records": ["dev.>"]}), "the durable consumer records"),
        (request_of(LedgerOrgan(), consumers={"ledger": [">"]}), "the durable consumer ledger"),
        (request_of(BenchCell(), nkey="U" + "B" * 55), "the connection key"),
        (request_of(BenchCell(), nkey="not a key"), "the connection key"),
    ],
)
def test_nothing_else_can_be_slipped_in(asked: GrantRequest, objection: str) -> None:
    """Reserved names, foreign signatures, streams, consumers and connection keys are refused, each by name."""
    found = objections(asked, ENV, NEIGHBOURS)
    assert [True] == [objection in text for text in found], found


@pytest.mark.spec("X-09")
def test_a_part_is_granted_while_the_organism_runs() -> None:
    """In dev a user's own part is granted when it asks, and again when it starts anew; a thief is told why not."""

    async def life(living: Living) -> None:
        signer = living.host.signer("bench", "ann")
        asked = grant_request(declaration(BenchCell()), ENV, "", signer, "ann")
        assert [Granted, Granted] == [type(await living.operator.request(asked)) for _ in range(2)]
        thief = await living.operator.request(with_more(BenchCell(), "publish", "dev.>", "dev.nervous.cells.math.wave"))
        assert (
            Refusal("B005", "bench may not be granted publishing dev.>; publishing dev.nervous.cells.math.wave")
            == thief
        )
        runner = await living.organism.run(BenchCell())
        await runner.stop()

    live_sim(life, lambda world: all_parts(world)[:1])


@pytest.mark.spec("X-09")
def test_outside_dev_only_the_deployed_set_is_granted() -> None:
    """In another environment a stranger, and a deployed part that suddenly wants more, are refused."""

    async def life(living: Living) -> None:
        steward = living.organism.steward
        steward.env = "prod"
        stranger = await steward.on_grant(request_of(BenchCell(), nkey=""))
        greedy = await steward.on_grant(with_more(MathCell(), "subscribe", "dev.trial.a.b"))
        assert [Refusal, Refusal] == [type(stranger), type(greedy)]
        assert isinstance(stranger, Refusal)
        assert isinstance(greedy, Refusal)
        assert ("is not in it" in stranger.detail, "with other needs" in greedy.detail) == (True, True)

    live_sim(life, lambda _: [MathCell()])
