"""How far the catalog enforces a Key: the one algorithm that every surface asks.

Two rows break a key when both pass its filter and all its parts are alike. An index keeps them
apart when both are in it, every element of it is then alike too, and none of its elements is NULL.
So it must be unique and in force, its elements must be determined by the key's parts (fewer or
coarser ones are stricter, and fine), its filter must follow from the key's, and NULLs, case,
inheritance and deferral must leave no gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Literal

from sqlglot import exp

from onerow.expressions import Reading, compares_exactly
from onerow.expressions.reading import children, is_null, not_null, pinned_by, tests_null
from onerow.keys import BoundKey, KeyPart
from onerow.schema import PARTITIONED, Column, Index, IndexColumn, Table
from onerow.sql import comma

GAPS = ("nulls", "filter", "case", "partitions", "deferrable")
_MOST_NULLABLE = 3  #: nullable parts whose patterns of NULLs are looked at, 2^n of them

Fold = Literal["nowhere", "as it is", "anywhere"]
Claim = Sequence[exp.Expression]
"""What holds of the rows that must not be alike, condition by condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One index of the table, and why it does not enforce the key whole."""

    index: Index
    gaps: tuple[str, ...] = ()
    unfit: str = ""  #: a sentence, when it enforces nothing of the key
    invalid: bool = False  #: it would serve, were it in force


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    gaps: tuple[str, ...] = ()
    by: Index | None = None
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()

    @property
    def enforced(self) -> bool:
        return self.by is not None and not self.gaps

    def __str__(self) -> str:
        if self.by is None:
            return "not enforced"
        return f"enforced except {comma(self.gaps)}" if self.gaps else "enforced"


_SENTENCES = {
    "nulls": "lets rows in whose key holds NULL",
    "filter": "covers only rows where {predicate}",
    "case": "tells apart what the key takes for the same, such as upper and lower case",
    "partitions": "does not reach the tables that inherit",
    "deferrable": "is checked at commit only, so no ON CONFLICT and no foreign key can use it",
}


def verdict(bound: BoundKey) -> Verdict:
    """How far the table's indexes enforce the key, and by which one."""
    found = _Court(bound).verdict()
    return replace(found, reason=with_folding(found.reason, bound))


def with_folding(reason: str, bound: BoundKey) -> str:
    """A reason, with what the engine cannot tell alike (lang_corefunc.html#lower, NOCASE)."""
    narrow = bound.dialect == "sqlite" and bound.key.ignore_case
    return f"{reason} (SQLite folds the case of ASCII letters only)" if narrow else reason


def null_check(part: KeyPart, where: str | None) -> str:
    """The CHECK expression that forbids NULL among the filtered rows."""
    test = f"{part.sql} IS NOT NULL"
    return test if where is None else f"({where}) IS NOT TRUE OR {test}"


def null_checked(part: KeyPart, bound: BoundKey) -> bool:
    """A validated CHECK of that form is there."""
    return _Court(bound).null_checked(part)


