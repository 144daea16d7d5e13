"""From before to after: revisions, under a running service, and the indexes that are used then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from onerow import Limits, api
from systems.report_weeks import states
from systems.report_weeks.verify import RULES, verify
from tests.emit.support import lint, schema
from tests.support.live import until
from tests.support.sandbox import Sandbox
from tests.systems.report_weeks.support import (
    House,
    application,
    broken,
    collect,
    repaired,
    request,
    workflows,
)
from tests.systems.support import FOLDER, groups, made

WEEKS = FOLDER / "report_weeks"


# -- revisions ------------------------------------------------------------------------------------


def alembic(url: str) -> Config:
    """As the command line makes it; of the engine's own revisions."""
    name = "sqlite" if url.startswith("sqlite") else "alembic"
    config = Config(WEEKS / "alembic.ini", ini_section=name)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def test_the_revisions_are_the_emitted_ones(db_url: str, tmp_path: Path) -> None:
    """What `onerow plan --alembic` writes is what stands in the repository, byte by byte."""
    made(db_url, states.before(2_000))
    engine = "sqlite" if db_url.startswith("sqlite") else "postgresql"
    committed = WEEKS / "migrations" / engine
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/before.py"):
        (folder / name).write_bytes((committed / name).read_bytes())
    api.write_alembic(db_url, api.make_plan(db_url, api.load_rules(RULES)), folder)
    emitted = {p.name: p.read_text() for p in (folder / "versions").glob("*_onerow_*")}
    there = {p.name: p.read_text() for p in (committed / "versions").glob("*_onerow_*")}
    assert emitted == there
    lint(sorted((committed / "versions").glob("*.py")))


def test_up_and_down(db_url: str) -> None:
    """On an empty database: the tables, the change, the change back, and nothing."""
    box, config = Sandbox(db_url), alembic(db_url)
    command.upgrade(config, "before")
    first = schema(box)
    command.upgrade(config, "head")
    assert [p.message for p in api.verify(db_url, api.load_rules(RULES)) if not p.ok] == []
    command.downgrade(config, "before")
    assert schema(box) == first
    command.downgrade(config, "base")
    assert "report_data_weeks" not in str(schema(box))


# -- while it serves ------------------------------------------------------------------------------


class Clients:
    """Who creates collections, each twice, and looks at the map."""

    def __init__(self, house: House) -> None:
        self.house, self.made, self.wrong = house, 0, list[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.wait(0.02):
            body = request(4)
            for wanted in (201, 200):
                answer = self.house.http.post("/collections", json=body)
                if answer.status_code != wanted:
                    self.wrong.append(f"{answer.status_code} {answer.text}")
            seen = self.house.http.get("/heat-map?limit=5")
            self.wrong += [seen.text] if seen.status_code != 200 else []
            self.made += 1

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def applied_under(url: str, rows: int) -> None:
    """Apply while clients create collections; none is refused, and runners work afterwards."""
    box, rules = broken(url, rows), api.load_rules(RULES)
    with application(box) as house, workflows() as service:
        clients = Clients(house)
        with clients.at_work():
            until(lambda: clients.made, "a collection was made")
            done = api.apply(url, rules, limits=Limits(batch_rows=200))
            so_far = clients.made
            until(lambda: clients.made > so_far + 1, "one was made afterwards")
        assert done.status == "done", done.message
        assert clients.wrong == []
        mine = "SELECT count(*) FROM report_data_collections WHERE name LIKE 'Reach %x'"
        assert box.value(mine) == clients.made
        newest = house.http.get("/collections?limit=1").json()["data"][0]["id"]
        assert collect(box, service, newest).completed == 4
    assert groups(box, "report_data_weeks", "collection_id, week_start_date") == 0
    assert [p.message for p in api.verify(url, rules) if not p.ok] == []
    assert verify(url).ok


def test_applied_under_a_running_service(db_url: str) -> None:
    """A small database."""
    applied_under(db_url, 900)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_applied_under_a_running_service_at_size(pg_url: str) -> None:
    """A million weeks."""
    applied_under(pg_url, 1_000_000)
    timing = verify(pg_url).found.timing
    assert timing is not None
    assert timing.index is not None


# -- the indexes are used -------------------------------------------------------------------------

E, C = "00000000-0000-4000-8000-0000000000e1", "00000000-0000-4000-8000-00000000000c"
FILL = f"""
    INSERT INTO workflow_executions (id, execution_id) VALUES ('{E}', 'x');
    INSERT INTO report_data_collections (id, name, workflow_id, instance_id, start_date, end_date, created_at)
    SELECT CASE n WHEN 0 THEN '{C}' ELSE md5('c' || n)::uuid END, 'c' || n, '{E}', 'i', '2024-01-01',
           '2024-12-29', now() - n * interval '1 second' FROM generate_series(0, %s) AS n;
    INSERT INTO report_data_weeks (collection_id, week_start_date, week_end_date, execution_id)
    SELECT c.id, date '2024-01-01' + 7 * n, date '2024-01-07' + 7 * n, CASE WHEN n %% 2 = 0 THEN uuid '{E}' END
    FROM report_data_collections AS c, generate_series(0, 51) AS n;
    ANALYZE report_data_weeks, workflow_executions, report_data_collections
"""
QUERIES = {
    "idx_report_data_weeks_execution_id": "execution_id = '00000000-0000-4000-8000-00000000dead'",
    "report_data_weeks_collection_id_week_start_date_key": f"collection_id = '{C}' AND week_start_date = '2024-01-01'",
}


def index_is_used(url: str, collections: int) -> None:
    box = repaired(url)
    box.execute(*(FILL % collections).split(";"))
    for index, where in QUERIES.items():
        plan = box.rows(f"EXPLAIN SELECT id FROM report_data_weeks WHERE {where}")
        assert index in str(plan)
    timing = verify(url).found.timing
    assert timing is not None
    assert (timing.index or "").startswith(("idx_report_data_weeks_col", "report_data_weeks_col"))


def test_the_indexes_are_used(pg_url: str) -> None:
    """With twenty thousand weeks."""
    index_is_used(pg_url, 400)


@pytest.mark.slow
def test_the_indexes_are_used_at_size(pg_url: str) -> None:
    """With a million."""
    index_is_used(pg_url, 20_000)
