"""Signing keys on a PKCS#11 token, tried on a real SoftHSM2."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pkcs11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pkcs11.exceptions import AttributeSensitive

from deploy.cli import main
from deploy.keychange import revoke, rotate
from deploy.organism import ROOT
from deploy.proposal import Proposal, Waiting, check_proposal, encode_proposal, read_proposal
from shared.codec import encode
from shared.config import load
from shared.envelope import Attributes, pack_event, prepare, rfc3339, type_of
from shared.errors import ConfigFault, KeyFault
from shared.files import write_private
from shared.home import Keys
from shared.keys import Token, key_id_of, verify
from shared.keys.sealed import CHEAP
from shared.subjects.keys import KEYS_LANE, Genesis, RootKey
from shared.world import RealWorld, now_ms
from tests.commands import NO_DATABASE
from tests.organisms import ENV, Living, live_nats
from tests.tokens import LABEL, Soft, soft_token

pytestmark = pytest.mark.spec("ILL-07", "COL-15")


@pytest.fixture
def soft(tmp_path: Path) -> Iterator[Soft]:
    """A token of its own for one test."""
    with soft_token(tmp_path / "hsm") as token:
        yield token


def private(session: pkcs11.Session, label: str) -> pkcs11.PrivateKey:
    """The one private key of this label."""
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.Attribute.LABEL: label}
    [key] = session.get_objects(wanted)
    assert isinstance(key, pkcs11.PrivateKey)
    return key


def sentence(act: Callable[[], object]) -> str:
    """What the KeyFault that must come says."""
    with pytest.raises(KeyFault) as fault:
        act()
    return str(fault.value)


def test_a_signature_of_the_token_is_one_of_ours(soft: Soft) -> None:
    """What the token signs verifies with the product's verifier, under the public key and id read from the token."""
    made = soft.token().generate("dev.root")
    found = soft.token().signer("dev.root")
    assert (made.public, key_id_of(made.public)) == (found.public, found.key_id)

    @settings(max_examples=40)
    @given(st.binary(max_size=3000))
    def each(message: bytes) -> None:
        assert verify(made.public, message, found.sign(message))

    each()


