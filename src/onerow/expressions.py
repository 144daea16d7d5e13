"""SQL expressions understood well enough to compare them: filters, index expressions, checks.

The engines print an expression in their own way (`((status)::text = 'ACTIVE'::text)` for
`status = 'ACTIVE'`), so texts are parsed by sqlglot and brought to one form. Whatever is done to a
tree here must leave its meaning as it is: a wrong "the same" would call a key enforced that is not,
so where the types do not show that a cast is idle, it stays.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from onerow.schema import Column

#: NULL in, NULL out. Division is not among them: SQLite makes NULL of `1 / 0`.
_STRICT = (
    exp.Lower, exp.Upper, exp.Trim, exp.Cast, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.DPipe,
    exp.Collate, exp.Abs, exp.MD5, exp.Length,
)  # fmt: skip
_MIRRORED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
}
_COMPARISONS = tuple(_MIRRORED)
_OPPOSITE: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.GT: exp.LTE,
    exp.LTE: exp.GT,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
}
_TESTS = (*_COMPARISONS, exp.Like, exp.ILike, exp.RegexpLike, exp.Glob)
_HOLDS: dict[type[exp.Expression], Callable[[Decimal, Decimal], bool]] = {
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
}
_TEXT_TYPES = {exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR}
_WHOLE_TYPES = {exp.DataType.Type.INT, exp.DataType.Type.BIGINT, exp.DataType.Type.SMALLINT}
_NUMBER_TYPES = {
    *_WHOLE_TYPES,
    exp.DataType.Type.DECIMAL,
    exp.DataType.Type.DOUBLE,
    exp.DataType.Type.FLOAT,
}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_PLAIN_TEXT = ("text", "character varying")


# -- parsing ------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def _parsed(text: str, dialect: str) -> tuple[exp.Expression, bool] | None:
    """The tree of one expression, and whether a comment stands in it."""
    try:
        trees = sqlglot.parse(f"SELECT {text}", read=_reader(dialect))
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
    return _null_tests_alike(tree), commented


def _reader(dialect: str) -> str:
    return "sqlite" if dialect == "sqlite" else "postgres"


def _null_tests_alike(tree: exp.Expression) -> exp.Expression:
    """`x IS NOT NULL` as NOT of IS, which newer versions of sqlglot make one node of."""

    def apart(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Is) and node.args.get("negate"):
            return exp.Not(this=exp.Is(this=node.this, expression=node.expression))
        return node

    changed: exp.Expression = tree.copy().transform(apart)
    return changed


def parse(text: str, dialect: str) -> exp.Expression | None:
    """One expression, or None where the text is not one (or not understood). Not to be changed."""
    found = _parsed(text, dialect)
    return found[0] if found else None


def is_one_expression(text: str, dialect: str) -> bool:
    """The text can stand in parentheses as a single expression: no statement hides in it.

    A comment could hide the closing parenthesis.
    """
    found = _parsed(text, dialect)
    return found is not None and not found[1]


def columns_in(text: str, dialect: str) -> frozenset[str] | None:
    """Names of the columns in an expression, as the engine reads them; None: not understood."""
    tree = parse(text, dialect)
    if tree is None:
        return None
    return frozenset(_column_name(c, dialect) for c in tree.find_all(exp.Column))


def _column_name(node: exp.Column, dialect: str) -> str:
    """PostgreSQL folds what is not quoted to lower case."""
    identifier = node.this
    quoted = bool(identifier.args.get("quoted"))
    return node.name if quoted or dialect == "sqlite" else node.name.lower()


# -- one form -----------------------------------------------------------------------------------


class Reading:
    """Reads the expressions over one table, and says what follows from what.

    Args:
        dialect: 'postgresql' or 'sqlite'.
        columns: of the table.
    """

    def __init__(self, dialect: str, columns: Iterable[Column] = ()) -> None:
        self.dialect = dialect
        self.columns = {c.name: c for c in columns}
        self._folded = {c.name.casefold(): c for c in self.columns.values()}
        self._trees: dict[str, exp.Expression | None] = {}

    @cached_property
    def _rules(self) -> dict[type[exp.Expression], Callable[[exp.Expression], exp.Expression]]:
        rules: dict[type[exp.Expression], Callable[..., exp.Expression]] = {
            exp.Paren: lambda node: node.this,
            exp.Column: self._settle_column,
            exp.Boolean: self._settle_boolean,
            exp.In: self._settle_in,
            exp.Between: self._settle_between,
            exp.Coalesce: self._settle_coalesce,
            exp.Not: self._settle_not,
            exp.And: self._settle_connector,
            exp.Or: self._settle_connector,
            **dict.fromkeys(_COMPARISONS, self._settle_comparison),
        }
        if self.dialect != "sqlite":
            rules[exp.Cast] = self._settle_cast
        return rules

    def tree(self, text: str) -> exp.Expression | None:
        """The expression in the one form; None when it is not understood."""
        if text not in self._trees:
            parsed = parse(text, self.dialect)
            self._trees[text] = None if parsed is None else self._settled(parsed.copy())
        return self._trees[text]

    def text(self, tree: exp.Expression) -> str:
        """Equal for trees that mean the same, as far as this is seen."""
        return tree.sql(_reader(self.dialect), normalize_functions="lower", comments=False)

    def column(self, node: exp.Expression) -> Column | None:
        """The column that a node is."""
        return self.columns.get(node.name) if isinstance(node, exp.Column) else None

    def _settled(self, node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.DataType):
            return node
        if not isinstance(node, exp.Column):
            for name, value in list(node.args.items()):
                self._settle_argument(node, name, value)
        rule = self._rules.get(type(node))
        return rule(node) if rule else node

    def _settle_argument(self, node: exp.Expression, name: str, value: object) -> None:
        if isinstance(node, exp.Is) and isinstance(value, exp.Boolean):
            return
        if isinstance(value, exp.Expression):
            node.set(name, self._settled(value))
        elif isinstance(value, list):
            node.set(
                name, [self._settled(v) if isinstance(v, exp.Expression) else v for v in value]
            )

    def _settle_column(self, node: exp.Column) -> exp.Expression:
        name = _column_name(node, self.dialect)
        if self.dialect == "sqlite":
            known = self._folded.get(name.casefold())
            if known is None and self.columns and node.this.args.get("quoted"):
                return exp.Literal.string(name)  # a misspelt string literal (quirks.html §8)
            name = known.name if known else name
        return exp.column(exp.to_identifier(name, quoted=True))

    def _settle_boolean(self, node: exp.Boolean) -> exp.Expression:
        """SQLite's TRUE is the number 1 (lang_expr.html §3), but after IS."""
        return exp.Literal.number(int(bool(node.this))) if self.dialect == "sqlite" else node

    def _settle_comparison(self, node: exp.Binary) -> exp.Expression:
        left, right = node.this, node.expression
        if _is_constant(left) and not _is_constant(right):
            return self._settle_comparison(_MIRRORED[type(node)](this=right, expression=left))
        listed = _listed(node)
        if listed is not None:
            found = self._settle_in(exp.In(this=left, expressions=listed))
            return found if isinstance(node, exp.EQ) else self._settle_not(exp.Not(this=found))
        if isinstance(right, exp.Boolean) and isinstance(node, exp.EQ | exp.NEQ):
            positive = isinstance(node, exp.EQ) == bool(right.this)
            return left if positive else self._settle_not(exp.Not(this=left))
        bare = (self._bare(left, right), self._bare(right, left))
        return type(node)(this=bare[0], expression=bare[1])

    def _settle_in(self, node: exp.In) -> exp.Expression:
        if not node.expressions:  # a subquery
            return node
        found = {self.text(e): e for e in (self._bare(e, node.this) for e in node.expressions)}
        if len(found) == 1:
            return self._settle_comparison(exp.EQ(this=node.this, expression=[*found.values()][0]))
        return exp.In(this=node.this, expressions=[found[key] for key in sorted(found)])

    def _settle_between(self, node: exp.Between) -> exp.Expression:
        if node.args.get("symmetric"):
            return node
        low = self._settle_comparison(exp.GTE(this=node.this.copy(), expression=node.args["low"]))
        high = self._settle_comparison(exp.LTE(this=node.this.copy(), expression=node.args["high"]))
        return self._settle_connector(exp.And(this=low, expression=high))

    def _settle_coalesce(self, node: exp.Coalesce) -> exp.Expression:
        others = [self._bare(e, node.this) for e in node.expressions]
        return exp.Coalesce(this=node.this, expressions=others)

    def _settle_not(self, node: exp.Not) -> exp.Expression:
        """Inwards as far as it goes; all of it holds with NULL as the third value too."""
        inner = node.this
        if isinstance(inner, exp.Not):
            return inner.this  # type: ignore[no-any-return]
        if type(inner) in _OPPOSITE:
            return _OPPOSITE[type(inner)](this=inner.this, expression=inner.expression)
        if isinstance(inner, exp.And | exp.Or):
            other = exp.Or if isinstance(inner, exp.And) else exp.And
            sides = [self._settle_not(exp.Not(this=s)) for s in (inner.this, inner.expression)]
            return self._settle_connector(other(this=sides[0], expression=sides[1]))
        return node

    def _settle_connector(self, node: exp.Connector) -> exp.Expression:
        kind = type(node)
        parts = {self.text(p): p for p in _operands(node, kind)}
        first, *rest = (parts[key] for key in sorted(parts))
        tree: exp.Expression = first
        for part in rest:
            tree = kind(this=tree, expression=part)
        return tree

    def _settle_cast(self, node: exp.Cast) -> exp.Expression:
        inner, to = node.this, node.to
        if to.expressions:  # a length or a precision cuts
            return node
        if to.this in _TEXT_TYPES and self._is_text(inner):
            return inner  # type: ignore[no-any-return]
        if _is_string(inner) and _reads_as(inner.this, to):  # '-1'::integer is how -1 is printed
            return _number_node(inner.this)
        return node

    def _is_text(self, node: exp.Expression) -> bool:
        """Of type text or varchar, whose values compare alike. citext would not."""
        if _is_string(node):
            return True
        if isinstance(node, exp.Lower | exp.Upper | exp.Trim):
            return self._is_text(node.this)
        if isinstance(node, exp.Coalesce):
            return all(map(self._is_text, (node.this, *node.expressions)))
        column = self.column(node)
        return column is not None and column.type_name in _PLAIN_TEXT

    def _bare(self, node: exp.Expression, beside: exp.Expression) -> exp.Expression:
        """A constant without the cast to the type that it would take beside this operand anyhow."""
        if not isinstance(node, exp.Cast) or node.to.expressions:
            return node
        inner: exp.Expression = node.this
        column = self.column(beside)
        if isinstance(inner, exp.Literal) and not inner.is_string:
            return inner if _reads_as(str(inner.this), node.to) else node
        if _is_string(inner) and column is not None and _is_type(node.to, column.type_name):
            return inner
        return node

    # -- what follows from what ------------------------------------------------------------------

    def conditions(self, text: str | None) -> tuple[exp.Expression, ...] | None:
        """What holds for the rows that pass a filter, joined by AND; None: not understood."""
        if text is None:
            return ()
        tree = self.tree(text)
        if tree is None:
            return None
        return tuple(_operands(self._settled(_as_filter(tree.copy())), exp.And))

    def not_null(self, tree: exp.Expression) -> exp.Expression:
        return exp.Not(this=exp.Is(this=tree.copy(), expression=exp.Null()))

    def is_null(self, tree: exp.Expression) -> exp.Expression:
        return exp.Is(this=tree.copy(), expression=exp.Null())

    def implied(self, wanted: exp.Expression, given: Sequence[exp.Expression]) -> bool:
        """Every row that meets all given conditions meets the wanted one."""
        if self._always(wanted) or self.text(wanted) in {self.text(g) for g in given}:
            return True
        if isinstance(wanted, exp.And):
            return all(self.implied(w, given) for w in _operands(wanted, exp.And))
        if isinstance(wanted, exp.Or):
            if any(self.implied(w, given) for w in _operands(wanted, exp.Or)):
                return True
        elif any(self._entails(g, wanted) for g in given):
            return True
        return any(
            all(self.implied(wanted, [*given[:i], *given[i + 1 :], way]) for way in ways)
            for i, g in enumerate(given)
            if isinstance(g, exp.Or)
            for ways in [list(_operands(g, exp.Or))]
        )

    def may_be_null(self, tree: exp.Expression, given: Sequence[exp.Expression] = ()) -> bool:
        """Whether an expression can be NULL in a row that meets the conditions. True in doubt."""
        if self.implied(self.not_null(tree), given):
            return False
        if isinstance(tree, exp.Literal | exp.Boolean | exp.Is | exp.HexString):
            return False
        inner = [tree.this, *tree.expressions] if isinstance(tree, exp.Coalesce) else []
        if inner:
            return all(self.may_be_null(n, given) for n in inner)
        if isinstance(tree, (*_STRICT, *_TESTS, exp.Not, exp.And, exp.Or)):
            return any(self.may_be_null(n, given) for n in _children(tree))
        column = self.column(tree)
        if column is not None and column.generation is not None:
            made = self.tree(column.generation)
            return made is None or self.may_be_null(made, given)
        return True

    def _always(self, tree: exp.Expression) -> bool:
        if isinstance(tree, exp.Boolean):
            return bool(tree.this)
        if isinstance(tree, exp.Literal):
            return self.dialect == "sqlite" and not tree.is_string and Decimal(tree.this) != 0
        subject = _not_null_subject(tree)
        column = self.column(subject) if subject is not None else None
        return column is not None and column.not_null

    def _entails(self, given: exp.Expression, wanted: exp.Expression) -> bool:
        subject = _not_null_subject(wanted)
        if subject is not None:
            return self._rejects_null(given, self.text(subject))
        if self._subject(given) != self._subject(wanted):
            return False
        have, range_ = _values(given), _range(given)
        if have is not None:
            return all(self._meets(value, wanted) for value in have)
        return range_ is not None and _within(range_, _range(wanted))

    def _subject(self, tree: exp.Expression) -> str:
        """What a condition speaks of."""
        inner = tree.this if isinstance(tree, exp.Not) else tree
        return self.text(inner.this if isinstance(inner, (*_COMPARISONS, exp.In)) else inner)

    def _meets(self, value: exp.Expression, wanted: exp.Expression) -> bool:
        """A row whose subject equals the value meets the condition on the same subject."""
        allowed, excluded, range_ = _values(wanted), _excluded(wanted), _range(wanted)
        if allowed is not None:
            return self.text(value) in map(self.text, allowed)
        if excluded is not None:
            return all(self._differ(value, other, wanted) for other in excluded)
        number = _number(value)
        if range_ is not None:
            return number is not None and _HOLDS[range_[0]](number, range_[1])
        if self.dialect == "sqlite" and number is not None:  # `x = 1` and the bare `x`, `NOT x`
            return (number == 0) == isinstance(wanted, exp.Not)
        return False

    def _differ(self, one: exp.Expression, two: exp.Expression, test: exp.Expression) -> bool:
        """Two constants that the subject's type surely tells apart."""
        numbers = _number(one), _number(two)
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0] != numbers[1]
        column = self.column((test.this if isinstance(test, exp.Not) else test).this)
        exact = column is not None and (compares_exactly(column, self.dialect))
        return exact and _is_string(one) and _is_string(two) and one.this != two.this

    def _rejects_null(self, given: exp.Expression, subject: str) -> bool:
        """The condition is not true of a row in which the subject is NULL."""
        if isinstance(given, exp.And):
            return any(self._rejects_null(p, subject) for p in _operands(given, exp.And))
        if isinstance(given, exp.Or):
            return all(self._rejects_null(p, subject) for p in _operands(given, exp.Or))
        inner = given.this if isinstance(given, exp.Not) else given
        if isinstance(inner, exp.In):
            return self._strict_in(inner.this, subject)
        if isinstance(inner, exp.Is):
            test = _not_null_subject(given)
            return test is not None and self._strict_in(test, subject)
        if isinstance(inner, _TESTS):
            return any(self._strict_in(n, subject) for n in _children(inner))
        return self._strict_in(inner, subject)

    def _strict_in(self, node: exp.Expression, subject: str) -> bool:
        if self.text(node) == subject:
            return True
        return isinstance(node, _STRICT) and any(
            self._strict_in(n, subject) for n in _children(node)
        )


