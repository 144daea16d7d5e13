"""Locks that others hold: short tries, long ones, and who is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from onerow import api
from onerow.rules import Column, Key
from onerow.session import Limits
from onerow.testing import EmbeddedServer, postgres
from tests.support.live import InBackground, until
from tests.support.sandbox import Sandbox
from tests.support.story import planned

ROWS = """
CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text);
CREATE TABLE elsewhere (id integer);
INSERT INTO parent VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c');
"""
KEY = Key("parent", "k", name="parent_k")
COLUMN = Column(table="parent", name="n", type="integer")


class Told:
    """What a run tells while it waits."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, event: api.Event) -> None:
        if event.what == "wait":
            self.said.append(event.message)

    def has(self, *parts: str) -> bool:
        return any(all(p in s for p in parts) for s in self.said)


def held(
    box: Sandbox, statement: str, work: Callable[[Told], api.Outcome], *parts: str
) -> api.Outcome:
    """The work while another session holds a lock, which it lets go when it has been named."""
    told = Told()
    with psycopg.connect(box.url, application_name="nightly report") as other:
        other.execute(statement)
        run = InBackground(lambda: work(told))
        until(
            lambda: told.has(
                "holds it up", "nightly report", f"process {other.info.backend_pid}", *parts
            ),
            "it is named",
        )
    outcome: api.Outcome = run.result()
    return outcome


def test_who_holds_a_strong_lock(every_pg_url: str) -> None:
    """Process, application, state and statement are told, without its values."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    told: list[Told] = []

    def work(t: Told) -> api.Outcome:
        told.append(t)
        return api.apply(box.url, [COLUMN], listen=t)

    statement = "UPDATE parent SET v = 'secret' WHERE id = 1"
    assert held(box, statement, work, "idle in transaction", "UPDATE parent SET").status == "done"
    assert not told[0].has("secret")


def test_who_holds_a_batch(every_pg_url: str) -> None:
    """Rows that others have locked."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    work = lambda told: api.apply(box.url, [KEY], plan=plan, listen=told)  # noqa: E731
    plan = planned(box, KEY)
    assert held(box, "SELECT 1 FROM parent WHERE id = 2 FOR UPDATE", work).status == "done"


def test_who_holds_the_build(every_pg_url: str) -> None:
    """A snapshot that has nothing to do with the table; the phase is told with it."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    plan = planned(box, KEY)
    told = Told()
    with psycopg.connect(box.url, application_name="nightly report") as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT * FROM elsewhere")
        run = InBackground(lambda: api.apply(box.url, [KEY], plan=plan, listen=told))
        until(lambda: told.has("waiting for old snapshots", "nightly report"), "it is named")
    assert run.result().status == "done"


def test_who_holds_the_undo(every_pg_url: str) -> None:
    """The way back tells it, too."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    assert api.apply(box.url, [COLUMN]).status == "done"
    work = lambda told: api.undo(box.url, listen=told)  # noqa: E731
    assert held(box, "SELECT * FROM parent", work).status == "undone"


def test_a_lock_that_never_comes(pg_url: str) -> None:
    """After its tries the run stops, names who has it, and goes on later."""
    box = Sandbox(pg_url)
    box.execute(ROWS)
    before = box.state()
    limits = Limits(lock_timeout=0.6, lock_tries=2)
    with psycopg.connect(box.url, application_name="nightly report") as other:
        other.execute("LOCK TABLE parent IN ROW EXCLUSIVE MODE")
        outcome = api.apply(box.url, [COLUMN], limits=limits)
    assert (outcome.status, outcome.exit_code) == ("stopped", 1)
    assert "in 2 tries" in outcome.message
    assert "nightly report" in outcome.message
    assert box.state() == before
    assert api.apply(box.url, [COLUMN]).status == "done"


