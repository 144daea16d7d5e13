"""Probes put to the rows: read-only, one by one, each with a time limit, all with a budget.

One that fails, or takes too long, is told of in its answer and stops no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.checks import Check, ask, judge, questions
from onerow.checks.base import Answer, Answers, ColumnStatistics, Context, Probe, refusals
from onerow.codes import code_of
from onerow.database import Database, driver_text, errors, run
from onerow.dialects import dialect
from onerow.errors import RuleError
from onerow.facts import KeyFacts
from onerow.finding import CheckResult, Finding, RuleState
from onerow.keys import BoundKey, bind_key, bind_table
from onerow.planning import standing_verdict
from onerow.planning.coming import Coming, coming
from onerow.rules import Key, Rule, kind_of
from onerow.schema import PARTITIONED, Snapshot, Table
from onerow.sql import Name, comma, literal
from onerow.states import rule_states

TIMEOUT_SECONDS = 10.0
BUDGET_SECONDS = 60.0
_STEPS = 10_000  #: instructions of SQLite's machine between two looks at the clock

Statistics = dict[tuple[Name, str], ColumnStatistics]


def run_probes(
    database: Database,
    probes: Sequence[Probe],
    snapshot: Snapshot,
    *,
    known: Mapping[str, Answer] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    budget: float = BUDGET_SECONDS,
) -> Answers:
    """Ask every probe that can be answered.

    Args:
        database: to be read.
        probes: in the order in which they are to be asked.
        snapshot: the catalog that they were made from.
        known: answers that are there already, by their SQL.
        timeout: seconds that one of them may take.
        budget: seconds that all of them may take together.

    Raises:
        DatabaseError: the database cannot be reached, or was lost.
    """
    found = {probe.sql: answer for probe, answer in refusals(probes, snapshot)}
    found.update(known or {})
    open_ = [p for p in probes if p.sql not in found]
    ends = time.monotonic() + budget
    with errors(database), _asking(database) as put:
        for probe in open_:
            left = ends - time.monotonic()
            found[probe.sql] = (
                put(probe.sql, min(timeout, left))
                if left > 0
                else Answer(reason=f"the budget of {budget:g} s was used up before it")
            )
    return Answers(found)


@contextmanager
def _asking(database: Database) -> Iterator[Any]:
    with database.connect() as connection:
        yield _OnSQLite(connection) if database.dialect == "sqlite" else _OnPostgreSQL(connection)


class _OnPostgreSQL:
    """One transaction that cannot write; a new one after an error has ended it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.limit = 0  #: milliseconds, of the transaction that is open; 0: none is

    def __call__(self, sql: str, seconds: float) -> Answer:
        try:
            self._limit_to(max(1, round(seconds * 1000)))
            rows = run(self.connection, sql).mappings().all()
        except DBAPIError as error:
            self.connection.rollback()
            self.limit = 0
            return _failed(error, seconds)
        return Answer(rows=tuple(dict(r) for r in rows))

    def _limit_to(self, milliseconds: int) -> None:
        if not self.limit:
            self._begin()
        if self.limit != milliseconds:
            run(self.connection, f"SET LOCAL statement_timeout = {milliseconds}")
            self.limit = milliseconds

    def _begin(self) -> None:
        run(self.connection, "SET TRANSACTION READ ONLY")
        # Sorting beats hashing where nearly every key is a group of its own (measured: 1.7 to 3.6
        # times), and compiling a query takes longer than most of these do.
        settings = ("enable_hashagg", "jit")
        calls = comma(f"set_config('{name}', 'off', true)" for name in settings)
        run(self.connection, f"SELECT {calls}")


class _OnSQLite:
    """A connection that cannot write, and looks at the clock while it works."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.dbapi_connection
        run(connection, "PRAGMA query_only = ON")

    def __call__(self, sql: str, seconds: float) -> Answer:
        ends = time.monotonic() + seconds
        self.driver.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
        try:
            rows = run(self.connection, sql).mappings().all()
        except DBAPIError as error:
            return _failed(error, seconds)
        finally:
            self.driver.set_progress_handler(None, 0)
        return Answer(rows=tuple(dict(r) for r in rows))


def _failed(error: DBAPIError, seconds: float) -> Answer:
    """Why a probe has no answer. A connection that is gone is no answer's matter."""
    if error.connection_invalidated:
        raise error
    code = code_of(error)
    if code in ("57014", "SQLITE_INTERRUPT"):
        return Answer(reason=f"it took longer than {seconds:.3g} s", code=code)
    return Answer(reason=driver_text(error), code=code)


# -- statistics ---------------------------------------------------------------------------------


def statistics_sql(snapshot: Snapshot) -> str | None:
    """What PostgreSQL has sampled for its planner; None where there is no such thing."""
    if snapshot.dialect != "postgresql" or not snapshot.tables:
        return None
    schemas = comma(literal(s) for s in sorted({t.schema for t in snapshot}))
    return (
        "SELECT schemaname, tablename, attname, n_distinct, null_frac, inherited FROM pg_stats"
        f" WHERE schemaname IN ({schemas})"
    )


