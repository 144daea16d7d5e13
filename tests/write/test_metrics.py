"""What is counted, and what importing costs."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session

from onerow import write
from onerow.write import Retry, conflict_of, get_or_create, observe, transactional, upsert
from onerow.write.metrics import OpenTelemetry, Prometheus
from onerow.write.retry import no_sleep
from tests.write.support import EMAIL, USER, engine_of, sessions

A = {"tenant_id": 1, "slug": "a"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    yield
    observe()


def some_writes(engine: sa.Engine) -> None:
    """Two inserts, an update, an unchanged one, a conflict and a retry."""
    with Session(engine) as session:
        for title in ("x", "y", "y"):
            upsert(session, USER, {**A, "title": title})
        get_or_create(session, USER, A)
        upsert(session, EMAIL, {"email": "a", "handle": "h"})
        with pytest.raises(sa.exc.IntegrityError):
            upsert(session, EMAIL, {"email": "b", "handle": "h"})

    calls = []

    @transactional(sessions(engine), retry=Retry(attempts=2))
    def flaky(session: Session) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise write.Contended

    with no_sleep():
        flaky()


def test_prometheus(engine: sa.Engine) -> None:
    """Writes by outcome, conflicts by constraint, retries by cause, attempts and latency."""
    registry = CollectorRegistry()
    observe(Prometheus(registry))
    some_writes(engine)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"onerow_{name}", labels)

    outcomes = ("inserted", "updated", "unchanged")
    assert [value("writes_total", verb="upsert", table="users", outcome=o) for o in outcomes] == [
        1,
        1,
        1,
    ]
    assert value("writes_total", verb="get_or_create", table="users", outcome="unchanged") == 1
    assert value("retries_total", function="flaky", kind="serialization") == 1
    assert value("transactions_total", function="flaky", result="done") == 1
    assert value("attempts_sum", function="flaky") == 2
    assert value("write_seconds_count", verb="upsert") == 4
    kinds = [
        s.value
        for m in registry.collect()
        for s in m.samples
        if s.name == "onerow_conflicts_total" and s.labels["kind"] == "unique"
    ]
    assert kinds == [1]


def test_opentelemetry(engine: sa.Engine) -> None:
    """The same facts reach an OpenTelemetry meter."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    observe(OpenTelemetry(provider.get_meter("test")))
    some_writes(engine)
    data: Any = reader.get_metrics_data()
    names = {
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    provider.shutdown()
    assert {"onerow.writes", "onerow.conflicts", "onerow.retries", "onerow.attempts"} <= names


def test_log_records(engine: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Conflicts and retries are logged with their facts as fields, and without values."""
    caplog.set_level(logging.INFO, "onerow.write")
    some_writes(engine)
    facts = [r.onerow for r in caplog.records if r.name == "onerow.write"]  # type: ignore[attr-defined]
    assert [f.get("kind") for f in facts] == ["unique", "serialization"]
    assert set(facts[0]) == {"kind", "constraint", "table"}


def test_races(pg_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Coming second is counted and logged, at a verb's first call and when its round is kept."""
    caplog.set_level(logging.INFO, "onerow.write")
    registry = CollectorRegistry()
    observe(Prometheus(registry))
    with engine_of(pg_url) as engine, engine_of(pg_url) as other:
        for slug in ("a", "b"):
            with _overtaken(engine, other, slug), Session(engine) as session:
                upsert(session, USER, {"tenant_id": 1, "slug": slug, "title": "mine"})
                session.commit()
        with _overtaken(engine, other, "c"), Session(engine) as session:
            get_or_create(session, USER, {"tenant_id": 1, "slug": "c"})
    for verb, times in (("upsert", 2), ("get_or_create", 1)):
        labels = {"verb": verb, "table": "users"}
        assert registry.get_sample_value("onerow_races_total", labels) == times
    facts = [r.onerow for r in caplog.records if r.getMessage() == "race"]  # type: ignore[attr-defined]
    assert [f["verb"] for f in facts] == ["upsert", "upsert", "get_or_create"]


@contextmanager
def _overtaken(engine: sa.Engine, other: sa.Engine, slug: str) -> Iterator[None]:
    """Somebody else's row is there a moment before ours."""

    def first(connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if sql.startswith("INSERT") and not done:
            done.append(sql)
            with Session(other) as session:
                upsert(session, USER, {"tenant_id": 1, "slug": slug, "title": "theirs"})
                session.commit()

    done: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", first)
    yield
    sa.event.remove(engine, "before_cursor_execute", first)


def test_import_is_lazy() -> None:
    """Importing the package loads no driver, no framework and not even SQLAlchemy."""
    code = (
        "import sys, onerow.write; bad = {'sqlalchemy', 'psycopg', 'starlette', 'flask',"
        " 'pydantic', 'asyncio', 'prometheus_client'} & set(sys.modules); assert not bad, bad;"
        "from onerow.write import upsert, transactional, Spool;"
        "bad = {'psycopg', 'starlette', 'flask', 'pydantic'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exports() -> None:
    """Every public name is there and has a docstring."""
    for name in write.__all__:
        assert getattr(write, name).__doc__, name
    with pytest.raises(AttributeError):
        write.nothing  # noqa: B018
    assert conflict_of(ValueError()) is None
