"""SQLite's stored CREATE texts, taken apart.

The pragmas tell neither collations of columns, nor expressions, predicates, CHECKs or names of
constraints; they are only in the text. It is the text that SQLite has accepted, so this reads
structure (quotes, comments, parentheses, keywords) and proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from onerow.dialects.sqlite.tokens import NotUnderstood, Text, solid

_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


# -- CREATE TABLE ----------------------------------------------------------------------------


class CreateTable(NamedTuple):
    """A CREATE TABLE in pieces: `head (columns…, constraints…) tail`."""

    head: str  #: up to the parenthesis
    columns: tuple[str, ...]  #: definitions, with the space and comments around them
    constraints: tuple[str, ...]  #: the same
    tail: str  #: after the parenthesis: WITHOUT ROWID, STRICT

    @property
    def sql(self) -> str:
        """The pieces put together again."""
        return f"{self.head}({','.join(self.columns + self.constraints)}){self.tail}"

    @property
    def options(self) -> tuple[str, ...]:
        """The words of the tail in upper case: 'WITHOUT ROWID', 'STRICT'."""
        words = " ".join("," if t.text == "," else t.word for t in solid(self.tail))
        return tuple(w.strip() for w in words.split(",") if w.strip())


def split_create_table(sql: str) -> CreateTable:
    """Take a stored CREATE TABLE apart such that edited pieces can be put together again.

    `CreateTable.sql` of the unedited pieces is the text itself, but for commas between table
    constraints, which SQLite does not ask for.

    Raises:
        NotUnderstood: it is no CREATE TABLE with columns.
    """
    text = Text(sql)
    if not (text.word(0) == "CREATE" and "TABLE" in (text.word(1), text.word(2))):
        raise NotUnderstood(f"not a CREATE TABLE: {sql!r}")
    opening = text.open(0)
    columns: list[str] = []
    constraints: list[str] = []
    for part in text.parts(opening):
        if Text(part).word(0) in _TABLE_CONSTRAINTS:
            constraints += _separate(part)
        else:
            columns.append(part)
    head, tail = sql[: text.tokens[opening].start], sql[text.tokens[text.partner[opening]].end :]
    return CreateTable(head, tuple(columns), tuple(constraints), tail)


def _separate(part: str) -> list[str]:
    """Table constraints that no comma parts: `CHECK (a > 0) UNIQUE (a)`."""
    text = Text(part)
    return text.cut([i for i in _starts(text, 0, _TABLE_CONSTRAINTS) if i > 0])


# -- constraints -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One constraint, of a column or of a table."""

    kind: str
    """'primary key', 'unique', 'check', 'foreign key', 'not null', 'null', 'default', 'collate'
    or 'generated'."""
    name: str | None = None
    columns: tuple[str, ...] = ()
    expression: str = ""  #: of a check, default or generated column; the name of a collation
    stored: bool = False
    target: str = ""
    target_columns: tuple[str, ...] = ()
    deferrable: bool = False
    deferred: bool = False
    on_conflict: str = ""  #: lower case: rollback, abort, fail, ignore, replace
    autoincrement: bool = False
    text: str = ""  #: without the name


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnText:
    name: str
    type: str
    clauses: tuple[Clause, ...] = ()

    def clause(self, kind: str) -> Clause | None:
        return next((c for c in self.clauses if c.kind == kind), None)


_COLUMN_CLAUSES = (
    "CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE", "REFERENCES",
    "GENERATED", "AS",
)  # fmt: skip


def _starts(text: Text, first: int, words: tuple[str, ...]) -> Iterator[int]:
    return (i for i in text.level(first, len(text)) if text.word(i) in words and _begins(text, i))


def _begins(text: Text, i: int) -> bool:
    """The keyword begins a clause; it is no later word of one."""
    word, before, after = text.word(i), text.word(i - 1), text.word(i + 1)
    if text.word(i - 2) == "CONSTRAINT":  # CONSTRAINT name … is one clause
        return False
    if word == "NOT":  # not NOT DEFERRABLE
        return after == "NULL"
    if word == "NULL":  # not NOT NULL, DEFAULT NULL, SET NULL
        return before not in ("NOT", "DEFAULT", "SET")
    if word == "DEFAULT":  # not SET DEFAULT
        return before != "SET"
    if word == "GENERATED":  # may be a word of the type
        return after == "ALWAYS" and text.word(i + 2) == "AS"
    if word == "AS":
        return not (before == "ALWAYS" and text.word(i - 2) == "GENERATED")
    return True


def parse_column(definition: str) -> ColumnText:
    """A column's definition: name, type as written, constraints.

    Raises:
        NotUnderstood: it does not begin with a name.
    """
    text = Text(definition)
    starts = list(_starts(text, 1, _COLUMN_CLAUSES))
    name = text.name(0)
    pieces = text.cut(starts)[1:]
    clauses = (_clause(piece) for piece in pieces)
    return ColumnText(
        name=name,
        type=text.raw(1, starts[0] if starts else None),
        clauses=tuple(c for c in clauses if c is not None),
    )


def parse_constraint(definition: str) -> Clause | None:
    """A table constraint; None for a name without a constraint, which SQLite lets pass."""
    return _clause(definition)


