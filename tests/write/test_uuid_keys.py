"""Keys of columns whose parameters carry a cast on PostgreSQL."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from onerow import Key, get_or_create, transactional, upsert

SLOTS = sa.Table(
    "slots",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Uuid(as_uuid=False), nullable=False),
    sa.Column("note", sa.Text),
    sa.UniqueConstraint("owner"),
)
ONE = Key(SLOTS, "owner")


def test_a_key_of_a_uuid(db_url: str) -> None:
    """It is found, made and changed as any other."""
    own = {"owner": str(uuid.uuid4())}
    engine = sa.create_engine(db_url.replace("postgresql://", "postgresql+psycopg://"))
    SLOTS.metadata.create_all(engine)

    @transactional(engine)
    def outcomes(connection: sa.Connection) -> list[str]:
        written = [
            get_or_create(connection, ONE, own),
            get_or_create(connection, ONE, own),
            upsert(connection, ONE, {**own, "note": "a"}),
        ]
        return [w.outcome for w in written]

    assert outcomes() == ["inserted", "unchanged", "updated"]
    engine.dispose()
