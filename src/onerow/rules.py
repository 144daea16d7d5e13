"""What is declared: Key, Reference, Population, Column, Index, Constraint. Frozen values, no I/O.

A Key can be made from a table's name or from a SQLAlchemy model or Table; SQLAlchemy is not
imported for that, its objects are recognised by their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

from onerow.errors import RuleError, nearest
from onerow.sql import comma

Nulls = Literal["distinct", "equal", "forbidden"]
NULL_MODES = ("distinct", "equal", "forbidden")
POLICIES = ("keep", "fill", "sum", "max", "min", "union", "concat", "json", "error")
CHILD_POLICIES = ("merge", "keep", "error")
KEEP_FORMS = ("latest COLUMN", "earliest COLUMN", "max EXPR", "min EXPR", "first", "manual FILE")
ORPHAN_POLICIES = ("report", "null", "archive")


def _table_name(table: Any) -> str:
    """A name from a name, a SQLAlchemy Table or a mapped class."""
    if isinstance(table, str):
        return table
    core = getattr(table, "__table__", table)
    name = getattr(core, "name", None)
    if not isinstance(name, str):
        raise RuleError(f"{table!r} is neither a table's name, nor a Table, nor a mapped class.")
    schema = getattr(core, "schema", None)
    return f"{schema}.{name}" if schema else name


def _column_name(column: Any) -> str:
    if isinstance(column, str):
        return column
    name = getattr(column, "name", None) or getattr(column, "key", None)
    if not isinstance(name, str):
        raise RuleError(f"{column!r} is neither a column's name nor a Column.")
    return name


def _expression_text(clause: Any) -> str | None:
    """SQL text of a row filter; a SQLAlchemy clause is written out with its values in place."""
    if clause is None or isinstance(clause, str):
        return clause
    compile_ = getattr(clause, "compile", None)
    if compile_ is None:
        raise RuleError(f"{clause!r} is neither SQL text nor a SQLAlchemy expression.")
    return str(compile_(compile_kwargs={"literal_binds": True, "include_table": False}))


def _choice(value: str, known: Iterable[str], what: str, rule: str) -> None:
    known = tuple(known)
    if value not in known:
        raise RuleError(
            f"unknown {what} {value!r}; known are {comma(known)}.",
            rule=rule,
            hint=nearest(value, known),
        )


@dataclass(frozen=True, slots=True)
class Keep:
    """Which row of a group survives: ``latest updated_at``, ``max priority``, ``first`` …"""

    how: str = "first"
    what: str = ""

    @classmethod
    def parse(cls, text: str, rule: str = "") -> Keep:
        how, _, what = text.strip().partition(" ")
        what = what.strip()
        _choice(how, (f.split()[0] for f in KEEP_FORMS), "keep", rule)
        if (how == "first") == bool(what):
            form = next(f for f in KEEP_FORMS if f.startswith(how))
            raise RuleError(f"keep = {text!r} should read {form!r}.", rule=rule)
        return cls(how, what)

    def __str__(self) -> str:
        return f"{self.how} {self.what}".strip()

    @property
    def descending(self) -> bool:
        return self.how in ("latest", "max")


@dataclass(frozen=True, slots=True, init=False)
class Key:
    """An intended uniqueness: at most one row per value of the columns, among the filtered rows.

    Args:
        table: name (``table``, ``schema.table``, quoted where needed), SQLAlchemy Table or model.
        *columns: names, or expressions in parentheses; none at all is a singleton.
        name: of the index or constraint; made up from table and columns if absent.
        where: row filter, SQL text or SQLAlchemy expression.
        nulls: ``distinct`` (NULLs never collide), ``equal`` (they do), ``forbidden``.
        ignore_case: columns compared without case (``lower(column)``).
        replaces: names of the keys that this one takes the place of.
        keep: survivor of a group, see `KEEP_FORMS`.
        merge: policy per column, ``default`` for the others, see `POLICIES`.
        children: policy per child table when re-pointed rows collide in keys of their own.
        also_referenced_by: references that no foreign key declares,
            ``"table(column) [where condition]"``.
        guard: refuse new duplicates from the start of the change.
        transitional: for writes: the index may not exist yet.

    Raises:
        RuleError: for an unknown policy, NULL mode or form.
    """

    table: str
    columns: tuple[str, ...]
    name: str | None
    where: str | None
    nulls: Nulls
    ignore_case: tuple[str, ...]
    replaces: tuple[str, ...]
    keep: Keep
    merge: Mapping[str, str]
    children: Mapping[str, str]
    also_referenced_by: tuple[str, ...]
    guard: bool
    transitional: bool
    source: Any = field(compare=False, hash=False, repr=False)

    def __init__(
        self,
        table: Any,
        *columns: Any,
        name: str | None = None,
        where: Any = None,
        nulls: Nulls = "distinct",
        ignore_case: Iterable[Any] = (),
        replaces: Iterable[str] = (),
        keep: str | Keep = "first",
        merge: Mapping[str, str] | None = None,
        children: Mapping[str, str] | None = None,
        also_referenced_by: Iterable[str] = (),
        guard: bool = False,
        transitional: bool = False,
    ) -> None:
        put: Callable[[str, Any], None] = lambda k, v: object.__setattr__(self, k, v)  # noqa: E731
        put("table", _table_name(table))
        put("columns", tuple(_column_name(c) for c in columns))
        put("name", name)
        put("where", _expression_text(where))
        put("nulls", nulls)
        put("ignore_case", tuple(_column_name(c) for c in ignore_case))
        put("replaces", tuple(replaces))
        put("keep", keep if isinstance(keep, Keep) else Keep.parse(keep, self.label))
        put("merge", dict(merge or {}))
        put("children", dict(children or {}))
        put("also_referenced_by", tuple(also_referenced_by))
        put("guard", guard)
        put("transitional", transitional)
        put("source", None if isinstance(table, str) else table)
        self._validate()

    def __hash__(self) -> int:
        return hash((self.table, self.columns, self.name, self.where, self.nulls, self.ignore_case))

    def _validate(self) -> None:
        _choice(self.nulls, NULL_MODES, "NULL mode", self.label)
        for policy in self.merge.values():
            _choice(policy, POLICIES, "merge policy", self.label)
        for policy in self.children.values():
            _choice(policy, CHILD_POLICIES, "policy for children", self.label)
        doubled = {c for c in self.columns if self.columns.count(c) > 1}
        if doubled:
            raise RuleError(f"column {min(doubled)!r} is named twice.", rule=self.label)
        for column in self.ignore_case:
            if column not in self.columns:
                raise RuleError(
                    f"ignore_case names {column!r}, which is not a column of the key.",
                    rule=self.label,
                    hint=nearest(column, self.columns),
                )

    @property
    def label(self) -> str:
        """The rule's name, or its table and columns."""
        return self.name or f"{self.table}({comma(self.columns)})"

    @property
    def singleton(self) -> bool:
        return not self.columns

    def policy(self, column: str) -> str:
        """The merge policy of a column."""
        return self.merge.get(column, self.merge.get("default", "fill"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that a rule needs and the table lacks."""

    table: str
    name: str
    type: str
    not_null: bool = False
    references: str | None = None
    on_delete: str = "no action"
    backfill: Mapping[str, Any] = field(default_factory=dict, hash=False)
    generated: str | None = None

    @property
    def label(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An intended foreign key."""

    table: str
    columns: tuple[str, ...]
    to: str
    name: str | None = None
    on_delete: str = "no action"
    orphans: str = "report"
    index: bool = False

    def __post_init__(self) -> None:
        _choice(self.orphans, ORPHAN_POLICIES, "policy for orphans", self.label)

    @property
    def label(self) -> str:
        return self.name or f"{self.table}({comma(self.columns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """A column that must be filled, for which rows, since when, at what rate (0 to 1)."""

    table: str
    column: str
    name: str | None = None
    where: str | None = None
    since: str | None = None
    by: str | None = None
    rate: float = 1.0

    @property
    def label(self) -> str:
        return self.name or f"{self.table}.{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A plain index, built concurrently."""

    table: str
    columns: tuple[str, ...]
    name: str | None = None
    where: str | None = None

    @property
    def label(self) -> str:
        return self.name or f"{self.table}({comma(self.columns)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A CHECK, added NOT VALID and validated."""

    table: str
    name: str
    check: str

    @property
    def label(self) -> str:
        return self.name


Rule = Key | Column | Reference | Population | Index | Constraint
KINDS: dict[str, type[Any]] = {
    "column": Column,
    "key": Key,
    "reference": Reference,
    "population": Population,
    "index": Index,
    "constraint": Constraint,
}


def kind_of(rule: Rule) -> str:
    return next(kind for kind, cls in KINDS.items() if isinstance(rule, cls))


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """The rule as a table of the rule file, defaults left out."""
    out: dict[str, Any] = {"kind": kind_of(rule)}
    for f in fields(rule):
        value = getattr(rule, f.name)
        if f.name in ("source", "transitional") or value in (None, (), {}, False):
            continue
        if isinstance(value, Keep):
            value = str(value)
        out[f.name] = list(value) if isinstance(value, tuple) else value
    if isinstance(rule, Key):
        out["columns"] = list(rule.columns)
        for name, default in (("nulls", "distinct"), ("keep", "first")):
            if out.get(name) == default:
                del out[name]
    return out


def rule_from_dict(data: Mapping[str, Any]) -> Rule:
    """The inverse of `rule_to_dict`. Raises RuleError for an unknown kind or field."""
    values = dict(data)
    cls = KINDS[values.pop("kind")]
    known = {f.name for f in fields(cls)} - {"source", "transitional"}
    for name in values:
        if name not in known:
            raise RuleError(f"unknown field {name!r}.", hint=nearest(name, known))
    if cls is Key:
        return Key(values.pop("table"), *values.pop("columns"), **values)
    for name in ("columns",):
        if name in values:
            values[name] = tuple(values[name])
    return cast(Rule, cls(**values))
