"""One form for expressions that mean the same.

The engines print an expression in their own way: `((status)::text = 'ACTIVE'::text)` for
`status = 'ACTIVE'`. Whatever is done to a tree here leaves its meaning as it is; where the types
do not show that a cast is idle, it stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from functools import cached_property

from sqlglot import exp

from onerow.expressions.parsing import column_name, parse, reader, words_in
from onerow.schema import Column

Rule = Callable[..., exp.Expression]

MIRRORED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
}
COMPARISONS = tuple(MIRRORED)
_OPPOSITE: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.GT: exp.LTE,
    exp.LTE: exp.GT,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
}

_TYPE = exp.DataType.Type
_TEXTS = {_TYPE.TEXT, _TYPE.VARCHAR}
_WHOLE = {_TYPE.INT, _TYPE.BIGINT, _TYPE.SMALLINT}
_BROKEN = {_TYPE.DECIMAL, _TYPE.DOUBLE, _TYPE.FLOAT}
#: A string beside a column of such a type is read as this type anyhow; the name is pg_type's.
_READ_ALIKE = {
    _TYPE.DATE: "date",
    _TYPE.TIMESTAMP: "timestamp without time zone",
    _TYPE.TIMESTAMPTZ: "timestamp with time zone",
    _TYPE.UUID: "uuid",
    _TYPE.BPCHAR: "character",
}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
PLAIN_TEXT = ("text", "character varying")

_EXACT = frozenset(
    {
        "text", "character varying", "character", "name", "uuid", "bytea", "smallint", "integer",
        "bigint", "oid", "date", "timestamp without time zone", "timestamp with time zone",
    }
)  # fmt: skip

#: Notes of the parser on how something was written, on PostgreSQL.
_NOTES = ("single_replace", "only_json_types", "position")


class Form:
    """Brings the expressions over one table to one form.

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
    def _rules(self) -> dict[type[exp.Expression], Rule]:
        comparison: Rule = self._comparison
        rules: dict[type[exp.Expression], Rule] = {
            **dict.fromkeys(COMPARISONS, comparison),
            exp.Paren: lambda node: node.this,
            exp.Column: self._column,
            exp.In: self._in,
            exp.Between: self._between,
            exp.Coalesce: self._coalesce,
            exp.Collate: self._collate,
            exp.Not: self._not,
            exp.And: self._connector,
            exp.Or: self._connector,
        }
        if self.dialect == "sqlite":
            return {**rules, exp.Anonymous: _function, exp.Boolean: _sqlite_boolean}
        return {
            **rules,
            exp.Anonymous: _function,
            exp.Cast: self._cast,
            exp.Lower: self._letters,
            exp.Upper: self._letters,
            exp.JSONExtract: _json_step,
            exp.JSONExtractScalar: _json_step,
            exp.TimestampTrunc: _truncation,
        }

    def tree(self, text: str) -> exp.Expression | None:
        """The expression in the one form; None when it is not understood. Not to be changed."""
        if text not in self._trees:
            parsed = parse(text, self.dialect)
            tree = None if parsed is None else self.settle(parsed.copy())
            self._trees[text] = tree if tree is not None and self._is_whole(text, tree) else None
        return self._trees[text]

    def _is_whole(self, text: str, tree: exp.Expression) -> bool:
        """No column was taken for something else, as in `date_trunc(unit_column, at)`."""
        kept = {c.name for c in tree.find_all(exp.Column)}
        fold = str.casefold if self.dialect == "sqlite" else str
        known = {fold(n) for n in self.columns} - {fold(n) for n in kept}
        return not known & {fold(w) for w in words_in(text, self.dialect)}

    def text(self, node: exp.Expression) -> str:
        """Equal for trees of the same meaning, as far as the form shows it. It is no SQL."""
        if isinstance(node, exp.Column):
            return f'"{node.name}"'
        if isinstance(node, exp.Literal):
            return repr(str(node.this)) if node.is_string else str(node.this)
        if isinstance(node, exp.DataType):
            return node.sql(reader(self.dialect))
        inner = (
            f"{name}={self._argument(value)}"
            for name, value in sorted(node.args.items())
            if value and name not in _NOTES
        )
        text = f"{type(node).__name__}({', '.join(inner)})"
        return text.lower() if isinstance(node, exp.Var) else text

    def _argument(self, value: object) -> str:
        if isinstance(value, exp.Expression):
            return self.text(value)
        if isinstance(value, list):
            return f"[{', '.join(map(self._argument, value))}]"
        return str(value)

    def column(self, node: exp.Expression | None) -> Column | None:
        """The column that a node is."""
        return self.columns.get(node.name) if isinstance(node, exp.Column) else None

    # -- one rule a kind of node; what is below a node is settled before it ----------------------

    def settle(self, node: exp.Expression) -> exp.Expression:
        """Bring a tree of one's own to the form."""
        if isinstance(node, exp.DataType):
            return node
        if not isinstance(node, exp.Column):
            for name, value in list(node.args.items()):
                node.set(name, self._settle_argument(value, under=node))
        rule = self._rules.get(type(node))
        return rule(node) if rule else node

    def _settle_argument(self, value: object, under: exp.Expression) -> object:
        if isinstance(under, exp.Is) and isinstance(value, exp.Boolean):
            return value  # IS TRUE asks another question than = 1
        if isinstance(value, exp.Expression):
            return self.settle(value)
        if isinstance(value, list):
            return [self._settle_argument(v, under) for v in value]
        return value

    def _column(self, node: exp.Column) -> exp.Expression:
        name = column_name(node, self.dialect)
        if self.dialect == "sqlite":
            known = self._folded.get(name.casefold())
            if known is None and self.columns and node.this.args.get("quoted"):
                return exp.Literal.string(name)  # a misspelt string literal (quirks.html §8)
            name = known.name if known else name
        return exp.column(exp.to_identifier(name, quoted=True))

    def _comparison(self, node: exp.Expression) -> exp.Expression:
        left, right = node.this, node.args["expression"]
        if is_constant(left) and not is_constant(right):
            return self._comparison(MIRRORED[type(node)](this=right, expression=left))
        listed = _listed(node)
        if listed is not None:
            found = self._in(exp.In(this=left, expressions=listed))
            return found if isinstance(node, exp.EQ) else self._not(exp.Not(this=found))
        if isinstance(right, exp.Boolean) and isinstance(node, exp.EQ | exp.NEQ):
            positive = isinstance(node, exp.EQ) == bool(right.this)
            return left if positive else self._not(exp.Not(this=left))
        bare = (self._bare(left, right), self._bare(right, left))
        return type(node)(this=bare[0], expression=bare[1])

    def _in(self, node: exp.In) -> exp.Expression:
        if not node.expressions:  # a subquery
            return node
        found = {self.text(e): e for e in (self._bare(e, node.this) for e in node.expressions)}
        if len(found) == 1:
            return self._comparison(exp.EQ(this=node.this, expression=next(iter(found.values()))))
        return exp.In(this=node.this, expressions=[found[key] for key in sorted(found)])

    def _between(self, node: exp.Between) -> exp.Expression:
        if node.args.get("symmetric"):
            return node
        low = exp.GTE(this=node.this.copy(), expression=node.args["low"])
        high = exp.LTE(this=node.this.copy(), expression=node.args["high"])
        both = exp.And(this=self._comparison(low), expression=self._comparison(high))
        return self._connector(both)

    def _coalesce(self, node: exp.Coalesce) -> exp.Expression:
        others = [self._bare(e, node.this) for e in node.expressions]
        return exp.Coalesce(this=node.this, expressions=others)

    def _collate(self, node: exp.Collate) -> exp.Expression:
        name = node.expression.name
        name = name.upper() if self.dialect == "sqlite" else name
        return exp.Collate(this=node.this, expression=exp.Literal.string(name))

    def _not(self, node: exp.Not) -> exp.Expression:
        """Inwards as far as it goes; all of it holds with NULL as the third value too."""
        inner: exp.Expression = node.this
        if isinstance(inner, exp.Not):
            below: exp.Expression = inner.this
            return below
        if type(inner) in _OPPOSITE:
            return _OPPOSITE[type(inner)](this=inner.this, expression=inner.args["expression"])
        if isinstance(inner, exp.And | exp.Or):
            other = exp.Or if isinstance(inner, exp.And) else exp.And
            left, right = (self._not(exp.Not(this=s)) for s in (inner.this, inner.expression))
            return self._connector(other(this=left, expression=right))
        return node

    def _connector(self, node: exp.Expression) -> exp.Expression:
        """AND and OR know no order, and no twice."""
        kind = type(node)
        parts = {self.text(p): p for p in operands(node, kind)}
        tree, *rest = (parts[key] for key in sorted(parts))
        for part in rest:
            tree = kind(this=tree, expression=part)
        return tree

    def _cast(self, node: exp.Cast) -> exp.Expression:
        inner: exp.Expression = node.this
        if node.to.expressions:  # a length or a precision cuts
            return node
        if node.to.this in _TEXTS and self._is_text(inner):
            return inner
        if is_string(inner):  # '-1'::integer is how -1 is printed
            wanted = _BROKEN if "." in str(inner.this) else _WHOLE
            return _as_number(inner, wanted, node.to) or node
        return node

    def _letters(self, node: exp.Expression) -> exp.Expression:
        """lower() and upper() take text: the cast of a citext is printed, and idle."""
        inner = node.this
        if isinstance(inner, exp.Cast) and inner.to.this == _TYPE.TEXT:
            column = self.column(inner.this)
            if column is not None and column.type_category == "S":
                return type(node)(this=inner.this)
        return node

    def _is_text(self, node: exp.Expression) -> bool:
        """Of type text or varchar, whose values compare alike. citext would not."""
        if isinstance(node, exp.Coalesce):
            return all(map(self._is_text, (node.this, *node.expressions)))
        if isinstance(node, exp.Lower | exp.Upper | exp.Trim):
            return self._is_text(node.this)
        column = self.column(node)
        return is_string(node) or (column is not None and column.type_name in PLAIN_TEXT)

    def _bare(self, node: exp.Expression, beside: exp.Expression) -> exp.Expression:
        """A constant without the cast to the type that it would take beside this operand anyhow."""
        if not isinstance(node, exp.Cast) or node.to.expressions:
            return node
        inner: exp.Expression = node.this
        number = number_of(inner)
        if number is not None:
            whole = number == number.to_integral_value()
            return inner if node.to.this in (_WHOLE | _BROKEN if whole else _BROKEN) else node
        if is_string(inner):
            wanted = _BROKEN if "." in str(inner.this) else _WHOLE | _BROKEN
            found = _as_number(inner, wanted, node.to)
            if found is not None:
                return found
        column = self.column(beside)
        idle = is_string(inner) and column is not None and _reads_alike(node.to, column)
        return inner if idle else node


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


