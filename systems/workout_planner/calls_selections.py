"""The calls that put workouts on the calendar."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from systems.shared.web.errors import ErrorForm
from systems.shared.web.fields import MOST
from systems.workout_planner.models import Selection, SelectionChange
from systems.workout_planner.store import Store, UnknownWorkout


def known(number: int) -> int:
    """An id that can be one.

    Raises:
        UnknownWorkout: no row can have it.
    """
    if not 1 <= number <= MOST:
        raise UnknownWorkout
    return number


def routes(store: Store, form: ErrorForm) -> APIRouter:
    """PUT and DELETE of a workout's selection."""
    router = APIRouter(tags=["selections"])
    errors = form.documented(404)

    @router.put("/selections/{workout_id}", response_model=Selection, responses=errors)
    def save(workout_id: int, changes: SelectionChange) -> dict[str, Any]:
        """Change the fields that are named; make the selection when there is none.

        Taking a workout off the calendar (`isSelected` false) clears its time of day.
        """
        return store.save(known(workout_id), changes.columns())

    @router.delete("/selections/{workout_id}", status_code=204, responses=errors)
    def reset(workout_id: int) -> None:
        """Forget everything that was said of a workout. Twice is fine."""
        store.reset(known(workout_id))

    return router
