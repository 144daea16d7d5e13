"""A database under test, reached past onerow: statements in, rows and definitions out."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg

Rows = list[tuple[Any, ...]]

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), c.oid::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'onerow')
ORDER BY 1
"""

#: Everything about a table that an undo must bring back, one list of texts for each subject.
_SCHEMA = {
    "tables": """
        SELECT format('%s acl=%s options=%s security=%s identity=%s owner=%s comment=%s',
                      c.oid::regclass, c.relacl, c.reloptions, c.relrowsecurity, c.relreplident,
                      pg_get_userbyid(c.relowner), obj_description(c.oid, 'pg_class'))
        FROM pg_class c WHERE c.oid = ANY('{tables}')""",
    "places": """
        SELECT format('%s tablespace=%s method=%s forced=%s publications=%s', c.oid::regclass,
                      t.spcname, m.amname, c.relforcerowsecurity,
                      ARRAY(SELECT r.prpubid FROM pg_publication_rel r WHERE r.prrelid = c.oid))
        FROM pg_class c LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
        LEFT JOIN pg_am m ON m.oid = c.relam WHERE c.oid = ANY('{tables}')""",
    "columns": """
        SELECT format('%s.%s %s %s null=%s default=%s identity=%s generated=%s collation=%s acl=%s'
                      ' statistics=%s options=%s comment=%s', a.attrelid::regclass, a.attnum,
                      a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
                      a.attcollation::regcollation, a.attacl, a.attstattarget, a.attoptions,
                      col_description(a.attrelid, a.attnum))
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = ANY('{tables}') AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT format('%s.%s %s %s deferrable=%s deferred=%s valid=%s index=%s comment=%s',
                      k.conrelid::regclass, k.conname, k.contype, pg_get_constraintdef(k.oid),
                      k.condeferrable, k.condeferred, k.convalidated,
                      nullif(k.conindid, 0)::regclass, obj_description(k.oid, 'pg_constraint'))
        FROM pg_constraint k WHERE k.conrelid = ANY('{tables}')""",
    "indexes": """
        SELECT format('%s valid=%s ready=%s immediate=%s clustered=%s identity=%s options=%s'
                      ' tablespace=%s comment=%s', pg_get_indexdef(i.indexrelid), i.indisvalid,
                      i.indisready, i.indimmediate, i.indisclustered, i.indisreplident,
                      x.reloptions, x.reltablespace, obj_description(i.indexrelid, 'pg_class'))
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        WHERE i.indrelid = ANY('{tables}')""",
    "parts": """
        SELECT format('%s %s valid=%s', c.oid::regclass, pg_get_indexdef(i.indexrelid), i.indisvalid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relispartition
        UNION ALL SELECT format('%s %s %s valid=%s', k.conrelid::regclass, k.conname,
                                pg_get_constraintdef(k.oid), k.convalidated)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE c.relispartition""",
    "index columns": """
        SELECT format('%s.%s %s statistics=%s', a.attrelid::regclass, a.attnum, a.attname,
                      nullif(a.attstattarget, -1))
        FROM pg_attribute a JOIN pg_index i ON i.indexrelid = a.attrelid
        WHERE i.indrelid = ANY('{tables}')""",
    "statistics": """
        SELECT format('%s target=%s comment=%s', pg_get_statisticsobjdef(s.oid),
                      nullif(s.stxstattarget, -1), obj_description(s.oid, 'pg_statistic_ext'))
        FROM pg_statistic_ext s WHERE s.stxrelid = ANY('{tables}')""",
    "policies": """
        SELECT format('%s.%s for %s to %s using %s check %s comment=%s', p.polrelid::regclass,
                      p.polname, p.polcmd, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid),
                      pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy'))
        FROM pg_policy p WHERE p.polrelid = ANY('{tables}')""",
    "rules": """
        SELECT format('%s enabled=%s', pg_get_ruledef(r.oid), r.ev_enabled)
        FROM pg_rewrite r WHERE r.ev_class = ANY('{tables}')""",
    "triggers": """
        SELECT format('%s enabled=%s comment=%s', pg_get_triggerdef(g.oid), g.tgenabled,
                      obj_description(g.oid, 'pg_trigger'))
        FROM pg_trigger g WHERE g.tgrelid = ANY('{tables}') AND NOT g.tgisinternal""",
    "sequences": """
        SELECT format('%I.%I at %s', schemaname, sequencename, last_value) FROM pg_sequences
        WHERE schemaname <> 'onerow'""",
    "sequence definitions": """
        SELECT format('%s as %s start=%s by=%s min=%s max=%s cache=%s cycle=%s acl=%s owned=%s',
                      q.seqrelid::regclass, q.seqtypid::regtype, q.seqstart, q.seqincrement,
                      q.seqmin, q.seqmax, q.seqcache, q.seqcycle, c.relacl,
                      pg_get_userbyid(c.relowner))
               || coalesce((SELECT format(' %s.%s', d.refobjid::regclass, d.refobjsubid)
                            FROM pg_depend d WHERE d.objid = q.seqrelid
                            AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')), '')
        FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid
        WHERE c.relnamespace <> coalesce(to_regnamespace('onerow'), 0)""",
}


