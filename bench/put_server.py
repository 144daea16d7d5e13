"""The planner in a process of its own, with its writer or with a hand-written one.

python -m bench.put_server URL [--by-hand]
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import sqlalchemy as sa

from systems.shared.web.server import serve
from systems.workout_planner.app import make
from systems.workout_planner.store import Row, Store, Values, selection_of, utc_now


class ByHand(Store):
    """What one would write for the repaired schema, and for nothing else."""

    def save(self, workout_id: int, changes: Values) -> Row:
        """INSERT … ON CONFLICT … DO UPDATE of the named fields."""
        values: dict[str, Any] = {"workout_id": workout_id, **changes, "updated_at": utc_now()}
        with self._turn, self.engine.connect() as connection:
            connection = connection.execution_options(begin="IMMEDIATE")
            row = connection.execute(_statement(tuple(values)), values).one()
            connection.commit()
        return selection_of(row._mapping)


_COLUMNS = (
    "id, workout_id, is_selected, current_plan_day, time_of_day, workout_location, user_notes,"
    " updated_at, version"
)
_kept: dict[tuple[str, ...], sa.TextClause] = {}


def _statement(names: tuple[str, ...]) -> sa.TextClause:
    if names not in _kept:
        sets = ", ".join(f"{n} = excluded.{n}" for n in names if n != "workout_id")
        _kept[names] = sa.text(
            f"INSERT INTO workout_selections ({', '.join(names)}, version)"
            f" VALUES ({', '.join(f':{n}' for n in names)}, 1)"
            f" ON CONFLICT (workout_id) DO UPDATE SET {sets},"
            f" version = workout_selections.version + 1 RETURNING {_COLUMNS}"
        ).columns(updated_at=sa.DateTime(timezone=True), current_plan_day=sa.Date)
    return _kept[names]


if __name__ == "__main__":
    kind = ByHand if "--by-hand" in sys.argv else Store
    serve(partial(make, kind=kind), sys.argv[1], "127.0.0.1", 0, naive=False, signed=False)
