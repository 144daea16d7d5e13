"""The questions that several checks put to the rows, and how their answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from onerow.checks.base import SAMPLES, Answer, Context, Probe
from onerow.dialects.phrases import aliased, group_by, key_aliases, key_filter
from onerow.facts import KeyFacts
from onerow.finding import Evidence, Violations
from onerow.keys import BoundKey
from onerow.schema import ForeignKey, Table
from onerow.sql import comma, conjunction, literal, quote


def plain(value: Any) -> Any:
    """A value of a sample, as JSON can hold it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def samples(answer: Answer, names: Sequence[str], prefix: str = "k") -> tuple[dict[str, Any], ...]:
    """The first few rows of an answer, by the names that people know."""
    return tuple(
        {name: plain(row[f"{prefix}{i}"]) for i, name in enumerate(names, 1)}
        for row in answer.rows[:SAMPLES]
    )


# -- duplicates ---------------------------------------------------------------------------------


def duplicates(bound: BoundKey, context: Context) -> Probe:
    """Groups of rows that break a key."""
    return Probe(
        about=f"duplicates of {bound}",
        sql=context.talk.duplicates(bound, SAMPLES),
        tables=(bound.table.ident,),
        pages=context.pages(bound.table),
    )


def forbidden_nulls(bound: BoundKey, context: Context) -> Probe | None:
    """Rows with a NULL in a key that forbids it; None where there can be none."""
    if bound.key.nulls != "forbidden" or not any(p.nullable for p in bound.parts):
        return None
    return Probe(
        about=f"NULLs in {bound}",
        sql=context.talk.forbidden_nulls(bound),
        tables=(bound.table.ident,),
        pages=context.pages(bound.table),
    )


def key_facts(bound: BoundKey, answer: Answer, nulls: Answer | None = None) -> KeyFacts:
    """What the answers say of a key."""
    missing = int(next(iter(nulls.first.values()), 0)) if nulls is not None else 0
    first = answer.first
    groups, surplus = int(first.get("groups", 0)), int(first.get("surplus", 0))
    return KeyFacts(
        violations=Violations(groups=groups, rows=surplus + missing, nulls=missing),
        samples=samples(answer, [p.label for p in bound.parts]),
        largest=int(first.get("members", 0)),
        total=bound.table.estimated_rows,
    )


def answers_of(facts: KeyFacts, bound: BoundKey) -> Answer:
    """The answer that these facts were read from: the inverse of `key_facts`."""
    found = facts.violations
    row = {
        "members": facts.largest,
        "groups": found.groups,
        "surplus": found.rows - found.nulls,
    }
    keys = [
        {f"k{i}": sample.get(p.label) for i, p in enumerate(bound.parts, 1)}
        for sample in facts.samples
    ]
    return Answer(rows=tuple({**row, **k} for k in keys or [{}]) if found.groups else ())


def evidence(probe: Probe, facts: KeyFacts) -> Evidence:
    found = facts.violations
    return Evidence(sql=probe.sql, groups=found.groups, rows=found.rows, samples=facts.samples)


# -- how near to unique -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the rows are spread over the values of some columns."""

    rows: int = 0  #: without NULL in the columns
    values: int = 0
    groups: int = 0  #: values that more than one row has
    largest: int = 0
    samples: tuple[Mapping[str, Any], ...] = ()  #: of the groups

    @property
    def surplus(self) -> int:
        return self.rows - self.values

    @property
    def share(self) -> float:
        """Surplus rows among the rows."""
        return self.surplus / self.rows if self.rows else 0.0


def spread(bound: BoundKey, context: Context) -> Probe:
    """How the rows are spread over the values of a key."""
    columns = [*aliased(bound), "count(*) AS n"]
    values = (
        f"SELECT {comma(columns)} FROM {bound.table.sql} WHERE {key_filter(bound)}{group_by(bound)}"
    )
    keys = key_aliases(bound)
    wanted = [
        *keys,
        "n AS members",
        'count(*) OVER () AS "values"',
        'sum(n) OVER () AS "rows"',
        "sum(CASE WHEN n > 1 THEN 1 ELSE 0 END) OVER () AS groups",
    ]
    return Probe(
        about=f"how many rows share a value of {bound}",
        sql=f"SELECT {comma(wanted)} FROM ({values}) AS g ORDER BY {comma(['n DESC', *keys])}"
        f" LIMIT {SAMPLES}",
        tables=(bound.table.ident,),
        pages=context.pages(bound.table),
    )


def read_spread(bound: BoundKey, answer: Answer) -> Spread:
    if not answer.rows:
        return Spread()
    first = answer.first
    names = [p.label for p in bound.parts]
    shared = [s for s, r in zip(samples(answer, names), answer.rows, strict=True)
              if int(r["members"]) > 1]  # fmt: skip
    return Spread(
        rows=int(first["rows"]),
        values=int(first["values"]),
        groups=int(first["groups"]),
        largest=int(first["members"]),
        samples=tuple(shared),
    )


