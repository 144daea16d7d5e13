"""The drivers: they ask what a flow yields. The only module of the verbs that runs SQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from onerow.rules import Key
from onerow.write import copy, listeners
from onerow.write.binding import Bound, bind_metadata
from onerow.write.codes import facts_of
from onerow.write.conflict import VALUES, conflict_of, know, know_constraint
from onerow.write.flow import Answer, Ask, Flow, Load, Written
from onerow.write.live import Live, look_up
from onerow.write.statements import Statements

T = TypeVar("T")
RECHECK_SECONDS = 0.5
_NO_ARBITER = ("42P10", "sqlite:1")

_live: WeakKeyDictionary[Engine, dict[Any, tuple[Live, float]]] = WeakKeyDictionary()
_bound: WeakKeyDictionary[Engine, dict[Any, Bound]] = WeakKeyDictionary()


def is_session(target: Any) -> bool:
    return not isinstance(target, Connection)


def perform(target: Any, ask: Ask, table: Any = None) -> Answer:
    """Run one statement on a Session or Connection; `table` tells which of its databases."""
    if isinstance(ask, Load):
        return _load(target, ask, table)
    if not ask.guarded:
        return _execute(target, ask, table)
    if dialect_of(target, table) == "sqlite":
        # A failed statement undoes itself alone, and a SAVEPOINT that is the first thing of a
        # transaction would COMMIT on RELEASE (lang_savepoint).
        return _caught(target, ask, table)
    nested = target.begin_nested()
    answer = _caught(target, ask, table)
    (nested.rollback if answer.error is not None else nested.commit)()
    return answer


def _load(target: Any, load: Load, table: Any) -> Answer:
    """COPY through whichever driver there is; where there is none of these, INSERT."""
    connection = connection_of(target, table)
    rows = copy.processed(load.columns, load.rows, connection.dialect)
    names = [c.name for c in load.columns]
    if not copy.by_driver(connection, load.table, names, rows):
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        marks = ", ".join([mark] * len(names))
        connection.exec_driver_sql(f"INSERT INTO {load.table} VALUES ({marks})", list(rows))
    return Answer((), len(load.rows))


def _caught(target: Any, ask: Ask, table: Any) -> Answer:
    try:
        return _execute(target, ask, table)
    except DBAPIError as exc:
        facts = facts_of(exc)
        if facts is None or not _stays(facts.code):
            raise
        return Answer(error=exc)


def _stays(code: str) -> bool:
    """A savepoint cannot rescue 40001 and 40P01: locks and snapshot are the transaction's."""
    return code.startswith(("23", "42", "55000", "sqlite:")) and code != "sqlite:517"


def _execute(target: Any, ask: Ask, table: Any) -> Answer:
    if table is not None and is_session(target) and target.bind is None:
        # A Session over several databases cannot tell where text belongs.
        bind = {"bind_arguments": {"clause": table}}
        result = target.execute(ask.statement, ask.params, **bind)
    else:
        result = target.execute(ask.statement, ask.params)
    if getattr(result, "returns_rows", True):  # results of ORM queries always do
        rows = result.all()
        return Answer(rows, len(rows))
    return Answer((), max(result.rowcount, 0))


def drive(target: Any, flow: Flow[T], table: Any = None) -> T:
    """Play the database for a flow, to its end."""
    try:
        ask = next(flow)
        while True:
            try:
                answer = perform(target, ask, table)
            except Exception as exc:
                ask = flow.throw(exc)
            else:
                ask = flow.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def dialect_of(target: Any, table: Any = None) -> str:
    if not is_session(target):
        return str(target.dialect.name)
    return str(target.get_bind(clause=table).dialect.name)


def connection_of(target: Any, table: Any = None) -> sa.Connection:
    """The connection of a Session's transaction, or the Connection itself."""
    if not is_session(target):
        return target  # type: ignore[no-any-return]
    bind = {"clause": table} if table is not None else {}
    return target.connection(bind_arguments=bind)  # type: ignore[no-any-return]


def engine_of(target: Any, table: Any = None) -> Engine:
    if not is_session(target):
        return target.engine  # type: ignore[no-any-return]
    return target.get_bind(clause=table).engine  # type: ignore[no-any-return]


