"""Children that collide in unique keys of their own when they are re-pointed, to a fixpoint.

What will be equal is found before anything is changed: every table of which rows go has a session
table that says which row of it stands for which (`Dialect.batch_of`). Rows of child tables are
looked at as they will be; those that are equal then join their table's list, and what refers to
them is looked at in turn. Only then are rows changed, in an order that leaves no reference
dangling and no place in a unique key taken twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from onerow.children import Child
from onerow.dialects.collisions import index_terms, indexed_columns, moved_rows, movers, moves
from onerow.dialects.groups import ranked
from onerow.dialects.phrases import element_names, of, same
from onerow.dialects.values import Fold, Merged, MergeSpec
from onerow.schema import Index, Table
from onerow.sql import comma, conjunction, quote

if TYPE_CHECKING:
    from onerow.dialects.base import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One archived change of a batch."""

    how: Literal["repoint", "park", "delete", "update"]
    merged: Merged  #: whose rows go; of `park`: the table that is changed itself
    child: Child | None = None

    @property
    def table(self) -> Table:
        return self.child.table if self.child else self.merged.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A unique index in which rows of a child table may meet."""

    table: Table
    index: Index
    moving: tuple[tuple[Merged, Child], ...]
    fold: Fold | None  #: what is done with those that do; None: the merge must not go on
    home: Merged | None  #: rows of this table go, too

    @property
    def label(self) -> str:
        return f"{self.table}.{self.index.name}"


@dataclass(frozen=True, slots=True)
class _Family:
    """The tables of which rows go, children before their parents, and what closes a circle."""

    order: tuple[Merged, ...]
    back: tuple[tuple[Merged, Child], ...]


def _family(spec: MergeSpec) -> _Family:
    homes = {m.table.ident: m for m in spec.merged}
    order: list[Merged] = []
    back: list[tuple[Merged, Child]] = []
    above: list[Merged] = []

    def visit(merged: Merged) -> None:
        above.append(merged)
        for child in merged.children:
            home = homes.get(child.table.ident)
            if home is None or home in order:
                continue
            if home in above:
                back.append((merged, child))
            else:
                visit(home)
        above.remove(merged)
        order.append(merged)

    visit(spec)
    return _Family(tuple(order), tuple(back))


def circular(spec: MergeSpec) -> bool:
    """Rows that go may refer to each other in a circle, or to rows of their own table."""
    return bool(_family(spec).back)


# -- what is done, in order --------------------------------------------------------------------


def sequence(spec: MergeSpec, dialect: str) -> Iterator[Change]:
    """The changes of a batch.

    Taken back in the opposite order, every row finds what it refers to and its place in unique
    keys. In a circle, references that close it are moved first, of the rows that go as well; where
    they would be in the way of the rows that stay, they are emptied.
    """
    family = _family(spec)
    homes = {m.table.ident: m for m in family.order}
    all_moves = [(m, c) for m in spec.merged for c in m.children]
    for merged, child in all_moves:
        if child.table.ident not in homes:
            yield Change(how="repoint", merged=merged, child=child)
    for _, child in family.back:
        if spec.folds and _in_the_way(child, dialect):
            yield Change(how="park", merged=homes[child.table.ident], child=child)
    for merged, child in family.back:
        yield Change(how="repoint", merged=merged, child=child)
    for home in family.order:
        yield Change(how="delete", merged=home)
        if home.changes:
            yield Change(how="update", merged=home)
        for merged, child in all_moves:
            if child.table.ident == home.table.ident and (merged, child) not in family.back:
                yield Change(how="repoint", merged=merged, child=child)


def _in_the_way(child: Child, dialect: str) -> bool:
    """A row that goes could hold the place of one that stays, and can be emptied before."""
    return bool(emptied(child)) and any(
        movers([child], i, child.table, dialect) for i in child.table.indexes if i.enforcing
    )


def emptied(child: Child) -> tuple[str, ...]:
    """The columns of a reference that may be NULL."""
    table = child.table
    return tuple(n for n in child.columns for c in [table.column(n)] if c and not c.not_null)


# -- what is found, before ---------------------------------------------------------------------


def meetings(spec: MergeSpec, dialect: str) -> tuple[Meeting, ...]:
    """Every unique index in which re-pointed rows may meet, parents before their children."""
    folds = {f.table.ident: f for f in spec.folds}
    homes = {m.table.ident: m for m in spec.merged}
    places = {m.table.ident: n for n, m in enumerate(reversed(_family(spec).order))}
    tables = sorted(
        {c.table.ident: c.table for c in spec.references}.values(),
        key=lambda t: places.get(t.ident, len(places)),
    )
    return tuple(
        Meeting(
            table=t,
            index=i,
            moving=tuple(moving),
            fold=folds.get(t.ident),
            home=homes.get(t.ident),
        )
        for t in tables
        for i in t.indexes
        if i.enforcing
        for moving in [_moving(spec, t, i, dialect)]
        if moving
    )


def _moving(
    spec: MergeSpec, table: Table, index: Index, dialect: str
) -> list[tuple[Merged, Child]]:
    used = indexed_columns(index, table, dialect)
    return [
        (m, c)
        for m in spec.merged
        for c in m.children
        if c.table.ident == table.ident and used & {n.casefold() for n in c.columns}
    ]


def _going(dialect: Dialect, meeting: Meeting) -> list[tuple[Child, str]]:
    return [
        (child, moves(dialect, merged, child, dialect.batch_of(merged), "b.size > 1"))
        for merged, child in meeting.moving
    ]


def touched(dialect: Dialect, meeting: Meeting) -> str:
    """Lists the identity of every row that refers to a member of a group."""
    own = comma(of("c", meeting.table.row_identity))
    return " UNION ".join(
        f"SELECT {own} FROM {meeting.table.sql} AS c JOIN ({follow}) AS m"
        f" ON {same(of('c', child.columns), [f'm.old{i}' for i, _ in enumerate(child.columns, 1)])}"
        for child, follow in _going(dialect, meeting)
    )


def groups_met(dialect: Dialect, meeting: Meeting) -> str:
    """Counts the groups of rows that will be equal."""
    elements, tests = index_terms(meeting.index, dialect.name)
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM ({_rows(dialect, meeting)}) AS r"
        f" WHERE {conjunction(tests)} GROUP BY {comma(elements)} HAVING count(*) > 1) AS g"
    )


def _rows(dialect: Dialect, meeting: Meeting) -> str:
    """Rows as they will be, with what they are known by now; without those that go already."""
    table, moving = meeting.table, _going(dialect, meeting)
    identity = table.row_identity
    p = element_names(identity, "onerow_p")
    place = " + ".join(f"coalesce(m{n}.place, 1)" for n, _ in enumerate(moving, 1))
    extra = [f"{c} AS {n}" for c, n in zip(of("c", identity), p, strict=True)]
    rows = moved_rows(table, moving, [*extra, f"{place} AS onerow_place"])
    own = comma(of("c", identity))
    if len(moving) > 1:
        # Else every row of the table would be looked at, for a handful of them.
        rows += f" AND ({own}) IN ({touched(dialect, meeting)})"
    if meeting.home:
        b = element_names(identity, "b.p")
        rows += (
            f" AND NOT EXISTS (SELECT 1 FROM {dialect.batch_of(meeting.home)} AS b"
            f" WHERE b.rank > 1 AND {same(b, of('c', identity))})"
        )
    return rows


def _joined(dialect: Dialect, fold: Fold) -> str:
    return f"{dialect.batch}_joined_{fold.number}"


def _equal(dialect: Dialect, meeting: Meeting, fold: Fold) -> str:
    """Rows that will be equal (p1 … pn, s1 … sn, rank, size), best row first."""
    elements, tests = index_terms(meeting.index, dialect.name)
    own = element_names(fold.identity, "onerow_p")
    p, s = element_names(fold.identity, "p"), element_names(fold.identity, "s")
    by = comma([*(f"{sql} {direction}" for sql, direction in fold.order), *own])
    columns = [
        *(f"{o} AS {n}" for o, n in zip(own, p, strict=True)),
        *(f"first_value({o}) OVER w AS {n}" for o, n in zip(own, s, strict=True)),
        "row_number() OVER w AS rank",
        f"count(*) OVER (PARTITION BY {comma(elements)}) AS size",
    ]
    rows = (
        f"SELECT {comma(columns)} FROM ({_rows(dialect, meeting)}) AS r"
        f" WHERE {conjunction(tests)}"
        f" WINDOW w AS (PARTITION BY {comma(elements)} ORDER BY {by})"
    )
    return f"SELECT {comma([*p, *s])}, rank, size FROM ({rows}) AS g WHERE size > 1"


def meet(dialect: Dialect, meeting: Meeting, fold: Fold) -> tuple[str, str]:
    """Lists the rows that will be equal in the index; the second statement tells how many."""
    joined = _joined(dialect, fold)
    return f"DELETE FROM {joined}", f"INSERT INTO {joined} {_equal(dialect, meeting, fold)}"


def join(dialect: Dialect, fold: Fold) -> tuple[str, ...]:
    """Adds what was listed to the rows of the table that go and stay.

    Only rows that stay so far were listed; so whatever stood for them goes over to the new ones,
    and no row stands for one that goes.
    """
    batch, joined = dialect.batch_of(fold), _joined(dialect, fold)
    p, s = element_names(fold.identity, "p"), element_names(fold.identity, "s")
    sets = comma(f"{n} = j.{n}" for n in s)
    here = same([f"b.{n}" for n in p], [f"j.{n}" for n in p])
    itself = same(p, s)
    return (
        f"UPDATE {batch} AS b SET {sets} FROM {joined} AS j"
        f" WHERE {same([f'b.{n}' for n in s], [f'j.{n}' for n in p])}",
        f"INSERT INTO {batch} SELECT {comma([*p, *s])}, rank, size FROM {joined} AS j"
        f" WHERE NOT EXISTS (SELECT 1 FROM {batch} AS b WHERE {here})",
        f"UPDATE {batch} AS b SET rank = n.rank, size = n.size FROM (SELECT {comma(p)},"
        f" row_number() OVER (PARTITION BY {comma(s)} ORDER BY"
        f" CASE WHEN {itself} THEN 0 ELSE 1 END, rank, {comma(p)}) AS rank,"
        f" count(*) OVER (PARTITION BY {comma(s)}) AS size FROM {batch}) AS n"
        f" WHERE {same([f'b.{n}' for n in p], [f'n.{n}' for n in p])}",
    )


def search(dialect: Dialect, spec: MergeSpec) -> Iterator[str]:
    """The whole search, as a plan shows it."""
    yield from cleared(dialect, spec)
    for meeting in meetings(spec, dialect.name) if spec.folds else ():
        if meeting.fold is None:
            yield groups_met(dialect, meeting)
        else:
            yield from dialect.lock_rows(meeting.table, touched(dialect, meeting))
            yield from meet(dialect, meeting, meeting.fold)
            yield from join(dialect, meeting.fold)


def fold_tables(dialect: Dialect, spec: MergeSpec) -> Iterator[str]:
    """Makes the session's tables of the children."""
    for fold in spec.folds:
        if fold.number:
            yield from dialect.batch_table(fold)
        joined = _joined(dialect, fold)
        yield f"DROP TABLE IF EXISTS {joined}"
        create = f"CREATE TEMPORARY TABLE {joined.partition('.')[2]}"
        yield f"{create} AS SELECT * FROM {dialect.batch_of(fold)} LIMIT 0"


