"""What onerow costs besides its SQL: time against psql with the same statements, and memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from bench.common import KEY_RULE, Copies, Line, Options, Subject, seconds, server, table
from bench.tool import work
from onerow import api
from onerow.database import APPLICATION_NAME
from onerow.rulefile import parse_rules
from onerow.testing import EmbeddedServer


class _Recorder:
    """Writes down, as a script of psql, what the run's own session sends to the server."""

    def __init__(self) -> None:
        self.scripts: dict[int, list[str]] = {}
        self._open: set[int] = set()

    def __enter__(self) -> _Recorder:
        for name, call in self._calls():
            event.listen(Engine, name, call)
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._calls():
            event.remove(Engine, name, call)

    def _calls(self) -> tuple[tuple[str, Any], ...]:
        return (
            ("before_cursor_execute", self._statement),
            ("commit", self._commit),
            ("rollback", self._rollback),
            ("savepoint", self._savepoint),
            ("release_savepoint", self._release),
        )

    def _statement(self, c: Any, cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        driver = c.connection.driver_connection
        script = self.scripts.setdefault(id(driver), [])
        if not driver.autocommit and id(driver) not in self._open:
            self._open.add(id(driver))
            script.append("BEGIN")
        client = psycopg.ClientCursor(driver)
        for each in parameters if isinstance(parameters, list) else [parameters]:
            script.append(client.mogrify(sql, each) if each else sql)

    def _end(self, c: Any, how: str) -> None:
        driver = c.connection.driver_connection
        if id(driver) in self._open:
            self._open.discard(id(driver))
            self.scripts[id(driver)].append(how)

    def _commit(self, c: Any) -> None:
        self._end(c, "COMMIT")

    def _rollback(self, c: Any) -> None:
        self._end(c, "ROLLBACK")

    def _savepoint(self, c: Any, name: str) -> None:
        self.scripts[id(c.connection.driver_connection)].append(f"SAVEPOINT {name}")

    def _release(self, c: Any, name: str, _context: Any) -> None:
        self.scripts[id(c.connection.driver_connection)].append(f"RELEASE SAVEPOINT {name}")

    @property
    def script(self) -> str:
        """Of the session that did the work, which is the one that said most."""
        most = max(self.scripts.values(), key=lambda s: sum(map(len, s)))
        return ";\n".join([*most, ""])


def overhead(options: Options) -> Iterator[Line]:
    """The time of a run, against its own statements sent by psql."""
    ours: list[float] = []
    psql: list[float] = []
    with server(options) as started, TemporaryDirectory() as folder:
        copies = Copies(started, *table(options))
        script = Path(folder) / "run.sql"
        with copies.fresh() as url, _Recorder() as recorder:
            _apply(url)
        script.write_text(recorder.script, encoding="utf-8")
        for _ in range(options.rounds):
            with copies.fresh() as url:
                psql.append(seconds(lambda: _psql(started, url, script)))
            with copies.fresh() as url:
                plan = api.make_plan(url, parse_rules(KEY_RULE))
                ours.append(seconds(lambda: _run(url, plan)))  # noqa: B023
    what = f"apply, {options}"
    yield Line(what=what, against="its SQL by psql", ours=ours, other=psql, target=1.05)


def _apply(url: str) -> None:
    _run(url, api.make_plan(url, parse_rules(KEY_RULE)))


def _run(url: str, plan: Any) -> None:
    outcome = api.apply(url, plan=plan)
    assert outcome.status == "done", outcome.message


def _psql(started: EmbeddedServer, url: str, script: Path) -> None:
    flags = ["-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-f", str(script)]
    quiet = {"PGAPPNAME": APPLICATION_NAME, "PGOPTIONS": "-c client_min_messages=warning"}
    subprocess.run([started.bin_dir / "psql", *flags, url], check=True, env=os.environ | quiet)


def memory(options: Options) -> Iterator[Line]:
    """The most memory that onerow itself takes, whatever the size of the table."""
    peak: list[float] = []
    with server(options) as started:
        copies = Copies(started, *table(options))
        for _ in range(options.rounds):
            with copies.fresh() as url:
                peak.append(work(url, KEY_RULE, "apply")["apply"].peak_mb)
    yield Line(
        what=f"peak memory of plan and apply, {options}",
        ours=peak,
        unit="MB",
        target=120,
        worst=True,
    )


SUBJECTS = (
    Subject(name="overhead", measure=overhead, options=Options(config="tuned", share=0.2)),
    Subject(
        name="memory", measure=memory, options=Options(rows=20_000_000, config="tuned", rounds=1)
    ),
)
