"""From the rows of the pragmas and the stored texts to a Snapshot. Reads nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from onerow.dialects.sqlite.ddl import (
    Clause,
    CreateIndex,
    element_expression,
    parse_create_trigger,
    split_create_index,
)
from onerow.dialects.sqlite.tokens import NotUnderstood
from onerow.dialects.sqlite.written import NOTHING_WRITTEN, Written, affinity, fold, read_text
from onerow.errors import DatabaseError
from onerow.schema import (
    ORDINARY,
    VIEW,
    VIRTUAL,
    Column,
    Constraint,
    ForeignKey,
    Index,
    IndexColumn,
    Snapshot,
    Table,
    Trigger,
)
from onerow.sql import Name

#: The answers, by the name of the query.
Rows = Mapping[str, Sequence[Any]]

SCHEMA = "main"

_ROWID, _EXPRESSION = -1, -2  #: in the place of a column's number
_VIRTUAL, _STORED = 2, 3  #: pragma_table_xinfo.hidden
_ORIGINS = {"pk": "primary key", "u": "unique"}


def _by_table(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[fold(row.table_name)].append(row)
    return found


class _Builder:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.objects = {fold(o.name): o for o in rows["objects"] if o.type in ("table", "view")}
        self.hidden = {fold(row.name) for row in rows["kinds"]}
        self.columns = _by_table([*rows["columns"], *rows["view_columns"]])
        self.index_rows = _by_table(rows["indexes"])
        self.key_rows = _by_table(rows["foreign_keys"])
        self.index_texts = {fold(o.name): o.sql for o in rows["objects"] if o.type == "index"}
        self.trigger_rows = _by_table(o for o in rows["objects"] if o.type == "trigger")
        self.counts = dict(_row_counts(rows["statistics"], rows["indexes"]))

    def tables(self) -> list[Table]:
        found = [self.table(o) for o in self.objects.values()]
        by_name = {fold(t.name): t for t in found}
        return [_with_targets(t, by_name) for t in found]

    def table(self, row: Any) -> Table:
        try:
            return self._table(row)
        except NotUnderstood as error:
            raise DatabaseError(
                f"The stored definition of {row.name} or of an object on it is not understood: "
                f"{error}."
            ) from error

    def _table(self, row: Any) -> Table:
        name = fold(row.name)
        plain = row.type == "table" and row.rootpage > 0
        written = read_text(row.sql) if plain else NOTHING_WRITTEN
        without_rowid = "WITHOUT ROWID" in written.options
        columns = [self.column(c, written, without_rowid) for c in self.columns[name]]
        alias = _rowid_alias(self.columns[name], self.index_rows[name], plain)
        if alias:
            columns = [_never_null(c) if c.name == alias else c for c in columns]
        indexes = [self.index(g, columns, written) for g in _groups(self.index_rows[name], "name")]
        if alias:
            indexes.append(_rowid_index(row.name, alias, written))
        return Table(
            schema=SCHEMA,
            name=row.name,
            kind=self.kind(row),
            columns=tuple(columns),
            indexes=tuple(indexes),
            constraints=tuple(_constraints(row.name, written, indexes)),
            foreign_keys=tuple(self.foreign_keys(row.name, written)),
            triggers=tuple(map(_trigger, self.trigger_rows[name])),
            estimated_rows=self.counts.get(name),
            without_rowid=without_rowid,
            strict="STRICT" in written.options,
            definition=row.sql or "",
        )

    def kind(self, row: Any) -> str:
        if row.type == "view":
            return VIEW
        is_virtual = row.rootpage == 0 or fold(row.name) in self.hidden
        return VIRTUAL if is_virtual else ORDINARY

    def column(self, row: Any, written: Written, without_rowid: bool) -> Column:
        text = written.columns.get(fold(row.name))
        collate = text.clause("collate") if text else None
        generated = text.clause("generated") if text else None
        collation = collate.expression if collate else ""
        # Other primary keys than these let NULL in (lang_createtable.html §3.5).
        in_key = row.key_position > 0 and (without_rowid or "STRICT" in written.options)
        declared = bool(row.not_null) or in_key
        return Column(
            name=row.name,
            type=row.type,
            type_category=affinity(row.type),
            type_name=row.type.partition("(")[0].strip(),
            position=row.position + 1,
            not_null=declared or fold(row.name) in written.checked_not_null,
            not_null_declared=declared,
            default=None if generated else row.default_value,
            generated={_VIRTUAL: "virtual", _STORED: "stored"}.get(row.hidden, ""),
            generation=generated.expression if generated else None,
            collation="" if collation.upper() == "BINARY" else collation,
            case_insensitive=collation.upper() == "NOCASE",
        )

    def index(self, rows: list[Any], columns: Sequence[Column], written: Written) -> Index:
        first = rows[0]
        sql = self.index_texts.get(fold(first.name))
        text = split_create_index(sql) if sql else None
        clause = _clause_behind(first.origin, rows, written)
        return Index(
            name=first.name,
            schema=SCHEMA,
            columns=tuple(_index_column(row, columns, text) for row in rows),
            unique=bool(first.is_unique),
            primary=first.origin == "pk",
            predicate=_predicate(first, text),
            constraint=clause.name if clause else None,
            constraint_kind=_ORIGINS.get(first.origin, ""),
            definition=sql or "",
            options=_conflict_option(clause),
        )

    def foreign_keys(self, table: str, written: Written) -> Iterator[ForeignKey]:
        unused = written.of_kind("foreign key")
        taken: set[str] = set()
        for rows in _groups(self.key_rows[fold(table)], "id"):
            columns = tuple(r.column_name for r in rows)
            clause = _take(unused, columns, rows[0].target_name)
            made_up = f"{table}_{'_'.join(columns)}_fkey"
            yield ForeignKey(
                name=_unique_name(clause.name if clause and clause.name else made_up, taken),
                table=Name(SCHEMA, table),
                columns=columns,
                target=Name(SCHEMA, rows[0].target_name),
                target_columns=tuple(r.target_column for r in rows if r.target_column),
                on_delete=rows[0].on_delete,
                on_update=rows[0].on_update,
                deferrable=bool(clause and clause.deferrable),
                deferred=bool(clause and clause.deferred),
                definition=clause.text if clause else "",
            )

    def snapshot(self, wanted: frozenset[Name] | None, read_only: bool) -> Snapshot:
        server = self.rows["server"][0]
        tables = self.tables()
        settings = ("foreign_keys", "journal_mode", "encoding", "recursive_triggers",
                    "busy_timeout")  # fmt: skip
        return Snapshot(
            dialect="sqlite",
            version=tuple(map(int, server.version.split("."))),
            version_text=server.version,
            database=server.file,
            may_suppress_triggers=False,
            read_only=read_only or bool(server.query_only),
            search_path=(SCHEMA,),
            schemas=(SCHEMA,),
            tables=tuple(tables if wanted is None else _hanging_together(tables, wanted)),
            settings={name: str(getattr(server, name)) for name in settings},
        )


def _groups(rows: Iterable[Any], key: str) -> Iterator[list[Any]]:
    for _, group in groupby(rows, key=lambda row: getattr(row, key)):
        yield list(group)


def _unique_name(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while fold(free) in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(fold(free))
    return free


# -- columns ---------------------------------------------------------------------------------


def _rowid_alias(columns: list[Any], indexes: list[Any], plain: bool) -> str | None:
    """The INTEGER PRIMARY KEY, which is the rowid itself and so has no index.

    Not every column that reads like one is one (`INTEGER PRIMARY KEY DESC` has an index and takes
    NULL, lang_createtable.html §5); the lack of an index decides.
    """
    keys = [c for c in columns if c.key_position > 0]
    if not plain or len(keys) != 1 or any(i.origin == "pk" for i in indexes):
        return None
    return str(keys[0].name)


def _never_null(column: Column) -> Column:
    """A NULL written to the rowid becomes the next free number."""
    return replace(column, not_null=True, identity="by default")


# -- indexes ---------------------------------------------------------------------------------


def _rowid_index(table: str, column: str, written: Written) -> Index:
    """Stands for the rowid's own B-tree. No object has this name: `sqlite_` is reserved."""
    clause = next(iter(written.of_kind("primary key")), None)
    return Index(
        name=f"sqlite_rowid_{table}",
        schema=SCHEMA,
        columns=(IndexColumn(expression=column),),
        unique=True,
        primary=True,
        method="rowid",
        constraint=clause.name if clause else None,
        constraint_kind="primary key",
        options=_conflict_option(clause),
    )


