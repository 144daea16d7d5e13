"""Random rows under references, columns and checks, against a model of what each of them does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from onerow import api
from onerow.rules import Column, Constraint, Reference, Rule
from tests.crash.support import forget
from tests.support.rules import different
from tests.support.sandbox import Sandbox, values
from tests.support.story import SMALL

Row = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """Parents, children that may refer to nothing and have gaps, and rules for them.

    Attributes:
        orphans: the reference's policy; None without a reference.
        filled: what the gaps of `v` are filled with; None leaves them.
        added: the backfill of a new column; None adds none.
        least: what the check wants of `v`; None without a check.
    """

    parents: tuple[int, ...]
    rows: tuple[Row, ...]
    orphans: str | None
    on_delete: str
    index: bool
    filled: int | None
    added: dict[str, Any] | None
    least: int | None

    def build(self, box: Sandbox) -> None:
        box.execute(
            "CREATE TABLE parent (id integer PRIMARY KEY);"
            "CREATE TABLE child (no integer PRIMARY KEY, ref integer, v integer);"
        )
        if self.parents:
            box.execute(f"INSERT INTO parent VALUES {values([[p] for p in self.parents])}")
        if self.rows:
            listed = values([[r["no"], r["ref"], r["v"]] for r in self.rows])
            box.execute(f"INSERT INTO child VALUES {listed}")

    @property
    def rules(self) -> list[Rule]:
        found: list[Rule] = []
        if self.orphans:
            reference = Reference(
                table="child",
                columns=("ref",),
                to="parent(id)",
                on_delete=self.on_delete,
                orphans=self.orphans,
                index=self.index,
            )
            found.append(reference)
        for name, source in (("v", {"value": self.filled}), ("w", self.added)):
            if source is not None and source != {"value": None}:
                found.append(
                    Column(table="child", name=name, type="integer", not_null=True, backfill=source)
                )
        if self.least is not None:
            check = f"v >= {self.least}"
            found.append(Constraint(table="child", name="least_v", check=check))
        return found

    # -- the oracle --------------------------------------------------------------------------

    def orphan(self, row: Row) -> bool:
        return row["ref"] is not None and row["ref"] not in self.parents

    def violating(self) -> list[Row]:
        return [r for r in self.rows if self.least is not None and (r["v"] or 0) < self.least]

    def gone(self) -> list[Row]:
        return [r for r in self.rows if self.orphans == "archive" and self.orphan(r)]

    def after(self) -> list[tuple[Any, ...]]:
        out = []
        for row in self.rows:
            if row in self.gone():
                continue
            ref = None if self.orphans and self.orphan(row) else row["ref"]
            v = self.filled if row["v"] is None else row["v"]
            w = [] if self.added is None else [self.added.get("value", row["no"] * 2)]
            out.append((row["no"], ref, v, *w))
        return out


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Small tables; every rule may be there or not, but one is."""
    row = st.fixed_dictionaries(
        {
            "no": st.integers(-3, 60),
            "ref": st.none() | st.integers(1, 9),
            "v": st.none() | st.integers(-1, 3),
        }
    )
    orphans = draw(st.sampled_from([None, "null", "archive"]))
    filled = draw(st.none() | st.integers(0, 5))
    added = draw(st.sampled_from([None, {"value": 4}, {"sql": "no * 2"}]))
    some = orphans or filled is not None or added is not None
    return Scenario(
        parents=tuple(sorted(draw(st.sets(st.integers(1, 9))))),
        rows=tuple(draw(st.lists(row, max_size=16, unique_by=lambda r: r["no"]))),
        orphans=orphans,
        on_delete=draw(st.sampled_from(["cascade", "set null", "restrict", "no action"])),
        index=draw(st.booleans()),
        filled=filled,
        added=added,
        least=draw(st.sampled_from([None, -1, 0] if some else [-1, 0])),
    )


def budget(examples: int) -> settings:
    return settings(
        max_examples=examples,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def there_and_back(url: str, scenario: Scenario) -> None:
    box, rules = Sandbox(url), scenario.rules
    forget(box)
    box.execute("DROP TABLE IF EXISTS child", "DROP TABLE IF EXISTS parent")
    scenario.build(box)
    before = box.state()
    plan = api.make_plan(url, rules)
    # What is found to break a check is what the server would refuse, and nothing is touched then.
    if scenario.violating():
        event("violating rows")
        assert [b.code for b in plan.blockers] == ["violating_rows"]
        assert api.apply(url, rules, plan=plan).status == "refused"
        assert box.state() == before
        return
    assert plan.blockers == ()
    outcome = api.apply(url, rules, plan=plan, limits=SMALL)
    assert outcome.status == "done", outcome.message
    names = "no, ref, v" + (", w" if scenario.added is not None else "")
    assert sorted(box.rows(f"SELECT {names} FROM child")) == sorted(scenario.after())
    assert outcome.archived == len(scenario.gone())
    assert outcome.archived + box.count("child") == len(scenario.rows)
    assert all(p.ok for p in api.verify(url, rules))
    if plan.steps:
        back = api.undo(url, limits=SMALL)
        assert (back.status, back.left_alone) == ("undone", ()), back.message
    assert box.state() == before, different(before, box.state())


@budget(12)
@given(scenario=scenarios())
def test_sqlite(sqlite_url: str, scenario: Scenario) -> None:
    """Apply leads where the model says, loses nothing, and undo is its inverse."""
    there_and_back(sqlite_url, scenario)


@budget(4)
@given(scenario=scenarios())
def test_postgresql(pg_url: str, scenario: Scenario) -> None:
    """The same on the first server found."""
    there_and_back(pg_url, scenario)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@budget(80)
@given(scenario=scenarios())
def test_every_engine_at_length(every_url: str, scenario: Scenario) -> None:
    """On every engine, with a larger budget."""
    there_and_back(every_url, scenario)