def read_statistics(database: Database, snapshot: Snapshot) -> Statistics:
    """The statistics of the columns, of partitions and heirs with their root.

    Raises:
        DatabaseError: they cannot be read.
    """
    sql = statistics_sql(snapshot)
    if sql is None:
        return {}
    with errors(database), database.connect() as connection:
        rows = run(connection, sql).all()
    whole = {t.ident for t in snapshot if t.kind == PARTITIONED}
    found: Statistics = {}
    for row in rows:
        name = Name(row.schemaname, row.tablename)
        if row.inherited == (name in whole):
            found[name, row.attname] = ColumnStatistics(
                distinct=float(row.n_distinct), null_share=float(row.null_frac)
            )
    return found


# -- the whole way ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the checks found, and what they went by."""

    findings: tuple[Finding, ...]
    results: tuple[CheckResult, ...]
    states: tuple[RuleState, ...]


def context_of(
    snapshot: Snapshot, rules: Iterable[Rule] = (), statistics: Statistics | None = None
) -> Context:
    """What checks look at."""
    talk = dialect(snapshot.dialect)
    keys = tuple(_countable(tuple(rules), snapshot))
    return Context(snapshot=snapshot, talk=talk, keys=keys, statistics=statistics or {})


def _countable(rules: Sequence[Rule], snapshot: Snapshot) -> Iterator[BoundKey]:
    """The declared keys whose rows can be looked at: not those over a column yet to be filled."""
    awaited = Coming(catalog=snapshot)
    with suppress(RuleError):
        awaited = coming(rules, snapshot)
    for rule in rules:
        if isinstance(rule, Key):
            with suppress(RuleError):
                bound = awaited.key(rule)
                if awaited.countable(bound):
                    yield bound


def listed(snapshot: Snapshot, rules: Iterable[Rule], checks: Sequence[Check]) -> tuple[Probe, ...]:
    """Every question that the checks might ask, without asking any."""
    sql = statistics_sql(snapshot)
    first = [Probe(about="statistics of the columns", sql=sql)] if sql else []
    return (*first, *ask(context_of(snapshot, rules), checks).probes)


def diagnose(
    database: Database,
    snapshot: Snapshot,
    rules: Sequence[Rule],
    checks: Sequence[Check],
    *,
    measured: bool = True,
    timeout: float = TIMEOUT_SECONDS,
    budget: float = BUDGET_SECONDS,
) -> Diagnosis:
    """Measure the rules, let the checks ask, ask the rows, let the checks judge. Read-only.

    Args:
        database: to be read.
        snapshot: its catalog.
        rules: that are declared.
        checks: to be made.
        measured: tell where the rules stand, too.
        timeout: seconds that one question may take.
        budget: seconds that all questions of the checks may take together.

    Raises:
        RuleError: a rule names what is not there, or the server cannot evaluate it.
        DatabaseError: the database cannot be reached or read.
    """
    states = states_of(database, rules, snapshot) if measured else ()
    context = context_of(snapshot, rules, read_statistics(database, snapshot))
    inquiry = ask(context, checks)
    answers = run_probes(
        database,
        inquiry.probes,
        snapshot,
        known=_known(context, rules, states),
        timeout=timeout,
        budget=budget,
    )
    findings, results = judge(context, inquiry, answers)
    return Diagnosis(findings=findings, results=results, states=states)


def _known(
    context: Context, rules: Sequence[Rule], states: Sequence[RuleState]
) -> Mapping[str, Answer]:
    """What was seen already when the rules were measured, so that no table is read twice."""
    seen = {r: s for r, s in zip(rules, states, strict=False) if isinstance(r, Key)}
    found: dict[str, Answer] = {}
    for bound in context.keys:
        state = seen.get(bound.key)
        if state is None or not state.sql:
            continue
        facts = KeyFacts(violations=state.violations, samples=state.samples)
        found[questions.duplicates(bound, context).sql] = questions.answers_of(facts, bound)
        nulls = questions.forbidden_nulls(bound, context)
        if nulls is not None:
            found[nulls.sql] = Answer(rows=({"count": state.violations.nulls},))
    return found


def states_of(
    database: Database, rules: Sequence[Rule], snapshot: Snapshot
) -> tuple[RuleState, ...]:
    """Where the rules stand, those on tables that we may not read by the catalog alone."""
    closed = {i: t for i, r in enumerate(rules) for t in _closed(r, snapshot)}
    open_ = [r for i, r in enumerate(rules) if i not in closed]
    measured = iter(rule_states(database, open_, snapshot))
    return tuple(
        _unseen(rule, closed[i], snapshot) if i in closed else next(measured)
        for i, rule in enumerate(rules)
    )


def _closed(rule: Rule, snapshot: Snapshot) -> Iterator[Table]:
    table = bind_table(rule.table, snapshot, rule.label)
    if "select" not in table.privileges:
        yield table


def _unseen(rule: Rule, table: Table, snapshot: Snapshot) -> RuleState:
    reason = f"{snapshot.user} may not SELECT {table}, so its rows were not looked at"
    verdict = "not enforced"
    if isinstance(rule, Key):
        found = standing_verdict(bind_key(rule, snapshot))
        verdict, reason = str(found), f"{found.reason}; {reason}"
    return RuleState(
        rule=rule.label, kind=kind_of(rule), table=str(table), verdict=verdict, reason=reason
    )
