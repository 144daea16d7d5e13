"""The catalog at one moment, as frozen values. Nothing here reads a database.

Field names follow PostgreSQL's catalogs where they have a word for the thing; SQLite fills what
it has and leaves the rest at the default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from onerow.sql import Name

ORDINARY = "table"
PARTITIONED = "partitioned table"
VIEW = "view"
MATERIALIZED_VIEW = "materialized view"
FOREIGN = "foreign table"
VIRTUAL = "virtual table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str  #: as the engine writes it, with length and precision
    type_category: str = ""  #: PostgreSQL's pg_type.typcategory; on SQLite its affinity
    type_name: str = ""  #: without length; domains resolved to their base type
    position: int = 0
    not_null: bool = False
    """NOT NULL holds for every row: by the column, or by a validated CHECK (c IS NOT NULL)."""
    not_null_declared: bool = False
    """The column itself is marked NOT NULL (pg_attribute.attnotnull; from 18 validated too)."""
    default: str | None = None
    identity: str = ""  #: '', 'always', 'by default'
    generated: str = ""  #: '', 'stored', 'virtual'
    generation: str | None = None  #: the expression of a generated column; `default` is then None
    collation: str = ""  #: '' for the type's own
    collation_deterministic: bool = True
    case_insensitive: bool = False  #: citext, NOCASE, a nondeterministic collation without case
    has_equality: bool = True  #: the type has a default B-tree operator class
    comment: str | None = None

    @property
    def writable(self) -> bool:
        """Can be named in INSERT and UPDATE."""
        return not self.generated


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexColumn:
    expression: str  #: the column's name unquoted, or the expression as the engine prints it
    is_expression: bool = False
    opclass: str = ""
    opclass_default: bool = True
    collation: str = ""
    collation_default: bool = True  #: same collation as the column's
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    name: str
    schema: str
    columns: tuple[IndexColumn, ...]
    include: tuple[str, ...] = ()
    unique: bool = False
    primary: bool = False
    predicate: str | None = None
    method: str = "btree"
    valid: bool = True
    ready: bool = True
    live: bool = True
    immediate: bool = True
    nulls_not_distinct: bool = False
    without_overlaps: bool = False  #: PostgreSQL 18: the last column is a range, no two may overlap
    constraint: str | None = None  #: name of the constraint that it backs
    constraint_kind: str = ""  #: 'primary key', 'unique', 'exclusion'
    parent: Name | None = None  #: the partitioned index that it is attached to
    replica_identity: bool = False
    clustered: bool = False  #: CLUSTER without a name goes by it
    statistics: tuple[tuple[int, int], ...] = ()  #: (position, target) of columns that have one
    dependents: tuple[str, ...] = ()
    """Views, rules and functions that could not do without it or its constraint, as the server
    describes them. A function whose body is a text is not known to it."""
    definition: str = ""  #: CREATE INDEX as the engine prints it; '' for SQLite's automatic ones
    options: tuple[str, ...] = ()
    tablespace: str = ""
    comment: str | None = None
    size: int | None = None  #: bytes
    oid: int | None = None

    @property
    def enforcing(self) -> bool:
        """Unique and in force. A failed concurrent build leaves an index that is not."""
        return self.unique and self.valid and self.ready and self.live

    @property
    def sql(self) -> str:
        return Name(self.schema, self.name).sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A check, not-null, unique, primary key or exclusion constraint."""

    name: str
    kind: str  #: 'check', 'not null', 'unique', 'primary key', 'exclusion'
    columns: tuple[str, ...] = ()
    definition: str = ""  #: as the engine prints it, without the name
    expression: str = ""  #: of a check, without CHECK ( )
    validated: bool = True
    enforced: bool = True
    deferrable: bool = False
    deferred: bool = False
    no_inherit: bool = False
    inherited: bool = False
    all_equality: bool = False  #: exclusion: every operator is an equality
    index: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    name: str  #: made up by the reader on SQLite, where foreign keys may have none
    table: Name
    columns: tuple[str, ...]
    target: Name
    target_columns: tuple[str, ...]
    on_delete: str = "no action"  #: lower case: no action, restrict, cascade, set null, set default
    on_delete_columns: tuple[str, ...] = ()  #: what SET NULL or SET DEFAULT sets; none: all of them
    on_update: str = "no action"
    match: str = "simple"
    validated: bool = True
    enforced: bool = True
    deferrable: bool = False
    deferred: bool = False
    index: Name | None = None  #: the target's unique index that it leans on (conindid)
    inherited: bool = False  #: a partition's copy of its parent's constraint
    period: bool = False  #: PostgreSQL 18: the last column is a range that must be covered
    definition: str = ""
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    name: str
    timing: str  #: 'before', 'after', 'instead of'
    events: tuple[str, ...]  #: of 'insert', 'update', 'delete', 'truncate'
    level: str = "row"
    enabled: str = "origin"  #: 'origin', 'always', 'replica', 'disabled'
    function: str = ""
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    name: str
    updates: bool
    deletes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    schema: str
    name: str
    kind: str = ORDINARY
    columns: tuple[Column, ...] = ()
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()  #: from this table
    triggers: tuple[Trigger, ...] = ()
    publications: tuple[Publication, ...] = ()
    partition_of: Name | None = None
    partition_columns: tuple[str, ...] = ()  #: of a partitioned table; '' for an expression
    partitions: tuple[Name, ...] = ()
    inherits: tuple[Name, ...] = ()
    inherited_by: tuple[Name, ...] = ()
    estimated_rows: int | None = None  #: None: never analysed
    size: int | None = None  #: bytes of the heap
    pages: int | None = None
    row_security: bool = False
    row_security_forced: bool = False
    row_security_applies: bool = False  #: to the role that we are
    replica_identity: str = "default"  #: 'default', 'nothing', 'full', 'index'
    owner: str = ""
    we_own: bool = True
    may_create: bool = True  #: we may create objects in its schema, as an index is one
    privileges: frozenset[str] = frozenset({"select", "insert", "update", "delete"})
    extension: str | None = None  #: the extension that it belongs to
    options: tuple[str, ...] = ()
    without_rowid: bool = False  #: SQLite
    strict: bool = False  #: SQLite
    definition: str = ""  #: SQLite: CREATE TABLE as stored
    asked: bool = True
    """It was asked for; if not, it was read because it hangs on a table that was: by a foreign
    key, a partition or inheritance."""
    comment: str | None = None
    oid: int | None = None

    @property
    def ident(self) -> Name:
        return Name(self.schema, self.name)

    @property
    def sql(self) -> str:
        return self.ident.sql

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    def index(self, name: str) -> Index | None:
        return next((i for i in self.indexes if i.name == name), None)

    def constraint(self, name: str) -> Constraint | None:
        return next((c for c in self.constraints if c.name == name), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        for index in self.indexes:
            if index.primary:
                return tuple(c.expression for c in index.columns)
        return ()

    @property
    def row_identity(self) -> tuple[str, ...]:
        """Columns that tell any two rows apart: the primary key, else a NOT NULL unique key.

        Empty where there is none. SQLite's primary keys let NULLs in unless declared NOT NULL
        (lang_createtable.html §3.5); they count all the same, and whoever relies on one looks
        first whether such rows are there.
        """
        candidates = [i for i in self.indexes if i.primary] + [
            i for i in self.indexes if i.enforcing and not i.primary
        ]
        for index in candidates:
            columns = [self.column(c.expression) for c in index.columns if not c.is_expression]
            whole = len(columns) == len(index.columns) > 0 and index.predicate is None
            named = index.primary or all(c and c.not_null for c in columns)
            if whole and index.immediate and named:
                return tuple(c.name for c in columns if c)
        return ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    dialect: str  #: 'postgresql' or 'sqlite'
    version: tuple[int, ...]  #: (15, 18) · (3, 40, 1)
    version_text: str = ""
    database: str = ""
    user: str = ""
    superuser: bool = False
    bypasses_row_security: bool = True
    may_suppress_triggers: bool = True  #: may set session_replication_role (SQLite: always False)
    may_create_schema: bool = True
    read_only: bool = False
    in_recovery: bool = False
    search_path: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()  #: that were read
    other_schemas: tuple[str, ...] = ()  #: that exist besides
    tables: tuple[Table, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _by_name(self) -> dict[Name, Table]:
        return {t.ident: t for t in self.tables}

    def get(self, name: Name) -> Table | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Table]:
        return iter(self.tables)

    def references_to(self, name: Name) -> tuple[ForeignKey, ...]:
        """Foreign keys to a table, self-references included, without copies on partitions."""
        return tuple(
            fk
            for table in self.tables
            for fk in table.foreign_keys
            if fk.target == name and not fk.inherited
        )
