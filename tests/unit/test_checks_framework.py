"""The house of the checks: who is in it, how they ask, how they are judged. Without a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from onerow.checks import Check, ask, judge, registry, select
from onerow.checks.base import (
    Answer,
    Answers,
    Applies,
    ColumnStatistics,
    Consequence,
    Context,
    Probe,
    is_framework_table,
    refusals,
)
from onerow.dialects import dialect
from onerow.errors import InputError
from onerow.finding import Finding
from onerow.keys import bind_key
from onerow.rules import Key
from onerow.schema import VIEW, Column, Snapshot, Table
from onerow.sql import Name

HEADINGS = ["What it asks", "Why it matters", "An example", "Fix", "When to ignore"]


def table(name: str, **more: Any) -> Table:
    columns = (
        Column(name="id", type="integer", type_name="integer", not_null=True),
        Column(name="a", type="integer", type_name="integer"),
    )
    return Table(schema="public", name=name, columns=columns, **more)


def context(*tables: Table, keys: tuple[Key, ...] = (), **more: Any) -> Context:
    snapshot = Snapshot(
        dialect="postgresql", version=(16, 1), user="me", search_path=("public",), tables=tables
    )
    bound = tuple(bind_key(k, snapshot) for k in keys)
    return Context(snapshot=snapshot, talk=dialect("postgresql"), keys=bound, **more)


def finding(check: str, about: str = "public.t(a)", **more: Any) -> Finding:
    options = {"severity": "error", "confidence": "proven", "message": "m"} | more
    return Finding(check=check, object=about, **options)


def probe(sql: str, **more: Any) -> Probe:
    return Probe(about=f"about {sql}", sql=sql, **more)


def made_up(
    check_id: str,
    *,
    asks: tuple[Probe, ...] = (),
    finds: tuple[Finding | Consequence, ...] = (),
    fails: str = "",
    applies: Applies | None = None,
) -> Check:
    """A check that asks and finds what it is told to."""
    module = ModuleType(check_id)

    def ask_(_context: Context) -> Iterator[Probe]:
        if fails == "ask":
            raise ZeroDivisionError("asked too much")
        return iter(asks)

    def judge_(_context: Context, _answers: Answers) -> Iterator[Finding | Consequence]:
        if fails == "judge":
            raise ZeroDivisionError("judged too soon")
        return iter(finds)

    module.__dict__.update(ask=ask_, judge=judge_, applies=applies or Applies())
    return Check(check_id, module)


def run(*checks: Check, answers: dict[str, Answer] | None = None, **more: Any) -> Any:
    scene = context(table("t"), **more)
    return judge(scene, ask(scene, checks), Answers(answers or {}))


# -- the registry ---------------------------------------------------------------------------------


def test_ids_come_from_the_modules() -> None:
    """A file is a check; its name is the id."""
    ids = [c.id for c in registry()]
    assert ids == sorted(ids)
    assert "U101-duplicate-key-rows" in ids
    assert [c.module.ID for c in registry()] == ids


@pytest.mark.parametrize("check", registry(), ids=lambda c: c.id)
def test_every_check_has_a_page(check: Check) -> None:
    """Its docstring is a page: what it finds in a sentence, then the same headings for all."""
    assert check.title.endswith(".")
    assert [x[3:] for x in check.page.splitlines() if x.startswith("## ")] == HEADINGS
    assert isinstance(check.applies, Applies)


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ((), ("U", "R"), ["I402"]),
        (("u101",), (), ["U101"]),
        (("U101-duplicate-key-rows", "R20"), (), ["R202", "R203", "U101"]),
        (("R",), ("R203",), ["R202"]),
        (("R203",), ("R",), []),
    ],
)
def test_select(only: tuple[str, ...], skip: tuple[str, ...], expected: list[str]) -> None:
    """By id or its beginning; what is skipped is skipped."""
    assert [c.id[:4] for c in select(only, skip)] == expected


@pytest.mark.parametrize("word", ["X999", "", "U101-duplicate-key-row-s"])
def test_select_nothing(word: str) -> None:
    """A word that means no check is told."""
    with pytest.raises(InputError, match="no check"):
        select(only=[word])
    with pytest.raises(InputError, match="no check"):
        select(skip=[word])


# -- outcomes -------------------------------------------------------------------------------------


def test_ok_and_found() -> None:
    """Nothing found is ok, and is told from not run."""
    findings, results = run(made_up("A1"), made_up("B1", finds=(finding("B1"),)))
    assert [f.check for f in findings] == ["B1"]
    assert [(r.check, r.outcome, r.reason) for r in results] == [
        ("A1", "ok", ""),
        ("B1", "found", ""),
    ]


@pytest.mark.parametrize(
    ("applies", "reason"),
    [
        (Applies(dialects=("sqlite",)), "it is about SQLite only"),
        (Applies(declared_keys=True), "no [[key]] rule declares a key"),
    ],
)
def test_skipped(applies: Applies, reason: str) -> None:
    """A check that has nothing to say here is not asked, and says why."""
    one = made_up("A1", fails="ask", applies=applies)
    findings, results = run(one)
    assert findings == ()
    assert [(r.outcome, r.reason) for r in results] == [("skipped", reason)]


@pytest.mark.parametrize("where", ["ask", "judge"])
def test_a_check_that_crashes_stops_no_other(where: str) -> None:
    """It ends in an error of its own; the others are made."""
    findings, results = run(made_up("A1", fails=where), made_up("B1", finds=(finding("B1"),)))
    assert [r.outcome for r in results] == ["error", "found"]
    assert results[0].reason.startswith("ZeroDivisionError")
    assert [f.check for f in findings] == ["B1"]


def test_unanswered_is_not_ok() -> None:
    """A question without an answer makes the check skipped, not clean."""
    one = made_up("A1", asks=(probe("SELECT 1"), probe("SELECT 2")))
    answers = {"SELECT 1": Answer(), "SELECT 2": Answer(reason="it took longer than 10 s")}
    _, results = run(one, answers=answers)
    assert (results[0].outcome, results[0].reason) == (
        "skipped",
        "about SELECT 2: it took longer than 10 s",
    )


def test_many_unanswered() -> None:
    """Three reasons are enough to read."""
    asks = tuple(probe(f"SELECT {i}") for i in range(5))
    _, results = run(made_up("A1", asks=asks, finds=(finding("A1"),)))
    assert results[0].outcome == "found"
    assert results[0].reason.endswith("about SELECT 2: it was not asked; and 2 other questions")


def test_worst_first() -> None:
    """By severity, then proven before guessed, then by name."""
    given = (
        finding("A1", severity="info"),
        finding("A1", "public.z", severity="warning", confidence="hint"),
        finding("A1", "public.y", severity="warning"),
        finding("A1", "public.x", severity="error"),
    )
    findings, _ = run(made_up("A1", finds=given))
    assert [f.object for f in findings] == ["public.x", "public.y", "public.z", "public.t(a)"]


# -- causes and consequences ----------------------------------------------------------------------


def test_a_consequence_is_left_out() -> None:
    """Where its cause is reported; the check says who tells it."""
    follows = Consequence(finding("B1"), (("A1", "public.t(a)"),))
    findings, results = run(made_up("A1", finds=(finding("A1"),)), made_up("B1", finds=(follows,)))
    assert [f.check for f in findings] == ["A1"]
    assert (results[1].outcome, results[1].reason) == ("found", "told by A1")


def test_a_consequence_without_its_cause() -> None:
    """On another object, or when the cause's check was not made, it is reported."""
    follows = Consequence(finding("B1"), (("A1", "public.t(a)"),))
    cause = finding("A1", "public.u(a)")
    findings, _ = run(made_up("A1", finds=(cause,)), made_up("B1", finds=(follows,)))
    assert [f.check for f in findings] == ["A1", "B1"]
    findings, _ = run(made_up("B1", finds=(follows,)))
    assert [f.check for f in findings] == ["B1"]


