"""Report weeks: claims by ten processes at once, and the report on the lineage."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.common import Line, Options, Subject, execute, seconds, server, timed, value
from systems.report_weeks import states
from systems.report_weeks.verify import verify
from systems.shared.fixtures import build

PROCESSES = 10
WEEKS = 520  #: of a collection
#: One of five says its execution, as a year after the change.
FILL = (
    """INSERT INTO workflow_executions (id, execution_id, status)
       SELECT md5('e' || n)::uuid, 'e' || n, 'completed'
       FROM generate_series(0, {linked} - 1) AS n""",
    """INSERT INTO report_data_collections
           (id, name, workflow_id, instance_id, start_date, end_date)
       SELECT md5('c' || n)::uuid, 'c' || n, md5('w')::uuid, 'i', '2014-01-06', '2023-12-24'
       FROM generate_series(0, {collections}) AS n""",
    """INSERT INTO report_data_weeks (collection_id, week_start_date, week_end_date, status,
           execution_id, data, created_at, updated_at)
       SELECT md5('c' || n / {weeks})::uuid, date '2014-01-06' + 7 * (n % {weeks}),
              date '2014-01-12' + 7 * (n % {weeks}), '{status}',
              CASE WHEN {linked} > 0 AND n % 5 = 0 THEN md5('e' || n / 5)::uuid END,
              jsonb_build_object('rows', n % 90000, 'week', n % {weeks}),
              now() - n % 400 * interval '1 day', timestamptz '2025-01-01'
       FROM generate_series(0, {rows} - 1) AS n""",
)
SCAN = (
    "SET LOCAL enable_indexonlyscan = off",
    "SET LOCAL enable_bitmapscan = off",
    "SELECT count(execution_id) FROM report_data_weeks",
)


def claims(options: Options) -> Iterator[Line]:
    """Claims of ten processes, each with its execution written; none of a week twice."""
    each: list[float] = []
    with server(options) as started:
        for turn in range(options.rounds):
            url = started.create_database(f"weeks{turn}")
            _fill(url, options.rows, status="pending", linked=0)
            each.append(1e6 * _claimed(url) / options.rows)
            _assert_once(url, options.rows)
            started.drop_database(f"weeks{turn}")
    what = f"a claim, {PROCESSES} processes, {options.rows:,} weeks"
    yield Line(what=what, ours=each, unit="µs", target=500)


def _claimed(url: str) -> float:
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.claimer", url, str(n)], stdin=pipe, stdout=pipe, text=True
        )
        for n in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        if process.returncode:
            raise SystemExit("A process that claims has failed: see above.")
    return time.perf_counter() - began


def _assert_once(url: str, rows: int) -> None:
    once = "SELECT count(*) FROM report_data_weeks WHERE claim_token = 1 AND claimed_by IS NOT NULL"
    told = "SELECT count(*) FROM workflow_executions"
    found = (value(url, once), value(url, told))
    if found != (rows, rows):
        raise SystemExit(f"Of {rows} weeks {found[0]} were claimed once, by {found[1]} executions.")


def report(options: Options) -> Iterator[Line]:
    """`verify` over all weeks, against one sequential scan of the table."""
    ours: list[float] = []
    scans: list[float] = []
    with server(options) as started:
        url = started.create_database("weeks")
        _fill(url, options.rows, status="completed", linked=options.rows // 5)
        for _ in range(options.rounds):
            scans.append(timed(url, *SCAN)[0])
            ours.append(seconds(lambda: verify(url)))
    what = f"verify, {options.rows:,} weeks, {options.config}"
    yield Line(what=what, against="a scan", ours=ours, other=scans, target=2.5)


def _fill(url: str, rows: int, *, status: str, linked: int) -> None:
    build(url, states.after())
    given = {"rows": rows, "weeks": WEEKS, "status": status, "linked": linked}
    collections = -(-rows // WEEKS)
    execute(url, *(s.format(**given, collections=collections) for s in FILL))
    execute(url, "VACUUM (ANALYZE)", "CHECKPOINT")


SUBJECTS = (
    Subject(name="weeks_claims", measure=claims, options=Options(rows=52_000)),
    Subject(name="weeks_verify", measure=report, options=Options(rows=5_000_000, config="tuned")),
)
