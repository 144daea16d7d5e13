"""Replay a spool from outside the application: its handlers are found by name."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import sessionmaker

from onerow.write.errors import SpoolError, UnknownHandler
from onerow.write.operations import create_tables
from onerow.write.spool import Replayed, Spool, SpoolBase


def named(text: str) -> Any:
    """What ``MODULE:ATTRIBUTE`` names; modules of the present folder are found too.

    Raises:
        UnknownHandler: there is no such module or attribute, or the module cannot be imported.
    """
    module, colon, attribute = text.partition(":")
    if not (module and colon and attribute):
        raise UnknownHandler(f"{text!r} does not read MODULE:ATTRIBUTE, such as shop.spool:spool.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
    except Exception as exc:
        why = f"{type(exc).__name__}: {exc}".split("\n")[0]
        raise UnknownHandler(f"The module {module!r} cannot be imported: {why}") from exc
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise UnknownHandler(f"The module {module!r} has no {attribute!r}.") from None
    return found


def replay(
    path: str | os.PathLike[str], source: Any, engine: Engine, url: URL | None = None
) -> Replayed:
    """Replay the spool in a folder.

    Args:
        path: the folder.
        source: a Spool (its handlers, hooks and retry are taken, not its folder), or a mapping of
            names to handlers, all of them functions or all of them coroutine functions.
        engine: of the database.
        url: for coroutine functions an async engine is made over it; the engine's if absent.

    Returns:
        Replayed: `.applied`, `.failed`, `.left`.

    Raises:
        SpoolError: there is no such folder, or `source` is neither of these.
        SpoolBusy: another process is replaying.
    """
    if not Path(path).is_dir():
        raise SpoolError(f"There is no folder {os.fspath(path)!r}.")
    options: dict[str, Any] = {}
    if isinstance(source, SpoolBase):
        options = {"notify": source.hooks, "retry": source.retry}
        source = source.handlers
    if not isinstance(source, Mapping) or not all(map(callable, source.values())):
        raise SpoolError("The handlers are neither a Spool nor a mapping of names to functions.")
    create_tables(engine)
    if any(map(iscoroutinefunction, source.values())):
        return asyncio.run(_replay_async(path, source, options, url or engine.url))
    return Spool(path, source, **options).replay(sessionmaker(engine))


async def _replay_async(
    path: Any, handlers: Mapping[str, Callable[..., Any]], options: dict[str, Any], url: URL
) -> Replayed:
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    from onerow import aio

    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    over = create_async_engine(url)
    try:
        return await aio.Spool(path, handlers, **options).replay(async_sessionmaker(over))
    finally:
        await over.dispose()
