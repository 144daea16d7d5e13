"""`bulk_upsert` against executemany, against bare COPY, and against the ORM row by row.

    python bench/write_bulk.py [ROWS]

The batch is half rows that exist and change, half new ones; executemany is a hand-written
ON CONFLICT … DO UPDATE. Bare COPY loads the same number of new rows into the same table, indexes
included, so it is the floor. The ORM reads, modifies and commits each row, on a tenth of them.
"""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Session
from write_support import compare, engines, items, metadata, refill, row

from onerow.rules import Key
from onerow.write import bulk_upsert

KEY = Key(items, "tenant_id", "slug")


class Base(DeclarativeBase):
    metadata = metadata


class Item(Base):
    __table__ = items


def run(engine: sa.Engine, name: str, size: int) -> None:
    statement = _quiet(engine)
    half = size // 2

    def batch(title: str) -> list[dict[str, object]]:
        return [row(i, title) for i in range(half, half + size)]

    def ours(r: int) -> None:
        with engine.begin() as connection:
            bulk_upsert(connection, KEY, batch(f"a{r}"))

    def executemany(r: int) -> None:
        with engine.begin() as connection:
            connection.execute(statement, batch(f"b{r}"))

    def fresh(r: int) -> None:
        with engine.begin() as connection:
            bulk_upsert(connection, KEY, [row(i, "c") for i in range(size, 2 * size)])

    def copy(r: int) -> None:
        with engine.begin() as connection:
            cursor: Any = connection.connection.cursor()
            with cursor.copy("COPY items (tenant_id, slug, title, n) FROM STDIN") as out:
                for one in [row(i, "c") for i in range(size, 2 * size)]:
                    out.write_row(tuple(one.values()))
            cursor.close()

    def orm(r: int) -> None:
        for one in batch(f"c{r}")[:: max(1, size // 200)]:
            with Session(engine) as session:
                where = (Item.tenant_id == one["tenant_id"], Item.slug == one["slug"])
                found = session.scalars(sa.select(Item).where(*where)).one_or_none()
                if found is None:
                    session.add(Item(**one))
                else:
                    found.title, found.n = one["title"], one["n"]
                session.commit()

    def prepare() -> None:
        refill(engine, size)

    options: dict[str, Any] = {"prepare": prepare, "per": size, "rounds": 5, "invert": True}
    compare(f"{name}: bulk_upsert / executemany, half new", ours, executemany, **options)
    if name == "postgresql":
        compare(f"{name}: bulk_upsert / bare COPY, all new", fresh, copy, **options)
    tenth = len(range(0, size, max(1, size // 200)))
    shown = compare(f"{name}: (ORM on {tenth} of the rows)", ours, orm, **{**options, "rounds": 3})
    print(f"{name + ': bulk_upsert / ORM row by row':58s} {shown * size / tenth:6.0f} × as fast")


def _quiet(engine: sa.Engine) -> Any:
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(items)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[items.c.tenant_id, items.c.slug], set_={"title": new.title, "n": new.n}
    )


if __name__ == "__main__":
    with engines() as made:
        for name, engine in made.items():
            run(engine, name, int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
