"""The contract of a dialect, and what both engines say alike.

A dialect is text and facts. It holds no connection and runs nothing, so every statement that
onerow ever sends can be read in a plan and tested without a server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from onerow.children import Child
from onerow.dialects.collisions import (
    collisions,
    condition,
    may_lack_target,
    movers,
    moves,
    spelled_out,
)
from onerow.dialects.folds import Change, sequence
from onerow.dialects.groups import ranked
from onerow.dialects.phrases import (
    aliased,
    element_names,
    group_by,
    key_aliases,
    key_filter,
    of,
    same,
)
from onerow.dialects.values import Entry, Merged, MergeSpec, Operation, Restore
from onerow.keys import BoundKey
from onerow.schema import Column, Table
from onerow.sql import Name, comma, conjunction, quote


class Dialect(ABC):
    """Text and facts of one engine."""

    name: ClassVar[str]
    schema: ClassVar[str]  #: where our own tables live
    batch: ClassVar[str]  #: the session's table of the batch at work
    keys: ClassVar[str]  #: the session's table of keys that stand more than once
    members: ClassVar[str]  #: the session's table of all members of duplicate groups
    typed_batch: ClassVar[bool]  #: the batch's table holds values in their columns' own types
    write_lock: ClassVar[str]  #: the lock of an ordinary write, in the plan's words

    # -- detection ---------------------------------------------------------------------------

    def duplicates(self, bound: BoundKey, limit: int) -> str:
        """One pass that gives the largest groups, and in every row the totals.

        Columns: k1 … kn, members, groups, surplus (Σ(n − 1)).
        """
        groups = (
            f"SELECT {comma([*aliased(bound), 'count(*) AS n'])} FROM {bound.rows}"
            f" WHERE {key_filter(bound)}{group_by(bound)} HAVING count(*) > 1"
        )
        order = comma(["n DESC", *key_aliases(bound)])
        columns = comma(
            [
                *key_aliases(bound),
                "n AS members",
                "count(*) OVER () AS groups",
                "sum(n - 1) OVER () AS surplus",
            ]
        )
        return f"SELECT {columns} FROM ({groups}) AS g ORDER BY {order} LIMIT {limit}"

    def forbidden_nulls(self, bound: BoundKey) -> str:
        """Counts rows with a NULL in the key, for `nulls = "forbidden"`."""
        tests = " OR ".join(f"{p.sql} IS NULL" for p in bound.parts)
        where = f"({bound.where}) AND " if bound.where is not None else ""
        return f"SELECT count(*) FROM {bound.rows} WHERE {where}({tests})"

    def disagreements(self, spec: MergeSpec, column: Column) -> str:
        """Counts groups in which a column with the policy `error` holds two different values."""
        bound = spec.bound
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM {bound.table.sql} WHERE {key_filter(bound)}"
            f"{group_by(bound)} HAVING count(*) > 1"
            f" AND count(DISTINCT {quote(column.name)}) > 1) AS g"
        )

    def batch_undecided(self, spec: MergeSpec) -> str:
        """Counts groups of the batch at work whose best row nobody chose."""
        p = element_names(spec.identity, "p")
        chosen = same([f"m.{n}" for n in p], of("d", spec.identity))
        return (
            f"SELECT count(*) FROM {self.batch} AS m WHERE m.rank = 1 AND m.size > 1"
            f" AND NOT EXISTS (SELECT 1 FROM {spec.decisions} AS d WHERE {chosen})"
        )

    def batch_disagreements(self, merged: Merged, column: Column) -> str:
        """The same for the batch at work, after its rows are ranked."""
        identity = merged.identity
        p, s = element_names(identity, "p"), element_names(identity, "s")
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.batch_of(merged)} AS m"
            f" JOIN {merged.table.sql} AS o ON {same(of('o', identity), [f'm.{n}' for n in p])}"
            f" GROUP BY {comma(f'm.{n}' for n in s)}"
            f" HAVING count(DISTINCT o.{quote(column.name)}) > 1) AS g"
        )

    def undecided(self, spec: MergeSpec) -> str:
        """Counts groups of which the manual decisions do not name exactly one row."""
        bound = spec.bound
        inner = comma([*map(quote, spec.identity), *aliased(bound)])
        keys = key_aliases(bound)
        by = f" GROUP BY {comma(keys)}" if keys else ""
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM (SELECT {inner} FROM {bound.table.sql}"
            f" WHERE {key_filter(bound)}) AS r LEFT JOIN {spec.decisions} AS d"
            f" ON {same(of('r', spec.identity), of('d', spec.identity))}{by}"
            f" HAVING count(*) > 1 AND count(d.onerow_keep) <> 1) AS g"
        )

    def every_member(self, spec: MergeSpec) -> str:
        """Lists every row of every duplicate group: k1 … kn, primary key, group by group."""
        bound, p = spec.bound, element_names(spec.identity, "p")
        identity = [f"{quote(c)} AS {n}" for c, n in zip(spec.identity, p, strict=True)]
        keys = key_aliases(bound)
        partition = f"PARTITION BY {comma(x.sql for x in bound.parts)}" if keys else ""
        return (
            f"SELECT {comma([*keys, *p])} FROM (SELECT {comma([*aliased(bound), *identity])},"
            f" count(*) OVER ({partition}) AS n FROM {bound.table.sql}"
            f" WHERE {key_filter(bound)}) AS r WHERE n > 1 ORDER BY {comma([*keys, *p])}"
        )

    def child_collisions(self, spec: MergeSpec) -> tuple[tuple[str, str], ...]:
        """(what re-pointing would break, SQL that counts where it would)."""
        tables = {c.table.ident: c.table for c in spec.children}
        keys = tuple(
            (f"{table}.{index.name}", collisions(self, spec, table, index))
            for table in tables.values()
            for index in (spelled_out(i, table) for i in table.indexes)
            if index.enforcing and movers(spec.children, index, table, self.name)
        )
        ranking = f"({ranked(spec, self.order(spec))})"
        lacking = tuple(
            (f"{child.label}, as survivors lack", self.unplaced(spec, child, ranking))
            for child in spec.children
            if may_lack_target(spec, child)
        )
        return (*keys, *lacking)

    def batch_of(self, merged: Merged) -> str:
        """The session's table of the rows at work: p1 … pn, s1 … sn (who stays), rank, size."""
        return f"{self.batch}_{merged.number}" if merged.number else self.batch

    def unplaced(self, merged: Merged, child: Child, ranking: str = "") -> str:
        """Counts children that refer to a row that goes by a value which its survivor lacks."""
        here = moves(self, merged, child, ranking or self.batch_of(merged), "b.rank > 1")
        new = " OR ".join(f"m.new{i} IS NULL" for i, _ in enumerate(child.columns, 1))
        old = [f"m.old{i}" for i, _ in enumerate(child.columns, 1)]
        test = conjunction([same(of("c", child.columns), old), condition(child)])
        return (
            f"SELECT count(*) FROM ({here}) AS m JOIN {child.table.sql} AS c ON {test} WHERE {new}"
        )

    def order(self, spec: MergeSpec) -> list[tuple[str, str]]:
        """(expression, direction) by which the rows of a group are ranked, NULL last.

        The primary key comes after it, so the order is total.
        """
        keep = spec.bound.key.keep
        if keep.how == "first":
            return []
        if keep.how == "manual":
            own = [f"{spec.table.sql}.{quote(c)}" for c in spec.identity]
            test = same(of("d", spec.identity), own)
            chosen = f"SELECT 1 FROM {spec.decisions} AS d WHERE {test} AND d.onerow_keep"
            return [(f"NOT EXISTS ({chosen})", "ASC")]
        what = quote(keep.what) if spec.table.column(keep.what) else keep.what
        return [(what, f"{'DESC' if keep.descending else 'ASC'} NULLS LAST")]

    # -- definition --------------------------------------------------------------------------

    @abstractmethod
    def create_unique_index(self, bound: BoundKey, name: str, *, online: bool = True) -> str: ...

    @abstractmethod
    def index_elements(self, bound: BoundKey) -> tuple[str, ...]:
        """The elements of the unique index that enforces a key."""

    @abstractmethod
    def drop_index(self, index: Name, *, online: bool = True) -> str: ...

    # -- merge -------------------------------------------------------------------------------

    @abstractmethod
    def policy_misfit(self, column: Column, policy: str) -> str | None:
        """Why a merge policy cannot serve a column; None when it can."""

    @abstractmethod
    def in_type_of(self, column: Column | None, sql: str) -> str:
        """A value as a column would hold it, that no foreign key ties to the value's type."""

    @abstractmethod
    def batch_table(self, merged: Merged) -> tuple[str, ...]:
        """Makes the session's own tables that hold the ranking of the batch at work."""

    @abstractmethod
    def list_keys(self, spec: MergeSpec) -> tuple[str, ...]:
        """Fills `onerow_keys (k1 … kn, n, grp)` with the keys that stand more than once.

        Nothing where equal NULLs or foreign collations forbid to find rows by such a list.
        """

    @abstractmethod
    def list_members(self, spec: MergeSpec, *, by_keys: bool) -> tuple[str, ...]:
        """Fills `onerow_members (grp, p1 … pn)` with all rows of duplicate groups, numbered from 1.

        `by_keys`: by looking up the keys listed before, which pays while they are few; else by a
        window over all rows.
        """

    @abstractmethod
    def rank(self, spec: MergeSpec, first: int, last: int) -> tuple[str, ...]:
        """Locks the rows of the groups first … last and ranks them by what they hold now."""

    def operations(
        self, spec: MergeSpec, archives: dict[Name, str], op: int, batch: int
    ) -> tuple[Operation, ...]:
        """The archived changes of one batch, in order; their numbers start at `op`."""
        return tuple(
            self.operation(change, Entry(archive=archives[change.table.ident], op=n, batch=batch))
            for n, change in enumerate(sequence(spec, self.name), op)
        )

    @abstractmethod
    def operation(self, change: Change, entry: Entry) -> Operation:
        """One change of a batch."""

    @abstractmethod
    def lock_rows(self, table: Table, which: str) -> tuple[str, ...]:
        """Locks rows in the order of their identity; `which` is a query that lists it."""

    @abstractmethod
    def create_archive(self, table: Table, name: str) -> str: ...

    @abstractmethod
    def index_archive(self, archive: Name) -> tuple[str, ...]:
        """Makes an archive quick to read by operation, before it is read back."""

    @abstractmethod
    def restore(
        self, table: Table, archive: str, action: str, detail: str, op: int, row: str = ""
    ) -> Restore:
        """How an operation is taken back; `row` picks one of its rows (see `row_numbers`)."""

    @abstractmethod
    def row_numbers(self, table: Table, archive: str, op: int) -> str:
        """Lists (identity…, a condition that is true for it alone) of an operation's rows."""
