"""Which steps may change places without anybody noticing. Pure.

Two schedules are equivalent when one becomes the other by swapping neighbours that are independent
(Mazurkiewicz); the search runs one of each class. Wrongly calling two steps dependent costs time,
wrongly calling them independent costs truth; so what is not understood depends on everything.

What is used of the engines:

- PostgreSQL: a plain SELECT neither waits for nor sees what is not committed (manual §13.2.1), so
  it depends on other sessions' COMMIT and not on their writes; under SERIALIZABLE it does
  (§13.2.3). The first statement of a REPEATABLE READ or SERIALIZABLE transaction takes the
  snapshot, so it depends on every COMMIT. Row locks go with the transaction (§13.3.2).
- SQLite: one writer per file (https://www.sqlite.org/lockingv3.html, https://www.sqlite.org/wal.html),
  so the file is the only object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlglot import exp

from onerow.race.reading import Operand, pick_of, trees

NONE: frozenset[str] = frozenset()
FILE = frozenset({"the file"})
ADVISORY = "advisory locks"
#: Between a table's name and a row's key.
ROW = "\x00"

#: Functions that change nothing and read no table; the ones that sqlglot knows by type are, too.
HARMLESS = frozenset(
    """
    clock_timestamp current_setting date_trunc gen_random_uuid jsonb_build_array jsonb_build_object
    json_build_object md5 now pg_backend_pid pg_sleep random statement_timestamp timeofday to_jsonb
    to_timestamp transaction_timestamp txid_current version hashtext hashtextextended
    format_type pg_get_constraintdef pg_get_expr pg_get_indexdef pg_table_is_visible to_regclass
    changes hex julianday last_insert_rowid randomblob strftime total_changes typeof unixepoch
    """.split()  # noqa: SIM905
)
#: Only statements that are not understood change them (CREATE, ALTER, DROP, …).
CATALOGS = frozenset(
    """
    pg_am pg_attrdef pg_attribute pg_class pg_collation pg_constraint pg_description pg_enum
    pg_index pg_inherits pg_namespace pg_opclass pg_type
    """.split()  # noqa: SIM905
)
_EXPLAIN = re.compile(r"\s*EXPLAIN\b(?!.*\bANALY[SZ]E\b)", re.IGNORECASE | re.DOTALL)
_ADVISORY = re.compile(r"pg_(try_)?advisory_(xact_)?(lock|unlock)\w*", re.IGNORECASE)
_SAVEPOINT = re.compile(r"\s*(SAVEPOINT|RELEASE)\b", re.IGNORECASE)
_ROLLBACK_TO = re.compile(r"\s*ROLLBACK\s+(WORK\s+|TRANSACTION\s+)?TO\b", re.IGNORECASE)
#: They concern the session alone. SET TRANSACTION is looked at by `sets_isolation`.
_SESSION = re.compile(
    r"\s*(SET|SHOW|RESET|DISCARD|BEGIN(?!\s+(IMMEDIATE|EXCLUSIVE))|START\s+TRANSACTION)\b",
    re.IGNORECASE,
)
_ISOLATION = re.compile(r"isolation|set_config|session\s+characteristics|read\s+only", re.I)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a step touches.

    Attributes:
        reads: tables that are looked at without a lock.
        shares: tables in which rows are locked against change (FOR SHARE, a foreign key's parent).
        writes: tables in which rows are written or locked FOR UPDATE.
        ends: of a step that ends a transaction, what that transaction held or makes visible.
        snapshot: the step takes the transaction's snapshot, or reads the newest state.
        strict: reads and writes meet without a COMMIT between them, as under SERIALIZABLE.
        waits: it waited while its session held locks; the order of such waits decides who is the
            victim when they close a circle.
        everything: it is not understood.
    """

    reads: frozenset[str] = NONE
    shares: frozenset[str] = NONE
    writes: frozenset[str] = NONE
    ends: frozenset[str] = NONE
    snapshot: bool = False
    strict: bool = False
    waits: bool = False
    everything: bool = False

    @property
    def touched(self) -> frozenset[str]:
        return self.reads | self.shares | self.writes

    @property
    def local(self) -> bool:
        """Nobody else can notice it."""
        return self == LOCAL

    def __or__(self, other: Footprint) -> Footprint:
        return Footprint(
            reads=self.reads | other.reads,
            shares=self.shares | other.shares,
            writes=self.writes | other.writes,
            ends=self.ends | other.ends,
            snapshot=self.snapshot or other.snapshot,
            strict=self.strict or other.strict,
            waits=self.waits or other.waits,
            everything=self.everything or other.everything,
        )


