"""A constraint violation, typed, the same for every driver.

The kind comes from the code, the columns from the metadata or from what was read from the
catalog, the values from the statement's own parameters. The server's text is translated, may be
left out, and holds personal data; SQLite has nothing else, and there the result says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakSet

import sqlalchemy as sa

from onerow.codes import chain
from onerow.write.codes import Facts, facts_of

ConflictKind = Literal[
    "unique", "primary_key", "foreign_key", "not_null", "check", "exclusion", "datatype"
]
Direction = Literal["missing_parent", "still_referenced"]
VALUES = "__onerow_values__"

_KINDS: dict[str, ConflictKind] = {
    "23505": "unique",
    "23503": "foreign_key",
    "23001": "foreign_key",
    "23502": "not_null",
    "23514": "check",
    "23P01": "exclusion",
    "sqlite:2067": "unique",
    "sqlite:1555": "primary_key",
    "sqlite:2579": "primary_key",
    "sqlite:787": "foreign_key",
    "sqlite:1299": "not_null",
    "sqlite:275": "check",
    "sqlite:3091": "datatype",
    "sqlite:1811": "unique",
}
#: Any trigger's RAISE; that of a key's guard says what a unique index would (`guard = true`).
_TRIGGER, _UNIQUE = "sqlite:1811", "UNIQUE constraint failed: "
_INSERT = re.compile(r"^\s*INSERT\s+INTO\s+(\S+)\s*\(([^)]*)\)\s*VALUES\s*\((.*)$", re.I | re.S)
_UPDATE = re.compile(r"^\s*UPDATE\s+(\S+)\s+SET\s+(.*)$", re.I | re.S)
_VERB = re.compile(
    r"^\s*(?:WITH\b.*?\)\s*)?(INSERT|UPDATE|DELETE)\b\s*(?:INTO|FROM)?\s*(\S+)", re.I
)
_DETAIL = re.compile(r"\((.*?)\)=\(")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A constraint that a write broke.

    Attributes:
        kind: ``unique``, ``primary_key``, ``foreign_key``, ``not_null``, ``check``,
            ``exclusion``, ``datatype`` (SQLite STRICT).
        constraint: its name, where the driver or the metadata tell.
        table, columns: what it is about.
        values: of these columns, from the statement's own parameters; never from the message.
        direction: of a foreign key: ``missing_parent`` or ``still_referenced``.
        sqlstate: the SQLSTATE, or ``sqlite:`` and the extended code.
        lossy: something was read out of a message's text.
    """

    kind: ConflictKind
    constraint: str | None
    table: str | None
    columns: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    direction: Direction | None = None
    sqlstate: str = ""
    lossy: bool = False

    def on(self, *columns: Any) -> bool:
        """The conflict is about exactly these columns, in any order (names or attributes)."""
        names = {c if isinstance(c, str) else c.name for c in columns}
        return set(self.columns) == names


# Metadata that verbs were used with, and constraints that `live.py` read: both by need.
_metadata: WeakSet[sa.MetaData] = WeakSet()
_catalog: dict[tuple[str, str], tuple[str, ...]] = {}


def know(metadata: sa.MetaData) -> None:
    """Let `conflict_of` look up constraints in this metadata (verbs do it for their own)."""
    _metadata.add(metadata)


def know_constraint(table: str, name: str, columns: Iterable[str]) -> None:
    """Remember a constraint of the live database."""
    _catalog[table, name] = tuple(columns)


def conflict_of(exc: BaseException, *, metadata: sa.MetaData | None = None) -> Conflict | None:
    """The constraint violation in an error, or None for any other error.

    Args:
        exc: an exception of SQLAlchemy, psycopg, psycopg2, asyncpg, sqlite3 or aiosqlite.
        metadata: where the constraints are declared; the metadata of mapped keys are known.

    Returns:
        Conflict | None: decided by SQLSTATE or SQLite's extended code.
    """
    facts = facts_of(exc)
    kind = _KINDS.get(facts.code) if facts else None
    if facts is None or kind is None:
        return None
    if facts.code == _TRIGGER and not facts.message.startswith(_UNIQUE):
        return None
    if metadata is not None:
        know(metadata)
    given = _own_values(exc, facts)
    table = facts.table or _statement_table(facts)
    constraint, columns, lossy = _columns(facts, table)
    if kind == "unique" and _is_primary(table, constraint, columns):
        kind = "primary_key"
    return Conflict(
        kind,
        constraint,
        table,
        columns,
        {c: given[c] for c in columns if c in given},
        _direction(facts, table) if kind == "foreign_key" else None,
        facts.code,
        lossy,
    )


def _tables(name: str | None) -> list[sa.Table]:
    return [t for m in _metadata for t in m.tables.values() if t.name == name]


def _columns(facts: Facts, table: str | None) -> tuple[str | None, tuple[str, ...], bool]:
    """Constraint and columns: from the driver, the metadata, the catalog, at last the text."""
    if facts.columns:
        name = facts.constraint or _named(table, facts.columns)
        return name, facts.columns, facts.from_text
    if facts.constraint is None:
        return None, (), facts.from_text
    found = _declared(table, facts.constraint) or _catalog.get((table or "", facts.constraint))
    if found:
        return facts.constraint, found, facts.from_text
    return facts.constraint, _from_detail(facts), True


