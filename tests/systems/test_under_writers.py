"""Each rule file takes its before-state to verified while the application writes, and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from onerow.testing import Server
from tests.support.sandbox import Sandbox
from tests.systems.support import NAMES
from tests.systems.under_writers import compare, on_postgresql, on_sqlite

each = pytest.mark.parametrize("name", NAMES)
ROWS = 8_000


@pytest.mark.slow
@pytest.mark.timeout(300)
@each
def test_there_and_back_on_postgresql(pg_server: Server, name: str, tmp_path: Path) -> None:
    """Rows that no writer touched are as they were, and what writers made is there."""
    on_postgresql(pg_server, name, ROWS, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
@each
def test_there_and_back_on_sqlite(name: str, tmp_path: Path) -> None:
    """The same in a file."""
    on_sqlite(name, ROWS, tmp_path)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE t SET v = 'x' WHERE id = 2", r"1 row\(s\) changed, \['2'\]"),
        ("DELETE FROM t WHERE id = 1", r"1 row\(s\) changed, \['1'\]"),
        ("DELETE FROM t WHERE id = 3", r"1 row\(s\) of writers lost, \['3'\]"),
        ("CREATE INDEX i ON t (v)", "schema"),
    ],
)
def test_the_comparison_sees_what_is_wrong(tmp_path: Path, statement: str, said: str) -> None:
    """A row changed, lost, or a schema that is another."""
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    first.touch()
    pristine, box = (Sandbox(f"sqlite:///{p}") for p in (first, second))
    pristine.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')"
    )
    shutil.copyfile(first, second)
    box.execute("INSERT INTO t VALUES (3, 'c')")
    compare(pristine, box, {("t", 3)})
    box.execute(statement)
    with pytest.raises(AssertionError, match=said):
        compare(pristine, box, {("t", 3)})
