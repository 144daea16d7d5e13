"""What follows from what, for the rows of one table."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from sqlglot import exp

from onerow.expressions.form import (
    COMPARISONS,
    PLAIN_TEXT,
    Form,
    compares_exactly,
    is_constant,
    is_string,
    number_of,
    operands,
)

#: NULL in, NULL out.
_STRICT = (
    exp.Lower, exp.Upper, exp.Trim, exp.Cast, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Collate,
    exp.Abs,
)  # fmt: skip
#: No NULL in, no NULL out. SQLite's arithmetic can end in NaN, which it makes NULL; lower() of a
#: PostgreSQL range, and a cast of its json, can give NULL, so there these must be of plain types.
_KEEP_FILLED = (exp.Trim, exp.Collate, exp.DPipe, exp.MD5)
_KEEP_PLAIN_FILLED = (exp.Lower, exp.Upper, exp.Cast)
_PLAIN = ("N", "S", "D", "B", "T", "E")  #: pg_type.typcategory
_ARITHMETIC = (exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Abs)
_TESTS = (*COMPARISONS, exp.Like, exp.ILike, exp.RegexpLike, exp.Glob)

_HOLDS: dict[type[exp.Expression], Callable[[Decimal, Decimal], bool]] = {
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}
_Range = tuple[type[exp.Expression], Decimal]
Conditions = Sequence[exp.Expression]


class Reading(Form):
    """Reads the expressions over one table, and says what follows from what."""

    def conditions(self, text: str | None) -> tuple[exp.Expression, ...] | None:
        """What holds for the rows that pass a filter, part by part; None: not understood."""
        if text is None:
            return ()
        tree = self.tree(text)
        if tree is None:
            return None
        return tuple(operands(self.settle(_as_filter(tree.copy())), exp.And))

    def implied(self, wanted: exp.Expression, given: Conditions) -> bool:
        """Every row that meets all given conditions meets the wanted one."""
        if self._always(wanted) or self.text(wanted) in {self.text(g) for g in given}:
            return True
        if isinstance(wanted, exp.And):
            return all(self.implied(w, given) for w in operands(wanted, exp.And))
        if isinstance(wanted, exp.Or) and any(
            self.implied(w, given) for w in operands(wanted, exp.Or)
        ):
            return True
        return any(self._entails(g, wanted) for g in given) or self._either_way(wanted, given)

    def _either_way(self, wanted: exp.Expression, given: Conditions) -> bool:
        """It follows from both sides of an OR."""
        return any(
            all(
                self.implied(wanted, [*given[:i], *given[i + 1 :], way])
                for way in operands(one, exp.Or)
            )
            for i, one in enumerate(given)
            if isinstance(one, exp.Or)
        )

    def may_be_null(self, tree: exp.Expression, given: Conditions = ()) -> bool:
        """Whether an expression can be NULL in a row that meets the conditions. True in doubt."""
        if self.implied(not_null(tree), given):
            return False
        if isinstance(tree, exp.Literal | exp.Boolean | exp.Is | exp.HexString):
            return False
        if isinstance(tree, exp.Coalesce):
            return all(self.may_be_null(n, given) for n in (tree.this, *tree.expressions))
        plain = type(tree) in _KEEP_PLAIN_FILLED and self._is_plain(tree.this)
        if type(tree) in self._keep_filled or plain:
            return any(self.may_be_null(n, given) for n in children(tree))
        made = self.generated(tree)
        return made is None or self.may_be_null(made, given)

    @property
    def _keep_filled(self) -> tuple[type, ...]:
        always = (*_KEEP_FILLED, *_TESTS, exp.In, exp.Not, exp.And, exp.Or)
        return always if self.dialect == "sqlite" else (*always, *_ARITHMETIC)

    def _is_plain(self, node: exp.Expression) -> bool:
        """Of a type whose functions make no NULL of a value."""
        column = self.column(node)
        if column is not None:
            return self.dialect == "sqlite" or column.type_category in _PLAIN
        if type(node) in (*_KEEP_PLAIN_FILLED, exp.Trim, exp.Collate, exp.Coalesce, exp.DPipe):
            return all(map(self._is_plain, children(node)))
        return is_constant(node)

    def generated(self, node: exp.Expression) -> exp.Expression | None:
        """What a generated column is made of."""
        column = self.column(node)
        return self.tree(column.generation) if column and column.generation else None

    def _always(self, tree: exp.Expression) -> bool:
        if isinstance(tree, exp.Boolean):
            return bool(tree.this)
        if self.dialect == "sqlite" and number_of(tree) is not None:
            return number_of(tree) != 0
        column = self.column(_filled(tree))
        return column is not None and column.not_null

    # -- one condition from another --------------------------------------------------------------

    def _entails(self, given: exp.Expression, wanted: exp.Expression) -> bool:
        subject = _filled(wanted)
        if subject is not None:
            return self._rejects_null(given, self.text(subject))
        if self.text(_subject(given)) != self.text(_subject(wanted)):
            return False
        have, barred, span = _values(given), _excluded(given), self._range(given)
        if have is not None:
            return all(self._meets(value, wanted) for value in have)
        if barred is not None:
            return self._texts(_excluded(wanted)) <= self._texts(barred)
        return span is not None and _within(span, self._range(wanted))

    def _texts(self, nodes: list[exp.Expression] | None) -> set[str]:
        # What excludes nothing is no exclusion: it must not be the subset of one.
        return {self.text(n) for n in nodes} if nodes else {""}

    def _meets(self, value: exp.Expression, wanted: exp.Expression) -> bool:
        """A row whose subject equals the value meets the condition on the same subject."""
        allowed, excluded, span = _values(wanted), _excluded(wanted), self._range(wanted)
        number = number_of(value)
        if allowed is not None:
            return self.text(value) in map(self.text, allowed)
        if excluded is not None:
            return all(self._differ(value, other, _subject(wanted)) for other in excluded)
        if span is not None:
            return number is not None and _HOLDS[span[0]](number, span[1])
        if self.dialect == "sqlite" and number is not None:  # `x = 1` and the bare `x` or `NOT x`
            bare = wanted.this if isinstance(wanted, exp.Not) else wanted
            return isinstance(bare, exp.Column) and (number == 0) == (bare is not wanted)
        return False

    def _differ(self, one: exp.Expression, two: exp.Expression, subject: exp.Expression) -> bool:
        """Two constants that the subject's type surely tells apart."""
        numbers = number_of(one), number_of(two)
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0] != numbers[1]
        return is_string(one) and is_string(two) and one.this != two.this and self._spells(subject)

    def _spells(self, subject: exp.Expression) -> bool:
        """Another spelling is another value: not so of dates, numbers, and texts without case."""
        column = self.column(subject)
        if column is None or not compares_exactly(column, self.dialect):
            return False
        return column.type_category in ("E", "TEXT") or column.type_name in PLAIN_TEXT

    def _range(self, node: exp.Expression) -> _Range | None:
        if type(node) not in _HOLDS:
            return None
        column = self.column(node.this)
        if self.dialect == "sqlite" and column and column.type_category == "TEXT":
            return None  # the number is compared as a text
        number = number_of(node.args["expression"])
        return None if number is None else (type(node), number)

    def _rejects_null(self, given: exp.Expression, subject: str) -> bool:
        """The condition is not true of a row in which the subject is NULL."""
        if isinstance(given, exp.And):
            return any(self._rejects_null(p, subject) for p in operands(given, exp.And))
        if isinstance(given, exp.Or):
            return all(self._rejects_null(p, subject) for p in operands(given, exp.Or))
        filled = _filled(given)
        if filled is not None:
            return self._strict_in(filled, subject)
        inner = given.this if isinstance(given, exp.Not) else given
        if isinstance(inner, exp.In):
            return self._strict_in(inner.this, subject)
        if type(inner) in _TESTS:
            return any(self._strict_in(n, subject) for n in children(inner))
        return self._strict_in(inner, subject)

    def _strict_in(self, node: exp.Expression, subject: str) -> bool:
        if self.text(node) == subject:
            return True
        inner = children(node) if type(node) in _STRICT else iter(())
        return any(self._strict_in(n, subject) for n in inner)


