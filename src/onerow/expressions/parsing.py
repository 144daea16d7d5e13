"""From text to trees."""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


@lru_cache(maxsize=8192)
def _parsed(text: str, dialect: str) -> tuple[exp.Expression, bool] | None:
    """The tree of one expression, and whether a comment stands in it."""
    try:
        trees = sqlglot.parse(f"SELECT {text}", read=reader(dialect))
    except (SqlglotError, RecursionError):
        return None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        return None
    select = trees[0]
    extra = [k for k, v in select.args.items() if v and k not in ("expressions", "kind")]
    if extra or len(select.expressions) != 1:
        return None
    tree = select.expressions[0]
    if isinstance(tree, exp.Alias | exp.Star):
        return None
    commented = any(node.comments for node in select.walk())
    return _negations_apart(tree), commented


def reader(dialect: str) -> str:
    """sqlglot's word for an engine."""
    return "sqlite" if dialect == "sqlite" else "postgres"


def _negations_apart(tree: exp.Expression) -> exp.Expression:
    """`x IS NOT NULL` and `x NOT LIKE y` as NOT of the test; sqlglot 30 makes one node of them."""

    def apart(node: exp.Expression) -> exp.Expression:
        if node.args.get("negate"):
            node.set("negate", None)
            return exp.Not(this=node.copy())
        return node

    changed: exp.Expression = tree.copy().transform(apart)
    return changed


def parse(text: str, dialect: str) -> exp.Expression | None:
    """One expression, or None where the text is not one (or not understood). Not to be changed."""
    found = _parsed(text, dialect)
    return found[0] if found else None


@lru_cache(maxsize=8192)
def words_in(text: str, dialect: str) -> frozenset[str]:
    """Every name in a text, whatever it names, as the engine reads it."""
    try:
        tokens = sqlglot.tokenize(text, read=reader(dialect))
    except SqlglotError:
        return frozenset()
    fold = str if dialect == "sqlite" else str.lower
    bare = {fold(t.text) for t in tokens if t.token_type.name == "VAR"}
    return frozenset(bare | {t.text for t in tokens if t.token_type.name == "IDENTIFIER"})


def is_one_expression(text: str, dialect: str) -> bool:
    """The text can stand in parentheses as a single expression: no statement hides in it.

    Nor does a comment, which could hide the parenthesis that closes.
    """
    found = _parsed(text, dialect)
    return found is not None and not found[1]


def columns_in(text: str, dialect: str) -> frozenset[str] | None:
    """Names of the columns in an expression, as the engine reads them; None: not understood."""
    tree = parse(text, dialect)
    if tree is None:
        return None
    return frozenset(column_name(c, dialect) for c in tree.find_all(exp.Column))


def column_name(node: exp.Column, dialect: str) -> str:
    """PostgreSQL folds what is not quoted to lower case."""
    quoted = bool(node.this.args.get("quoted"))
    return node.name if quoted or dialect == "sqlite" else node.name.lower()
