"""Alembic's environment for SQLite."""

from systems.shared.migrations import run

run("sqlite")
