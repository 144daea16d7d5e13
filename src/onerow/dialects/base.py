"""What both engines say alike: detection of violations, and the contract of a dialect.

A dialect is text and facts. It holds no connection and runs nothing, so every statement that
onerow ever sends can be read in a plan and tested without a server.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from onerow.children import Child
from onerow.expressions import columns_in
from onerow.keys import BoundKey
from onerow.schema import Column, Index, IndexColumn, Snapshot, Table
from onerow.sql import Name, comma, conjunction, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column of the survivor that the merge may change, and by which policy."""

    column: Column
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSpec:
    """A merge of duplicate rows, all decisions taken."""

    bound: BoundKey
    identity: tuple[str, ...]  #: columns that tell rows apart, and break ties
    changes: tuple[ColumnChange, ...]
    children: tuple[Child, ...]
    decisions: str | None = None  #: table of manual decisions, for `keep = "manual FILE"`

    @property
    def table(self) -> Table:
        return self.bound.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One archived change within a batch. The row count of `main` is what was archived."""

    table: Name
    action: str  #: 'deleted', 'updated', 'repointed'
    detail: str  #: the columns changed, as the undo needs them: comma-separated quoted names
    before: tuple[str, ...]
    main: str
    after: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    """Locks on rows that are referred to. The server takes them by itself where it checks foreign
    keys; as replica it does not."""

    @property
    def statements(self) -> tuple[str, ...]:
        return (*self.before, self.main, *self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """How one archived operation is taken back."""

    lock: str | None  #: locks the rows that it will touch
    changed: str  #: lists (identity…, reason): rows that others have changed since
    statement: str  #: puts back what nobody has changed
    forced: tuple[str, ...]  #: puts back everything, in place of `statement`
    missing: str  #: lists (identity…, reason) of rows that are not as they were after all
    guards: tuple[str, ...] = ()  #: as of `Operation`


#: Why an archived row is not as it was, where nobody has changed it since.
NOT_BACK = "a row that it refers to is gone, or its place in a unique key is taken"


def key_filter(bound: BoundKey) -> str:
    """Which rows a key speaks of. Rows with a NULL are out unless NULLs are equal."""
    tests = [f"({bound.where})"] if bound.where is not None else []
    if bound.key.nulls != "equal":
        tests += [f"{p.sql} IS NOT NULL" for p in bound.parts if p.nullable]
    return conjunction(tests)


def aliased(bound: BoundKey) -> list[str]:
    return [f"{p.sql} AS k{i}" for i, p in enumerate(bound.parts, 1)]


def key_aliases(bound: BoundKey) -> list[str]:
    return [f"k{i}" for i, _ in enumerate(bound.parts, 1)]


def group_by(bound: BoundKey) -> str:
    return f" GROUP BY {comma(p.sql for p in bound.parts)}" if bound.parts else ""


def archived_columns(table: Table) -> tuple[Column, ...]:
    """What the archive keeps of a row: all but virtual columns, which hold nothing."""
    return tuple(c for c in table.columns if c.generated != "virtual")


def restored_columns(table: Table) -> tuple[Column, ...]:
    return tuple(c for c in table.columns if c.writable)


class Dialect(ABC):
    """Text and facts of one engine."""

    name: ClassVar[str]
    schema: ClassVar[str]  #: where our own tables live
    batch: ClassVar[str]  #: the session's table of the batch at work
    keys: ClassVar[str]  #: the session's table of keys that stand more than once
    members: ClassVar[str]  #: the session's table of all members of duplicate groups
    write_lock: ClassVar[str]  #: the lock of an ordinary write, in the plan's words

    # -- detection ---------------------------------------------------------------------------

    def duplicates(self, bound: BoundKey, limit: int) -> str:
        """One pass that gives the largest groups, and in every row the totals.

        Columns: k1 … kn, members, groups, surplus (Σ(n − 1)).
        """
        groups = (
            f"SELECT {comma([*aliased(bound), 'count(*) AS n'])} FROM {bound.table.sql}"
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
        return f"SELECT count(*) FROM {bound.table.sql} WHERE {where}({tests})"

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

    def batch_disagreements(self, spec: MergeSpec, column: Column) -> str:
        """The same for the batch at work, after its rows are ranked."""
        p, s = element_names(spec.identity, "p"), element_names(spec.identity, "s")
        return (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.batch} AS m JOIN {spec.table.sql} AS o"
            f" ON {same(of('o', spec.identity), [f'm.{n}' for n in p])}"
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
            (f"{table}.{index.name}", _collisions(self, spec, table, index))
            for table in tables.values()
            for index in table.indexes
            if index.enforcing and _movers(spec, table, index, self.name)
        )
        ranking = f"({ranked(spec, self.order(spec))})"
        lacking = tuple(
            (f"{child.label}, as survivors lack", self.unplaced(spec, child, ranking))
            for child in spec.children
            if may_lack_target(spec, child)
        )
        return (*keys, *lacking)

    def unplaced(self, spec: MergeSpec, child: Child, ranking: str = "") -> str:
        """Counts children that refer to a row that goes by a value which its survivor lacks."""
        here = _followed(self, spec, child, ranking or self.batch, "b.rank > 1")
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
    def batch_table(self, spec: MergeSpec) -> tuple[str, ...]:
        """Makes the session's own table that holds the ranking of the batch at work."""

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

    @abstractmethod
    def operations(
        self, spec: MergeSpec, archives: dict[Name, str], op: int, batch: int
    ) -> tuple[Operation, ...]:
        """The archived changes of one batch, in order; their numbers start at `op`."""

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


