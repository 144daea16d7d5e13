"""Single verbs against what one would write by hand in SQLAlchemy Core.

    python bench/write_verbs.py

`upsert` against ON CONFLICT … DO UPDATE … RETURNING (which burns a sequence value per call and
does not tell what it did), `get_or_create` against a plain SELECT of the row. One transaction
holds a few hundred calls, so that the disk does not hide the difference.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from write_support import compare, engines, items, refill, row

from onerow.rules import Key
from onerow.write import get_or_create, upsert

KEY = Key(items, "tenant_id", "slug")
CALLS = 400
ROWS = 5_000


def by_hand(engine: sa.Engine) -> Any:
    """The statement that people write."""
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(items)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[items.c.tenant_id, items.c.slug], set_={"title": new.title, "n": new.n}
    ).returning(*items.c)


def numbers(share_new: float, round_: int) -> list[int]:
    """Which rows a round writes: existing ones spread over the table, new ones behind it."""
    step = round(1 / share_new) if share_new else 0
    known = [(i * 7919 + round_) % ROWS for i in range(CALLS)]
    return [ROWS + round_ * CALLS + i if step and i % step == 0 else n for i, n in enumerate(known)]


def run(engine: sa.Engine, name: str) -> None:
    statement = by_hand(engine)
    look = sa.select(items).where(
        items.c.tenant_id == sa.bindparam("t"), items.c.slug == sa.bindparam("s")
    )

    def ours(share: float, title: str) -> Any:
        def work(r: int) -> None:
            with engine.begin() as connection:
                for i in numbers(share, r):
                    upsert(connection, KEY, row(i, f"{title}{r}"))

        return work

    def theirs(share: float, title: str) -> Any:
        def work(r: int) -> None:
            with engine.begin() as connection:
                for i in numbers(share, r):
                    connection.execute(statement, row(i, f"{title}{r}")).one()

        return work

    def select(r: int) -> None:
        with engine.begin() as connection:
            for i in numbers(0, r):
                connection.execute(look, {"t": 1, "s": f"slug-{i}"}).one()

    def found(r: int) -> None:
        with engine.begin() as connection:
            for i in numbers(0, r):
                get_or_create(connection, KEY, {"tenant_id": 1, "slug": f"slug-{i}"})

    def fresh() -> None:
        refill(engine, ROWS)

    def case(what: str, a: Any, b: Any) -> None:
        compare(f"{name}: {what}", a, b, prepare=fresh, per=CALLS)

    case("upsert, existing rows that change", ours(0, "a"), theirs(0, "b"))
    case("upsert, 80 % existing and 20 % new", ours(0.2, "a"), theirs(0.2, "b"))
    case("upsert, all new", ours(1, "a"), theirs(1, "b"))
    case("upsert, existing rows as wanted already", unchanged(engine), theirs(0, "b"))
    case("get_or_create, existing row / plain SELECT", found, select)


def unchanged(engine: sa.Engine) -> Any:
    def work(r: int) -> None:
        with engine.begin() as connection:
            for i in numbers(0, r):
                upsert(connection, KEY, row(i))

    return work


if __name__ == "__main__":
    with engines() as made:
        for name, engine in made.items():
            run(engine, name)
