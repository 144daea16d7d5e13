"""How the executor runs steps of rules that are no keys: walks, scans, rebuilds, proofs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy.exc import DBAPIError

from onerow import backfill, orphans, survey
from onerow.codes import code_of
from onerow.database import driver_text
from onerow.errors import Stopped
from onerow.keys import bind_key
from onerow.measure import key_facts
from onerow.plan import Plan, Step
from onerow.planning import standing_verdict
from onerow.planning.reference import orphan_count
from onerow.rules import Key, Population, rule_from_dict
from onerow.schema import Snapshot, Table
from onerow.session import Session
from onerow.sql import quote
from onerow.states import state_of
from onerow.steps import Action, kind, rebuild_table


class Running(Protocol):
    """A run under way, as far as a way needs it."""

    session: Session
    id: str
    plan: Plan

    def snapshot(self) -> Snapshot: ...
    def tell(self, step: Step, what: str, **facts: Any) -> None: ...
    def short(self, step: Step, action: Action) -> None: ...
    def note(self, step: Step, status: str, **facts: Any) -> None: ...


# -- walks -------------------------------------------------------------------------------------


def fill(running: Running, step: Step) -> None:
    tell = _progress(running, step)
    backfill.fill(running.session, running.id, step, running.snapshot(), running.plan.base, tell)


def mend(running: Running, step: Step) -> None:
    tell = _progress(running, step)
    orphans.mend(running.session, running.id, step, running.snapshot(), tell)


def _progress(running: Running, step: Step) -> Callable[[int, str], None]:
    done = 0

    def tell(rows: int, message: str) -> None:
        nonlocal done
        done += rows
        if message:
            running.tell(step, "wait", message=message)
        else:
            running.tell(step, "progress", done=done, total=step.rows)

    return tell


# -- scans -------------------------------------------------------------------------------------


def validate(running: Running, step: Step) -> None:
    """Look at the old rows. Those that break the rule stop the run, and are told.

    Raises:
        Stopped: with how many and which.
    """
    if kind(step.kind).is_done(step, running.snapshot()):
        return
    try:
        for sql in step.sql:
            running.short(step, Action((sql,)))
    except DBAPIError as error:
        if code_of(error) not in ("23502", "23503", "23514"):
            raise
        running.session.connection.rollback()
        raise Stopped(
            f"{driver_text(error)}: {_broken(running, step)}.",
            hint="Mend these rows; then `onerow apply` goes on.",
        ) from error


def _broken(running: Running, step: Step) -> str:
    table = running.snapshot().get(step.table)
    condition = _condition(step, table) if table else None
    if table is None or condition is None:
        return "the rows have changed since"
    with running.session.reading() as connection:
        found = survey.rows_where(connection, table, condition, limit=survey.LISTED)
    return f"{found.rows:,} row(s) of {table}: {found.shown}"


def _condition(step: Step, table: Table) -> str | None:
    name = step.args["name"]
    check = table.constraint(name)
    if check is not None and check.kind == "not null":
        return f"{quote(check.columns[0])} IS NULL"
    if check is not None:
        return f"NOT ({check.expression})"
    key = next((k for k in table.foreign_keys if k.name == name), None)
    return orphan_count(key, table).partition(" WHERE ")[2] if key else None


# -- rebuilds ----------------------------------------------------------------------------------


def rebuild(running: Running, step: Step) -> None:
    """Make the table again; where rows have arrived that its new text forbids, mend them first."""
    for _ in range(running.session.limits.passes):
        snapshot = running.snapshot()
        if rebuild_table.is_done(step, snapshot):
            return
        try:
            with _told(step):
                running.short(step, rebuild_table.redo(step, snapshot))
            return
        except Stopped:
            if not list(_mended(running, step)):
                raise
    raise Stopped(f"Rows that break the rules of {step.table} keep arriving.")


def _mended(running: Running, step: Step) -> Iterator[Step]:
    """The steps of the plan that mend rows of the table, done once more."""
    running.session.connection.rollback()
    for other in running.plan.steps:
        if other.table == step.table and other.kind == "archive_orphans":
            mend(running, other)
            running.note(other, "done")  # each batch has written that it runs
            yield other
        elif other.table == step.table and other.kind == "backfill" and other.args["last"]:
            fill(running, other)
            running.note(other, "done")
            yield other


@contextmanager
def _told(step: Step) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not code_of(error).startswith("SQLITE_CONSTRAINT"):
            raise
        raise Stopped(
            f"Rows of {step.table} break what it is to be made with: {driver_text(error)}.",
            hint="Mend them; then `onerow apply` goes on.",
        ) from error


# -- proofs ------------------------------------------------------------------------------------


def verify(running: Running, step: Step) -> None:
    """Prove the rule of a step.

    Raises:
        Stopped: it does not hold. What is only measured is told, and stops nothing.
    """
    rule = rule_from_dict(step.args["rule"])
    snapshot = running.snapshot()
    if isinstance(rule, Key):
        _verify_key(running, rule, snapshot)
        return
    with running.session.reading() as connection:
        state = state_of(connection, rule, snapshot)
    if state.ok:
        return
    told = f"{state.rule} is {state.verdict}: {state.reason}"
    if isinstance(rule, Population):
        running.tell(step, "wait", message=told)
        return
    raise Stopped(f"{told}.")


def _verify_key(running: Running, rule: Key, snapshot: Snapshot) -> None:
    bound = bind_key(rule, snapshot)
    found = standing_verdict(bound)
    if not found.enforced:
        raise Stopped(f"{bound} is {found}: {found.reason}.")
    with running.session.reading() as connection:
        facts = key_facts(connection, bound, running.session.dialect, 1)
    if facts.violations:
        raise Stopped(f"{bound} is enforced, and yet {facts.violations.groups} group(s) break it.")


__all__ = ["Running", "fill", "mend", "rebuild", "validate", "verify"]
