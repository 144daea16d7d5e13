"""Alembic's environment for PostgreSQL."""

from systems.shared.migrations import run

run("postgresql")
