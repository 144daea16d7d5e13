"""The JSON documents of the command line, `"schema": 1`. They may gain fields; none changes.

Steps, runs and proofs are values of the modules that make them; here they are only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from onerow.finding import CheckReport, Finding, Fix, RuleState
from onerow.plan import Blocker, Plan, Step
from onerow.report.shapes import Outcome, Probe, Proof, RunRecord, Starter, StepRecord, Written
from onerow.report.words import utc

SCHEMA = 1

Document = dict[str, Any]


def check(report: CheckReport) -> Document:
    return {
        "schema": SCHEMA,
        "database": {"dialect": report.dialect, "version": report.version},
        "findings": [finding(f) for f in report.findings],
        "checks": [
            {"check": c.check, "outcome": c.outcome, "reason": c.reason} for c in report.checks
        ],
        "rules": [rule(r) for r in report.rules],
    }


def rule(state: RuleState) -> Document:
    found = state.violations
    return {
        "rule": state.rule,
        "kind": state.kind,
        "table": state.table,
        "verdict": state.verdict,
        "reason": state.reason,
        "violations": {"groups": found.groups, "rows": found.rows, "nulls": found.nulls},
        "samples": [dict(s) for s in state.samples],
        "sql": state.sql,
    }


def finding(found: Finding) -> Document:
    proof = found.evidence
    return {
        "check": found.check,
        "severity": found.severity,
        "confidence": found.confidence,
        "object": found.object,
        "message": found.message,
        "verdict": found.verdict,
        "evidence": {
            "sql": proof.sql,
            "groups": proof.groups,
            "rows": proof.rows,
            "samples": [dict(s) for s in proof.samples],
        }
        if proof
        else None,
        "fix": _fix(found.fix),
        "fingerprint": found.fingerprint,
    }


def _fix(fix: Fix | None) -> Document | None:
    if fix is None:
        return None
    table = dict(fix.rule) if fix.rule is not None else None
    return {"summary": fix.summary, "rule": table, "drop": fix.drop}


def plan(given: Plan) -> Document:
    """The same as the plan file: what was printed can be saved and applied."""
    return given.to_dict()


def dry_run(given: Plan) -> Document:
    """What `apply` would answer, with the plan's own fields besides; nothing was changed."""
    return {
        **plan(given),
        "dry_run": True,
        "run": None,
        "status": "refused" if given.blockers else "pending",
        "steps": [
            {**s.to_dict(), "status": "pending", "rows": s.rows or 0, "seconds": 0.0}
            for s in given.steps
        ],
        "archived": 0,
        "message": "Nothing was changed.",
    }


def run(outcome: Outcome, given: Plan | None = None) -> Document:
    """How an apply ended; `given` is its plan, for the sentences of the steps."""
    known = {s.id: s for s in given.steps} if given else {}
    return {
        "schema": SCHEMA,
        "run": outcome.run,
        "plan": given.id if given else None,
        "status": outcome.status,
        "steps": [_step(s, known.get(s.id)) for s in outcome.steps],
        "archived": outcome.archived,
        "message": outcome.message,
        "blockers": blockers(given.blockers if given else ()),
    }


def undo(outcome: Outcome) -> Document:
    left = [dict(row) for row in outcome.left_alone]
    aside = [dict(rows) for rows in outcome.set_aside]
    return {
        **run(outcome),
        "restored": outcome.restored,
        "left_alone": left,
        "set_aside": aside,
    }


def blockers(found: Iterable[Blocker]) -> list[Document]:
    return [{"code": b.code, "message": b.message, "rule": b.rule} for b in found]


def _step(record: StepRecord, planned: Step | None) -> Document:
    return {
        "id": record.id,
        "kind": record.kind,
        "status": record.status,
        "rows": record.rows,
        "seconds": round(record.seconds, 3),
        "message": record.message,
        "sentence": planned.sentence if planned else None,
    }


def status(runs: Sequence[RunRecord]) -> Document:
    return {"schema": SCHEMA, "runs": [_run(r) for r in runs]}


def _run(record: RunRecord) -> Document:
    known = {s.id: s for s in record.plan.steps}
    return {
        "run": record.id,
        "plan": record.plan_id,
        "direction": record.direction,
        "status": record.status,
        "open": record.open,
        "message": record.message,
        "runner": record.runner,
        "started_at": _time(record.started_at),
        "finished_at": _time(record.finished_at),
        "archived": record.archived,
        "steps": [_step(s, known.get(s.id)) for s in record.steps],
    }


def _time(time: datetime | None) -> str | None:
    return utc(time).isoformat() if time else None


def verify(proofs: Sequence[Proof]) -> Document:
    return {
        "schema": SCHEMA,
        "ok": all(p.ok for p in proofs),
        "proofs": [{"rule": p.rule, "ok": p.ok, "message": p.message} for p in proofs],
    }


def init(file: str, found: Starter) -> Document:
    return {
        "schema": SCHEMA,
        "file": file,
        "text": found.text,
        "found": found.active,
        "candidates": found.candidates,
        "tables": found.tables,
        "unseen": list(found.unseen),
    }


def probes(found: Sequence[Probe]) -> Document:
    return {
        "schema": SCHEMA,
        "probes": [
            {
                "id": p.id,
                "about": p.about,
                "sql": p.sql,
                "tables": [str(t) for t in p.tables],
                "pages": p.pages,
            }
            for p in found
        ],
    }


def decisions(file: str, rows: int) -> Document:
    return {"schema": SCHEMA, "file": file, "rows": rows}


def revisions(given: Plan, written: Written) -> Document:
    """The plan, and the files of the revisions that were made of it."""
    return {
        **plan(given),
        "revisions": [str(p) for p in (*written.there, *written.new)],
        "new": [str(p) for p in written.new],
    }


def error(code: str, message: str, hint: str = "", **more: Any) -> Document:
    return {"schema": SCHEMA, "error": {"code": code, "message": message, "hint": hint, **more}}
