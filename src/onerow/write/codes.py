"""What a driver's exception says: its code, and what the server told besides. Never by class.

psycopg and psycopg2 keep the facts on `exc.orig`, SQLAlchemy's asyncpg adapter on the cause of
it, sqlite3 and aiosqlite have an extended code and a text, which alone names the columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from onerow.codes import chain

_LITE_COLUMNS = re.compile(r"^(?:UNIQUE|NOT NULL) constraint failed: (.*)$", re.S)
_LITE_INDEX = re.compile(r"^UNIQUE constraint failed: index '(.*)'$", re.S)
_LITE_CHECK = re.compile(r"^CHECK constraint failed: (.*)$", re.S)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server said.

    Attributes:
        code: a SQLSTATE, or ``sqlite:`` and the extended result code; '' when there is none.
        lost: the connection is gone.
        at_commit: the error came from no statement of ours, so from COMMIT.
        from_text: `constraint` or `columns` were read out of a message (SQLite only).
    """

    code: str
    driver: str
    constraint: str | None = None
    schema: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()
    detail: str | None = None
    message: str = ""
    statement: str | None = None
    params: Any = None
    lost: bool = False
    at_commit: bool = False
    from_text: bool = False

    @property
    def sqlite_code(self) -> int | None:
        return int(self.code[7:]) if self.code.startswith("sqlite:") else None


def facts_of(exc: BaseException) -> Facts | None:
    """The facts of a database error; None for anything that no driver raised.

    Args:
        exc: of SQLAlchemy, or of a driver itself.
    """
    links = list(chain(exc))
    code, carrier = _code(links)
    wrapper = next((e for e in links if hasattr(e, "connection_invalidated")), None)
    if carrier is None and wrapper is None:
        return None
    lost = bool(getattr(wrapper, "connection_invalidated", False))
    statement = getattr(wrapper, "statement", None)
    common: dict[str, Any] = {
        "statement": statement,
        "params": getattr(wrapper, "params", None),
        "lost": lost,
        "at_commit": wrapper is not None and statement is None,
    }
    if carrier is None:
        driver = type(getattr(wrapper, "orig", wrapper)).__module__.split(".")[0]
        return Facts("", driver, message=str(getattr(wrapper, "orig", exc)), **common)
    if code.startswith("sqlite:"):
        return _lite(code, carrier, common)
    return _postgres(code, links, common)


def _code(links: list[BaseException]) -> tuple[str, BaseException | None]:
    for link in links:
        for name in ("sqlstate", "pgcode"):
            value = getattr(link, name, None)
            if isinstance(value, str):
                return value, link
        value = getattr(link, "sqlite_errorcode", None)
        if isinstance(value, int):
            return f"sqlite:{value}", link
    return "", None


def _postgres(code: str, links: list[BaseException], common: dict[str, Any]) -> Facts:
    def told(*names: str) -> Any:
        for link in links:
            for source in (getattr(link, "diag", None), link):
                for name in names:
                    value = getattr(source, name, None)
                    if isinstance(value, str) and value:
                        return value
        return None

    carrier = next(e for e in links if hasattr(e, "sqlstate") or hasattr(e, "pgcode"))
    column = told("column_name")
    return Facts(
        code,
        _driver(links),
        told("constraint_name"),
        told("schema_name"),
        told("table_name"),
        (column,) if column else (),
        told("message_detail", "detail"),
        told("message_primary", "message") or str(carrier),
        **common,
    )


def _driver(links: list[BaseException]) -> str:
    names = [type(link).__module__.split(".")[0] for link in links]
    return next((n for n in reversed(names) if n not in ("sqlalchemy", "builtins")), "asyncpg")


def _lite(code: str, carrier: BaseException, common: dict[str, Any]) -> Facts:
    text = str(carrier)
    constraint = table = None
    columns: tuple[str, ...] = ()
    index, named, check = (p.match(text) for p in (_LITE_INDEX, _LITE_COLUMNS, _LITE_CHECK))
    if index:
        constraint = index.group(1)
    elif named:
        parts = [c.rpartition(".") for c in named.group(1).split(", ")]
        table, columns = parts[0][0] or None, tuple(p[2] for p in parts)
    elif check:
        constraint = check.group(1)
    return Facts(
        code,
        "sqlite3",
        constraint,
        None,
        table,
        columns,
        message=text,
        from_text=bool(index or named or check),
        **common,
    )
