"""The declarations as SQL: tables with comments, and the one statement for each kind of change."""

from __future__ import annotations

# ruff: noqa: S608 - the only names in these statements are declared ones, checked when they were declared
from collections.abc import Iterable, Iterator

from organs.records.view import Change, Column, Row, Table, View

LAYOUT = 1  #: of the mechanism's own tables; a higher one in a database was made by a newer version

OWN_TABLES = """
create table inbox (
    one boolean primary key default true check (one), next_index bigint not null, layout integer not null);
create table view_versions (
    view text collate "C" primary key, revision bigint not null, declaration text not null, tables text[] not null);
comment on table inbox is 'the index of the first entry of the log that the views do not show yet';
comment on table view_versions is 'the views, and the declaration each was built with';
"""


def create(view: View) -> Iterator[str]:
    """Yield the statements that make a view's tables, empty."""
    for table in view.tables:
        columns = ", ".join(f"{c.name} {_type(c)}{_worked_out(c)}{_null(c)}" for c in table.columns)
        yield f"create table {table.name} ({columns}, primary key ({', '.join(table.key)}))"
        yield f"comment on table {table.name} is {_quoted(table.says)}"
        for name in table.lookups:
            yield f"create index on {table.name} (md5({name}), {', '.join(table.key)})"
        for column in table.columns:
            yield f"comment on column {table.name}.{column.name} is {_quoted(column.says)}"


def select(table: Table) -> str:
    """Return the query of every row in the order of the key."""
    return f"select {', '.join(table.names)} from {table.name} order by {', '.join(table.key)}"


def select_newest(table: Table) -> str:
    """Return the query of the last rows, the last first; $1 is how many."""
    order = ", ".join(f"{name} desc" for name in table.key)
    return f"select {', '.join(table.names)} from {table.name} order by {order} limit $1"


def batches(changes: Iterable[Change]) -> Iterator[tuple[str, list[Row]]]:
    """Yield changes of one table as statements with the arguments of each run, in order."""
    before, statement, run = None, "", list[Row]()
    for change in changes:
        shape = (change.kind, change.names)
        if shape != before:
            if run:
                yield statement, run
            before, statement, run = shape, _statement(change), list[Row]()
        run.append((*change.values, *change.source))
    if run:
        yield statement, run


def _statement(change: Change) -> str:
    table, names = change.table, change.names
    at = {name: f"${place}" for place, name in enumerate(names, 1)}
    if change.kind == "update":
        merges = ", ".join(f"{n} = {_merged(table, n, at[n])}" for n in names if n not in table.key)
        return f"update {table.name} set {merges} where {' and '.join(f'{n} = {at[n]}' for n in table.key)}"
    columns = ", ".join(table.written)
    if change.kind == "copy":
        keys = " and ".join(f"{n} = ${place}" for place, n in enumerate(table.key, len(names) + 1))
        values = ", ".join(f"{at[n]}::{table.by_name[n].type}" if n in at else n for n in table.written)
        return f"insert into {table.name} ({columns}) select {values} from {table.name} where {keys}"
    insert = f"insert into {table.name} ({columns}) values ({', '.join(at[n] for n in table.written)})"
    if change.kind == "insert":
        return insert
    merges = ", ".join(f"{n} = {_merged(table, n, f'excluded.{n}')}" for n in names if n not in table.key)
    return f"{insert} on conflict ({', '.join(table.key)}) do " + (f"update set {merges}" if merges else "nothing")


def _merged(table: Table, name: str, new: str) -> str:
    here = f"{table.name}.{name}"
    merge = table.by_name[name].merge
    added = {"add": f"{here} + {new}", "append": f"{here} || {new}"}
    return {"replace": new, "first": f"coalesce({here}, {new})", **added}[merge]


def _null(column: Column) -> str:
    return "" if column.optional else " not null"


def _worked_out(column: Column) -> str:
    return f" generated always as ({' - '.join(column.difference)}) stored" if column.difference else ""


def _type(column: Column) -> str:
    return f'{column.type} collate "C"' if column.type.startswith("text") else column.type


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
