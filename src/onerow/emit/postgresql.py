"""What a step becomes in a revision for PostgreSQL: calls of the pasted functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onerow.emit.code import call
from onerow.emit.parts import ROWS, Part, rows_left
from onerow.plan import Plan, Step
from onerow.sql import Name, quote
from onerow.steps._objects import attached_again, comments_of, constraint_comment
from onerow.steps.swap_constraint import _again

Lines = tuple[str, str]  #: of upgrade and of downgrade


def part(step: Step, plan: Plan) -> Part:
    if step.kind in ROWS:
        left = rows_left(step, plan)
        return Part(step=step, up=call("_refuse", *left) if left else "")
    up, down = _KINDS[step.kind](step, plan)
    return Part(step=step, up=up, down=down)


def _add_column(step: Step, _plan: Plan) -> Lines:
    table, column = step.table.sql, step.args["column"]
    return (
        call("_add_column", table, column, step.args["definition"]),
        call("_drop_column", table, column),
    )


def _body(step: Step) -> str:
    """What stands behind the name of a constraint that is added, NOT VALID left out."""
    _, _, body = step.sql[0].partition(f" ADD CONSTRAINT {quote(step.args['name'])} ")
    return body.removesuffix(" NOT VALID")


def _made_not_null(step: Step, plan: Plan) -> dict[str, str]:
    """A check that only serves to mark a column NOT NULL is gone afterwards."""
    for other in plan.steps:
        of_table = other.kind == "set_not_null" and other.table == step.table
        if of_table and other.args.get("check") == step.args["name"]:
            return {"unless_not_null": other.args["column"]}
    return {}


def _add_check(step: Step, plan: Plan) -> Lines:
    table, name = step.table.sql, step.args["name"]
    return (
        call("_add_check", table, name, _body(step), **_made_not_null(step, plan)),
        call("_drop_constraint", table, name),
    )


def _add_foreign_key(step: Step, _plan: Plan) -> Lines:
    table, name = step.table.sql, step.args["name"]
    if step.args["there"]:
        return "", ""
    return call("_add_foreign_key", table, name, _body(step)), call("_drop_constraint", table, name)


def _validate(step: Step, plan: Plan) -> Lines:
    table, facts = step.table.sql, step.args
    up = call("_validate", table, facts["name"], **_made_not_null(step, plan))
    if not facts["definition"]:
        return up, ""
    name = quote(facts["name"])
    back = (
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {facts['definition']}",
        *constraint_comment(step.table, facts["name"], facts["comment"]),
    )
    return up, call("_not_valid_again", table, facts["name"], back)


def _set_not_null(step: Step, _plan: Plan) -> Lines:
    table, column = step.table.sql, step.args["column"]
    if "was" in step.args:
        return "", ""
    return (
        call("_set_not_null", table, column, step.args["check"]),
        call("_drop_not_null", table, column),
    )


# -- indexes ------------------------------------------------------------------------------------


def _pieces(sql: str, table: str, name: str) -> tuple[str, str, str]:
    """`CREATE … name`, the table, and what follows it."""
    head, _, body = sql.partition(f"{name} ON {table} ")
    return f"{head}{name}", table, body


def _index_name(step: Step, name: str) -> str:
    return Name(step.table.schema, name).sql


def _create_index(step: Step, plan: Plan) -> Lines:
    pieces = _pieces(step.sql[0], step.table.sql, quote(step.args["name"]))
    name = _index_name(step, step.args["name"])
    swap = next((s for s in plan.steps if s.kind == "swap_constraint" and _swaps(s, step)), None)
    instead = {"instead": _index_name(step, swap.args["new"])} if swap else {}
    return call("_build", name, *pieces, **instead), call("_drop_built", name, *pieces)


def _swaps(swap: Step, create: Step) -> bool:
    return swap.table == create.table and swap.args["built"] == create.args["name"]


def _attach_constraint(step: Step, _plan: Plan) -> Lines:
    table, name = step.table.sql, step.args["name"]
    return call("_attach", table, name), call("_drop_constraint", table, name)


def _old(facts: Mapping[str, Any], table: Name) -> tuple[str, str, str, str]:
    """An index that was there, as it is built again: its pieces, and what the server prints."""
    create, _, rest = facts["definition"].partition(" ON ")
    printed, _, body = rest.partition(" USING ")
    del printed, create
    unique = "UNIQUE " if facts["definition"].startswith("CREATE UNIQUE") else ""
    body = f"USING {body}"
    return f"CREATE {unique}INDEX CONCURRENTLY", table.sql, body, body + " UNIQUE" * bool(unique)


def _drop_old(step: Step, _plan: Plan) -> Lines:
    """The old index or constraint goes; on the way back it is built, and made a constraint of."""
    facts, table = step.args, step.table
    create, on, body, printed = _old(facts, table)
    name = Name(facts["schema"], facts["name"])
    alone = not step.transactional
    up = call("_drop_index", name.sql, printed, step.sql[0], alone=alone)
    down = call("_build", name.sql, f"{create} {quote(facts['name'])}", on, body)
    comments = comments_of(table, dict(facts))
    if facts["constraint"]:
        attach = attached_again(table, dict(facts), facts["name"])
        down += call("_again", table.sql, facts["constraint"], (attach, *comments))
    elif comments:
        down += call("_run", *comments)
    return up, down


def _swap_constraint(step: Step, plan: Plan) -> Lines:
    facts, old, table = step.args, step.args["old"], step.table
    made = next(s for s in plan.steps if s.kind == "create_index" and _swaps(step, s))
    pieces = _pieces(made.sql[0], table.sql, quote(made.args["name"]))
    new, built = _index_name(step, facts["new"]), _index_name(step, facts["built"])
    up = call("_swap", new, built, *pieces, step.sql)
    create, on, body, _ = _old(old, table)
    again = Name(old["schema"], _again(step))
    drop = (
        f"ALTER TABLE {table.sql} DROP CONSTRAINT {quote(facts['new'])}"
        if facts["attach"]
        else f"DROP INDEX {new}"
    )
    restore = (
        attached_again(table, dict(old), again.name)
        if old["constraint"]
        else f"ALTER INDEX {again.sql} RENAME TO {quote(old['name'])}"
    )
    back = (drop, restore, *comments_of(table, dict(old)))
    down = call("_swap_back", new, again.sql, f"{create} {quote(again.name)}", on, body, back)
    return up, down


_KINDS: dict[str, Callable[[Step, Plan], Lines]] = {
    "add_column": _add_column,
    "add_check": _add_check,
    "add_foreign_key": _add_foreign_key,
    "create_index": _create_index,
    "attach_constraint": _attach_constraint,
    "validate_check": _validate,
    "validate_foreign_key": _validate,
    "set_not_null": _set_not_null,
    "swap_constraint": _swap_constraint,
    "drop_constraint": _drop_old,
    "drop_index": _drop_old,
}