class _Court:
    """Judges the indexes of one table against one key."""

    def __init__(self, bound: BoundKey) -> None:
        self.bound = bound
        self.table: Table = bound.table
        self.reading = Reading(bound.dialect, bound.table.columns)
        self.parts = {p: self.reading.tree(p.sql) for p in bound.parts}
        trees = [t for t in self.parts.values() if t is not None]
        made = [m for m in map(self.reading.generated, trees) if m is not None]
        self.part_trees = [*trees, *made]
        self.part_texts = {self.reading.text(t) for t in self.part_trees}

    # -- the verdict -------------------------------------------------------------------------

    def verdict(self) -> Verdict:
        candidates = tuple(self.candidate(i, self.claim) for i in _unique_indexes(self.table))
        fitting = sorted((c for c in candidates if not c.unfit), key=lambda c: len(c.gaps))
        if fitting and not fitting[0].gaps:
            best = fitting[0]
            return Verdict(by=best.index, reason=_named(best.index), candidates=candidates)
        if self.bound.key.nulls == "equal":
            together = self.by_patterns(candidates)
            if together is not None:
                return together
        if not fitting:
            return Verdict(reason=self.why_none(candidates), candidates=candidates)
        best = fitting[0]
        return _verdict_except(best.gaps, best.index, candidates)

    @cached_property
    def facts(self) -> Claim:
        """What holds of every row that the key speaks of."""
        checks = [
            c
            for check in self.table.constraints
            if check.kind == "check" and check.validated and check.enforced
            for c in self.reading.conditions(check.expression) or ()
            # A CHECK whose value is unknown counts as passed, so only a filled one tells.
            if not self.reading.may_be_null(c)
        ]
        return [*(self.reading.conditions(self.bound.where) or ()), *checks]

    @cached_property
    def claim(self) -> Claim:
        """A key whose NULLs are not equal says nothing of rows with a NULL in it."""
        filled = self.part_trees if self.bound.key.nulls != "equal" else ()
        return [*self.facts, *map(not_null, filled)]

    def why_none(self, candidates: Sequence[Candidate]) -> str:
        near = [c.unfit for c in candidates if c.invalid]
        if near:
            return "; ".join(near)
        labels = comma(p.label for p in self.bound.parts)
        wider = [c.unfit for c in candidates if not c.index.primary]
        more = f" ({wider[0]})" if len(wider) == 1 else ""
        return f"{self.table} has no unique index on {labels or 'it'}{more}"

    # -- one index ---------------------------------------------------------------------------

    def candidate(self, index: Index, claim: Claim) -> Candidate:
        matches = [self.match(element, index, claim) for element in index.columns]
        if not all(matches):
            pairs = zip(index.columns, matches, strict=True)
            other = comma(e.expression for e, m in pairs if not m)
            return Candidate(index=index, unfit=f"{index.name} has {other} besides")
        if not (index.valid and index.ready and index.live):
            return Candidate(index=index, unfit=self.why_invalid(index), invalid=True)
        gaps = {m for m in matches if m != "ok"} | set(self.gaps(index, claim))
        return Candidate(index=index, gaps=tuple(g for g in GAPS if g in gaps))

    def why_invalid(self, index: Index) -> str:
        if self.table.kind == PARTITIONED:
            return f"{index.name} is not attached in every partition of {self.table}"
        return (
            f"the unique index {index.name} is invalid (a concurrent build failed), so it does not "
            "vouch for the rows"
        )

    def gaps(self, index: Index, claim: Claim) -> Iterator[str]:
        predicate = self.reading.conditions(index.predicate)
        if predicate is None or not all(self.reading.implied(c, claim) for c in predicate):
            yield "filter"
        if self.lets_nulls_in(index, claim):
            yield "nulls"
        if self.table.kind != PARTITIONED and self.table.inherited_by:
            yield "partitions"
        if not index.immediate:
            yield "deferrable"

    def lets_nulls_in(self, index: Index, claim: Claim) -> bool:
        if self.bound.key.nulls == "forbidden" and self.parts_may_be_null:
            return True
        trees = () if index.nulls_not_distinct else map(self.tree, index.columns)
        return any(t is None or self.reading.may_be_null(t, claim) for t in trees)

    @cached_property
    def parts_may_be_null(self) -> bool:
        return any(
            tree is None
            or (self.reading.may_be_null(tree, self.facts) and not self.null_checked(part))
            for part, tree in self.parts.items()
        )

    def null_checked(self, part: KeyPart) -> bool:
        wanted = {self.form(null_check(part, where)) for where in (None, self.bound.where)}
        return any(
            c.kind == "check" and c.validated and c.enforced and self.form(c.expression) in wanted
            for c in self.table.constraints
        )

    def form(self, text: str) -> str:
        tree = self.reading.tree(text)
        return text if tree is None else self.reading.text(tree)

    # -- one element -------------------------------------------------------------------------

    def tree(self, element: IndexColumn) -> exp.Expression | None:
        if element.is_expression:
            return self.reading.tree(element.expression)
        column = exp.column(exp.to_identifier(element.expression, quoted=True))
        if element.collation_default:
            return column
        collated = self.reading.settle(
            exp.Collate(this=column.copy(), expression=exp.Literal.string(element.collation))
        )
        return collated if self.reading.text(collated) in self.part_texts else column

    def match(self, element: IndexColumn, index: Index, claim: Claim) -> str:
        """'ok', 'case' or '': is the element alike wherever the key's parts are?"""
        tree = self.tree(element)
        if tree is None or not _known_comparison(element, index):
            return ""
        held = filter(None, map(pinned_by, claim))
        pinned = {self.reading.text(c) for c in held}
        if self.determined(tree, pinned, as_is=True, fold=self.folds(element)):
            return "case" if self.is_finer(element, tree) else "ok"
        return "case" if self.determined(tree, pinned, as_is=True, fold="anywhere") else ""

    def folds(self, element: IndexColumn) -> Fold:
        """SQLite's lower() and NOCASE know the same 26 letters (datatype3.html §7)."""
        without_case = self.bound.dialect == "sqlite" and element.collation.upper() == "NOCASE"
        return "as it is" if without_case else "nowhere"

    def determined(
        self, node: exp.Expression, pinned: set[str], *, as_is: bool, fold: Fold
    ) -> bool:
        """Whether rows with the same key have the same value here.

        Args:
            node: of an index element.
            pinned: texts of columns that hold one value in all rows that the key speaks of.
            as_is: the value is compared as it is, or handed on; no function looks into it.
            fold: where to take a column that the key compares without case for a whole one.
        """
        if self.reading.text(node) in self.part_texts | pinned:
            return as_is or self.is_exact(node, fold)
        if tests_null(node) and self.is_folded(node.this):
            return True  # lower(x) is NULL where x is
        if isinstance(node, exp.Column):
            if self.is_folded(node) and (fold == "anywhere" or (fold == "as it is" and as_is)):
                return True
            made = self.reading.generated(node)
            return made is not None and self.determined(made, pinned, as_is=as_is, fold=fold)
        blind = self.blind_to_case(node)
        if blind is not None:
            return self.determined(blind, pinned, as_is=True, fold=fold)
        hands_on = as_is and (isinstance(node, exp.Coalesce) or tests_null(node))
        return all(self.determined(n, pinned, as_is=hands_on, fold=fold) for n in children(node))

    def is_folded(self, node: exp.Expression) -> bool:
        column = self.reading.column(node)
        return column is not None and column.name in self.folded

    @cached_property
    def folded(self) -> set[str]:
        """Columns that the key compares without case, and their type with it."""
        return {p.column.name for p in self.bound.parts if p.column and p.folded}

    def is_exact(self, node: exp.Expression, fold: Fold) -> bool:
        """Equal values of a part are the same value, so any function of them is the same too."""
        column = self.reading.column(node.this if isinstance(node, exp.Lower) else node)
        if column is None:
            return False
        exact = compares_exactly(column, self.bound.dialect)
        return exact or (fold == "anywhere" and column.case_insensitive)

    def blind_to_case(self, node: exp.Expression) -> exp.Expression | None:
        """The column of lower(column), where the column is compared by lower(): citext, NOCASE."""
        if not isinstance(node, exp.Lower):
            return None
        inner: exp.Expression = node.this
        column = self.reading.column(inner)
        if column is None or not column.case_insensitive:
            return None
        by_lower = self.bound.dialect == "sqlite" or column.collation_deterministic
        return inner if by_lower else None

    def is_finer(self, element: IndexColumn, tree: exp.Expression) -> bool:
        """The index tells apart values that a column of the key takes for equal."""
        if isinstance(tree, exp.Collate):  # the key names the collation itself
            return False
        for column in self.loose_columns(tree):
            if self.bound.dialect == "sqlite":
                own, used = column.collation.upper(), element.collation.upper()
                same = element.collation_default if not element.is_expression else own == used
            else:
                same = element.collation_default and _is_own_opclass(element)
            if not same:
                return True
        return False

    def loose_columns(self, node: exp.Expression) -> Iterator[Column]:
        """Columns below the node that know more values equal than are the same."""
        if tests_null(node) or self.blind_to_case(node) is not None:
            return
        column = self.reading.column(node)
        if column is not None and (
            column.case_insensitive
            or not column.collation_deterministic
            or (self.bound.dialect == "sqlite" and column.collation)
        ):
            yield column
        for child in children(node):
            yield from self.loose_columns(child)

    # -- several indexes together ------------------------------------------------------------

    def by_patterns(self, candidates: tuple[Candidate, ...]) -> Verdict | None:
        """One index for each way of being NULL, as partial ones beside a nullable one."""
        nullable = [
            tree
            for tree in self.parts.values()
            if tree is not None and self.reading.may_be_null(tree, self.facts)
        ]
        if not 0 < len(nullable) <= _MOST_NULLABLE:
            return None
        found = [self.of_pattern(nullable, missing) for missing in _subsets(nullable)]
        whole = found[0]  # of the rows without NULL
        if whole is None:
            return None
        if not all(found):
            return _verdict_except(("nulls",), whole, candidates)
        together = comma(dict.fromkeys(i.name for i in found if i is not None))
        return Verdict(by=whole, reason=f"the unique indexes {together}", candidates=candidates)

    def of_pattern(
        self, nullable: Sequence[exp.Expression], missing: Sequence[exp.Expression]
    ) -> Index | None:
        """The index that keeps apart the rows in which exactly the missing parts are NULL."""
        claim = [
            *self.facts,
            *(is_null(t) if t in missing else not_null(t) for t in nullable),
        ]
        for index in _unique_indexes(self.table):
            judged = self.candidate(index, claim)
            if not judged.unfit and not judged.gaps:
                return index
        return None


