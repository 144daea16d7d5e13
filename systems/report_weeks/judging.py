"""From what was found to checks with a verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from systems.report_weeks.survey import COLUMN, Day, Findings, Timing

Severity = Literal["error", "warning", "info"]
KEY = ("collection_id", "week_start_date")
PARTIAL = ("idx_report_data_weeks_execution_id", "idx_report_data_weeks_collection_execution")
SMALL = 5_000  #: rows below which a planner may well read the whole table


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    severity: Severity
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and the findings behind them."""

    found: Findings
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.checks if c.severity == "error")

    def to_dict(self) -> dict[str, Any]:
        """The JSON document."""
        numbers, found = self.found.numbers, self.found
        week = last_seven(found)
        return {
            "schema": 1,
            "ok": self.ok,
            "population": {
                "total": numbers.total,
                "populated": numbers.populated,
                "null": numbers.total - numbers.populated,
                "rate": rate(numbers.populated, numbers.total),
                "per_day": [asdict(d) for d in numbers.per_day],
                "last_seven_days": [asdict(d) for d in week],
                "completed_since": {
                    "since": str(found.since),
                    "total": numbers.done,
                    "populated": numbers.done_populated,
                    "rate": rate(numbers.done_populated, numbers.done),
                },
            },
            "orphans": found.orphans,
            "checks": [asdict(c) for c in self.checks],
            "indexes": [dict(i) for i in found.catalog.indexes],
            "newest": [dict(r) for r in found.newest],
            "newest_linked": [dict(r) for r in found.linked],
            "storage": dict(found.sizes or {}),
        }


def judge(found: Findings) -> Report:
    """Look at all of it; without the column there is nothing more to look at."""
    checks = list(_column(found))
    if found.catalog.type is not None:
        checks += [*_keys(found), *_rows(found), *_cost(found)]
    return Report(found, tuple(checks))


def rate(populated: int, total: int) -> float:
    """Between 0 and 1; 0 where there is nothing."""
    return populated / total if total else 0.0


def last_seven(found: Findings) -> Sequence[Day]:
    """Today and the six days before, those without a week included."""
    by_day = {d.day: d for d in found.numbers.per_day}
    days = [str(found.today - timedelta(days=n)) for n in range(6, -1, -1)]
    return [by_day.get(d, Day(d, 0, 0)) for d in days]


def _column(found: Findings) -> Iterator[Check]:
    told, wanted = found.catalog, "uuid" if found.dialect == "postgresql" else "text"
    there = told.type is not None
    yield Check("column_exists", "error", there, f"{COLUMN} is {'there' if there else 'missing'}")
    if not there:
        return
    yield Check("column_type", "error", told.type == wanted, f"declared as {told.type}")
    same = found.numbers.odd == 0
    said = "every value has it" if same else f"{found.numbers.odd:,} values of another type"
    yield Check("column_values", "error", same, f"type {wanted}: {said}")
    said = "may be NULL: history has none" if told.nullable else "is NOT NULL"
    yield Check("column_nullable", "error", told.nullable, said)
    said = "has no default" if told.default is None else f"has the default {told.default}"
    yield Check("column_default", "error", told.default is None, said)


def _keys(found: Findings) -> Iterator[Check]:
    c = found.catalog
    said = "workflow_executions is there" if c.executions else "missing: no foreign key possible"
    yield Check("executions_table", "warning", c.executions, said)
    right = c.foreign_key == "workflow_executions(id)" and c.on_delete == "set null"
    said = f"refers to {c.foreign_key}, on delete {c.on_delete}" if c.foreign_key else "missing"
    yield Check("foreign_key", "error", right, said)
    if c.foreign_key:
        said = "validated" if c.validated else "NOT VALID: old rows were never looked at"
        yield Check("foreign_key_validated", "error", c.validated, said)
    keyed = tuple(sorted(KEY)) in {tuple(sorted(k)) for k in c.keys}
    said = "a week stands once in its collection" if keyed else "missing: weeks may stand twice"
    yield Check("unique_week", "error", keyed, said)
    valid = {str(i["name"]) for i in c.indexes if i["valid"]}
    lacking = [name for name in PARTIAL if name not in valid]
    said = f"missing or not valid: {', '.join(lacking)}" if lacking else "both are valid"
    yield Check("partial_indexes", "warning", not lacking, said)
    listed = ", ".join(str(i["name"]) for i in c.indexes) or "none"
    yield Check("indexes", "info", True, f"{len(c.indexes)}: {listed}")


def _rows(found: Findings) -> Iterator[Check]:
    n = found.numbers
    missing = n.done - n.done_populated
    said = f"{n.done_populated:,} of {n.done:,} weeks completed since {found.since}"
    yield Check("population_since", "error", missing == 0, f"{said} carry their execution")
    said = f"{n.populated:,} of {n.total:,} rows, {rate(n.populated, n.total):.1%}"
    empty = "no rows yet"
    yield Check("population", "info", True, said if n.total else empty)
    week = last_seven(found)
    total, populated = sum(d.total for d in week), sum(d.populated for d in week)
    said = f"{populated:,} of {total:,} rows of the last seven days"
    yield Check("population_last_seven_days", "info", True, said if total else empty)
    said = f"{found.orphans:,} rows name an execution that is gone"
    vouched = found.catalog.validated and found.dialect == "postgresql"
    none = "none: the foreign key is validated" if vouched else "none"
    yield Check("orphans", "error", not found.orphans, said if found.orphans else none)
    gone = [r for r in found.linked if r["execution_exists"] not in ("True", "1")]
    said = f"{len(found.linked)} newest of the last day, {len(gone)} without their execution"
    yield Check("newest_linked", "error", not gone, said)
    said = f"{found.no_service_id:,} completed executions without an id of the service"
    yield Check("service_id", "info", True, said)
    said = "; ".join(f"{r['created_at'][:19]} {r['status']}" for r in found.newest) or "none"
    yield Check("newest_rows", "info", True, said)


def _cost(found: Findings) -> Iterator[Check]:
    if found.timing is not None:
        yield _timing(found.timing, found.numbers.total)
    told = (f"{name} {_size(size)}" for name, size in (found.sizes or {}).items())
    yield Check("storage", "info", True, ", ".join(told))


def _size(size: int | None) -> str:
    return "not told" if size is None else f"{size / 1024:,.0f} KiB"


def _timing(timing: Timing, total: int) -> Check:
    by = f"by {timing.index}" if timing.index else "by reading the whole table"
    small = "; it is small" if not timing.index and total < SMALL else ""
    said = f"the linked weeks of a collection in {timing.milliseconds:.2f} ms, {by}{small}"
    return Check("collection_query", "warning", bool(timing.index) or total < SMALL, said)