def _clause(piece: str) -> Clause | None:
    text = Text(piece)
    i, name = 0, None
    while text.word(i) == "CONSTRAINT":
        name = text.name(i + 1)
        i += 2
    if i >= len(text):
        return None
    body = Text(text.raw(i))
    parser = _PARSERS.get(body.word(0))
    if parser is None:
        raise NotUnderstood(f"{body.sql!r} is no constraint")
    return replace(
        parser(body),
        name=name,
        text=body.sql,
        on_conflict=_on_conflict(body),
        deferrable=_deferrable(body),
        deferred=_deferrable(body) and any(t.word == "DEFERRED" for t in body.tokens),
    )


def _on_conflict(text: Text) -> str:
    for i in text.level(0, len(text)):
        if text.word(i) == "ON" and text.word(i + 1) == "CONFLICT":
            return text.word(i + 2).lower()
    return ""


def _deferrable(text: Text) -> bool:
    return any(
        text.word(i) == "DEFERRABLE" and text.word(i - 1) != "NOT" for i in text.level(0, len(text))
    )


def _column_names(text: Text, i: int) -> tuple[str, ...]:
    """The names in the parentheses at a position, none where there are no parentheses."""
    if not text.is_at(i, "("):
        return ()
    return tuple(Text(part).name(0) for part in text.parts(i))


def _primary_key(text: Text) -> Clause:
    auto = any(t.word == "AUTOINCREMENT" for t in text.tokens)
    return Clause(kind="primary key", columns=_column_names(text, 2), autoincrement=auto)


def _unique(text: Text) -> Clause:
    return Clause(kind="unique", columns=_column_names(text, 1))


def _check(text: Text) -> Clause:
    return Clause(kind="check", expression=text.between(text.open(1)))


def _not_null(_text: Text) -> Clause:
    return Clause(kind="not null")


def _null(_text: Text) -> Clause:
    return Clause(kind="null")


def _default(text: Text) -> Clause:
    return Clause(kind="default", expression=text.raw(1))


def _collate(text: Text) -> Clause:
    return Clause(kind="collate", expression=text.name(1))


def _generated(text: Text) -> Clause:
    opening = text.open(1)
    stored = text.word(text.partner[opening] + 1) == "STORED"
    return Clause(kind="generated", expression=text.between(opening), stored=stored)


def _references(text: Text, i: int = 0, columns: tuple[str, ...] = ()) -> Clause:
    return Clause(
        kind="foreign key",
        columns=columns,
        target=text.name(i + 1),
        target_columns=_column_names(text, i + 2),
    )


def _foreign_key(text: Text) -> Clause:
    opening = text.open(2)
    return _references(text, text.partner[opening] + 1, _column_names(text, opening))


_PARSERS: dict[str, Callable[[Text], Clause]] = {
    "PRIMARY": _primary_key,
    "UNIQUE": _unique,
    "CHECK": _check,
    "NOT": _not_null,
    "NULL": _null,
    "DEFAULT": _default,
    "COLLATE": _collate,
    "GENERATED": _generated,
    "AS": _generated,
    "REFERENCES": _references,
    "FOREIGN": _foreign_key,
}


# -- CREATE INDEX, CREATE TRIGGER -------------------------------------------------------------


class CreateIndex(NamedTuple):
    """A CREATE INDEX in pieces: `head (elements…) WHERE where`."""

    head: str  #: up to the parenthesis
    elements: tuple[str, ...]  #: with their COLLATE, ASC and DESC, stripped
    where: str | None


def split_create_index(sql: str) -> CreateIndex:
    """Take a stored CREATE INDEX apart.

    Raises:
        NotUnderstood: it has no list of elements.
    """
    text = Text(sql)
    opening = text.open(0)
    closing = text.partner[opening]
    where = text.raw(closing + 2) if text.word(closing + 1) == "WHERE" else None
    head = sql[: text.tokens[opening].start]
    return CreateIndex(head, tuple(p.strip() for p in text.parts(opening)), where)


def element_expression(element: str) -> str:
    """An index element without its trailing COLLATE, ASC or DESC and NULLS FIRST or LAST."""
    text = Text(element)
    end = len(text)
    if text.word(end - 2) == "NULLS":
        end -= 2
    if text.word(end - 1) in ("ASC", "DESC"):
        end -= 1
    if end > 2 and text.word(end - 2) == "COLLATE":
        end -= 2
    return text.raw(0, end)


class CreateTrigger(NamedTuple):
    timing: str  #: 'before', 'after' or 'instead of'
    event: str  #: 'insert', 'update' or 'delete'


def parse_create_trigger(sql: str) -> CreateTrigger:
    """When a stored CREATE TRIGGER fires. Without a word for it, it is BEFORE (lang_createtrigger).

    Raises:
        NotUnderstood: no event where it should stand.
    """
    text = Text(sql)
    i = next((i for i in range(1, 3) if text.word(i) == "TRIGGER"), 0) + 1
    if text.word(i) == "IF" and text.word(i + 1) == "NOT":
        i += 3
    i += 3 if text.is_at(i + 1, ".") else 1
    timing = {"AFTER": "after", "INSTEAD": "instead of"}.get(text.word(i), "before")
    i += {"BEFORE": 1, "AFTER": 1, "INSTEAD": 2}.get(text.word(i), 0)
    if text.word(i) not in ("INSERT", "UPDATE", "DELETE"):
        raise NotUnderstood(f"not a CREATE TRIGGER: {sql!r}")
    return CreateTrigger(timing, text.word(i).lower())
