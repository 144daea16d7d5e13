"""SQLite 3.35 and newer."""

from onerow.dialects.sqlite.dialect import SQLite

__all__ = ["SQLite"]