def _declared(table: str | None, constraint: str) -> tuple[str, ...]:
    for t in _tables(table):
        things: list[Any] = [*t.constraints, *t.indexes]
        for c in things:
            if c.name == constraint:
                return _column_names(c)
        if constraint == f"{t.name}_pkey":
            return tuple(c.name for c in t.primary_key.columns)
        named = (c for c in t.columns if f"{t.name}_{c.name}_key" == constraint and c.unique)
        found = tuple(c.name for c in named)
        if found:
            return found
        parents = (
            c.name for c in t.columns if c.foreign_keys and f"{t.name}_{c.name}_fkey" == constraint
        )
        found = tuple(parents)
        if found:
            return found
    return ()


def _column_names(thing: Any) -> tuple[str, ...]:
    if isinstance(thing, sa.CheckConstraint):
        text = str(thing.sqltext)
        names = (c.name for c in thing.table.columns) if thing.table is not None else ()
        return tuple(n for n in names if re.search(rf"\b{re.escape(n)}\b", text))
    if isinstance(thing, sa.Index):
        from onerow.rules import Key
        from onerow.write.binding import Bound

        table = thing.table
        if table is None:
            return ()
        return Bound(Key(table), table).mentioned(map(str, thing.expressions))
    return tuple(c.name for c in thing.columns)


def _named(table: str | None, columns: tuple[str, ...]) -> str | None:
    """SQLite names columns; the metadata may know what the constraint over them is called."""
    for t in _tables(table):
        things: list[Any] = [*t.constraints, *t.indexes]
        for c in things:
            unique = isinstance(c, sa.UniqueConstraint | sa.PrimaryKeyConstraint) or (
                isinstance(c, sa.Index) and c.unique
            )
            if unique and c.name and _column_names(c) == columns:
                return str(c.name)
    return None


def _is_primary(table: str | None, constraint: str | None, columns: tuple[str, ...]) -> bool:
    for t in _tables(table):
        primary = t.primary_key
        if primary.name is not None and primary.name == constraint:
            return True
        if columns and columns == tuple(c.name for c in primary.columns):
            return True
    return bool(table and constraint == f"{table}_pkey")


def _from_detail(facts: Facts) -> tuple[str, ...]:
    match = _DETAIL.search(facts.detail or "")
    if match is None or "(" in match.group(1):
        return ()
    return tuple(c.strip().strip('"') for c in match.group(1).split(","))


def _statement_table(facts: Facts) -> str | None:
    match = _VERB.match(facts.statement or "")
    return _bare(match.group(2)) if match else None


def _bare(name: str) -> str:
    return name.split("(")[0].split(".")[-1].strip('"')


def _direction(facts: Facts, child: str | None) -> Direction:
    """The server names the child in both directions; the statement's kind tells them apart."""
    match = _VERB.match(facts.statement or "")
    if match is None or match.group(1).upper() == "INSERT":
        return "missing_parent"
    if match.group(1).upper() == "DELETE":
        return "still_referenced"
    if facts.table is None:  # SQLite does not name the child
        return "missing_parent"
    return "missing_parent" if _bare(match.group(2)) == child else "still_referenced"


def _own_values(exc: BaseException, facts: Facts) -> dict[str, Any]:
    for link in chain(exc):
        kept = getattr(link, VALUES, None)
        if isinstance(kept, Mapping):
            return dict(kept)
    return values_of(facts.statement, facts.params)


def values_of(statement: str | None, params: Any) -> dict[str, Any]:
    """Column values out of a statement that SQLAlchemy wrote and its parameters.

    An executemany is left alone: nothing tells which of its rows it was.
    """
    if statement is None or not params:
        return {}
    if isinstance(params, (list, tuple)) and params and isinstance(params[0], (list, tuple, dict)):
        if len(params) > 1:
            return {}
        params = params[0]
    names = _assigned(statement)
    if isinstance(params, Mapping):
        known = {n.partition("__")[0] if n.endswith("__0") else n: v for n, v in params.items()}
        return {**known, **{c: known[p] for c, p in names if p in known}}
    return dict(zip((c for c, _ in names), params, strict=False))


def _assigned(statement: str) -> list[tuple[str, str]]:
    """Pairs of column and parameter name, in the order of the statement."""
    insert = _INSERT.match(statement)
    if insert:
        columns = [c.strip().strip('"') for c in insert.group(2).split(",")]
        marks = _split_marks(insert.group(3))
        pairs = zip(columns, marks, strict=False)
        return [(c, _mark(m)) for c, m in pairs if _is_mark(m)]
    update = _UPDATE.match(statement)
    if not update:
        return []
    sets = re.split(r"\sWHERE\s", update.group(2), maxsplit=1, flags=re.I)[0]
    pairs_ = (part.partition("=") for part in _split_marks(sets))
    return [(c.strip().strip('"'), _mark(m)) for c, _, m in pairs_ if _is_mark(m)]


def _split_marks(text: str) -> list[str]:
    """Split at commas outside parentheses, up to the parenthesis that closes the list."""
    parts, depth, current = [], 0, ""
    for c in text:
        if c == ")" and depth == 0:
            break
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += c
    return [*parts, current]


def _is_mark(text: str) -> bool:
    return bool(re.match(r"\s*(\?|%\(|%s|\$\d|:)", text))


def _mark(text: str) -> str:
    match = re.match(r"\s*(?:%\((\w+)\)s|:(\w+))", text)
    return (match.group(1) or match.group(2)) if match else ""
