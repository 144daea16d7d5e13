"""The verbs, over a Session or a Connection. The async twins are in `onerow.aio`.

None of them commits: they run in the caller's transaction. Under READ COMMITTED they raise
nothing of their own races; above it a lost race is 40001, for `transactional` to run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from onerow.rules import Key
from onerow.write import fast, flows
from onerow.write.binding import Bound
from onerow.write.flow import Flow, Written
from onerow.write.flows import OtherKeys, Request, Verb
from onerow.write.live import Live
from onerow.write.run import run_verb
from onerow.write.statements import Statements

Target = Session | Connection
Values = Mapping[Any, Any]
Update = Iterable[Any] | Mapping[Any, Any]


def upsert(
    session: Target,
    key: Key,
    values: Values,
    *,
    update: Update | None = None,
    defaults: Values | None = None,
    version: Any = None,
    other_keys: OtherKeys = "raise",
) -> Written[Any]:
    """Make the row of a key have these values: change it, or insert it.

    Args:
        session: Session or Connection; its transaction is not ended.
        key: a Key with a unique index (or transitional).
        values: of the row, the key's columns included; SQL expressions are allowed.
        update: what changes in a row that exists: names out of `values`, or a mapping with
            values of its own (``{"n": Counter.n + 1}``); everything but the key if absent.
        defaults: values for a new row only.
        version: an integer column to raise by one with every change (the mapper's
            ``version_id_col`` if absent).
        other_keys: when another unique key is in the way: ``raise`` the database's error,
            ``adopt`` the row that has it as it is, ``merge`` our values into that row.

    Returns:
        Written: the row, and ``inserted``, ``updated`` or ``unchanged``.

    Raises:
        NoUniqueIndex: no index holds the key.
        OutsideKey: the new row does not meet the key's filter.
        Contended: others kept winning; transient.
        sqlalchemy.exc.DBAPIError: see `conflict_of` and `transient_of`.
    """

    all_values = {**defaults, **values} if defaults else values
    shape = _shape("upsert", all_values, update, (version, len(values)))
    kept = fast.find(session, key, shape) if shape else None
    if kept is not None and (written := kept.run(session, all_values)) is not None:
        return written

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[Written[Any]]:
        given = bound.values(values)
        new = {**bound.values(defaults or {}), **given}
        bound.names(new)
        sets = _sets(bound, given, update)
        bump = _version(bound, version, sets)
        if bump is not None and bump.name not in new and not _has_default(bump):
            new[bump.name] = 1
        request = Request(new, sets, bump=bump, other_keys=other_keys)
        verb = Verb(bound, live, statements, request)
        if shape and kept is None:
            fast.keep(session, shape, verb, all_values, "upsert")
        return flows.upsert(verb)

    again = kept is not None and other_keys == "raise"
    return run_verb(session, key, "upsert", make, values, again=again)


def get_or_create(
    session: Target,
    key: Key,
    values: Values,
    *,
    defaults: Values | None = None,
    lock: str | None = None,
    other_keys: OtherKeys = "raise",
) -> Written[Any]:
    """The row of a key, made if there is none. A row that exists is not touched.

    Args:
        session: Session or Connection.
        key: a Key with a unique index (or transitional).
        values: of the key's columns.
        defaults: further values of a new row.
        lock: ``update`` or ``share``: lock the row that is found (PostgreSQL).
        other_keys: as for `upsert`.

    Returns:
        Written: ``inserted`` or ``unchanged``.

    Raises:
        NoUniqueIndex, OutsideKey, Contended: as for `upsert`.
    """

    all_values = {**defaults, **values} if defaults else values
    shape = _shape("get_or_create", all_values, (), (lock, len(values)))
    kept = fast.find(session, key, shape) if shape else None
    if kept is not None and (written := kept.run(session, all_values)) is not None:
        return written

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[Written[Any]]:
        given = bound.values(values)
        new = {**bound.values(defaults or {}), **given}
        bound.names(new)
        request = Request(new, lock=lock, other_keys=other_keys)
        verb = Verb(bound, live, statements, request)
        if shape and kept is None:
            fast.keep(session, shape, verb, all_values, "get_or_create")
        return flows.get_or_create(verb)

    again = kept is not None and other_keys == "raise"
    return run_verb(session, key, "get_or_create", make, values, again=again)


def singleton(session: Target, key: Any, *, defaults: Values | None = None) -> Written[Any]:
    """The one row of a table, made if there is none.

    Args:
        session: Session or Connection.
        key: a model or Table, or a Key without columns.
        defaults: values of a new row.

    Returns:
        Written: ``inserted`` or ``unchanged``.

    Raises:
        NoUniqueIndex: nothing keeps a second row out.
    """
    return get_or_create(session, as_singleton(key), {}, defaults=defaults)


def patch(
    session: Target,
    key: Key,
    values: Values,
    changes: Values,
    *,
    expect: Values | None = None,
    version: Any = None,
) -> Written[Any]:
    """Change the named columns, and no other, of the row that is there.

    Args:
        session: Session or Connection.
        key: a Key with a unique index.
        values: of the key's columns.
        changes: new values; SQL expressions are allowed.
        expect: what the row must hold, else `Stale`. An integer column that is expected and not
            changed is a version, and is raised by one.
        version: an integer column to raise by one with every change.

    Returns:
        Written: ``updated``, or ``unchanged`` when the row has these values already.

    Raises:
        NotFound: there is no such row.
        Stale: the row is not as expected; `.row` is how it is.
        NoUniqueIndex, Contended: as for `upsert`.
    """

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[Written[Any]]:
        ident, sets = bound.values(values), bound.values(changes)
        bound.names(ident)
        wanted = bound.values(expect or {})
        bump = _version(bound, version, sets) or _expected_version(bound, wanted, sets)
        request = Request(ident, sets, wanted, bump)
        return flows.patch(Verb(bound, live, statements, request))

    return run_verb(session, key, "patch", make, {**values, **changes})


def advance(
    session: Target,
    key: Any,
    values: Values,
    moves: Mapping[Any, tuple[Any, Any]],
    *,
    set: Values | None = None,
    version: Any = None,
) -> Written[Any]:
    """Compare and set: move columns from one value to the next, once.

    Args:
        session: Session or Connection.
        key: a Key with a unique index; a model for a singleton.
        values: of the key's columns.
        moves: column: (from, to). None stands for NULL.
        set: what else changes with the move.
        version: an integer column to raise by one with the move.

    Returns:
        Written: ``updated`` for the one caller that moved the row, ``unchanged`` with the row as
        it is for all others.

    Raises:
        NotFound: there is no such row.
        NoUniqueIndex: as for `upsert`.
    """

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[Written[Any]]:
        ident = bound.values(values)
        bound.names(ident)
        steps = bound.values(moves)
        sets = {**bound.values(set or {}), **{n: to for n, (_, to) in steps.items()}}
        wanted = {n: old for n, (old, _) in steps.items()}
        request = Request(ident, sets, wanted, _version(bound, version, sets))
        return flows.advance(Verb(bound, live, statements, request))

    return run_verb(session, as_singleton(key), "advance", make, values)


def restore_or_create(
    session: Target,
    key: Key,
    values: Values,
    *,
    defaults: Values | None = None,
    update: Update | None = None,
    deleted: Any = None,
) -> Written[Any]:
    """The living row of a key, else its latest deleted row brought back, else a new one.

    Args:
        session: Session or Connection.
        key: a Key, as a rule over the living rows (``where="deleted_at IS NULL"``).
        values: of the key's columns.
        defaults: further values of a new row.
        update: what is set in a row that is brought back: a mapping, or names out of `values`
            and `defaults`.
        deleted: the column that marks a deleted row (NULL or false: living); taken from the
            key's filter if it is ``column IS NULL``.

    Returns:
        Written: ``unchanged``, ``restored`` or ``inserted``.

    Raises:
        WriteError: it is not known which column marks a deleted row.
        NoUniqueIndex, OutsideKey, Contended: as for `upsert`.
    """

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[Written[Any]]:
        column, living = flows.soft_delete(bound, deleted)
        new = {**bound.values(defaults or {}), **bound.values(values)}
        bound.names(new)
        sets = _sets(bound, new, update if update is not None else ())
        request = Request(new, sets)
        verb = Verb(bound, live, statements, request)
        return flows.restore_or_create(verb, column, living)

    return run_verb(session, key, "restore_or_create", make, values)


def as_singleton(key: Any) -> Key:
    """A Key from a model or Table whose table holds one row."""
    if isinstance(key, Key):
        return key
    found = _singletons.get(key)
    if found is None:
        found = _singletons[key] = Key(key)
    return found


_singletons: dict[Any, Key] = {}


def _sets(bound: Bound, given: Mapping[str, Any], update: Update | None) -> dict[str, Any]:
    """What changes in a row that exists, by column name."""
    if isinstance(update, Mapping):
        return bound.values(update)
    if update is not None:
        return {n: given[n] for n in (bound.column(u).name for u in update) if n in given}
    key = {c.name for c in bound.needed}
    return {n: v for n, v in given.items() if n not in key}


def _version(bound: Bound, name: Any, sets: Mapping[str, Any]) -> sa.Column[Any] | None:
    column = bound.column(name) if name is not None else bound.version
    return None if column is None or column.name in sets or not sets else column


def _expected_version(
    bound: Bound, expect: Mapping[str, Any], sets: Mapping[str, Any]
) -> sa.Column[Any] | None:
    """Two patches that expect version 3 must not both succeed: the expected counter is raised."""
    for name in expect:
        column = bound.columns[name]
        free = name not in sets and column.onupdate is None and not column.foreign_keys
        if sets and free and isinstance(column.type, sa.Integer):
            return column
    return None


def _has_default(column: sa.Column[Any]) -> bool:
    return column.default is not None or column.server_default is not None


def _shape(verb: str, values: Values, update: Update | None, option: Any) -> Any:
    """What calls of one kind have in common; None where the statement is not always the same."""
    if not fast.plain(values):
        return None
    names = update
    if update is not None and type(update) is not tuple:
        if isinstance(update, Mapping):
            return None
        names = tuple(update)
    return (verb, tuple(values), names, option)