def bound_for(target: Any, key: Key) -> Bound:
    """The key on its table; a key that only names a table has it read from the database."""
    engine = engine_of(target, getattr(key.source, "__table__", key.source))
    cache = _bound.setdefault(engine, {})
    name = (key, id(key.source))
    found = cache.get(name)
    if found is None:
        found = cache[name] = bind_metadata(key) or Bound(key, _reflected(target, key.table))
        know(found.table.metadata)
    return found


def _reflected(target: Any, name: str) -> sa.Table:
    from onerow.sql import split_identifier

    *schema, table = split_identifier(name)
    connection = connection_of(target)
    kept = schema[-1] if schema and schema[-1] != "main" else None
    # Not `autoload_with`: it warns of every expression index that it skips.
    inspector = sa.inspect(connection)
    primary = set(inspector.get_pk_constraint(table, kept)["constrained_columns"])
    columns = [_column(c, c["name"] in primary) for c in inspector.get_columns(table, kept)]
    return sa.Table(table, sa.MetaData(), *columns, schema=kept)


def _column(read: Any, primary: bool) -> sa.Column[Any]:
    default = read.get("default")
    kept: list[Any] = [sa.FetchedValue()] if default or read.get("identity") else []
    if read.get("computed"):
        kept = [sa.Computed(read["computed"]["sqltext"])]
    nullable = bool(read["nullable"]) and not primary
    return sa.Column(read["name"], read["type"], *kept, primary_key=primary, nullable=nullable)


def live_for(target: Any, bound: Bound) -> Live:
    """The key in this database; asked once, and again and again while no index holds it."""
    cache = _live.setdefault(engine_of(target, bound.table), {})
    name = (bound.key, id(bound.key.source))
    live, since = cache.get(name, (None, 0.0))
    if live is None or (not live.enforced and time.monotonic() - since > RECHECK_SECONDS):
        live = drive(target, look_up(bound, dialect_of(target, bound.table)), bound.table)
        cache[name] = (live, time.monotonic())
        for unique in live.uniques:
            know_constraint(bound.table.name, unique.name, bound.mentioned(unique.text))
    return live


def forget(target: Any, bound: Bound) -> None:
    """The index that was there is gone: look again at the next call."""
    cache = _live.get(engine_of(target, bound.table), {})
    cache.pop((bound.key, id(bound.key.source)), None)
    from onerow.write import fast

    fast.forget(bound.key)


def flush(target: Any) -> None:
    """Pending objects of a Session go first, as for any query."""
    if is_session(target) and target.autoflush:
        target.flush()


def run_verb(
    target: Any,
    key: Key,
    name: str,
    make: Callable[[Bound, Live, Statements], Flow[T]],
    values: Mapping[str, Any] | None = None,
    *,
    again: bool = False,
) -> T:
    """Bind, drive, count; an error carries our own values and is told to the observers.

    Args:
        again: a kept first round has found nothing; if there is a row now, somebody was faster.

    Raises:
        NoUniqueIndex: nothing holds the key.
    """
    flush(target)
    bound = bound_for(target, key)
    live = live_for(target, bound)
    orm = is_session(target) and bound.entity is not None
    dialect = dialect_of(target, bound.table)
    statements = bound.memo.get((orm, dialect))
    if statements is None:
        statements = bound.memo[orm, dialect] = Statements(bound, dialect, orm)
    started = time.perf_counter()
    try:
        result = drive(target, make(bound, live, statements), bound.table)
    except DBAPIError as exc:
        raise explained(exc, target, bound, values) from exc.__cause__
    if isinstance(result, Written) and (result.raced or (again and not result.created)):
        listeners.raced(name, bound.table.name)
    if listeners.active:
        outcome = result.outcome if isinstance(result, Written) else "done"
        listeners.wrote(name, bound.table.name, outcome, time.perf_counter() - started)
    return result


def explained(
    exc: DBAPIError, target: Any, bound: Bound, values: Mapping[str, Any] | None
) -> Exception:
    """The same error with our own values, or that the key's index is gone."""
    facts = facts_of(exc)
    if facts and facts.code in _NO_ARBITER and "ON CONFLICT" in (facts.statement or ""):
        forget(target, bound)
        error = bound.refuse(" any more")
        error.passing = bound.key.transitional
        error.__cause__ = exc
        return error
    if values:
        exc.__dict__[VALUES] = bound.values(values)
    conflict = conflict_of(exc)
    if conflict is not None:
        listeners.conflicted(conflict.kind, conflict.constraint, conflict.table)
    return exc
