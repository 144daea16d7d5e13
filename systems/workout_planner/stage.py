"""How far the change of the database has come, and what a writer has to know of it.

The application serves on the schema before, while it is changed, and after: so the safe writer can
be released first. Until the change is complete every transaction looks once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from onerow import Key, conflict_of
from systems.workout_planner import schema

_BEFORE, _AFTER = schema.before(), schema.after()

WORKOUTS = _BEFORE.tables["workouts"]
CUSTOM_WORKOUTS = _BEFORE.tables["custom_workouts"]
UNCOUNTED = _BEFORE.tables["workout_selections"]
COUNTED = _AFTER.tables["workout_selections"]

#: One workout per title and day of an import.
IMPORTED = Key(
    WORKOUTS, "title", "originally_planned_day", where="NOT is_custom", transitional=True
)
ONE_UNCOUNTED = Key(UNCOUNTED, "workout_id", transitional=True)
ONE_COUNTED = Key(COUNTED, "workout_id", transitional=True)

_UNDEFINED_COLUMN = "42703"
_SQLITE_ERROR = 1  # sqlite.org/rescode.html: also a column that is not there

_LOOK = {
    "postgresql": """
        SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.oid
                       AND attname = 'version' AND NOT attisdropped),
               EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a
                       ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                       WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid
                       AND i.indnatts = 1 AND a.attname = 'workout_id')
        FROM (SELECT to_regclass('workout_selections') AS oid) AS t""",
    "sqlite": """
        SELECT EXISTS (SELECT 1 FROM pragma_table_info('workout_selections')
                       WHERE name = 'version'),
               EXISTS (SELECT 1 FROM pragma_index_list('workout_selections') AS l
                       WHERE l."unique" AND NOT l.partial
                       AND (SELECT group_concat(name) FROM pragma_index_info(l.name))
                           = 'workout_id')""",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What is there by now.

    Attributes:
        counted: the column `version`.
        keyed: the unique key below the selections.
    """

    counted: bool
    keyed: bool

    @property
    def complete(self) -> bool:
        return self.counted and self.keyed

    @property
    def table(self) -> sa.Table:
        return COUNTED if self.counted else UNCOUNTED

    @property
    def key(self) -> Key:
        return ONE_COUNTED if self.counted else ONE_UNCOUNTED


BEFORE = Stage(counted=False, keyed=False)


def look(connection: sa.Connection) -> Stage:
    """Ask the catalog."""
    counted, keyed = connection.exec_driver_sql(_LOOK[connection.dialect.name]).one()
    return Stage(bool(counted), bool(keyed))


def has_moved(error: sa.exc.DBAPIError) -> bool:
    """Whether the schema was changed between the look and the write."""
    cause: Any = error.orig
    if getattr(cause, "sqlstate", None) == _UNDEFINED_COLUMN:
        return True
    if getattr(cause, "sqlite_errorcode", None) == _SQLITE_ERROR:
        return True
    conflict = conflict_of(error)
    return conflict is not None and conflict.kind in ("not_null", "check")
