"""PostgreSQL 14 to 18."""

from onerow.dialects.postgresql.dialect import PostgreSQL

__all__ = ["PostgreSQL"]
