"""From the rows of the catalog queries to a Snapshot. Reads nothing: the transaction is closed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onerow.dialects.nulls import never_null
from onerow.dialects.postgresql.relations import Sizes, Types, json_list
from onerow.schema import (
    FOREIGN,
    MATERIALIZED_VIEW,
    ORDINARY,
    PARTITIONED,
    VIEW,
    Column,
    Constraint,
    ForeignKey,
    Index,
    IndexColumn,
    Publication,
    Snapshot,
    Table,
    Trigger,
)
from onerow.sql import Name, literal

#: The answers, by the name of the query.
Rows = Mapping[str, Sequence[Any]]

_KINDS = {"r": ORDINARY, "p": PARTITIONED, "v": VIEW, "m": MATERIALIZED_VIEW, "f": FOREIGN}
_CONSTRAINTS = {
    "c": "check",
    "n": "not null",
    "u": "unique",
    "p": "primary key",
    "x": "exclusion",
}
_ACTIONS = {
    "a": "no action",
    "r": "restrict",
    "c": "cascade",
    "n": "set null",
    "d": "set default",
}
_MATCHES = {"s": "simple", "f": "full", "p": "partial"}
_IDENTITIES = {"a": "always", "d": "by default"}
_GENERATIONS = {"s": "stored", "v": "virtual"}
_REPLICA_IDENTITIES = {"d": "default", "n": "nothing", "f": "full", "i": "index"}
_ENABLED = {"O": "origin", "A": "always", "R": "replica", "D": "disabled"}

# Bits of pg_trigger.tgtype (src/include/catalog/pg_trigger.h).
_FOR_EACH_ROW, _BEFORE, _INSTEAD_OF = 1, 2, 64
_EVENTS = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}


class CatalogMoved(Exception):
    """An object was dropped between our reading its row and the server's printing it.

    The functions that print definitions look at the present, whatever the snapshot of the
    transaction, and give NULL for what is gone.
    """


def _printed(text: str | None) -> str:
    if text is None or text == "???":  # format_type's word for a type that is gone
        raise CatalogMoved
    return text


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(json_list(text))


def _name(schema: str | None, name: str | None) -> Name | None:
    return Name(schema, name) if schema is not None and name is not None else None


def _by_relation(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.relation].append(row)
    return found


@dataclass(frozen=True)
class _Relation:
    """All rows that speak of one table."""

    table: Any
    columns: Sequence[Any]
    constraints: tuple[Constraint, ...]

    @cached_property
    def checked_not_null(self) -> frozenset[str]:
        tests = [
            never_null(c.expression, "postgresql")
            for c in self.constraints
            if c.kind == "check" and c.validated and c.enforced and not c.no_inherit
        ]
        return frozenset().union(*tests)

    @cached_property
    def not_null_unproven(self) -> frozenset[str]:
        """From PostgreSQL 18 attnotnull is set while the constraint is still NOT VALID."""
        pending = [c.columns for c in self.constraints if c.kind == "not null" and not c.validated]
        return frozenset(name for columns in pending for name in columns)


class _Builder:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.server = rows["server"][0]
        self.settings: dict[str, str] = json.loads(self.server.settings)
        self.types = Types(rows["types"])
        self.sizes = Sizes(rows["tables"], int(self.settings.pop("block_size")))
        self.folding = {(r.schema, r.collation) for r in rows["collations"] if r.ignores_case}
        self.definitions = {(r.what, r.oid): r.definition for r in rows["definitions"]}
        self.grouped = {
            name: _by_relation(rows[name])
            for name in (
                "columns", "constraints", "foreign_keys", "indexes", "publications", "triggers",
            )
        }  # fmt: skip
        self.names = {t.oid: Name(t.schema, t.name) for t in rows["tables"]}
        self.below = self._children()

    def _children(self) -> dict[tuple[Name, bool], list[Name]]:
        """Who is below a table: (parent, as a partition?) to names."""
        found: dict[tuple[Name, bool], list[Name]] = defaultdict(list)
        for table in self.rows["tables"]:
            for parent in json_list(table.parents):
                found[Name(*parent), table.is_partition].append(Name(table.schema, table.name))
        return found

    def tables(self) -> Iterator[Table]:
        for row in self.rows["tables"]:
            constraints = tuple(map(self.constraint, self.grouped["constraints"][row.oid]))
            yield self.table(_Relation(row, self.grouped["columns"][row.oid], constraints))

    def table(self, relation: _Relation) -> Table:
        row = relation.table
        size = self.sizes.of(row.oid)
        ident = self.names[row.oid]
        parents = tuple(Name(*p) for p in json_list(row.parents))
        return Table(
            schema=row.schema,
            name=row.name,
            kind=_KINDS[row.kind],
            columns=tuple(self.column(c, relation) for c in relation.columns),
            indexes=tuple(map(self.index, self.grouped["indexes"][row.oid])),
            constraints=relation.constraints,
            foreign_keys=tuple(map(self.foreign_key, self.grouped["foreign_keys"][row.oid])),
            triggers=tuple(map(self.trigger, self.grouped["triggers"][row.oid])),
            publications=tuple(map(_publication, self.grouped["publications"][row.oid])),
            partition_of=parents[0] if row.is_partition and parents else None,
            partition_columns=_names(row.partition_columns),
            partitions=tuple(self.below[ident, True]),
            inherits=() if row.is_partition else parents,
            inherited_by=tuple(self.below[ident, False]),
            estimated_rows=size.rows,
            size=size.bytes,
            pages=size.pages,
            row_security=row.row_security,
            row_security_forced=row.row_security_forced,
            row_security_applies=row.row_security_applies,
            replica_identity=_REPLICA_IDENTITIES[row.replica_identity],
            owner=row.owner,
            we_own=row.we_own,
            may_create=row.may_create,
            privileges=frozenset(json_list(row.privileges)),
            extension=row.extension,
            options=_names(row.options),
            asked=row.asked,
            comment=row.comment,
            oid=row.oid,
        )

    def column(self, row: Any, relation: _Relation) -> Column:
        base = self.types.base(row.type_oid)
        expression = _printed(row.expression) if row.has_expression else None
        declared = row.not_null and row.name not in relation.not_null_unproven
        folds = (row.collation_schema, row.collation) in self.folding
        return Column(
            name=row.name,
            type=_printed(row.type),
            type_category=base.category,
            type_name=_printed(base.name),
            position=row.position,
            not_null=declared or row.name in relation.checked_not_null,
            not_null_declared=declared,
            default=None if row.generated else expression,
            identity=_IDENTITIES.get(row.identity, ""),
            generated=_GENERATIONS.get(row.generated, ""),
            generation=expression if row.generated else None,
            collation="" if row.collation_own else _collation(row),
            collation_deterministic=row.collation_deterministic,
            case_insensitive=folds or base.bare_name == "citext",
            has_equality=self.types.has_equality(row.type_oid),
            comment=row.comment,
        )

    def index(self, row: Any) -> Index:
        elements = json_list(row.elements)
        return Index(
            name=row.name,
            schema=row.schema,
            columns=tuple(_index_column(e) for e in elements if e["key"]),
            include=tuple(e["column"] for e in elements if not e["key"]),
            unique=row.is_unique,
            primary=row.is_primary,
            predicate=_printed(row.predicate) if row.partial else None,
            method=row.method,
            valid=row.valid,
            ready=row.ready,
            live=row.live,
            immediate=row.immediate,
            nulls_not_distinct=row.nulls_not_distinct,
            without_overlaps=row.without_overlaps,
            constraint=row.constraint_name,
            constraint_kind=_CONSTRAINTS.get(row.constraint_kind, ""),
            parent=_name(row.parent_schema, row.parent_name),
            replica_identity=row.replica_identity,
            clustered=row.clustered,
            statistics=tuple(
                (place, e["statistics"])
                for place, e in enumerate(elements, 1)
                if e["statistics"] is not None
            ),
            dependents=_names(row.dependents),
            definition=self.definition("index", row.oid),
            options=_names(row.options),
            tablespace=row.tablespace or "",
            comment=row.comment,
            size=row.size,
            oid=row.oid,
        )

    def constraint(self, row: Any) -> Constraint:
        return Constraint(
            name=row.name,
            kind=_CONSTRAINTS[row.kind],
            columns=_names(row.columns),
            definition=self.definition("constraint", row.oid),
            expression=_printed(row.expression) if row.kind == "c" else "",
            validated=row.validated,
            enforced=row.enforced,
            deferrable=row.deferrable,
            deferred=row.deferred,
            no_inherit=row.no_inherit,
            inherited=row.inherited,
            all_equality=row.all_equality,
            index=row.index_name,
            comment=row.comment,
        )

    def foreign_key(self, row: Any) -> ForeignKey:
        return ForeignKey(
            name=row.name,
            table=self.names[row.relation],
            columns=_names(row.columns),
            target=Name(row.target_schema, row.target_name),
            target_columns=_names(row.target_columns),
            on_delete=_ACTIONS[row.on_delete],
            on_delete_columns=_names(row.on_delete_columns),
            on_update=_ACTIONS[row.on_update],
            match=_MATCHES[row.match],
            validated=row.validated,
            enforced=row.enforced,
            deferrable=row.deferrable,
            deferred=row.deferred,
            index=_name(row.index_schema, row.index_name),
            inherited=row.inherited,
            period=row.period,
            definition=self.definition("constraint", row.oid),
            comment=row.comment,
        )

    def trigger(self, row: Any) -> Trigger:
        bits = row.type_bits
        timing = "before" if bits & _BEFORE else "instead of" if bits & _INSTEAD_OF else "after"
        return Trigger(
            name=row.name,
            timing=timing,
            events=tuple(event for bit, event in _EVENTS.items() if bits & bit),
            level="row" if bits & _FOR_EACH_ROW else "statement",
            enabled=_ENABLED[row.enabled],
            function=row.function,
            definition=self.definition("trigger", row.oid),
        )

    def definition(self, what: str, oid: int) -> str:
        return _printed(self.definitions.get((what, oid)))

    def snapshot(self, schemas: Sequence[str] | None) -> Snapshot:
        server = self.server
        number = server.version_number
        existing = json_list(server.schemas)
        read = {t.schema for t in self.rows["tables"] if t.asked}
        read |= set(schemas_to_read(server, schemas))
        return Snapshot(
            dialect="postgresql",
            version=(number // 10000, number % 10000),
            version_text=server.version_text,
            database=server.database,
            user=server.role,
            superuser=server.superuser,
            bypasses_row_security=server.bypasses_row_security,
            may_suppress_triggers=server.superuser or self.rows["trigger_suppression"][0].allowed,
            may_create_schema=server.may_create_schema,
            read_only=server.read_only or server.in_recovery,
            in_recovery=server.in_recovery,
            search_path=tuple(s for s in json_list(server.search_path) if s in existing),
            schemas=tuple(s for s in existing if s in read),
            other_schemas=tuple(s for s in existing if s not in read),
            tables=tuple(self.tables()),
            settings=self.settings,
        )


def _collation(row: Any) -> str:
    visible = row.collation_visible
    return str(row.collation) if visible else f"{row.collation_schema}.{row.collation}"


def _index_column(element: Mapping[str, Any]) -> IndexColumn:
    is_expression = element["column"] is None
    collation = element["collation"] or ""
    own = element["collation_default"]
    return IndexColumn(
        expression=_printed(element["expression" if is_expression else "column"]),
        is_expression=is_expression,
        opclass=element["opclass"] or "",
        opclass_default=bool(element["opclass_default"]),
        collation="" if own and collation == "default" else collation,
        collation_default=own,
        descending=bool(element["option"] & 1),
        nulls_first=bool(element["option"] & 2),
    )


def _publication(row: Any) -> Publication:
    return Publication(name=row.name, updates=row.updates, deletes=row.deletes)


def schemas_to_read(server: Any, schemas: Sequence[str] | None) -> list[str]:
    """The schemas wanted, by default those of the search path, as far as they are there."""
    wanted = json_list(server.search_path) if schemas is None else schemas
    existing = json_list(server.schemas)
    return [s for s in wanted if s in existing]


def folding_query(columns: Iterable[Any]) -> str | None:
    """Asks the server which of the columns' nondeterministic collations take 'a' for 'A'.

    Strength, case level and tailored rules decide it together; the server knows best.
    """
    used = {Name(c.collation_schema, c.collation) for c in columns if not c.collation_deterministic}
    selects = [
        f"SELECT {literal(c.schema)} AS schema, {literal(c.name)} AS collation,"
        f" 'a' = 'A' COLLATE {c.sql} AS ignores_case"
        for c in sorted(used, key=str)
    ]
    return " UNION ALL ".join(selects) or None


def build(rows: Rows, schemas: Sequence[str] | None) -> Snapshot:
    """The Snapshot that the answers make.

    Args:
        rows: the answers, complete.
        schemas: that were asked for; None for those of the search path.

    Raises:
        CatalogMoved: something was dropped while the catalog was read; read it again.
    """
    return _Builder(rows).snapshot(schemas)