# -- questions ------------------------------------------------------------------------------------


def test_a_question_is_asked_once_and_the_cheap_ones_first() -> None:
    """Two checks that want to know the same share the answer."""
    scene = context(table("t"))
    dear, cheap = probe("SELECT 1", pages=900), probe("SELECT 2", pages=3)
    inquiry = ask(scene, [made_up("A1", asks=(dear, cheap)), made_up("B1", asks=(dear,))])
    assert [p.sql for p in inquiry.probes] == ["SELECT 2", "SELECT 1"]


def test_refusals() -> None:
    """What we may not read, or not see all of, is known before it is asked."""
    closed = table("closed", privileges=frozenset({"insert"}))
    veiled = table("veiled", row_security_applies=True)
    scene = context(table("open"), closed, veiled)
    asked = [
        probe(name, tables=(Name("public", name), Name("public", "gone")))
        for name in ("open", "closed", "veiled")
    ]
    found = {p.sql: a.reason for p, a in refusals(asked, scene.snapshot)}
    assert found == {
        "closed": "me may not SELECT public.closed",
        "veiled": "row security hides rows of public.veiled from us",
    }


# -- what is looked at ----------------------------------------------------------------------------


def test_tables_of_interest() -> None:
    """The user's own, with rows in them; partitions by their root."""
    own = table("own")
    scene = context(
        own,
        table("v", kind=VIEW),
        table("p1", partition_of=Name("public", "own")),
        table("spatial", extension="postgis"),
        table("elsewhere", asked=False),
        table("Django_Session"),
    )
    assert scene.tables == (own,)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("alembic_version", True),
        ("django_migrations", True),
        ("sqlite_stat1", True),
        ("SequelizeMeta", True),
        ("auth_permission", True),
        ("auth_user", False),
        ("orders", False),
        ("my_django_app", False),
    ],
)
def test_framework_tables(name: str, answer: bool) -> None:
    """What nobody who uses a framework can change."""
    assert is_framework_table(name) is answer


