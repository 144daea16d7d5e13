"""Manual decisions: which row of a duplicate group survives, told by a person in a CSV file.

The file has the key's columns, the primary key's columns and `keep`, which is `yes` for exactly
one row of each group and empty for the others.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from onerow.database import driver_text, run
from onerow.dialects import Dialect, MergeSpec
from onerow.errors import RuleError
from onerow.keys import BoundKey
from onerow.measure import plain
from onerow.sql import comma, quote

YES = ("yes", "y", "true", "1", "x")
NO = ("", "no", "n", "false", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Primary keys of the rows to keep, as the file writes them."""

    keep: tuple[tuple[str, ...], ...]
    digest: str  #: of the file's content: a plan holds for the file that it was made with


def read(bound: BoundKey, identity: Sequence[str], base: str) -> Decisions:
    """Read the file that a rule's `keep = "manual FILE"` names.

    Args:
        base: folder that a relative path starts from, if the file is there; else the current one.

    Raises:
        RuleError: the file is not there, lacks a column, or holds a word that is neither yes nor
            empty.
    """
    path = _path(bound.key.keep.what, base)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError:
        raise RuleError(
            f"the decisions file {bound.key.keep.what!r} cannot be read.",
            rule=bound.label,
            hint="`onerow plan --decisions FILE` writes one to fill in.",
        ) from None
    rows = csv.DictReader(io.StringIO(content))
    keep = tuple(_chosen(rows, bound, identity))
    return Decisions(keep=keep, digest=hashlib.sha256(content.encode()).hexdigest()[:16])


def _path(name: str, base: str) -> Path:
    beside = Path(base) / name
    return beside if beside.is_file() else Path(name)


def _chosen(
    rows: csv.DictReader[str], bound: BoundKey, identity: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    missing = [c for c in (*identity, "keep") if c not in (rows.fieldnames or ())]
    if missing:
        raise RuleError(
            f"the decisions file {bound.key.keep.what!r} lacks the column {missing[0]!r}.",
            rule=bound.label,
        )
    for row in rows:
        word = (row["keep"] or "").strip().casefold()
        if word not in (*YES, *NO):
            raise RuleError(
                f"the decisions file says keep = {row['keep']!r} in line {rows.line_num};"
                " write yes, or nothing.",
                rule=bound.label,
            )
        if word in YES:
            yield tuple(row[c] for c in identity)


def load(connection: Connection, spec: MergeSpec, decisions: Decisions) -> None:
    """Put the decisions into the session's own table, in the types of the primary key.

    Raises:
        RuleError: a value does not fit the type of its column.
    """
    table = spec.decisions or ""
    schema, _, name = table.partition(".")
    types = [c.type for n in spec.identity for c in [spec.table.column(n)] if c]
    columns = comma(f"{quote(n)} {t}" for n, t in zip(spec.identity, types, strict=True))
    run(connection, f"DROP TABLE IF EXISTS {table}")
    run(connection, f"CREATE TEMPORARY TABLE {name} ({columns}, onerow_keep boolean)")
    values = comma(f"CAST(:p{i} AS {t or 'BLOB'})" for i, t in enumerate(types))
    if schema == "temp":
        # SQLite: the column's affinity makes the value, a cast would make another one.
        values = comma(f":p{i}" for i, _ in enumerate(types))
    rows = [{f"p{i}": v for i, v in enumerate(key)} for key in decisions.keep]
    try:
        if rows:
            connection.execute(sa.text(f"INSERT INTO {table} VALUES ({values}, true)"), rows)
    except DBAPIError as error:
        raise RuleError(
            f"the decisions file holds a value that is no key of {spec.table}: "
            f"{driver_text(error)}.",
            rule=spec.bound.label,
        ) from error


def undecided(connection: Connection, spec: MergeSpec, dialect: Dialect) -> int:
    """Groups of which not exactly one row was chosen."""
    return int(run(connection, dialect.undecided(spec)).scalar_one())


def write(connection: Connection, spec: MergeSpec, dialect: Dialect, path: str | Path) -> int:
    """Write a file with every row of every duplicate group, `keep` empty. Returns the rows."""
    labels = [p.label for p in spec.bound.parts]
    header = [*labels, *spec.identity, "keep"]
    rows = run(connection, dialect.every_member(spec))
    count = 0
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(header)
        for row in rows:
            out.writerow([*("" if v is None else plain(v) for v in row), ""])
            count += 1
    return count
