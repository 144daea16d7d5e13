"""What merging should do, said a second time in plain Python over random tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from onerow.rules import Key
from tests.support.sandbox import Sandbox, values

Row = dict[str, Any]

#: A filter as SQL and as Python.
FILTERS: dict[str | None, Callable[[Row], bool]] = {
    None: lambda _: True,
    "n > 0": lambda r: r["n"] is not None and r["n"] > 0,
    "s IS NULL OR s <> 'x%'": lambda r: r["s"] is None or r["s"] != "x%",
    "NOT (n = 1) AND a IS NOT NULL": lambda r: r["n"] not in (None, 1) and r["a"] is not None,
}
KEEPS = ["first", "latest n", "earliest n", "max s", "min n + 1"]
POLICIES = {
    "n": ["keep", "fill", "sum", "max", "min"],
    "s": ["keep", "fill", "concat", "max", "min"],
}
ACTIONS = ["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]


@dataclass(frozen=True)
class Scenario:
    """A table with rows, children that point at some, and a key."""

    identity: tuple[str, ...]
    rows: tuple[Row, ...]
    children: tuple[int | None, ...]  #: each points at the row of this number
    action: str
    unique_children: bool
    columns: tuple[str, ...]
    nulls: str
    fold: bool
    where: str | None
    keep: str
    merge: dict[str, str] = field(hash=False)

    @property
    def key(self) -> Key:
        return Key(
            "parent",
            *self.columns,
            name="parent_key",
            nulls=self.nulls,  # type: ignore[arg-type]
            ignore_case=["b"] if self.fold and "b" in self.columns else [],
            where=self.where,
            keep=self.keep,
            merge=self.merge,
        )

    def build(self, box: Sandbox) -> None:
        """Make the tables and fill them."""
        kinds = {"id": "integer", "t": "text", "a": "integer", "b": "text", "n": "integer"}
        kinds |= {"s": "text"}
        names = [c for c in ("t", "id") if c in self.identity] + ["a", "b", "n", "s"]
        columns = ", ".join(
            f"{c} {kinds[c]}{' NOT NULL' if c in self.identity else ''}" for c in names
        )
        own = ", ".join(self.identity)
        mine = ", ".join(f"p_{c} {kinds[c]}" for c in self.identity)
        unique = f", UNIQUE ({', '.join(f'p_{c}' for c in self.identity)}, w)"
        box.execute(
            f"CREATE TABLE parent ({columns}, PRIMARY KEY ({own}));"
            f"CREATE TABLE child (no integer PRIMARY KEY, {mine}, w integer,"
            f" FOREIGN KEY ({', '.join(f'p_{c}' for c in self.identity)}) REFERENCES parent ({own})"
            f" ON DELETE {self.action}{unique if self.unique_children else ''});"
        )
        if self.rows:
            listed = values([[r[c] for c in names] for r in self.rows])
            box.execute(f"INSERT INTO parent VALUES {listed}")
        if self.children:
            box.execute(f"INSERT INTO child VALUES {values(self._children())}")

    def _children(self) -> list[list[Any]]:
        out = []
        for no, parent in enumerate(self.children):
            row = self.rows[parent] if parent is not None else None
            own = [row[c] if row else None for c in self.identity]
            out.append([no, *own, no % 3])
        return out

    # -- the oracle --------------------------------------------------------------------------

    def value(self, row: Row) -> tuple[Any, ...]:
        """What a key compares."""
        own = [row[c] for c in self.columns]
        if self.fold:
            return tuple(v.lower() if isinstance(v, str) else v for v in own)
        return tuple(own)

    def groups(self) -> list[list[Row]]:
        """The duplicate groups, each ranked: its survivor is the first."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            value = self.value(row)
            if FILTERS[self.where](row) and (self.nulls == "equal" or None not in value):
                found.setdefault(value, []).append(row)
        return [sorted(g, key=self._rank) for g in found.values() if len(g) > 1]

    def _rank(self, row: Row) -> tuple[Any, ...]:
        own = tuple(row[c] for c in self.identity)
        if self.keep == "first":
            return own
        how, what = self.keep.split(" ", 1)
        value = row["s"] if what == "s" else row["n"]
        if value is None:
            return (1, 0, *own)
        return (0, _Reversed(value) if how in ("latest", "max") else value, *own)

    def merged(self) -> list[Row]:
        """The rows that should be left."""
        gone: set[int] = set()
        changed: dict[int, Row] = {}
        for group in self.groups():
            best, *others = group
            gone |= {id(r) for r in others}
            changed[id(best)] = best | {c: self._merge(c, group) for c in ("a", "b", "n", "s")}
        return [changed.get(id(r), r) for r in self.rows if id(r) not in gone]

    def _merge(self, column: str, group: list[Row]) -> Any:
        own = group[0][column]
        there = [r[column] for r in group if r[column] is not None]
        if column in self.columns:
            return own
        match self.merge.get(column, "fill"):
            case "sum":
                return sum(there) if there else None
            case "max":
                return max(there, default=None)
            case "min":
                return min(there, default=None)
            case "concat":
                return "\n".join(dict.fromkeys(there)) if there else None
            case "fill":
                return there[0] if there and own is None else own
            case _:
                return own

    def survivor(self, number: int) -> Row:
        """The row that stands for a row after the merge."""
        row = self.rows[number]
        for group in self.groups():
            if any(r is row for r in group):
                return group[0]
        return row

    def collides(self) -> bool:
        """Children would be equal in their unique key."""
        if not self.unique_children:
            return False
        moved = [
            (*(self.survivor(p)[c] for c in self.identity), no % 3)
            for no, p in enumerate(self.children)
            if p is not None
        ]
        return len(set(moved)) < len(moved)


class _Reversed:
    """Orders the other way round."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(other.value == self.value)


_NUMBERS = st.none() | st.integers(-1, 3)
_TEXTS = st.none() | st.sampled_from(["", "x", "y", "X", "x%", "it's"])


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Small tables with many duplicates."""
    identity = draw(st.sampled_from([("id",), ("t",), ("t", "id")]))
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.integers(-5, 30),
                    "t": st.text("ab%' ", max_size=3),
                    "a": st.none() | st.integers(0, 2),
                    "b": _TEXTS,
                    "n": _NUMBERS,
                    "s": _TEXTS,
                }
            ),
            max_size=14,
            unique_by=lambda r: tuple(r[c] for c in identity),
        )
    )
    numbers = st.none() | st.integers(0, len(rows) - 1) if rows else st.none()
    children = draw(st.lists(numbers, max_size=8))
    unique_children = draw(st.booleans())
    scenario = Scenario(
        identity=identity,
        rows=tuple(rows),
        children=tuple(children),
        action=draw(st.sampled_from(ACTIONS)),
        unique_children=unique_children,
        columns=draw(st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a"), ()])),
        nulls=draw(st.sampled_from(["distinct", "equal"])),
        fold=draw(st.booleans()),
        where=draw(st.sampled_from(list(FILTERS))),
        keep=draw(st.sampled_from(KEEPS)),
        merge={c: draw(st.sampled_from(POLICIES[c])) for c in ("n", "s")},
    )
    return _without_doubles(scenario)


def _without_doubles(scenario: Scenario) -> Scenario:
    """The children must not break their own key from the start."""
    if not scenario.unique_children:
        return scenario
    seen: set[tuple[Any, ...]] = set()
    children: list[int | None] = []
    for no, parent in enumerate(scenario.children):
        place = (parent, no % 3)
        children.append(None if parent is not None and place in seen else parent)
        seen.add(place)
    return replace(scenario, children=tuple(children))
