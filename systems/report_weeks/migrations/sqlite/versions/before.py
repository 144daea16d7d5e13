"""The tables as they stood before."""

from alembic import op

from systems.report_weeks import schema

revision = "before"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them, unless they are there."""
    schema.before().create_all(op.get_bind())


def downgrade() -> None:
    """Drop them."""
    schema.before().drop_all(op.get_bind())
