"""The page `docs/views.md`: the tables people may read with plain SQL."""

from __future__ import annotations

from deploy.references.page import page, table
from organs.records.view import Table, View
from organs.records.views import VIEWS

READING = """```sh
psql "$(./run connect --json | sed 's/.*"database_url":"\\([^"]*\\)".*/\\1/')"
```

```sql
set default_transaction_read_only = on;                      -- looking changes nothing
select part, version, granted_index from nimmerverse.parts;
select * from nimmerverse.keys where state = 'current' order by first_index;
select index, code, reason from nimmerverse.void_entries order by index desc limit 20;
select entity, data::jsonb ->> 'level' from nimmerverse.decisions where subject like '%.assessed' and refusal = '';
\\d+ nimmerverse.decisions                                     -- every table and column explains itself
```"""

ROLE = """```sql
create role looker login in role pg_read_all_data;           -- sees the tables of every rebuild; can change nothing
```"""


def render() -> str:
    """Return `docs/views.md`."""
    return page(
        "Views",
        "The organ `records` keeps these tables in the schema `nimmerverse` of PostgreSQL, every table and the inbox in"
        " one transaction per step. They hold nothing but what the log says, so they can be dropped and rebuilt at any"
        " time: `nimmerverse views verify` compares each table with one built from the log (exit 11 names the first row"
        " that differs), `views rebuild` builds all of them anew, `views list` lists what there is.",
        "## Reading them",
        READING,
        "Texts are ordered by their bytes. For people and programs that only look, one role is enough; privileges"
        " granted on single tables end with the next rebuild, because that makes new tables:",
        ROLE,
        "## When a declaration changes",
        "A view's version is its revision and the digest of its declaration, kept in `view_versions`. At the start the"
        " organ rebuilds what is declared otherwise: in the schema `nimmerverse_next`, from the genesis, while the old"
        " tables can be read; then one transaction puts the new tables in their place. Killed in between, it goes on"
        " where it was. A database of a newer version is refused by name.",
        "## Tables",
        *(text for view in VIEWS for each in view.tables for text in _described(view, each)),
        "## One more view",
        "A view is a file in `organs/records/views/`, named in the `VIEWS` of its `__init__.py`: tables with their"
        " columns and order key, and a pure function from one judged entry to changes (`insert`, `put`, `update`,"
        " `copy`). `lanes.py` is a short one to begin with. Raise the revision whenever the function means something"
        " else.",
    )


def _described(view: View, each: Table) -> list[str]:
    rows = [(f"`{c.name}`", f"{c.type}{' or null' if c.optional else ''}", c.says) for c in each.columns]
    order = ", ".join(f"`{name}`" for name in each.key)
    about = (
        f"{each.says[0].upper()}{each.says[1:]}, in the order of {order}; view `{view.name}`, revision {view.revision}."
    )
    return [f"### `{each.name}`", about, table(("column", "type", "meaning"), rows)]
