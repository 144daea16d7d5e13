"""Races: every interleaving of a write path's statements, on a real database.

    from onerow.race import explore

    result = explore(engine, [writer, writer], setup=setup, invariant=invariant)
    print(result)

`explore` finds the shortest interleaving that breaks the invariant, or says that there is none;
`replay` runs one again. Between statements that is exact; what happens inside one statement is
the work of `load`. Importing it is cheap: a name's module is loaded when the name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onerow.race.explorer import explore as explore
    from onerow.race.explorer import replay as replay
    from onerow.race.file import Race as Race
    from onerow.race.invariants import both as both
    from onerow.race.invariants import no_duplicates as no_duplicates
    from onerow.race.invariants import no_rows as no_rows
    from onerow.race.invariants import one_row as one_row
    from onerow.race.invariants import serializable as serializable
    from onerow.race.invariants import sum_is as sum_is
    from onerow.race.loading import LoadResult as LoadResult
    from onerow.race.loading import load as load
    from onerow.race.verdict import Failure as Failure
    from onerow.race.verdict import Result as Result

_HOMES = {
    "explorer": ("explore", "replay"),
    "file": ("Race",),
    "invariants": ("both", "no_duplicates", "no_rows", "one_row", "serializable", "sum_is"),
    "loading": ("LoadResult", "load"),
    "verdict": ("Failure", "Result"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(f"{__name__}.{_HOME[name]}")
        for each in _HOMES[_HOME[name]]:
            globals()[each] = getattr(module, each)
        return globals()[name]


def __dir__() -> list[str]:
    return __all__
