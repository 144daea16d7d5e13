"""Pauses between batches: while standbys lag, and while a condition of the operator holds."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.database import driver_text, run
from onerow.errors import InputError, NoPrivilege, Stopped

POLL = 0.5  #: seconds between two looks
PATIENCE = 5.0  #: seconds that the condition may take
GAP = 10.0  #: seconds without a look after which the positions seen before say nothing

_STANDBYS = """
SELECT coalesce(nullif(application_name, ''), 'without a name'), state,
       coalesce(extract(epoch FROM replay_lag), 0)::float8,
       replay_lsn - '0/0'::pg_lsn, pg_current_wal_lsn() - '0/0'::pg_lsn
FROM pg_stat_replication
WHERE state IS NULL OR state IN ('streaming', 'catchup')
"""


@dataclass(slots=True)
class Throttle:
    """What a run gives way to.

    Attributes:
        max_lag: seconds that a standby may be behind.
        pause_when: SQL, true while the run shall pause.
    """

    dialect: str
    max_lag: float | None = None
    pause_when: str | None = None
    _due: float = 0.0
    #: (moment, end of the WAL then): what a standby has replayed tells how old its data are.
    _seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10_000))

    def check(self, connection: Connection) -> None:
        """Try both once, before anything is changed.

        Raises:
            InputError: SQLite knows no standbys; the condition cannot be evaluated.
            NoPrivilege: the role does not see how far standbys are.
        """
        if self.max_lag is not None:
            if self.dialect == "sqlite":
                raise InputError(
                    "A limit of lag is for PostgreSQL: a SQLite file has no standbys.",
                    hint="Leave --max-lag out.",
                )
            self._lag(connection)
        if self.pause_when is None:
            return
        try:
            self._holds(connection, self.pause_when)
        except DBAPIError as error:
            connection.rollback()
            raise InputError(
                f"The condition to pause ({self.pause_when}) cannot be used: {driver_text(error)}."
            ) from error

    def reason(self, connection: Connection) -> str | None:
        """Why the run should wait now; looked at anew every half second.

        Raises:
            Stopped: the condition cannot be evaluated any more.
        """
        now = time.monotonic()
        if now < self._due or (self.max_lag is None and self.pause_when is None):
            return None
        self._due = now + POLL * 0.9
        late = self._lag(connection) if self.max_lag is not None else None
        if late is not None or self.pause_when is None:
            return late
        try:
            holds = self._holds(connection, self.pause_when)
        except DBAPIError as error:
            connection.rollback()
            raise Stopped(
                f"The condition to pause cannot be used any more: {driver_text(error)}.",
                hint="`onerow apply` goes on.",
            ) from error
        return f"paused while {self.pause_when}" if holds else None

    def _holds(self, connection: Connection, condition: str) -> bool:
        """Evaluate it read-only; whatever it did is rolled back."""
        lite = self.dialect == "sqlite"
        connection.execution_options(onerow_begin="DEFERRED")
        with connection.begin() as transaction:
            if lite:
                run(connection, "PRAGMA query_only = ON")
            else:
                run(connection, "SET TRANSACTION READ ONLY")
                run(connection, f"SET LOCAL statement_timeout = {int(PATIENCE * 1000)}")
            try:
                found = run(connection, f"SELECT ({condition})").scalar()
            finally:
                if lite:
                    run(connection, "PRAGMA query_only = OFF")
            transaction.rollback()
        if isinstance(found, str | bytes):
            raise InputError(
                f"The condition to pause ({condition}) gives a text; it must be true or false."
            )
        return bool(found)

    def _lag(self, connection: Connection) -> str | None:
        """A standby that is too far behind."""
        with connection.begin():
            rows = run(connection, _STANDBYS).all()
        now = time.monotonic()
        if self._seen and now - self._seen[-1][0] > GAP:
            self._seen.clear()
        worst: tuple[float, str] | None = None
        for name, state, told, replayed, end in rows:
            if state is None or replayed is None:
                raise NoPrivilege(
                    "The role does not see how far standbys are.",
                    hint="GRANT pg_monitor to it, or leave --max-lag out.",
                )
            late = self._behind(now, float(told), int(replayed), int(end))
            text = f"the standby {name} is {late:.1f} s and {int(end - replayed):,} bytes behind"
            worst = max(worst or (0.0, ""), (late, text))
        if rows:
            self._seen.append((now, int(rows[0][4])))
        if worst is None or self.max_lag is None or worst[0] <= self.max_lag:
            return None
        return f"{worst[1]}: waiting until it is within {self.max_lag:g} s"

    def _behind(self, now: float, told: float, replayed: int, end: int) -> float:
        """Seconds. The server measures at confirmations only, so a standby that has stopped
        replaying would look as near as it was last."""
        if replayed >= end:
            return 0.0
        known = [moment for moment, position in self._seen if position <= replayed]
        oldest = self._seen[0][0] if self._seen else now
        return max(told, now - (known[-1] if known else oldest))
