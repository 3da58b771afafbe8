"""The signing proxy: who may have what signed, tried over a real bus and a simulated one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.host import EmbeddedHost
from deploy.load import find_part
from organs.signer import Rule, SignerOrgan, judge, read_rules
from organs.signer.organ import SIGNED_PER_SECOND
from organs.steward.entitlement import objections
from shared.bus import Bus, BusSigner, Draft
from shared.config import load
from shared.envelope import Attributes, derive_event_id, pack_event, prepare, read_signed, rfc3339, type_of
from shared.errors import ConfigFault, KeyFault, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.files import write_private
from shared.home import Keys, read_proxied
from shared.journal import ROOT, configure
from shared.keys import CHEAP, LocalSigner, verify
from shared.part import Part, Runner, declaration, grant_request
from shared.part.checks import check_part
from shared.subjects.keys import KeyRotated
from shared.subjects.nervous import AssessRequest
from shared.subjects.signing import SignatureGiven, SignRequest
from shared.subjects.system import Decided
from shared.world import RealWorld, SimWorld, World, new_id, now_ms, simulate
from tests.ground import ENV, PATIENCE_S, Crossed, Founded, Ground, NatsGround, noted, play_nats, play_sim
from tests.organisms import Living, live_nats

pytestmark = pytest.mark.spec("ILL-07")

RULES = {
    "desk": Rule(key="desk-key", subjects=("trial.desk.event.*.noted",)),
    "clerk": Rule(key="clerk-key", subjects=("trial.desk.event.*.crossed",), agent="USER"),
}
SEEDS = {rule.key: LocalSigner(bytes([place]) * 32) for place, rule in enumerate(RULES.values(), 1)}
ASKS = "dev.signing.proxy.sign.desk"
MAY = (f"{ENV}.trial.>", ASKS)


def signed(world: World, **changes: Any) -> bytes:  # noqa: ANN401 - any attribute
    """The bytes that sign an honest envelope of the desk, but for these changes."""
    subject = changes.pop("subject", f"{ENV}.trial.desk.event.a.noted")
    honest = Attributes(
        id="00" * 16,
        source="desk",
        specversion="1.0",
        type=type_of(subject) if len(subject.split(".")) == 6 else "nimmerverse.x",
        subject=subject,
        time=rfc3339(now_ms(world)),
        ttlms=60_000,
        agent="SOVEREIGN",
        boot=world.boot,
        sequence=1,
        version="1",
        correlation="",
        prev=-1,
        batch=0,
        count=0,
        root=b"",
    )
    event = pack_event(derive_event_id(b"", "desk", "t", 0), msgspec.msgpack.encode({"who": "a", "n": 1}))
    return prepare(msgspec.structs.replace(honest, **changes), [event]).message


async def proxy(ground: Ground) -> Runner:
    """A running proxy with the rules and keys of these tests."""
    wire = await ground.wire("signer")
    runner = Runner(
        SignerOrgan(RULES, SEEDS, ground.world), Bus(ground.world, wire, "signer", "1", []), handshake=False
    )
    await runner.start()
    return runner


async def desk(ground: Ground, founded: Founded | None = None) -> Bus:
    """The bus of a part whose key the proxy holds, and which may do nothing but decide and ask in its own name."""
    key = SEEDS["desk-key"]
    if founded is not None:
        await founded.register("desk", key.key_id, key.public)
    wire = await ground.wire("desk", publish=MAY)
    return Bus(ground.world, wire, "desk", "1", [BusSigner(Bus(ground.world, wire, "desk", "1", []), key.public)])


def test_a_part_decides_with_a_key_it_never_holds(tmp_path: Path) -> None:
    """A part appends through the proxy alone; the entry is signed by the proxy's key and admitted by every reader."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus, runner = await desk(ground, founded), await proxy(ground)
        receipts = await bus.append_many([noted(ground.world, n) for n in range(3)])
        assert [2, 3, 4] == [receipt.index for receipt in receipts]
        verdicts = [verdict async for verdict in founded.root.replay()]
        assert [None] * 5 == [verdict.refusal for verdict in verdicts]
        last = verdicts[-1].sealed
        assert last is not None
        assert [SEEDS["desk-key"].key_id] == [signature.k for signature in last.signatures]
        await runner.stop()

    play_nats(body, tmp_path, links=False)


