"""The whole way by commands, and the documents of the contract."""

from __future__ import annotations

import json
from datetime import datetime

from tests.cli.conftest import PAIRS, SINGLES
from tests.cli.shell import RULES, Shell
from tests.support.sandbox import Sandbox

ROWS = 2 * PAIRS + SINGLES
KEY = "uq_selection_workout"

RULES_WITH_ERROR = """\
[[key]]
table = "selection"
columns = ["workout_id"]
merge = { updated_at = "error" }
"""


def test_the_whole_way_in_documents(shell: Shell, box: Sandbox) -> None:
    """check, plan, apply, verify, undo, each with its document and exit code."""
    shell.rules()
    before = box.state()
    url = ("--url", box.url, "--json")

    check = shell("check", *url)
    assert check.code == 1
    found = check.json
    assert found["schema"] == 1
    assert found["database"]["dialect"] == box.dialect
    assert found["database"]["version"][0].isdigit()
    (rule,) = found["rules"]
    assert (rule["rule"], rule["verdict"]) == (KEY, "not enforced")
    assert (rule["violations"]["groups"], rule["violations"]["rows"]) == (PAIRS, PAIRS)
    assert {"workout_id": 1} in rule["samples"]
    assert isinstance(found["findings"], list)
    assert isinstance(found["checks"], list)

    plan = shell("plan", *url)
    assert plan.code == 0
    steps = plan.json["steps"]
    assert plan.json["blockers"] == []
    assert [s["kind"] for s in steps][:2] == ["merge_duplicates", "create_index"]
    wanted = {"id", "kind", "sentence", "sql", "lock", "transactional", "rows", "undo"}
    assert all(set(s) >= wanted for s in steps)
    assert box.state() == before

    apply = shell("apply", *url)
    assert apply.code == 0
    done = apply.json
    assert (done["status"], done["archived"]) == ("done", PAIRS)
    assert [(s["id"], s["status"]) for s in done["steps"]] == [(s["id"], "done") for s in steps]
    assert all(s["seconds"] >= 0 and s["rows"] >= 0 for s in done["steps"])
    assert box.count("selection") == ROWS - PAIRS

    status = shell("status", *url)
    assert status.code == 0
    (run,) = status.json["runs"]
    assert (run["run"], run["status"], run["archived"]) == (done["run"], "done", PAIRS)
    assert datetime.fromisoformat(run["started_at"]).tzinfo is not None

    verify = shell("verify", *url)
    assert (verify.code, verify.json["ok"]) == (0, True)
    assert {p["rule"] for p in verify.json["proofs"]} == {KEY, f"run {done['run']}"}
    assert all(set(p) >= {"rule", "ok", "message"} for p in verify.json["proofs"])
    assert shell("check", *url).code == 0

    undo = shell("undo", done["run"], *url)
    assert undo.code == 0
    assert (undo.json["run"], undo.json["status"]) == (done["run"], "undone")
    assert undo.json["restored"] >= PAIRS
    assert undo.json["left_alone"] == []
    assert box.state() == before


def test_the_whole_way_in_words(shell: Shell, box: Sandbox) -> None:
    """Every verb says what it did and what comes next; progress is on standard error."""
    shell.rules()
    url = ("--url", box.url)
    check = shell("check", *url)
    assert f"not enforced: {'main' if box.sqlite else 'public'}.selection has no" in check.words
    assert f"{PAIRS} groups of duplicates, {PAIRS} surplus rows" in check.words
    assert "`onerow plan` shows what would mend the rules" in check.words
    plan = shell("plan", *url)
    assert "1 Merge 5 groups" in plan.words
    assert "Nothing was changed." in plan.words
    apply = shell("apply", *url)
    assert "[1/" in apply.err
    assert "Merge 5 groups" in apply.err
    run = shell("status", *url, "--json").json["runs"][0]["run"]
    assert f"Run {run} is done." in apply.out
    assert f"`onerow undo {run}` takes it back" in apply.words
    assert "5 rows merged away and kept in the archive" in apply.words
    assert run in shell("status", *url).out
    assert "Everything holds, and nothing was lost." in shell("verify", *url).out
    undo = shell("undo", *url)
    assert f"Run {run} is undone." in undo.out
    assert "rows put back." in undo.words
    assert f"Run {run} is undone already." in shell("undo", *url).words


def test_a_key_enforced_already(shell: Shell, box: Sandbox) -> None:
    """Nothing to do is said, and is no failure."""
    shell.rules()
    url = ("--url", box.url)
    shell("apply", *url)
    state = box.state()
    runs = len(shell("status", *url, "--json").json["runs"])
    for verb in ("plan", "apply"):
        call = shell(verb, *url)
        assert call.code == 0
        assert "is enforced by" in call.words
        assert "nothing to do" in call.words
    document = shell("apply", *url, "--json").json
    assert (document["status"], document["run"], document["steps"]) == ("done", None, [])
    assert shell("plan", *url, "--json").json["steps"] == []
    assert len(shell("status", *url, "--json").json["runs"]) == runs
    assert box.state() == state


def test_an_empty_table(shell: Shell, box: Sandbox) -> None:
    """A table without rows gets its key, and undo takes it away."""
    box.execute("DELETE FROM tag; DELETE FROM selection;")
    shell.rules()
    before = box.state()
    url = ("--url", box.url, "--json")
    assert shell("check", *url).json["rules"][0]["violations"]["groups"] == 0
    assert shell("apply", *url).json["archived"] == 0
    assert shell("verify", *url).code == 0
    assert shell("undo", *url).code == 0
    assert box.state() == before