def test_the_secret_does_not_leave_the_token(soft: Soft) -> None:
    """A generated key is sensitive and not extractable: asked for its value, the token refuses."""
    soft.token().generate("dev.root")
    with soft.inside() as session:
        key = private(session, "dev.root")
        assert (False, True) == (key[pkcs11.Attribute.EXTRACTABLE], key[pkcs11.Attribute.SENSITIVE])
        with pytest.raises(AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_each_failure_is_a_sentence(soft: Soft, tmp_path: Path) -> None:
    """A missing module, token, PIN or key, and a taken label, are each a KeyFault that says what to do."""
    token = soft.token()
    assert "set pkcs11_module" in sentence(lambda: Token(Path("/no/such.so"), LABEL, soft.pin_file).signer("dev.root"))
    other = Token(soft.module, "other", soft.pin_file)
    assert f"no token 'other'; its tokens are '{LABEL}'" in sentence(lambda: other.signer("dev.root"))
    assert "is missing" in sentence(lambda: Token(soft.module, LABEL, tmp_path / "nowhere").signer("dev.root"))
    write_private(tmp_path / "wrong", "0000\n")
    assert "refused the PIN" in sentence(lambda: Token(soft.module, LABEL, tmp_path / "wrong").signer("dev.root"))
    (tmp_path / "wrong").chmod(0o644)
    assert "open to other users" in sentence(lambda: Token(soft.module, LABEL, tmp_path / "wrong").signer("dev.root"))
    assert "`nimmerverse keys generate root`" in sentence(lambda: token.signer("dev.root"))
    token.generate("dev.root")
    assert "already holds a key" in sentence(lambda: token.generate("dev.root"))


def test_a_foreign_key_pair_is_found_out(soft: Soft) -> None:
    """A public key beside the private key of another pair is refused when it signs; two of one label before."""
    token = soft.token()
    token.generate("dev.root")
    token.generate("dev.thief")
    token.close()
    with soft.inside() as session:
        for label, new in (("root", "away"), ("thief", "root")):
            private(session, f"dev.{label}")[pkcs11.Attribute.LABEL] = f"dev.{new}"
    assert "signed with another key" in sentence(lambda: token.signer("dev.root").sign(b"x"))
    with soft.inside() as session:
        session.get_key(label="dev.away", object_class=pkcs11.ObjectClass.PRIVATE_KEY)[pkcs11.Attribute.LABEL] = (
            "dev.root"
        )
    assert "holds 2 objects that are a private key" in sentence(lambda: token.signer("dev.root"))


def test_a_lost_session_is_opened_again(soft: Soft) -> None:
    """A signer goes on after the library was reset under it; where the token is gone it says so."""
    signer = soft.token().generate("dev.root")
    assert verify(signer.public, b"before", signer.sign(b"before"))
    pkcs11.lib(str(soft.module)).reinitialize()
    assert verify(signer.public, b"after", signer.sign(b"after"))
    for path in (soft.pin_file.parent / "tokens").rglob("*"):
        if path.is_file():
            path.unlink()
    pkcs11.lib(str(soft.module)).reinitialize()
    assert f"no token '{LABEL}'" in sentence(lambda: signer.sign(b"gone"))


def test_without_the_extra_it_says_so(soft: Soft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where python-pkcs11 is not installed, a key on a token is a KeyFault that names the extra."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    assert "nimmerverse[hsm]" in sentence(lambda: soft.token().signer("dev.root"))


def test_the_settings_place_a_key(soft: Soft, tmp_path: Path) -> None:
    """A key named in pkcs11_keys lives on the token under its environment, every other one in the keyring."""
    loaded = load({}, {"home": str(tmp_path / "home"), **soft.settings("root", "log")}, "here")
    keys = Keys(loaded.settings, RealWorld("dev"), CHEAP)
    assert "holds 0 objects" in sentence(lambda: keys.signer("root", "host"))
    assert "add it to pkcs11_keys" in sentence(lambda: keys.generate("math_cell"))
    made = keys.generate("root")
    assert (made.public, []) == (keys.signer("root", "host").public, keys.ring.names())
    assert soft.token().holds("dev.root")
    assert "cannot stage a successor" in sentence(lambda: keys.stage_rotation("root"))
    keys.signer("math_cell", "host")
    assert (["math_cell"], ["log", "math_cell", "root"]) == (keys.ring.names(), keys.names())


def test_the_command_line_makes_a_key_there(soft: Soft, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`keys generate` makes the key on the token, `keys list` shows it, and a second time is exit code 6."""
    home = tmp_path / "home"
    Keys(load({}, {"home": str(home)}, "here").settings, RealWorld("dev"), CHEAP)
    words = [f"--set={name}={text}" for name, text in soft.settings("root").items()]
    words += ["--json", f"--home={home}"]
    assert 0 == main(["keys", "generate", "root", *words])
    made = json.loads(capsys.readouterr().out)
    assert soft.token().signer("dev.root").public.hex() == made["public"]
    assert 0 == main(["keys", "list", *words])
    assert [made] == json.loads(capsys.readouterr().out)
    assert 6 == main(["keys", "generate", "root", *words])


def test_an_owner_signs_with_a_token(soft: Soft, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`keys owner` makes the root key on the owner's token, and `keys cosign` signs a proposal with it there."""
    home = tmp_path / "home"
    words = [f"--set={name}={text}" for name, text in soft.settings("root").items()]
    words += ["--json", f"--home={home}", "--key=root"]
    assert 3 == main(["keys", "owner", *words])
    capsys.readouterr()
    assert 0 == main(["keys", "owner", *words, "--owner=ada"])
    made = json.loads(capsys.readouterr().out)
    roots = (RootKey(made["key_id"], bytes.fromhex(made["public"]), "ada"),)
    proposal = Proposal("nimmerverse-proposal-1", "dev", "", 1, roots, (_genesis(roots),))
    path = tmp_path / "ceremony.json"
    write_private(path, encode_proposal(proposal))
    assert 0 == main(["keys", "cosign", str(path), *words, "--yes"])
    signed = read_proposal(path)
    check_proposal(signed, now_ms(RealWorld("dev")))
    assert ["ada"] == signed.signed_by()
    assert not home.exists()


def _genesis(roots: tuple[RootKey, ...]) -> Waiting:
    world, event = RealWorld("dev"), Genesis("root", list(roots), 1, one_host=True, streams=[])
    subject, event_id = event.subject("dev"), bytes(16)
    attributes = Attributes(
        id=event_id.hex(),
        source=ROOT,
        specversion="1.0",
        type=type_of(subject),
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
    unsigned = prepare(attributes, [pack_event(event_id, encode(event))])
    return Waiting(unsigned.payload, unsigned.events)


@pytest.mark.parametrize("missing", ["pkcs11_module", "pkcs11_token", "pkcs11_pin_file", "pkcs11_keys"])
def test_half_a_token_is_a_contradiction(missing: str) -> None:
    """The four settings of a token are given together or not at all."""
    whole = {"pkcs11_module": "/m", "pkcs11_token": "t", "pkcs11_pin_file": "/p", "pkcs11_keys": "root"}
    whole["home"] = "/nowhere"
    half = {name: text for name, text in whole.items() if name != missing}
    with pytest.raises(ConfigFault, match=f"says nothing without {missing}"):
        load({}, half, "here")
    with pytest.raises(ConfigFault, match="names of keys, separated by commas"):
        load({}, whole | {"pkcs11_keys": "root, log"}, "here")


def test_an_organism_whose_root_lives_on_a_token(soft: Soft, tmp_path: Path) -> None:
    """An organism starts with its root key on the token, introduces its parts by it, and its whole log is admitted."""
    root = soft.token().generate(f"{ENV}.root")

    async def life(living: Living) -> None:
        book = living.organism.steward.root.prefix.keys
        assert [root.key_id] == [key.key_id for key in book.keys.values() if key.part == ROOT]
        assert ROOT not in living.host.keys.ring.names()  # pyright: ignore[reportAttributeAccessIssue]
        verdicts = [verdict async for verdict in living.operator.replay(living.organism.fingerprint)]
        assert [] == [verdict.refusal for verdict in verdicts if verdict.refusal]
        lane = KEYS_LANE.format(env=ENV)
        by_root = [v for v in verdicts if v.sealed and v.entry.subject.startswith(lane)]
        assert {(root.key_id,)} == {tuple(s.k for s in v.sealed.signatures) for v in by_root if v.sealed}
        assert len(living.organism.runners) < len(by_root)

    live_nats(life, tmp_path / "home", settings=soft.settings(ROOT))


def test_a_parts_key_on_a_token_is_revoked_but_not_rotated(soft: Soft, tmp_path: Path) -> None:
    """The root ends a part's key on a token; rotating it says what to do there, and the keyring stays as it was."""
    made = soft.token().generate(f"{ENV}.overload")

    async def life(living: Living) -> None:
        assert "overload" in living.organism.runners

    live_nats(life, tmp_path / "home", settings=soft.settings("overload"))
    chosen = {"env": ENV, "home": str(tmp_path / "home"), "database_url": NO_DATABASE, **soft.settings("overload")}
    loaded = load({}, chosen, "here")
    assert "keys generate overload" in sentence(lambda: asyncio.run(rotate(loaded, "overload")))
    ended, index = asyncio.run(revoke(loaded, "overload", "lost"))
    assert made.key_id == ended
    assert index > 0


def test_a_parts_key_on_a_token_is_replaced_by_another(soft: Soft, tmp_path: Path) -> None:
    """A part's key that was labelled otherwise and made anew on the token is introduced at the next start."""
    token = soft.token()
    token.generate(f"{ENV}.overload")
    seen: list[tuple[str, int | None]] = []

    async def life(living: Living) -> None:
        keys = living.organism.steward.root.prefix.keys.keys.values()
        seen[:] = [(key.key_id, key.last) for key in keys if key.part == "overload"]

    live_nats(life, tmp_path / "home", settings=soft.settings("overload"))
    old = token.signer(f"{ENV}.overload").key_id
    assert [(old, None)] == seen
    with soft.inside() as session:
        private(session, f"{ENV}.overload")[pkcs11.Attribute.LABEL] = "former"
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.Attribute.LABEL: f"{ENV}.overload"}
        [public] = session.get_objects(wanted)
        public[pkcs11.Attribute.LABEL] = "former"
    new = token.generate(f"{ENV}.overload").key_id
    live_nats(life, tmp_path / "home", settings=soft.settings("overload"))
    assert [(old, False), (new, True)] == [(key_id, last is None) for key_id, last in seen]
