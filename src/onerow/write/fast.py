"""The first round of a verb, kept ready for calls of the same shape.

Most calls end in their first round: change (or look), else insert, else look. Binding, naming and
building are then done once per shape (key, engine, names), and a call costs little more than its
statements. When none of them found a row, the verb's flow goes on with its second round.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from onerow.rules import Key
from onerow.write import listeners, run, text
from onerow.write.binding import Bound
from onerow.write.flow import Outcome, Written
from onerow.write.flows import Verb
from onerow.write.statements import AT_ONCE, SAME, Statements

_PLAIN = frozenset(
    [str, int, float, bool, bytes, type(None), date, datetime, Decimal, UUID, dict, list]
)
_LIMIT = 4096
_shelf: dict[Any, Round] = {}


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, where its parameters come from, and what it means when it has a row."""

    statement: Any
    params: tuple[tuple[str, Any], ...]
    outcomes: tuple[Outcome, ...]  #: of one row, of two, of three
    same: bool = False  #: the row counts only when it has the wanted values already

    def outcome(self, rows: Sequence[Any]) -> Outcome | None:
        """What the rows say that was done; None when nothing was."""
        if rows and (not self.same or getattr(rows[0], SAME)):
            # More than it can mean: a transitional key whose index is gone has several rows.
            return self.outcomes[min(len(rows), len(self.outcomes)) - 1]
        return None


@dataclass(frozen=True, slots=True)
class Round:
    """The statements of a verb's first round."""

    key: Key  # kept, so that its id stays its own
    engine: weakref.ref[Engine]
    bound: Bound
    verb: str
    steps: tuple[Step, ...]
    constants: Mapping[Any, Any]
    orm: bool

    def run(self, target: Any, values: Mapping[Any, Any]) -> Written[Any] | None:
        """What was done; None when it takes another round."""
        if self.orm:
            run.flush(target)
        started = time.perf_counter() if listeners.active else 0.0
        if self.constants:
            values = {**self.constants, **values}
        try:
            for step in self.steps:
                params = {name: values[source] for name, source in step.params}
                rows = target.execute(step.statement, params).all()
                outcome = step.outcome(rows)
                if outcome is not None:
                    if started:
                        self._tell(outcome, time.perf_counter() - started)
                    return Written(rows[0][0] if self.orm else rows[0], outcome)
        except DBAPIError as exc:
            raise run.explained(exc, target, self.bound, values) from exc.__cause__
        return None

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        listeners.wrote(self.verb, self.bound.table.name, outcome, seconds)


def plain(values: Mapping[Any, Any]) -> bool:
    """No SQL expression among the values."""
    return _PLAIN.issuperset(map(type, values.values()))


def _engine(target: Any) -> Any:
    if isinstance(target, Connection):
        return target.engine
    if type(target).get_bind is Session.get_bind and target.bind is not None:
        return target.bind
    return None


def find(target: Any, key: Key, shape: Any) -> Round | None:
    """The kept round for a call of this shape, if there is one."""
    engine = _engine(target)
    found = _shelf.get((id(key), id(engine), isinstance(target, Connection), shape))
    if found is None or found.engine() is not engine:
        return None
    return found


def keep(target: Any, shape: Any, verb: Verb, given: Mapping[Any, Any], name: str) -> None:
    """Keep the first round of a verb for calls like this one.

    Not where the statement depends on the values (NULLs that are equal), where a round has more
    to ask (a lock before the index exists, the filter after an insert), or for expressions.
    """
    engine = _engine(target)
    bound, request = verb.bound, verb.request
    plain_key = not any(part.null_equal for part in bound.parts) and bound.filter is None
    plain_key = plain_key and not verb.live.reread
    if not isinstance(engine, Engine) or not verb.live.enforced or not plain_key:
        return
    names = {bound.column(n).name: n for n in given}
    constants = {n: v for n, v in request.values.items() if n not in names}
    names |= {n: n for n in constants}
    if len(_shelf) >= _LIMIT:
        _shelf.clear()
    call = (id(verb.bound.key), id(engine), isinstance(target, Connection), shape)
    steps = tuple(_steps(verb, names))
    orm = verb.statements.entity is not None
    _shelf[call] = Round(bound.key, weakref.ref(engine), bound, name, steps, constants, orm)


def _steps(verb: Verb, names: Mapping[str, Any]) -> Iterator[Step]:
    request, fits = verb.request, text.fits(verb.bound)
    looking = _statements(verb, fits)
    writing = looking if not _computes(verb) else _statements(verb, textual=False)
    key = tuple((f"k_{c.name}", names[c.name]) for c in verb.bound.needed)
    sets = tuple((f"v_{n}", names[n]) for n in request.sets)
    new = tuple((f"v_{n}", names[n]) for n in request.values)
    if request.sets and writing.textual and writing.dialect == "postgresql":
        every = writing.at_once(request.sets, request.values, verb.live, bump=request.bump)
        yield Step(every, (*key, *{**dict(new), **dict(sets)}.items()), AT_ONCE)
        return
    if request.sets:
        update = writing.update((), request.sets, bump=request.bump)
        yield Step(update, (*key, *sets), ("updated",))
    else:
        look = looking.look((), lock=request.lock, first=False)
        yield Step(look, key, ("unchanged",))
    insert = writing.insert((), request.values, verb.live)
    yield Step(insert, (*key, *new), ("inserted",))
    if request.sets:
        look = looking.look((), request.sets, lock=request.lock, first=False)
        yield Step(look, (*key, *sets), ("unchanged",), same=True)


def _statements(verb: Verb, textual: bool) -> Statements:
    orm = verb.statements.entity is not None
    return Statements(verb.bound, verb.statements.dialect, orm, textual=textual)


def _computes(verb: Verb) -> bool:
    """Whether the model has Python compute a value: SQLAlchemy sees to that, not in text."""
    request = verb.request
    return any(
        (c.onupdate is not None and c.name not in request.sets)
        or (c.default is not None and c.name not in request.values)
        for c in verb.bound.table.columns
    )


def forget(key: Key) -> None:
    """Drop what is kept for a key whose index is gone."""
    for name in [n for n, kept in _shelf.items() if kept.key is key]:
        _shelf.pop(name, None)
