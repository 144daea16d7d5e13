"""The guard on SQLite: two triggers that look for another row of the key once theirs is there.

There is one writer at a time, so nothing has to be locked. A trigger's refusal has the code
SQLITE_CONSTRAINT_TRIGGER whatever it says (rescode.html), so it says what a unique index would.
"""

from __future__ import annotations

from onerow.dialects.guards import Guard
from onerow.dialects.phrases import key_filter
from onerow.keys import BoundKey, KeyPart
from onerow.sql import comma, conjunction, literal, quote


def sqlite_guard(bound: BoundKey, name: str) -> Guard:
    names = {event: f"{name}_{event.lower()}" for event in ("INSERT", "UPDATE")}
    return Guard(
        create=tuple(_trigger(bound, n, event) for event, n in names.items()),
        drop=tuple(f"DROP TRIGGER IF EXISTS {quote(n)}" for n in names.values()),
        triggers=tuple(names.values()),
    )


def _trigger(bound: BoundKey, name: str, event: str) -> str:
    table = quote(bound.table.name)
    others = conjunction([key_filter(bound), *(_same(p, bound) for p in bound.parts)])
    twice = f"(SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {others} LIMIT 2)) > 1"
    tests = [_of(bound, "NEW", key_filter(bound)), twice]
    if event == "UPDATE":
        tests.insert(1, f"NOT ({_unchanged(bound)})")
    return (
        f"CREATE TRIGGER {quote(name)} AFTER {event} ON {table} BEGIN"
        f" SELECT RAISE(ABORT, {literal(_message(bound))}) WHERE {conjunction(tests)}; END"
    )


def _of(bound: BoundKey, row: str, expression: str) -> str:
    """An expression over the columns of the row before or after."""
    columns = comma(f"{row}.{quote(c.name)} AS {quote(c.name)}" for c in bound.table.columns)
    return f"(SELECT {expression} FROM (SELECT {columns}) AS {quote(bound.table.name)})"


def _same(part: KeyPart, bound: BoundKey) -> str:
    operator = "IS" if bound.key.nulls == "equal" else "="
    return f"{part.sql} {operator} {_of(bound, 'NEW', part.sql)}"


def _unchanged(bound: BoundKey) -> str:
    """Neither the key nor whether the rule speaks of the row: a duplicate from before may stay."""
    keys = (
        f"{_of(bound, 'OLD', p.sql)} IS {_of(bound, 'NEW', p.sql)}{_collated(p)}"
        for p in bound.parts
    )
    return conjunction([f"coalesce({_of(bound, 'OLD', key_filter(bound))}, 0)", *keys])


def _collated(part: KeyPart) -> str:
    """Out of a subquery a column comes without its collation."""
    collation = part.column.collation if part.column and not part.folded else ""
    return f" COLLATE {collation}" if collation else ""


def _message(bound: BoundKey) -> str:
    plain = bound.parts and all(p.column and not p.folded for p in bound.parts)
    if not plain:
        return f"UNIQUE constraint failed: index '{bound.name}'"
    columns = comma(f"{bound.table.name}.{p.label}" for p in bound.parts)
    return f"UNIQUE constraint failed: {columns}"
