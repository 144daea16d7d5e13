"""Build keys and look at old rows while writers write: main.workout_selections, main.workouts.

Revision 2 of 3 made by `onerow plan --alembic` of plan 5be599855e84. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 5be599855e84_02
Revises: 5be599855e84_01
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "5be599855e84_02"
down_revision = "5be599855e84_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 2. Fill version of main.workout_selections with 1, batch by batch.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT count(*) FROM "main"."workout_selections" WHERE "version" IS NULL',
        "{n} row(s) of main.workout_selections have nothing in version. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 3. Merge 56 groups of duplicates in main.workouts(title, originally_planned_day):
    # keep the row with the latest created_at, fill what is NULL in it from the next
    # best row that has it; re-point main.workout_selections(workout_id); where children
    # in main.workout_selections collide then: keep the best filled, fill what is NULL
    # in it from the others (none now); archive and delete 56 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "title" AS k1, "originally_planned_day" AS k2, count(*) AS n FROM "main"."workouts" WHERE (NOT is_custom) GROUP BY "title", "originally_planned_day" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workouts_title_originally_planned_day of main.workouts. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 4. Build the unique index uq_workouts_title_originally_planned_day on
    # main.workouts(title, originally_planned_day), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"uq_workouts_title_originally_planned_day": None},
        {
            "uq_workouts_title_originally_planned_day": 'CREATE UNIQUE INDEX "uq_workouts_title_originally_planned_day" ON "workouts" ("title", "originally_planned_day") WHERE (NOT is_custom)',
        },
        (
            'CREATE UNIQUE INDEX "uq_workouts_title_originally_planned_day" ON "workouts" ("title", "originally_planned_day") WHERE (NOT is_custom)',
        ),
    )
    # 5. Merge 256 groups of duplicates in main.workout_selections(workout_id): keep the
    # row with the latest updated_at, fill what is NULL in it from the next best row
    # that has it; archive and delete 307 surplus rows.
    # Lock: the write lock for each batch.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "workout_id" AS k1, count(*) AS n FROM "main"."workout_selections" WHERE 1 = 1 GROUP BY "workout_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1 LIMIT 1) AS d',
        "{n} group(s) of duplicates in uq_workout_selections_workout_id of main.workout_selections. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 6. Build the unique index uq_workout_selections_workout_id on
    # main.workout_selections(workout_id), in one transaction.
    # Lock: the write lock for the build.
    _change(
        {"uq_workout_selections_workout_id": None},
        {
            "uq_workout_selections_workout_id": 'CREATE UNIQUE INDEX "uq_workout_selections_workout_id" ON "workout_selections" ("workout_id")',
        },
        (
            'CREATE UNIQUE INDEX "uq_workout_selections_workout_id" ON "workout_selections" ("workout_id")',
        ),
    )


def downgrade() -> None:
    _change(
        {
            "uq_workout_selections_workout_id": 'CREATE UNIQUE INDEX "uq_workout_selections_workout_id" ON "workout_selections" ("workout_id")',
        },
        {"uq_workout_selections_workout_id": None},
        ('DROP INDEX "main"."uq_workout_selections_workout_id"',),
    )
    _change(
        {
            "uq_workouts_title_originally_planned_day": 'CREATE UNIQUE INDEX "uq_workouts_title_originally_planned_day" ON "workouts" ("title", "originally_planned_day") WHERE (NOT is_custom)',
        },
        {"uq_workouts_title_originally_planned_day": None},
        ('DROP INDEX "main"."uq_workouts_title_originally_planned_day"',),
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
