"""What `verify` asks the database: catalog, numbers, samples, a plan. Each question once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from systems.report_weeks.schema import LINKED

WEEKS, EXECUTIONS, COLUMN = "report_data_weeks", "workflow_executions", "execution_id"
NEWEST, LINKED_SHOWN = 5, 10


@dataclass(frozen=True, slots=True)
class Day:
    """The weeks that were created on a day, and those of them that say their execution."""

    day: str
    total: int
    populated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What the database says of the column, its key and the indexes."""

    type: str | None
    nullable: bool
    default: str | None
    executions: bool
    foreign_key: str | None
    on_delete: str | None
    validated: bool
    keys: tuple[tuple[str, ...], ...]
    indexes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Counts of one pass over the weeks.

    Attributes:
        odd: values of another type than the column's.
        done, done_populated: weeks completed since the day that was asked for.
    """

    per_day: tuple[Day, ...] = ()
    odd: int = 0
    done: int = 0
    done_populated: int = 0

    @property
    def total(self) -> int:
        return sum(d.total for d in self.per_day)

    @property
    def populated(self) -> int:
        return sum(d.populated for d in self.per_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How the linked weeks of a collection are found.

    Attributes:
        index: None for a scan of the table.
    """

    milliseconds: float
    index: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that was found."""

    dialect: str
    since: date
    today: date
    catalog: Catalog
    numbers: Numbers = Numbers()
    orphans: int = 0
    newest: tuple[Mapping[str, Any], ...] = ()
    linked: tuple[Mapping[str, Any], ...] = ()
    no_service_id: int = 0
    timing: Timing | None = None
    sizes: Mapping[str, int | None] | None = None


def survey(connection: sa.Connection, since: date) -> Findings:
    """Ask everything."""
    dialect, now = connection.dialect.name, datetime.now(UTC)
    catalog = _catalog(connection)
    found = Findings(dialect=dialect, since=since, today=now.date(), catalog=catalog)
    if catalog.type is None:
        return found
    numbers = _numbers(connection, since)
    joined = catalog.executions
    return replace(
        found,
        numbers=numbers,
        orphans=_orphans(connection, catalog) if joined else numbers.populated,
        newest=_newest(connection, numbers.per_day),
        linked=_linked(connection, now, numbers.per_day) if joined else (),
        no_service_id=_no_service_id(connection) if joined else 0,
        timing=_timing(connection),
        sizes=_sizes(connection, catalog, numbers.populated),
    )


# -- catalog --------------------------------------------------------------------------------------


def _catalog(connection: sa.Connection) -> Catalog:
    there = sa.inspect(connection)
    columns = {c["name"]: c for c in there.get_columns(WEEKS)}
    column: Any = columns.get(COLUMN)
    key: Any = next(
        (k for k in there.get_foreign_keys(WEEKS) if k["constrained_columns"] == [COLUMN]), None
    )
    return Catalog(
        type=None if column is None else str(column["type"].compile(connection.dialect)).lower(),
        nullable=column is not None and bool(column["nullable"]),
        default=None if column is None else column["default"],
        executions=there.has_table(EXECUTIONS),
        foreign_key=None if key is None else f"{key['referred_table']}(id)",
        on_delete=None if key is None else str(key["options"].get("ondelete", "")).lower(),
        validated=key is not None and _validated(connection, key["name"]),
        keys=_keys(there),
        indexes=tuple(_indexes(connection)),
    )


def _validated(connection: sa.Connection, name: str | None) -> bool:
    if connection.dialect.name == "sqlite":
        return True  # it has no other kind
    sql = """SELECT convalidated FROM pg_constraint
             WHERE conname = :name AND conrelid = to_regclass(:t)"""
    return bool(connection.scalar(sa.text(sql), {"name": name, "t": WEEKS}))


def _keys(there: sa.Inspector) -> tuple[tuple[str, ...], ...]:
    uniques = [tuple(u["column_names"]) for u in there.get_unique_constraints(WEEKS)]
    indexes = there.get_indexes(WEEKS)
    uniques += [tuple(c or "" for c in i["column_names"]) for i in indexes if i["unique"]]
    return tuple(dict.fromkeys(uniques))


_INDEXES = {
    "postgresql": """
        SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
               i.indisvalid AS valid, pg_relation_size(i.indexrelid) AS bytes
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE i.indrelid = to_regclass('report_data_weeks') ORDER BY 1""",
    "sqlite": """
        SELECT name, coalesce(sql, 'of the table') AS definition, true AS valid, NULL AS bytes
        FROM sqlite_master WHERE type = 'index' AND tbl_name = 'report_data_weeks' ORDER BY 1""",
}


def _indexes(connection: sa.Connection) -> Sequence[Mapping[str, Any]]:
    sql = sa.text(_INDEXES[connection.dialect.name])
    return [dict(r) for r in connection.execute(sql).mappings()]


# -- numbers --------------------------------------------------------------------------------------

_DAY = {"postgresql": "created_at::date", "sqlite": "date(created_at)"}
_ODD = {
    "postgresql": "false",  # pg_typeof is the same for all values of a column
    "sqlite": "typeof(execution_id) NOT IN ('text', 'null')",
}


def _numbers(connection: sa.Connection, since: date) -> Numbers:
    dialect = connection.dialect.name
    done = "status = 'completed' AND updated_at >= :since"
    sql = f"""
        SELECT {_DAY[dialect]} AS day, count(*) AS total, count(execution_id) AS populated,
               count(*) FILTER (WHERE {_ODD[dialect]}) AS odd,
               count(*) FILTER (WHERE {done}) AS done,
               count(execution_id) FILTER (WHERE {done}) AS done_populated
        FROM report_data_weeks GROUP BY 1 ORDER BY 1"""
    rows = connection.execute(sa.text(sql), {"since": _moment(dialect, since)}).all()
    return Numbers(
        per_day=tuple(Day(str(r.day), r.total, r.populated) for r in rows),
        odd=sum(r.odd for r in rows),
        done=sum(r.done for r in rows),
        done_populated=sum(r.done_populated for r in rows),
    )


def _moment(dialect: str, value: date | datetime) -> Any:
    """As the engine compares it: SQLite's moments are texts."""
    if dialect == "sqlite":
        return value.isoformat(" ")[:19] if isinstance(value, datetime) else value.isoformat()
    return value