def compares_exactly(column: Column, dialect: str) -> bool:
    """Two values of the column are equal only if they are the same in every respect.

    1.0 and 1.00 are equal and not the same, nor are 'a' and 'A' where case is ignored; a function
    may tell them apart.
    """
    if column.case_insensitive or not column.collation_deterministic:
        return False
    if dialect == "sqlite":
        # Without an affinity 1 and 1.0 stand side by side.
        exact = column.type_category in ("INTEGER", "TEXT", "NUMERIC")
        return exact and column.collation.upper() in ("", "BINARY")
    return column.type_category in ("B", "E") or column.type_name in _EXACT


_EXACT = frozenset(
    {
        "text", "character varying", "character", "bpchar", "name", '"char"', "uuid", "bytea",
        "smallint", "integer", "bigint", "oid", "date",
        "timestamp without time zone", "timestamp with time zone",
    }
)  # fmt: skip


# -- small questions to a tree --------------------------------------------------------------------


def _children(node: exp.Expression) -> Iterator[exp.Expression]:
    return (
        child
        for child in node.iter_expressions()
        if isinstance(child, exp.Expression) and not isinstance(child, exp.DataType)
    )


def _operands(node: exp.Expression, kind: type[exp.Expression]) -> Iterator[exp.Expression]:
    """What is joined by AND, or by OR, at any depth."""
    if isinstance(node, kind):
        yield from _operands(node.this, kind)
        yield from _operands(node.expression, kind)
    else:
        yield node


