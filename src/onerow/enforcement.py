"""How far the catalog enforces a Key: the one algorithm that every surface asks.

An index enforces a key when it is unique and in force, every element of it is determined by the
key's columns (fewer or coarser elements are stricter, and fine), its filter lets in every row
that the key speaks of, and NULLs, case, partitions and deferral leave no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from onerow.expressions import columns_in, conjuncts, implies, may_be_null, normal
from onerow.keys import BoundKey, KeyPart
from onerow.schema import PARTITIONED, Index, IndexColumn, Table
from onerow.sql import comma, quote

GAPS = ("nulls", "filter", "case", "partitions", "deferrable")
_MOST_NULL_PATTERNS = 3  #: nullable columns whose patterns of NULLs are looked at, 2^n − 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One index of the table, and why it does not enforce the key whole."""

    index: Index
    gaps: tuple[str, ...] = ()
    unfit: str = ""  #: a sentence, when it enforces nothing of the key


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
    "case": "tells upper and lower case apart",
    "partitions": "does not reach the tables that inherit",
    "deferrable": "is checked at commit only, so no ON CONFLICT and no foreign key can use it",
}


def verdict(bound: BoundKey) -> Verdict:
    """How far the table's indexes enforce the key, and by which one."""
    candidates = tuple(_judge(index, bound) for index in _unique_indexes(bound.table))
    fitting = sorted((c for c in candidates if not c.unfit), key=lambda c: len(c.gaps))
    if not fitting:
        return Verdict(reason=_why_none(bound, candidates), candidates=candidates)
    best = fitting[0]
    gaps = tuple(g for g in GAPS if g in best.gaps)
    if "nulls" in gaps and _null_patterns_covered(bound, best.index):
        gaps = tuple(g for g in gaps if g != "nulls")
    return Verdict(gaps=gaps, by=best.index, reason=_why(best, gaps), candidates=candidates)


def _why(best: Candidate, gaps: tuple[str, ...]) -> str:
    what = f"the {best.index.constraint_kind or 'unique index'} {best.index.name}"
    if not gaps:
        return what
    flaws = comma(_SENTENCES[g].format(predicate=best.index.predicate) for g in gaps)
    return f"{what} {flaws}"


def _why_none(bound: BoundKey, candidates: tuple[Candidate, ...]) -> str:
    near = [c.unfit for c in candidates if c.unfit and not c.unfit.startswith("is on")]
    if near:
        return "; ".join(near)
    return f"{bound.table} has no unique index on {comma(p.label for p in bound.parts) or 'it'}"


def _unique_indexes(table: Table) -> Iterator[Index]:
    exclusions = {
        c.index for c in table.constraints if c.kind == "exclusion" and c.all_equality and c.index
    }
    for index in table.indexes:
        if index.unique or index.name in exclusions:
            yield index


def _judge(index: Index, bound: BoundKey) -> Candidate:
    covered = [_match(element, bound) for element in index.columns]
    if not all(covered):
        foreign = comma(
            e.expression for e, c in zip(index.columns, covered, strict=True) if not c
        )
        return Candidate(index=index, unfit=f"is on more than the key: {index.name} has {foreign}")
    if not (index.valid and index.ready and index.live):
        return Candidate(
            index=index,
            unfit=f"the unique index {index.name} is invalid (a concurrent build failed), so it "
            "does not keep duplicates out",
        )
    gaps = {g for c in covered for g in c if g != "ok"}
    gaps |= set(_gaps_of_index(index, bound))
    return Candidate(index=index, gaps=tuple(g for g in GAPS if g in gaps))


def _gaps_of_index(index: Index, bound: BoundKey) -> Iterator[str]:
    if not _filter_fits(index, bound):
        yield "filter"
    if _lets_nulls_in(index, bound):
        yield "nulls"
    if bound.table.kind != PARTITIONED and bound.table.inherited_by:
        yield "partitions"
    if not index.immediate:
        yield "deferrable"


def _match(element: IndexColumn, bound: BoundKey) -> tuple[str, ...]:
    """('ok',), ('case',) or nothing: is the element determined by the key's columns?"""
    if not element.is_expression:
        return _match_column(element, bound)
    own = normal(element.expression, bound.dialect)
    if any(normal(p.sql, bound.dialect) == own for p in bound.parts):
        return ("ok",)
    used = columns_in(element.expression, bound.dialect)
    if used is None:
        return ()
    raw = {p.column.name for p in bound.parts if p.column and not p.folded}
    if used <= raw:
        return ("ok",)
    folded = {p.column.name: p for p in bound.parts if p.column and p.folded}
    if used <= raw | set(folded):
        return ("ok",) if _is_case_blind(own, folded.values(), bound) else ("case",)
    return ()


