"""What checks and rules have found, for a person to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onerow.finding import SEVERITIES, CheckReport, CheckResult, Finding, Fix, RuleState
from onerow.report.blocks import (
    ENGINES,
    Parts,
    columns,
    entries,
    heading,
    inline,
    line,
    next_step,
    stack,
    word,
)
from onerow.report.shapes import Probe
from onerow.report.words import clean, count, number, value

#: Findings are in this order: what must be mended first.
_RANK = {severity: -rank for rank, severity in enumerate(SEVERITIES)}


def check(report: CheckReport, *, verbose: bool = False) -> Parts:
    """What was found: rules first, then findings by severity, then what was not looked at."""
    parts: Parts = [line(f"{ENGINES.get(report.dialect, report.dialect)} {report.version}", "dim")]
    if report.rules:
        parts += [heading("Rules"), entries(_rule(r, verbose) for r in report.rules)]
    if report.findings:
        ordered = sorted(report.findings, key=lambda f: (_RANK[f.severity], f.check, f.object))
        parts += [heading("Findings"), entries(_finding(f, verbose) for f in ordered)]
    parts += _not_looked_at(report.checks, verbose)
    parts.append(heading(_sum(report)))
    if any(not r.ok for r in report.rules):
        parts.append(
            next_step("`onerow plan` shows what would mend the rules, and changes nothing.")
        )
    return parts


def _rule(state: RuleState, verbose: bool) -> tuple[Text, Table]:
    found = state.violations
    facts = [
        count(found.groups, "group of duplicates", "groups of duplicates") if found.groups else "",
        _broken_rows(state) if found.rows - found.nulls else "",
        count(found.nulls, "row with a NULL", "rows with a NULL") if found.nulls else "",
    ]
    parts: Parts = [
        line(state.rule, "bold"),
        line(f"{state.verdict}: {state.reason}" if state.reason else state.verdict),
    ]
    if found:
        parts.append(line(", ".join(f for f in facts if f)))
    parts += _samples(state.samples)
    if verbose and state.sql:
        parts.append(line(state.sql, "dim"))
    return word("holds" if state.ok else "broken"), stack(parts)


def _broken_rows(state: RuleState) -> str:
    rows = state.violations.rows - state.violations.nulls
    match state.kind:
        case "reference":
            return count(rows, "row that refers to nothing", "rows that refer to nothing")
        case "population":
            return count(rows, "row without a value", "rows without a value")
        case "key":
            return count(rows, "surplus row")
    return count(rows, "row that breaks it", "rows that break it")


def _samples(samples: Sequence[Mapping[str, Any]]) -> Parts:
    """The keys of a few groups. A singleton has none to show."""
    names = list(samples[0]) if samples else []
    if not names:
        return []
    table = columns(*(clean(n) for n in names))
    for sample in samples:
        table.add_row(*(value(sample.get(n)) for n in names))
    return [Padding(table, (0, 0, 0, 2))]


def _finding(found: Finding, verbose: bool) -> tuple[Text, Table]:
    head = line(found.check, "bold").append(f"  {clean(found.object)}", style="not bold")
    if found.confidence != "proven":
        head.append(f"  ({found.confidence})", style="dim not bold")
    parts: Parts = [head, line(found.message)]
    proof = found.evidence
    if proof and any(proof.samples):
        parts.append(line(f"Such as {_such(proof.samples)}"))
    if proof and verbose:
        parts.append(line(proof.sql, "dim"))
    parts += _fix(found.fix)
    return word(found.severity), stack(parts)


def _such(samples: Sequence[Mapping[str, Any]]) -> str:
    """`day = mon, tue`, or where the key has several columns `day = mon, slot = am; …`."""
    names = list(samples[0])
    if len(names) == 1:
        return f"{clean(names[0])} = {', '.join(value(s.get(names[0])) for s in samples)}"
    return "; ".join(map(inline, samples))


def _fix(fix: Fix | None) -> Parts:
    return (
        [Text("Way out: ", style="dim").append(clean(fix.summary), style="not dim")] if fix else []
    )


def _not_looked_at(checks: Sequence[CheckResult], verbose: bool) -> Parts:
    """Checks that failed; those that had nothing to look at are for who asks."""
    wanted = ("error", "skipped") if verbose else ("error",)
    rows = [
        (word(c.outcome), line(f"{c.check}: {c.reason}")) for c in checks if c.outcome in wanted
    ]
    return [heading("Not looked at"), entries(rows)] if rows else []


def _sum(report: CheckReport) -> str:
    sentences = []
    if report.rules:
        held = sum(r.ok for r in report.rules)
        hold = "holds" if 1 in (held, len(report.rules)) else "hold"
        sentences.append(f"{number(held)} of {count(len(report.rules), 'rule')} {hold}.")
    if report.findings:
        by = Counter(f.severity for f in report.findings)
        many = {"info": "info"}
        each = ", ".join(count(by[s], s, many.get(s, "")) for s in reversed(SEVERITIES) if by[s])
        sentences.append(f"{count(len(report.findings), 'finding')} ({each}).")
    elif report.checks:
        sentences.append("No findings.")
    skipped = sum(c.outcome == "skipped" for c in report.checks)
    if skipped:
        sentences.append(f"{count(skipped, 'check')} skipped (-v tells why).")
    return " ".join(sentences) or "There is nothing to check: no rules."


def probes(found: Sequence[Probe]) -> Parts:
    """The questions that a check might ask, each as SQL that can be run."""
    if not found:
        return [line("No questions to the rows.")]
    parts: Parts = []
    for probe in found:
        cost = f", about {count(probe.pages, 'page')}" if probe.pages else ""
        parts += [line(f"-- {probe.about}{cost}", "dim"), line(f"{probe.sql};\n")]
    return parts
