"""Which columns a CHECK keeps NULL out of."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from onerow.expressions import parse


def never_null(check: str, dialect: str) -> frozenset[str]:
    """Columns, as written, that a CHECK's expression demands to be NOT NULL.

    Only `c IS NOT NULL`, alone or joined by AND, shows that. Any other test lets NULL in: a CHECK
    whose value is unknown counts as passed (manual §5.5.1).
    """
    if "null" not in check.lower():
        return frozenset()
    tree = parse(check, dialect)
    return frozenset() if tree is None else frozenset(_demanded(tree))


def _demanded(node: object) -> Iterator[str]:
    if isinstance(node, exp.Paren):
        yield from _demanded(node.this)
    elif isinstance(node, exp.And):
        yield from _demanded(node.left)
        yield from _demanded(node.right)
    else:
        test = _negated(node)
        if test is not None and isinstance(test.this, exp.Column):
            yield test.this.name


def _negated(node: object) -> exp.Is | None:
    """The test of `… IS NOT NULL`, which sqlglot reads one way or the other, by dialect."""
    if isinstance(node, exp.Not) and isinstance(node.this, exp.Is):
        test, negated = node.this, not node.this.args.get("negate")
    elif isinstance(node, exp.Is):
        test, negated = node, bool(node.args.get("negate"))
    else:
        return None
    return test if negated and isinstance(test.expression, exp.Null) else None