# -- orphans ------------------------------------------------------------------------------------


def orphans(table: Table, fk: ForeignKey, context: Context) -> Probe | None:
    """Values of a foreign key that no row of its target has; None where they cannot be asked."""
    target = context.snapshot.get(fk.target)
    if target is None or fk.period or len(fk.columns) != len(fk.target_columns):
        return None
    pairs = zip(fk.columns, fk.target_columns, strict=True)
    filled = [f"c.{quote(c)} IS NOT NULL" for c in fk.columns]
    # MATCH FULL wants all or none (manual, CREATE TABLE); SIMPLE is content with one NULL.
    asked = f"({' OR '.join(filled)})" if fk.match == "full" else conjunction(filled)
    there = conjunction(f"p.{quote(t)} = c.{quote(c)}" for c, t in pairs)
    keys = comma(f"c.{quote(c)} AS k{i}" for i, c in enumerate(fk.columns, 1))
    values = (
        f"SELECT {keys}, count(*) AS n FROM {table.sql} AS c WHERE {asked} AND NOT EXISTS"
        f" (SELECT 1 FROM {target.sql} AS p WHERE {there}) GROUP BY"
        f" {comma(f'c.{quote(c)}' for c in fk.columns)}"
    )
    names = [f"k{i}" for i, _ in enumerate(fk.columns, 1)]
    wanted = [*names, "count(*) OVER () AS groups", 'sum(n) OVER () AS "rows"']
    return Probe(
        about=f"rows of {table}({comma(fk.columns)}) whose row of {fk.target} is missing",
        sql=f"SELECT {comma(wanted)} FROM ({values}) AS g ORDER BY {comma(['n DESC', *names])}"
        f" LIMIT {SAMPLES}",
        tables=(table.ident, target.ident),
        pages=context.pages(table, target),
    )


def read_orphans(probe: Probe, fk: ForeignKey, answer: Answer) -> Evidence | None:
    """What the answer proves; None where there is no orphan."""
    if not answer.rows:
        return None
    first = answer.first
    return Evidence(
        sql=probe.sql,
        groups=int(first["groups"]),
        rows=int(first["rows"]),
        samples=samples(answer, fk.columns),
    )


def foreign_key_check(table: Table) -> Probe:
    """SQLite's own check of all foreign keys of a table, with a few rows for each.

    Its comparison is not that of `=`: the child's value takes the affinity and collation of the
    parent's column first (foreignkeys.html §3).
    """
    columns = dict.fromkeys(c for fk in table.foreign_keys for c in fk.columns)
    shown = comma(f"t.{quote(c)} AS {quote(c)}" for c in columns)
    rowid = _rowid(table)
    broken = (
        "SELECT v.fkid AS fkid, v.parent AS parent, v.rowid AS at,"
        ' count(*) OVER (PARTITION BY v.fkid) AS "rows",'
        " row_number() OVER (PARTITION BY v.fkid ORDER BY v.rowid) AS place"
        f" FROM pragma_foreign_key_check({literal(table.name)}) AS v"
    )
    own = (
        f'(SELECT group_concat("from", char(31)) FROM (SELECT "from" FROM'
        f" pragma_foreign_key_list({literal(table.name)}) WHERE id = b.fkid ORDER BY seq))"
    )
    join = f" LEFT JOIN {table.sql} AS t ON t.{rowid} = b.at" if rowid else ""
    values = f", {shown}" if rowid else ""
    return Probe(
        about=f"foreign keys of {table}",
        sql=f'SELECT b.parent, b."rows", {own} AS "columns"{values} FROM ({broken}) AS b{join}'
        f" WHERE b.place <= {SAMPLES} ORDER BY b.fkid, b.place",
        tables=(table.ident, *(fk.target for fk in table.foreign_keys)),
    )


def _rowid(table: Table) -> str:
    """A name of the rowid that no column has taken; none WITHOUT ROWID."""
    taken = {c.name.casefold() for c in table.columns}
    free = (n for n in ("rowid", "_rowid_", "oid") if n not in taken)
    return "" if table.without_rowid else next(free, "")


def read_foreign_key_check(probe: Probe, fk: ForeignKey, answer: Answer) -> Evidence | None:
    """What it says of one foreign key."""
    wanted = [c.casefold() for c in fk.columns]
    own = [
        row
        for row in answer.rows
        if str(row["columns"] or "").casefold().split("\x1f") == wanted
        and str(row["parent"]).casefold() == fk.target.name.casefold()
    ]
    if not own:
        return None
    shown = tuple({c: plain(r[c]) for c in fk.columns} for r in own if fk.columns[0] in r)
    return Evidence(sql=probe.sql, rows=int(own[0]["rows"]), samples=shown)
