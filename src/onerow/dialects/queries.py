"""The named SQL files: `dialects/ENGINE/queries/NAME.sql`, one question to the catalog each.

`NAME@14.sql` takes the place of `NAME.sql` up to and including version 14.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def _limit(file: str) -> tuple[int, ...]:
    return tuple(int(n) for n in file.removesuffix(".sql").partition("@")[2].split("."))


@cache
def _files(dialect: str) -> tuple[str, ...]:
    folder = files("onerow.dialects") / dialect / "queries"
    return tuple(sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql")))


@cache
def load(dialect: str, name: str, version: tuple[int, ...] = ()) -> str:
    """The text of a query, in the variant that this version of the engine needs.

    Args:
        dialect: 'postgresql' or 'sqlite'.
        name: of the file, without `.sql`.
        version: of the server; without it the text for the newest.
    """
    variants = sorted(_limit(f) for f in _files(dialect) if f.startswith(f"{name}@"))
    fitting = [v for v in variants if version and version[: len(v)] <= v]
    file = f"{name}@{'.'.join(map(str, fitting[0]))}.sql" if fitting else f"{name}.sql"
    return (files("onerow.dialects") / dialect / "queries" / file).read_text("utf-8")
