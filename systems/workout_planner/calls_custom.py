"""The calls for workouts of the athlete's own."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from systems.shared.web.errors import ErrorForm
from systems.workout_planner.calls_selections import known
from systems.workout_planner.models import (
    CustomWorkout,
    CustomWorkoutChange,
    Day,
    NewCustomWorkout,
)
from systems.workout_planner.store import Store


def routes(store: Store, form: ErrorForm) -> APIRouter:
    """List, create, read, change and delete."""
    router = APIRouter(prefix="/custom-workouts", tags=["custom workouts"])
    errors, with_404 = form.documented(), form.documented(404)

    @router.get("", response_model=list[CustomWorkout], responses=errors)
    def listed(start: Day | None = None, end: Day | None = None) -> list[dict[str, Any]]:
        """Those from `start` to `end`, both included, in the order of their days."""
        return store.custom_workouts(start, end)

    @router.post("", status_code=201, response_model=CustomWorkout, responses=errors)
    def create(new: NewCustomWorkout, response: Response) -> dict[str, Any]:
        """A new one."""
        row = store.add_custom(new.model_dump())
        response.headers["Location"] = f"/api/custom-workouts/{row['id']}"
        return row

    @router.get("/{custom_id}", response_model=CustomWorkout, responses=with_404)
    def one(custom_id: int) -> dict[str, Any]:
        """One of them."""
        return store.custom_workout(known(custom_id))

    @router.put("/{custom_id}", response_model=CustomWorkout, responses=with_404)
    def change(custom_id: int, changes: CustomWorkoutChange) -> dict[str, Any]:
        """Change the fields that are named."""
        return store.change_custom(known(custom_id), changes.columns())

    @router.delete("/{custom_id}", status_code=204, responses=with_404)
    def remove(custom_id: int) -> None:
        """Delete it."""
        store.remove_custom(known(custom_id))

    return router
