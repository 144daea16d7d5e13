"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.nursery import Nursery
from tests.cli.shell import Shell, environment
from tests.support.sandbox import Sandbox

PAIRS, SINGLES = 5, 20


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where the processes of this session come from."""
    with closing(Nursery(environment())) as nursery:
        yield nursery


@pytest.fixture
def shell(tmp_path: Path, nursery: Nursery) -> Shell:
    """A shell in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Shell(folder, nursery)


def plant(box: Sandbox, *, pairs: int = PAIRS, singles: int = SINGLES) -> Sandbox:
    """A table with a key that `pairs` groups of two rows break, and a child of it."""
    pk = "integer primary key" if box.sqlite else "bigint generated always as identity primary key"
    box.execute(
        f"""
        CREATE TABLE selection (
            id {pk}, workout_id bigint NOT NULL, day text, slot text, updated_at timestamp NOT NULL
        );
        CREATE TABLE tag (id {pk}, selection_id bigint NOT NULL REFERENCES selection (id));
        CREATE INDEX tag_selection ON tag (selection_id);
        """
    )
    with_numbers = """
        WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < {})
        INSERT INTO selection (workout_id, day, slot, updated_at) SELECT i, {} FROM number;
    """
    box.execute(with_numbers.format(pairs + singles, "'mon', NULL, '2026-01-01 08:00:00'"))
    if pairs:
        box.execute(with_numbers.format(pairs, "NULL, 'am', '2026-01-02 08:00:00'"))
    box.execute("INSERT INTO tag (selection_id) SELECT id FROM selection;")
    return box


@pytest.fixture
def box(db_url: str) -> Sandbox:
    """A database whose key is broken, on either engine."""
    return plant(Sandbox(db_url))


@pytest.fixture
def pg_box(pg_url: str) -> Sandbox:
    """The same on PostgreSQL."""
    return plant(Sandbox(pg_url))


@pytest.fixture
def sqlite_box(sqlite_url: str) -> Sandbox:
    """The same on SQLite."""
    return plant(Sandbox(sqlite_url))
