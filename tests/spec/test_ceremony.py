"""Root keys with several owners: proposed at the log, signed on each owner's machine, submitted when enough agreed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.ceremony import PROPOSAL_TTL_MS as TTL_MS
from deploy.ceremony import Place, place_of, propose_genesis, propose_introduce, propose_revoke, submit
from deploy.proposal import Given, Proposal, check_proposal, cosign, describe, encode_proposal, read_proposal
from deploy.roots import read_roots
from shared.config import load
from shared.errors import ConfigFault, Exit, KeyFault, Refused
from shared.home import Keys
from shared.keys import LocalSigner
from shared.keys.sealed import CHEAP
from shared.people import people_of
from shared.world import RealWorld, now_ms
from tests.commands import NO_DATABASE, Done, Home

pytestmark = pytest.mark.spec("X-04", "ILL-07")

ADA, BEN, CYD, ADA_TOO = (LocalSigner(bytes([place]) * 32) for place in (1, 2, 3, 4))
EVE = LocalSigner(bytes([5]) * 32)
OWNERS = {"ada": ADA, "ben": BEN, "cyd": CYD}


def roots_file(folder: Path, threshold: int = 2) -> Path:
    """The owners' file; ada has two keys, which make her no more than one owner."""
    rows = [*OWNERS.items(), ("ada", ADA_TOO)]
    roots = [{"owner": owner, "public": key.public.hex()} for owner, key in rows]
    path = folder / "roots.json"
    path.write_text(json.dumps({"threshold": threshold, "roots": roots}))
    return path


def signed(proposal: Proposal, *signers: LocalSigner) -> Proposal:
    """The proposal with these owners' signatures."""
    for signer in signers:
        proposal = cosign(proposal, signer, now_ms(RealWorld("dev")))
    return proposal


def no(act: Callable[[], object]) -> str:
    """What the refusal that must come says."""
    with pytest.raises(Refused) as refused:
        act()
    return str(refused.value)


@dataclass
class Log:
    """A log on a server of its own, whose roots are ada, ben and cyd."""

    place: Place

    async def end(self) -> int:
        """The newest index."""
        newest = await self.place.bus.wire.last(self.place.bus.log, "dev.>")
        return newest.index if newest else -1

    async def refuses(self, proposal: Proposal) -> str:
        """What submit says; nothing may have been appended."""
        before = await self.end()
        with pytest.raises(Refused) as refused:
            await submit(self.place, proposal)
        assert before == await self.end()
        return str(refused.value)


def with_log(folder: Path, life: Callable[[Log], object]) -> None:
    """Let `life` have the place of a new, empty log on a real server."""
    chosen = {"home": str(folder / "home"), "database_url": NO_DATABASE, "root_keys": str(roots_file(folder))}
    loaded = load({}, chosen, "here")
    Keys(loaded.settings, RealWorld("dev"), CHEAP)

    async def whole() -> None:
        async with place_of(loaded) as place:
            done = life(Log(place))
            assert asyncio.iscoroutine(done)
            await done

    asyncio.run(whole())


def test_two_of_three_owners_and_nobody_alone(tmp_path: Path) -> None:
    """One owner is R009, two keys of one owner are R009, two of three owners are admitted by every reader."""

    async def life(log: Log) -> None:
        proposal = propose_genesis(log.place, ["steward", "math_cell"])
        assert "R009 TOO_FEW_OWNERS: 1 distinct owners signed, 2 are needed" == await log.refuses(signed(proposal, ADA))
        message = no(lambda: signed(proposal, ADA, ADA_TOO))
        assert (
            "R009 TOO_FEW_OWNERS: ada has signed already; a second signature by one owner counts for nothing" == message
        )
        assert "R009" in no(lambda: signed(proposal, ADA, ADA))
        by_hand = tuple(
            Given(key.key_id, tuple(key.sign(step.unsigned.message) for step in proposal.steps))
            for key in (ADA, ADA_TOO)
        )
        both = msgspec.structs.replace(proposal, given=by_hand)
        assert "R009 TOO_FEW_OWNERS: ada signed twice" in await log.refuses(both)
        assert "R002" in no(lambda: signed(proposal, LocalSigner(b"\x09" * 32)))
        agreed = signed(proposal, CYD, ADA)
        assert 2 == await submit(log.place, agreed)
        assert 2 == await submit(log.place, agreed)  # again, as after a crash
        verdicts = [verdict async for verdict in log.place.bus.replay()]
        assert [None] * 3 == [verdict.refusal for verdict in verdicts]
        book = log.place.bus.prefix.keys
        assert (2, 3, {"math_cell", "root", "steward"}) == (
            book.threshold,
            len({key.owner for key in book.keys.values() if key.part == "root"}),
            {key.part for key in book.keys.values()},
        )
        with pytest.raises(KeyFault, match="has its genesis already"):
            propose_genesis(log.place, [])
        with pytest.raises(KeyFault, match="nothing to propose"):
            propose_introduce(log.place, ["math_cell"])

    with_log(tmp_path, life)