def test_nobody_asks_in_anothers_name(tmp_path: Path) -> None:
    """The server refuses a part another's subject; a message that names another than its subject is B002."""

    async def body(ground: NatsGround) -> None:
        runner, bus = await proxy(ground), await desk(ground)
        stolen = signed(ground.world, source="clerk", agent="USER", subject=f"{ENV}.trial.desk.event.a.crossed")
        with pytest.raises(NotPermitted):
            await bus.request(SignRequest("clerk", stolen))
        answer = await bus.wire.request(ASKS, msgspec.msgpack.encode(SignRequest("clerk", stolen)), None, 5.0)
        assert "B002" == msgspec.msgpack.decode(answer.data, type=Refusal).code
        own = await bus.request(SignRequest("desk", stolen))
        assert isinstance(own, Refusal)
        assert "R007 NOT_ENTITLED: desk asked for an envelope of clerk" == str(own)
        await runner.stop()

    play_nats(body, tmp_path, links=False)


def test_a_subject_that_is_not_its_own_is_refused_before_anything_is_appended(tmp_path: Path) -> None:
    """A decision outside the caller's rule is R007 by the proxy, and its lane stays empty."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus, runner = await desk(ground, founded), await proxy(ground)
        crossed = Draft(Crossed("a", 1), new_id(ground.world))
        with pytest.raises(Refused, match=r"R007 .* rule of desk does not cover dev\.trial\.desk\.event\.a\.crossed"):
            await bus.append(crossed)
        assert [0, 1] == [verdict.entry.index async for verdict in founded.root.replay()]
        await runner.stop()

    play_nats(body, tmp_path, links=False)


def test_where_the_proxy_is_away_an_append_waits_and_is_done_once(tmp_path: Path) -> None:
    """Without the proxy an append is a fault that allows a retry and leaves nothing; with it the retry is done once."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        bus, draft = await desk(ground, founded), noted(ground.world, 1)
        bus.deadline_s = 3.0
        with pytest.raises(Unresolved, match="the signing proxy does not sign for desk now: B006") as fault:
            await bus.append(draft)
        assert fault.value.retry
        assert isinstance(fault.value.__cause__, Unreachable)
        assert [0, 1] == [verdict.entry.index async for verdict in founded.root.replay()]
        runner = await proxy(ground)
        bus.deadline_s = 20.0
        assert [(2, False), (2, True)] == [(r.index, r.duplicate) for r in [await bus.append(draft) for _ in range(2)]]
        assert [0, 1, 2] == [verdict.entry.index async for verdict in founded.root.replay()]
        await runner.stop()

    play_nats(body, tmp_path, links=False)


def test_a_flood_is_bounded_and_disturbs_nobody_else() -> None:
    """Beyond the bound of a second the same caller is B008, another caller is served, and the next second is anew."""

    async def body(ground: Ground) -> None:
        organ = SignerOrgan(RULES, SEEDS, ground.world)
        message = signed(ground.world)
        answers = [await organ.on_sign(SignRequest("desk", message)) for _ in range(SIGNED_PER_SECOND + 50)]
        given = [answer for answer in answers if isinstance(answer, SignatureGiven)]
        assert (SIGNED_PER_SECOND, 1) == (len(given), len({answer.signature for answer in given}))
        assert {"B008"} == {answer.code for answer in answers if isinstance(answer, Refusal)}
        theirs = signed(ground.world, source="clerk", agent="USER", subject=f"{ENV}.trial.desk.event.a.crossed")
        assert isinstance(await organ.on_sign(SignRequest("clerk", theirs)), SignatureGiven)
        await ground.world.sleep(1.0)
        assert isinstance(await organ.on_sign(SignRequest("desk", message)), SignatureGiven)

    play_sim(body)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("R001", {"ttlms": 60_001}),
        ("R005", {"ttlms": 0}),
        ("R001", {"time": "2025-06-01T00:00:00.000Z"}),
        ("R001", {"time": "2126-01-01T00:00:00.000Z"}),
        ("R007", {"source": "clerk"}),
        ("R007", {"agent": "USER"}),
        ("R007", {"subject": f"{ENV}.trial.desk.event.a.crossed"}),
        ("R007", {"subject": KeyRotated("root", "", "", b"").subject(ENV)}),
        ("R008", {"subject": "prod.trial.desk.event.a.noted"}),
        ("R008", {"subject": f"{ENV}.trial.desk.noted"}),
        ("R008", {"type": "nimmerverse.trial.desk.crossed"}),
    ],
)
def test_what_the_rule_does_not_cover_has_a_name(code: str, change: dict[str, Any]) -> None:
    """Each way in which an envelope leaves its rule is refused by its code, and the honest one is not."""

    async def body() -> None:
        world = SimWorld(ENV, 1)
        now = now_ms(world)
        wide = RULES | {
            "desk": Rule(key="desk-key", subjects=("trial.desk.event.*.noted", "system.keys.event.*.rotated"))
        }
        assert "desk-key" == judge(wide, "desk", signed(world), ENV, now).key
        with pytest.raises(Refused) as no:
            judge(wide, "desk", signed(world, **change), ENV, now)
        assert code == no.value.refusal.code
        with pytest.raises(Refused, match=r"B005 .* no signing rule for stranger"):
            judge(wide, "stranger", signed(world, source="stranger"), ENV, now)
        with pytest.raises(Refused, match="B003"):
            judge(wide, "desk", signed(world) + b" " * 10_000, ENV, now)

    simulate(body)


