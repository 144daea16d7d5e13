"""Rows that came since a run and break a key that its undo brings back: told, or put aside.

Of rows that are alike by the old key the one of the lowest primary key stays. The others go into
the archive only when the operator says so, with the rows that refer to them: to point those at the
row that stays would make them speak of something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from onerow.archive import archives_of, perform
from onerow.catalog import snapshot_of
from onerow.database import run
from onerow.dialects.changes import Entry, Place, changes
from onerow.dialects.phrases import aliased, key_aliases, key_filter
from onerow.dialects.values import Operation
from onerow.enforcement import verdict
from onerow.errors import RuleError, Stopped
from onerow.keys import BoundKey, bind_key_to
from onerow.measure import key_facts, plain
from onerow.plan import Step
from onerow.planning.order import parents_before_children
from onerow.rules import Key
from onerow.schema import ForeignKey, Snapshot, Table
from onerow.session import Session, run_all
from onerow.sql import Name, comma, conjunction, quote
from onerow.steps._objects import old_keys
from onerow.survey import LISTED
from onerow.triggers import without_triggers
from onerow.walk import leaves

SET_ASIDE = "set aside"  #: what the archive calls it


def settle(session: Session, run_id: str, step: Step, snapshot: Snapshot, *, aside: bool) -> None:
    """See to it that no row breaks a key which the way back of the step makes again.

    Args:
        aside: put the rows that do into the archive.

    Raises:
        Stopped: with these rows, unless they may be put aside.
    """
    for bound in _coming_back(step, snapshot):
        while told := _told(session, bound):
            if not aside or not bound.table.row_identity:
                raise Stopped(
                    f"Rows of {bound.table} that came since break {bound.name}, which is to come "
                    f"back: {told}.",
                    hint=f"Settle them, and run the undo again; or `onerow undo {run_id} "
                    "--archive-newer` keeps the row of the lowest primary key of each, and puts "
                    "the others, with the rows that refer to them, into the archive.",
                )
            _set_aside(session, run_id, step, bound)


def _coming_back(step: Step, snapshot: Snapshot) -> Iterator[BoundKey]:
    table = snapshot.get(step.table)
    for facts in old_keys(step.args) if table else ():
        try:
            bound = _bound(facts, table, snapshot)
        except RuleError:
            continue  # a column is gone; the server says so when the key is made
        if not verdict(bound).enforced:
            yield bound


def _bound(facts: Mapping[str, Any], table: Table | None, snapshot: Snapshot) -> BoundKey:
    assert table is not None
    key = Key(
        str(table),
        *facts["elements"],
        name=facts["name"],
        where=facts["where"],
        nulls=facts["nulls"],
    )
    return bind_key_to(table, key, snapshot)


def _told(session: Session, bound: BoundKey) -> str:
    """How many, and which, as far as a person reads; empty when there are none."""
    with session.reading() as connection:
        facts = key_facts(connection, bound, session.dialect, LISTED)
        if not facts.violations.groups:
            return ""
        rows = _listed(connection, bound) if bound.table.row_identity else []
    groups = "; ".join(_pairs(s) for s in facts.samples)
    more = "; …" if facts.violations.groups > len(facts.samples) else ""
    told = f"{facts.violations.rows:,} row(s) too many in {facts.violations.groups:,} group(s)"
    keys = f", of {'; '.join(map(_pairs, rows))}" if rows else ""
    if rows and facts.violations.rows > len(rows):
        keys += "; …"
    return f"{told} ({groups}{more}){keys}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())


def _listed(connection: Any, bound: BoundKey) -> list[dict[str, Any]]:
    names = bound.table.row_identity
    found = run(connection, f"{_surplus(bound)} ORDER BY {comma(_q(bound.table))} LIMIT {LISTED}")
    return [dict(zip(names, map(plain, row), strict=True)) for row in found]


def _surplus(bound: BoundKey) -> str:
    """Selects what the rows too many are known by."""
    table, own = bound.table, _q(bound.table)
    named = [f"{quote(c)} AS {q}" for c, q in zip(table.row_identity, own, strict=True)]
    by = f"PARTITION BY {comma(key_aliases(bound))} " if bound.parts else ""
    rows = f"SELECT {comma([*named, *aliased(bound)])} FROM {table.sql} WHERE {key_filter(bound)}"
    ranked = (
        f"SELECT {comma(own)}, row_number() OVER ({by}ORDER BY {comma(own)}) AS place"
        f" FROM ({rows}) AS r"
    )
    return f"SELECT {comma(own)} FROM ({ranked}) AS s WHERE place > 1"


def _q(table: Table) -> list[str]:
    return [f"q{i}" for i, _ in enumerate(table.row_identity, 1)]


# -- aside -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Going:
    """Rows on their way into the archive: for each table a session's table of their keys."""

    session: Session
    snapshot: Snapshot
    lists: dict[Name, str] = field(default_factory=dict)
    emptied: list[ForeignKey] = field(default_factory=list)  #: ON DELETE SET NULL

    def table(self, name: Name) -> Table:
        found = self.snapshot.get(name)
        assert found is not None
        return found

    def here(self, name: Name) -> str:
        """A row of the table is among them."""
        table = self.table(name)
        own, listed = comma(map(quote, table.row_identity)), comma(_q(table))
        return f"({own}) IN (SELECT {listed} FROM {self.lists[name]})"

    def list_of(self, table: Table) -> str:
        if table.ident in self.lists:
            return self.lists[table.ident]
        if not table.row_identity:
            raise Stopped(
                f"{table} refers to rows that break the old key, and has no primary key, so its "
                "rows cannot be put aside one by one.",
                hint="Settle them, and run the undo again.",
            )
        place = "pg_temp" if self.session.database.dialect == "postgresql" else "temp"
        bare = f"onerow_newer_{len(self.lists)}"
        own = zip(table.row_identity, _q(table), strict=True)
        run_all(
            self.session.connection,
            (
                f"DROP TABLE IF EXISTS {place}.{bare}",
                f"CREATE TEMPORARY TABLE {bare} AS"
                f" SELECT {comma(f'{quote(c)} AS {q}' for c, q in own)} FROM {table.sql}"
                " WHERE 1 = 0",
            ),
        )
        self.lists[table.ident] = f"{place}.{bare}"
        return self.lists[table.ident]

    def lock(self, name: Name) -> None:
        """Nobody can refer to them any more when those that do are looked for."""
        if self.session.database.dialect == "postgresql":
            sql = f"SELECT 1 FROM {self.table(name).sql} WHERE {self.here(name)} FOR UPDATE"
            run(self.session.connection, f"SELECT count(*) FROM ({sql}) AS locked")


