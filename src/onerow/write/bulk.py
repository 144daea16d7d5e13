"""Many rows at once: change those that differ, insert those that are missing, count the rest.

The rows go into a temporary table (COPY on PostgreSQL; few rows go as arrays), then two statements
do the work. As in the single verb no sequence value is burnt for rows that exist, and the counts
are true.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from onerow.rules import Key
from onerow.sql import comma, quote
from onerow.write.batch import Duplicates, as_tuples, once, with_defaults
from onerow.write.binding import Bound
from onerow.write.errors import Contended, OutsideKey
from onerow.write.flow import Ask, Flow, Load
from onerow.write.flows import Request, Verb, locked, names_our_key
from onerow.write.live import Live
from onerow.write.run import is_session, run_verb
from onerow.write.statements import Statements
from onerow.write.values import raised
from onerow.write.verbs import Update, Values, _version

COPY_FROM = 200
CHUNK = 100_000
ROUNDS = 8
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class BulkWritten:
    """How many rows of the batch were what; duplicates inside it count once."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: BulkWritten) -> BulkWritten:
        return BulkWritten(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )


def bulk_upsert(
    session: Session | Connection,
    key: Key,
    rows: Iterable[Values],
    *,
    update: Update | None = None,
    duplicates: Duplicates = "last",
    version: Any = None,
    chunk: int = CHUNK,
) -> BulkWritten:
    """Make many rows have these values.

    Args:
        session: Session or Connection; instances of the table in a Session are expired.
        key: a Key with a unique index (or transitional).
        rows: mappings that all name the same columns, the key's among them.
        update: names of the columns that change in rows that exist; everything but the key if
            absent; ``()`` only inserts.
        duplicates: which of the rows with one key counts: ``last``, ``first``, or ``error``.
        version: an integer column to raise by one with every change.
        chunk: how many rows go at once.

    Returns:
        BulkWritten: `.inserted`, `.updated`, `.unchanged`.

    Raises:
        DuplicateInBatch: with ``duplicates="error"``.
        NoUniqueIndex, OutsideKey, Contended: as for `upsert`. Batches that overlap take their row
            locks in key order; where a plan does otherwise the server may answer 40P01, which
            `transactional` runs again.
    """

    def make(bound: Bound, live: Live, statements: Statements) -> Flow[BulkWritten]:
        batch = _Batch.of(bound, live, statements, rows, update, duplicates, version)
        return batch.write(chunk)

    result = run_verb(session, key, "bulk_upsert", make)
    if is_session(session):
        _expire(session, key)
    return result


def _expire(session: Any, key: Key) -> None:
    if key.source is not None and hasattr(key.source, "__mapper__"):
        for instance in session.identity_map.values():
            if isinstance(instance, key.source):
                session.expire(instance)


