"""Finding duplicates: onerow's one pass against what one types first."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common import (
    KEY_RULE,
    TABLE,
    Copies,
    Line,
    Options,
    Subject,
    seconds,
    server,
    surplus,
    table,
    timed,
)
from onerow import api
from onerow.database import Database
from onerow.dialects import dialect
from onerow.keys import BoundKey, bind_key
from onerow.measure import key_facts, reading
from onerow.rulefile import parse_rules

HAVING = f"SELECT workout_id, count(*) FROM {TABLE} GROUP BY workout_id HAVING count(*) > 1"
DISTINCT = f"SELECT count(*) - count(DISTINCT workout_id) FROM {TABLE}"


def measure(options: Options) -> Iterator[Line]:
    """Find, count and sample duplicate keys without an index."""
    ours: list[float] = []
    having: list[float] = []
    distinct: list[float] = []
    with server(options) as started, Copies(started, *table(options)).fresh() as url:
        database = Database(url)
        bound = bind_key(parse_rules(KEY_RULE).rules[0], api.snapshot(database))  # type: ignore[arg-type]
        for _ in range(options.rounds):
            ours.append(seconds(lambda: _find(database, bound, options)))
            having.append(timed(url, HAVING)[0])
            distinct.append(timed(url, DISTINCT)[0])
    what = f"find and sample duplicates, {options}"
    yield Line(what=what, against="GROUP BY … HAVING", ours=ours, other=having, target=0.45)
    yield Line(what=what, against="count(DISTINCT)", ours=ours, other=distinct, target=2.5)


def _find(database: Database, bound: BoundKey, options: Options) -> None:
    with reading(database) as connection:
        facts = key_facts(connection, bound, dialect("postgresql"))
    assert facts.violations.rows == surplus(options)


SUBJECTS = (Subject(name="detect", measure=measure, options=Options(rows=5_000_000)),)