def _orphans(connection: sa.Connection, catalog: Catalog) -> int:
    """Counted, unless PostgreSQL vouches for none; SQLite's keys may have been switched off."""
    if catalog.validated and connection.dialect.name == "postgresql":
        return 0
    sql = f"""
        SELECT count(*) FROM report_data_weeks AS w WHERE {LINKED} AND NOT EXISTS
            (SELECT 1 FROM workflow_executions AS e WHERE e.id = w.execution_id)"""
    return int(connection.execute(sa.text(sql.replace(LINKED, f"w.{LINKED}"))).scalar_one())


def _no_service_id(connection: sa.Connection) -> int:
    sql = """SELECT count(*) FROM workflow_executions
             WHERE status = 'completed' AND amc_execution_id IS NULL"""
    return int(connection.execute(sa.text(sql)).scalar_one())


# -- samples --------------------------------------------------------------------------------------

_SAMPLE = "w.id, w.collection_id, w.week_start_date, w.status, w.execution_id, w.created_at"


def _newest(connection: sa.Connection, per_day: Sequence[Day]) -> tuple[Mapping[str, Any], ...]:
    """The newest rows; no index has them, so only their days are looked at."""
    seen, first = 0, None
    for day in reversed(per_day):
        first, seen = day.day, seen + day.total
        if seen >= NEWEST:
            break
    if first is None:
        return ()
    sql = f"""
        SELECT {_SAMPLE} FROM report_data_weeks AS w WHERE w.created_at >= :first
        ORDER BY w.created_at DESC, w.id LIMIT {NEWEST}"""
    return _samples(connection, sql, first)


def _linked(
    connection: sa.Connection, now: datetime, per_day: Sequence[Day]
) -> tuple[Mapping[str, Any], ...]:
    """The newest linked rows of the last day, and whether their executions are there."""
    since = now - timedelta(days=1)
    if not any(d.populated for d in per_day if d.day >= str(since.date())):
        return ()
    sql = f"""
        SELECT {_SAMPLE}, e.id IS NOT NULL AS execution_exists FROM report_data_weeks AS w
        LEFT JOIN workflow_executions AS e ON e.id = w.execution_id
        WHERE w.execution_id IS NOT NULL AND w.created_at >= :first
        ORDER BY w.created_at DESC, w.id LIMIT {LINKED_SHOWN}"""
    return _samples(connection, sql, _moment(connection.dialect.name, since))


def _samples(connection: sa.Connection, sql: str, first: Any) -> tuple[Mapping[str, Any], ...]:
    rows = connection.execute(sa.text(sql), {"first": first}).mappings()
    return tuple({k: v if v is None else str(v) for k, v in r.items()} for r in rows)


# -- the collection query -------------------------------------------------------------------------

_QUERY = f"""SELECT id, week_start_date, status, execution_id FROM report_data_weeks
             WHERE collection_id = :collection AND {LINKED}"""


def _timing(connection: sa.Connection) -> Timing | None:
    """Of the collection that came last; None without one."""
    newest = "SELECT id FROM report_data_collections ORDER BY created_at DESC, id LIMIT 1"
    collection = connection.execute(sa.text(newest)).scalar()
    if collection is None:
        return None
    asked = {"collection": collection}
    if connection.dialect.name == "postgresql":
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {_QUERY}"
        (found,) = connection.execute(sa.text(explain), asked).scalar_one()
        return Timing(milliseconds=found["Execution Time"], index=_index_of(found["Plan"]))
    plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {_QUERY}"), asked).all()
    began = time.perf_counter()
    connection.execute(sa.text(_QUERY), asked).all()
    took = 1000 * (time.perf_counter() - began)
    return Timing(milliseconds=took, index=_index_in(" ".join(r[-1] for r in plan)))


def _index_of(plan: Mapping[str, Any]) -> str | None:
    inner = (_index_of(p) for p in plan.get("Plans", ()))
    return plan.get("Index Name") or next(filter(None, inner), None)


def _index_in(text: str) -> str | None:
    words = text.split()
    return words[words.index("INDEX") + 1] if "INDEX" in words else None


# -- storage --------------------------------------------------------------------------------------


def _sizes(connection: sa.Connection, catalog: Catalog, populated: int) -> dict[str, int | None]:
    """Bytes of the values, and of each index that has the column; None where it is not told."""
    width = 16 if connection.dialect.name == "postgresql" else 36
    ours = [i for i in catalog.indexes if COLUMN in str(i["definition"])]
    if connection.dialect.name == "postgresql":
        return {COLUMN: populated * width} | {str(i["name"]): i["bytes"] for i in ours}
    return {COLUMN: populated * width} | {
        str(i["name"]): _pages(connection, str(i["name"])) for i in ours
    }


def _pages(connection: sa.Connection, name: str) -> int | None:
    """A SQLite that was built without dbstat does not tell."""
    sql = sa.text("SELECT sum(pgsize) FROM dbstat WHERE name = :name")
    try:
        found = connection.execute(sql, {"name": name}).scalar()
    except sa.exc.OperationalError:
        return None
    return None if found is None else int(found)
