"""The flow of each verb. No I/O: a flow yields statements and is sent their answers.

Every flow is a bounded loop of statements that are each safe alone. A round that neither changed,
inserted nor found the row has lost a race against a delete, or met another unique key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import sqlalchemy as sa

from onerow.write.binding import Bound
from onerow.write.codes import facts_of
from onerow.write.errors import (
    Contended,
    NotFound,
    OutsideKey,
    Stale,
    TransitionalIsolation,
    WriteError,
)
from onerow.write.flow import Answer, Ask, Flow, Outcome, Written
from onerow.write.live import Live, lock_statement
from onerow.write.statements import AS_EXPECTED, SAME, Statements
from onerow.write.values import is_expression, value_params

ROUNDS = 12
UNIQUE = ("23505", "sqlite:2067", "sqlite:1555", "sqlite:2579")
OtherKeys = Literal["raise", "adopt", "merge"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a verb was asked to do, by column name.

    `values` is the new row, `sets` what changes in one that exists, `expect` what it must hold.
    """

    values: Mapping[str, Any]
    sets: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    bump: sa.Column[Any] | None = None
    lock: str | None = None
    other_keys: OtherKeys = "raise"


@dataclass(frozen=True, slots=True)
class Verb:
    """The things every flow works with."""

    bound: Bound
    live: Live
    statements: Statements
    request: Request

    @property
    def nulls(self) -> tuple[str, ...]:
        return self.statements.nulls(self.request.values)

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the key, the new values and the expectations."""
        request = self.request
        return {
            **self.statements.key_params(request.values),
            **value_params(request.values),
            **value_params(request.sets),
            **{f"e_{n}": v for n, v in request.expect.items()},
        }

    def found(self, answer: Answer) -> Written[Any]:
        """The row that was looked at."""
        return Written(self.statements.pick(answer.row), "unchanged")

    def written(self, answer: Answer, outcome: Outcome) -> Flow[Written[Any]]:
        """The row that was written, read again where its RETURNING is not the last word."""
        row = self.statements.pick(answer.row)
        if self.live.reread and self.bound.primary:
            ident = {f"p_{c.name}": _read(self, answer.row, c) for c in self.bound.primary}
            again = yield Ask(self.statements.by_primary(), ident)
            row = self.statements.pick(again.row) if again.rows else row
        return Written(row, outcome)

    def label(self) -> str:
        return self.bound.key.label


# -- locks before the index exists ---------------------------------------------------------------


def locked(verb: Verb, *, whole: bool = False) -> Flow[None]:
    """While no index holds the key, let one writer of it in at a time.

    SQLite has one writer at a time anyhow: the flows begin with a writing statement there.
    """
    if verb.live.enforced or verb.statements.dialect != "postgresql":
        return
    params = {} if whole else verb.statements.key_params(verb.request.values)
    answer = yield Ask(lock_statement(verb.bound, whole), params)
    if answer.row[1] == "repeatable read":
        # Its snapshot is older than the lock, so it cannot see what the lock waited for.
        raise TransitionalIsolation(
            f"The key {verb.label()} has no index yet; under REPEATABLE READ it cannot be kept.",
            hint="Use READ COMMITTED or SERIALIZABLE until the index exists.",
        )


# -- verbs ---------------------------------------------------------------------------------------


def upsert(verb: Verb) -> Flow[Written[Any]]:
    """Change the row where it differs, else insert it, else it stands as wanted."""
    yield from locked(verb)
    params, nulls, request = verb.params, verb.nulls, verb.request
    for turn in range(ROUNDS):
        if request.sets:
            update = verb.statements.update(nulls, request.sets, bump=request.bump)
            answer = yield Ask(update, params)
            if answer.rows:
                written = yield from verb.written(answer, "updated")
                return replace(written, raced=turn > 0)
        found = yield from _insert_or_find(verb, params, nulls)
        if found is not None:
            return replace(found, raced=turn > 0)
    raise _contended(verb)


def get_or_create(verb: Verb) -> Flow[Written[Any]]:
    """Look, insert where there is none, look again in a new statement."""
    params, nulls = verb.params, verb.nulls
    answer = yield Ask(verb.statements.look(nulls, lock=verb.request.lock), params)
    if answer.rows:
        return verb.found(answer)
    yield from locked(verb)
    for turn in range(ROUNDS):
        written = yield from _insert_or_find(verb, params, nulls)
        if written is not None:
            return replace(written, raced=turn > 0 or written.raced)
    raise _contended(verb)


def _insert_or_find(
    verb: Verb, params: Mapping[str, Any], nulls: tuple[str, ...]
) -> Flow[Written[Any] | None]:
    """One round; None when it must be tried again."""
    request = verb.request
    answer = yield Ask(verb.statements.insert(nulls, request.values, verb.live), params)
    if answer.rows:
        yield from _is_inside(verb, answer.row)
        return (yield from verb.written(answer, "inserted"))
    # A row that has just come is not "as wanted" where an expression is to be applied to it.
    computed = any(is_expression(v) for v in request.sets.values())
    sets = {} if computed else request.sets
    found = yield Ask(verb.statements.look(nulls, sets, lock=request.lock), params)
    if found.rows:
        as_wanted = not request.sets or (not computed and getattr(found.row, SAME))
        seen = Written(verb.statements.pick(found.row), "unchanged", raced=not request.sets)
        return seen if as_wanted else None
    return (yield from _other_key(verb, params))


def _is_inside(verb: Verb, inserted: Any) -> Flow[None]:
    """A row outside the key's filter would be inserted again and again, so it is refused."""
    bound = verb.bound
    if bound.filter is None or not bound.primary:
        return
    ident = {f"p_{c.name}": _read(verb, inserted, c) for c in bound.primary}
    answer = yield Ask(verb.statements.inside(), ident)
    if not answer.rows:
        raise OutsideKey(
            f"The new row is not among the rows of {verb.label()} ({bound.key.where}).",
            hint="Roll back; give values with which the condition holds.",
        )


