"""SQLite's stored CREATE texts, taken apart.

The pragmas tell neither collations of columns, nor expressions, predicates, CHECKs or names of
constraints; they are only in the text. It is the text that SQLite has accepted, so this reads
structure (quotes, comments, parentheses, keywords) and proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

SPACE, COMMENT, WORD, QUOTED, STRING, BLOB, NUMBER, PUNCTUATION = (
    "space", "comment", "word", "quoted", "string", "blob", "number", "punctuation",
)  # fmt: skip

# White space is ASCII's without the vertical tab; every other character above ASCII belongs to a
# word, and a byte order mark between words counts as a space (src/tokenize.c).
_TOKEN = re.compile(
    r"""
      (?P<space> [\ \t\n\f\r\ufeff]+ )
    | (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<string> '(?:[^']|'')*' )
    | (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
    | (?P<blob> [xX]'[0-9a-fA-F]*' )
    | (?P<number> 0[xX][0-9a-fA-F_]+ | (?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? )
    | (?P<word> (?:[A-Za-z_]|[^\x00-\x7f])(?:[A-Za-z0-9_$]|[^\x00-\x7f])* )
    | (?P<punctuation> . )
    """,
    re.VERBOSE | re.DOTALL,
)

_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


class NotUnderstood(ValueError):
    """The text is not of the form that SQLite stores."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def word(self) -> str:
        """An unquoted word in upper case; '' for anything else. Keywords are ASCII."""
        return self.text.upper() if self.kind == WORD and self.text.isascii() else ""

    @property
    def name(self) -> str:
        """The token as an identifier; SQLite takes strings for identifiers too."""
        if self.kind == WORD:
            return self.text
        if self.kind not in (QUOTED, STRING):
            raise NotUnderstood(f"{self.text!r} is not a name")
        quote = self.text[0]
        inner = self.text[1:-1]
        return inner if quote == "[" else inner.replace(quote * 2, quote)


def tokens(sql: str) -> tuple[Token, ...]:
    """All tokens, white space and comments included; their texts joined are the whole text.

    Raises:
        NotUnderstood: a quote is left open.
    """
    found = tuple(
        Token(match.lastgroup or "", match.group(), match.start()) for match in _TOKEN.finditer(sql)
    )
    for token in found:
        if token.kind == PUNCTUATION and token.text in "'\"`[":
            raise NotUnderstood(f"unclosed {token.text} in {sql!r}")
    return found


def _solid(sql: str) -> list[Token]:
    return [t for t in tokens(sql) if t.kind not in (SPACE, COMMENT)]


class _Text:
    """A text with its tokens (no space, no comment) and the partners of its parentheses."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = _solid(sql)
        self.partner: dict[int, int] = {}
        opened: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.text == "(":
                opened.append(i)
            elif token.text == ")" and opened:
                self.partner[opened.pop()] = i

    def __len__(self) -> int:
        return len(self.tokens)

    def word(self, i: int) -> str:
        return self.tokens[i].word if 0 <= i < len(self.tokens) else ""

    def is_at(self, i: int, text: str) -> bool:
        return i < len(self.tokens) and self.tokens[i].text == text

    def name(self, i: int) -> str:
        if i >= len(self.tokens):
            raise NotUnderstood(f"{self.sql!r} ends where a name should be")
        return self.tokens[i].name

    def level(self, first: int, last: int) -> Iterator[int]:
        """Positions in [first, last) outside parentheses; of these, only the opening ones."""
        i = first
        while i < last:
            yield i
            i = self.partner.get(i, i) + 1

    def open(self, first: int, last: int | None = None) -> int:
        """The first opening parenthesis from a position on, which must have its partner."""
        for i in range(first, len(self.tokens) if last is None else last):
            if i in self.partner:
                return i
        raise NotUnderstood(f"no parentheses in {self.sql!r}")

    def between(self, opening: int) -> str:
        """What stands between an opening parenthesis and its partner."""
        return self.raw(opening + 1, self.partner[opening])

    def raw(self, first: int, last: int | None = None) -> str:
        """The text from a token up to another one, without what no token is at its ends.

        A comment that trails would swallow the parenthesis that is put behind it.
        """
        chosen = self.tokens[first:last]
        return self.sql[chosen[0].start : chosen[-1].end] if chosen else ""

    def parts(self, opening: int) -> list[str]:
        """The parts between parentheses, parted at commas, with the space around them."""
        closing = self.partner[opening]
        commas = [i for i in self.level(opening + 1, closing) if self.is_at(i, ",")]
        ends = [self.tokens[i].start for i in (*commas, closing)]
        starts = [self.tokens[i].end for i in (opening, *commas)]
        return [self.sql[a:b] for a, b in zip(starts, ends, strict=True)]

    def cut(self, starts: list[int]) -> list[str]:
        """The text cut before the tokens at these positions."""
        places = [0, *(self.tokens[i].start for i in starts), len(self.sql)]
        return [self.sql[a:b] for a, b in pairwise(places)]


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
        words = " ".join("," if t.text == "," else t.word for t in _solid(self.tail))
        return tuple(w.strip() for w in words.split(",") if w.strip())


def split_create_table(sql: str) -> CreateTable:
    """Take a stored CREATE TABLE apart such that edited pieces can be put together again.

    `CreateTable.sql` of the unedited pieces is the text itself, but for commas between table
    constraints, which SQLite does not ask for.

    Raises:
        NotUnderstood: it is no CREATE TABLE with columns.
    """
    text = _Text(sql)
    if not (text.word(0) == "CREATE" and "TABLE" in (text.word(1), text.word(2))):
        raise NotUnderstood(f"not a CREATE TABLE: {sql!r}")
    opening = text.open(0)
    columns: list[str] = []
    constraints: list[str] = []
    for part in text.parts(opening):
        if _Text(part).word(0) in _TABLE_CONSTRAINTS:
            constraints += _separate(part)
        else:
            columns.append(part)
    head, tail = sql[: text.tokens[opening].start], sql[text.tokens[text.partner[opening]].end :]
    return CreateTable(head, tuple(columns), tuple(constraints), tail)


def _separate(part: str) -> list[str]:
    """Table constraints that no comma parts: `CHECK (a > 0) UNIQUE (a)`."""
    text = _Text(part)
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


def _starts(text: _Text, first: int, words: tuple[str, ...]) -> Iterator[int]:
    return (i for i in text.level(first, len(text)) if text.word(i) in words and _begins(text, i))


def _begins(text: _Text, i: int) -> bool:
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
    text = _Text(definition)
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
    text = _Text(piece)
    i, name = 0, None
    while text.word(i) == "CONSTRAINT":
        name = text.name(i + 1)
        i += 2
    if i >= len(text):
        return None
    body = _Text(text.raw(i))
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


def _on_conflict(text: _Text) -> str:
    for i in text.level(0, len(text)):
        if text.word(i) == "ON" and text.word(i + 1) == "CONFLICT":
            return text.word(i + 2).lower()
    return ""


def _deferrable(text: _Text) -> bool:
    return any(
        text.word(i) == "DEFERRABLE" and text.word(i - 1) != "NOT" for i in text.level(0, len(text))
    )


def _column_names(text: _Text, i: int) -> tuple[str, ...]:
    """The names in the parentheses at a position, none where there are no parentheses."""
    if not text.is_at(i, "("):
        return ()
    return tuple(_Text(part).name(0) for part in text.parts(i))


def _primary_key(text: _Text) -> Clause:
    auto = any(t.word == "AUTOINCREMENT" for t in text.tokens)
    return Clause(kind="primary key", columns=_column_names(text, 2), autoincrement=auto)


def _unique(text: _Text) -> Clause:
    return Clause(kind="unique", columns=_column_names(text, 1))


def _check(text: _Text) -> Clause:
    return Clause(kind="check", expression=text.between(text.open(1)))


def _not_null(_text: _Text) -> Clause:
    return Clause(kind="not null")


def _null(_text: _Text) -> Clause:
    return Clause(kind="null")


def _default(text: _Text) -> Clause:
    return Clause(kind="default", expression=text.raw(1))


def _collate(text: _Text) -> Clause:
    return Clause(kind="collate", expression=text.name(1))


def _generated(text: _Text) -> Clause:
    opening = text.open(1)
    stored = text.word(text.partner[opening] + 1) == "STORED"
    return Clause(kind="generated", expression=text.between(opening), stored=stored)


def _references(text: _Text, i: int = 0, columns: tuple[str, ...] = ()) -> Clause:
    return Clause(
        kind="foreign key",
        columns=columns,
        target=text.name(i + 1),
        target_columns=_column_names(text, i + 2),
    )


def _foreign_key(text: _Text) -> Clause:
    opening = text.open(2)
    return _references(text, text.partner[opening] + 1, _column_names(text, opening))


_PARSERS: dict[str, Callable[[_Text], Clause]] = {
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
    text = _Text(sql)
    opening = text.open(0)
    closing = text.partner[opening]
    where = text.raw(closing + 2) if text.word(closing + 1) == "WHERE" else None
    head = sql[: text.tokens[opening].start]
    return CreateIndex(head, tuple(p.strip() for p in text.parts(opening)), where)


def element_expression(element: str) -> str:
    """An index element without its trailing COLLATE, ASC or DESC and NULLS FIRST or LAST."""
    text = _Text(element)
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
    text = _Text(sql)
    i = next((i for i in range(1, 3) if text.word(i) == "TRIGGER"), 0) + 1
    if text.word(i) == "IF" and text.word(i + 1) == "NOT":
        i += 3
    i += 3 if text.is_at(i + 1, ".") else 1
    timing = {"AFTER": "after", "INSTEAD": "instead of"}.get(text.word(i), "before")
    i += {"BEFORE": 1, "AFTER": 1, "INSTEAD": 2}.get(text.word(i), 0)
    if text.word(i) not in ("INSERT", "UPDATE", "DELETE"):
        raise NotUnderstood(f"not a CREATE TRIGGER: {sql!r}")
    return CreateTrigger(timing, text.word(i).lower())
