"""Who, likely, keeps making duplicates: sessions that have written to the table (PostgreSQL).

The server does not keep which session made a row. What it tells is whose last statement wrote to
the table, and who holds a writer's lock on it: that is told, and called likely.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from onerow.database import run
from onerow.plan import Step
from onerow.session import Session
from onerow.sql import literal
from onerow.waits import without_literals

SHOWN = 3  #: writers that a sentence names

_WRITERS = """
SELECT a.application_name, a.usename, host(a.client_addr), left(a.query, 1000),
       EXISTS (SELECT 1 FROM pg_locks AS l WHERE l.pid = a.pid AND l.granted
               AND l.relation = {table}::regclass AND l.mode = 'RowExclusiveLock') AS writes
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.backend_type = 'client backend'
  AND a.pid <> pg_backend_pid()
  AND (a.state <> 'idle' OR a.state_change > now() - interval '{age} s')
"""
_WRITE = re.compile(r"\b(insert\s+into|update|merge\s+into|copy)\b", re.IGNORECASE)


@dataclass(slots=True)
class Culprits:
    """Counts who was seen to write, over all builds of a key."""

    session: Session
    step: Step
    seen: Counter[str] = field(default_factory=Counter)

    def look(self, age: float) -> None:
        """Look who writes now, or has within `age` seconds."""
        if self.session.database.dialect == "sqlite":
            return
        sql = _WRITERS.format(table=literal(self.step.table.sql), age=max(1, int(age) + 1))
        with self.session.reading() as connection:
            rows = run(connection, sql).all()
        self.seen.update(
            _named(app, user, address, query)
            for app, user, address, query, writes in rows
            if writes or _writes_to(str(query or ""), self.step.table.name)
        )

    def __str__(self) -> str:
        """`likely app (role at address): INSERT INTO t …; …`, or nothing."""
        most = [name for name, _ in self.seen.most_common(SHOWN)]
        return f"likely {'; '.join(most)}" if most else ""


def _writes_to(query: str, table: str) -> bool:
    return bool(_WRITE.search(query)) and table.casefold() in query.casefold()


def _named(app: object, user: object, address: object, query: object) -> str:
    where = f" at {address}" if address else ""
    text = without_literals(str(query or ""))
    return f"{app or 'no application name'} ({user}{where}): {text}"
