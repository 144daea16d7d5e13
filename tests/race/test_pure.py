"""The pure parts: scripts, the search, what a statement touches, what depends on what."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from onerow.race.dependency import (
    ADVISORY,
    CATALOGS,
    EVERYTHING,
    LOCAL,
    Facts,
    Footprint,
    dependent,
    footprint_of,
    row_of,
)
from onerow.race.oracle import circles
from onerow.race.runner import Node
from onerow.race.schedule import Exploring, Search, simpler, switches
from onerow.race.trace import Trace, read_script, write_script

FACTS = Facts(
    known=frozenset({"users", "teams", "players", "logged"}),
    parents={"players": frozenset({"teams"})},
    children={"teams": frozenset({"players"})},
    opaque=frozenset({"logged"}),
    keys={"users": "id"},
    free={"users": frozenset({"name"})},
)


def one(name: str) -> frozenset[str]:
    return frozenset({name})


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT name FROM users", Footprint(reads=one("users"))),
        ("SELECT name FROM users WHERE email = 'x' FOR UPDATE", Footprint(writes=one("users"))),
        ("SELECT name FROM users FOR SHARE", Footprint(shares=one("users"))),
        ("INSERT INTO users (name) VALUES (%(name)s)", Footprint(writes=one("users"))),
        (
            "INSERT INTO players (team_id) VALUES (%s)",
            Footprint(writes=one("players"), shares=one("teams")),
        ),
        (
            "DELETE FROM teams",
            Footprint(writes=frozenset({"teams", "players"}), shares=one("teams")),
        ),
        (
            "WITH x AS (SELECT id FROM teams) UPDATE users SET name = 'y' FROM x",
            Footprint(reads=one("teams"), writes=one("users")),
        ),
        ("SELECT pg_advisory_xact_lock(7)", Footprint(writes=one(ADVISORY))),
        ("SELECT count(*), now(), coalesce(name, '%%') FROM users", Footprint(reads=one("users"))),
        ("SAVEPOINT one", LOCAL),
        ("SET LOCAL lock_timeout = 5", LOCAL),
        ("SELECT name FROM users, generate_series(1, 3) AS n", Footprint(reads=one("users"))),
        (
            "SELECT c.relname FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)",
            Footprint(reads=one("pg_class")),
        ),
        ("EXPLAIN INSERT INTO users DEFAULT VALUES", Footprint(reads=CATALOGS)),
        ("EXPLAIN (ANALYZE) INSERT INTO users DEFAULT VALUES", EVERYTHING),
        ("UPDATE pg_class SET relpages = 1", EVERYTHING),
        ("SELECT query FROM pg_stat_activity", EVERYTHING),
        ("SELECT * FROM charges(7)", EVERYTHING),
        ("SELECT charge(users.id) FROM users", EVERYTHING),
        ("SELECT 1 FROM unknown_view", EVERYTHING),
        ("INSERT INTO logged VALUES (1)", EVERYTHING),
        ("LOCK TABLE users", EVERYTHING),
        ("TRUNCATE users", EVERYTHING),
        ("SELECT * INTO other FROM users", EVERYTHING),
        ("CALL settle()", EVERYTHING),
        ("this is no SQL", EVERYTHING),
    ],
)
def test_footprint(sql: str, expected: Footprint) -> None:
    """What a statement touches is read from its text; what is not understood touches everything."""
    assert footprint_of(sql, FACTS) == expected


@pytest.mark.parametrize(
    ("sql", "parameters", "row"),
    [
        ("UPDATE users SET name = %(n)s WHERE users.id = %(i)s", {"n": "x", "i": 3}, 3),
        ("UPDATE users SET name = $1::VARCHAR WHERE users.id = $2::INTEGER", ("x", 3), 3),
        ("UPDATE users SET name = 'x' WHERE id = 3 AND name = 'y'", None, 3),
        ("UPDATE users SET email = 'x' WHERE id = 3", None, None),
        ("UPDATE users SET name = 'x' WHERE id = 3 OR id = 4", None, None),
        ("UPDATE users SET name = 'x' WHERE id IN (SELECT 3)", None, None),
        ("UPDATE users SET name = %(n)s WHERE id = %(i)s", None, None),
    ],
)
def test_single_rows(sql: str, parameters: Any, row: int | None) -> None:
    """One row is told where the primary key is compared and no index looks at what is set."""
    expected = one("users") if row is None else one(row_of("users", row))
    assert footprint_of(sql, FACTS, parameters).writes == expected


def test_dependence() -> None:
    """Plain reads meet commits, writes meet writes, rows meet their table, and all is symmetric."""
    read, write = Footprint(reads=one("t")), Footprint(writes=one("t"))
    commit = Footprint(ends=one("t"))
    pairs = {
        (read, read): False,
        (read, write): False,
        (write, write): True,
        (read, commit): True,
        (write, commit): True,
        (commit, commit): False,
        (Footprint(reads=one("u"), snapshot=True), commit): True,
        (Footprint(reads=one("t"), strict=True), write): True,
        (Footprint(writes=one(row_of("t", 1))), Footprint(writes=one(row_of("t", 2)))): False,
        (Footprint(writes=one(row_of("t", 1))), write): True,
        (Footprint(writes=one(row_of("t", 1)), waits=True), Footprint(writes=one("u"))): True,
        (EVERYTHING, read): True,
        (EVERYTHING, LOCAL): False,
    }
    for (a, b), answer in pairs.items():
        assert (dependent(a, b), dependent(b, a)) == (answer, answer), (a, b)


class Model:
    """Sessions of so many steps that never wait, for the search alone."""

    def __init__(self, lengths: tuple[int, ...], footprint: Footprint) -> None:
        self.lengths, self.footprint = lengths, footprint

    def run(self, policy: Exploring) -> tuple[int, ...]:
        done = [0] * len(self.lengths)
        taken: list[int] = []
        while any(d < n for d, n in zip(done, self.lengths, strict=True)):
            enabled = [i for i, n in enumerate(self.lengths) if done[i] < n]

            node = Node(Trace(), enabled, taken[-1] if taken else None)
            node.footprints = dict.fromkeys(enabled, self.footprint)
            node.words = {i: f"{i}{done[i]}" for i in enabled}
            node.made = self.footprint if taken else None
            chosen = policy.choose(node)
            done[chosen] += 1
            taken.append(chosen)
        return tuple(taken)


def explored(model: Model, **options: Any) -> list[tuple[int, ...]]:
    search = Search(**options)
    found = []
    while search:
        policy = Exploring(search, search.pop())
        schedule = model.run(policy)
        if not policy.redundant:
            policy.hand_over()
            found.append(schedule)
    return found


def preemptions(schedule: tuple[int, ...], lengths: tuple[int, ...]) -> int:
    left = list(lengths)
    count = 0
    for now, after in itertools.pairwise(schedule):
        left[now] -= 1
        count += now != after and left[now] > 0
    return count


@pytest.mark.parametrize("lengths", [(3, 3), (2, 3), (2, 2, 2)])
def test_search_is_complete_and_ordered(lengths: tuple[int, ...]) -> None:
    """Every schedule is run once, those with fewer preemptions first; a bound cuts exactly there."""
    steps = [i for i, n in enumerate(lengths) for _ in range(n)]
    every = set(itertools.permutations(steps))
    found = explored(Model(lengths, EVERYTHING), prune=False)
    assert sorted(found) == sorted(every)
    costs = [preemptions(s, lengths) for s in found]
    assert costs == sorted(costs)
    bounded = explored(Model(lengths, EVERYTHING), bound=1)
    assert set(bounded) == {s for s in every if preemptions(s, lengths) <= 1}


def test_pruning_by_independence() -> None:
    """What is independent needs one schedule, what is dependent needs all of them."""
    assert len(explored(Model((3, 3), LOCAL))) == 1
    assert len(explored(Model((3, 3), EVERYTHING))) == 20


def test_seed_changes_the_order_alone() -> None:
    """Another seed runs the same schedules in another order, and each seed always the same."""
    model = Model((3, 3), EVERYTHING)
    plain, one_, two = (explored(model, prune=False, seed=s) for s in (0, 1, 1))
    assert sorted(plain) == sorted(one_)
    assert plain != one_ == two


def test_scripts() -> None:
    """A schedule is written and read; the numbers are for the reader."""
    assert write_script([0, 1, 0, 0]) == "A1 B1 A2 A3"
    assert read_script("A1 B1 A2 A3", 2) == read_script("A B A A", 2) == [0, 1, 0, 0]
    for text in ("C1", "A1x", "1A", "a1"):
        with pytest.raises(ValueError, match="is no step"):
            read_script(text, 2)


def test_simpler_schedules() -> None:
    """What is tried to make a failure smaller has the same steps and fewer switches."""
    schedule = (0, 1, 0, 1, 0)
    found = simpler(schedule)
    assert found
    for each in found:
        assert sorted(each) == sorted(schedule)
        assert switches(each) < switches(schedule)
    assert simpler((0, 0, 1, 1)) == []


def test_circles() -> None:
    """A chain of waits is none; a circle anywhere in it is a deadlock."""
    assert not circles({1: (2,), 2: (3,)})
    assert circles({1: (2,), 2: (1,)})
    assert circles({1: (2,), 2: (3,), 3: (2,)})
    assert not circles({})
