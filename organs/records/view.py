"""A view of the log, declared: its tables, and a pure function from one judged entry to what changes in them.

Nothing but the log's own content may stand in a view: no serials, no wall time, no floats. Rebuilt from the log it is
then the same row for row. A new view is one more file in `organs/records/views/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import Literal

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.envelope import Verdict
from shared.message import DeclarationError

Value = str | int | bytes | bool | tuple[str, ...] | None
Row = tuple[Value, ...]
Type = Literal["text", "bigint", "bytea", "boolean", "text[]"]
Merge = Literal["replace", "first", "add", "append"]

_PYTHON: Mapping[Type, type] = {"text": str, "bigint": int, "bytea": bytes, "boolean": bool, "text[]": tuple}
_LEAST, _MOST = -(2**63), 2**63 - 1  #: what a bigint holds
KEY_BYTES = constant(800, "bytes", "X-12")
RESERVED = frozenset({"inbox", "view_versions"})  #: the tables of the mechanism itself


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `merge` says what a later change does to a value: replaces it, lets it be, adds, appends to a list.

    A `difference` is no change's to write: it is the first of the two columns less the second, null where one is.
    """

    name: str
    type: Type
    says: str  #: what it holds; becomes the column's comment in the database
    optional: bool = False
    merge: Merge = "replace"
    difference: tuple[str, str] | None = None


@dataclass(frozen=True)
class Table:
    """A table and its order key, which is its primary key too."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    says: str
    lookups: tuple[str, ...] = ()  #: text columns, however long, by whose value rows are looked up

    def __post_init__(self) -> None:
        for name in (self.name, *self.names):
            _check_name(name)
        apart = [name for column in self.columns for name in column.difference or ()]
        missing = [name for name in (*self.key, *self.lookups, *apart) if name not in self.names]
        missing += [name for name in (*self.key, *apart) if name in self.names and name not in self.written]
        if missing or not self.key or self.name in RESERVED or len(set(self.names)) < len(self.names):
            raise DeclarationError(
                f"table {self.name!r}: the order key {self.key} names columns of {self.names}, each once, and the name "
                f"is none of {', '.join(sorted(RESERVED))}"
            )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The names of the columns that changes write, in order."""
        return tuple(column.name for column in self.columns if column.difference is None)

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    def key_of(self, row: Row) -> Row:
        """Return the order key of a whole row."""
        return tuple(row[self.names.index(name)] for name in self.key)

    def insert(self, **values: Value) -> Change:
        """Return the change that adds a row; one with this key must not be there."""
        return self._whole("insert", values)

    def put(self, **values: Value) -> Change:
        """Return the change that adds a row, or merges it column by column into the one with its key."""
        return self._whole("put", values)

    def update(self, **values: Value) -> Change:
        """Return the change that merges some columns into the row with this key, if there is one."""
        return Change(self, "update", tuple(values), self._checked(values))

    def copy(self, source: Row, **values: Value) -> Change:
        """Return the change that adds a row like the one with the key `source`, but for some columns."""
        keys = self._checked(dict(zip(self.key, source, strict=True)))
        return Change(self, "copy", tuple(values), self._checked(values), keys)

    def _whole(self, kind: Literal["insert", "put"], values: Mapping[str, Value]) -> Change:
        return Change(self, kind, self.written, self._checked({**dict.fromkeys(self.written), **values}))

    def _checked(self, values: Mapping[str, Value]) -> Row:
        """Return values that every database can hold; DeclarationError where a projection made others."""
        return tuple(self._value(name, value) for name, value in values.items())

    def _value(self, name: str, value: Value) -> Value:
        column = self.by_name.get(name)
        if column is None or column.difference is not None:
            raise DeclarationError(f"{self.name} has no column {name!r} to write; it has {', '.join(self.written)}")
        if value is None and column.optional:
            return None
        too_large = column.type == "bigint" and isinstance(value, int) and not _LEAST <= value <= _MOST
        if type(value) is not _PYTHON[column.type] or (too_large and name in self.key):
            raise DeclarationError(f"{self.name}.{name} is {column.type}, and {value!r} is not")
        if isinstance(value, tuple):
            return tuple(_text(part) for part in value)
        if too_large and isinstance(value, int):
            return max(_LEAST, min(_MOST, value))  # a decision's number may be larger; its entry has it as it is
        if isinstance(value, str):
            return _short(_text(value)) if name in self.key else _text(value)
        return value


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one table: these columns get these values."""

    table: Table
    kind: Literal["insert", "put", "update", "copy"]
    names: tuple[str, ...]
    values: Row
    source: Row = field(default=())  #: of a copy: the key of the row it is like


@dataclass(frozen=True)
class View:
    """Tables and the pure projection that fills them; raise `revision` whenever the projection means something else."""

    name: str
    revision: int
    tables: tuple[Table, ...]
    project: Callable[[Verdict], Iterable[Change]]

    @cached_property
    def declaration(self) -> str:
        """The digest of what is declared: name, revision, tables, columns, keys."""
        tables = [(t.name, t.key, [astuple(c) for c in t.columns], t.says, t.lookups) for t in self.tables]
        return blake3(msgspec.json.encode((self.name, self.revision, tables))).hexdigest()[:32]


def check_views(views: Iterable[View]) -> tuple[View, ...]:
    """Return the views; DeclarationError where two of them, or two of their tables, share a name."""
    views = tuple(views)
    for names in ([view.name for view in views], [table.name for view in views for table in view.tables]):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DeclarationError(f"{', '.join(twice)} is declared twice; a view's and a table's name are its own")
    return views


def changes_of(views: Iterable[View], verdicts: Iterable[Verdict]) -> dict[Table, list[Change]]:
    """Return what judged entries change, by table and in order."""
    views = tuple(views)
    changes: dict[Table, list[Change]] = {table: [] for view in views for table in view.tables}
    for verdict in verdicts:
        for view in views:
            for change in view.project(verdict):
                changes[change.table].append(change)
    return changes


def merged(column: Column, old: Value, new: Value) -> Value:
    """Return what a column holds after a change."""
    if column.merge == "append":
        assert isinstance(old, tuple)
        assert isinstance(new, tuple)
        return (*old, *new)
    if column.merge == "add":
        assert isinstance(old, int)
        assert isinstance(new, int)
        return old + new
    return old if column.merge == "first" and old is not None else new


def whole(table: Table, written: Mapping[str, Value]) -> Row:
    """Return a whole row from what was written of it, its differences worked out."""
    return tuple(written[c.name] if c.difference is None else _apart(written, c.difference) for c in table.columns)


def _apart(written: Mapping[str, Value], of: tuple[str, str]) -> int | None:
    one, less = written[of[0]], written[of[1]]
    return one - less if isinstance(one, int) and isinstance(less, int) else None


def _check_name(name: str) -> None:
    if not (name.isidentifier() and name.isascii() and name == name.lower()):
        raise DeclarationError(f"{name!r} is no plain lower-case name for a table or a column")


def _short(text: str) -> str:
    """Return a text that an index of PostgreSQL can hold: a longer one is cut, and its BLAKE3 tells it from others."""
    raw = text.encode()
    return text if len(raw) <= KEY_BYTES else f"{raw[:KEY_BYTES].decode(errors='ignore')}…{blake3(raw).hexdigest()}"


def _text(text: str) -> str:
    """Return a text that every database can hold."""
    return text.replace("\0", "\\0")
