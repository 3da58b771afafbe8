"""The sanitised derivative of a dataset: what was kept goes on, and nothing in it names anybody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organs.provenance.desk import Desk
from organs.provenance.ingest import Ended, Ingest, Plan
from organs.provenance.naming import masked, names_somebody
from organs.provenance.post import Source
from organs.provenance.sanitised import Sanitised, check_source
from shared.corpus import read_batch
from shared.errors import Refused
from shared.subjects.provenance import Tally
from shared.vault.records import check_batch
from tests.corpora import RULES, Place, listed, post, written

PIECES = st.sampled_from(
    [
        *("@", ".", "+", "-", " ", "(", ")", "a", "_", "é", "718", "0221", "1234567890", "[@]", "x.org"),
        *("/", "0", "00", "44", "06", "4707", "07700900123", "2012", "x.com/", "https://", "www.", "t.me/", "home"),
    ]
)
#: What leads to somebody, as people write it, each with what is left of it.
LEADING = {
    "718-622-0221": "[#]",
    "(555) 123-4567": "[#]",
    "(555)123-4567": "[#]",
    "1-800-555-0199": "1-[#]",
    "+44 20 7946 0958": "[#]",
    "+49 (0)171/1234567": "[#]",
    "0044 20 7946 0958": "[#]",
    "001-555-123-4567": "001-[#]",
    "020 7946 0958": "[#]",
    "020.7946.0958": "[#]",
    "01632 960123": "[#]",
    "07700900123": "[#]",
    "030 1234567": "[#]",
    "(030) 123 45 67": "[#]",
    "Tel.: 0221/470-3300": "Tel.: [#]",
    "0171-1234567": "[#]",
    "0171 / 1234567": "[#]",
    "01 23 45 67 89": "[#]",
    "06.12.34.56.78": "[#]",
    "044 668 18 00": "[#]",
    "03-1234-5678": "[#]",
    "ada@example.org": "[@]",
    "https://x.com/jack": "[@]",
    "(see x.com/@jack)": "(see [@])",
    "https://www.twitter.com/jack/status/20.": "[@].",
    "fb.com/john.smith": "[@]",
    "HTTPS://M.FACEBOOK.COM/profile.php?id=1000123": "[@]",
    "instagram.com/ada_b/": "[@]",
    "t.me/ada": "[@]",
    "https://uk.linkedin.com/in/ada-b-1234?trk=x": "[@]",
}
#: What looks like it and leads to nobody.
HARMLESS = [
    *("1,234,567,890", "1234567890", "10 000 000 000", "1 020 123 456", "00012345678905", "012345678905"),
    *("$1,234.56", "EUR 12 345 678,90", "1.234.567,89", "0.123456789", "0.01711234567", "3.14159265358979"),
    *("2012-2013", "1990 2000 2010", "01.02.2012 10", "01/02/2012 1030", "2012-01-02 03:04:05", "03/2012-04/2013"),
    *("0306406152", "0-306-40615-2", "978-0-306-40615-7", "978 0 306 40615 2", "9780306406157", "978-0140-449-136"),
    *("01 02 03 04 05 06 07 08", "02139-4307", "ISSN 0378-5955", "10.1000/0171234567", "192.168.0.1", "0x0171123456"),
    *("x.com", "facebook.com/", "netflix.com/jack", "fix.com/jack", "x.com/search?q=cats", "https://t.co/abc"),
    *("https://twitter.com/hashtag/cats", "linkedin.com/company/acme", "we meet @ 5"),
]
#: What leads to somebody and what no pattern of ours finds, as docs/provenance.md says.
UNFOUND = ["555-0199", "612 345 678", "0612345678", "5 030 1234567", "my name is Ada", "ada (at) example (dot) org"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Where a test's datasets lie."""
    return Place(tmp_path)


def plan(place: Place, dataset: str, corpus: str = "derived") -> Plan:
    """A dataset of the place as the source of another one."""
    intake, manifest = msgspec.structs.replace(RULES, reader="dataset", source=dataset), place.manifest(dataset)

    async def opened(offset: int) -> Source:
        return Sanitised(manifest, place.store, place.people, offset)

    return replace(place.plan(Path("none"), corpus, intake), open=opened, sources=(dataset,))


def sanitised(place: Place, dataset: str, corpus: str = "derived") -> Ended:
    """Derive it."""
    return asyncio.run(Ingest(plan(place, dataset, corpus), place.ports(), lambda _: None).run())


def posts(count: int) -> list[dict[str, object]]:
    """Posts of which some are somebody's, some name somebody, and some are dropped."""
    texts = {1: "ask @somebody about what it is to be", 2: "it was sent to ada.b@example.org and to +44 20 7946 0958"}
    dropped = {3: "this is bad bad bad and the end of it"}
    return [
        post(n, (texts | dropped).get(n % 7), author=f"@poet{n % 3}" if n % 2 else None, created_at="2026-01-01")
        for n in range(count)
    ]


@pytest.mark.spec("ILL-03")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ask @somebody about it", "ask [@] about it"),
        ("it was sent to ada.b+c@mail.example.org.", "it was sent to [@]."),
        ("call 718-622-0221 or +44 20 7946 0958", "call [#] or [#]"),
        ("we meet @ 5 for 1,234,567,890 in 2012-2013", "we meet @ 5 for 1,234,567,890 in 2012-2013"),
    ],
)
def test_what_leads_to_a_person_is_masked(text: str, expected: str) -> None:
    """Handles, addresses of mail and numbers to call; what is none of them stays."""
    assert expected == masked(text)


