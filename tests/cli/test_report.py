"""Reports are values: the exact text of each, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

import pytest
from rich.console import Console

from onerow.api import Outcome, Proof
from onerow.finding import CheckReport, CheckResult, Evidence, Finding, Fix, RuleState, Violations
from onerow.journal import RunRecord, StepRecord
from onerow.plan import Blocker, Plan, Step
from onerow.report import checked, json, sql, text, words
from onerow.sql import Name

TABLE = Name("public", "selection")
MERGE = Step(
    kind="merge_duplicates",
    table=TABLE,
    rule="uq_one",
    sentence="Merge 1,200 groups of duplicates.",
    sql=("DELETE FROM selection", "UPDATE selection SET day = 'mon';"),
    lock="row_exclusive",
    lock_length="each batch",
    rows=1200,
    undo="Puts the archived rows back.",
)
VERIFY = Step(
    kind="verify",
    table=TABLE,
    rule="uq_one",
    sentence="Prove that it holds.",
    sql=("SELECT 1",),
    lock="none",
    undo="Nothing to take back.",
)
PLAN = Plan(dialect="postgresql", database="app", rules=(), steps=(MERGE, VERIFY))


def shown(parts: text.Parts, width: int = 100) -> str:
    """The parts as a terminal without colours shows them, without blanks at the ends of lines."""
    console = Console(
        file=StringIO(), width=width, color_system=None, markup=False, highlight=False
    )
    for part in parts:
        console.print(part)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines())


def record(step: Step, status: str = "done", **facts: object) -> StepRecord:
    values = {"rows": 0, "seconds": 0.0, **facts}
    return StepRecord(id=step.id, kind=step.kind, status=status, **values)  # type: ignore[arg-type]


def run_record(status: str, **facts: object) -> RunRecord:
    values = {
        "id": "20260101-0a1b2c3d",
        "plan_id": PLAN.id,
        "plan": PLAN,
        "direction": "apply",
        "status": status,
        "message": "",
        "runner": "host:42",
        "started_at": datetime(2026, 1, 1, 8, 0, tzinfo=UTC),
        "finished_at": None,
        "steps": (record(MERGE, rows=1200, seconds=75.0), record(VERIFY, "running")),
        "archived": 1200,
        **facts,
    }
    return RunRecord(**values)  # type: ignore[arg-type]


# -- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234_567, "1,234,567 rows")],
)
def test_count(value: int, said: str) -> None:
    """Singular, plural, thousands."""
    assert words.count(value, "row") == said


def test_count_of_other_plurals() -> None:
    """A plural that is not made with an s."""
    assert words.count(2, "index", "indexes") == "2 indexes"
    assert words.count(1, "index", "indexes") == "1 index"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.0404, "40 ms"),
        (0.9996, "1 s"),
        (1.44, "1.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    """In the unit that fits."""
    assert words.duration(seconds) == said


def test_moment() -> None:
    """Times are told in UTC; one without a zone is UTC already."""
    assert words.moment(datetime(2026, 1, 1, 8, 0, 1)) == "2026-01-01 08:00:01 UTC"
    east = timezone(timedelta(hours=2))
    assert words.moment(datetime(2026, 1, 1, 8, 0, 1, tzinfo=east)) == "2026-01-01 06:00:01 UTC"


def test_values() -> None:
    """NULL, the empty text and a long one can be told apart; nothing moves the cursor."""
    assert words.value(None) == "NULL"
    assert words.value("") == "''"
    assert words.value(0) == "0"
    assert words.value("\x1b[2J\u202e\n") == r"\x1b[2J\u202e\n"
    assert len(words.value("x" * 100)) == words.MOST_CHARACTERS
    assert words.clean("a\nb", lines=True) == "a\nb"


# -- text ---------------------------------------------------------------------------------------


def test_check_text() -> None:
    """Rules first, then findings by severity, then the sum."""
    report = CheckReport(
        dialect="sqlite",
        version="3.45.1",
        rules=(
            RuleState(rule="uq_one", kind="key", table="t", verdict="enforced", reason="uq_one"),
            RuleState(
                rule="uq_two",
                kind="key",
                table="t",
                verdict="enforced except nulls",
                reason="day may be NULL",
                violations=Violations(groups=1, rows=1500, nulls=2),
                samples=({"day": None, "[slot]": ""},),
                sql="SELECT 1",
            ),
        ),
        findings=(
            Finding(
                check="X1-note", severity="info", confidence="hint", object="t", message="So it is."
            ),
            Finding(
                check="U101-twice",
                severity="error",
                confidence="proven",
                object="t(day)",
                message="Twice.",
                evidence=Evidence(sql="SELECT 2", samples=({"day": 1}, {"day": 2})),
                fix=Fix(summary="Merge them."),
            ),
        ),
        checks=(
            CheckResult(check="U101-twice", outcome="found"),
            CheckResult(check="U999-slow", outcome="error", reason="took too long"),
            CheckResult(check="U998-other", outcome="skipped", reason="nothing to see"),
        ),
    )
    assert (
        shown(checked.check(report))
        == """\
