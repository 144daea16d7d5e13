"""Finding the rows of duplicate groups, and ranking them."""

from __future__ import annotations

from onerow.dialects.phrases import (
    aliased,
    element_names,
    group_by,
    key_aliases,
    key_filter,
    same,
)
from onerow.dialects.values import MergeSpec
from onerow.sql import comma, conjunction, quote


def ranked(
    spec: MergeSpec,
    order: list[tuple[str, str]],
    condition: str = "",
    lock: str = "",
    holds: str = "",
) -> str:
    """Rows of the key, ranked: p1 … pn, s1 … sn (their survivor), rank, size (1: alone; 2: not).

    Args:
        holds: bits of what a row holds; then comes, too, whether it holds what its survivor lacks.
    """
    identity, p = spec.identity, element_names(spec.identity, "p")
    inner = [
        *(f"{quote(c)} AS {n}" for c, n in zip(identity, p, strict=True)),
        *aliased(spec.bound),
        *(f"({sql}) AS o{i}" for i, (sql, _) in enumerate(order, 1)),
        *([f"{holds} AS holds"] if holds else []),
    ]
    where = conjunction([key_filter(spec.bound), condition])
    source = f"(SELECT {comma(inner)} FROM {spec.table.sql} WHERE {where}{lock}) AS r"
    keys = key_aliases(spec.bound)
    partition = f"PARTITION BY {comma(keys)}" if keys else ""
    by = comma([*(f"o{i} {d}" for i, (_, d) in enumerate(order, 1)), *p])
    survivor = comma(f"first_value({n}) OVER w AS s{i}" for i, n in enumerate(p, 1))
    # A count would need a second window, and nobody asks for more than whether a row is alone.
    alone = "row_number() OVER w = 1 AND lead(1) OVER w IS NULL"
    gives = ", holds & ~(first_value(holds) OVER w) <> 0 AS gives" if holds else ""
    return (
        f"SELECT {comma(p)}, {survivor}, row_number() OVER w AS rank,"
        f" CASE WHEN {alone} THEN 1 ELSE 2 END AS size{gives} FROM {source}"
        f" WINDOW w AS ({partition} ORDER BY {by})"
    )


def members_by_window(spec: MergeSpec) -> str:
    """Rows of duplicate groups (grp, p1 … pn), by one sort of the whole table.

    Batches are ranges of numbers, so the outer rank numbers the groups without gaps; and by the
    identity of one of their rows, so that a batch finds its rows side by side, not all over the
    table: rows of one time were often written together, and so were their doubles.
    """
    bound, p = spec.bound, element_names(spec.identity, "p")
    identity = [f"{quote(c)} AS {n}" for c, n in zip(spec.identity, p, strict=True)]
    keys = comma(part.sql for part in bound.parts)
    partition = f"PARTITION BY {keys}" if keys else ""
    one = element_names(spec.identity, "g")
    firsts = [
        f"first_value({quote(c)}) OVER w AS {n}" for c, n in zip(spec.identity, one, strict=True)
    ]
    rows = (
        f"SELECT {comma([*identity, *firsts])}, count(*) OVER w AS n"
        f" FROM {bound.table.sql} WHERE {key_filter(bound)} WINDOW w AS ({partition})"
    )
    return (
        f"SELECT dense_rank() OVER (ORDER BY {comma(one)}) AS grp, {comma(p)}"
        f" FROM ({rows}) AS r WHERE n > 1"
    )


def members_by_keys(spec: MergeSpec, keys_table: str) -> str:
    """Rows of duplicate groups (grp, p1 … pn), by joining the listed keys."""
    bound = spec.bound
    keys, p = key_aliases(bound), element_names(spec.identity, "p")
    identity = [f"{quote(c)} AS {n}" for c, n in zip(spec.identity, p, strict=True)]
    rows = (
        f"SELECT {comma([*identity, *aliased(bound)])} FROM {bound.table.sql}"
        f" WHERE {key_filter(bound)}"
    )
    joined = same([f"r.{k}" for k in keys], [f"d.{k}" for k in keys])
    return (
        f"SELECT d.grp, {comma(f'r.{n}' for n in p)}"
        f" FROM ({rows}) AS r JOIN {keys_table} AS d ON {joined} ORDER BY d.grp"
    )


def keys_more_than_once(spec: MergeSpec) -> str:
    """Keys of duplicate groups (k1 … kn, n, grp), by a sort of the bare keys."""
    bound = spec.bound
    keys = key_aliases(bound)
    groups = (
        f"SELECT {comma(aliased(bound))}, count(*) AS n FROM {bound.table.sql}"
        f" WHERE {key_filter(bound)}{group_by(bound)} HAVING count(*) > 1"
    )
    return f"SELECT {comma(keys)}, n, row_number() OVER () AS grp FROM ({groups}) AS g"