def test_owners_introduce_a_person(tmp_path: Path) -> None:
    """A person is introduced by the owners with their roles: their key made here, or named where it lies with them."""

    async def life(log: Log) -> None:
        await submit(log.place, signed(propose_genesis(log.place, ["steward"]), ADA, BEN))
        both = ["ada=human,cto", f"eve=signer={EVE.public.hex()}"]
        await submit(log.place, signed(propose_introduce(log.place, both), ADA, BEN))
        known = {one.name: one for one in people_of(log.place.bus.prefix.keys, "dev")}
        assert {"ada": ("human", "cto"), "eve": ("signer",)} == {name: one.roles for name, one in known.items()}
        assert (log.place.keys.signer("ada", "ada").public, EVE.public) == (
            known["ada"].key.public,
            known["eve"].key.public,
        )
        assert "nothing to propose" in str(raised(lambda: propose_introduce(log.place, both)))
        for taken in (f"bob=signer={EVE.public.hex()}", f"eve=cto={EVE.public.hex()}"):
            assert "give " in str(raised(lambda taken=taken: propose_introduce(log.place, [taken])))
        for wrong in ("bob=ai", "bob=", "bob=human,human", "bob=king"):
            assert "G007" in no(lambda wrong=wrong: propose_introduce(log.place, [wrong]))

    with_log(tmp_path, life)


def raised(act: Callable[[], object]) -> KeyFault:
    """The fault that must come."""
    with pytest.raises(KeyFault) as fault:
        act()
    return fault.value


def test_a_lane_that_moved_asks_for_a_new_proposal(tmp_path: Path) -> None:
    """Of two proposals for one place the second is B007 with what to do; revocations need the owners as well."""

    async def life(log: Log) -> None:
        await submit(log.place, signed(propose_genesis(log.place, ["math_cell"]), ADA, BEN))
        late, first = (propose_introduce(log.place, ["overload"]) for _ in range(2))
        assert 2 == await submit(log.place, signed(first, BEN, CYD))
        told = await log.refuses(signed(late, ADA, BEN))
        assert "B007 LANE_MOVED: the key lane moved from 1 to 2 since this was proposed" in told
        assert "propose anew" in told
        revoked = propose_revoke(log.place, "math_cell", "lost")
        assert "R009" in await log.refuses(signed(revoked, CYD))
        assert 3 == await submit(log.place, signed(revoked, CYD, ADA))
        assert log.place.bus.prefix.keys.current("math_cell") is None
        with pytest.raises(KeyFault, match="no key of math_cell that could be revoked"):
            propose_revoke(log.place, "math_cell", "again")
        with pytest.raises(KeyFault, match="no key of root"):
            propose_revoke(log.place, "root", "no")
        again = propose_introduce(log.place, ["math_cell"])  # the ended key is replaced by a staged one
        assert 4 == await submit(log.place, signed(again, CYD, ADA))
        staged = log.place.keys.ring.staged("math_cell")
        current = log.place.bus.prefix.keys.current("math_cell")
        assert staged is not None
        assert current is not None
        assert staged.key_id == current.key_id

    with_log(tmp_path, life)


