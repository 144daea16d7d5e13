"""What a check found, with evidence and a way out. Frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onerow.sql import digest

Severity = Literal["error", "warning", "info"]
Confidence = Literal["proven", "likely", "hint"]
Outcome = Literal["ok", "found", "skipped", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The query that proves it, what it counted, and a few keys."""

    sql: str
    groups: int = 0
    rows: int = 0  #: surplus rows: those that would have to go, Σ(n − 1) over the groups
    samples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    summary: str
    rule: Mapping[str, Any] | None = None  #: a table of the rule file
    drop: str | None = None  #: an index that may go


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    check: str  #: id and name, `U101-duplicate-key-rows`
    severity: Severity
    confidence: Confidence
    object: str  #: `schema.table(column, …)`
    message: str
    verdict: str = ""
    evidence: Evidence | None = None
    fix: Fix | None = None
    identity: tuple[str, ...] = field(default=(), repr=False)
    """What makes it the same finding again: never rows, names of indexes, or positions."""

    @property
    def fingerprint(self) -> str:
        return digest(self.check, *(self.identity or (self.object,)), length=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    check: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violations:
    """Rows that a rule does not allow: groups of equal keys, surplus rows in them."""

    groups: int = 0
    rows: int = 0
    nulls: int = 0  #: rows with a NULL where the rule forbids it

    def __bool__(self) -> bool:
        return bool(self.groups or self.rows or self.nulls)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """Where a rule stands: what the catalog enforces, and what the rows say."""

    rule: str
    kind: str
    table: str
    verdict: str  #: 'enforced', 'enforced except nulls, …', 'not enforced'
    reason: str = ""
    violations: Violations = Violations()
    samples: tuple[Mapping[str, Any], ...] = ()
    sql: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict == "enforced" and not self.violations


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    dialect: str
    version: str
    findings: tuple[Finding, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    rules: tuple[RuleState, ...] = ()