def not_null(tree: exp.Expression) -> exp.Expression:
    return exp.Not(this=is_null(tree))


def is_null(tree: exp.Expression) -> exp.Expression:
    return exp.Is(this=tree.copy(), expression=exp.Null())


def tests_null(node: exp.Expression) -> bool:
    """`x IS NULL`."""
    return isinstance(node, exp.Is) and isinstance(node.expression, exp.Null)


def pinned_by(condition: exp.Expression) -> exp.Expression | None:
    """The column that holds one value only in the rows that meet the condition."""
    inner: exp.Expression = condition.this if isinstance(condition, exp.Not) else condition
    if isinstance(inner, exp.Column):  # a boolean, true or false
        return inner
    constant = isinstance(inner, exp.EQ) and isinstance(inner.expression, exp.Literal | exp.Neg)
    if inner is condition and (constant or tests_null(inner)):
        column: exp.Expression = inner.this
        return column if isinstance(column, exp.Column) else None
    return None


def children(node: exp.Expression) -> Iterator[exp.Expression]:
    """What an expression is computed from."""
    return (
        child
        for child in node.iter_expressions()
        if isinstance(child, exp.Expression) and not isinstance(child, exp.DataType)
    )


def _as_filter(node: exp.Expression) -> exp.Expression:
    """In a filter, unknown and false are one: `x IS TRUE` is `x`."""
    if isinstance(node, exp.And | exp.Or):
        return type(node)(this=_as_filter(node.this), expression=_as_filter(node.expression))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
        test: exp.Expression = node.this
        return test if node.expression.this else exp.Not(this=test)
    if isinstance(node, exp.NullSafeEQ) and is_constant(node.expression):
        return exp.EQ(this=node.this, expression=node.expression)
    return node