@pytest.mark.spec("ILL-03", "X-11")
@pytest.mark.parametrize("text", [*LEADING])
def test_what_people_are_found_by_is_found(text: str) -> None:
    """National and international numbers, mail and profiles, as people write them, alone and in a sentence."""
    for said in (text, f"so it is: {text} and that is it"):
        assert names_somebody(said, posted=False)
        assert said.replace(text, LEADING[text]) == masked(said)


@pytest.mark.spec("ILL-03")
@pytest.mark.parametrize("text", [*HARMLESS, *UNFOUND])
def test_what_nobody_is_found_by_stays(text: str) -> None:
    """Counts, prices, years, books, dates and other addresses stay; so does what no pattern knows, which is written."""
    for said in (text, f"so it is: {text}, and that is it"):
        assert not names_somebody(said, posted=True)
        assert said == masked(said)


@pytest.mark.spec("ILL-03", "X-12")
def test_nothing_is_left_of_a_text_whose_masks_lay_more_and_more_open() -> None:
    """A list of numbers is masked one by one; a text that is made to be looked at again and again is masked whole."""
    assert ",".join(["[#]"] * 30) == masked(",".join(["030 1234567"] * 30))
    assert "[#]" == masked("030 1234567@12 " * 30)


@pytest.mark.spec("ILL-03")
@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_a_masked_text_names_nobody(text: str) -> None:
    """Whatever a text holds, masked it leads to nobody, is not longer, and masked again it is the same."""
    done = masked(text)
    assert not names_somebody(done, posted=True)
    assert len(done) <= len(text)
    assert done == masked(done)


@pytest.mark.spec("ILL-03", "X-11")
def test_the_derivative_holds_nobody(place: Place, tmp_path: Path) -> None:
    """What was kept, in its order, without author and time, under the leaf that it has in its source."""
    source = place.ingest(written(tmp_path / "posts.jsonl", posts(1_500))).stated
    assert source.personal > 0 < source.exposed
    ended = sanitised(place, source.dataset)
    lines = [
        line
        for number in range(2)
        for line in asyncio.run(read_batch(place.store, listed(place, source.dataset, number).records))
        if line.fate == "kept"
    ]
    found = place.records(ended.stated.dataset)
    assert (0, 0) == (ended.stated.personal, ended.stated.exposed)
    assert Tally(kept=source.tally.kept) == ended.stated.tally
    assert [line.leaf for line in lines] == [one.id for one in found]
    assert {(None, None)} == {(one.author, one.created_at) for one in found}
    assert {"ask [@] about what it is to be", "it was sent to [@] and to [#]"} < {one.text for one in found}


@pytest.mark.spec("ILL-03", "X-11")
def test_whoever_is_erased_is_not_in_it(place: Place, tmp_path: Path) -> None:
    """Of an erased person nothing goes on."""
    source = place.ingest(written(tmp_path / "posts.jsonl", posts(70))).stated

    async def erased() -> None:
        person = await place.people.find("@poet1")
        await place.people.erase(person, 12, 0)
        await place.people.complete(person, 15, 1)

    asyncio.run(erased())
    gone = {one.text for one in place.records(source.dataset) if one.erased}
    assert {None} == gone
    left = sum(one.fate == "kept" and not one.erased for one in place.records(source.dataset))
    assert 0 < left == sanitised(place, source.dataset).stated.posts < source.tally.kept
    checked = asyncio.run(check_batch(place.store, listed(place, source.dataset, 0), place.people))
    assert source.tally.kept - left == checked.erased < sum(bool(one.erased) for one in checked.records)


@pytest.mark.spec("ILL-03", "COL-03")
def test_it_goes_on_where_it_was_cut_off(place: Place, tmp_path: Path) -> None:
    """Whoever was cut off between two batches ends with the roots of whoever was not."""
    source = place.ingest(written(tmp_path / "posts.jsonl", posts(2_500))).stated
    calm = place.roots(sanitised(place, source.dataset, "calm").stated.dataset)
    (place.folder / "derived").mkdir(mode=0o700)
    (place.folder / "derived" / "salts").write_bytes((place.folder / "calm" / "salts").read_bytes())
    whole = plan(place, source.dataset)

    async def torn(offset: int) -> Source:
        found = await whole.open(offset)
        assert isinstance(found, Sanitised)
        first, second, third = found.manifest.batches
        batches = [first, second, msgspec.structs.replace(third, root="0" * 64)]
        found.manifest = msgspec.structs.replace(found.manifest, batches=batches)
        return found

    with pytest.raises(Refused, match="D005"):
        asyncio.run(Ingest(replace(whole, open=torn), place.ports(), lambda _: None).run())
    assert isinstance(place.desk, Desk)
    assert 1 == len(asyncio.run(place.desk.sealed("derived")))
    assert calm == place.roots(sanitised(place, source.dataset).stated.dataset)


@pytest.mark.spec("ILL-03")
@pytest.mark.parametrize("kind", ["trails", "pairs"])
def test_what_is_no_posts_is_not_sanitised(kind: str) -> None:
    """A dataset without batches of posts is refused by name."""
    with pytest.raises(Refused, match=f"B002.*found {kind}"):
        check_source(kind)
