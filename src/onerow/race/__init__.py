"""Races: every interleaving of a write path's statements, on a real database.

    from onerow.race import explore

    result = explore(engine, [writer, writer], setup=setup, invariant=invariant)
    print(result)

`explore` finds the shortest interleaving that breaks the invariant, or says that there is none;
`replay` runs one again. Between statements that is exact; what happens inside one statement is
the work of `load`.
"""

from __future__ import annotations

from onerow.race.explorer import explore, replay
from onerow.race.verdict import Failure, Result

__all__ = ["Failure", "Result", "explore", "replay"]