def test_a_build_that_uses_up_its_time(every_pg_url: str) -> None:
    """It is cancelled, leaves no index that refuses rows, and is built the next time."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    plan = planned(box, KEY)
    with psycopg.connect(box.url) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT * FROM elsewhere")
        outcome = api.apply(box.url, [KEY], plan=plan, limits=Limits(build_budget=1.5))
        assert (outcome.status, outcome.exit_code) == ("stopped", 1)
        assert "used up its 1.5 s" in outcome.message
        assert not box.value("SELECT to_regclass('parent_k')")
        box.execute("INSERT INTO parent VALUES (9, 1, 'z')")
    assert api.apply(box.url, [KEY]).status == "done"


# -- who makes duplicates ------------------------------------------------------------------------


def test_who_keeps_making_duplicates(every_pg_url: str) -> None:
    """A writer is named as likely; a reader of the table and a writer of another one are not."""
    box = Sandbox(every_pg_url)
    box.execute(ROWS)
    numbers = iter(range(1000, 2000))
    with (
        psycopg.connect(box.url, application_name="naive importer", autocommit=True) as writer,
        psycopg.connect(box.url, application_name="dashboard", autocommit=True) as reader,
        psycopg.connect(box.url, application_name="mailer", autocommit=True) as mailer,
    ):

        def listen(event: api.Event) -> None:
            if event.step and event.what == "progress":
                writer.execute(f"INSERT INTO parent VALUES ({next(numbers)}, 1, 'secret')")
                reader.execute("SELECT count(*) FROM parent")
                mailer.execute("INSERT INTO elsewhere VALUES (1)")

        outcome = api.apply(box.url, [KEY], limits=Limits(passes=2), listen=listen)
    assert outcome.status == "stopped"
    assert "likely naive importer (" in outcome.message
    assert "INSERT INTO parent VALUES" in outcome.message
    assert "guard = true" in outcome.message
    for other in ("secret", "dashboard", "mailer"):
        assert other not in outcome.message


# -- autovacuum ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vacuuming() -> Iterator[EmbeddedServer]:
    """A server whose autovacuum comes at once and takes its time."""
    settings = {
        "autovacuum_naptime": "1",
        "autovacuum_vacuum_cost_delay": "100",
        "autovacuum_vacuum_cost_limit": "1",
        "autovacuum_freeze_max_age": "100000",
    }
    with postgres(settings=settings) as server:
        yield server


def vacuumed(box: Sandbox, *statements: str) -> None:
    """Have autovacuum at work on the table."""
    box.execute(
        """CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text) WITH (autovacuum_enabled = off);
        INSERT INTO parent SELECT i, i, repeat('x', 500) FROM generate_series(1, 20000) AS g(i);
        DELETE FROM parent WHERE id % 2 = 0;""",
        *statements,
        "ALTER TABLE parent SET (autovacuum_enabled = on, autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)",
    )
    until(lambda: working(box), "autovacuum is at work")


def working(box: Sandbox) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%parent%'"
    return bool(box.value(query))


def test_autovacuum_gives_way_to_a_long_try(vacuuming: EmbeddedServer) -> None:
    """Short tries never win against it; the fifth outlasts deadlock_timeout, however long that is."""
    with vacuuming.database() as url:
        box = Sandbox(url)
        name = box.value("SELECT current_database()")
        box.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '1800ms'")
        vacuumed(box)
        told = Told()
        began = time.monotonic()
        outcome = api.apply(url, [COLUMN], listen=told, limits=Limits(lock_tries=5))
        assert outcome.status == "done", outcome.message
        assert time.monotonic() - began > 1.8
        assert told.has("autovacuum", "gives way to a long try")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_autovacuum_that_prevents_wraparound(vacuuming: EmbeddedServer) -> None:
    """It gives way to nobody, and that is what the run says when it has to stop."""
    with vacuuming.database() as url:
        box = Sandbox(url)
        burn = """DO $$ BEGIN FOR i IN 1..110000 LOOP
            BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP; END $$"""
        vacuumed(box, "CREATE TABLE burnt (i integer) WITH (autovacuum_enabled = off)", burn)
        told = Told()
        outcome = api.apply(url, [COLUMN], listen=told, limits=Limits(lock_tries=5))
        assert outcome.status == "stopped"
        assert "gives way to nobody" in outcome.message
        assert told.has("to prevent wraparound")


# -- no room -------------------------------------------------------------------------------------


def test_a_server_without_room(pg_url: str) -> None:
    """The run ends with a clear word, leaves no half index, and goes on when there is room."""
    from onerow.errors import DatabaseError

    box = Sandbox(pg_url)
    box.execute(
        ROWS, "INSERT INTO parent SELECT i, i, 'x' FROM generate_series(10, 150000) AS g(i)"
    )
    name = box.value("SELECT current_database()")
    plan = planned(box, KEY)
    box.execute(
        f"ALTER DATABASE {name} SET temp_file_limit = '100kB'",
        f"ALTER DATABASE {name} SET maintenance_work_mem = '1MB'",
        f"ALTER DATABASE {name} SET max_parallel_maintenance_workers = 0",
    )
    with pytest.raises(DatabaseError, match="has no room left") as error:
        api.apply(box.url, [KEY], plan=plan)
    assert error.value.sqlstate == "53400"
    assert not box.value("SELECT to_regclass('parent_k')")
    box.execute(f"ALTER DATABASE {name} RESET ALL")
    assert api.apply(box.url, [KEY]).status == "done"
    api.undo(box.url)
    assert box.count("parent WHERE k = 1") == 2


def test_a_file_without_room(sqlite_url: str) -> None:
    """The batch at work is rolled back; with room the run goes on, and nothing is lost."""
    import sqlalchemy as sa

    from onerow.errors import DatabaseError

    box = Sandbox(sqlite_url)
    box.execute(
        "CREATE TABLE parent (id integer PRIMARY KEY, k integer NOT NULL, v text);",
        """WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 4000)
        INSERT INTO parent SELECT i, i / 2, printf('%0200d', i) FROM g;""",
    )
    before = box.contents()
    plan, pages = planned(box, KEY), box.value("PRAGMA page_count")

    def cramped(dbapi: object, _record: object) -> None:
        dbapi.execute(f"PRAGMA max_page_count = {pages + 40}")  # type: ignore[attr-defined]

    sa.event.listen(sa.engine.Engine, "connect", cramped)
    try:
        with pytest.raises(DatabaseError, match="has no room left"):
            api.apply(
                box.url,
                [KEY],
                plan=plan,
                limits=Limits(batch_rows=100, most_batch_rows=200, least_batch_rows=1),
            )
    finally:
        sa.event.remove(sa.engine.Engine, "connect", cramped)
    assert 2000 < box.count("parent") < 4000
    assert api.apply(box.url, [KEY]).status == "done"
    assert box.count("parent") == 2001
    api.undo(box.url)
    assert box.contents() == before
