"""The table of operations as Alembic operations. Import it in ``env.py`` or in the revision:

    import onerow.write.alembic

    def upgrade():
        op.create_onerow_operations()

    def downgrade():
        op.drop_onerow_operations()

Both work offline (``alembic upgrade --sql``), too. Needs Alembic.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from onerow.write.operations import operations as table

__all__ = ["CreateOnerowOperations", "DropOnerowOperations"]


@Operations.register_operation("create_onerow_operations")
class CreateOnerowOperations(MigrateOperation):
    """Make the table of operations."""

    @classmethod
    def create_onerow_operations(cls, operations: Operations) -> Any:
        """Make the table of operations."""
        return operations.invoke(cls())

    def reverse(self) -> DropOnerowOperations:
        return DropOnerowOperations()


@Operations.register_operation("drop_onerow_operations")
class DropOnerowOperations(MigrateOperation):
    """Drop the table of operations, and with it the memory of what was done once."""

    @classmethod
    def drop_onerow_operations(cls, operations: Operations) -> Any:
        """Drop the table of operations."""
        return operations.invoke(cls())

    def reverse(self) -> CreateOnerowOperations:
        return CreateOnerowOperations()


@Operations.implementation_for(CreateOnerowOperations)
def _create(operations: Operations, _: CreateOnerowOperations) -> None:
    operations.execute(sa.schema.CreateTable(table))


@Operations.implementation_for(DropOnerowOperations)
def _drop(operations: Operations, _: DropOnerowOperations) -> None:
    operations.execute(sa.schema.DropTable(table))
