"""The tokens of a text as SQLite sees them (src/tokenize.c), and partners of parentheses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

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


def solid(sql: str) -> list[Token]:
    return [t for t in tokens(sql) if t.kind not in (SPACE, COMMENT)]


class Text:
    """A text with its tokens (no space, no comment) and the partners of its parentheses."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = solid(sql)
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