def ranked(
    spec: MergeSpec, order: list[tuple[str, str]], condition: str = "", lock: str = ""
) -> str:
    """Rows of the key, ranked: p1 … pn, s1 … sn (their survivor), rank, size."""
    identity, p = spec.identity, element_names(spec.identity, "p")
    inner = [
        *(f"{quote(c)} AS {n}" for c, n in zip(identity, p, strict=True)),
        *aliased(spec.bound),
        *(f"({sql}) AS o{i}" for i, (sql, _) in enumerate(order, 1)),
    ]
    where = conjunction([key_filter(spec.bound), condition])
    source = f"(SELECT {comma(inner)} FROM {spec.table.sql} WHERE {where}{lock}) AS r"
    keys = key_aliases(spec.bound)
    partition = f"PARTITION BY {comma(keys)}" if keys else ""
    by = comma([*(f"o{i} {d}" for i, (_, d) in enumerate(order, 1)), *p])
    survivor = comma(f"first_value({n}) OVER w AS s{i}" for i, n in enumerate(p, 1))
    return (
        f"SELECT {comma(p)}, {survivor}, row_number() OVER w AS rank,"
        f" count(*) OVER ({partition}) AS size FROM {source}"
        f" WINDOW w AS ({partition} ORDER BY {by})"
    )