def _is_case_blind(expression: str, folded: Iterable[KeyPart], bound: BoundKey) -> bool:
    """Every case-folded column appears in the expression under its fold only."""
    rest = expression
    for part in folded:
        rest = rest.replace(normal(part.sql, bound.dialect), "''")
        # A NULL test reads no case.
        name = part.column.name.casefold() if part.column else ""
        rest = rest.replace(f"{name} is null", "''")
    names = {p.column.name.casefold() for p in folded if p.column}
    left = columns_in(rest, bound.dialect)
    return left is not None and not ({c.casefold() for c in left} & names)


def _match_column(element: IndexColumn, bound: BoundKey) -> tuple[str, ...]:
    for part in bound.parts:
        if part.column and part.column.name == element.expression:
            return ("case",) if part.folded and not _folds(element) else ("ok",)
    return ()


def _folds(element: IndexColumn) -> bool:
    return element.collation.upper() == "NOCASE"


def _filter_fits(index: Index, bound: BoundKey) -> bool:
    """Every row that the key speaks of is in the index."""
    if index.predicate is None:
        return True
    wanted = set(conjuncts(index.predicate, bound.dialect))
    given = set(conjuncts(bound.where, bound.dialect))
    if bound.key.nulls == "distinct":
        # Such a key says nothing of rows with a NULL in it.
        given |= {_not_null_text(p, bound) for p in bound.parts}
    else:
        given |= {_not_null_text(p, bound) for p in bound.parts if not p.nullable}
    return wanted <= given


def _not_null_text(part: KeyPart, bound: BoundKey) -> str:
    return normal(f"{part.sql} IS NOT NULL", bound.dialect)


def _lets_nulls_in(index: Index, bound: BoundKey) -> bool:
    nulls = bound.key.nulls
    columns = {c.name: c for c in bound.table.columns}
    nullable = lambda name: name not in columns or not columns[name].not_null  # noqa: E731
    if nulls == "forbidden":
        return any(p.nullable and not null_checked(p, bound) for p in bound.parts)
    own = [normal(p.sql, bound.dialect) for p in bound.parts]
    for element in index.columns:
        sql = element.expression if element.is_expression else quote(element.expression)
        if not may_be_null(sql, bound.dialect, nullable) or index.nulls_not_distinct:
            continue
        same = normal(sql, bound.dialect) in own
        strict = not element.is_expression
        if nulls == "equal" or not (same or strict or _null_only_with_key(sql, bound)):
            return True
    return False


def _null_only_with_key(sql: str, bound: BoundKey) -> bool:
    """The element is NULL only where a column of the key is."""
    return not may_be_null(sql, bound.dialect, lambda _name: False)


def null_check(part: KeyPart, where: str | None) -> str:
    """The CHECK expression that forbids NULL among the filtered rows."""
    test = f"{part.sql} IS NOT NULL"
    return test if where is None else f"({where}) IS NOT TRUE OR {test}"


def null_checked(part: KeyPart, bound: BoundKey) -> bool:
    wanted = {
        normal(null_check(part, bound.where), bound.dialect),
        normal(null_check(part, None), bound.dialect),
    }
    return any(
        c.kind == "check" and c.validated and normal(c.expression, bound.dialect) in wanted
        for c in bound.table.constraints
    )


def _null_patterns_covered(bound: BoundKey, index: Index) -> bool:
    """Partial unique indexes complete a nullable one: one for each way of being NULL."""
    if bound.key.nulls != "equal":
        return False
    nullable = [p for p in bound.parts if p.nullable]
    if not 0 < len(nullable) <= _MOST_NULL_PATTERNS:
        return False
    others = [i for i in bound.table.indexes if i.enforcing and i.immediate and i is not index]
    return all(
        any(_covers_pattern(i, bound, set(missing)) for i in others)
        for size in range(1, len(nullable) + 1)
        for missing in combinations(nullable, size)
    )


def _covers_pattern(index: Index, bound: BoundKey, missing: set[KeyPart]) -> bool:
    present = [p for p in bound.parts if p not in missing]
    given = set(conjuncts(bound.where, bound.dialect))
    given |= {normal(f"{p.sql} IS NULL", bound.dialect) for p in missing}
    given |= {_not_null_text(p, bound) for p in present}
    elements = {
        normal(e.expression if e.is_expression else quote(e.expression), bound.dialect)
        for e in index.columns
    }
    wanted = set(conjuncts(index.predicate, bound.dialect))
    return wanted <= given and elements <= {normal(p.sql, bound.dialect) for p in present}


__all__ = ["Candidate", "Verdict", "implies", "null_check", "verdict"]
