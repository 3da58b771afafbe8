"""The log's views as a user meets them: listed, verified against the log, rebuilt, and read with plain SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import pytest

from organs.records import VIEWS
from organs.records.port import tables_of
from shared.errors import Exit
from tests.commands import Home

TABLES = [table.name for table in tables_of(VIEWS)]
FEW = ("--part", "organs.records", "--part", "cells.math_cell")


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which an organism with its database lives."""
    home = cheap(tmp_path_factory.mktemp("views") / "alive")
    with home.up(*FEW):
        yield home


def cheap(folder: Path) -> Home:
    """A data folder whose keyring opens quickly."""
    return Home.at(folder).keyed()


def sql(home: Home, statement: str, role: str = "nimmerverse") -> list[tuple[Any, ...]]:
    """What somebody does with psql and the URL that `connect` prints."""
    [told] = home.held("connect", "--json").documents

    async def whole() -> list[tuple[Any, ...]]:
        connection: Any = await asyncpg.connect(told["database_url"], user=role)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(whole())


@pytest.mark.spec("X-05")
def test_untouched_views_are_what_the_log_says(alive: Home) -> None:
    """`views verify` ends with 0 where every table equals the one built from the log, and names them all."""
    done = alive.held("views", "verify", "--json")
    [told] = done.documents
    assert (True, TABLES) == (told["ok"], [table["table"] for table in told["tables"] if table["equal"]])
    assert all(table["live"] == table["rebuilt"] and table["difference"] is None for table in told["tables"])
    assert f"all {len(TABLES)} tables are what the log says" in alive.held("views", "verify").out
    assert [("nimmerverse",)] == sql(alive, "select nspname from pg_namespace where nspname like 'nimmerverse%'")


@pytest.mark.spec("X-05")
def test_views_are_listed(alive: Home) -> None:
    """`views list` shows every table with its revision, rows, next index and digest."""
    [rows] = alive.held("views", "list", "--json").documents
    assert sorted(TABLES) == sorted(row["table"] for row in rows)
    assert all(row["current"] and row["revision"] > 0 and row["next_index"] > 0 for row in rows)
    for row in rows:
        counted = sql(alive, f"select count(*) from nimmerverse.{row['table']}")  # noqa: S608 - a declared name
        assert [(row["rows"],)] == counted
    text = alive.held("views", "list").out
    assert all(row["digest"][:16] in text for row in rows)


@pytest.mark.spec("X-05", "NIM-18")
@pytest.mark.parametrize(
    ("statement", "table", "key", "columns"),
    [
        ("update nimmerverse.decisions set version = '9' where index = 3", "decisions", {"index": 3}, ["version"]),
        ("delete from nimmerverse.decisions where index = 2", "decisions", {"index": 2}, None),
        ("update nimmerverse.keys set owner = 'me' where part = 'root'", "keys", {}, ["owner"]),
        (
            "update nimmerverse.parts set publish = '{x}' where part = 'records'",
            "parts",
            {"part": "records"},
            ["publish"],
        ),
        ("insert into nimmerverse.void_entries values (1, 0, 's', 'R001', '')", "void_entries", {"index": 1}, None),
        ("update nimmerverse.lanes set events = events + 1", "lanes", {}, ["events"]),
    ],
)
def test_a_row_changed_by_hand_is_named(
    alive: Home, statement: str, table: str, key: dict[str, Any], columns: list[str] | None
) -> None:
    """A row that somebody changed, took away or added: 11, the table, the row and what differs; a rebuild heals it."""
    sql(alive, statement)
    done = alive.run("views", "verify", "--json")
    [told] = done.documents
    assert (int(Exit.TAMPERED), False) == (done.code, told["ok"])
    [odd] = [each for each in told["tables"] if not each["equal"]]
    assert table == odd["table"]
    assert key.items() <= odd["difference"]["key"].items()
    assert (columns or []) == list(odd["difference"]["columns"])
    assert (columns is None) == (None in (odd["difference"]["found"], odd["difference"]["expected"]))
    said = alive.run("views", "verify")
    assert int(Exit.TAMPERED) == said.code
    assert f"✗ {table}" in said.out
    assert f"1 of {len(TABLES)} tables differ" in said.out
    alive.held("views", "rebuild")
    alive.held("views", "verify")