def _set_aside(session: Session, run_id: str, step: Step, bound: BoundKey) -> None:
    with session.reading() as connection:
        snapshot = _family(connection, bound.table.ident)
    archives_of(session, run_id, list(snapshot))
    session.breathe()
    session.batch(lambda: _batch(session, run_id, step, bound, snapshot), f"Rows of {bound.table}")


def _family(connection: Any, name: Name) -> Snapshot:
    """The table with all that refers to it, and to that."""
    names = {name}
    while True:
        found = snapshot_of(connection, tables=names)
        more = {fk.table for n in names for fk in found.references_to(n)} - names
        if not more:
            return found
        names |= more


def _batch(session: Session, run_id: str, step: Step, bound: BoundKey, snapshot: Snapshot) -> None:
    connection, journal = session.connection, session.journal
    going = _Going(session, snapshot)
    _find(going, bound)
    op, batch = journal.next_numbers(run_id)
    archives = journal.archives(run_id)
    done: list[tuple[int, Operation, int]] = []
    with without_triggers(session, [going.table(n) for n in going.lists]):
        for operation in _operations(going, archives, op, batch):
            number = op + len(done)
            done.append((number, operation, perform(connection, operation, replica=False)))
        for name in reversed([n for n in parents_before_children(snapshot) if n in going.lists]):
            run(connection, f"DELETE FROM {name.sql} WHERE {going.here(name)}")
    journal.add_operations(run_id, step, batch, done)


