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

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

NONE: frozenset[str] = frozenset()
FILE = frozenset({"the file"})
ADVISORY = "advisory locks"

#: Functions that change nothing and read no table; the ones that sqlglot knows by type are, too.
HARMLESS = frozenset(
    """
    clock_timestamp current_setting date_trunc gen_random_uuid jsonb_build_array jsonb_build_object
    json_build_object md5 now pg_backend_pid pg_sleep random statement_timestamp timeofday to_jsonb
    to_timestamp transaction_timestamp txid_current version
    changes hex julianday last_insert_rowid randomblob strftime total_changes typeof unixepoch
    """.split()  # noqa: SIM905
)
_ADVISORY = re.compile(r"pg_(try_)?advisory_(xact_)?(lock|unlock)\w*", re.IGNORECASE)
_SAVEPOINT = re.compile(r"\s*(SAVEPOINT|RELEASE)\b", re.IGNORECASE)
_ROLLBACK_TO = re.compile(r"\s*ROLLBACK\s+(WORK\s+|TRANSACTION\s+)?TO\b", re.IGNORECASE)
#: They concern the session alone. SET TRANSACTION is looked at by `sets_isolation`.
_SESSION = re.compile(
    r"\s*(SET|SHOW|RESET|DISCARD|BEGIN(?!\s+(IMMEDIATE|EXCLUSIVE))|START\s+TRANSACTION)\b",
    re.IGNORECASE,
)
_ISOLATION = re.compile(r"isolation|set_config|session\s+characteristics|read\s+only", re.I)
_PYFORMAT = re.compile(r"%\((\w+)\)s")


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
        everything: it is not understood.
    """

    reads: frozenset[str] = NONE
    shares: frozenset[str] = NONE
    writes: frozenset[str] = NONE
    ends: frozenset[str] = NONE
    snapshot: bool = False
    strict: bool = False
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
    if a.writes & (b.writes | b.shares):
        return True
    if a.ends and (b.snapshot or a.ends & b.touched):
        return True
    if not (a.strict or b.strict):
        return False
    return bool(a.writes & b.reads or a.ends & b.ends)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the catalog says about tables; names are without schema, two of a name are taken as one.

    Attributes:
        roots: the topmost parent of a partition or an inheriting table.
        parents: tables that a table's foreign keys point to.
        children: tables whose foreign keys point to it, over all steps.
        opaque: relations whose writing or reading runs code: views, rules, triggers, row security.
        known: all plain tables.
        deferrable: there are constraints that may be checked at COMMIT.
        lite: it is SQLite.
        wal: the file is in WAL mode.
    """

    known: frozenset[str] = NONE
    roots: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    children: Mapping[str, frozenset[str]] = field(default_factory=dict)
    opaque: frozenset[str] = NONE
    deferrable: bool = False
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


def footprint_of(sql: str, facts: Facts) -> Footprint:
    """What a statement touches, by its text."""
    if is_savepoint(sql) or is_of_session(sql):
        return LOCAL
    found = _parse(sql, "sqlite" if facts.lite else "postgres")
    if facts.lite:
        return _on_sqlite(sql, found)
    if found is None:
        return EVERYTHING
    return _resolved(found, facts)


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
    if found.touched - facts.known - {ADVISORY}:
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
    text = _PYFORMAT.sub(r":\1", sql).replace("%%", "%").replace("%s", "NULL")
    logger = logging.getLogger("sqlglot")
    level = logger.level
    # It warns of what it takes for a Command; here that only means "depends on everything".
    logger.setLevel(logging.ERROR)
    try:
        trees = sqlglot.parse(text, dialect=dialect)
    except SqlglotError:
        return None
    finally:
        logger.setLevel(level)
    total = LOCAL
    for tree in trees:
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
    tables = {t.name for t in tree.find_all(exp.Table) if t.db or t.name not in ctes}
    written = {_target(w) for w in tree.find_all(*_WRITES)}
    locks = [bool(lock.args.get("update")) for lock in tree.find_all(exp.Lock)]
    shares = frozenset(tables) if locks and not all(locks) else NONE
    writes = frozenset(written) | (frozenset(tables) if any(locks) else NONE) | advisory
    return Footprint(reads=frozenset(tables) - writes, shares=shares, writes=writes)


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