def _filled(node: exp.Expression) -> exp.Expression | None:
    """x, of `x IS NOT NULL`."""
    test = node.this if isinstance(node, exp.Not) else None
    if isinstance(test, exp.Is) and isinstance(test.expression, exp.Null):
        subject: exp.Expression = test.this
        return subject
    return None


def _subject(node: exp.Expression) -> exp.Expression:
    """What a condition speaks of."""
    inner: exp.Expression = node.this if isinstance(node, exp.Not) else node
    if type(inner) in (*COMPARISONS, exp.In):
        subject: exp.Expression = inner.this
        return subject
    return inner


def _values(node: exp.Expression) -> list[exp.Expression] | None:
    """The constants, one of which the subject equals."""
    if isinstance(node, exp.EQ) and is_constant(node.expression):
        return [node.expression]
    if isinstance(node, exp.In) and node.expressions and all(map(is_constant, node.expressions)):
        return list(node.expressions)
    return None


def _excluded(node: exp.Expression) -> list[exp.Expression] | None:
    """The constants, none of which the subject equals."""
    if isinstance(node, exp.NEQ) and is_constant(node.expression):
        return [node.expression]
    return _values(node.this) if isinstance(node, exp.Not) else None


def _within(given: _Range, wanted: _Range | None) -> bool:
    """`x > 5` lies within `x >= 3`."""
    if wanted is None:
        return False
    upwards = [_HOLDS[kind](Decimal(1), Decimal(0)) for kind, _ in (given, wanted)]
    if upwards[0] != upwards[1]:
        return False
    if given[1] == wanted[1]:
        return given[0] in (exp.GT, exp.LT) or wanted[0] in (exp.GTE, exp.LTE)
    return _HOLDS[wanted[0]](given[1], wanted[1])


__all__ = [
    "Conditions",
    "Reading",
    "children",
    "is_null",
    "not_null",
    "pinned_by",
    "tests_null",
]