def test_raw_bytes_are_never_signed() -> None:
    """Bytes that are no envelope are never signed; a changed envelope only where it still says what the rule allows."""

    async def body() -> None:
        world = SimWorld(ENV, 1)
        whole, now = signed(world), now_ms(world)
        frame = len(whole) - len(pae_payload(whole))

        def refused(message: bytes) -> bool:
            try:
                judge(RULES, "desk", message, ENV, now)
            except Refused:
                return True
            return False

        @settings(max_examples=300)
        @given(st.binary(max_size=400), st.integers(0, len(whole) - 1), st.integers(1, 255))
        def each(raw: bytes, place: int, flip: int) -> None:
            assert refused(raw)
            assert refused(b"DSSEv1 " + raw)
            assert refused(whole[:place])
            assert refused(whole + raw + b"x")
            changed = bytearray(whole)
            changed[place] ^= flip
            if not refused(bytes(changed)):
                assert place >= frame
                said = read_signed(bytes(changed))
                assert ("desk", "SOVEREIGN") == (said.source, said.agent)
                assert said.subject.startswith(f"{ENV}.trial.desk.event.")
                assert said.subject.endswith(".noted")

        assert not refused(whole)
        each()

    simulate(body)


def pae_payload(message: bytes) -> bytes:
    """What the DSSE encoding wraps, by its own grammar: version, length, type, length, payload."""
    return message.split(b" ", 4)[4]


def test_a_wrong_public_key_is_found_out() -> None:
    """A caller told another public key than its rule's takes no signature: KeyFault, nothing is appended."""

    async def body(ground: Ground) -> None:
        runner, wire = await proxy(ground), await ground.wire("desk")
        signer = BusSigner(Bus(ground.world, wire, "desk", "1", []), LocalSigner(b"\x09" * 32).public)
        with pytest.raises(KeyFault, match="is not a signature by"):
            await signer.signature(signed(ground.world))
        await runner.stop()

    play_sim(body)


@contextmanager
def journal() -> Iterator[io.StringIO]:
    """The journal's lines, as they are written."""
    logger, lines = logging.getLogger(ROOT), io.StringIO()
    before = logger.handlers[:], logger.propagate, logger.level
    configure("debug", lines)
    yield lines
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def test_every_use_is_written_down() -> None:
    """A signature and a refusal each leave a line with the caller, the key or the code, and the digest."""

    async def body(ground: Ground) -> None:
        organ = SignerOrgan(RULES, SEEDS, ground.world)
        message = signed(ground.world)
        given = await organ.on_sign(SignRequest("desk", message))
        assert isinstance(given, SignatureGiven)
        assert verify(SEEDS["desk-key"].public, message, given.signature)
        await organ.on_sign(SignRequest("desk", b"raw"))

    with journal() as lines:
        play_sim(body)
    told = [json.loads(line) for line in lines.getvalue().splitlines() if "signature_" in line]
    digests = [blake3(signed_bytes).hexdigest() for signed_bytes in (b"raw",)]
    assert ["signature_made", "signature_refused"] == [line["event"] for line in told]
    assert ("desk", SEEDS["desk-key"].key_id) == (told[0]["caller"], told[0]["key"])
    assert ("desk", "R005", digests[0]) == (told[1]["caller"], told[1]["code"], told[1]["digest"])