def _conflict_option(clause: Clause | None) -> tuple[str, ...]:
    return (f"on conflict {clause.on_conflict}",) if clause and clause.on_conflict else ()


def _clause_behind(origin: str, rows: list[Any], written: Written) -> Clause | None:
    """The constraint of the text that an automatic index belongs to."""
    kind = _ORIGINS.get(origin, "")
    own = [fold(r.column_name or "") for r in rows]
    fitting = (c for c in written.of_kind(kind) if [fold(n) for n in c.columns] == own)
    return next(fitting, None)


def _predicate(row: Any, text: CreateIndex | None) -> str | None:
    if not row.partial:
        return None
    if text is None or text.where is None:
        raise NotUnderstood(f"the index {row.name} is partial and its text has no WHERE")
    return text.where


def _index_column(row: Any, columns: Sequence[Column], text: CreateIndex | None) -> IndexColumn:
    if row.position == _EXPRESSION:
        if text is None or row.place >= len(text.elements):
            raise NotUnderstood(f"the index {row.name} has an expression that its text has not")
        expression, own = element_expression(text.elements[row.place]), "BINARY"
    else:
        expression = "rowid" if row.position == _ROWID else row.column_name
        own = next((c.collation for c in columns if c.name == expression), "") or "BINARY"
    same = own.upper() == row.collation.upper()
    return IndexColumn(
        expression=expression,
        is_expression=row.position == _EXPRESSION,
        collation="" if same and own == "BINARY" else row.collation,
        collation_default=same,
        descending=bool(row.descending),
    )