SQLite 3.45.1

Rules
holds   uq_one
        enforced: uq_one

broken  uq_two
        enforced except nulls: day may be NULL
        1 group of duplicates, 1,498 surplus rows, 2 rows with a NULL
          day    [slot]
          ─────────────
          NULL   ''

Findings
error  U101-twice  t(day)
       Twice.
       Such as day = 1, 2
       Way out: Merge them.

info   X1-note  t  (hint)
       So it is.

Not looked at
error  U999-slow: took too long

1 of 2 rules holds. 2 findings (1 error, 1 info). 1 check skipped (-v tells why).

Next: `onerow plan` shows what would mend the rules, and changes nothing."""
    )
    loud = shown(checked.check(report, verbose=True))
    assert "SELECT 1" in loud
    assert "SELECT 2" in loud
    assert "U998-other: nothing to see" in loud


def test_plan_text() -> None:
    """Number, sentence, lock and how long, rows, undo, by rule."""
    parts = [*text.plan(PLAN), *text.plan_sum(PLAN)]
    assert (
        shown(parts)
        == f"""\
Plan {PLAN.id} for app (PostgreSQL)

uq_one
  1  Merge 1,200 groups of duplicates.
     Lock: ROW EXCLUSIVE for each batch · 1,200 rows
     Undo: Puts the archived rows back.

  2  Prove that it holds.
     Lock: none
     Undo: Nothing to take back.

2 steps, 1,200 rows touched. Nothing was changed.

Next: `onerow apply` does it; `onerow plan --sql` shows the SQL."""
    )
    assert "DELETE FROM selection" in shown(text.plan(PLAN, verbose=True))


def test_narrow_plan() -> None:
    """On a narrow terminal sentences are broken, and stand in their column."""
    lines = shown(text.plan(PLAN), width=24).splitlines()
    assert max(map(len, lines)) <= 24
    assert "  1  Merge 1,200 groups" in lines
    assert "     of duplicates." in lines


def test_blockers_text() -> None:
    """The rule, the message, the code; a bracket is no markup."""
    found = [Blocker(code="pooler", message="There is a [pooler].", rule="uq_one")]
    assert shown(text.blockers(found)) == "Blocked: uq_one: There is a [pooler]. [pooler]"
    blocked = Plan(dialect="sqlite", rules=(), steps=(), blockers=tuple(found))
    assert shown(text.plan_sum(blocked)) == "\nCannot be applied: 1 blocker, see above."


def test_plan_sql() -> None:
    """Every step's sentence is a comment that a name cannot end."""
    nasty = Plan(
        dialect="sqlite", rules=(), steps=(MERGE,), satisfied=("x\nDROP TABLE t;",), database="a\nb"
    )
    assert (
        sql.script(nasty)
        == f"""\
-- Plan {nasty.id} for a\\nb (sqlite): 1 step.
-- x\\nDROP TABLE t;

-- 1. Merge 1,200 groups of duplicates.
--    Lock: ROW EXCLUSIVE for each batch. Undo: Puts the archived rows back.
--    One transaction for all groups, its archives unknown to undo. `onerow apply`
--    goes batch by batch, keeps triggers silent, repeats and resumes.
BEGIN IMMEDIATE;
DELETE FROM selection;
UPDATE selection SET day = 'mon';
COMMIT;
"""
    )