def cleared(dialect: Dialect, spec: MergeSpec) -> tuple[str, ...]:
    """Empties the lists of the children, for a new batch."""
    return tuple(f"DELETE FROM {dialect.batch_of(f)}" for f in spec.folds if f.number)


def rank_all(dialect: Dialect, spec: MergeSpec) -> str:
    """Ranks every duplicate at once, to see what a merge would meet."""
    p, s = element_names(spec.identity, "p"), element_names(spec.identity, "s")
    return (
        f"INSERT INTO {dialect.batch} SELECT {comma([*p, *s])}, rank, size"
        f" FROM ({ranked(spec, dialect.order(spec))}) AS r WHERE size > 1"
    )


def going(dialect: Dialect, fold: Fold, limit: int) -> tuple[str, str]:
    """Counts a child's (groups, rows that go), and lists some of those rows by their identity."""
    batch = dialect.batch_of(fold)
    identity = fold.identity
    names = comma(f"t.{quote(c)} AS {quote(c)}" for c in identity)
    here = same(of("t", identity), element_names(identity, "b.p"))
    return (
        f"SELECT count(CASE WHEN rank = 1 THEN 1 END), count(CASE WHEN rank > 1 THEN 1 END)"
        f" FROM {batch} WHERE size > 1",
        f"SELECT {names} FROM {batch} AS b JOIN {fold.table.sql} AS t ON {here}"
        f" WHERE b.rank > 1 ORDER BY {comma(of('t', identity))} LIMIT {limit}",
    )
