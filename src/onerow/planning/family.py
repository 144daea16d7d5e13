"""What becomes of columns and children when duplicate rows are merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from onerow.children import Child, children_of, referring
from onerow.dialects import Dialect
from onerow.dialects.collisions import indexed_columns
from onerow.dialects.values import ColumnChange, Fold
from onerow.errors import RuleError, nearest
from onerow.keys import BoundKey, bind_key, bind_table
from onerow.rules import Key, Rule
from onerow.schema import Snapshot, Table
from onerow.sql import Name, quote

POLICIES_OF_ANY_TYPE = ("keep", "fill")


def merged_columns(
    bound: BoundKey, dialect: Dialect, children: tuple[Child, ...]
) -> Iterator[ColumnChange]:
    referred_to = {c for child in children for c in child.target_columns}
    fixed = {*bound.columns, *bound.table.row_identity, *bound.table.primary_key}
    named = {c.casefold() if bound.dialect == "sqlite" else c for c in bound.key.merge}
    for column in bound.table.columns:
        own = column.name.casefold() if bound.dialect == "sqlite" else column.name
        if not column.writable or column.identity or column.name in fixed:
            if own in named and own != "default":
                raise RuleError(
                    f"column {column.name!r} cannot be merged: it is generated, or part of a key.",
                    rule=bound.label,
                )
            continue
        policy = bound.key.policy(column.name)
        misfit = dialect.policy_misfit(column, policy)
        if misfit and policy not in POLICIES_OF_ANY_TYPE:
            raise RuleError(
                f"policy {policy!r} does not fit {column.name} ({column.type}): {misfit}.",
                rule=bound.label,
                hint="Name a policy for this column under merge.",
            )
        if column.name in referred_to and policy not in POLICIES_OF_ANY_TYPE:
            # Another value in the survivor would leave its own children behind.
            if own in named:
                raise RuleError(
                    f"column {column.name!r} is referred to by other rows; it can be kept or "
                    "filled.",
                    rule=bound.label,
                )
            policy = "fill"
        if policy != "keep":
            yield ColumnChange(column=column, policy=policy)


def folds(
    bound: BoundKey,
    children: tuple[Child, ...],
    changes: tuple[ColumnChange, ...],
    snapshot: Snapshot,
    dialect: Dialect,
    rules: Sequence[Rule],
) -> tuple[Fold, ...]:
    """Children of which rows may go, and theirs, as far as the rule has a policy for them.

    Raises:
        RuleError: the rule has a policy for a table that cannot be reached.
    """
    policies = {
        bind_table(name, snapshot, bound.label).ident: policy
        for name, policy in bound.key.children.items()
    }
    keys = _keys(snapshot, rules)
    found: dict[Name, Fold] = {}
    reached = {bound.table.ident: bound.table}
    ahead = list(children)
    while ahead:
        table = ahead.pop(0).table
        reached[table.ident] = table
        policy = policies.get(table.ident, "error")
        if policy == "error" or table.ident in found or not table.row_identity:
            continue
        if table.ident == bound.table.ident:
            own = Fold(
                table=table, policy=policy, children=children, changes=changes,
                order=_best_row(table, policy), by=_by(policy), number=0,
            )  # fmt: skip
            found[table.ident] = own
            continue
        fold = _fold(table, policy, len(found) + 1, keys.get(table.ident, []), snapshot, dialect)
        found[table.ident] = fold
        ahead += fold.children
    _refuse_strangers(bound, policies, reached)
    moved = [*children, *(c for f in found.values() for c in f.children)]
    return tuple(replace(f, changes=_safe(f, moved, dialect)) if f.number else f
                 for f in found.values())  # fmt: skip


def _refuse_strangers(
    bound: BoundKey, policies: dict[Name, str], reached: dict[Name, Table]
) -> None:
    for ident in policies:
        if ident not in reached:
            raise RuleError(
                f"children names {ident.name}, which does not refer to {bound.table}, nor to a "
                "table that refers to it and has a policy itself.",
                rule=bound.label,
                hint=nearest(ident.name, [t.name for t in reached.values()]),
            )


def _keys(snapshot: Snapshot, rules: Sequence[Rule]) -> dict[Name, list[Key]]:
    """The [[key]] rules of the same file, by table; a table that is missing is told elsewhere."""
    out: dict[Name, list[Key]] = {}
    for rule in rules:
        if isinstance(rule, Key):
            try:
                ident = bind_table(rule.table, snapshot, rule.label).ident
            except RuleError:
                continue
            out.setdefault(ident, []).append(rule)
    return out


def _fold(
    table: Table,
    policy: str,
    number: int,
    rules: Sequence[Key],
    snapshot: Snapshot,
    dialect: Dialect,
) -> Fold:
    rule = _rule_of(table, rules) if policy == "merge" else None
    if rule is None:
        children = tuple(referring(table, snapshot))
        plain = bind_key(Key(_named(table, snapshot), *table.row_identity), snapshot)
        return Fold(
            table=table,
            policy=policy,
            children=children,
            changes=tuple(merged_columns(plain, dialect, children)) if policy == "merge" else (),
            order=_best_row(table, policy),
            by=_by(policy),
            number=number,
        )
    bound = bind_key(rule, snapshot)
    children = children_of(table, rule, snapshot)
    keep = rule.keep
    what = quote(keep.what) if table.column(keep.what) else keep.what
    order = ((what, f"{'DESC' if keep.descending else 'ASC'} NULLS LAST"),) if keep.what else ()
    return Fold(
        table=table,
        policy=policy,
        children=children,
        changes=tuple(merged_columns(bound, dialect, children)),
        order=order,
        by=f"by its own key, keep {keep}",
        number=number,
    )


def _named(table: Table, snapshot: Snapshot) -> str:
    return quote(table.name) if snapshot.dialect == "sqlite" else table.sql


def _rule_of(table: Table, rules: Sequence[Key]) -> Key | None:
    """The table's own rule for one of its unique keys; a person's decisions cannot serve here."""
    wanted = [{e.expression for e in i.columns} for i in table.indexes if i.enforcing]
    return next(
        (r for r in rules if set(r.columns) in wanted and r.keep.how != "manual"),
        None,
    )


def _best_row(table: Table, policy: str) -> tuple[tuple[str, str], ...]:
    mine = ("onerow_place", "ASC")  # the survivor's own child comes first
    if policy == "keep":
        return (mine,)
    filled = " + ".join(
        f"CASE WHEN {quote(c.name)} IS NULL THEN 0 ELSE 1 END" for c in table.columns
    )
    return ((f"({filled})", "DESC"), mine)


def _by(policy: str) -> str:
    if policy == "keep":
        return "keep the survivor's"
    return "keep the best filled, fill what is NULL in it from the others"


def _safe(fold: Fold, moved: Sequence[Child], dialect: Dialect) -> tuple[ColumnChange, ...]:
    """Columns that a child may take over from one that goes, without colliding anew.

    A value that is unique by itself is free when its row has gone; one of several in a key, or one
    that is a reference under way, could be somebody else's.
    """
    table = fold.table
    references = {n.casefold() for c in moved if c.table.ident == table.ident for n in c.columns}
    unsafe: set[str] = set()
    for index in table.indexes:
        if not index.enforcing:
            continue
        used = indexed_columns(index, table, dialect.name)
        alone = len(used) == 1 and not any(e.is_expression for e in index.columns)
        unsafe |= used & references if alone else used
    return tuple(c for c in fold.changes if c.column.name.casefold() not in unsafe)
