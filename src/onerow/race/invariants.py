"""What must hold after every schedule: ready-made invariants for `explore`.

Each is a function of a connection that raises AssertionError, with the rows that break it; any
function of one's own does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy import text as sql_text

from onerow.catalog import snapshot_of
from onerow.dialects import dialect
from onerow.errors import InputError, RuleFileError
from onerow.keys import BoundKey, bind_key
from onerow.rulefile import parse_rules
from onerow.rules import Key

Check = Callable[[Connection], object]
SHOWN = 3


def one_row(key: Key) -> Check:
    """No two rows share this key, by the rules of the key: NULLs, case, filter.

    The question is the one that `onerow check` asks.
    """

    ask = _asking(key)

    def holds_one_row(connection: Connection) -> bool:
        ask(connection)
        return True

    return _named(holds_one_row, f"one_row({key.label})")


def no_duplicates(rule_file: str | Path) -> Check:
    """No key of a rule file is broken.

    Raises:
        RuleFileError: the file is not there or cannot be read.
        InputError: there is no key in it.
    """
    path = Path(rule_file)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RuleFileError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    keys = [r for r in parse_rules(text, str(path)).rules if isinstance(r, Key)]
    if not keys:
        raise InputError(f"There is no [[key]] in {str(rule_file)!r}.")

    asks = [_asking(key) for key in keys]

    def holds_no_duplicates(connection: Connection) -> bool:
        for ask in asks:
            ask(connection)
        return True

    return _named(holds_no_duplicates, f"no_duplicates({Path(rule_file).name})")


def _asking(key: Key) -> Callable[[Connection], None]:
    """The question of a key; the catalog is read for the first one only."""
    known: dict[URL, BoundKey] = {}

    def ask(connection: Connection) -> None:
        bound = known.get(connection.engine.url)
        if bound is None:
            bound = known[connection.engine.url] = bind_key(key, snapshot_of(connection))
        _assert_key(connection, bound)

    return ask


def _assert_key(connection: Connection, bound: BoundKey) -> None:
    sql = dialect(bound.dialect).duplicates(bound, SHOWN)
    rows = connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).mappings()
    groups = [
        f"({', '.join(repr(row[f'k{i}']) for i in range(1, len(bound.parts) + 1))})"
        f" {row['members']} times"
        for row in rows
    ]
    columns = ", ".join(p.label for p in bound.parts)
    assert not groups, f"{bound.table}({columns}) has {'; '.join(groups)}"


def no_rows(sql: str) -> Check:
    """A query returns nothing; what it returns is what is wrong."""

    def holds_no_rows(connection: Connection) -> bool:
        rows = connection.execute(sql_text(sql)).fetchmany(SHOWN)
        assert not rows, f"{sql} returned {', '.join(str(tuple(r)) for r in rows)}"
        return True

    return _named(holds_no_rows, "no_rows")


def sum_is(table: str, column: str, value: Any, where: str = "true") -> Check:
    """The sum of a column is this value."""
    from onerow.sql import quote

    sql = f"SELECT coalesce(sum({quote(column)}), 0) FROM {quote(table)} WHERE {where}"

    def holds_sum(connection: Connection) -> bool:
        found = connection.execute(sql_text(sql)).scalar_one()
        assert found == value, f"the sum of {table}.{column} is {found}, not {value}"
        return True

    return _named(holds_sum, f"sum_is({table}.{column})")


class serializable:
    """The end state is that of one of the serial orders of the workers.

    Args:
        project: what of the state counts: a query, or a function of a connection. Leave out what
            differs anyway, such as generated numbers and times.
    """

    def __init__(self, project: str | Callable[[Connection], Any]) -> None:
        self._project = project
        self._serial: list[Any] = []
        self.__name__ = "serializable"

    def learn(self, connection: Connection) -> None:
        """Called by the explorer after each serial order."""
        state = self._state(connection)
        if state not in self._serial:
            self._serial.append(state)

    def __call__(self, connection: Connection) -> bool:
        state = self._state(connection)
        orders = " or ".join(map(str, self._serial))
        assert state in self._serial, f"the end state {state} is of no serial order: {orders}"
        return True

    def _state(self, connection: Connection) -> Any:
        if callable(self._project):
            return self._project(connection)
        rows: Sequence[Any] = connection.execute(sql_text(self._project)).all()
        return sorted((tuple(r) for r in rows), key=repr)


def both(*checks: Check) -> Check:
    """All of several invariants."""

    def hold_all(connection: Connection) -> bool:
        for check in checks:
            assert check(connection), f"{getattr(check, '__name__', check)} does not hold"
        return True

    return _named(hold_all, " and ".join(getattr(c, "__name__", "?") for c in checks))


def _named(function: Check, name: str) -> Check:
    setattr(function, "__name__", name)  # noqa: B010
    return function
