"""Make one row of every duplicate group: merge columns, re-point children, archive, delete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from onerow.children import Child
from onerow.dialects import Dialect, MergeSpec, folds
from onerow.facts import FoldFacts, MergeFacts
from onerow.keys import BoundKey
from onerow.plan import Step
from onerow.rules import rule_to_dict
from onerow.schema import Snapshot
from onerow.sql import Name, comma, cut, quote
from onerow.steps import Action

MODE = "merge"


def plan(
    spec: MergeSpec,
    dialect: Dialect,
    *,
    groups: int,
    surplus: int,
    met: MergeFacts,
) -> Step:
    bound = spec.bound
    return Step(
        kind="merge_duplicates",
        table=bound.table.ident,
        rule=bound.label,
        sentence=_sentence(spec, groups, surplus, met.folds),
        sql=tuple(_by_hand(spec, dialect)),
        lock=dialect.write_lock,
        lock_length="each batch",
        transactional=True,
        rows=surplus,
        undo="Puts the archived rows back, and every child to the row that it pointed at.",
        args={
            "rule": rule_to_dict(bound.key),
            "children": [c.label for c in spec.references],
            **({"folds": [_told(f) for f in met.folds]} if spec.folds else {}),
            **({"decisions": met.decisions} if met.decisions else {}),
        },
    )


def _by_hand(spec: MergeSpec, dialect: Dialect) -> Iterator[str]:
    """The merge of all groups as one transaction: a run does the same, group by group.

    Its archives are tables of their own, which no run knows.
    """
    archives = {t.ident: cut(f"onerow_archive_of_{t.name}") for t in spec.tables}
    if dialect.name == "postgresql":
        yield f"CREATE SCHEMA IF NOT EXISTS {quote(dialect.schema)}"
    for table in spec.tables:
        create = dialect.create_archive(table, archives[table.ident])
        yield create.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
    yield from dialect.batch_table(spec)
    yield from folds.fold_tables(dialect, spec)
    yield from dialect.list_members(spec, by_keys=False)
    yield from dialect.rank(spec, 1, 2**31 - 1)
    yield from folds.search(dialect, spec)
    places = {ident: Name(dialect.schema, name).sql for ident, name in archives.items()}
    for operation in dialect.operations(spec, places, 1, 1):
        yield from operation.statements


def _told(fold: FoldFacts) -> dict[str, Any]:
    return {
        "table": fold.table,
        "policy": fold.policy,
        "groups": fold.groups,
        "rows": fold.rows,
        "samples": [dict(s) for s in fold.samples],
    }


def _sentence(spec: MergeSpec, groups: int, surplus: int, met: Sequence[FoldFacts]) -> str:
    bound = spec.bound
    if not groups:
        return (
            f"No duplicates in {bound} now; any that arrive before its key stands are merged"
            f" ({_survivor(bound)})."
        )
    rows = f"{surplus:,} surplus row{'s' * (surplus != 1)}"
    several = f"{groups:,} group{'s' * (groups != 1)}"
    return (
        f"Merge {several} of duplicates in {bound}: {_survivor(bound)}{_columns(spec)};"
        f"{_children(spec.children)}{_folds(spec, met)} archive and delete {rows}."
    )


def _survivor(bound: BoundKey) -> str:
    keep = bound.key.keep
    match keep.how:
        case "first":
            return "keep the row with the lowest primary key"
        case "manual":
            return f"keep the rows that {keep.what} names"
        case how:
            return f"keep the row with the {how} {keep.what}"


def _columns(spec: MergeSpec) -> str:
    special = [f"{c.column.name} ({c.policy})" for c in spec.changes if c.policy != "fill"]
    filled = any(c.policy == "fill" for c in spec.changes)
    parts = ["fill what is NULL in it from the next best row that has it"] if filled else []
    if special:
        parts.append(f"merge {comma(special)}")
    return "".join(f", {p}" for p in parts)


def _children(children: tuple[Child, ...]) -> str:
    return f" re-point {comma(c.label for c in children)};" if children else ""


def _folds(spec: MergeSpec, met: Sequence[FoldFacts]) -> str:
    """What becomes of children that collide: how many, which, and by which policy."""
    facts = {f.table: f for f in met}
    told = ""
    for fold in spec.folds:
        found = facts.get(str(fold.table))
        few = comma("(" + comma(map(str, s.values())) + ")" for s in found.samples) if found else ""
        rows = (
            f"{found.rows:,} row{'s' * (found.rows != 1)} in {found.groups:,} "
            f"group{'s' * (found.groups != 1)}, as {few}, are archived"
            if found and found.rows
            else "none now"
        )
        told += f" where children in {fold.table} collide then: {fold.by} ({rows});"
    return told


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    return None  # rows tell, not the catalog


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    return ()  # from the archive


def makes(step: Step) -> tuple[str, ...]:
    return ()


def takes(step: Step) -> tuple[str, ...]:
    return ()