def _verdict_except(
    gaps: tuple[str, ...], index: Index, candidates: tuple[Candidate, ...]
) -> Verdict:
    flaws = comma(_SENTENCES[g].format(predicate=index.predicate) for g in gaps)
    reason = f"{_named(index)} {flaws}"
    return Verdict(gaps=gaps, by=index, reason=reason, candidates=candidates)


def _named(index: Index) -> str:
    return f"the {index.constraint_kind or 'unique index'} {index.name}"


def _unique_indexes(table: Table) -> Iterator[Index]:
    """An exclusion constraint by equality alone is one too, though not marked so."""
    exclusions = {
        c.index for c in table.constraints if c.kind == "exclusion" and c.all_equality and c.index
    }
    for index in table.indexes:
        if index.unique or index.name in exclusions:
            yield index


def _subsets(items: Sequence[exp.Expression]) -> Iterator[tuple[exp.Expression, ...]]:
    for size in range(len(items) + 1):
        yield from combinations(items, size)


def _is_own_opclass(element: IndexColumn) -> bool:
    return element.opclass_default or element.opclass.startswith("citext")


def _known_comparison(element: IndexColumn, index: Index) -> bool:
    """The pattern classes know the same values equal as the default one; of others nobody knows.

    The operators of an exclusion constraint were looked at by themselves.
    """
    known = element.opclass_default or element.opclass.endswith("_pattern_ops")
    return known or not index.unique


__all__ = ["GAPS", "Candidate", "Verdict", "null_check", "null_checked", "verdict", "with_folding"]