@pytest.mark.spec("NIM-18")
def test_the_database_explains_itself(alive: Home) -> None:
    """Every table and every column of a view carries a comment, and the newest grants can be asked for in plain SQL."""
    explained = sql(
        alive,
        "select c.relname, a.attname, col_description(c.oid, a.attnum), obj_description(c.oid) from pg_class c "
        "join pg_attribute a on a.attrelid = c.oid where c.relnamespace = 'nimmerverse'::regnamespace "
        "and c.relkind = 'r' and a.attnum > 0",
    )
    own = {"inbox", "view_versions"}
    assert {(t.name, c.name) for t in tables_of(VIEWS) for c in t.columns} == {
        (table, column) for table, column, says, _ in explained if says and table not in own
    }
    assert all(says for _, _, _, says in explained)
    assert ("math_cell",) in sql(alive, "select part from nimmerverse.parts order by part")
    [[state]] = sql(alive, "select distinct state from nimmerverse.keys")
    assert "current" == state


@pytest.mark.spec("NIM-18")
def test_a_role_that_only_looks(alive: Home) -> None:
    """The role that docs/views.md advises reads every table, before and after a rebuild, and changes none."""
    sql(alive, "create role looker login in role pg_read_all_data")
    for _ in range(2):
        for name in TABLES:
            count = f"select count(*) from nimmerverse.{name}"  # noqa: S608 - a declared name
            assert sql(alive, count) == sql(alive, count, "looker")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                sql(alive, f"delete from nimmerverse.{name}", "looker")  # noqa: S608 - a declared name
        alive.held("views", "rebuild")


@pytest.mark.spec("X-05")
def test_views_of_an_organism_at_rest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where nothing runs the commands start the servers for themselves; before the first entry there is nothing."""
    home = cheap(tmp_path_factory.mktemp("views") / "home")
    assert [[]] == home.held("views", "list", "--json").documents
    assert int(Exit.CONFIG) == home.run("views", "verify").code
    home.held("views", "rebuild")
    assert 0 < home.held("views", "verify", "--json").documents[0]["next_index"]


@pytest.mark.spec("X-05")
def test_a_newer_database_is_refused_by_name(alive: Home) -> None:
    """Views of a newer revision are refused by name; only `views rebuild` gives them up."""
    sql(alive, "update nimmerverse.view_versions set revision = 9, declaration = 'newer' where view = 'lanes'")
    done = alive.run("views", "verify")
    assert int(Exit.CONFIG) == done.code
    assert "the views lanes declared otherwise" in done.err
    [rows] = alive.held("views", "list", "--json").documents
    assert [("lanes", None)] == [(row["view"], row["digest"]) for row in rows if not row["current"]]
    alive.held("views", "rebuild")
    alive.held("views", "verify")


@pytest.mark.spec("X-06")
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("{place}/nowhere?{rest}", 'database "nowhere" does not exist; create it'),
        ("{place}/nimmerverse_dev?{rest}&user=nobody", 'role "nobody" does not exist; create the role'),
    ],
)
def test_a_wrong_database_is_one_sentence(alive: Home, tmp_path: Path, url: str, sentence: str) -> None:
    """`up` and `views` with a database or role that is missing end with 3 and one sentence that says what to do."""
    [told] = alive.held("connect", "--json").documents
    place, _, rest = told["database_url"].partition("/nimmerverse_dev?")
    place = place.replace("nimmerverse@", "") if "user=" in url else place
    wrong = cheap(tmp_path / "home").set(database_url=url.format(place=place, rest=rest))
    for words in (("up",), ("views", "verify")):
        done = wrong.run(*words)
        assert int(Exit.CONFIG) == done.code, done
        assert sentence in done.sentence
        assert "Traceback" not in done.err
