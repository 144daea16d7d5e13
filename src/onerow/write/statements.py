"""The statements of the verbs, built from a bound key. Pure; each shape is built once.

The order is always: change the row, else insert it where there is none, else look (§3.4 of the
notes on races: a conflicting INSERT burns a sequence value, `DO NOTHING` gives no row back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ColumnElement

from onerow.write.binding import Bound, Part
from onerow.write.flow import Outcome
from onerow.write.live import Live
from onerow.write.text import as_text
from onerow.write.values import is_expression, param, raised, value

Condition = ColumnElement[bool]
SAME = "onerow_same"
AS_EXPECTED = "onerow_as_expected"
#: What one row of `Statements.at_once` says, two and three.
AT_ONCE: tuple[Outcome, ...] = ("updated", "inserted", "unchanged")


class Statements:
    """Builder for one key, dialect and kind of row (ORM instance or plain Row)."""

    def __init__(self, bound: Bound, dialect: str, orm: bool, *, textual: bool = False) -> None:
        self.bound = bound
        self.dialect = dialect
        self.textual = textual  #: see `text`
        self.entity = bound.entity if orm else None
        self.memo: dict[Any, Executable] = {}

    # -- parameters -------------------------------------------------------------------------

    def key_params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {f"k_{c.name}": values[c.name] for c in self.bound.needed}

    def nulls(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The parts whose value is NULL where NULLs are equal: they need another condition."""
        names = (c for p in self.bound.parts if p.null_equal for c in p.needs)
        return tuple(c.name for c in names if values.get(c.name) is None)

    # -- conditions -------------------------------------------------------------------------

    def matches(self, nulls: tuple[str, ...]) -> Condition:
        """The row of the key, with the values in parameters ``k_…``."""
        conditions = [self._match(part, nulls) for part in self.bound.parts]
        if self.bound.filter is not None:
            conditions.append(self.bound.filter)
        return sa.and_(sa.true(), *conditions)

    def _match(self, part: Part, nulls: tuple[str, ...]) -> Condition:
        side = part.row_side()
        if part.computed:
            value = self._computed(part)
            return side.is_not_distinct_from(value) if part.null_equal else side == value
        assert part.column is not None
        if part.column.name in nulls:
            return part.column.is_(None)
        value = param("k", part.column)
        return side == (sa.func.lower(value) if part.fold else value)

    def _computed(self, part: Part) -> ColumnElement[Any]:
        """The expression over the new values, computed by the database as it will for the row."""
        row = sa.select(*(sa.cast(param("k", c), c.type).label(c.name) for c in part.needs))
        expression: ColumnElement[Any] = sa.literal_column(f"({part.expression})")
        value = sa.func.lower(expression) if part.fold else expression
        return sa.select(value).select_from(row.subquery("candidate")).scalar_subquery()

    def differs(self, column: sa.Column[Any], value: Any) -> Condition:
        """The column would change; NULL counts as a value."""
        is_json = isinstance(column.type, sa.JSON) and not isinstance(column.type, JSONB)
        if is_json and self.dialect == "postgresql":
            # PostgreSQL's json has no equality; jsonb has (manual §8.14).
            return sa.cast(column, JSONB).is_distinct_from(sa.cast(value, JSONB))
        return column.is_distinct_from(value)

    def _any_differs(self, sets: Mapping[str, Any]) -> Condition:
        columns = self.bound.columns
        return sa.or_(*(self.differs(columns[n], value(columns[n], v)) for n, v in sets.items()))

    def _expected(self, names: Iterable[str]) -> list[Condition]:
        columns = self.bound.columns
        return [sa.not_(self.differs(columns[n], param("e", columns[n]))) for n in names]

    # -- statements -------------------------------------------------------------------------

    def update(
        self,
        nulls: tuple[str, ...],
        sets: Mapping[str, Any],
        *,
        bump: sa.Column[Any] | None = None,
        expect: tuple[str, ...] = (),
        always: bool = False,
    ) -> Executable:
        """Change the row where it would change; RETURNING it."""
        shape = ("update", nulls, tuple(sets), bump, expect, always)

        def build() -> Executable:
            update: Any = self.change(nulls, sets, bump=bump, expect=expect, always=always)
            return self._loaded(update.returning(*self.bound.table.columns))

        return self._memoised(shape, sets, build)

    def change(
        self,
        nulls: tuple[str, ...],
        sets: Mapping[str, Any],
        *,
        bump: sa.Column[Any] | None = None,
        expect: tuple[str, ...] = (),
        always: bool = False,
    ) -> Executable:
        """The same without RETURNING, for executemany."""
        shape = ("change", nulls, tuple(sets), bump, expect, always)

        def build() -> Executable:
            columns = self.bound.columns
            where = [self.matches(nulls), *self._expected(expect)]
            if not always:
                where.append(self._any_differs(sets))
            values = {columns[n]: value(columns[n], v) for n, v in sets.items()}
            if bump is not None:
                values[bump] = raised(bump)
            return sa.update(self.bound.table).where(*where).values(values)

        return self._memoised(shape, sets, build)

    def insert(
        self,
        nulls: tuple[str, ...],
        values: Mapping[str, Any],
        live: Live,
        *,
        guard: bool = True,
        quiet: bool = False,
    ) -> Executable:
        """Insert where there is no row of the key, and yield to whoever was faster.

        Without a target ON CONFLICT yields to every unique key of the table, so that two equal
        rows never collide in the second one; with a target a dropped index is an error (42P10),
        not a silent duplicate. So the target is named when no other key can be hit.
        """
        target = self._target(values, live)
        shape = ("insert", nulls, tuple(values), target, guard, quiet)

        def build() -> Executable:
            insert = self._insert_from(nulls, values, guard)
            insert = insert.on_conflict_do_nothing(**self.target_options(target))
            if quiet:
                return insert  # type: ignore[no-any-return]
            return self._loaded(insert.returning(*self.bound.table.columns))

        return self._memoised(shape, values, build)

    def at_once(
        self,
        sets: Mapping[str, Any],
        values: Mapping[str, Any],
        live: Live,
        *,
        bump: sa.Column[Any] | None = None,
    ) -> Executable:
        """Change, insert or look in one statement (PostgreSQL); empty rows tell which it was.

        Its parts have one snapshot, so at most one of them has a row; none where somebody else
        was at work on it. It costs less than two statements and more than one (manual §7.8.4).
        A column for the outcome would show in the caller's row, so there is none.
        """

        def build() -> Executable:
            columns = list(self.bound.table.columns)
            change: Any = self.change((), sets, bump=bump)
            insert = self._insert_from((), values, guard=True)
            target = self._target(values, live)
            insert = insert.on_conflict_do_nothing(**self.target_options(target))
            same: Any = sa.select(*columns).where(self.matches(()), ~self._any_differs(sets))
            made, as_wanted = insert.returning(*columns).cte("made"), same.cte("same")
            parts = (change.returning(*columns).cte("changed"), made, as_wanted)
            empty: Any = sa.select(*(sa.null() for _ in columns))
            told = (empty.select_from(made), empty.select_from(as_wanted))
            every = sa.union_all(*(sa.select(*part.c) for part in parts), *told, told[1])
            return self._loaded(every)

        return self._memoised(("at once", tuple(sets), tuple(values), bump), values, build)

    def target_options(self, target: tuple[str, ...] | None) -> dict[str, Any]:
        """ON CONFLICT's target; the filter is text, because a parameter would not be inferred."""
        if target is None:
            return {}
        where = self.bound.key.where if self.bound.parts else None
        return {
            "index_elements": [sa.text(e.replace(":", r"\:")) for e in target],
            "index_where": sa.text(where.replace(":", r"\:")) if where else None,
        }

    def _target(self, values: Mapping[str, Any], live: Live) -> tuple[str, ...] | None:
        if live.arbiter is None:
            return None
        hit = any(not u.primary or self._given(u.elements, values) for u in live.others)
        return None if hit and not live.must_name else live.arbiter

    def _given(self, elements: Iterable[str], values: Mapping[str, Any]) -> bool:
        return all(e in {name.lower() for name in values} for e in elements)

    def _insert_from(self, nulls: tuple[str, ...], values: Mapping[str, Any], guard: bool) -> Any:
        columns = self.bound.columns
        names = dict(values)
        if not names and (self.dialect == "sqlite" or guard):
            # INSERT … SELECT needs a column: the rowid, which NULL lets SQLite choose.
            alone = next((c for c in self.bound.primary if self.dialect == "sqlite"), None)
            names = {alone.name: sa.null()} if alone is not None else {}
        insert = self._dialect_insert()
        if not names:
            return insert
        chosen: Any = [value(columns[n], v) for n, v in names.items()]
        source = sa.select(*chosen)
        here: Any = sa.select(sa.literal_column("1")).select_from(self.bound.table)
        absent = ~sa.exists(here.where(self.matches(nulls)))
        source = source.where(absent if guard else sa.true())
        return insert.from_select(list(names), source, include_defaults=True)

    def _dialect_insert(self) -> Any:
        if self.dialect == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as postgresql_insert

            return postgresql_insert(self.bound.table)
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(self.bound.table)

    def insert_plainly(self, values: Mapping[str, Any]) -> Executable:
        """An INSERT that says what is in its way."""

        def build() -> Executable:
            columns = self.bound.columns
            named = {columns[n]: value(columns[n], v) for n, v in values.items()}
            insert = sa.insert(self.bound.table).values(named)
            return self._loaded(insert.returning(*self.bound.table.columns))

        return self._memoised(("plain", tuple(values)), values, build)

    def look(
        self,
        nulls: tuple[str, ...],
        sets: Mapping[str, Any] | None = None,
        *,
        expect: tuple[str, ...] = (),
        lock: str | None = None,
        first: bool = True,
    ) -> Executable:
        """The row of the key; with `sets` also whether it has these values already.

        `first`: before a transitional key's index exists there may be several rows: take one.
        """
        sets = sets or {}
        shape = ("look", nulls, tuple(sets), expect, lock, first)

        def build() -> Executable:
            return self._select(self.matches(nulls), sets, expect, lock, first)

        return self._memoised(shape, sets, build)

    def _select(
        self,
        where: Condition,
        sets: Mapping[str, Any],
        expect: tuple[str, ...] = (),
        lock: str | None = None,
        first: bool = True,
    ) -> Executable:
        as_entity = self.entity is not None and not self.textual
        what = [self.entity] if as_entity else list(self.bound.table.columns)
        extra = []
        if sets:
            extra.append(sa.not_(self._any_differs(sets)).label(SAME))
        if expect:
            extra.append(sa.and_(*self._expected(expect)).label(AS_EXPECTED))
        select: Any = sa.select(*what, *extra).where(where)
        if first:
            select = select.order_by(*self.bound.primary).limit(1)
        if lock is not None and self.dialect == "postgresql":
            select = select.with_for_update(read=lock == "share")
        if self.textual:
            told: Any = [sa.column(e.name, sa.Boolean) for e in extra]
            select = as_text(select, self.dialect, [*self.bound.table.columns, *told])
            if self.entity is not None:
                select = sa.select(self.entity, *told).from_statement(select)
        return self._fresh(select)

    def inside(self) -> Executable:
        """Whether the row of a primary key meets the key's filter."""

        def build() -> Executable:
            here = (c == param("p", c) for c in self.bound.primary)
            what: Any = sa.select(sa.literal_column("1")).select_from(self.bound.table)
            select: Executable = what.where(*here, self.bound.filter)
            return select

        return self._memoised(("inside",), {}, build)

    def by_primary(self) -> Executable:
        """The row of a primary key; parameters ``p_…``."""

        def build() -> Executable:
            return self._select(sa.and_(*(c == param("p", c) for c in self.bound.primary)), {})

        return self._memoised(("by primary",), {}, build)

    def by_columns(self, names: tuple[str, ...], sets: Mapping[str, Any]) -> Executable:
        """The row that has these values, by another unique key; parameters ``v_…``."""

        def build() -> Executable:
            columns = (self.bound.columns[n] for n in names)
            return self._select(sa.and_(*(c == param("v", c) for c in columns)), {})

        return self._memoised(("by", names), sets, build)

    def update_by_columns(
        self, names: tuple[str, ...], sets: Mapping[str, Any], bump: sa.Column[Any] | None
    ) -> Executable:
        """Change the row that another unique key names."""

        def build() -> Executable:
            columns = self.bound.columns
            values: dict[Any, Any] = {columns[n]: value(columns[n], v) for n, v in sets.items()}
            if bump is not None:
                values[bump] = raised(bump)
            where = (columns[n] == param("o", columns[n]) for n in names)
            update = sa.update(self.bound.table).where(*where).values(values)
            return self._loaded(update.returning(*self.bound.table.columns))

        return self._memoised(("update by", names, tuple(sets), bump), sets, build)

    def restore(
        self, nulls: tuple[str, ...], deleted: sa.Column[Any], sets: Mapping[str, Any], live: Any
    ) -> Executable:
        """Bring the latest deleted row of the key back to life."""
        shape = ("restore", nulls, deleted, tuple(sets), repr(live))

        def build() -> Executable:
            dead = deleted.is_distinct_from(live)
            same_key = sa.and_(sa.true(), *(self._match(p, nulls) for p in self.bound.parts))
            order = [deleted.desc(), *self.bound.primary]
            pick = sa.select(*self.bound.primary).where(same_key, dead).order_by(*order).limit(1)
            if self.dialect == "postgresql":
                pick = pick.with_for_update()  # so that two restorers choose one row
            values: dict[Any, Any] = {
                self.bound.columns[n]: value(self.bound.columns[n], v) for n, v in sets.items()
            }
            here: Condition = sa.tuple_(*self.bound.primary).in_(pick)
            if len(self.bound.primary) == 1:  # `=` is evaluated once, IN need not be
                here = self.bound.primary[0] == pick.scalar_subquery()
            update = sa.update(self.bound.table).where(here, dead)
            update = update.values({**values, deleted: live})
            return self._loaded(update.returning(*self.bound.table.columns))

        return self._memoised(shape, sets, build)

    # -- rows -------------------------------------------------------------------------------

    def _loaded(self, statement: Any) -> Executable:
        """As an ORM query when the rows are to be instances, refreshed."""
        if self.textual:
            statement = as_text(statement, self.dialect, self.bound.table.columns)
        if self.entity is None:
            return statement  # type: ignore[no-any-return]
        return self._fresh(sa.select(self.entity).from_statement(statement))

    def _fresh(self, statement: Any) -> Executable:
        if self.entity is not None:
            statement = statement.execution_options(populate_existing=True)
        return statement  # type: ignore[no-any-return]

    def pick(self, row: Any) -> Any:
        """The caller's row out of a result's row."""
        return row[0] if self.entity is not None else row

    def _memoised(
        self, shape: Any, values: Mapping[str, Any], build: Callable[[], Executable]
    ) -> Executable:
        """Build once per shape; expressions are part of the statement, so those are built anew."""
        if any(is_expression(v) for v in values.values()):
            return build()
        found = self.memo.get(shape)
        if found is None:
            found = self.memo[shape] = build()
        return found