# -- constraints, foreign keys, triggers -----------------------------------------------------


def _constraints(table: str, written: Written, indexes: Sequence[Index]) -> Iterator[Constraint]:
    taken: set[str] = set()
    for clause in written.of_kind("check"):
        columns = clause.columns
        name = clause.name or "_".join([table, *columns, "check"])
        yield Constraint(
            name=_unique_name(name, taken),
            kind="check",
            columns=columns,
            definition=clause.text,
            expression=clause.expression,
        )
    for index in indexes:
        if index.constraint_kind:
            columns = tuple(c.expression for c in index.columns)
            yield Constraint(
                name=_unique_name(index.constraint or index.name, taken),
                kind=index.constraint_kind,
                columns=columns,
                index=index.name,
            )


def _take(unused: list[Clause], columns: Sequence[str], target: str) -> Clause | None:
    """The clause of a foreign key; each is given once, as two may be alike."""
    for clause in unused:
        same = [fold(c) for c in clause.columns] == [fold(c) for c in columns]
        if same and fold(clause.target) == fold(target):
            unused.remove(clause)
            return clause
    return None


def _with_targets(table: Table, by_name: Mapping[str, Table]) -> Table:
    keys = tuple(
        _with_target(key, by_name.get(fold(key.target.name))) for key in table.foreign_keys
    )
    return replace(table, foreign_keys=keys) if keys else table


def _with_target(key: ForeignKey, target: Table | None) -> ForeignKey:
    """The key with its target's names as the target spells them, and its implicit columns."""
    if target is None:
        return key
    spelled = {fold(c.name): c.name for c in target.columns}
    columns = tuple(spelled.get(fold(c), c) for c in key.target_columns) or target.primary_key
    leans_on = next((i for i in target.indexes if _is_key_on(i, columns)), None)
    return replace(
        key,
        target=target.ident,
        target_columns=columns,
        index=Name(SCHEMA, leans_on.name) if leans_on else None,
    )


def _is_key_on(index: Index, columns: Sequence[str]) -> bool:
    """A foreign key may lean on it: unique on these columns, whole, by the columns' collations."""
    own = {c.expression for c in index.columns if c.collation_default and not c.is_expression}
    whole = len(own) == len(index.columns) and index.predicate is None
    return index.unique and whole and own == set(columns)


def _trigger(row: Any) -> Trigger:
    when = parse_create_trigger(row.sql)
    return Trigger(name=row.name, timing=when.timing, events=(when.event,), definition=row.sql)


# -- the whole -------------------------------------------------------------------------------


def _row_counts(statistics: Iterable[Any], indexes: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Rows by table, as ANALYZE counted them. A partial index counts its own rows only."""
    partial = {fold(i.name) for i in indexes if i.partial}
    for row in statistics:
        first = str(row.stat or "").partition(" ")[0]
        if first.isdecimal() and fold(row.index_name or "") not in partial:
            yield fold(row.table_name), int(first)


def _hanging_together(tables: Sequence[Table], wanted: frozenset[Name]) -> Iterator[Table]:
    """The wanted tables, whatever refers to them at any distance, and what these refer to."""
    folded = {fold(n.name) for n in wanted}
    family = set(folded)
    grown = True
    while grown:
        more = {fold(t.name) for t in tables if any(fold(k.target.name) in family
                                                     for k in t.foreign_keys)}  # fmt: skip
        grown = not more <= family
        family |= more
    family |= {
        fold(k.target.name) for t in tables if fold(t.name) in family for k in t.foreign_keys
    }
    for table in tables:
        if fold(table.name) in family:
            yield replace(table, asked=fold(table.name) in folded)


def build(rows: Rows, tables: frozenset[Name] | None, *, read_only: bool = False) -> Snapshot:
    """The Snapshot that the answers make.

    Args:
        rows: the answers, complete.
        tables: that were asked for; None for all.
        read_only: the file takes no writes, by its rights or the way it was opened.

    Raises:
        DatabaseError: a stored definition is not understood.
    """
    return _Builder(rows).snapshot(tables, read_only)