def test_no_part_is_granted_anothers_signing_subject() -> None:
    """A part that decides may ask in its own name; asking in another's, known or not, is an objection."""
    part = find_part("nerves.overload").simulate(SimWorld(ENV, 1))
    asked = grant_request(declaration(part), ENV, "", LocalSigner(b"\x01" * 32), "ann")
    own = SignRequest.pattern(ENV).replace("*", part.name)
    assert own in asked.publish
    assert [] == objections(asked, ENV, [])
    for other in (own.replace(part.name, "nobody_yet"), SignRequest.pattern(ENV), f"{ENV}.signing.*.sign.nobody_yet"):
        wants = msgspec.structs.replace(asked, publish=[*asked.publish, other])
        assert [f"publishing {other}"] == objections(wants, ENV, [])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "callers: Field required"),
        ("[callers.desk]\nkey='desk'\n", "callers.desk.subjects: Field required"),
        ("[callers.desk]\nkey='desk'\nsubjects=['>']\n", "String should match pattern"),
        ("[callers.desk]\nkey='root'\nsubjects=['a.b.event.*.c']\n", "sign as root, which it never does"),
        ("[callers.steward]\nkey='x'\nsubjects=['a.b.event.*.c']\n", "sign as steward, which it never does"),
        ("[callers.desk]\nkey='desk'\nsubjects=['a.b.event.*.c']\nagents='USER'\n", "Extra inputs"),
        ("callers", "is not valid TOML"),
    ],
)
def test_rules_that_are_none_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """A rules file that is incomplete, too wide, or touches the root is a ConfigFault that names the place."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigFault, match=sentence):
        read_rules(path)


def test_the_organ_is_built_from_its_settings(tmp_path: Path) -> None:
    """Built from signing_rules it signs with the keyring's key; without the file it is a ConfigFault."""
    write_private(tmp_path / "rules.toml", "[callers.desk]\nkey='desk'\nsubjects=['trial.desk.event.*.noted']\n")
    world = SimWorld(ENV, 1)
    with pytest.raises(ConfigFault, match="signs for nobody"):
        SignerOrgan.build(load({}, {"home": str(tmp_path)}, "here").settings, world)
    chosen = {"home": str(tmp_path), "signing_rules": str(tmp_path / "rules.toml")}
    organ = SignerOrgan.build(load({}, chosen, "here").settings, world)
    assert {"desk": ("trial.desk.event.*.noted",)} == {name: rule.subjects for name, rule in organ.rules.items()}


def test_an_organism_in_which_a_nerve_holds_no_key(tmp_path: Path) -> None:
    """A nerve whose key lies in the proxy's keyring decides; its own host has only the public half, and says so."""
    rules, keys = tmp_path / "rules.toml", tmp_path / "keys.toml"
    rules.write_text("[callers.overload]\nkey='its-key'\nsubjects=['nervous.overload.event.*.assessed']\n")
    theirs = load({}, {"home": str(tmp_path / "proxy"), "signing_rules": str(rules)}, "there").settings
    key = Keys(theirs, RealWorld(ENV), CHEAP).signer("its-key", "host")
    keys.write_text(f"overload = '{key.public.hex()}'\n")

    def parts(world: World) -> list[Part]:
        nervous = [find_part(name).simulate(SimWorld(ENV, 1)) for name in ("nerves.overload", "cells.sensor_cell")]
        return [SignerOrgan.build(theirs, world), *nervous]

    async def life(living: Living) -> None:
        async with asyncio.timeout(PATIENCE_S):  # until it felt enough to decide on
            while not isinstance(answer := await living.operator.request(AssessRequest("sim")), Decided):
                await asyncio.sleep(0.02)
        verdicts = [verdict async for verdict in living.operator.replay()]
        last = verdicts[answer.index]
        assert last.sealed is not None
        assert ([None], [key.key_id]) == ([last.refusal], [signature.k for signature in last.sealed.signatures])
        host = living.host
        assert isinstance(host, EmbeddedHost)
        assert "overload" not in host.keys.ring.names()
        with pytest.raises(KeyFault, match="behind the signing proxy"):
            host.signer("overload", "host").sign(b"x")
        with pytest.raises(KeyFault, match="cannot be replaced here"):
            host.keys.stage_rotation("overload")

    live_nats(life, tmp_path / "home", parts, {"signing_keys": str(keys)})


@pytest.mark.parametrize("text", ["overload = 'xx'", "overload = 5", "overload", "[overload]\na = 'b'"])
def test_public_keys_that_are_none(tmp_path: Path, text: str) -> None:
    """A file of proxied keys that is not NAME = hex is a ConfigFault."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigFault, match="is no list of public keys"):
        read_proxied(path)


def test_the_organ_passes_every_generic_check() -> None:
    """The signer passes the checks that every organ passes."""
    assert [] == [finding for finding in check_part(find_part("organs.signer")) if not finding.ok]