def _as_filter(node: exp.Expression) -> exp.Expression:
    """In a filter, unknown and false are one: `x IS TRUE` is `x`."""
    if isinstance(node, exp.And | exp.Or):
        return type(node)(this=_as_filter(node.this), expression=_as_filter(node.expression))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
        test: exp.Expression = node.this
        return test if node.expression.this else exp.Not(this=test)
    if isinstance(node, exp.NullSafeEQ) and _is_constant(node.expression):
        return exp.EQ(this=node.this, expression=node.expression)
    return node


def _is_string(node: exp.Expression) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _is_constant(node: exp.Expression) -> bool:
    if isinstance(node, exp.Neg | exp.Cast):
        return _is_constant(node.this)
    return isinstance(node, exp.Literal | exp.Boolean)


def _number(node: exp.Expression) -> Decimal | None:
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and not node.is_string and _NUMBER.fullmatch(str(node.this)):
        return Decimal(node.this)
    return None


def _number_node(text: str) -> exp.Expression:
    number = exp.Literal.number(text.removeprefix("-"))
    return exp.Neg(this=number) if text.startswith("-") else number


def _reads_as(text: str, to: exp.DataType) -> bool:
    """The cast takes the number as it stands: no fraction is rounded off."""
    if not _NUMBER.fullmatch(text):
        return False
    return to.this in _WHOLE_TYPES if "." not in text else to.this in _NUMBER_TYPES - _WHOLE_TYPES


