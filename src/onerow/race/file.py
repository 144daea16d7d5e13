"""A file of races, for `onerow race`: what is in it, and how it is run."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from onerow.errors import InputError, UrlError, nearest
from onerow.race.explorer import explore, replay
from onerow.race.verdict import Result


@dataclass(frozen=True)
class Race:
    """Workers, and what must hold after them: what `onerow race FILE.py::NAME` runs.

    Args:
        workers: as for `explore`.
        setup, invariant: as for `explore`.
        engine: Engine or AsyncEngine, or a function that makes one; None: of `--url`.
        options: others of `explore`; those of the command line win.
    """

    workers: Sequence[Callable[[Any], Any]]
    setup: Callable[[Any], object] | None = None
    invariant: Callable[[Any], object] | None = None
    engine: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


def races_in(path: Path, name: str | None = None) -> dict[str, Race]:
    """The races that a Python file defines, or the one of that name.

    Raises:
        InputError: no such file, it fails when it is imported, or there is no such race in it.
    """
    module = _imported(path)
    found = {n: v for n, v in vars(module).items() if isinstance(v, Race)}
    if not found:
        raise InputError(
            f"There is no race in {str(path)!r}.", hint="Define one: name = Race(workers=[…], …)."
        )
    if name is None:
        return found
    if name not in found:
        raise InputError(f"There is no race {name!r} in {str(path)!r}.", hint=nearest(name, found))
    return {name: found[name]}


def _imported(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{str(path)!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise InputError(
            f"{str(path)!r} cannot be imported: {type(error).__name__}: {first}"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def run_race(race: Race, url: str | None, script: str | None, options: Mapping[str, Any]) -> Result:
    """Explore a race, or replay a script of it.

    Raises:
        UrlError: there is neither an engine nor a URL.
    """
    engine = _engine(race, url)
    common: dict[str, Any] = {"setup": race.setup, "invariant": race.invariant}
    if script is not None:
        return replay(engine, race.workers, script, **common)
    return explore(engine, race.workers, **common, **{**race.options, **options})


def _engine(race: Race, url: str | None) -> Any:
    if race.engine is not None and url is None:
        return race.engine() if inspect.isfunction(race.engine) else race.engine
    if url is None:
        raise UrlError("No database URL.", hint="Give --url URL, or the race an engine.")
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise UrlError("The database URL cannot be read.") from error
    waits = any(inspect.iscoroutinefunction(w) for w in race.workers)
    drivers = {
        "postgres": "postgresql+asyncpg" if waits else "postgresql+psycopg",
        "postgresql": "postgresql+asyncpg" if waits else "postgresql+psycopg",
        "sqlite": "sqlite+aiosqlite" if waits else "sqlite",
    }
    address = address.set(drivername=drivers.get(address.drivername, address.drivername))
    return create_async_engine(address) if waits else create_engine(address)
