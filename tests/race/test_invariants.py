"""Ready-made invariants: what they let pass, and how they tell what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from onerow import Key
from onerow.errors import InputError, RuleFileError
from onerow.race import both, explore, no_duplicates, no_rows, one_row, serializable, sum_is

metadata = sa.MetaData()
guests = sa.Table(
    "guests",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.Text),
    sa.Column("paid", sa.Integer, server_default="0"),
)
RULES = """
[[key]]
table = "guests"
columns = ["email"]
ignore_case = ["email"]
"""


@pytest.fixture(params=["pg", "lite"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    engine: Engine = request.getfixturevalue(request.param)
    metadata.create_all(engine)
    with engine.connect() as opened:
        opened.execute(guests.delete())
        yield opened
        opened.rollback()


def put(connection: Connection, *emails: str | None) -> None:
    for email in emails:
        connection.execute(guests.insert().values(email=email, paid=5))


def test_one_row(connection: Connection) -> None:
    """NULLs and other values are left alone; a value twice is named, by the key's own rules."""
    put(connection, "a", "A", "b", None, None)
    assert one_row(Key("guests", "email"))(connection)
    folded = one_row(Key("guests", "email", ignore_case=("email",)))
    with pytest.raises(AssertionError, match=r"guests\(email\) has \('a'\) 2 times"):
        folded(connection)
    with pytest.raises(AssertionError, match="None"):
        one_row(Key("guests", "email", nulls="equal"))(connection)


def test_no_duplicates(connection: Connection, tmp_path: Path) -> None:
    """Every key of a rule file is looked at; a file without any is refused."""
    file = tmp_path / "onerow.toml"
    file.write_text(RULES)
    put(connection, "a", "b")
    assert no_duplicates(file)(connection)
    put(connection, "B")
    with pytest.raises(AssertionError, match="'b'"):
        no_duplicates(file)(connection)
    file.write_text("")
    with pytest.raises(InputError, match="no \\[\\[key\\]\\]"):
        no_duplicates(file)
    with pytest.raises(RuleFileError, match="cannot be read"):
        no_duplicates(tmp_path / "none.toml")


def test_queries_and_sums(connection: Connection) -> None:
    """A query that must return nothing, and a sum, say what they found instead."""
    put(connection, "a", "b")
    assert both(sum_is("guests", "paid", 10), no_rows("SELECT 1 FROM guests WHERE paid < 5"))(
        connection
    )
    with pytest.raises(AssertionError, match="is 10, not 11"):
        sum_is("guests", "paid", 11)(connection)
    with pytest.raises(AssertionError, match=r"returned \('a',\)"):
        no_rows("SELECT email FROM guests WHERE email = 'a'")(connection)


def test_serializable(pg: Engine) -> None:
    """An end state that no serial order has is told with the ones that they have."""
    metadata.create_all(pg)

    def setup(connection: Connection) -> None:
        connection.execute(guests.delete())
        connection.execute(guests.insert().values(email="a", paid=1))

    def times_ten(factory: Any) -> None:
        with factory() as session:
            paid = session.execute(sa.select(guests.c.paid)).scalar_one()
            session.execute(guests.update().values(paid=paid * 10))
            session.commit()

    def plus_one(factory: Any) -> None:
        with factory() as session:
            paid = session.execute(sa.select(guests.c.paid)).scalar_one()
            session.execute(guests.update().values(paid=paid + 1))
            session.commit()

    state = serializable("SELECT paid FROM guests")
    result = explore(pg, [times_ten, plus_one], setup=setup, invariant=state)
    assert result.verdict == "broken"
    assert "of no serial order: [(11,)] or [(20,)]" in result.reason
    alone = explore(pg, [times_ten, plus_one], setup=setup, invariant=state, preemptions=0)
    assert alone.verdict == "holds"
