"""Along a table in short transactions: by pages on PostgreSQL, by row numbers on SQLite.

No statement looks for the next rows to do (`LIMIT` loops get slower with every batch): a walk goes
over the whole table once, and the condition of what is still to do makes it safe to go again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy.exc import DBAPIError

from onerow.database import driver_text, run
from onerow.pace import Pace
from onerow.schema import Snapshot, Table
from onerow.session import Session
from onerow.sql import comma, quote

#: Does the rows that meet a condition, in the transaction that is open; returns how many.
Visit = Callable[[str], int]
Tell = Callable[[int, str], None]  #: (rows done, something worth saying)
#: Share of a table's rows after which dead ones are cleared away, and at least so many.
VACUUM_SHARE, VACUUM_LEAST = 0.08, 10_000


def leaves(table: Table, snapshot: Snapshot) -> tuple[Table, ...]:
    """The tables that hold the rows: the partitions, and whatever inherits."""
    below = [snapshot.get(n) for n in (*table.partitions, *table.inherited_by)]
    found = [leaf for t in below if t is not None for leaf in leaves(t, snapshot)]
    return tuple(found) if table.partitions else (table, *found)


def walk(session: Session, leaf: Table, visit: Visit, tell: Tell) -> int:
    """Go along a table once. Returns the rows done.

    Raises:
        Stopped: rows could not be locked, or the run's time is used up.
    """
    per_unit = _rows_per_page(leaf) if session.database.dialect == "postgresql" else 1.0
    pace = Pace(session.limits, per_unit, leaf.estimated_rows or 0)
    steps = _pages(session, leaf, pace)
    if session.database.dialect == "sqlite":
        steps = _keys(session, leaf, pace) if leaf.without_rowid else _numbers(session, leaf, pace)
    done = since = 0
    said = ""
    for condition in steps:
        session.breathe()
        with pace.timed():
            count = session.batch(partial(visit, condition), f"Rows of {leaf}")
        done, since = done + count, since + count
        if since > max(VACUUM_LEAST, VACUUM_SHARE * (leaf.estimated_rows or 0)):
            left = _clear_away(session, leaf)
            since = 0
            if left and left != said:
                tell(0, left)
                said = left
        if count:
            tell(count, "")
    return done


def _rows_per_page(leaf: Table) -> float:
    """As far as is known; many, so that the first batch is a short one."""
    if leaf.estimated_rows is None or not leaf.pages:
        return 100.0
    return max(1.0, leaf.estimated_rows / leaf.pages)


def _pages(session: Session, leaf: Table, pace: Pace) -> Iterator[str]:
    """Ranges of pages, of those that were there at the start; a later walk sees the others."""
    size = (
        f"SELECT pg_relation_size('{leaf.sql.replace(chr(39), chr(39) * 2)}'::regclass)"
        " / current_setting('block_size')::bigint"
    )
    with session.reading() as connection:
        pages = int(run(connection, size).scalar_one())
    first, ctid = 0, f"{quote(leaf.name)}.ctid"
    while first < pages:
        last = first + pace.size
        yield f"{ctid} >= '({first},0)'::tid AND {ctid} < '({last},0)'::tid"
        first = last


def _numbers(session: Session, leaf: Table, pace: Pace) -> Iterator[str]:
    """Ranges of row numbers; a gap is leapt over, however wide it is."""
    rowid, last = _rowid(leaf), None
    while True:
        after = "" if last is None else f" WHERE {rowid} > {last}"
        with session.reading() as connection:
            first = run(connection, f"SELECT min({rowid}) FROM {leaf.sql}{after}").scalar()
        if first is None:
            return
        last = min(first + pace.size - 1, 2**63 - 1)
        yield f"{quote(leaf.name)}.{rowid} BETWEEN {first} AND {last}"


def _rowid(leaf: Table) -> str:
    """A column may have taken the name for itself (lang_createtable §5)."""
    taken = {c.name.casefold() for c in leaf.columns}
    return next(n for n in ("rowid", "_rowid_", "oid") if n not in taken)


def _keys(session: Session, leaf: Table, pace: Pace) -> Iterator[str]:
    """Ranges of the primary key of a table without row numbers."""
    names = comma(map(quote, leaf.primary_key))
    texts = comma(f"quote({quote(c)})" for c in leaf.primary_key)
    after = ""
    while True:
        where = f" WHERE {after}" if after else ""
        probe = f"SELECT {texts} FROM {leaf.sql}{where} ORDER BY {names} LIMIT 1 OFFSET {pace.size}"
        with session.reading() as connection:
            bound = run(connection, probe).first()
        if bound is None:
            yield after or "1 = 1"
            return
        until = f"({names}) < ({comma(bound)})"
        yield f"{after} AND {until}" if after else until
        after = f"({names}) >= ({comma(bound)})"


def _clear_away(session: Session, leaf: Table) -> str:
    """Make the place of dead rows free for the next batches; else the table grows to its double.

    Returns why it could not be done, which is no reason to stop.
    """
    if session.database.dialect == "sqlite":
        return ""
    why = f"{leaf} is not vacuumed between batches and may grow to its double: "
    if not leaf.we_own:
        return f"{why}only its owner may."
    try:
        session.alone(f"VACUUM (INDEX_CLEANUP OFF, TRUNCATE OFF, SKIP_LOCKED) {leaf.sql}")
    except DBAPIError as error:
        if session.connection.invalidated:
            raise
        return f"{why}{driver_text(error)}."
    return ""