def test_a_changed_or_late_proposal_is_refused(tmp_path: Path) -> None:
    """A changed event, a changed signed part, a changed signature and a proposal past its time have each their code."""

    async def life(log: Log) -> None:
        proposal = signed(propose_genesis(log.place, ["math_cell"]), ADA, BEN)
        other = propose_genesis(log.place, ["overload"])
        step, theirs = proposal.steps[1], other.steps[1]
        for steps, code in (
            ((proposal.steps[0], msgspec.structs.replace(step, events=theirs.events)), "R005"),
            ((proposal.steps[0], theirs), "R002"),
            ((proposal.steps[0],), "R002"),
            ((), "R005"),
            ((step, proposal.steps[0]), "R005"),
        ):
            changed = msgspec.structs.replace(proposal, steps=tuple(steps))
            assert code in await log.refuses(changed)
        wrong = msgspec.structs.replace(
            proposal, given=(msgspec.structs.replace(proposal.given[0], key_id=BEN.key_id),)
        )
        assert "R002" in await log.refuses(wrong)
        lowered = msgspec.structs.replace(proposal, threshold=1, given=proposal.given[:1])
        assert "R005" in await log.refuses(lowered)
        foreign = msgspec.structs.replace(proposal, genesis="00" * 32)
        assert "R008" in await log.refuses(foreign)
        now = now_ms(log.place.bus.world)
        check_proposal(proposal, now + TTL_MS - 60_000)
        assert "R001 EXPIRED" in no(lambda: check_proposal(proposal, now + TTL_MS + 1))
        assert "R001 EXPIRED" in no(lambda: cosign(proposal, CYD, now + TTL_MS + 1))
        assert "R001 EXPIRED" in no(lambda: check_proposal(proposal, now - 60_000))
        assert -1 == await log.end()

    with_log(tmp_path, life)


def test_a_file_of_any_bytes_is_a_proposal_or_refused(tmp_path: Path) -> None:
    """Whatever stands in the file, reading and checking it ends in a refusal, or in what was written there."""
    honest: list[Proposal] = []

    async def life(log: Log) -> None:
        honest.append(signed(propose_genesis(log.place, ["math_cell"]), ADA))

    with_log(tmp_path, life)
    [proposal] = honest
    text, path = encode_proposal(proposal).encode(), tmp_path / "proposal.json"
    path.write_bytes(text)
    assert proposal == read_proposal(path)
    named = set[str]()

    @settings(max_examples=150)
    @given(st.integers(0, len(text) - 1), st.binary(max_size=8))
    def each(place: int, put: bytes) -> None:
        path.write_bytes(text[:place] + put + text[place + len(put) :])
        try:
            read = read_proposal(path)
            check_proposal(read, now_ms(RealWorld("dev")))
        except Refused as refused:
            named.add(refused.refusal.code)
        else:
            assert (proposal.steps, proposal.roots) == (read.steps, read.roots)

    each()
    assert named <= {"R001", "R002", "R005", "R009", "B002", "B003"}


def test_what_is_signed_is_shown_in_words(tmp_path: Path) -> None:
    """The description comes from the signed bytes: owners, threshold, parts, what their keys may sign, until when."""

    async def life(log: Log) -> None:
        told = "\n".join(describe(signed(propose_genesis(log.place, ["overload"]), BEN)))
        for expected in (
            "2 of these owners introduce and revoke keys: ada with key",
            r"of overload \(owner host\), which may sign dev\.nervous\.overload\.event\.\*\.assessed",
            "as its first entries, to be submitted before 2",
            "signed by ben; 2 owners of ada, ben, cyd are needed",
        ):
            assert re.search(expected, told), told

    with_log(tmp_path, life)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ({"threshold": 1}, "roots: Field required"),
        ({"threshold": 0, "roots": [{"owner": "a", "public": ADA.public.hex()}]}, "greater than or equal to 1"),
        ({"threshold": 2, "roots": [{"owner": "a", "public": ADA.public.hex()}]}, "asks for 2 owners and names 1"),
        ({"threshold": 1, "roots": [{"owner": "a", "public": ADA.public.hex()}] * 2}, "lists one key twice"),
        ({"threshold": 1, "roots": [{"owner": "a", "public": "00" * 32}]}, "point of low order"),
        ({"threshold": 1, "roots": [{"owner": "a\n", "public": ADA.public.hex()}]}, "String should match"),
        ([], "valid dictionary"),
    ],
)
def test_roots_no_log_could_begin_with(tmp_path: Path, file: object, sentence: str) -> None:
    """A file of roots that is incomplete, weak, doubled or can never reach its threshold is a ConfigFault."""
    path = tmp_path / "roots.json"
    path.write_text(json.dumps(file))
    with pytest.raises(ConfigFault, match=sentence):
        read_roots(path)


