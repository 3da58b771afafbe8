"""What every port to people's keys does, in memory and in a folder: it seals, it opens, and it forgets for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import Refused
from shared.keys import CHEAP
from shared.personal import MAX_SEALED_BYTES, MIN_SEALED_BYTES, Personal
from shared.vault import Erased, MemoryStore, People, Store, Unknown, Unopenable, Vault
from shared.vault.people import MAX_NAME_CHARS, MAX_VALUE_BYTES
from shared.world import SimWorld

pytestmark = pytest.mark.spec("X-11")

Open = Callable[[], People]


@pytest.fixture(params=["memory", "folder"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Open the port anew on what it kept, as another process would."""
    world, memory = SimWorld("dev", 11), MemoryStore()
    folder = tmp_path / "vault"
    if request.param == "folder":
        Vault.create(folder, b"pass", world.entropy, CHEAP)

    async def unlocked() -> Store:
        return memory if request.param == "memory" else Vault.unlock(folder, b"pass", world.entropy)

    return lambda: People(unlocked, world.entropy)


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a body to its end."""
    asyncio.run(body)


def test_what_is_sealed_is_opened_by_whoever_has_the_keys(opened: Open) -> None:
    """A value comes back as it was, also after a restart, and every sealing of it looks different."""

    async def body() -> None:
        keys = opened()
        one, two = await keys.seal("Ada", "12 St James's Square"), await keys.seal("Ada", "12 St James's Square")
        assert one.person == two.person
        assert one.sealed != two.sealed
        assert "12 St James's Square" == await opened().open(one) == await opened().open(two)

    run(body())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=20), value=st.text(max_size=200))
def test_any_text_is_sealed_or_refused(opened: Open, name: str, value: str) -> None:
    """Whatever the text, it comes back the same, or it was refused by name; its bytes show its length in steps only."""

    async def body() -> None:
        keys = opened()
        try:
            sealed = await keys.seal(name, value)
        except Refused as no:
            refused = no.refusal.code
        else:
            refused = ""
            assert value == await keys.open(sealed)
            assert 0 == (len(sealed.sealed) - 24 - 16) % 32
        assert refused == ("" if name.strip() and _unicode(name + value) else "B002")

    run(body())


def test_the_largest_value_fits_and_a_larger_one_is_refused(opened: Open) -> None:
    """The bounds of the field's type and of the port agree: nothing is sealed that could not be sent."""

    async def body() -> None:
        keys = opened()
        most = await keys.seal("n" * MAX_NAME_CHARS, "v" * MAX_VALUE_BYTES)
        assert MIN_SEALED_BYTES <= len(most.sealed) <= MAX_SEALED_BYTES
        assert MIN_SEALED_BYTES == len((await keys.seal("Ada", "")).sealed)
        for name, value, code in (("Ada", "v" * (MAX_VALUE_BYTES + 1), "B003"), ("n" * 201, "v", "B002")):
            with pytest.raises(Refused, match=code):
                await keys.seal(name, value)

    run(body())


def test_people_are_told_apart(opened: Open) -> None:
    """Each person has a pseudonym of their own, and nobody's sealed bytes open under another's."""

    async def body() -> None:
        keys = opened()
        ada, bob = await keys.seal("Ada", "hers"), await keys.seal("Bob", "his")
        assert ada.person != bob.person
        for wrong in (
            Personal[str](bob.person, ada.sealed),
            Personal[str](ada.person, ada.sealed[:-1] + bytes([ada.sealed[-1] ^ 1])),
            Personal[str](ada.person, bytes(len(ada.sealed))),
        ):
            with pytest.raises(Unopenable):
                await keys.open(wrong)
        with pytest.raises(Unknown):
            await keys.open(Personal[str](bytes(16), ada.sealed))

    run(body())


def test_one_name_is_one_person_however_it_was_typed(opened: Open) -> None:
    """The same letters composed or decomposed, or with space around them, are the same person."""

    async def body() -> None:
        keys = opened()
        typed = [(await keys.seal(name, "x")).person for name in ("Zoë", "Zoe\u0308", " Zoë ")]
        assert {await keys.find("Zoë")} == set(typed)
        with pytest.raises(Unknown):
            await keys.find("Zoe")

    run(body())