class Sandbox:
    """Statements, rows, contents and schema of a database.

    Attributes:
        url: its address, as a fixture gives it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sqlite = url.startswith("sqlite")
        self.dialect = "sqlite" if self.sqlite else "postgresql"

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """A driver's connection that commits every statement by itself."""
        if self.sqlite:
            path = self.url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as file:
                file.execute("PRAGMA foreign_keys = ON")
                yield file
        else:
            with psycopg.connect(self.url, autocommit=True) as connection:
                yield connection

    def execute(self, *scripts: str) -> None:
        """Run scripts of any number of statements."""
        with self.connect() as connection:
            for script in scripts:
                if self.sqlite:
                    connection.executescript(script)
                else:
                    connection.execute(script)

    def rows(self, sql: str) -> Rows:
        with self.connect() as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def value(self, sql: str) -> Any:
        return self.rows(sql)[0][0]

    def count(self, table: str) -> int:
        return int(self.value(f"SELECT count(*) FROM {table}"))

    def called(self, table: str) -> str:
        """A table as `contents` calls it."""
        return table if self.sqlite else f"public.{table}"

    # -- contents ----------------------------------------------------------------------------

    def contents(self) -> dict[str, tuple[str, ...]]:
        """Every row of every table as text, sorted; our own tables left out."""
        return self._sqlite_contents() if self.sqlite else self._postgresql_contents()

    def _sqlite_contents(self) -> dict[str, tuple[str, ...]]:
        out = {}
        for (table,) in self.rows(_USER_OBJECTS.format("name", "type = 'table'")):
            quoted = '"' + table.replace('"', '""') + '"'
            # table_xinfo has generated columns too.
            names = [r[1] for r in self.rows(f"PRAGMA table_xinfo({quoted})")]
            each = " || ',' || ".join(f"""quote("{n.replace('"', '""')}")""" for n in names)
            out[table] = tuple(sorted(r[0] for r in self.rows(f"SELECT {each} FROM {quoted}")))
        return out

    def _postgresql_contents(self) -> dict[str, tuple[str, ...]]:
        return {
            table: tuple(
                sorted(
                    r[0] for r in self.rows(f"SELECT onerow_row::text FROM {table} AS onerow_row")
                )
            )
            for table, _ in self.rows(_TABLES)
        }

    def hashes(self) -> dict[str, str]:
        """A hash of each table's rows."""
        return {
            table: hashlib.sha256("\n".join(rows).encode()).hexdigest()
            for table, rows in self.contents().items()
        }

    # -- schema ------------------------------------------------------------------------------

    def schema(self) -> dict[str, Any]:
        """All definitions, comments and privileges, as texts that can be compared."""
        if self.sqlite:
            query = _USER_OBJECTS.format("type, name, tbl_name, sql", "1")
            found = self.rows(query)
            # AUTOINCREMENT's counters live in a table of SQLite's own.
            if ("sqlite_sequence",) in self.rows("SELECT name FROM sqlite_master"):
                found += self.rows("SELECT name, seq FROM sqlite_sequence")
            return {"objects": sorted(found, key=str)}
        with self.connect() as connection:
            tables = ",".join(str(oid) for _, oid in connection.execute(_TABLES).fetchall())
            return {
                what: sorted(
                    r[0] for r in connection.execute(sql.replace("{tables}", f"{{{tables}}}"))
                )
                for what, sql in _SCHEMA.items()
            }

    def state(self) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
        """Schema and contents: what an undo must bring back."""
        return self.schema(), self.contents()

    # -- onerow's own ------------------------------------------------------------------------

    def archived(self, table: str, action: str = "deleted") -> int:
        """How many rows of a table all standing runs have archived."""
        prefix = "onerow_" if self.sqlite else "onerow."
        return int(
            self.value(
                f"SELECT coalesce(sum(o.rows), 0) FROM {prefix}operation AS o"
                f" WHERE o.table_name = '{table}' AND o.action = '{action}' AND NOT o.undone"
            )
        )


_USER_OBJECTS = (
    "SELECT {} FROM sqlite_master WHERE {} AND name NOT LIKE 'onerow\\_%' ESCAPE '\\'"
    " AND tbl_name NOT LIKE 'onerow\\_%' ESCAPE '\\'"
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
)


def values(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of Python values as an SQL VALUES list."""
    return ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