def test_a_plan_file_is_what_runs(shell: Shell, box: Sandbox) -> None:
    """The file that plan writes is applied without a rule file; an edited one is not."""
    shell.rules()
    url = ("--url", box.url, "--json")
    printed = shell("plan", *url, "--out", "plan.json").json
    file = shell.folder / "plan.json"
    assert json.loads(file.read_text()) == printed
    (shell.folder / "onerow.toml").unlink()
    edited = file.read_text().replace('"updated_at"', '"day"').replace("latest updated", "latest d")
    (shell.folder / "edited.json").write_text(edited)
    refused = shell("apply", "edited.json", *url)
    assert (refused.code, refused.error["code"]) == (2, "plan_file_error")
    done = shell("apply", "plan.json", *url)
    assert (done.code, done.json["plan"]) == (0, printed["plan"])


def test_a_plan_of_another_state_is_refused(shell: Shell, box: Sandbox) -> None:
    """A plan whose tables were altered since is refused with reason: exit code 1."""
    shell.rules()
    url = ("--url", box.url, "--json")
    shell("plan", *url, "--out", "plan.json")
    box.execute("ALTER TABLE selection ADD COLUMN extra text;")
    before = box.state()
    call = shell("apply", "plan.json", *url)
    assert (call.code, call.json["status"], call.json["run"]) == (1, "refused", None)
    assert "Plan again." in call.json["message"]
    assert "Refused:" in call.err
    assert box.state() == before


def test_rows_changed_since_are_left_alone(shell: Shell, box: Sandbox) -> None:
    """Undo tells the rows that others have changed, exits 1, and puts them back with --force."""
    shell.rules()
    before = box.contents()
    url = ("--url", box.url, "--json")
    run = shell("apply", *url).json["run"]
    box.execute("UPDATE selection SET day = 'changed' WHERE workout_id = 1;")
    undo = shell("undo", *url)
    assert undo.code == 1
    assert {tuple(row) for row in undo.json["left_alone"]} == {("table", "key", "reason")}
    assert undo.json["left_alone"]
    forced = shell("undo", "--force", run, *url)
    assert (forced.code, forced.json["left_alone"]) == (0, [])
    assert box.contents() == before


def test_undo_without_a_run(shell: Shell, box: Sandbox) -> None:
    """There is nothing to take back: refused, exit code 1."""
    call = shell("undo", "--url", box.url, "--json")
    assert (call.code, call.json["status"]) == (1, "refused")
    assert "There is no run to undo." in call.err
    shell.rules()
    run = shell("apply", "--url", box.url, "--json").json["run"]
    wrong = shell("undo", run[:-1] + "x", "--url", box.url)
    assert wrong.code == 1
    assert f"Did you mean '{run}'?" in wrong.said


def test_verify_of_a_broken_rule(shell: Shell, box: Sandbox) -> None:
    """Verify says what is broken and exits 1."""
    shell.rules()
    call = shell("verify", "--url", box.url)
    assert call.code == 1
    assert "5 groups" in call.words or "5 group(s)" in call.words
    assert shell("verify", "--url", box.url, "--json").json["ok"] is False


def test_blockers_exit_one(shell: Shell, box: Sandbox) -> None:
    """A plan with blockers names them on both streams; apply refuses; nothing is changed."""
    shell.rules(RULES_WITH_ERROR)
    before = box.state()
    url = ("--url", box.url)
    plan = shell("plan", *url, "--json")
    assert plan.code == 1
    assert [b["code"] for b in plan.json["blockers"]] == ["undecided_groups"]
    assert "Blocked:" in plan.err
    text = shell("plan", *url)
    assert text.code == 1
    assert "Cannot be applied: 1 blocker" in text.out
    apply = shell("apply", *url, "--json")
    assert (apply.code, apply.json["status"]) == (1, "refused")
    assert [b["code"] for b in apply.json["blockers"]] == ["undecided_groups"]
    assert "Blocked:" in apply.err
    assert box.state() == before


def test_check_without_a_rule_file(shell: Shell, box: Sandbox) -> None:
    """A URL is enough for a check, as an argument or as an option."""
    for words in (("check", box.url), ("check", "--url", box.url), ("--url", box.url, "check")):
        call = shell(*words, "--json")
        assert call.code in (0, 1)
        assert call.json["rules"] == []


def test_sql_of_a_plan(shell: Shell, box: Sandbox) -> None:
    """`plan --sql` prints statements with a sentence before each, and nothing else."""
    shell.rules()
    call = shell("plan", "--sql", "--url", box.url)
    assert call.code == 0
    assert "-- 1. Merge 5 groups" in call.out
    assert "CREATE UNIQUE INDEX" in call.out
    assert call.out.startswith("-- Plan ")
    assert shell("plan", "-v", "--url", box.url).out.count("CREATE UNIQUE INDEX") == 1


def test_decisions_of_a_person(shell: Shell, box: Sandbox) -> None:
    """`plan --decisions` writes every row of every group; the filled file decides."""
    shell.rules(RULES.replace("latest updated_at", "manual decisions.csv"))
    call = shell("plan", "--decisions", "decisions.csv", "--url", box.url, "--json")
    assert (call.code, call.json["rows"]) == (0, 2 * PAIRS)
    blocked = shell("plan", "--url", box.url, "--json")
    assert (blocked.code, blocked.json["blockers"][0]["code"]) == (1, "undecided_groups")