@pytest.mark.parametrize(
    ("distinct", "null_share", "rows", "share"),
    [(-1.0, 0.0, 100, 1.0), (50.0, 0.0, 100, 0.5), (-0.25, 0.5, 100, 0.5), (5.0, 1.0, 100, None),
     (5.0, 0.0, None, None)],
)  # fmt: skip
def test_distinct_share(
    distinct: float, null_share: float, rows: int | None, share: float | None
) -> None:
    """The statistics count values, or give their share among all rows; we want it among filled."""
    one = table("t", estimated_rows=rows)
    known = {(one.ident, "a"): ColumnStatistics(distinct=distinct, null_share=null_share)}
    assert context(one, statistics=known).distinct_share(one, "a") == share
    assert context(one).distinct_share(one, "a") is None


def test_fingerprints_stay() -> None:
    """Not rows, not the order of tables, not names beside: what is found is the same again."""
    checks = select(only=["U101", "U102", "U115"])
    key = Key("t", "a")

    def prints(*tables: Table, groups: int) -> list[str]:
        scene = context(*tables, keys=(key,))
        inquiry = ask(scene, checks)
        row = {"k1": 1, "k2": 1, "members": 2, "groups": groups, "surplus": groups}
        answers = Answers({p.sql: Answer(rows=(row,)) for p in inquiry.probes})
        findings, _ = judge(scene, inquiry, answers)
        return sorted(f.fingerprint for f in findings if ".t" in f.object)

    one = prints(table("t"), table("u"), groups=1)
    assert len(one) == 3
    assert prints(table("z"), replace(table("t"), estimated_rows=7), groups=9) == one


def test_questions_need_no_database() -> None:
    """Checks are pure: what they ask can be listed from a catalog that is made up."""
    scene = context(table("t"), keys=(Key("t", "a"),))
    inquiry = ask(scene, registry())
    assert not inquiry.failed
    assert {p.about for p in inquiry.probes} >= {
        "duplicates of public.t(a)",
        "rows of public.t that agree in every column",
    }
