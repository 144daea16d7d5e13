"""Take an old key away from under the foreign keys that lean on it; they lean on the new one then.

A foreign key belongs to one unique index (pg_constraint.conindid), which cannot go before it. The
server picks the index itself, the oldest of those that fit, so a second foreign key beside the
first would lean on the old key, too. Hence one transaction drops the foreign key, takes the old
key away, and adds the foreign key again, NOT VALID: new rows are checked all the time, nothing is
scanned, and a step of its own validates it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onerow.plan import Step
from onerow.schema import ForeignKey, Index, Snapshot
from onerow.sql import Name, comma, quote
from onerow.steps import Action, kind
from onerow.steps._objects import constraint_comment, index_of

MODE = "transaction"
NOT_VALID = " NOT VALID"


def plan(taking: Step, keys: Sequence[ForeignKey], old: Index, new: str) -> Step:
    """`taking`: the step that takes the old key away by itself, if nothing leaned on it."""
    facts = [_facts(k) for k in keys]
    names = comma(f"{k.name} of {k.table}" for k in keys)
    what = taking.sentence[0].lower() + taking.sentence[1:].rstrip(".")
    return Step(
        kind="move_foreign_key",
        table=taking.table,
        rule=taking.rule,
        sentence=f"Let {names} lean on the new key: drop it, {what}, and add it again; "
        "nothing is scanned.",
        sql=(*_dropped(facts), *_in_transaction(taking.sql), *_added(facts)),
        lock="access_exclusive",
        lock_length="a moment",
        rows=0,
        undo=f"{taking.undo.rstrip('.')}, and lets {names} lean on it again.",
        args={
            "taking": taking.to_dict(),
            "foreign_keys": facts,
            "old": [old.schema, old.name],
            "new": new,
        },
    )


def _facts(key: ForeignKey) -> dict[str, Any]:
    return {
        "table": [key.table.schema, key.table.name],
        "name": key.name,
        "definition": key.definition.removesuffix(NOT_VALID),
        "comment": key.comment,
        "validated": key.validated,
    }


def _dropped(keys: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for key in keys:
        yield f"ALTER TABLE {Name(*key['table']).sql} DROP CONSTRAINT {quote(key['name'])}"


def _added(keys: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for key in keys:
        table = Name(*key["table"])
        what = f"{quote(key['name'])} {key['definition']}{NOT_VALID}"
        yield f"ALTER TABLE {table.sql} ADD CONSTRAINT {what}"
        yield from constraint_comment(table, key["name"], key["comment"])


def _in_transaction(statements: Sequence[str]) -> Iterator[str]:
    for sql in statements:
        yield sql.replace("DROP INDEX CONCURRENTLY ", "DROP INDEX ", 1)


def is_done(step: Step, snapshot: Snapshot) -> bool | None:
    taking = Step.from_dict(step.args["taking"])
    return kind(taking.kind).is_done(taking, snapshot)


def undo(step: Step, snapshot: Snapshot) -> tuple[Action, ...]:
    """The old key is built again beside the new one; then the new one goes, which the server would
    pick else, in the transaction that adds the foreign keys."""
    taking, keys = Step.from_dict(step.args["taking"]), step.args["foreign_keys"]
    actions = kind(taking.kind).undo(taking, snapshot)
    validating = tuple(_validated(keys))
    if not is_done(step, snapshot) and not _lean_on_new(step, snapshot):
        # The old key was never away, or stands again.
        left = {k.name for t in snapshot for k in t.foreign_keys if not k.validated}
        return (*actions, *(a for a, k in validating if k["name"] in left))
    building = [a for a in actions if a.concurrent]
    back = [sql for a in actions if not a.concurrent for sql in a.sql]
    moved = (*_dropped(keys), *_new_dropped(step, taking, snapshot), *back, *_added(keys))
    return (*building, Action(moved), *(a for a, _ in validating))


def _validated(
    keys: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[Action, Mapping[str, Any]]]:
    for key in (k for k in keys if k["validated"]):
        table = Name(*key["table"]).sql
        yield Action((f"ALTER TABLE {table} VALIDATE CONSTRAINT {quote(key['name'])}",)), key


def _lean_on_new(step: Step, snapshot: Snapshot) -> bool:
    """The old key stands again, built beside the new one, and the foreign keys are not back yet."""
    names = {(Name(*k["table"]), k["name"]) for k in step.args["foreign_keys"]}
    found = [k for t in snapshot for k in t.foreign_keys if (k.table, k.name) in names]
    return any(k.index != Name(*step.args["old"]) for k in found)


def _new_dropped(step: Step, taking: Step, snapshot: Snapshot) -> Iterator[str]:
    index = index_of(step, snapshot, step.args["new"])
    if index is None or taking.kind == "swap_constraint":
        return  # a swap's own way back drops it
    if index.constraint:
        yield f"ALTER TABLE {step.table.sql} DROP CONSTRAINT {quote(index.constraint)}"
    else:
        yield f"DROP INDEX {index.sql}"


def makes(step: Step) -> tuple[str, ...]:
    taking = Step.from_dict(step.args["taking"])
    return kind(taking.kind).makes(taking)


def takes(step: Step) -> tuple[str, ...]:
    taking = Step.from_dict(step.args["taking"])
    return kind(taking.kind).takes(taking)
