"""What a person reads: every document as a list of parts, printed one under the other.

The parts are values of rich; how wide they are and whether they have colours is decided by who
prints them. All text of others (names, values, messages) goes through `words.clean`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onerow.plan import Blocker, Plan, Step
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
from onerow.report.shapes import Outcome, Proof, RunRecord, Starter, StepRecord
from onerow.report.words import clean, count, duration, lock, moment, number

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
        parts += [heading(rule), entries(_step(n, step, verbose) for n, step in steps)]
    parts += [line(n) for n in given.notes]
    if not parts and not given.blockers:
        parts.append(line("Nothing to do: there are no rules."))
    return parts


def plan_sum(given: Plan) -> Parts:
    """The last lines of a plan that was asked for."""
    if given.blockers:
        several = count(len(given.blockers), "blocker")
        return [heading(f"Cannot be applied: {several}, see above.")]
    if not given.steps:
        return []
    rows = sum(s.rows or 0 for s in given.steps)
    several = count(len(given.steps), "step")
    return [
        heading(f"{several}, {count(rows, 'row')} touched. Nothing was changed."),
        next_step("`onerow apply` does it; `onerow plan --sql` shows the SQL."),
    ]


def _step(position: int, step: Step, verbose: bool) -> tuple[Text, Table]:
    facts = [f"Lock: {lock(step.lock, step.lock_length)}"]
    if step.rows:
        facts.append(count(step.rows, "row"))
    parts: Parts = [line(step.sentence), line(" · ".join(facts), "dim")]
    parts.append(line(f"Undo: {step.undo}", "dim"))
    if verbose:
        parts += [Padding(line(s.strip(), "cyan"), (0, 0, 0, 2)) for s in step.sql]
    return Text(f"{position:>3}"), stack(parts)


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
            next_step(
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
        parts += [heading("Left alone, because others have changed them since")]
        parts += [_left(outcome.left_alone)]
        parts.append(next_step(f"`onerow undo --force {outcome.run}` puts them back all the same."))
    elif outcome.status == "undone":
        parts.append(next_step("`onerow apply` does it again."))
    return parts


def _ended(outcome: Outcome) -> Text:
    return Text(f"Run {outcome.run} is ").append_text(word(outcome.status)).append(".\n")


def _records(steps: Sequence[StepRecord], given: Plan | None = None) -> Table:
    """The steps of a run. Times are those of its apply, so an undo, which has no plan, has none."""
    tables = {s.id: str(s.table) for s in given.steps} if given else {}
    table = columns("#", "Step", "Status", "Rows", "Time", right=("#", "Rows", "Time"))
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
    table = columns("Table", "Row", "Why")
    for row in rows:
        table.add_row(clean(row["table"]), inline(row["key"]), clean(row["reason"]))
    return table


# -- status, verify, init -----------------------------------------------------------------------


def status(runs: Sequence[RunRecord]) -> Parts:
    """All runs, the newest first, and what can be done about the one that is open."""
    if not runs:
        return [line("No runs: onerow has changed nothing in this database.")]
    table = columns(
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
            yield next_step(f"`onerow verify` proves it; `onerow undo {runs[0].id}` takes it back.")
        return
    yield heading(f"Run {going.id}")
    yield _records(going.steps, going.plan)
    messages = [going.message, *(s.message for s in going.steps)]
    for message in dict.fromkeys(m for m in messages if m):
        yield line(f"\n{message}")
    yield next_step(_way_on(going))


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
        (word("holds" if p.ok else "broken"), stack([line(p.rule, "bold"), line(p.message)]))
        for p in proofs
    ]
    parts: Parts = [entries(rows)]
    failed = sum(not p.ok for p in proofs)
    if failed:
        parts.append(heading(f"{number(failed)} of {count(len(proofs), 'proof')} failed."))
        parts.append(next_step("`onerow plan` shows what would mend the rules."))
    else:
        parts.append(heading("Everything holds, and nothing was lost."))
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
        next_step(f"read {clean(file)}, set the URL that it names, then `onerow check`."),
    ]


def decisions(file: object, rows: int) -> Parts:
    """What `plan --decisions` has written."""
    return [
        line(f"Wrote {file} with {count(rows, 'row')}."),
        next_step("write yes under keep for one row of each group, then `onerow plan`."),
    ]
