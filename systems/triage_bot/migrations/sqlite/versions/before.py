"""The tables as they stood before."""

from alembic import op

from systems.triage_bot import schema

revision = "before"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them, unless they are there; and the triggers that keep `updated_at`."""
    schema.before().create_all(op.get_bind())
    for statement in schema.triggers()["sqlite"]:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Drop them."""
    schema.before().drop_all(op.get_bind())
