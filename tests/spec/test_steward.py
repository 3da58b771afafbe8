"""What the steward grants a part that asks for itself, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from cells.math_cell import MathCell
from deploy.load import find_part
from nerves.gate import GateNerve
from nerves.overload import OverloadNerve
from organs.organd import OrgandOrgan
from organs.steward.entitlement import objections
from organs.steward.ports import log_config
from shared.bus.nats import NatsWire
from shared.codec import decode
from shared.config import load
from shared.envelope.keybook import Key
from shared.errors import Refusal, Refused
from shared.home import Keys
from shared.keys import LocalSigner
from shared.keys.sealed import CHEAP
from shared.message import Decision, lookup
from shared.part import Cell, Part, declaration, grant_request
from shared.part.grant import FRESH_KEY, endorse
from shared.subjects.keys import Grant
from shared.subjects.models import LEASE_TTL_S, GenerateReply, GenerateRequest
from shared.subjects.system import Granted, GrantRequest, StreamsChanged, Tick
from shared.world import SimWorld
from tests.ground import ENV
from tests.organisms import Living, live_nats, live_sim
from tests.parts import Add, Added, Ask, Hint, LedgerOrgan, Said, Seen, Tally, TallyNerve

SHOUT = find_part(str(Path(__file__).parent.parent.parent / "docs" / "my_cell.py"))  #: the README's cell

NKEY = "U" + "A" * 55


class AskedCell(Cell):
    """Answers what it is asked."""

    name: ClassVar[str] = "bench"
    version: ClassVar[str] = "1.0.0"

    def on_ask(self, ask: Ask) -> Said:
        return Said(ask.text, 1.0)


class AddingNerve(TallyNerve):
    """Decides, and says nothing besides."""

    def decide(  # type: ignore[override]
        self, state: Tally, window: Seen, message: Add | Hint | Tick, now_ms: int
    ) -> tuple[Seen, list[Added]]:
        return window, []


class Undone(Decision, subject="trial.tally.event.{who}.undone"):
    """What a later version of the nerve decides besides."""

    who: str


class UndoingNerve(AddingNerve):
    """The same nerve, a version later."""

    version: ClassVar[str] = "1.1.0"

    def decide(  # type: ignore[override]
        self, state: Tally, window: Seen, message: Add | Hint | Tick, now_ms: int
    ) -> tuple[Seen, list[Added | Undone]]:
        return window, []


class HearingOrgan(LedgerOrgan):
    """Hears, and says nothing."""

    async def on_added(self, added: Added) -> None:  # type: ignore[override]
        self.added.append(added.total)


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
@pytest.mark.parametrize("part", [AskedCell(), AddingNerve(), HearingOrgan(), MathCell(), OverloadNerve(), SHOUT()])
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
        "dev.nervous.*.math.response",
        "dev.nervous.overload.event.*.assessed",
        "dev.nervous.overload.event.here.assessed",
        "dev.trial.>",
        "dev.trial.bench.*.shown",
        "dev.trial.*.*.*.*",
        "dev.trial.bench.event.*.shown",
        "dev.trial.bench.event.here",
        "prod.trial.bench.ann.shown",
        "$JS.API.STREAM.CREATE.LOG_dev",
        "$JS.API.DIRECT.GET.LOG_prod",
        "$JS.API.CONSUMER.MSG.NEXT.LOG_dev.records",
        "$JS.API.CONSUMER.MSG.NEXT.LOG_dev.bench_too",
        "$JS.ACK.LOG_dev.records.>",
        "$KV.leases_dev.>",
        "$KV.leases_dev.GPU-1",
        "$JS.API.DIRECT.GET.KV_leases_dev",
        "$SYS.>",
        "_INBOX.>",
        "",
    ],
)
def test_a_foreign_subject_is_not_granted(pattern: str) -> None:
    """No part gets the system's subjects, a neighbour's, another environment's, or a wildcard over any of them."""
    assert [f"publishing {pattern}"] == objections(with_more(AskedCell(), "publish", pattern), ENV, NEIGHBOURS)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    "pattern",
    [
        ">",
        "*",
        "dev.>",
        "dev.trial.>",
        "dev.trial.*.*.*.*",
        "dev.trial.other.event.*.assessed",
        "dev.system.steward.grant.request",
        "dev.system.dead.letter.*",
        "dev.nervous.cells.math.request",
        "dev.nervous.cells.*.request",
        "dev.trial. .b",
        "prod.trial.a.b",
        "_INBOX_P.math_cell.>",
        "_INBOX.>",
        "$JS.>",
        "$SRV.PING.x",
    ],
)
def test_a_neighbours_inbox_is_not_heard(pattern: str) -> None:
    """No part hears another's inbox, the server's own subjects, or a whole environment."""
    assert [f"hearing {pattern}"] == objections(with_more(AskedCell(), "subscribe", pattern), ENV, NEIGHBOURS)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    ("asked", "objection"),
    [
        (request_of(AskedCell(), part="root"), "reserved identity"),
        (request_of(AskedCell(), part="steward"), "reserved identity"),
        (request_of(AskedCell(), part="operator"), "reserved identity"),
        (request_of(AskedCell(), part="a.b"), "no part's name"),
        (request_of(AskedCell(), part="*"), "no part's name"),
        (with_more(AddingNerve(), "grants", "dev.system.keys.event.>"), "signing dev.system.keys.event.>"),
        (with_more(AddingNerve(), "grants", "dev.trial.tally.sum"), "signing dev.trial.tally.sum"),
        (with_more(AskedCell(), "traces", "dev.nervous.cells.math.wave"), "keeping dev.nervous.cells.math.wave"),
        (with_more(AddingNerve(), "traces", "dev.trial.tally.event.*.added"), "keeping dev.trial.tally.event.*.added"),
        (request_of(HearingOrgan(), consumers={"records": ["dev.>"]}), "the durable consumer records"),
        (request_of(HearingOrgan(), consumers={"ledger": [">"]}), "the durable consumer ledger"),
        (request_of(AskedCell(), nkey="U" + "B" * 55), "the connection key"),
        (request_of(AskedCell(), nkey="not a key"), "the connection key"),
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
        asked = grant_request(declaration(AskedCell()), ENV, "", signer, "ann")
        assert [Granted, Granted] == [type(await living.operator.request(asked)) for _ in range(2)]
        more = [*asked.publish, "dev.>", "dev.nervous.cells.math.wave"]
        thief = await living.operator.request(msgspec.structs.replace(asked, publish=more))
        assert (
            Refusal("B005", "bench may not be granted publishing dev.>; publishing dev.nervous.cells.math.wave")
            == thief
        )
        runner = await living.organism.run(AskedCell())
        await runner.stop()

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("X-09")
def test_outside_dev_only_the_deployed_set_is_granted() -> None:
    """In another environment a stranger, and a deployed part that suddenly wants more, are refused."""

    async def life(living: Living) -> None:
        steward = living.organism.steward
        steward.env = "prod"
        stranger = await steward.on_grant(request_of(AskedCell(), nkey=""))
        greedy = await steward.on_grant(with_more(MathCell(), "subscribe", "dev.trial.a.b"))
        assert [Refusal, Refusal] == [type(stranger), type(greedy)]
        assert isinstance(stranger, Refusal)
        assert isinstance(greedy, Refusal)
        assert ("it is not in it" in stranger.detail, "with other needs" in greedy.detail) == (True, True)

    live_sim(life, lambda _: [MathCell()])


def key(part: str, *grants: str, last: int | None = None) -> Key:
    """A key the log knows."""
    signer = LocalSigner(part.encode().ljust(32))
    return Key(signer.key_id, signer.public, part, "ann", tuple(Grant(g) for g in grants), 1, last)


@pytest.mark.spec("X-09")
@pytest.mark.parametrize(
    "pattern", ["dev.trial.tally.event.*.added", "dev.trial.*.event.>", "dev.trial.tally.event.x.undone"]
)
def test_lanes_have_one_owner(pattern: str) -> None:
    """Nobody decides on lanes that another part's living key decides on, whatever the type, also after a restart."""
    asked = request_of(AddingNerve())
    refused = ["publishing dev.trial.tally.event.*.added"]
    assert refused == objections(asked, ENV, [], [key("other", pattern)])
    assert [] == objections(asked, ENV, [], [key("other", pattern, last=5), key("tally", pattern)])


JUNK: list[dict[str, Any]] = [
    {"public": bytes(32)},
    {"public": b"short"},
    {"key_id": "junk"},
    {"owner": ""},
    {"grants": ["dev.trial.tally.event.*.added", "dev.trial.tally..x"]},
]


@pytest.mark.spec("X-06")
def test_a_malformed_grant_leaves_no_trace() -> None:
    """Weak, misnamed and foreign keys and malformed grants are refused before anything is written."""

    async def life(living: Living) -> None:
        good = asking(living, AddingNerve(), "first")
        assert isinstance(await living.operator.request(good), Granted)
        book = living.organism.steward.root.prefix.keys
        foreign = book.current("math_cell")
        assert foreign is not None
        before = await written(living)
        for change in (*JUNK, {"key_id": foreign.key_id, "public": foreign.public}):
            bad = endorse(msgspec.structs.replace(good, **change), ENV, living.host.signer("first", "ann"))
            assert isinstance(await living.operator.request(bad), Refusal), change
        with pytest.raises(Refused, match=r"B005 .*signing key"):
            await living.organism.steward.grant(msgspec.structs.replace(good, key_id="junk"), trusted=True)
        assert before == await written(living)
        current = book.current("tally")
        assert current is not None
        assert good.key_id == current.key_id

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("X-09")
def test_only_the_part_itself_changes_its_keys() -> None:
    """Other keys for a known part are refused without its current key's word, and that word holds for them alone."""

    async def life(living: Living) -> None:
        first = living.host.signer("first", "ann")
        good = asking(living, AddingNerve(), "first")
        assert isinstance(await living.operator.request(good), Granted)
        stolen = asking(living, AddingNerve(), "thief")
        other_nkey = msgspec.structs.replace(good, nkey=NKEY)
        word = endorse(asking(living, AddingNerve(), "next"), ENV, first).endorsement
        before = await written(living)
        for bad in (
            stolen,
            other_nkey,
            endorse(stolen, ENV, living.host.signer("thief", "ann")),
            msgspec.structs.replace(stolen, endorsement=word),
            msgspec.structs.replace(other_nkey, endorsement=word),
        ):
            answer = await living.operator.request(bad)
            assert isinstance(answer, Refusal)
            assert "known with other keys" in answer.detail
        assert before == await written(living)
        fresh = endorse(asking(living, AddingNerve(), "next"), ENV, first)
        assert isinstance(await living.operator.request(fresh), Granted)
        assert isinstance(await living.operator.request(endorse(other_nkey, ENV, first)), Refusal)

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("X-06")
def test_an_upgrade_needs_a_fresh_key() -> None:
    """A known key with other grants, or one that ended, is refused as such; a fresh one takes its place, none void."""

    async def life(living: Living) -> None:
        names = ["k1", "k2", "k3"]
        parts = [AddingNerve(), UndoingNerve(), AddingNerve()]
        assert isinstance(await living.operator.request(asking(living, parts[0], "k1")), Granted)
        for old, new, part in zip(names, names[1:], parts[1:], strict=False):
            for worn in {old, "k1"}:
                answer = await living.operator.request(asking(living, part, worn))
                assert isinstance(answer, Refusal)
                assert answer.detail.startswith(FRESH_KEY)
            vouched = endorse(asking(living, part, new), ENV, living.host.signer(old, "ann"))
            assert isinstance(await living.operator.request(vouched), Granted)
        alive = [
            k.key_id for k in living.organism.steward.root.prefix.keys.keys.values() if k.part == "tally" and not k.last
        ]
        assert [living.host.signer("k3", "ann").key_id] == alive
        assert [] == [v.entry.index async for v in living.operator.replay() if v.void()]

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("X-06")
def test_the_host_makes_a_fresh_key_itself(tmp_path: Path) -> None:
    """A deployed part whose declaration changed is granted with a fresh key from the host's keyring, and back again."""

    async def life(living: Living) -> None:
        settings = load({}, {"env": ENV, "home": str(tmp_path)}, "here").settings
        keys = Keys(settings, living.world, CHEAP)
        host: Any = living.host
        host.keys, host.signer = keys, keys.signer
        for part in (AddingNerve(), UndoingNerve(), AddingNerve()):
            await living.organism.grant(part)
            current = living.organism.steward.root.prefix.keys.current("tally")
            assert current is not None
            assert keys.ring.signer("tally").key_id == current.key_id
        assert [] == [v.entry.index async for v in living.operator.replay() if v.void()]

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("NIM-16", "X-09")
def test_one_part_may_take_leases_and_no_other_environments() -> None:
    """What its declaration needs is the leases' keys and reading them; under another name that is refused."""
    organd = OrgandOrgan.simulate(SimWorld(ENV, 7))
    asked = request_of(organd)
    leases = ["$KV.leases_dev.>", "$JS.API.DIRECT.GET.KV_leases_dev"]
    assert set(leases) == {p for p in asked.publish if "KV" in p}
    assert [] == objections(asked, ENV, NEIGHBOURS)
    assert ["publishing $KV.leases_prod.>"] == objections(with_more(organd, "publish", "$KV.leases_prod.>"), ENV, [])
    assert [f"publishing {p}" for p in sorted(leases)] == objections(request_of(organd, part="organd2"), ENV, [])[:2]


async def streams_made(living: Living) -> dict[str, dict[str, Any]]:
    """Every stream that the log says was made, with its configuration."""
    changes = [
        decode(StreamsChanged, bytes(event.data))
        async for verdict in living.operator.replay()
        for _, event in verdict.admitted()
        if lookup(verdict.entry.subject) is StreamsChanged
    ]
    return {change.stream_name: json.loads(change.config) for change in changes if change.change == "create"}


@pytest.mark.spec("NIM-09")
def test_each_kind_is_kept_for_its_time() -> None:
    """Traces are kept for seven days, turns for a day, outcomes for thirty days, filled from the log; it for ever."""

    async def life(living: Living) -> None:
        made = await streams_made(living)
        ages = {name: config["max_age"] // (86_400 * 10**9) for name, config in made.items() if "leases" not in name}
        assert {"DEAD_dev": 7, "OUTCOMES_dev": 30, "TRACES_dev_gate": 7, "TRANSITIONS_dev_gate": 1} == ages
        assert [{"name": "LOG_dev", "filter_subject": "dev.nervous.outcome.event.>"}] == made["OUTCOMES_dev"]["sources"]
        assert "max_age" not in log_config(ENV)

    live_sim(life, lambda _: [GateNerve()])


@pytest.mark.spec("NIM-16")
def test_the_bucket_of_leases_is_logged_then_made_and_read_by_hand(tmp_path: Path) -> None:
    """With the permissions of its declaration organd takes a lease on a real server, and a person sees who holds it."""

    async def life(living: Living) -> None:
        assert LEASE_TTL_S * 10**9 == (await streams_made(living))["KV_leases_dev"]["max_age"]
        said = await living.operator.request(GenerateRequest("there", "x"))
        assert isinstance(said, GenerateReply), said
        assert isinstance(living.operator.wire, NatsWire)
        leases = await living.operator.wire.client.jetstream().key_value("leases_dev")
        assert ["card-0"] == await leases.keys()
        held = await leases.get("card-0")
        assert held.value is not None
        assert "sim" == json.loads(held.value)["host"]

    live_nats(life, tmp_path, lambda _: [OrgandOrgan.simulate(SimWorld(ENV, 7))])


@pytest.mark.spec("X-09")
def test_a_deployed_name_is_not_taken() -> None:
    """Beside a deployed part only a replica with the same needs, version and keys is granted, also in dev."""

    async def life(living: Living) -> None:
        same = asking(living, MathCell(), "math_cell", owner="host")
        assert isinstance(await living.operator.request(same), Granted)
        for change in ({"version": "9"}, {"publish": same.publish[1:]}, {"subscribe": same.subscribe[1:]}):
            answer = await living.operator.request(msgspec.structs.replace(same, **change))
            why = "math_cell is admitted from the deployed set of dev, it is in it with other needs"
            assert Refusal("B005", why) == answer

    live_sim(life, lambda _: [MathCell()])


def asking(living: Living, part: Part, key_name: str, owner: str = "ann") -> GrantRequest:
    """The request of a part that comes with this key."""
    return grant_request(declaration(part), ENV, "", living.host.signer(key_name, owner), owner)


async def written(living: Living) -> int:
    """How many entries the log holds."""
    return len([v async for v in living.operator.replay()])
