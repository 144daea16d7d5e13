"""The server is killed with SIGKILL, COMMITs under way among the rest."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from onerow.testing import postgres
from onerow.write import Retry, create_tables, operation, transactional, transient_of
from onerow.write.operations import operations
from tests.write.support import User, engine_of, sessions

# Each COMMIT waits 5 ms before it flushes, so that a kill finds some in there.
SLOW_COMMIT = {"commit_delay": 5000, "commit_siblings": 0}


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_during_commit(kills: int) -> None:
    """Every acknowledged write is there once; what is unknown the operation row tells."""
    with (
        postgres(durable=True, settings=SLOW_COMMIT) as server,
        engine_of(server.url, pool_size=8) as engine,
    ):
        create_tables(engine)
        stop = threading.Event()
        acknowledged: set[str] = set()
        unknown: set[str] = set()
        strange: set[str] = set()

        @transactional(sessions(engine), retry=Retry(attempts=50, budget=20, base=0.02, cap=0.2))
        def write(session: Session, op_id: str) -> None:
            if not operation(session, op_id).replay:
                session.add(User(tenant_id=1, slug=op_id))
                session.add(User(tenant_id=2, slug=op_id))

        def work(w: int) -> None:
            n = 0
            while not stop.is_set():
                op_id = f"{w}-{n}"
                n += 1
                try:
                    write(op_id)
                except Exception as exc:
                    (unknown if transient_of(exc) else strange).add(op_id)
                else:
                    acknowledged.add(op_id)

        threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
        for t in threads:
            t.start()
        for _ in range(kills):
            before = len(acknowledged)
            while len(acknowledged) < before + 100:
                time.sleep(0.001)
            server.kill()
            server.restart()
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            time.sleep(0.01)
        stop.set()
        for t in threads:
            t.join()
        with engine.connect() as connection:
            per_op = sa.select(User.slug, sa.func.count()).group_by(User.slug)
            effects = dict(connection.execute(per_op).all())  # type: ignore[arg-type]
            known = set(connection.execute(sa.select(operations.c.op_id)).scalars())
    assert not strange
    assert acknowledged <= set(effects)
    assert set(effects) == known
    assert set(effects.values()) == {2}
    assert set(effects) - acknowledged <= unknown