@dataclass(frozen=True, slots=True)
class _Batch:
    bound: Bound
    live: Live
    statements: Statements
    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    sets: tuple[str, ...]
    bump: sa.Column[Any] | None

    @classmethod
    def of(
        cls,
        bound: Bound,
        live: Live,
        statements: Statements,
        given: Iterable[Values],
        update: Update | None,
        duplicates: Duplicates,
        version: Any,
    ) -> _Batch:
        names, rows = as_tuples(bound, given)
        if names:
            bound.names(names)
            rows = once(bound, names, rows, duplicates)
        names, rows = with_defaults(bound, names, rows)
        key = {c.name for c in bound.needed}
        if update is None:
            sets = tuple(n for n in names if n not in key)
        else:
            sets = tuple(bound.column(n).name for n in update)
        bump = _version(bound, version, dict.fromkeys(sets))
        return cls(bound, live, statements, names, rows, sets, bump)

    def write(self, chunk: int) -> Flow[BulkWritten]:
        total = BulkWritten()
        if not self.rows:
            return total
        yield from locked(Verb(self.bound, self.live, self.statements, Request({})), whole=True)
        for start in range(0, len(self.rows), chunk):
            total += yield from self._staged(self.rows[start : start + chunk])
        return total

    @property
    def _postgres(self) -> bool:
        return self.statements.dialect == "postgresql"

    def _staged(self, rows: list[tuple[Any, ...]]) -> Flow[BulkWritten]:
        """Put the rows where SQL can join them, and work until each is accounted for."""
        columns = [self.bound.columns[n] for n in self.names]
        if len(rows) >= COPY_FROM or not self._postgres:
            name = f"onerow_stage_{next(_numbers)}"
            yield Ask(self._create(name))
            yield Load(table=name, columns=columns, rows=rows)
            source: Any = sa.table(name, *(sa.column(c.name, c.type) for c in columns)).alias("s")
            result = yield from self._joined(source, {}, len(rows))
            yield Ask(sa.text(f"DROP TABLE {name}"))
            return result
        arrays = {f"a_{i}": [row[i] for row in rows] for i in range(len(columns))}
        return (yield from self._joined(_unnested(columns), arrays, len(rows)))

    def _create(self, name: str) -> Any:
        """An empty temporary table with the types of these columns."""
        listed, table = comma(quote(n) for n in self.names), _sql_name(self.bound.table)
        commit = " ON COMMIT DROP" if self._postgres else ""
        query = f"SELECT {listed} FROM {table} WHERE 1 = 0".replace(":", r"\:")
        return sa.text(f"CREATE TEMPORARY TABLE {name}{commit} AS {query}")

    def _joined(self, s: Any, params: dict[str, Any], size: int) -> Flow[BulkWritten]:
        updated = inserted = 0
        for _ in range(ROUNDS):
            if self.sets:
                answer = yield Ask(self._update_from(s), params)
                updated += answer.count
            if updated + inserted < size:
                inserted += yield from self._insert_from(s, params)
            if updated + inserted >= size:
                return BulkWritten(inserted, updated, 0)
            answer = yield Ask(self._open(s), params)
            if not answer.row[0]:
                return BulkWritten(inserted, updated, size - inserted - updated)
        raise Contended(f"Other writers of {self.bound.key.label} kept winning, {ROUNDS} times.")

    def _match(self, s: Any) -> ColumnElement[bool]:
        conditions = [_matches(part, self.bound, s) for part in self.bound.parts]
        if self.bound.filter is not None:
            conditions.append(_qualified(self.bound, self.bound.key.where or ""))
        return sa.and_(sa.true(), *conditions)

    def _differs(self, s: Any) -> ColumnElement[bool]:
        columns = self.bound.columns
        return sa.or_(sa.false(), *(self.statements.differs(columns[n], s.c[n]) for n in self.sets))

    def _update_from(self, s: Any) -> Any:
        values: dict[Any, Any] = {self.bound.columns[n]: s.c[n] for n in self.sets}
        if self.bump is not None:
            values[self.bump] = raised(self.bump)
        return sa.update(self.bound.table).where(self._match(s), self._differs(s)).values(values)

    def _insert_from(self, s: Any, params: dict[str, Any]) -> Flow[int]:
        """Insert what is missing: plainly, and if somebody was faster with ON CONFLICT.

        ON CONFLICT costs two thirds more per row, and races are rare.
        """
        answer = yield Ask(self._insert(s, None), params, guarded=True)
        if answer.error is not None:
            if not names_our_key(self.bound, self.live, answer.error):
                raise answer.error
            target = self.statements._target(dict.fromkeys(self.names), self.live)
            options = self.statements.target_options(target)
            answer = yield Ask(self._insert(s, options), params)
        if self.bound.filter is None:
            return answer.count
        count, inside = answer.row if self._postgres else _counted(answer.rows)
        if count != inside:
            raise self._outside()
        return int(count)

    def _insert(self, s: Any, conflict: dict[str, Any] | None) -> Any:
        here: Any = sa.select(sa.literal_column("1")).select_from(self.bound.table)
        absent = ~sa.exists(here.where(self._match(s)).correlate(s))
        order = [s.c[c.name] for c in self.bound.needed]  # the same order of locks in every batch
        source = sa.select(*(s.c[n] for n in self.names)).where(absent).order_by(*order)
        insert = self.statements._dialect_insert()
        insert = insert.from_select(list(self.names), source, include_defaults=True)
        if conflict is not None:
            insert = insert.on_conflict_do_nothing(**conflict)
        if self.bound.filter is None:
            return insert.execution_options(preserve_rowcount=True)
        if not self._postgres:
            return insert.returning(self._inside())
        insert = insert.returning(self.bound.filter.label("inside"))
        made = insert.cte("made")
        counts = (sa.func.count(), sa.func.count().filter(made.c.inside))
        return sa.select(*counts).select_from(made)

    def _inside(self) -> Any:
        """The key's filter over the new row, in a sub-select.

        SQLite before 3.41 answers `column IS NULL` in RETURNING by whether the column *before* it
        may be NULL.
        """
        table, where = self.bound.table, self.bound.key.where or ""
        named = (self.bound.columns[n] for n in self.bound.mentioned([where]))
        # Bare columns are those of the new row; SQLAlchemy would put the table into FROM.
        row = comma(f"{quote(table.name)}.{quote(c.name)} AS {quote(c.name)}" for c in named) or "1"
        text = f"(SELECT ({where}) FROM (SELECT {row}) AS {quote(table.name)})"
        return sa.literal_column(text, sa.Boolean).label("inside")

    def _open(self, s: Any) -> Any:
        """How many rows of the batch are neither there nor as wanted."""
        joined = s.outerjoin(self.bound.table, self._match(s))
        missing = sa.and_(*(c.is_(None) for c in self.bound.primary or self.bound.needed))
        select = sa.select(sa.func.count()).select_from(joined)
        return select.where(sa.or_(missing, self._differs(s)) if self.sets else missing)

    def _outside(self) -> OutsideKey:
        key = self.bound.key
        return OutsideKey(f"A new row is not among the rows of {key.label} ({key.where}).")


