"""What checks are made of: what they look at, what they ask, what they are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from onerow.dialects import Dialect
from onerow.enforcement import Verdict
from onerow.finding import Finding
from onerow.keys import BoundKey
from onerow.planning import standing_verdict
from onerow.schema import ORDINARY, PARTITIONED, ForeignKey, Snapshot, Table
from onerow.sql import Name, digest

T = TypeVar("T")

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
SAMPLES = 5

#: Tables that a framework keeps for itself: nobody who uses it can change them.
_FRAMEWORK_TABLES = frozenset(
    {
        "alembic_version", "schema_migrations", "ar_internal_metadata", "flyway_schema_history",
        "databasechangelog", "databasechangeloglock", "knex_migrations", "knex_migrations_lock",
        "_prisma_migrations", "goose_db_version", "__efmigrationshistory", "sequelizemeta",
        "spatial_ref_sys", "auth_group", "auth_group_permissions", "auth_permission",
        "auth_user_groups", "auth_user_user_permissions",
    }
)  # fmt: skip
_FRAMEWORK_PREFIXES = ("django_", "sqlite_", "onerow_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One read-only question to the rows. Two of the same SQL are one question."""

    about: str  #: `duplicates of public.users(email)`
    sql: str
    tables: tuple[Name, ...] = ()  #: whose rows it reads
    pages: int = 0  #: what it costs: pages that it reads, estimated; 0 where that is not known

    @property
    def id(self) -> str:
        return digest(self.sql, length=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The rows of a probe, or why there are none to see."""

    rows: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""  #: why it was not answered
    code: str = ""  #: the engine's, of the error that it was

    @property
    def known(self) -> bool:
        return not self.reason

    @property
    def first(self) -> Mapping[str, Any]:
        return self.rows[0] if self.rows else {}


class Answers:
    """Answers by their question."""

    def __init__(self, found: Mapping[str, Answer] | None = None) -> None:
        self._found = dict(found or {})

    def __getitem__(self, probe: Probe) -> Answer:
        return self._found.get(probe.sql, Answer(reason="it was not asked"))


@dataclass(frozen=True, slots=True)
class Consequence:
    """A finding that is left out where one of its causes is reported."""

    finding: Finding
    of: tuple[tuple[str, str], ...]  #: (check, object) of the findings that tell it already


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStatistics:
    """What the server has counted in a sample, for its planner."""

    distinct: float  #: values; if negative, the share of them among the rows (pg_stats.n_distinct)
    null_share: float


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that a check may look at."""

    snapshot: Snapshot
    talk: Dialect
    keys: tuple[BoundKey, ...] = ()  #: that rules declare
    statistics: Mapping[tuple[Name, str], ColumnStatistics] = field(default_factory=dict)
    _known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, what: Any, find: Callable[[], T]) -> T:
        """What is asked for twice, when asking and when judging, is worked out once."""
        if what not in self._known:
            self._known[what] = find()
        found: T = self._known[what]
        return found

    def standing(self, bound: BoundKey) -> Verdict:
        """How far the catalog enforces a declared key, without what it is to replace."""
        return self.once(("standing", id(bound)), lambda: standing_verdict(bound))

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables that are the user's own and hold rows, partitions by their root alone."""
        return tuple(t for t in self.snapshot if _is_of_interest(t))

    @cached_property
    def foreign_keys(self) -> tuple[tuple[Table, ForeignKey], ...]:
        """The foreign keys of those tables; a partition's copies left out."""
        return tuple((t, fk) for t in self.tables for fk in t.foreign_keys if not fk.inherited)

    def pages(self, *tables: Table | None) -> int:
        return sum(t.pages or 0 for t in tables if t is not None)

    def distinct_share(self, table: Table, column: str) -> float | None:
        """Distinct values for each filled row, as the statistics have it: 1.0 is unique."""
        found = self.statistics.get((table.ident, column))
        if found is None or not table.estimated_rows or found.null_share >= 1:
            return None
        distinct = found.distinct
        rows = table.estimated_rows
        values = -distinct * rows if distinct < 0 else distinct
        return values / (rows * (1 - found.null_share))


def _is_of_interest(table: Table) -> bool:
    return (
        table.kind in (ORDINARY, PARTITIONED)
        and table.asked
        and table.partition_of is None
        and table.extension is None
        and not is_framework_table(table.name)
    )


def is_framework_table(name: str) -> bool:
    """Kept by a migration tool, a framework or the engine for its own use."""
    folded = name.casefold()
    return folded in _FRAMEWORK_TABLES or folded.startswith(_FRAMEWORK_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applies:
    """Where a check has something to say, as data."""

    dialects: tuple[str, ...] = ("postgresql", "sqlite")
    declared_keys: bool = False  #: only where rules declare keys

    def reason_against(self, context: Context) -> str:
        """Why the check says nothing here; empty where it does."""
        if context.snapshot.dialect not in self.dialects:
            return f"it is about {' and '.join(ENGINES[d] for d in self.dialects)} only"
        if self.declared_keys and not context.keys:
            return "no [[key]] rule declares a key"
        return ""


def refusals(probes: Sequence[Probe], snapshot: Snapshot) -> Iterator[tuple[Probe, Answer]]:
    """Probes that cannot be answered, known before they are run."""
    for probe in probes:
        tables = [t for t in map(snapshot.get, probe.tables) if t is not None]
        closed = [t for t in tables if "select" not in t.privileges]
        veiled = [t for t in tables if t.row_security_applies]
        if closed:
            reason = f"{snapshot.user} may not SELECT {closed[0]}"
            yield probe, Answer(reason=reason, code="42501")
        elif veiled:
            yield probe, Answer(reason=f"row security hides rows of {veiled[0]} from us")


__all__ = [
    "SAMPLES",
    "Answer",
    "Answers",
    "Applies",
    "ColumnStatistics",
    "Consequence",
    "Context",
    "Probe",
    "is_framework_table",
    "refusals",
]