def test_an_erasure_is_for_good(opened: Open) -> None:
    """After it nothing of that person opens, everywhere and for ever, and the answer names the log's position."""

    async def body() -> None:
        keys = opened()
        ada, bob = await keys.seal("Ada", "hers"), await keys.seal("Bob", "his")
        assert [] == await keys.erase(ada.person, 7, 1)
        with pytest.raises(Erased, match=r"being erased, as ordered at \(7, 1\)"):
            await keys.open(ada)
        store = await opened().store()
        with store.hold():
            assert [bob.person.hex()] == store.names("person"), "her key is destroyed, not only marked"
        assert [] == await opened().erase(ada.person, 7, 1), "a repeat changes nothing"
        await keys.complete(ada.person, 9, 0)
        await keys.complete(ada.person, 12, 0)
        for again in (keys, opened()):
            with pytest.raises(Erased, match=r"erased at \(9, 0\)") as found:
                await again.open(ada)
            assert (ada.person, 9, 0, True) == (
                found.value.person,
                found.value.index,
                found.value.offset,
                found.value.complete,
            )
            with pytest.raises(Unknown):
                await again.find("Ada")
            with pytest.raises(Erased):
                await again.salt(ada.person, b"record")
            assert "his" == await again.open(bob)

    run(body())


def test_whoever_comes_back_is_somebody_else(opened: Open) -> None:
    """A person of the same name after an erasure has another pseudonym; what was erased stays so."""

    async def body() -> None:
        keys = opened()
        before = await keys.seal("Ada", "hers")
        await keys.erase(before.person, 1, 0)
        after = await keys.seal("Ada", "hers again")
        assert before.person != after.person
        assert "hers again" == await keys.open(after)
        with pytest.raises(Erased):
            await keys.open(before)

    run(body())


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("she asked for it", True),
        ("as King James asked", False),  # a word of her own name
        ("ADA-AUGUSTA", False),
        ("\uff21da", False),  # the same letter, wide
        ("for AdaAugusta King of Lovelace", False),
        ("Bunsen, R., asked", True),  # of another's name not all
        ("Mr. robert_bunsen asked", False),
        ("Zoe\u0308 asked", False),  # written with a mark of its own
        ("al asked", True),  # too short a name to be told from a word
        ("\u5e94\u674e\u96f7\u8981\u6c42", False),  # two letters of a script without spaces
    ],
)
def test_what_the_log_keeps_names_nobody(opened: Open, said: str, allowed: bool) -> None:  # noqa: FBT001 - a case
    """A text with any word of a person's own name, or with the whole name of anybody else, is refused as B002."""

    async def body() -> None:
        keys = opened()
        ada, *_ = [
            await keys.seal(name, "-")
            for name in ("Ada Augusta King", "Robert Bunsen", "Zo\u00eb", "Al", "\u674e\u96f7")
        ]
        if allowed:
            await opened().refuse_names(ada.person, "-", said)
        else:
            with pytest.raises(Refused, match="say why, not who") as found:
                await opened().refuse_names(ada.person, "-", said)
            assert "Ada" not in str(found.value)
        with pytest.raises(Unknown):
            await opened().refuse_names(bytes(16), said)

    run(body())


def test_nobody_is_erased_by_mistake(opened: Open) -> None:
    """A pseudonym without a key is unknown: there is nothing to erase, and nothing is written."""

    async def body() -> None:
        with pytest.raises(Unknown):
            await opened().erase(bytes(16), 1, 0)
        with pytest.raises(Unknown):
            await opened().open(Personal[str](bytes(16), bytes(72)))

    run(body())


def test_salts_belong_to_a_record_of_a_person(opened: Open) -> None:
    """A salt is the same at every call, and differs by record and by person."""

    async def body() -> None:
        keys = opened()
        ada, bob = (await keys.seal("Ada", "")).person, (await keys.seal("Bob", "")).person
        salts = [await keys.salt(who, record) for who in (ada, bob) for record in (b"1", b"2")]
        assert 4 == len(set(salts))
        assert {32} == {len(salt) for salt in salts}
        assert salts[0] == await opened().salt(ada, b"1")

    run(body())


def test_a_cut_off_enrolment_is_nobody(opened: Open) -> None:
    """A name without a key, as a crash in mid-enrolment leaves it, is not found, and enrols as if it had never been."""

    async def body() -> None:
        keys = opened()
        (await keys.store()).put("name", "Ada", bytes(16))
        with pytest.raises(Unknown):
            await keys.find("Ada")
        assert [] == (await keys.store()).names("name")
        assert "hers" == await keys.open(await keys.seal("Ada", "hers"))

    run(body())


def _unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
