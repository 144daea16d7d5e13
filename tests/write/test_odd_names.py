"""Columns whose names are not words: the verbs call them by their names all the same."""

from __future__ import annotations

import sqlalchemy as sa

from onerow import Key
from onerow.write import get_or_create, upsert
from tests.write.support import with_driver

NAMES = ("the slug", "50%", "at:home", 'say "so"', "Ünï", "a(b)", "x" * 63)


def test_odd_names(db_url: str) -> None:
    """Each name can be a key's column, and another's value beside it."""
    driver = "sqlite" if db_url.startswith("sqlite") else "postgresql+psycopg"
    engine = sa.create_engine(with_driver(db_url, driver))
    metadata = sa.MetaData()
    for n, name in enumerate(NAMES):
        other = NAMES[n - 1]
        table = sa.Table(
            f"t{n}: {name}"[:63],
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column(name, sa.Text, unique=True),
            sa.Column(other, sa.Text),
        )
        metadata.create_all(engine)
        key = Key(table, name)
        with engine.begin() as connection:
            outcomes = [
                upsert(connection, key, {name: k, other: v}).outcome
                for k, v in (("a", "1"), ("b", "1"), ("b", "1"), ("b", "2"), ("c", "1"))
            ]
            found = [get_or_create(connection, key, {name: k}) for k in "aad"]
        assert outcomes == ["inserted", "inserted", "unchanged", "updated", "inserted"], name
        assert [w.outcome for w in found] == ["unchanged", "unchanged", "inserted"], name
        assert found[0].row._mapping[table.c[other]] == "1", name
    engine.dispose()
