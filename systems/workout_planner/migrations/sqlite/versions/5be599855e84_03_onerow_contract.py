"""Take away what is replaced, now that its successor stands: main.workout_selections, main.workouts.

Revision 3 of 3 made by `onerow plan --alembic` of plan 5be599855e84. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 5be599855e84_03
Revises: 5be599855e84_02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "5be599855e84_03"
down_revision = "5be599855e84_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 7. Fill version of the rows of main.workout_selections that were written
    # meanwhile.
    # `onerow apply` does that.
    # 8. Prove that main.workouts(title, originally_planned_day) is enforced and that no
    # rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "title" AS k1, "originally_planned_day" AS k2, count(*) AS n FROM "main"."workouts" WHERE (NOT is_custom) GROUP BY "title", "originally_planned_day" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workouts_title_originally_planned_day of main.workouts. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 9. Prove that main.workout_selections(workout_id) is enforced and that no rows
    # break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "workout_id" AS k1, count(*) AS n FROM "main"."workout_selections" WHERE 1 = 1 GROUP BY "workout_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workout_selections_workout_id of main.workout_selections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 10. Make main.workout_selections again, with NULL forbidden in version: one
    # transaction that copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "workout_selections": "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
        },
        {
            "workout_selections": "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer NOT NULL, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "workout_selections" RENAME TO "onerow_old_workout_selections"',
            "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer NOT NULL, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
            'INSERT INTO "workout_selections" ("id", "workout_id", "is_selected", "current_plan_day", "time_of_day", "workout_location", "user_notes", "updated_at", "version") SELECT "id", "workout_id", "is_selected", "current_plan_day", "time_of_day", "workout_location", "user_notes", "updated_at", "version" FROM "onerow_old_workout_selections"',
            "DELETE FROM sqlite_sequence WHERE name = 'workout_selections'",
            "UPDATE sqlite_sequence SET name = 'workout_selections' WHERE name = 'onerow_old_workout_selections'",
            'DROP TABLE "onerow_old_workout_selections"',
            "CREATE INDEX ix_workout_selections_workout_id ON workout_selections (workout_id)",
            'CREATE UNIQUE INDEX "uq_workout_selections_workout_id" ON "workout_selections" ("workout_id")',
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def downgrade() -> None:
    _change(
        {
            "workout_selections": "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer NOT NULL, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
        },
        {
            "workout_selections": "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "workout_selections" RENAME TO "onerow_old_workout_selections"',
            "CREATE TABLE workout_selections (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tworkout_id INTEGER NOT NULL, \n\tis_selected BOOLEAN DEFAULT 1 NOT NULL, \n\tcurrent_plan_day DATE, \n\ttime_of_day TEXT, \n\tworkout_location TEXT, \n\tuser_notes TEXT, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"version\" integer, \n\tCONSTRAINT workout_selections_workout_id_fkey FOREIGN KEY(workout_id) REFERENCES workouts (id)\n)",
            'INSERT INTO "workout_selections" ("id", "workout_id", "is_selected", "current_plan_day", "time_of_day", "workout_location", "user_notes", "updated_at", "version") SELECT "id", "workout_id", "is_selected", "current_plan_day", "time_of_day", "workout_location", "user_notes", "updated_at", "version" FROM "onerow_old_workout_selections"',
            "DELETE FROM sqlite_sequence WHERE name = 'workout_selections'",
            "UPDATE sqlite_sequence SET name = 'workout_selections' WHERE name = 'onerow_old_workout_selections'",
            'DROP TABLE "onerow_old_workout_selections"',
            "CREATE INDEX ix_workout_selections_workout_id ON workout_selections (workout_id)",
            'CREATE UNIQUE INDEX "uq_workout_selections_workout_id" ON "workout_selections" ("workout_id")',
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def _sql(statement: str) -> sa.TextClause:
    """SQL as it stands: a colon is no parameter."""
    return sa.text(statement.replace(":", "\\:"))


def _ask(question: str) -> Any:
    """The first value of an answer, None where there is none."""
    if op.get_context().as_sql:
        raise CommandError(
            "This revision looks at the SQLite file before it changes it, which it cannot do"
            " with --sql. Run it without."
        )
    return op.get_bind().execute(_sql(question)).scalar()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _refuse(question: str, told: str) -> None:
    """Stop while there are rows that `onerow apply` mends without losing any."""
    count = _ask(question)
    if count:
        raise CommandError(told.replace("{n}", f"{count:,}"))


def _text(name: str) -> str | None:
    found = _ask(f"SELECT sql FROM sqlite_master WHERE name = {_literal(name)}")
    return str(found) if found is not None else None


def _change(
    before: Mapping[str, str | None], after: Mapping[str, str | None], statements: tuple[str, ...]
) -> None:
    """Run statements that give objects other texts, unless they have them.

    None is the text of what is not there.
    """
    now = {name: _text(name) for name in {**before, **after}}
    if all(now[name] == text for name, text in after.items()):
        return
    for name, text in before.items():
        if now[name] != text:
            raise CommandError(
                f"{name} is not what it was where the plan was made: it is {now[name]!r}."
            )
    _all_or_nothing(statements)


def _all_or_nothing(statements: tuple[str, ...]) -> None:
    with op.get_context().autocommit_block():
        keys = _ask("PRAGMA foreign_keys")
        op.execute("PRAGMA foreign_keys = OFF")
        op.execute("BEGIN IMMEDIATE")
        try:
            broken = _ask("SELECT count(*) FROM pragma_foreign_key_check")
            for statement in statements:
                op.execute(_sql(statement))
            if _ask("SELECT count(*) FROM pragma_foreign_key_check") > broken:
                raise CommandError("Rows would refer to what is not there; nothing was changed.")
            op.execute("COMMIT")
        except BaseException:
            op.execute("ROLLBACK")
            raise
        finally:
            op.execute("PRAGMA legacy_alter_table = OFF")
            op.execute(f"PRAGMA foreign_keys = {keys}")
