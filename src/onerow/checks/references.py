"""What the checks on foreign keys have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onerow.checks import proposals
from onerow.checks.base import Context
from onerow.finding import Evidence, Finding, Fix, Severity
from onerow.rules import Reference, rule_to_dict
from onerow.schema import ForeignKey, Table
from onerow.sql import comma


def unvouched(context: Context) -> Iterator[tuple[Table, ForeignKey]]:
    """PostgreSQL's foreign keys that say nothing of the rows from before them, or of any."""
    for table, fk in context.foreign_keys:
        if not (fk.validated and fk.enforced):
            yield table, fk


def finding_on(
    table: Table,
    fk: ForeignKey,
    *,
    check: str,
    severity: Severity,
    message: str,
    evidence: Evidence | None,
    fix: Fix,
) -> Finding:
    """A proven finding on a foreign key."""
    return Finding(
        check=check,
        severity=severity,
        confidence="proven",
        object=proposals.label(table, fk.columns),
        message=message,
        evidence=evidence,
        fix=fix,
        identity=(str(table), *fk.columns, str(fk.target)),
    )


def reference_rule(table: Table, fk: ForeignKey, context: Context) -> Mapping[str, Any]:
    """The `[[reference]]` that mends it: rows that can do without the reference lose it."""
    target = context.snapshot.get(fk.target)
    name = proposals.written(target, context.snapshot) if target is not None else str(fk.target)
    columns = [table.column(c) for c in fk.columns]
    optional = all(c is not None and not c.not_null for c in columns)
    return rule_to_dict(
        Reference(
            table=proposals.written(table, context.snapshot),
            columns=fk.columns,
            to=f"{name}({comma(fk.target_columns)})",
            name=fk.name,
            on_delete=fk.on_delete,
            orphans="null" if optional else "archive",
        )
    )
