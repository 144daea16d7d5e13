"""A pooler that gives every transaction another server session: nothing of ours could last there.

The runner's lock, settings, temporary tables and the watcher belong to a server session, so they
would be somebody else's after a commit. It is told by what it does, whatever it is called and
wherever it listens: two clients meet in one server process, or one client in two.
"""

from __future__ import annotations

from sqlalchemy import Connection

from onerow.database import Database, run
from onerow.errors import Refused

ROUNDS = 3  #: a pooler may hand out its server sessions in turn

MESSAGE = (
    "Between us and the server is a pooler in transaction mode: one session of ours is several of"
    " the server's, and the run's lock would not hold. Connect directly to the server (another"
    " port or host), or to the pooler's database in session mode."
)


def behind_pooler(database: Database) -> bool:
    """Whether sessions are shared out by transaction. Changes nothing."""
    if database.dialect == "sqlite":
        return False
    with database.connect() as first, database.connect() as second:
        for _ in range(ROUNDS):
            own = _process(first)
            first.commit()
            # Server sessions handed out in turn differ at once; of those handed out by last use
            # the second gets that of the first, and holds it while the first asks again.
            if _process(first) != own:
                return True
            first.commit()
            if _process(second) == own or _process(first) != own:
                return True
            first.commit()
            second.commit()
    return False


def _process(connection: Connection) -> int:
    return int(run(connection, "SELECT pg_backend_pid()").scalar_one())


def refuse_pooler(database: Database) -> None:
    """Raises Refused where a run could not hold its lock."""
    if behind_pooler(database):
        raise Refused(MESSAGE)
