"""What is told of another session's statement."""

from __future__ import annotations

import pytest

from onerow.waits import without_literals


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 1 FROM users WHERE id = $1", "SELECT … FROM users WHERE id = $1"),
        ("ALTER ROLE app PASSWORD 'it''s secret'", "ALTER ROLE app PASSWORD '…'"),
        ("UPDATE t SET a = 'cut in the mid", "UPDATE t SET a = '…'"),
        ("DO $x$ BEGIN PERFORM 'secret'; END $x$", "DO '…'"),
        ("DO $$ cut, 'secret", "DO '…'"),
        ("SELECT   1.5,\n  t2.a", "SELECT …, t2.a"),
        ("", ""),
    ],
)
def test_values_are_left_out(query: str, shown: str) -> None:
    """No value of another session is told, even where the text was cut inside of it."""
    assert without_literals(query) == shown


def test_it_is_short() -> None:
    """A long statement is told by its beginning."""
    assert len(without_literals("SELECT a" + ", b" * 100)) == 80
