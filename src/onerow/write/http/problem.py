"""Problem documents (RFC 9457) for database errors. Pure.

By default they tell which fields were at fault and never a value or a constraint's name: "this
email exists" tells something about somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from onerow.write.codes import facts_of
from onerow.write.conflict import Conflict, conflict_of
from onerow.write.errors import (
    DuplicateInBatch,
    InFlight,
    NotFound,
    OperationReused,
    OutsideKey,
    SpoolFull,
    Stale,
)
from onerow.write.transient import transient_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer to be given.

    Attributes:
        status: of HTTP.
        title: what kind of problem; the same for all of its kind.
        kind: machine-readable: ``unique``, ``stale``, ``serialization`` …
        detail: about this one.
        fields: names of the columns at fault.
        more: further members of the body.
        headers: such as Retry-After.
        conflict: the constraint violation behind it, if it was one.
    """

    status: int
    title: str
    kind: str
    detail: str = ""
    fields: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    conflict: Conflict | None = None

    def body(self) -> dict[str, Any]:
        """The members of application/problem+json."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "kind": self.kind,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.fields:
            found["fields"] = list(self.fields)
        return {**found, **self.more}


Override = Callable[[Problem], Problem | None] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """How an application answers.

    Attributes:
        on: by constraint name, or by a tuple of columns: a mapping with any of ``status``,
            ``title``, ``detail`` and further body members, or a function from Problem to Problem
            (or None for the usual one).
        expose: tell constraint names and the request's own values of the columns at fault.
        body: makes the whole body out of a Problem, for an application's own form.
        media_type: of the body.
    """

    on: Mapping[Any, Override] = field(default_factory=dict)
    expose: bool = False
    body: Callable[[Problem], Any] = Problem.body
    media_type: str = MEDIA_TYPE

    def problem_of(self, exc: BaseException, *, if_match: bool = False) -> Problem | None:
        """The answer for an error, or None when it is nothing of the database's."""
        problem = problem_of(exc, if_match=if_match)
        if problem is None or problem.conflict is None:
            return problem
        conflict = problem.conflict
        if self.expose:
            shown = {"constraint": conflict.constraint, "values": dict(conflict.values)}
            problem = replace(problem, more={**problem.more, **shown})
        override = self._override(conflict)
        if override is None:
            return problem
        if callable(override):
            return override(problem) or problem
        given = dict(override)
        known = {n: given.pop(n) for n in ("status", "title", "detail", "kind") if n in given}
        return replace(problem, **known, more={**problem.more, **given})

    def _override(self, conflict: Conflict) -> Override | None:
        if conflict.constraint in self.on:
            return self.on[conflict.constraint]
        for name, override in self.on.items():
            if not isinstance(name, str) and conflict.on(*name):
                return override
        return None


def problem_of(exc: BaseException, *, if_match: bool = False) -> Problem | None:
    """The usual answer for an error.

    Args:
        exc: what was raised.
        if_match: the request had If-Match, so a stale row is 412.

    Returns:
        Problem | None: None for an error that is not about the database.
    """
    own = _own(exc, if_match)
    if own is not None:
        return own
    transient = transient_of(exc)
    if transient is not None:
        headers = {"Retry-After": RETRY_AFTER}
        return Problem(503, "Temporarily unavailable", transient.kind, headers=headers)
    conflict = conflict_of(exc)
    if conflict is not None:
        return _of_conflict(conflict)
    facts = facts_of(exc)
    if facts is None:
        return None
    if facts.code.startswith("22"):
        return Problem(400, "Bad value", "bad_value")
    if facts.code == "42501":
        return Problem(403, "Forbidden", "forbidden")
    return None


def _own(exc: BaseException, if_match: bool) -> Problem | None:
    if isinstance(exc, NotFound):
        return Problem(404, "Not found", "not_found")
    if isinstance(exc, Stale):
        changed = "The row was changed meanwhile."
        return Problem(412 if if_match else 409, "Changed meanwhile", "stale", changed)
    if isinstance(exc, OperationReused):
        return Problem(422, "Idempotency key reused with another content", "operation_reused")
    if isinstance(exc, InFlight):
        headers = {"Retry-After": RETRY_AFTER}
        return Problem(409, "The same request is being worked on", "in_flight", headers=headers)
    if isinstance(exc, (OutsideKey, DuplicateInBatch)):
        return Problem(400, "Bad value", "bad_value")
    if isinstance(exc, SpoolFull):
        return Problem(503, "Temporarily unavailable", "spool_full", headers={"Retry-After": "30"})
    return None


def _of_conflict(conflict: Conflict) -> Problem:
    kind, fields = conflict.kind, conflict.columns
    if kind in ("unique", "primary_key", "exclusion"):
        return Problem(409, "Exists already", kind, fields=fields, conflict=conflict)
    if kind == "foreign_key" and conflict.direction == "still_referenced":
        return Problem(409, "Still in use", kind, conflict=conflict)
    title = {"foreign_key": "Unknown reference", "not_null": "Value missing"}
    return Problem(400, title.get(kind, "Bad value"), kind, fields=fields, conflict=conflict)


def spooled_problem() -> Problem:
    """202: the write was accepted and waits for the database."""
    return Problem(202, "Accepted, will be applied later", "spooled")
