"""A plan written for another tool to run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onerow.api.inputs import Address, open_database
from onerow.emit import alembic
from onerow.emit.directory import Written, open_environment, place_of, write
from onerow.emit.portable import portable
from onerow.errors import Refused
from onerow.files import write_file
from onerow.plan import Plan
from onerow.trial import shadows


def write_alembic(
    url: Address | None,
    plan: Plan,
    folder: str | Path,
    *,
    with_onerow: bool = False,
    head: str | None = None,
) -> Written:
    """Write a plan as revisions of Alembic. Those that are there already stay as they are.

    Args:
        url: the database that the plan was made for; only its definitions are read.
        folder: of the Alembic environment: with env.py or alembic.ini in it, or its versions/.
        with_onerow: one revision that calls onerow, for rows too, in place of static ones.
        head: the revision to go on from, where there are several heads.

    Raises:
        InputError: no Alembic environment, several heads, Alembic not installed.
        PlanFileError: a step that a static revision cannot hold.
        Refused: the plan has blockers.
    """
    if plan.blockers:
        raise Refused("The plan has blockers, so no revision was written.")
    script = open_environment(Path(folder))
    if not plan.steps:
        return Written()
    if with_onerow:
        rules = tuple(_moved(plan, place_of(script)))
        return write(script, [alembic.calling(plan, rules)], head, write_file)
    plan = portable(plan)
    tried = shadows(open_database(url), plan) if plan.dialect == "sqlite" else {}
    return write(script, alembic.revisions(plan, tried), head, write_file)


def _moved(plan: Plan, place: Path) -> Iterator[dict[str, Any]]:
    """The plan's rules, their file names as seen from another folder."""
    for rule in plan.rules:
        moved = dict(rule)
        filled = moved.get("backfill")
        if isinstance(filled, Mapping) and "csv" in filled:
            moved["backfill"] = {**filled, "csv": _from(place, plan.base, filled["csv"])}
        keep = str(moved.get("keep", ""))
        if keep.startswith("manual "):
            moved["keep"] = f"manual {_from(place, plan.base, keep.removeprefix('manual '))}"
        yield moved


def _from(place: Path, base: str, name: str) -> str:
    return os.path.relpath(Path(base, name).resolve(), place.resolve())