def refused(done: Done, code: Exit, sentence: str) -> None:
    """The command ended with this code, and its sentence says this."""
    assert code == done.code, done
    said = done.err.splitlines()[-1]  # notes, a description among them, may come before
    assert said.startswith("nimmerverse: "), done.err
    assert re.search(sentence, said), said


def test_the_whole_ceremony_by_hand(tmp_path: Path) -> None:
    """Three owners with three keyrings; the start names the ceremony, 1 is refused, 2 of 3 begin a log that runs."""
    home = Home.at(tmp_path / "home").without_records().keyed()
    file = str(tmp_path / "ceremony.json")

    def at(owner: str) -> tuple[str, ...]:
        folder = tmp_path / owner
        return ("--keyring", str(folder / "ring"), "--key", "root", "--passphrase-file", str(folder / "passphrase"))

    lines = [home.held("keys", "owner", *at(owner), "--owner", owner).out for owner in OWNERS]
    (tmp_path / "roots.toml").write_text("threshold = 2\n" + "".join(lines))
    home = home.set(root_keys=str(tmp_path / "roots.toml"))
    start = home.run("up", "--part", "cells.math_cell")
    refused(start, Exit.KEY, "log lacks the genesis and the keys of steward, math_cell")
    refused(start, Exit.KEY, "`nimmerverse keys propose genesis steward math_cell > ceremony.json`, have 2 of ada, ben")
    proposed = home.held("keys", "propose", "genesis", "steward", "math_cell")
    Path(file).write_text(proposed.out)
    assert "2 of these owners introduce and revoke keys" in proposed.err
    refused(home.run("keys", "cosign", file, *at("ada")), Exit.KEY, "nothing was signed")
    refused(home.run("keys", "submit", file), Exit.REFUSED, "R009")
    home.held("keys", "cosign", file, *at("ada"), "--yes")
    refused(home.run("keys", "cosign", file, *at("ada"), "--yes"), Exit.REFUSED, "R009 .*ada has signed already")
    refused(home.run("keys", "submit", file), Exit.REFUSED, "R009 .*1 distinct owners signed, 2 are needed")
    home.held("keys", "cosign", file, *at("cyd"), "--yes")
    [told] = home.held("keys", "submit", file, "--json").documents
    assert (2, ["ada", "cyd"]) == (told["index"], told["signed_by"])

    def agree(*words: str) -> None:
        Path(file).write_text(home.held("keys", "propose", *words).out)
        for owner in ("ben", "cyd"):
            home.held("keys", "cosign", file, *at(owner), "--yes")
        home.held("keys", "submit", file)

    with home.up("--part", "cells.math_cell"):
        assert "42" in home.held("ask", "6*7").out
        assert "root: 2 of ada, ben, cyd" in home.held("keys", "log").out
        refused(home.run("part", "cells.sensor_cell"), Exit.REFUSED, "keys propose introduce sensor_cell")
        agree("introduce", "sensor_cell")
        with home.living("part", "cells.sensor_cell", "--json") as part:
            assert "sensor_cell" == part.document()["part"]
    refused(home.run("keys", "revoke", "math_cell", "--reason", "x"), Exit.KEY, "propose revoke math_cell")
    agree("revoke", "math_cell", "--reason", "seen elsewhere")
    refused(home.run("up", "--part", "cells.math_cell"), Exit.KEY, "propose introduce math_cell >")
    agree("introduce", "math_cell")
    with home.up("--part", "cells.math_cell"):  # with the key that was staged for it
        assert "42" in home.held("ask", "6*7").out
    refused(home.run("up"), Exit.KEY, "propose introduce notary battery_cell toxicity_cell overload")
