"""What the live database says about a key: which unique index holds it, which others there are.

Flows (they yield what to ask). The catalog proves the plain cases; expressions and filters are
proved by the database itself: EXPLAIN plans an ON CONFLICT, which fails without a fitting index
(PostgreSQL manual, INSERT, "ON CONFLICT clause": unique index inference) and executes nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from onerow.sql import comma, literal, quote
from onerow.write.binding import Bound, Part, declared_elements, normal
from onerow.write.flow import Answer, Ask, Flow

_asked = itertools.count(1)
_PG_INDEXES = sa.text("""
    SELECT i.relname, x.indisprimary, x.indisvalid AND x.indisready AND x.indislive,
           x.indimmediate, coalesce((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean, false),
           pg_get_expr(x.indpred, x.indrelid),
           array(SELECT pg_get_indexdef(x.indexrelid, k, true)
                 FROM generate_series(1, x.indnkeyatts) AS k),
           x.indisexclusion
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE x.indrelid = to_regclass(:table) AND (x.indisunique OR x.indisexclusion)
    ORDER BY i.relname""")
_PG_CHECKS = sa.text("""
    SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint
    WHERE conrelid = to_regclass(:table) AND contype = 'c' AND convalidated""")
_LITE_INDEXES = sa.text("""
    SELECT l.name, l.origin = 'pk', l.partial, m.sql,
           (SELECT group_concat(x.name, char(31)) FROM
              (SELECT name FROM pragma_index_xinfo(l.name) WHERE key ORDER BY seqno) AS x),
           (SELECT count(*) FROM pragma_index_xinfo(l.name) WHERE key AND cid = -2)
    FROM pragma_index_list(:table) AS l LEFT JOIN sqlite_master AS m ON m.name = l.name
    WHERE l."unique" ORDER BY l.name""")
_LITE_PRIMARY = sa.text("SELECT name, type FROM pragma_table_info(:table) WHERE pk ORDER BY pk")
_LITE_TRIGGERS = sa.text(
    "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table LIMIT 1"
)
_LITE_CHECKS = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique index of the live table."""

    name: str
    elements: tuple[str, ...]  #: as `binding.normal` leaves them
    text: tuple[str, ...] = ()  #: as the engine prints them
    predicate: str | None = None
    primary: bool = False
    immediate: bool = True
    nulls_equal: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """The state of a key in one database.

    `holder` is None while nothing holds the key; the verbs then serialise on a lock.
    """

    holder: Unique | None
    uniques: tuple[Unique, ...] = ()
    arbiter: tuple[str, ...] | None = None  #: elements for ON CONFLICT (…)
    must_name: bool = False  #: a deferrable key or exclusion: ON CONFLICT needs its target
    others: tuple[Unique, ...] = field(default=())
    reread: bool = False  #: RETURNING does not show what triggers do to the row afterwards

    @property
    def enforced(self) -> bool:
        return self.holder is not None


def look_up(bound: Bound, dialect: str) -> Flow[Live]:
    """Ask the database for the index that holds a key.

    Raises:
        NoUniqueIndex: there is none, or only a deferrable one, and the key is not transitional.
    """
    uniques, must_name = yield from (_postgres(bound) if dialect == "postgresql" else _lite(bound))
    usable = [u for u in uniques if u.immediate]
    pinned: list[str] = [] if bound.parts else (yield from _pinned(bound, dialect))
    holder = next((u for u in usable if _holds(bound, u, pinned)), None)
    arbiter = holder.text if holder and not holder.predicate else None
    if dialect == "sqlite" and not bound.parts:
        arbiter = None  # SQLite takes no constant as a target
    if bound.parts:
        inferred = yield from _infer(bound, dialect)
        fitting = (u for u in usable if _inferred(bound, u, inferred))
        holder = holder or next(fitting, None)
        if inferred is not None:
            arbiter = tuple(p.element for p in bound.parts)
    if holder is None and not bound.key.transitional:
        deferrable = any(_holds(bound, replace(u, immediate=True), pinned) for u in uniques)
        raise bound.refuse(" but a deferrable one, which cannot arbitrate" if deferrable else "")
    others = tuple(u for u in usable if holder is None or u.name != holder.name)
    arbiter = arbiter if holder else None
    reread = yield from _has_after_triggers(bound, dialect)
    return Live(holder, tuple(uniques), arbiter, must_name, others, reread)


def _has_after_triggers(bound: Bound, dialect: str) -> Flow[bool]:
    """SQLite's triggers cannot change NEW, so they update the row afterwards (lang_returning, 3).

    On PostgreSQL that is what BEFORE triggers are for, and RETURNING shows it.
    """
    if dialect != "sqlite":
        return False
    answer = yield Ask(_LITE_TRIGGERS, {"table": bound.table.name})
    return bool(answer.rows)


def _holds(bound: Bound, unique: Unique, pinned: Sequence[str]) -> bool:
    """The catalog alone proves that this index lets in one row per key."""
    where = normal(bound.key.where or "")
    if unique.predicate is not None and normal(unique.predicate) != where:
        return False
    if not bound.parts:
        return all(_constant(e) or e in pinned or e == where for e in unique.elements)
    return _elements_hold(bound, unique)


def _elements_hold(bound: Bound, unique: Unique) -> bool:
    for element in unique.elements:
        if not any(_element_holds(part, element, unique.nulls_equal) for part in bound.parts):
            return False
    return bool(unique.elements)


def _element_holds(part: Part, element: str, nulls_equal: bool) -> bool:
    if part.null_equal and not nulls_equal:
        is_null = part.column is not None and element == f"{normal(part.column.name)}isnull"
        return is_null or part.accepts_null_equal(element)
    return part.accepts(element)


def _inferred(bound: Bound, unique: Unique, names: Sequence[str] | None) -> bool:
    """The database chose this index as arbiter; only NULLs are left to look at."""
    if names is None or (names and unique.name not in names):
        return False
    if any(p.null_equal for p in bound.parts) and not unique.nulls_equal:
        return False
    return bool(names) or unique.predicate is not None or bool(bound.parts)


def _constant(element: str) -> bool:
    return bool(re.fullmatch(r"\d+|true|'[^']*'", element))


def _pinned(bound: Bound, dialect: str) -> Flow[list[str]]:
    """Columns that a CHECK holds at one value: a unique key over them is a singleton."""
    statement = _PG_CHECKS if dialect == "postgresql" else _LITE_CHECKS
    table = _regclass(bound) if dialect == "postgresql" else bound.table.name
    answer = yield Ask(statement, {"table": table})
    texts = [re.sub(r'[\s"`()]+', "", str(row[0]).lower()) for row in answer.rows]
    names = [normal(c) for c in bound.columns]
    value = r"(=(\d+|true|'[^']*')(,|$|check|constraint|::)|(,|$))"
    start = r"(^|check)"
    return [n for n in names if any(re.search(start + re.escape(n) + value, t) for t in texts)]


def _regclass(bound: Bound) -> str:
    table = bound.table
    return f"{quote(table.schema)}.{quote(table.name)}" if table.schema else quote(table.name)


def _postgres(bound: Bound) -> Flow[tuple[list[Unique], bool]]:
    answer = yield Ask(_PG_INDEXES, {"table": _regclass(bound)})
    uniques = [
        Unique(
            name, tuple(map(normal, elements)), tuple(elements), where, primary, immediate, equal
        )
        for name, primary, valid, immediate, equal, where, elements, exclusion in answer.rows
        if valid and not exclusion
    ]
    must_name = any(exclusion or not immediate for *_, immediate, _, _, _, exclusion in answer.rows)
    return uniques, must_name


def _lite(bound: Bound) -> Flow[tuple[list[Unique], bool]]:
    answer = yield Ask(_LITE_INDEXES, {"table": bound.table.name})
    uniques = [_lite_unique(*row) for row in answer.rows]
    if not any(u.primary for u in uniques):
        # INTEGER PRIMARY KEY is the rowid and has no index of its own (lang_createtable, 5).
        answer = yield Ask(_LITE_PRIMARY, {"table": bound.table.name})
        names = tuple(row[0] for row in answer.rows)
        if names:
            text = tuple(map(quote, names))
            uniques.append(Unique("PRIMARY KEY", tuple(map(normal, names)), text, primary=True))
    return uniques, False


def _lite_unique(
    name: str, primary: int, partial: int, sql: str | None, columns: str | None, expressions: int
) -> Unique:
    elements = (columns or "").split("\x1f")
    where = None
    if sql is not None:
        inside, where = _split_index(sql)
        elements = inside if expressions else elements
    predicate = where if partial else None
    text = tuple(elements) if expressions else tuple(map(quote, elements))
    return Unique(name, tuple(map(normal, elements)), text, predicate, bool(primary))


def _split_index(sql: str) -> tuple[list[str], str | None]:
    """The elements and the filter of a CREATE INDEX, as SQLite keeps it."""
    start = sql.index("(", re.search(r"\bON\b", sql, re.I).end())  # type: ignore[union-attr]
    depth, quoted, current = 0, "", ""
    elements: list[str] = []
    for i in range(start, len(sql)):
        c = sql[i]
        if quoted:
            quoted = "" if c == quoted else quoted
        elif c in "'\"`":
            quoted = c
        elif c == "(":
            depth += 1
            if depth == 1:
                continue
        elif c == ")":
            depth -= 1
            if depth == 0:
                break
        elif c == "," and depth == 1:
            elements.append(current.strip())
            current = ""
            continue
        current += c
    match = re.match(r"\s*WHERE\s+(.*)$", sql[i + 1 :], re.I | re.S)
    return [*elements, current.strip()], match.group(1) if match else None


def _infer(bound: Bound, dialect: str) -> Flow[list[str] | None]:
    """Let the database choose the arbiter: its names (none on SQLite, which does not tell)."""
    target = comma(p.element for p in bound.parts)
    where = f" WHERE {bound.key.where}" if bound.key.where else ""
    table = _regclass(bound)
    if dialect == "postgresql":
        sql = f"EXPLAIN (FORMAT JSON, COSTS OFF) INSERT INTO {table} DEFAULT VALUES"
    else:
        column = next(c for c in bound.table.columns if c.computed is None)
        # A prepared EXPLAIN never notices that the schema has changed; a new text is prepared anew.
        sql = f"EXPLAIN /* {next(_asked)} */ INSERT INTO {table} ({quote(column.name)})"
        sql += " SELECT NULL WHERE 1"
    sql = f"{sql} ON CONFLICT ({target}){where} DO NOTHING"
    answer: Answer = yield Ask(sa.text(sql.replace(":", r"\:")), guarded=True)
    if answer.error is not None:
        return None
    return _arbiters(answer.row[0]) if dialect == "postgresql" else []


def _arbiters(explained: object) -> list[str]:
    import json

    plan = json.loads(explained) if isinstance(explained, str) else explained
    assert isinstance(plan, list)
    return list(plan[0]["Plan"].get("Conflict Arbiter Indexes", []))


def lock_statement(bound: Bound, whole: bool) -> sa.Select[tuple[object, str]]:
    """Serialise writers of a key that no index holds yet (PostgreSQL).

    The lock of a key's value is taken when the text of its type says when two values are equal;
    else, and for a batch, the lock of the whole key.
    """
    label: sa.ColumnElement[str] = sa.literal_column(literal(f"onerow.key:{bound.key.label}"))
    table_lock = sa.func.hashtextextended(label, 0)
    isolation = sa.func.current_setting(sa.literal_column("'transaction_isolation'"))
    if whole or not bound.parts or not all(_canonical(p) for p in bound.parts):
        return sa.select(sa.func.pg_advisory_xact_lock(table_lock), isolation)
    values = [_value_text(i, bound) for i in range(len(bound.parts))]
    joined = sa.func.concat_ws(sa.literal_column("chr(31)"), label, *values)
    return sa.select(
        sa.func.pg_advisory_xact_lock_shared(table_lock),
        isolation,
        sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(joined, 0)),
    )


def _canonical(part: Part) -> bool:
    if part.computed or part.column is None:
        return False
    kind = part.column.type
    if isinstance(kind, sa.String):  # not CITEXT, not CHAR(n), whose equal values differ as text
        plain = kind.__visit_name__.lower() in ("string", "text", "varchar", "unicode")
        return plain and not kind.collation
    return isinstance(kind, (sa.Integer, sa.Uuid, sa.Date, sa.Boolean))


def _value_text(i: int, bound: Bound) -> sa.ColumnElement[str]:
    part = bound.parts[i]
    assert part.column is not None
    value = sa.bindparam(f"k_{part.column.name}", type_=part.column.type)
    text = sa.cast(sa.cast(value, part.column.type), sa.Text)
    return sa.func.lower(text) if part.fold else text


def metadata_names(bound: Bound) -> dict[str, tuple[str, ...]]:
    """Constraint name to columns, as far as the metadata know."""
    return {n: tuple(e) for n, e, _ in declared_elements(bound.table) if n}


__all__ = ["Live", "Unique", "lock_statement", "look_up", "metadata_names"]