def test_run_text() -> None:
    """Steps with rows and times, the sum, and what comes next."""
    outcome = Outcome(
        run="20260101-0a1b2c3d",
        status="done",
        steps=(record(MERGE, rows=1200, seconds=75.0), record(VERIFY, seconds=0.012)),
        archived=1200,
    )
    assert (
        shown(text.run(outcome, PLAN), width=90)
        == """\
Run 20260101-0a1b2c3d is done.

#   Step                                  Status    Rows         Time
─────────────────────────────────────────────────────────────────────
1   merge duplicates · public.selection   done     1,200   1 min 15 s
2   verify · public.selection             done                  12 ms

1,200 rows merged away and kept in the archive.

Next: `onerow verify` proves that the rules hold and nothing was lost; `onerow undo
20260101-0a1b2c3d` takes it back."""
    )


def test_undo_text() -> None:
    """Rows that were left alone are named with their reason and the way to have them all."""
    outcome = Outcome(
        run="20260101-0a1b2c3d",
        status="undone",
        steps=(record(MERGE, "undone"),),
        restored=1,
        left_alone=({"table": "public.selection", "key": {"id": 7}, "reason": "it was changed"},),
        message="1 row was left alone.",
        exit_code=1,
    )
    said = shown(text.undo(outcome))
    assert "1 row put back as they were." not in said
    assert "1 row put back." in said
    assert "public.selection   id = 7   it was changed" in said
    assert "`onerow undo --force 20260101-0a1b2c3d`" in said
    assert shown([text.stopped(outcome)]) == "Not all of it: 1 row was left alone."


@pytest.mark.parametrize(
    ("status", "direction", "says"),
    [
        ("running", "apply", "host:42 runs it; if that process is gone, `onerow apply` goes on."),
        ("stopped", "apply", "`onerow apply` goes on; `onerow undo 20260101-0a1b2c3d` takes it"),
        ("failed", "undo", "`onerow undo 20260101-0a1b2c3d` goes on."),
    ],
)
def test_status_text(status: str, direction: str, says: str) -> None:
    """An open run shows its steps, its message, and the way on."""
    run = run_record(status, direction=direction, message="Somebody holds the lock.")
    said = shown(text.status([run]), width=120)
    assert "2026-01-01 08:00:00 UTC" in said
    assert "1 of 2" in said
    assert "Somebody holds the lock." in said
    assert says in said


def test_status_of_nothing() -> None:
    """No runs is said, not shown as an empty table."""
    assert shown(text.status([])) == "No runs: onerow has changed nothing in this database."


def test_verify_text() -> None:
    """Each proof, and the sum."""
    proofs = [Proof(rule="a", ok=True, message="enforced"), Proof(rule="b", ok=False, message="no")]
    said = shown(text.verify(proofs))
    assert "holds   a\n        enforced\n\nbroken  b\n        no" in said
    assert "1 of 2 proofs failed." in said
    assert "Everything holds" in shown(text.verify(proofs[:1]))


# -- documents ----------------------------------------------------------------------------------


def test_documents_have_the_fields_of_the_contract() -> None:
    """What outside scripts rely on."""
    assert json.error("x", "y")["error"] == {"code": "x", "message": "y", "hint": ""}
    assert set(json.plan(PLAN)) >= {"schema", "plan", "fingerprint", "steps", "blockers"}
    run = json.run(Outcome(run="r", status="done", steps=(record(MERGE),), archived=3))
    assert set(run) >= {"schema", "run", "status", "steps", "archived", "message"}
    assert set(run["steps"][0]) >= {"id", "status", "rows", "seconds"}
    undo = json.undo(Outcome(run="r", status="undone"))
    assert set(undo) >= {"restored", "left_alone", "status", "run"}
    (status,) = json.status([run_record("done")])["runs"]
    assert status["started_at"] == "2026-01-01T08:00:00+00:00"
    assert json.verify([])["ok"] is True