def _is_type(to: exp.DataType, name: str) -> bool:
    """The type is the one of that name, whichever schema is written before it."""
    own = parse(f"NULL::{name}", "postgresql")
    if not isinstance(own, exp.Cast):
        return False
    printed = (t.sql("postgres").rpartition(".")[2].strip('"') for t in (own.to, to))
    return len(set(printed)) == 1


def _listed(node: exp.Binary) -> list[exp.Expression] | None:
    """The elements, where `x = ANY (ARRAY[…])` or `x <> ALL (ARRAY[…])` stands for a list."""
    right = node.expression
    is_any = isinstance(node, exp.EQ) and isinstance(right, exp.Any)
    is_all = isinstance(node, exp.NEQ) and (
        isinstance(right, exp.All)
        or (isinstance(right, exp.Anonymous) and str(right.this).upper() == "ALL")
    )
    if not (is_any or is_all):
        return None
    inner = right.expressions[0] if right.expressions else right.this
    while isinstance(inner, exp.Paren | exp.Cast):
        inner = inner.this
    return list(inner.expressions) if isinstance(inner, exp.Array) else None


def _not_null_subject(node: exp.Expression) -> exp.Expression | None:
    """x, of `x IS NOT NULL`."""
    test = node.this if isinstance(node, exp.Not) else None
    if isinstance(test, exp.Is) and isinstance(test.expression, exp.Null):
        return test.this  # type: ignore[no-any-return]
    return None


def _values(node: exp.Expression) -> list[exp.Expression] | None:
    """The constants, one of which the subject equals."""
    if isinstance(node, exp.EQ) and _is_constant(node.expression):
        return [node.expression]
    if isinstance(node, exp.In) and node.expressions and all(map(_is_constant, node.expressions)):
        return list(node.expressions)
    return None


def _excluded(node: exp.Expression) -> list[exp.Expression] | None:
    """The constants, none of which the subject equals."""
    if isinstance(node, exp.NEQ) and _is_constant(node.expression):
        return [node.expression]
    return _values(node.this) if isinstance(node, exp.Not) else None


_Range = tuple[type[exp.Expression], Decimal]


def _range(node: exp.Expression) -> _Range | None:
    if type(node) not in _HOLDS:
        return None
    number = _number(node.expression)
    return None if number is None else (type(node), number)


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


__all__ = ["Reading", "columns_in", "compares_exactly", "is_one_expression", "parse"]