def members_by_window(spec: MergeSpec) -> str:
    """Rows of duplicate groups (grp, p1 … pn), by one sort of the whole table.

    The outer rank numbers the groups that are left without gaps: batches are ranges of numbers.
    """
    bound, p = spec.bound, element_names(spec.identity, "p")
    identity = [f"{quote(c)} AS {n}" for c, n in zip(spec.identity, p, strict=True)]
    keys = comma(part.sql for part in bound.parts)
    partition = f"PARTITION BY {keys}" if keys else ""
    number = f"dense_rank() OVER (ORDER BY {keys})" if keys else "1"
    rows = (
        f"SELECT {comma(identity)}, {number} AS g, count(*) OVER ({partition}) AS n"
        f" FROM {bound.table.sql} WHERE {key_filter(bound)}"
    )
    return (
        f"SELECT dense_rank() OVER (ORDER BY g) AS grp, {comma(p)} FROM ({rows}) AS r WHERE n > 1"
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


def _movers(spec: MergeSpec, table: Table, index: Index, dialect: str) -> list[Child]:
    """The references of a table whose moving changes what an index of it holds."""
    texts = [e.expression for e in index.columns if e.is_expression]
    read = [
        columns_in(t, dialect) for t in [*texts, *([index.predicate] if index.predicate else [])]
    ]
    used = {e.expression for e in index.columns if not e.is_expression}
    for names in read:
        # Not understood: it may read anything.
        used |= {c.name for c in table.columns} if names is None else names
    folded = {u.casefold() for u in used}
    return [
        c
        for c in spec.children
        if c.table.ident == table.ident and folded & {n.casefold() for n in c.columns}
    ]


def _collisions(dialect: Dialect, spec: MergeSpec, table: Table, index: Index) -> str:
    """Counts the groups of rows that would be equal in an index once all references have moved."""
    movers = _movers(spec, table, index, dialect.name)
    ranking = f"({ranked(spec, dialect.order(spec))})"
    how = "JOIN" if len(movers) == 1 else "LEFT JOIN"
    joins, moved = "", ""
    values: dict[str, str] = {}
    for n, child in enumerate(movers, 1):
        old = [f"m{n}.old{i}" for i, _ in enumerate(child.columns, 1)]
        test = conjunction([same(of("c", child.columns), old), condition(child)])
        follow = _followed(dialect, spec, child, ranking, "b.size > 1")
        joins += f" {how} ({follow}) AS m{n} ON {test}"
        moved += f"{' OR ' if moved else ''}{old[0]} IS NOT NULL"
        for i, column in enumerate(child.columns, 1):
            values[column] = values.get(column, "") + f" WHEN {old[0]} IS NOT NULL THEN m{n}.new{i}"
    columns = comma(
        f"CASE{values[c.name]} ELSE c.{quote(c.name)} END AS {quote(c.name)}"
        if c.name in values
        else f"c.{quote(c.name)}"
        for c in table.columns
    )
    rows = f"SELECT {columns} FROM {table.sql} AS c{joins} WHERE {moved}"
    elements = [_index_element(e, dialect.name) for e in index.columns]
    tests = [] if index.nulls_not_distinct else [f"{e} IS NOT NULL" for e in elements]
    if index.predicate is not None:
        tests.append(f"({index.predicate})")
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM ({rows}) AS r WHERE {conjunction(tests)}"
        f" GROUP BY {comma(elements)} HAVING count(*) > 1) AS g"
    )


def _index_element(element: IndexColumn, dialect: str) -> str:
    sql = f"({element.expression})" if element.is_expression else quote(element.expression)
    foreign = dialect == "sqlite" and element.collation and not element.collation_default
    return f"{sql} COLLATE {quote(element.collation)}" if foreign else sql


def _followed(dialect: Dialect, spec: MergeSpec, child: Child, ranking: str, which: str) -> str:
    """(old1, new1, …): what children may refer to, and what they will.

    The value of a reference that only a rule declares is compared in the child's type.
    """
    identity = spec.identity
    p, s = element_names(identity, "p"), element_names(identity, "s")

    def value(alias: str, target: str, column: str) -> str:
        sql = f"{alias}.{quote(target)}"
        return sql if child.declared else dialect.in_type_of(child.table.column(column), sql)

    pairs = comma(
        f"{value('l', t, c)} AS old{i}, {value('k', t, c)} AS new{i}"
        for i, (t, c) in enumerate(zip(child.target_columns, child.columns, strict=True), 1)
    )
    return (
        f"SELECT {pairs} FROM {ranking} AS b"
        f" JOIN {spec.table.sql} AS l ON {same(of('l', identity), [f'b.{n}' for n in p])}"
        f" JOIN {spec.table.sql} AS k ON {same(of('k', identity), [f'b.{n}' for n in s])}"
        f" WHERE {which}"
    )