def _counted(rows: Sequence[Any]) -> tuple[int, int]:
    return len(rows), sum(1 for row in rows if row[0])


# -- SQL -------------------------------------------------------------------------------------------


def _sql_name(table: sa.Table) -> str:
    return f"{quote(table.schema)}.{quote(table.name)}" if table.schema else quote(table.name)


def _unnested(columns: Sequence[sa.Column[Any]]) -> Any:
    """The rows as arrays, one per column: one plan for any number of rows."""
    from sqlalchemy.dialects.postgresql import ARRAY

    arrays = (
        sa.cast(sa.bindparam(f"a_{i}", type_=ARRAY(c.type)), ARRAY(c.type))
        for i, c in enumerate(columns)
    )
    valued: Any = sa.func.unnest(*arrays)
    return valued.table_valued(*(sa.column(c.name, c.type) for c in columns)).render_derived(
        name="s"
    )


def _matches(part: Any, bound: Bound, s: Any) -> ColumnElement[bool]:
    if part.computed:
        side: Any = part.column if part.column is not None else _qualified(bound, part.expression)
        side = sa.func.lower(side) if part.fold else side
        row = sa.select(*(s.c[c.name].label(c.name) for c in part.needs)).correlate(s)
        expression: Any = sa.literal_column(f"({part.expression})")
        expression = sa.func.lower(expression) if part.fold else expression
        other: Any = sa.select(expression).select_from(row.subquery("candidate")).scalar_subquery()
        same: ColumnElement[bool] = side == other
        return side.is_not_distinct_from(other) if part.null_equal else same
    side, other = part.column, s.c[part.column.name]
    if part.fold:
        side, other = sa.func.lower(side), sa.func.lower(other)
    if part.null_equal:  # `=` can use the index; NULLs meet in the second half
        both_null = sa.and_(part.column.is_(None), s.c[part.column.name].is_(None))
        return sa.or_(side == other, both_null)
    equal: ColumnElement[bool] = side == other
    return equal


def _qualified(bound: Bound, expression: str) -> ColumnElement[bool]:
    """An expression over the table where another relation has columns of the same names."""
    import re

    table = _sql_name(bound.table)
    names = {c.name for c in bound.table.columns}
    pattern = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")+\"|[A-Za-z_][A-Za-z_0-9$]*"

    def qualify(match: re.Match[str]) -> str:
        word = match.group(0)
        bare = word.strip('"')
        known = bare in names or (not word.startswith('"') and bare.lower() in names)
        if word.startswith("'") or not known:
            return word
        return f"{table}.{word if word.startswith(chr(34)) else quote(bare.lower())}"

    return sa.literal_column(f"({re.sub(pattern, qualify, expression)})", sa.Boolean)
