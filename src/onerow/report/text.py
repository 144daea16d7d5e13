"""What a person reads: every document as a list of parts, printed one under the other.

The parts are values of rich; how wide they are and whether they have colours is decided by who
prints them. All text of others (names, values, messages) goes through `words.clean`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onerow.finding import SEVERITIES, CheckReport, CheckResult, Finding, Fix, RuleState
from onerow.plan import Blocker, Plan, Step
from onerow.report.shapes import Outcome, Probe, Proof, RunRecord, Starter, StepRecord
from onerow.report.words import clean, count, duration, lock, moment, number, value

Parts = list[RenderableType]

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
STYLES = {
    "holds": "green",
    "done": "green",
    "undone": "cyan",
    "running": "yellow",
    "stopped": "yellow",
    "warning": "yellow",
    "info": "cyan",
    "broken": "bold red",
    "failed": "bold red",
    "refused": "bold red",
    "error": "bold red",
}

#: Findings are in this order: what must be mended first.
_RANK = {severity: -rank for rank, severity in enumerate(SEVERITIES)}


def word(text: str) -> Text:
    """A status or severity in its colour."""
    return Text(text, style=STYLES.get(text, ""))


def line(text: str, style: str = "") -> Text:
    return Text(clean(text, lines=True), style=style)


def _heading(text: str) -> Text:
    return Text("\n").append(clean(text), style="bold")


def _next(text: str) -> Text:
    return Text("\nNext: ", style="dim").append(text, style="not dim")


def _entries(rows: Iterable[tuple[RenderableType, RenderableType]]) -> Table:
    """Two columns without lines: a word, and what there is to say in as many lines as it takes."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for left, right in rows:
        if grid.row_count:
            grid.add_row("", "")
        grid.add_row(left, right)
    return grid


def _stack(parts: Iterable[RenderableType]) -> Table:
    grid = Table.grid()
    for part in parts:
        grid.add_row(part)
    return grid


