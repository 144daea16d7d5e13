"""The documents and the script of a plan, as the contract has them: fields, types, no more no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from onerow import Constraint, Index, Key, api
from onerow.plan import LOCKS, STEP_KINDS
from onerow.report.sql import script
from tests.cli.shell import RULES, Shell
from tests.support.sandbox import Sandbox

STATUSES = {"pending", "running", "done", "stopped", "failed", "undone"}
RUN_STEP = {
    "id": str, "kind": str, "status": str, "rows": int, "seconds": float, "message": str,
    "sentence": (str, type(None)),
}  # fmt: skip
PLAN_STEP = {
    "id": str, "kind": str, "sentence": str, "sql": list, "lock": str, "lock_length": str,
    "transactional": bool, "rows": (int, type(None)), "undo": str, "table": list, "rule": str,
    "args": dict,
}  # fmt: skip


def fits(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Exactly these fields, of these types."""
    assert set(found) == set(wanted)
    for field, kind in wanted.items():
        assert isinstance(found[field], kind), (field, found[field])


def broken(url: str) -> None:
    Sandbox(url).execute(
        "CREATE TABLE selection (id integer PRIMARY KEY, workout_id integer, updated_at timestamp)",
        "INSERT INTO selection VALUES (1, 1, '2026-01-01'), (2, 1, '2026-01-02')",
    )


def test_documents_have_what_the_contract_says(db_url: str, tmp_path: Path) -> None:
    """Plan, apply, status, verify and undo, field by field."""
    broken(db_url)
    (tmp_path / "onerow.toml").write_text(RULES)
    shell, url = Shell(tmp_path), ("--url", db_url, "--json")

    plan = shell("plan", *url, "--out", "plan.json").json
    wanted = {
        "schema": int, "plan": str, "fingerprint": str, "invariant": str, "dialect": str,
        "database": str, "base": str, "tables": list, "rules": list, "steps": list,
        "blockers": list, "satisfied": list, "notes": list, "checksum": str,
    }  # fmt: skip
    fits(plan, wanted)
    for step in plan["steps"]:
        fits(step, PLAN_STEP)
        assert step["kind"] in STEP_KINDS
        assert step["lock"] in LOCKS
        assert all(isinstance(sql, str) for sql in step["sql"])

    applied = shell("apply", "plan.json", *url).json
    run = {
        "schema": int, "run": str, "plan": str, "status": str, "steps": list, "archived": int,
        "message": str, "blockers": list,
    }  # fmt: skip
    fits(applied, run)
    assert (applied["schema"], applied["status"], applied["archived"]) == (1, "done", 1)
    assert [s["id"] for s in applied["steps"]] == [s["id"] for s in plan["steps"]]
    for step in applied["steps"]:
        fits(step, RUN_STEP)
        assert step["status"] in STATUSES

    (one,) = shell("status", *url).json["runs"]
    assert one.keys() >= {"run", "plan", "direction", "status", "open", "message", "steps"}
    proofs = shell("verify", *url).json
    fits(proofs, {"schema": int, "ok": bool, "proofs": list})
    for proof in proofs["proofs"]:
        fits(proof, {"rule": str, "ok": bool, "message": str})

    undone = shell("undo", applied["run"], *url).json
    fits(
        undone,
        {**run, "plan": (str, type(None)), "restored": int, "left_alone": list, "set_aside": list},
    )
    assert (undone["status"], undone["restored"], undone["left_alone"]) == ("undone", 1, [])


def test_the_script_makes_the_schema_that_apply_makes(db_url: str) -> None:
    """What `plan --sql` prints of the schema runs as it stands, each statement by itself."""
    box = Sandbox(db_url)
    box.execute("CREATE TABLE t (id integer PRIMARY KEY, a integer, b text)")
    rules = [
        Key("t", "a", name="t_a_key"),
        Index(table="t", columns=("b",), name="t_b", where="b <> ';'"),
        *([] if box.sqlite else [Constraint(table="t", name="positive", check="a > 0")]),
    ]
    text = script(api.make_plan(db_url, rules))
    assert api.apply(db_url, rules).status == "done"
    applied = box.schema()
    assert api.undo(db_url).status == "undone"
    sections = re.split(r"\n\n(?=-- \d+\. )", text)
    assert len(sections) > 3
    for section in sections[1:]:
        head, *lines = section.splitlines()
        if re.match(r"-- \d+\. (No duplicates|Merge|Prove)", head):
            continue
        told = [line for line in lines if line.startswith("--")]
        assert any("Lock: " in line and "Undo: " in line for line in told)
        for statement in "\n".join(line for line in lines if line not in told).split(";\n"):
            box.execute(statement)
    assert box.schema() == applied