def _other_key(verb: Verb, params: Mapping[str, Any]) -> Flow[Written[Any] | None]:
    """Nothing inserted, nothing found: the row is gone again, or another unique key is in the way.

    The policy decides; `raise` lets the database name the key.
    """
    request = verb.request
    if request.other_keys != "raise":
        for unique in verb.live.others:
            names = _given(verb.bound, unique.elements, request.values)
            if names and unique.predicate is None:
                written = yield from _take(verb, params, names)
                if written is not None:
                    return written
    answer = yield Ask(verb.statements.insert_plainly(request.values), params, guarded=True)
    if answer.error is None:
        yield from _is_inside(verb, answer.row)
        return (yield from verb.written(answer, "inserted"))
    if names_our_key(verb.bound, verb.live, answer.error):
        return None
    raise answer.error


def _given(
    bound: Bound, elements: Iterable[str], values: Mapping[str, Any]
) -> tuple[str, ...] | None:
    by_lower = {name.lower(): name for name in values}
    names = [by_lower.get(e) for e in elements]
    found = tuple(n for n in names if n is not None and not is_expression(values[n]))
    return found if found and len(found) == len(names) else None


def _take(
    verb: Verb, params: Mapping[str, Any], names: tuple[str, ...]
) -> Flow[Written[Any] | None]:
    """`adopt` answers with the row that holds the other key; `merge` gives it our values too."""
    request = verb.request
    found = yield Ask(verb.statements.by_columns(names, request.values), params)
    if not found.rows:
        return None
    if request.other_keys == "adopt":
        return verb.found(found)
    key = {c.name: request.values[c.name] for c in verb.bound.needed}
    sets = {**key, **request.sets}
    old = {f"o_{n}": request.values[n] for n in names}
    statement = verb.statements.update_by_columns(names, sets, request.bump)
    answer = yield Ask(statement, {**params, **old})
    if not answer.rows:
        return None
    return (yield from verb.written(answer, "updated"))


def names_our_key(bound: Bound, live: Live, error: Exception) -> bool:
    """A unique violation of the key itself: somebody was faster, look again."""
    facts = facts_of(error)
    if facts is None or facts.code not in UNIQUE:
        return False
    if facts.constraint is not None and live.holder is None:
        # The index of a transitional key may have come since it was looked for.
        return bound.key.transitional and facts.constraint not in {u.name for u in live.uniques}
    if facts.constraint is not None and live.holder is not None:
        return facts.constraint == live.holder.name
    return set(facts.columns) == {p.column.name for p in bound.parts if p.column is not None}