LOCAL = Footprint()
EVERYTHING = Footprint(everything=True)


def dependent(a: Footprint, b: Footprint) -> bool:
    """Whether the order of two steps of different sessions may matter."""
    if a.local or b.local:
        return False
    if a.everything or b.everything:
        return True
    return _meets(a, b) or _meets(b, a)


def _meets(a: Footprint, b: Footprint) -> bool:
    if _overlap(a.writes, b.writes | b.shares):
        return True
    if a.waits and (b.writes or b.shares):
        return True
    if a.ends and (b.snapshot or _overlap(a.ends, b.touched)):
        return True
    if not (a.strict or b.strict):
        return False
    return _overlap(a.writes, b.reads) or _overlap(a.ends, b.ends)


def _overlap(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two sets of tables, or of rows named by `row_of`, have something in common."""
    if a & b:
        return True
    wide = {n.partition(ROW)[0] for n in a} & {n.partition(ROW)[0] for n in b}
    return any(t in a or t in b for t in wide)


def row_of(table: str, value: object) -> str:
    """The name of one row, by the value of its primary key."""
    return f"{table}{ROW}{value}"


def table_of(name: str) -> str:
    return name.partition(ROW)[0]


def widened(found: Footprint) -> Footprint:
    """The tables in the place of their rows: predicate locks are of pages and tables, too."""
    reads, shares, writes = (
        frozenset(map(table_of, names)) for names in (found.reads, found.shares, found.writes)
    )
    return replace(found, reads=reads, shares=shares, writes=writes)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalog says about tables; names are without schema, two of a name are taken as one.

    Attributes:
        roots: the topmost parent of a partition or an inheriting table.
        parents: tables that a table's foreign keys point to.
        children: tables whose foreign keys point to it, over all steps.
        opaque: relations whose writing or reading runs code: views, rules, triggers, row security.
        known: all plain tables.
        deferrable: tables with constraints that may be checked at COMMIT, and those they point to.
        keys: the primary key of tables that have one of a single column.
        free: columns of these tables that no index and no foreign key looks at.
        lite: it is SQLite.
        wal: the file is in WAL mode.
    """

    known: frozenset[str] = NONE
    roots: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    children: Mapping[str, frozenset[str]] = field(default_factory=dict)
    opaque: frozenset[str] = NONE
    deferrable: frozenset[str] = NONE
    keys: Mapping[str, str] = field(default_factory=dict)
    free: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lite: bool = False
    wal: bool = False


def is_savepoint(sql: str) -> bool:
    """SAVEPOINT and RELEASE: nothing of it can be seen from outside."""
    return bool(_SAVEPOINT.match(sql))


def is_rollback_to(sql: str) -> bool:
    return bool(_ROLLBACK_TO.match(sql))


def is_of_session(sql: str) -> bool:
    """SET, SHOW, BEGIN and the like."""
    return bool(_SESSION.match(sql))


def sets_isolation(sql: str) -> bool:
    """It may change what the transaction sees; from here on it is taken for SERIALIZABLE."""
    return bool(_ISOLATION.search(sql))


def footprint_of(sql: str, facts: Facts, parameters: Any = None) -> Footprint:
    """What a statement touches, by its text and, for a single row, its parameters."""
    if is_savepoint(sql) or is_of_session(sql):
        return LOCAL
    if not facts.lite and _EXPLAIN.match(sql):
        return Footprint(reads=CATALOGS)
    found = _parse(sql, "sqlite" if facts.lite else "postgres")
    if facts.lite:
        return _on_sqlite(sql, found)
    if found is None:
        return EVERYTHING
    return _narrowed(_resolved(found, facts), sql, facts, parameters)


def _narrowed(found: Footprint, sql: str, facts: Facts, parameters: Any) -> Footprint:
    """One row instead of the table, where the statement compares the primary key."""
    pick = pick_of(sql)
    if pick is None or found.everything or found.touched != {pick.table}:
        return found
    known = facts.keys.get(pick.table)
    if known is None or known not in pick.equal or not pick.sets <= facts.free[pick.table]:
        return found
    value = _value(pick.equal[known], parameters)
    if value is None:
        return found
    row = frozenset({row_of(pick.table, value)})
    return replace(
        found,
        reads=row if found.reads else NONE,
        shares=row if found.shares else NONE,
        writes=row if found.writes else NONE,
    )


def _value(operand: Operand, parameters: Any) -> object:
    """What a column is compared with; None if that cannot be told."""
    if operand.literal is not None:
        return operand.literal
    if operand.place is not None and isinstance(parameters, (list, tuple)):
        return parameters[operand.place] if operand.place < len(parameters) else None
    if operand.name is not None and isinstance(parameters, Mapping):
        return parameters.get(operand.name)
    return None


def tables_of(sql: str) -> frozenset[str]:
    """The tables that a statement names, as far as it is understood."""
    found = _parse(sql, "postgres") or _parse(sql, "sqlite")
    return found.touched if found else NONE


def written_by(sql: str) -> frozenset[str]:
    """The tables that a statement for SQLite writes, as far as it is understood."""
    found = _parse(sql, "sqlite")
    return found.writes if found else NONE


def _on_sqlite(sql: str, found: Footprint | None) -> Footprint:
    if sql.lstrip()[:6].upper() == "PRAGMA":
        return EVERYTHING
    if found is not None and not found.writes and not found.shares:
        return Footprint(reads=FILE)
    return Footprint(writes=FILE)


def _resolved(found: Footprint, facts: Facts) -> Footprint:
    """Names to tables, and what foreign keys add."""
    if (found.touched - {ADVISORY}) & facts.opaque:
        return EVERYTHING
    read = found.reads - found.writes - found.shares
    if found.touched - facts.known - {ADVISORY} - (CATALOGS & read):
        return EVERYTHING
    reads, shares, writes = (
        frozenset(facts.roots.get(n, n) for n in names)
        for names in (found.reads, found.shares, found.writes)
    )
    below = frozenset().union(*(facts.children.get(n, NONE) for n in writes))
    above = frozenset().union(*(facts.parents.get(n, NONE) for n in writes | below))
    if (below | above) & facts.opaque:
        return EVERYTHING
    return replace(found, reads=reads, shares=shares | above, writes=writes | below)


@lru_cache(maxsize=2048)
def _parse(sql: str, dialect: str) -> Footprint | None:
    """Tables by name, None where the text is not understood."""
    total = LOCAL
    for tree in trees(sql, dialect):
        part = _of_tree(tree) if tree is not None else LOCAL
        if part is None:
            return None
        total |= part
    return total


_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)


def _of_tree(tree: Any) -> Footprint | None:
    if not isinstance(tree, (exp.Query, *_WRITES)) or tree.find(exp.Into):
        return None
    advisory = _functions(tree)
    if advisory is None:
        return None
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    named = [t for t in tree.find_all(exp.Table) if t.name]  # else it is a function
    tables = {t.name for t in named if t.db or t.name not in ctes}
    written = {_target(w) for w in tree.find_all(*_WRITES)}
    locks = [bool(lock.args.get("update")) for lock in tree.find_all(exp.Lock)]
    shares = frozenset(tables) if locks and not all(locks) else NONE
    writes = frozenset(written) | (frozenset(tables) if any(locks) else NONE) | advisory
    return Footprint(reads=frozenset(tables) - writes - shares, shares=shares, writes=writes)


def _target(write: Any) -> str:
    table = write.this.find(exp.Table)
    return table.name if table is not None else ""


def _functions(tree: Any) -> frozenset[str] | None:
    """Advisory locks that are taken; None if a function is called that nobody knows."""
    taken = NONE
    for call in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        name = str(call.this).lower()
        if _ADVISORY.fullmatch(name):
            taken = frozenset({ADVISORY})
        elif name not in HARMLESS:
            return None
    return taken