def _columns(*headers: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left")
    return table


# -- check --------------------------------------------------------------------------------------


def check(report: CheckReport, *, verbose: bool = False) -> Parts:
    """What was found: rules first, then findings by severity, then what was not looked at."""
    parts: Parts = [line(f"{ENGINES.get(report.dialect, report.dialect)} {report.version}", "dim")]
    if report.rules:
        parts += [_heading("Rules"), _entries(_rule(r, verbose) for r in report.rules)]
    if report.findings:
        ordered = sorted(report.findings, key=lambda f: (_RANK[f.severity], f.check, f.object))
        parts += [_heading("Findings"), _entries(_finding(f, verbose) for f in ordered)]
    parts += _not_looked_at(report.checks, verbose)
    parts.append(_heading(_sum(report)))
    if any(not r.ok for r in report.rules):
        parts.append(_next("`onerow plan` shows what would mend the rules, and changes nothing."))
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
    return word("holds" if state.ok else "broken"), _stack(parts)


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
    table = _columns(*(clean(n) for n in names))
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
    return word(found.severity), _stack(parts)


def _such(samples: Sequence[Mapping[str, Any]]) -> str:
    """`day = mon, tue`, or where the key has several columns `day = mon, slot = am; …`."""
    names = list(samples[0])
    if len(names) == 1:
        return f"{clean(names[0])} = {', '.join(value(s.get(names[0])) for s in samples)}"
    return "; ".join(map(_inline, samples))


def _inline(sample: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(k)} = {value(v)}" for k, v in sample.items())


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
    return [_heading("Not looked at"), _entries(rows)] if rows else []


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


# -- plan ---------------------------------------------------------------------------------------


def plan(given: Plan, *, verbose: bool = False) -> Parts:
    """The steps by rule, in the order in which they run. Its blockers are told apart."""
    parts: Parts = [line(s) for s in given.satisfied]
    if given.steps:
        engine = ENGINES.get(given.dialect, given.dialect)
        where = f"{given.database} ({engine})" if given.database else engine
        parts.insert(0, line(f"Plan {given.id} for {where}", "bold"))
    numbered = enumerate(given.steps, 1)
    for rule, steps in groupby(numbered, key=lambda pair: pair[1].rule):
        parts += [_heading(rule), _entries(_step(n, step, verbose) for n, step in steps)]
    parts += [line(n) for n in given.notes]
    if not parts and not given.blockers:
        parts.append(line("Nothing to do: there are no rules."))
    return parts


def plan_sum(given: Plan) -> Parts:
    """The last lines of a plan that was asked for."""
    if given.blockers:
        several = count(len(given.blockers), "blocker")
        return [_heading(f"Cannot be applied: {several}, see above.")]
    if not given.steps:
        return []
    rows = sum(s.rows or 0 for s in given.steps)
    several = count(len(given.steps), "step")
    return [
        _heading(f"{several}, {count(rows, 'row')} touched. Nothing was changed."),
        _next("`onerow apply` does it; `onerow plan --sql` shows the SQL."),
    ]


def _step(position: int, step: Step, verbose: bool) -> tuple[Text, Table]:
    facts = [f"Lock: {lock(step.lock, step.lock_length)}"]
    if step.rows:
        facts.append(count(step.rows, "row"))
    parts: Parts = [line(step.sentence), line(" · ".join(facts), "dim")]
    parts.append(line(f"Undo: {step.undo}", "dim"))
    if verbose:
        parts += [Padding(line(s.strip(), "cyan"), (0, 0, 0, 2)) for s in step.sql]
    return Text(f"{position:>3}"), _stack(parts)


def blockers(found: Sequence[Blocker]) -> Parts:
    """Why a plan may not run: for standard error."""
    return [
        Text("Blocked: ", style="bold red").append(_one_blocker(b), style="not bold red")
        for b in found
    ]


def _one_blocker(blocker: Blocker) -> str:
    about = f" [{blocker.code}]"
    where = f"{blocker.rule}: " if blocker.rule and blocker.rule not in blocker.message else ""
    return clean(where + blocker.message + about)


# -- apply, undo --------------------------------------------------------------------------------


def run(outcome: Outcome, given: Plan | None = None) -> Parts:
    """How an apply ended."""
    if outcome.run is None:
        return [line(outcome.message)] if outcome.status == "done" else []
    parts: Parts = [_ended(outcome), _records(outcome.steps, given)]
    if outcome.archived:
        removed = count(outcome.archived, "row")
        parts.append(line(f"\n{removed} merged away and kept in the archive."))
    if outcome.status == "done":
        parts.append(
            _next(
                "`onerow verify` proves that the rules hold and nothing was lost; "
                f"`onerow undo {outcome.run}` takes it back."
            )
        )
    return parts


def going_on(record: RunRecord | None) -> Parts:
    """That an apply goes on with a run, where it does."""
    if record is None:
        return []
    done = sum(s.status == "done" for s in record.steps)
    return [line(f"Going on with run {record.id}: {done} of {len(record.steps)} steps are done.")]


def stopped(outcome: Outcome) -> Text:
    """Why an apply or undo did not end well: for standard error."""
    head = outcome.status if outcome.status != "undone" else "not all of it"
    text = Text(f"{head.capitalize()}: ", style="bold red")
    return text.append(clean(outcome.message, lines=True), style="default not bold")


def undo(outcome: Outcome) -> Parts:
    """How an undo ended, with the rows that it left alone."""
    if outcome.run is None or not outcome.steps:
        return [line(outcome.message)] if outcome.exit_code == 0 else []
    parts: Parts = [_ended(outcome), _records(outcome.steps)]
    parts.append(line(f"\n{count(outcome.restored, 'row')} put back."))
    parts += [
        line(f"{count(a['rows'], 'row')} of {a['table']} {a['reason']}; the archive has them.")
        for a in outcome.set_aside
    ]
    if outcome.left_alone:
        parts += [_heading("Left alone, because others have changed them since")]
        parts += [_left(outcome.left_alone)]
        parts.append(_next(f"`onerow undo --force {outcome.run}` puts them back all the same."))
    elif outcome.status == "undone":
        parts.append(_next("`onerow apply` does it again."))
    return parts


def _ended(outcome: Outcome) -> Text:
    return Text(f"Run {outcome.run} is ").append_text(word(outcome.status)).append(".\n")


def _records(steps: Sequence[StepRecord], given: Plan | None = None) -> Table:
    """The steps of a run. Times are those of its apply, so an undo, which has no plan, has none."""
    tables = {s.id: str(s.table) for s in given.steps} if given else {}
    table = _columns("#", "Step", "Status", "Rows", "Time", right=("#", "Rows", "Time"))
    for position, step in enumerate(steps, 1):
        what = step.kind.replace("_", " ")
        where = f" · {clean(tables[step.id])}" if step.id in tables else ""
        table.add_row(
            str(position),
            f"{what}{where}",
            word(step.status),
            number(step.rows) if step.rows else "",
            duration(step.seconds) if step.seconds and given else "",
        )
    if given is None:
        table.columns.pop()
    return table


def _left(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _columns("Table", "Row", "Why")
    for row in rows:
        table.add_row(clean(row["table"]), _inline(row["key"]), clean(row["reason"]))
    return table


# -- status, verify, init -----------------------------------------------------------------------


def status(runs: Sequence[RunRecord]) -> Parts:
    """All runs, the newest first, and what can be done about the one that is open."""
    if not runs:
        return [line("No runs: onerow has changed nothing in this database.")]
    table = _columns(
        "Run", "Began", "Way", "Status", "Steps", "Archived", right=("Steps", "Archived")
    )
    for record in runs:
        table.add_row(
            record.id,
            moment(record.started_at),
            record.direction,
            word(record.status),
            f"{sum(s.status in ('done', 'undone') for s in record.steps)} of {len(record.steps)}",
            number(record.archived) if record.status != "undone" else "put back",
        )
    return [table, *_stands(runs)]


def _stands(runs: Sequence[RunRecord]) -> Iterator[RenderableType]:
    going = next((r for r in runs if r.open), None)
    if going is None:
        if runs[0].status == "done":
            yield _next(f"`onerow verify` proves it; `onerow undo {runs[0].id}` takes it back.")
        return
    yield _heading(f"Run {going.id}")
    yield _records(going.steps, going.plan)
    messages = [going.message, *(s.message for s in going.steps)]
    for message in dict.fromkeys(m for m in messages if m):
        yield line(f"\n{message}")
    yield _next(_way_on(going))


def _way_on(going: RunRecord) -> str:
    verb = "onerow apply" if going.direction == "apply" else f"onerow undo {going.id}"
    if going.status == "running":
        return f"{clean(going.runner)} runs it; if that process is gone, `{verb}` goes on."
    back = f"; `onerow undo {going.id}` takes it back" if going.direction == "apply" else ""
    return f"`{verb}` goes on{back}."


def verify(proofs: Sequence[Proof]) -> Parts:
    if not proofs:
        return [line("There is nothing to verify: no rules, and no run that stands.")]
    rows = [
        (word("holds" if p.ok else "broken"), _stack([line(p.rule, "bold"), line(p.message)]))
        for p in proofs
    ]
    parts: Parts = [_entries(rows)]
    failed = sum(not p.ok for p in proofs)
    if failed:
        parts.append(_heading(f"{number(failed)} of {count(len(proofs), 'proof')} failed."))
        parts.append(_next("`onerow plan` shows what would mend the rules."))
    else:
        parts.append(_heading("Everything holds, and nothing was lost."))
    return parts


def init(file: str, found: Starter) -> Parts:
    """What `init` has looked at, and what it has written."""
    rules = count(found.active, "rule") if found.active else "no rule"
    guesses = f", and {count(found.candidates, 'guess', 'guesses')} as comments"
    looked = f"Looked at {count(found.tables, 'table')}: rows prove {rules}"
    return [
        line(f"{looked}{guesses if found.candidates else ''}."),
        line(f"Wrote {file}."),
        *(line(f"Not looked at: {reason}", "yellow") for reason in found.unseen),
        _next(f"read {clean(file)}, set the URL that it names, then `onerow check`."),
    ]


def decisions(file: object, rows: int) -> Parts:
    """What `plan --decisions` has written."""
    return [
        line(f"Wrote {file} with {count(rows, 'row')}."),
        _next("write yes under keep for one row of each group, then `onerow plan`."),
    ]