def patch(verb: Verb) -> Flow[Written[Any]]:
    """Change the named columns of the row that is there; with an expectation, only then."""
    yield from locked(verb)
    params, nulls, request = verb.params, verb.nulls, verb.request
    expect = tuple(request.expect)
    for _ in range(ROUNDS):
        update = verb.statements.update(nulls, request.sets, bump=request.bump, expect=expect)
        answer = yield Ask(update, params)
        if answer.rows:
            return (yield from verb.written(answer, "updated"))
        plain = {n: v for n, v in request.sets.items() if not is_expression(v)}
        found = yield Ask(verb.statements.look(nulls, plain, expect=expect), params)
        if not found.rows:
            raise NotFound(f"There is no row of {verb.label()} with this key.")
        if expect and not getattr(found.row, AS_EXPECTED):
            row = verb.statements.pick(found.row)
            raise Stale(
                f"The row of {verb.label()} was changed meanwhile.",
                row=row,
                expected=request.expect,
            )
        if len(plain) == len(request.sets) and getattr(found.row, SAME):
            return verb.found(found)
    raise _contended(verb)


def advance(verb: Verb) -> Flow[Written[Any]]:
    """Compare and set: exactly one of all callers moves the row."""
    yield from locked(verb)
    params, nulls, request = verb.params, verb.nulls, verb.request
    expect = tuple(request.expect)
    update = verb.statements.update(
        nulls, request.sets, bump=request.bump, expect=expect, always=True
    )
    answer = yield Ask(update, params)
    if answer.rows:
        return (yield from verb.written(answer, "updated"))
    found = yield Ask(verb.statements.look(nulls), params)
    if not found.rows:
        raise NotFound(f"There is no row of {verb.label()} with this key.")
    return verb.found(found)


def restore_or_create(verb: Verb, deleted: sa.Column[Any], live_value: Any) -> Flow[Written[Any]]:
    """The living row, else the latest deleted one brought back, else a new one."""
    yield from locked(verb)
    params, nulls, request = verb.params, verb.nulls, verb.request
    for _ in range(ROUNDS):
        found = yield Ask(verb.statements.look(nulls), params)
        if found.rows and _read(verb, found.row, deleted) == live_value:
            return verb.found(found)
        restore = verb.statements.restore(nulls, deleted, request.sets, live_value)
        # Somebody may insert a living row meanwhile: then ours must not come back to life.
        answer = yield Ask(restore, params, guarded=True)
        if answer.rows:
            return (yield from verb.written(answer, "restored"))
        if answer.error is not None:
            if not names_our_key(verb.bound, verb.live, answer.error):
                raise answer.error
            continue
        written = yield from _insert_or_find(verb, params, nulls)
        if written is not None:
            return written
    raise _contended(verb)


def _read(verb: Verb, row: Any, column: sa.Column[Any]) -> Any:
    picked = verb.statements.pick(row)
    if verb.statements.entity is not None:
        return getattr(picked, verb.bound.mapper.get_property_by_column(column).key)
    return picked._mapping[column.name]


def soft_delete(bound: Bound, deleted: Any) -> tuple[sa.Column[Any], Any]:
    """The column that marks a deleted row, and its value in a living one.

    Taken from the key's filter when it reads ``column IS NULL`` and none was given.
    """
    if deleted is not None:
        column = bound.column(deleted)
        return column, False if isinstance(column.type, sa.Boolean) else None
    words = (bound.key.where or "").replace("(", " ").replace(")", " ").split()
    if len(words) == 3 and [w.lower() for w in words[1:]] == ["is", "null"]:
        return bound.column(words[0].strip('"').split(".")[-1].strip('"')), None
    raise WriteError(
        f"It is not known which column marks a deleted row of {bound.key.label}.",
        hint="Name it: restore_or_create(…, deleted='deleted_at').",
    )


def _contended(verb: Verb) -> Contended:
    return Contended(f"Other writers of {verb.label()} kept winning, {ROUNDS} times.")
