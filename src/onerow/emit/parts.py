"""A plan cut into revisions: what each step becomes, and which steps stand together.

Rows are never moved by a static revision: where a step would merge, fill or mend some, it refuses
while there are any, and names the command that loses none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from onerow.errors import PlanFileError
from onerow.plan import Plan, Step
from onerow.schema import ForeignKey
from onerow.sql import Name, conjunction, quote
from onerow.steps.archive_orphans import orphaned

#: What a group does, in the order in which groups tend to come.
STAGES = EXPAND, ONLINE, CONTRACT = "expand", "online", "contract"

GROUPS = {
    "add_column": EXPAND,
    "add_check": EXPAND,
    "add_foreign_key": EXPAND,
    "create_index": ONLINE,
    "attach_constraint": ONLINE,
    "validate_check": ONLINE,
    "validate_foreign_key": ONLINE,
    "set_not_null": CONTRACT,
    "swap_constraint": CONTRACT,
    "drop_constraint": CONTRACT,
    "drop_index": CONTRACT,
    "rebuild_table": CONTRACT,
}


#: They only stand while rows are merged, which no static revision does.
LEFT_OUT = ("guard", "drop_guard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a step becomes: lines of a revision's functions. Empty where it only speaks."""

    step: Step
    up: str = ""
    down: str = ""


@dataclass(slots=True, kw_only=True)
class Group:
    """Steps of one revision."""

    what: str = ""
    parts: list[Part] = field(default_factory=list)


def grouped(plan: Plan, part: Callable[[Step], Part]) -> list[Group]:
    """The steps in the order in which they run, cut where the kind of change changes.

    Raises:
        PlanFileError: a step that a static revision cannot hold.
    """
    groups: list[Group] = []
    for what, steps in _staged(plan):
        if not groups or what not in ("", groups[-1].what):
            groups.append(Group(what=what))
        groups[-1].parts += map(part, steps)
    return groups


def _staged(plan: Plan) -> list[tuple[str, list[Step]]]:
    """(kind of change, the step with the looks at rows that come before it).

    On PostgreSQL all of a kind come together, so that a plan makes few revisions. SQLite's steps
    have an order already, and texts that depend on it.
    """
    staged: list[tuple[str, list[Step]]] = []
    looks: list[Step] = []
    for step in plan.steps:
        if step.kind in LEFT_OUT:
            continue
        if step.kind in ROWS:
            looks.append(step)
            continue
        staged.append((_what(step, plan), [*looks, step]))
        looks = []
    if plan.dialect == "postgresql":
        staged.sort(key=lambda pair: STAGES.index(pair[0]))
    return [*staged, ("", looks)] if looks else staged


def _what(step: Step, plan: Plan) -> str:
    partitioned = "parts" in step.args
    if step.kind not in GROUPS or partitioned:
        of = " of a partitioned table" * partitioned
        raise PlanFileError(
            f"A static revision cannot hold a step {step.kind}{of}.",
            hint="`onerow plan --alembic DIR --with-onerow` writes one that calls onerow.",
        )
    keys = takewhile(lambda s: s is not step, plan.steps)
    if step.kind == "add_foreign_key" and any(s.kind == "create_index" for s in keys):
        return ONLINE  # it may lean on a key that the plan makes
    return GROUPS[step.kind]


# -- rows ---------------------------------------------------------------------------------------


def rows_left(step: Step, plan: Plan) -> tuple[str, str] | None:
    """SQL that counts what a step would still have to do, and the sentence for it.

    None where only a file's values could tell, or nothing is to be done.
    """
    return ROWS[step.kind](step, plan)


WAY_OUT = "Run `onerow apply` first, which mends them without losing any, and then this again."


def _duplicates(step: Step, plan: Plan) -> tuple[str, str] | None:
    if step.args["rule"]["kind"] != "key":
        return None
    listed = next(
        (
            s.sql[0]
            for s in plan.steps
            if s.kind == "verify" and s.args["rule"] == step.args["rule"]
        ),
        "",
    )
    if not listed:
        return None
    told = f"{{n}} group(s) of duplicates in {step.rule} of {step.table}. {WAY_OUT}"
    return f"SELECT max(groups) FROM ({listed}) AS d", told


def _unfilled(step: Step, _plan: Plan) -> tuple[str, str] | None:
    column, table = step.args["column"], step.table.sql
    empty = f"{quote(column)} IS NULL"
    told = f"{{n}} row(s) of {step.table} have nothing in {column}. {WAY_OUT}"
    if step.args["last"]:
        return None
    if step.args["not_null"]:
        return f"SELECT count(*) FROM {table} WHERE {empty}", told
    if step.args["source"]["kind"] == "csv":
        return None
    test = step.sql[0].partition(f" WHERE {empty} AND ")[2]
    return f"SELECT count(*) FROM {table} WHERE {empty} AND {test}", told


def _orphans(step: Step, _plan: Plan) -> tuple[str, str]:
    key = ForeignKey(
        name=step.args["foreign_key"],
        table=step.table,
        columns=tuple(step.args["columns"]),
        target=Name(*step.args["target"]),
        target_columns=tuple(step.args["target_columns"]),
    )
    told = f"{{n}} row(s) of {step.table} refer to nothing in {key.target}. {WAY_OUT}"
    test = conjunction(orphaned(key, step.table.sql))
    return f"SELECT count(*) FROM {step.table.sql} WHERE {test}", told


ROWS: dict[str, Callable[[Step, Plan], tuple[str, str] | None]] = {
    "merge_duplicates": _duplicates,
    "verify": _duplicates,
    "backfill": _unfilled,
    "archive_orphans": _orphans,
}
