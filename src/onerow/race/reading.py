"""SQL text to trees, and which row a statement on one table picks. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_PYFORMAT = re.compile(r"%\((\w+)\)s")


def trees(sql: str, dialect: str) -> list[Any]:
    """The statements in a text; one that stands for "not understood" if it cannot be parsed."""
    text = _PYFORMAT.sub(r":\1", sql).replace("%%", "%").replace("%s", "NULL")
    logger = logging.getLogger("sqlglot")
    level = logger.level
    # It warns of what it takes for a Command; here that only means "depends on everything".
    logger.setLevel(logging.ERROR)
    try:
        return list(sqlglot.parse(text, dialect=dialect))
    except SqlglotError:
        return [exp.Command(this=sql)]
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class Operand:
    """What a column is compared with: a literal, or a parameter by its name or place."""

    literal: str | None = None
    name: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """A statement on one table: its columns that are compared with `=`, and those it sets."""

    table: str
    equal: Mapping[str, Operand]
    sets: frozenset[str]


@lru_cache(maxsize=2048)
def pick_of(sql: str) -> Pick | None:
    """Of a SELECT, UPDATE or DELETE on one table without any subquery; else None."""
    found = trees(sql, "postgres")
    tree = found[0] if len(found) == 1 else None
    if not isinstance(tree, (exp.Select, exp.Update, exp.Delete)):
        return None
    tables = list(tree.find_all(exp.Table))
    where = tree.args.get("where")
    nested = [q for q in tree.find_all(exp.Query) if q is not tree]
    if len(tables) != 1 or where is None or nested:
        return None
    parts = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    sets = tree.expressions if isinstance(tree, exp.Update) else []
    return Pick(tables[0].name, dict(_equalities(parts)), frozenset(e.this.name for e in sets))


def _equalities(parts: Iterable[Any]) -> Iterator[tuple[str, Operand]]:
    for part in parts:
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column):
            operand = _operand(part.expression)
            if operand is not None:
                yield part.this.name, operand


def _operand(node: Any) -> Operand | None:
    while isinstance(node, (exp.Cast, exp.Paren)):
        node = node.this
    if isinstance(node, exp.Literal):
        return Operand(literal=str(node.this))
    if isinstance(node, exp.Placeholder) and isinstance(node.this, str):
        return Operand(name=node.this)
    if isinstance(node, exp.Parameter) and node.name.isdigit():
        return Operand(place=int(node.name) - 1)
    return None
