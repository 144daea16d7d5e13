"""Kinds of steps, one module each; the module's name is the kind.

A module offers:

``MODE``
    how the executor runs it: ``transaction`` (its SQL and the journal's entry commit together),
    ``concurrent`` (a statement that takes no transaction; the catalog tells if it was done),
    ``merge``, ``backfill``, ``orphans`` (in batches), ``validate`` (a scan that old rows may
    fail), ``rebuild`` (the whole table, SQLite), ``verify``.
``plan(…) -> Step``
    the step as data: sentence, SQL, lock, undo.
``is_done(step, snapshot) -> bool | None``
    what the catalog says; None where it cannot tell.
``undo(step, snapshot) -> tuple[Action, …]``
    what takes the schema part back, empty where nothing is left to take back.
``makes(step)``, ``takes(step)``
    names of the objects that it makes and takes away.

Adding a kind is adding a module; nothing lists them but the package.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from onerow.errors import PlanFileError
from onerow.plan import Plan, Step
from onerow.schema import Snapshot


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do: its statements, and whether they need or refuse a transaction."""

    sql: tuple[str, ...]
    concurrent: bool = False
    guarded: bool = False  #: no foreign key may be broken by it that was whole before
    cleanup: tuple[str, ...] = ()  #: takes away what it leaves behind when it fails


class Kind(Protocol):
    MODE: str

    def is_done(self, step: Step, snapshot: Snapshot) -> bool | None: ...
    def undo(self, step: Step, snapshot: Snapshot) -> tuple[Action, ...]: ...
    def makes(self, step: Step) -> tuple[str, ...]: ...
    def takes(self, step: Step) -> tuple[str, ...]: ...


@cache
def kinds() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def kind(name: str) -> Kind:
    """The module of a kind. Raises PlanFileError for a kind that this version does not know."""
    if name not in kinds():
        raise PlanFileError(f"This onerow knows no step {name!r}.", hint="Update onerow.")
    return cast(Kind, import_module(f"{__name__}.{name}"))


def names_changed(plan: Plan | Iterable[Step]) -> frozenset[str]:
    """Objects that a plan makes or takes away: they differ before, during and after it."""
    steps = plan.steps if isinstance(plan, Plan) else plan
    return frozenset(
        name
        for step in steps
        for k in [kind(step.kind)]
        for name in (*k.makes(step), *k.takes(step))
    )
