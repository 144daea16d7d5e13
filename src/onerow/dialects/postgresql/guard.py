"""The guard on PostgreSQL: an advisory lock on the key's hash, then a look at the rows.

It fires after the row is there, so it sees what other triggers and generated columns have made
of it, and it finds a duplicate by counting to two. Whoever writes the same key meanwhile waits for
the lock until the first has ended, and sees its row then: in READ COMMITTED a volatile function
takes a new snapshot for every statement (manual §38.7). In REPEATABLE READ it cannot, so there a
lock that is held by somebody is a serialization failure.

Locks are taken on a number of places that leaves the server's lock table room (manual §20.12),
however many rows a transaction writes.
"""

from __future__ import annotations

from onerow.dialects.guards import Guard
from onerow.dialects.phrases import aliased, key_filter
from onerow.keys import BoundKey, KeyPart
from onerow.sql import comma, conjunction, digest, literal, quote

#: Type categories whose every type has a hash operator class; money is told apart by its name.
_HASHABLE = frozenset("NSDBE")
_ONE_SNAPSHOT = "('repeatable read', 'serializable')"
_PLACES = (
    "greatest(64, current_setting('max_locks_per_transaction')::integer"
    " * current_setting('max_connections')::integer / 4)"
)


def postgresql_guard(bound: BoundKey, name: str, search_path: tuple[str, ...]) -> Guard:
    function = f"onerow.{quote(name)}"
    path = comma(["pg_catalog", *(quote(s) for s in search_path if s != "pg_catalog"), "pg_temp"])
    create = (
        # As the owner: a writer may lack SELECT, and row security may hide rows from it.
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" SET search_path = {path}{_planned_anew(bound)} AS ${name}$\n{_body(bound)}${name}$",
        f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
        f"CREATE TRIGGER {quote(name)} AFTER INSERT OR UPDATE ON {bound.table.sql}"
        f" FOR EACH ROW EXECUTE FUNCTION {function}()",
    )
    drop = (
        f"DROP TRIGGER IF EXISTS {quote(name)} ON {bound.table.sql}",
        f"DROP FUNCTION IF EXISTS {function}()",
    )
    return Guard(create=create, drop=drop, triggers=(name,))


def _planned_anew(bound: BoundKey) -> str:
    """Whether NULL is compared is known with the value only; a generic plan would scan."""
    return " SET plan_cache_mode = force_custom_plan" if _compares_null(bound) else ""


def _compares_null(bound: BoundKey) -> bool:
    return bound.key.nulls == "equal" and any(p.nullable for p in bound.parts)


def _body(bound: BoundKey) -> str:
    found = conjunction([key_filter(bound), *_same(bound)])
    return f"""#variable_conflict use_column
DECLARE
  onerow_row record;
  onerow_was record;
  onerow_place integer := 0;
  onerow_found bigint;
BEGIN
  IF current_setting('onerow.at_work', true) = 'on' THEN
    RETURN NULL;  -- the merge itself
  END IF;
  SELECT {_seen(bound)} INTO onerow_row FROM (SELECT NEW.*) AS {quote(bound.table.name)};
  IF NOT onerow_row.held THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    SELECT {_seen(bound)} INTO onerow_was FROM (SELECT OLD.*) AS {quote(bound.table.name)};
    IF onerow_was IS NOT DISTINCT FROM onerow_row THEN
      RETURN NULL;  -- a duplicate that was there before may be changed elsewhere
    END IF;
  END IF;
{_place(bound)}  IF current_setting('transaction_isolation') IN {_ONE_SNAPSHOT} THEN
    IF NOT pg_try_advisory_xact_lock({_class(bound)}, onerow_place) THEN
      RAISE EXCEPTION USING ERRCODE = '40001',
        MESSAGE = 'could not serialize access: another transaction writes the same key';
    END IF;
  ELSE
    PERFORM pg_advisory_xact_lock({_class(bound)}, onerow_place);
  END IF;
  SELECT count(*) INTO onerow_found
    FROM (SELECT 1 FROM {bound.table.sql} WHERE {found} LIMIT 2) AS onerow_rows;
  IF onerow_found > 1 THEN
    RAISE EXCEPTION USING ERRCODE = '23505', CONSTRAINT = {literal(bound.name)},
      SCHEMA = {literal(bound.table.schema)}, TABLE = {literal(bound.table.name)},
      MESSAGE = {literal(f'duplicate key value violates unique constraint "{bound.name}"')},
      DETAIL = {_detail(bound)};
  END IF;
  RETURN NULL;
END
"""


def _seen(bound: BoundKey) -> str:
    """The key of a row and whether the rule speaks of it, as columns k1 … kn, held."""
    return comma([*aliased(bound), f"coalesce(({key_filter(bound)}), false) AS held"])


def _same(bound: BoundKey) -> list[str]:
    equal_nulls = bound.key.nulls == "equal"
    return [_compared(p, f"onerow_row.k{i}", equal_nulls) for i, p in enumerate(bound.parts, 1)]


def _compared(part: KeyPart, value: str, equal_nulls: bool) -> str:
    # IS NOT DISTINCT FROM can use no index.
    null = f" OR ({value} IS NULL AND {part.sql} IS NULL)"
    return f"({part.sql} = {value}{null if equal_nulls and part.nullable else ''})"


def _class(bound: BoundKey) -> int:
    return int(digest("guard", str(bound.table), bound.name), 16) & 0x7FFFFFFF


def _place(bound: BoundKey) -> str:
    """The lock's number by the key's value: equal keys have equal hashes, whatever they look like.

    Where nobody knows whether the type can be hashed, one lock serves all keys if it cannot.
    """
    if not bound.parts:
        return ""
    values = comma(f"onerow_row.k{i}" for i, _ in enumerate(bound.parts, 1))
    place = f"onerow_place := abs(hash_record_extended(ROW({values}), 0) % {_PLACES});"
    if all(_is_hashable(p) for p in bound.parts):
        return f"  {place}\n"
    return f"  BEGIN\n    {place}\n  EXCEPTION WHEN undefined_function THEN NULL;\n  END;\n"


def _is_hashable(part: KeyPart) -> bool:
    column = part.column
    return column is not None and column.type_category in _HASHABLE and column.type_name != "money"


def _detail(bound: BoundKey) -> str:
    if not bound.parts:
        return literal("There is a row already, and at most one may be.")
    names = literal(f"Key ({comma(p.label for p in bound.parts)})=(")
    values = " || ', ' || ".join(
        f"coalesce(onerow_row.k{i}::text, 'null')" for i, _ in enumerate(bound.parts, 1)
    )
    return f"{names} || {values} || ') already exists.'"