def followed(dialect: Dialect, spec: MergeSpec, child: Child) -> str:
    """(old1, new1, …) for every row of the batch at work that goes."""
    return _followed(dialect, spec, child, dialect.batch, "b.rank > 1")


def condition(child: Child, alias: str = "c") -> str:
    """The declaration's own filter, evaluated where only the child's columns are in sight."""
    if child.where is None:
        return ""
    key = child.table.row_identity
    return (
        f"({comma(of(alias, key))}) IN (SELECT {comma(map(quote, key))}"
        f" FROM {child.table.sql} WHERE {child.where})"
    )


def may_lack_target(spec: MergeSpec, child: Child) -> bool:
    """The child refers by a column that may be empty in the survivor."""
    columns = [spec.table.column(c) for c in child.target_columns]
    return any(c is not None and not c.not_null for c in columns)


def renamed(table: Table, columns: Sequence[str]) -> bool:
    """Changing the columns changes what rows of the table are known by."""
    return bool(set(table.row_identity) & set(columns))


def now_names(table: Table) -> list[str]:
    """Columns of the archive that hold what a row is known by since it was changed."""
    return [f"onerow_now{i}" for i, _ in enumerate(table.row_identity, 1)]


def found_again(table: Table, columns: Sequence[str]) -> list[str]:
    """Where an archived row `a`, whose `columns` were changed, is found in the table now."""
    old = of("a", table.row_identity)
    if not renamed(table, columns):
        return old
    return [f"coalesce(a.{n}, {o})" for n, o in zip(now_names(table), old, strict=True)]


def quoted_names(text: str) -> list[str]:
    """The quoted names in a list of them, quotes left on."""
    return re.findall(r'"(?:[^"]|"")*"', text)


def unquote(name: str) -> str:
    return name[1:-1].replace('""', '"')


def referred_to(
    table: Table, archive: str, op: int, columns: Sequence[str] | None = None
) -> list[str]:
    """Tests that whatever an archived row `a` refers to is there, or comes back with it.

    Args:
        columns: those that are put back, the others are as they are in `t`; None: all.
    """
    tests = []
    for fk in table.foreign_keys:
        if columns is not None and not set(columns) & set(fk.columns):
            continue
        own = [f"{'a' if columns is None or c in columns else 't'}.{quote(c)}" for c in fk.columns]
        match = same(of("q", fk.target_columns), own)
        found = [f"EXISTS (SELECT 1 FROM {fk.target.sql} AS q WHERE {match})"]
        if columns is None and fk.target == table.ident:
            found.append(
                f"EXISTS (SELECT 1 FROM {archive} AS q WHERE q.onerow_op = {op} AND {match})"
            )
        tests.append(f"({' OR '.join([*(f'{c} IS NULL' for c in own), *found])})")
    return tests


def element_names(identity: Sequence[str], prefix: str) -> list[str]:
    return [f"{prefix}{i}" for i, _ in enumerate(identity, 1)]


def same(left: Sequence[str], right: Sequence[str]) -> str:
    """`a = x AND b = y`."""
    return conjunction(f"{a} = {b}" for a, b in zip(left, right, strict=True))


def of(alias: str, names: Sequence[str]) -> list[str]:
    return [f"{alias}.{quote(n)}" for n in names]


def unfit_index(index: Index) -> bool:
    return not (index.valid and index.ready and index.live)


__all__ = [
    "NOT_BACK",
    "ColumnChange",
    "Dialect",
    "MergeSpec",
    "Operation",
    "Restore",
    "Snapshot",
    "aliased",
    "archived_columns",
    "condition",
    "element_names",
    "followed",
    "found_again",
    "group_by",
    "key_aliases",
    "key_filter",
    "keys_more_than_once",
    "may_lack_target",
    "members_by_keys",
    "members_by_window",
    "now_names",
    "of",
    "quoted_names",
    "ranked",
    "referred_to",
    "renamed",
    "restored_columns",
    "same",
    "unfit_index",
    "unquote",
]
