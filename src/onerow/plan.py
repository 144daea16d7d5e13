"""A Plan: what will be done, in order, as data that a person reads and a file holds.

A step is data only; what its kind means is one module in `onerow.steps`, found by the kind's
name. Its id comes from its content, so it stays the same wherever the step stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onerow.errors import PlanFileError
from onerow.sql import Name, digest

SCHEMA_VERSION = 1

STEP_KINDS = (
    "add_column",
    "backfill",
    "set_not_null",
    "merge_duplicates",
    "repoint_children",
    "archive_orphans",
    "create_index",
    "attach_constraint",
    "swap_constraint",
    "move_foreign_key",
    "add_foreign_key",
    "validate_foreign_key",
    "add_check",
    "validate_check",
    "drop_constraint",
    "drop_index",
    "drop_column",
    "guard",
    "drop_guard",
    "rebuild_table",
    "verify",
)
LOCKS = (
    "access_exclusive",
    "share_row_exclusive",
    "share_update_exclusive",
    "row_exclusive",
    "none",
    "write",
)
BLOCKER_CODES = (
    "foreign_key_on_replaced_key",
    "deferrable_foreign_key_target",
    "partition_key_missing",
    "publication_without_identity",
    "replica_identity_on_replaced_key",
    "dependent_on_replaced_key",
    "row_security_hides_rows",
    "missing_privilege",
    "trigger_not_suppressible",
    "unindexed_child",
    "unindexed_guard",
    "unmapped_rows",
    "name_taken",
    "no_primary_key",
    "undecided_groups",
    "not_a_table",
    "pooler",
    "colliding_children",
    "orphans",
    "violating_rows",
    "unsupported",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """Why a plan may not run; found before anything is touched."""

    code: str
    message: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    kind: str
    table: Name
    rule: str  #: label of the rule that wants it
    sentence: str
    sql: tuple[str, ...]
    lock: str
    lock_length: str = ""  #: 'a moment', 'each batch', 'the build'
    transactional: bool = True
    rows: int | None = None  #: touched, as far as known beforehand
    undo: str = ""  #: a sentence; what it takes is in `args` and in the archive
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        content = json.dumps([str(self.table), self.args], sort_keys=True, default=str)
        return f"{self.kind}-{digest(self.kind, content)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "table": [self.table.schema, self.table.name],
            "rule": self.rule,
            "sentence": self.sentence,
            "sql": list(self.sql),
            "lock": self.lock,
            "lock_length": self.lock_length,
            "transactional": self.transactional,
            "rows": self.rows,
            "undo": self.undo,
            "args": dict(self.args),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Step:
        values = {k: v for k, v in data.items() if k != "id"}
        values["table"] = Name(*values["table"])
        values["sql"] = tuple(values["sql"])
        step = cls(**values)
        if step.id != data["id"]:
            raise PlanFileError(
                f"Step {data['id']} was changed after the plan was made.", hint="Plan again."
            )
        return step


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    dialect: str
    rules: tuple[Mapping[str, Any], ...]
    steps: tuple[Step, ...]
    tables: tuple[Name, ...] = ()  #: that the plan touches, children included
    blockers: tuple[Blocker, ...] = ()
    satisfied: tuple[str, ...] = ()  #: sentences on rules that need nothing
    fingerprint: str = ""  #: of the rules and the definitions that they touch
    invariant: str = ""  #: the same without what the plan itself changes: holds all through the run
    database: str = ""
    base: str = ""  #: folder of the rule file: what its file names are relative to
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return digest(self.dialect, self.fingerprint, *(s.id for s in self.steps), length=12)

    def to_dict(self) -> dict[str, Any]:
        data = self._content()
        return data | {"checksum": _checksum(data)}

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "plan": self.id,
            "fingerprint": self.fingerprint,
            "invariant": self.invariant,
            "dialect": self.dialect,
            "database": self.database,
            "base": self.base,
            "tables": [[t.schema, t.name] for t in self.tables],
            "rules": [dict(r) for r in self.rules],
            "steps": [s.to_dict() for s in self.steps],
            "blockers": [
                {"code": b.code, "message": b.message, "rule": b.rule} for b in self.blockers
            ],
            "satisfied": list(self.satisfied),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Raises PlanFileError when it is no plan, of another version, or was edited."""
        if not isinstance(data, Mapping) or "steps" not in data or "plan" not in data:
            raise PlanFileError("This is not a plan of onerow.")
        if data.get("schema") != SCHEMA_VERSION:
            raise PlanFileError(
                f"The plan has format {data.get('schema')}; this onerow reads {SCHEMA_VERSION}."
            )
        try:
            plan = cls(
                dialect=data["dialect"],
                rules=tuple(data["rules"]),
                steps=tuple(Step.from_dict(s) for s in data["steps"]),
                tables=tuple(Name(*t) for t in data["tables"]),
                blockers=tuple(Blocker(**b) for b in data["blockers"]),
                satisfied=tuple(data.get("satisfied", ())),
                fingerprint=data["fingerprint"],
                invariant=data["invariant"],
                database=data.get("database", ""),
                base=data.get("base", ""),
                notes=tuple(data.get("notes", ())),
            )
        except (KeyError, TypeError) as error:
            raise PlanFileError(f"The plan is not complete: {error}.") from error
        # The id is of what will be done; the sum is of everything, blockers and SQL included.
        if plan.id != data["plan"] or _checksum(plan._content()) != data.get("checksum"):
            raise PlanFileError("The plan was changed after it was made.", hint="Plan again.")
        return plan

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        try:
            data = json.loads(text)
        except ValueError as error:
            raise PlanFileError(f"The plan is not JSON: {error}.") from error
        return cls.from_dict(data)


def _checksum(data: Mapping[str, Any]) -> str:
    return digest(json.dumps(data, sort_keys=True, default=str), length=16)