def _find(going: _Going, bound: BoundKey) -> None:
    """The surplus rows, as many as a batch takes, and what refers to them, to a fixpoint."""
    session, name = going.session, bound.table.ident
    listed, own = going.list_of(bound.table), comma(_q(bound.table))
    most = session.limits.most_batch_rows
    run(session.connection, f"INSERT INTO {listed} {_surplus(bound)} LIMIT {most}")
    going.lock(name)
    # Others may have settled some while we waited for the lock.
    run(session.connection, f"DELETE FROM {listed} WHERE ({own}) NOT IN ({_surplus(bound)})")
    due = [name]
    while due:
        parent = due.pop(0)
        due += [k.table for k in going.snapshot.references_to(parent) if _follow(going, k)]


def _follow(going: _Going, key: ForeignKey) -> bool:
    """List the rows that refer to listed ones. Whether there are new ones."""
    child, parent = going.table(key.table), going.table(key.target)
    if key.on_delete == "set null":
        if key not in going.emptied:
            going.emptied.append(key)
        return False
    listed, own = going.list_of(child), zip(child.row_identity, _q(child), strict=True)
    there = conjunction(f"l.{q} = c.{quote(c)}" for c, q in own)
    sql = (
        f"INSERT INTO {listed} SELECT {comma(f'c.{quote(c)}' for c in child.row_identity)}"
        f" FROM {child.sql} AS c WHERE {_refers(going, key, parent)}"
        f" AND NOT EXISTS (SELECT 1 FROM {listed} AS l WHERE {there})"
    )
    found = run(going.session.connection, sql).rowcount
    if found:
        going.lock(child.ident)
    return bool(found)


def _refers(going: _Going, key: ForeignKey, parent: Table) -> str:
    """A row `c` refers by the foreign key to a listed row of its target."""
    same = [
        f"c.{quote(c)} = p.{quote(t)}" for c, t in zip(key.columns, key.target_columns, strict=True)
    ]
    own = zip(parent.row_identity, _q(parent), strict=True)
    joined = conjunction(f"g.{q} = p.{quote(c)}" for c, q in own)
    return (
        f"EXISTS (SELECT 1 FROM {parent.sql} AS p JOIN {going.lists[parent.ident]} AS g"
        f" ON {joined} WHERE {conjunction(same)})"
    )


def _operations(
    going: _Going, archives: Mapping[Name, Name], op: int, batch: int
) -> Iterator[Operation]:
    """All is archived before anything is deleted: a cascade finds nothing that is not kept."""
    makes = changes(going.session.database.dialect)
    for name in going.lists:
        table = going.table(name)
        entry = Entry(archive=archives[name].sql, op=op, batch=batch)
        place = Place(table=table, leaf=table, where=going.here(name))
        yield makes.keep(place, entry, SET_ASIDE, "")
        op += 1
    for key in going.emptied:
        table = going.table(key.table)
        for leaf in leaves(table, going.snapshot):
            entry = Entry(archive=archives[table.ident].sql, op=op, batch=batch)
            place = Place(table=table, leaf=leaf, where=_emptying(going, key, table, leaf))
            yield makes.update(place, dict.fromkeys(key.columns, "NULL"), entry)
            op += 1


def _emptying(going: _Going, key: ForeignKey, table: Table, leaf: Table) -> str:
    """Rows whose reference is emptied; they are found by what they are known by."""
    own = comma(map(quote, table.row_identity))
    refers = _refers(going, key, going.table(key.target))
    rows = f"({own}) IN (SELECT {own} FROM {leaf.sql} AS c WHERE {refers})"
    return f"{rows} AND NOT {going.here(table.ident)}" if table.ident in going.lists else rows


__all__ = ["SET_ASIDE", "settle"]