# -- small questions to a tree ----------------------------------------------------------------


def operands(node: exp.Expression, kind: type[exp.Expression]) -> Iterator[exp.Expression]:
    """What is joined by AND, or by OR, at any depth."""
    if isinstance(node, kind):
        yield from operands(node.this, kind)
        yield from operands(node.args["expression"], kind)
    else:
        yield node


def is_string(node: exp.Expression) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def is_constant(node: exp.Expression) -> bool:
    if isinstance(node, exp.Neg | exp.Cast):
        return is_constant(node.this)
    return isinstance(node, exp.Literal | exp.Boolean)


def number_of(node: exp.Expression) -> Decimal | None:
    if isinstance(node, exp.Neg):
        inner = number_of(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and not node.is_string and _NUMBER.fullmatch(str(node.this)):
        return Decimal(str(node.this))
    return None


def _as_number(
    node: exp.Expression, wanted: Collection[object], to: exp.DataType
) -> exp.Expression | None:
    """The number that a cast constant is, if the cast is to one of the types."""
    text = str(node.this)
    if to.this not in wanted or not _NUMBER.fullmatch(text):
        return None
    number = exp.Literal.number(text.removeprefix("-"))
    return exp.Neg(this=number) if text.startswith("-") else number


def _reads_alike(to: exp.DataType, column: Column) -> bool:
    if to.this != _TYPE.USERDEFINED:
        return _READ_ALIKE.get(to.this) == column.type_name
    # An enum, citext …, whichever schema is written before it. "char" cuts.
    printed = (to.sql("postgres"), column.type_name)
    short = {p.rpartition(".")[2].strip('"') for p in printed}
    return len(short) == 1 and short != {"char"}


def _sqlite_boolean(node: exp.Boolean) -> exp.Expression:
    """SQLite's TRUE is the number 1 (lang_expr.html §3)."""
    return exp.Literal.number(int(bool(node.this)))


def _json_step(node: exp.Expression) -> exp.Expression:
    """`a ->> 'b'`, which is read as a path, and the printed `a ->> 'b'::text`."""
    path = node.args["expression"]
    keys = path.expressions if isinstance(path, exp.JSONPath) else []
    if len(keys) == 2 and isinstance(keys[1], exp.JSONPathKey):
        node.set("expression", exp.Literal.string(str(keys[1].this)))
    return node


def _truncation(node: exp.Expression) -> exp.Expression:
    unit = node.args["unit"]
    if isinstance(unit, exp.Var) or is_string(unit):
        node.set("unit", exp.Literal.string(unit.name.lower()))
    return node


def _function(node: exp.Expression) -> exp.Expression:
    node.set("this", str(node.this).lower())
    return node


def _listed(node: exp.Expression) -> list[exp.Expression] | None:
    """The elements, where `x = ANY (ARRAY[…])` or `x <> ALL (ARRAY[…])` stands for a list."""
    right = node.args["expression"]
    is_any = isinstance(node, exp.EQ) and isinstance(right, exp.Any)
    is_all = isinstance(node, exp.NEQ) and (
        isinstance(right, exp.All)
        or (isinstance(right, exp.Anonymous) and str(right.this).upper() == "ALL")
    )
    if not (is_any or is_all):
        return None
    inner = right.expressions[0] if right.expressions else right.this
    if isinstance(inner, exp.Cast) and all(t.this in _TEXTS for t in inner.to.expressions):
        inner = inner.this
    return list(inner.expressions) if isinstance(inner, exp.Array) else None
