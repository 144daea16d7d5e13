"""The story, chapter by chapter: from the failure to the proof, back, and forth again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onerow import api
from onerow.api import Outcome
from onerow.demo.planner import FIELDS, Planner, Put, Traffic
from onerow.demo.screen import Screen
from onerow.demo.season import IN_HAND, Season, season
from onerow.finding import RuleState
from onerow.plan import Plan, Step
from onerow.session import Limits

RULES = """\
[[key]]
name    = "uq_workout_selections_workout_id"
table   = "workout_selections"
columns = ["workout_id"]          # one row per workout
keep    = "latest updated_at"     # the row that stays
merge   = { default = "fill" }    # what is NULL in it comes from the others
"""

RACING = ("current_plan_day", "2026-10-24"), ("time_of_day", "evening")

#: What a lock means for the others.
_LOCKS = {
    "none": "reads only",
    "row_exclusive": "the rows of a batch; all others go on",
    "share_update_exclusive": "reads and writes go on",
    "access_exclusive": "everybody waits",
    "write": "other writers wait, readers go on",
}


#: So that there are several, few as the rows are.
_SMALL_BATCHES = Limits(batch_rows=6)


class StoryFailed(Exception):
    """Something did not turn out as the story says."""


@dataclass(slots=True)
class Told:
    """How a story went."""

    engine: str
    ok: bool = False
    duplicates_before: int = 0  #: surplus rows
    archived: int = 0  #: by the last apply
    writes_during: int = 0  #: writes that went through while the first apply ran
    failed_writes: int = 0
    undo_exact: bool = False
    seconds: float = 0.0


class Story:
    """One telling, on one database.

    Args:
        name: of the engine.
        url: of an empty database, for onerow.
        planner: the application on it.
        rules: a file that is written for `api`.
        screen: to tell it on.
    """

    def __init__(self, name: str, url: str, planner: Planner, rules: Path, screen: Screen) -> None:
        self.url, self.planner, self.rules, self.screen = url, planner, rules, screen
        self.told = Told(name)
        self.season: Season = season()
        *self.hand, self.raced_again, self.raced = self.season.in_hand
        self.chapters = 0

    def tell(self) -> Told:
        """Tell it to the end, or to where it fails."""
        began = time.monotonic()
        try:
            self._begin()
            self._race()
            self._check()
            plan = self._plan()
            self._apply(plan)
            self._verify()
            self._undo()
            self._apply_again()
            self.told.ok = True
        except StoryFailed as failure:
            self.screen.failed(str(failure))
        self.told.seconds = round(time.monotonic() - began, 2)
        return self.told

    # -- the chapters ------------------------------------------------------------------------

    def _begin(self) -> None:
        self.planner.create(self.season)
        self.rules.write_text(RULES, encoding="utf-8")
        tables = ("workouts", "workout_selections", "selection_reminders")
        workouts, selections, reminders = map(self.planner.count, tables)
        self.screen.say(
            f"A training calendar: {workouts} workouts, {selections} selections (when and where the"
            f" athlete wants to do a workout), {reminders} reminders that belong to a selection."
        )

    def _race(self) -> None:
        self._chapter("Two requests at once, and there are two rows")
        self.screen.why(
            "Dragging a card to another day and another time of day sends two PUTs. Each looks for"
            " the workout's selection, finds none and inserts one. Here two threads with"
            " connections of their own do so, held up between look and insert, so that what"
            " happens now and then happens now."
        )
        for field, value in RACING:
            self.screen.code(f"PUT /api/selections/{self.raced}  {field} = {value}")
        self.planner.race(self.raced, *RACING)
        self._show(self.raced)
        doubled = len(self.planner.selections(self.raced)) == 2
        self._must(doubled, "Two racing writers have made one row.")
        self.screen.say(
            "Two rows for one workout. Which of them the calendar shows is luck, and the other half"
            " of the change is not to be seen."
        )

    def _check(self) -> None:
        self._chapter("What does the data look like?", "onerow check")
        self.screen.why("The rule, as it stands in onerow.toml:")
        if self.screen.explain:
            self.screen.code(RULES)
        report = api.check(self.url, self.rules)
        (state,) = report.rules
        self.told.duplicates_before = state.violations.rows
        self.screen.say(f"{state.rule}: {state.verdict}", "bold red")
        for finding in report.findings:
            if finding.severity == "error":
                self.screen.say(f"{finding.check}: {finding.message}")
        self.screen.say(
            f"{state.violations.groups} groups, {state.violations.rows} surplus rows; for instance"
            f" {_samples(state)}."
        )
        self.screen.why("No linter of the schema can see this: it takes the rows to tell.")
        self._must(bool(state.violations), "The check does not see the duplicates.")

    def _plan(self) -> Plan:
        self._chapter("What is to be done?", "onerow plan")
        self.screen.why("Nothing is changed yet. The plan is a file to review, with its SQL.")
        plan = api.make_plan(self.url, self.rules)
        for number, step in enumerate(plan.steps, 1):
            self.screen.say(step.sentence, lead=f"{number}. ")
            self.screen.say(_lock(step), "dim", lead="   lock: ")
            self.screen.say(step.undo, "dim", lead="   undo: ")
        self._must(not plan.blockers, "; ".join(b.message for b in plan.blockers))
        return plan

    def _apply(self, plan: Plan) -> None:
        self._chapter("Do it, while the application keeps writing", "onerow apply")
        self.screen.why(
            f"{len(FIELDS)} writers work on {len(self.hand)} workouts; {IN_HAND} have a row,"
            f" {len(self.hand) - IN_HAND} have none yet. They are safe writers, deployed before the"
            " key: they look first, under a lock, and change to ON CONFLICT by themselves when the"
            " key is there."
        )
        self.before = self._hashes()
        with Traffic(self.planner, self.hand) as traffic:
            outcome, during = self._run(traffic, plan)
            traffic.await_puts(20, upserted=True)
        self.told.writes_during = len(during)
        self._tell_run(outcome, traffic, during)
        self._show(self.raced)
        self.screen.say("One row, with both halves of the change.")

    def _verify(self) -> None:
        self._chapter("Does it hold, and is anything lost?", "onerow verify")
        for proof in api.verify(self.url, self.rules):
            self._prove(proof.ok, f"{proof.rule}: {proof.message}.")
        reminders = len(self.season.reminders)
        self._prove(
            self.planner.count("selection_reminders") == reminders,
            f"All {reminders} reminders are there; those of removed rows belong to the row that"
            " stayed. (A plain DELETE would have taken them along: ON DELETE CASCADE.)",
        )

    def _undo(self) -> None:
        self._chapter("And back", "onerow undo")
        self.screen.why(
            "The writers are stopped. What they wrote is theirs and stays; all else must be as it"
            " was: the rows, by a hash of their content, and the columns, indexes and constraints,"
            " by one of how the engine prints them."
        )
        hand = partial(self.planner.content, "workout_selections", self.hand)
        theirs = hand()
        outcome = api.undo(self.url)
        self._must(outcome.status == "undone", outcome.message)
        self.screen.say(f"{outcome.restored} rows put back or changed back.")
        for what, hashed in self._hashes().items():
            before = self.before[what]
            self._prove(hashed == before, f"{what}: {before} before, {hashed} after.")
        untouched = hand() == theirs and not outcome.left_alone
        self._prove(untouched, "The rows that the writers wrote are as they left them.")
        self.told.undo_exact = True

    def _apply_again(self) -> None:
        self._chapter("And forth again, with the writers on the very rows", "onerow apply")
        doubled = self.planner.doubled()
        self.screen.why(
            f"Now the writers work on the {len(doubled)} workouts that are being merged. A PUT that"
            " was answered must be in the one row that remains, whichever row it was written to."
        )
        with Traffic(self.planner, doubled) as traffic:
            outcome, during = self._run(traffic, None)
            traffic.await_puts(20, upserted=True)
        self._tell_run(outcome, traffic, during)
        self.told.archived = outcome.archived
        for proof in api.verify(self.url, self.rules):
            self._prove(proof.ok, f"{proof.rule}: {proof.message}.")
        codes = self.planner.race(self.raced_again, *RACING)
        self._prove(
            len(codes) == 1 and not self.planner.doubled(),
            f"The two PUTs of chapter 1, naive as they are, on workout {self.raced_again}: one is"
            f" refused by the database ({', '.join(codes)}). No workout has two rows.",
        )

    # -- what they share ---------------------------------------------------------------------

    def _chapter(self, title: str, command: str = "") -> None:
        self.chapters += 1
        self.screen.chapter(self.chapters, title, command)

    def _must(self, fact: bool, otherwise: str) -> None:
        if not fact:
            raise StoryFailed(otherwise)

    def _prove(self, fact: bool, sentence: str) -> None:
        self._must(fact, sentence)
        self.screen.proven(sentence)

    def _show(self, workout: int) -> None:
        self.screen.table(("id", *FIELDS), self.planner.selections(workout))

    def _hashes(self) -> dict[str, str]:
        """Content and definitions; without the rows that are in the writers' hands."""
        not_in_hand = [*self.season.planned, self.raced]
        return {
            "workouts": self.planner.content("workouts"),
            "other workout_selections": self.planner.content("workout_selections", not_in_hand),
            "selection_reminders": self.planner.content("selection_reminders"),
            "schema": self.planner.definitions(),
        }

    def _run(self, traffic: Traffic, plan: Plan | None) -> tuple[Outcome, list[Put]]:
        """Apply under traffic; the writes that were answered meanwhile."""
        traffic.await_puts(20)
        began = time.monotonic()
        outcome = api.apply(self.url, self.rules, plan=plan, limits=_SMALL_BATCHES)
        ended = time.monotonic()
        self._must(outcome.status == "done", f"apply is {outcome.status}: {outcome.message}")
        return outcome, [p for p in traffic.puts if began <= p.at <= ended]

    def _tell_run(self, outcome: Outcome, traffic: Traffic, during: list[Put]) -> None:
        self.told.failed_writes += len(traffic.failures)
        for step in outcome.steps:
            rows = f", {step.rows} rows archived and removed" if step.rows else ""
            self.screen.say(f"{step.status}  {step.kind}  {step.seconds:.2f} s{rows}")
        slowest = max((p.seconds for p in during), default=0.0)
        again = sum(p.tries > 1 for p in during)
        self._prove(
            bool(during) and not traffic.failures,
            f"{len(during)} writes went through meanwhile, {again} of them at a second try,"
            f" {len(traffic.failures)} failed; the slowest took {1000 * slowest:.0f} ms."
            + "".join(f" {f}" for f in traffic.failures[:1]),
        )
        upserts = sum(p.upserted for p in traffic.puts)
        self._prove(
            not traffic.lost(),
            f"Of all {len(traffic.puts)} writes, {upserts} of them by ON CONFLICT, the last value"
            " of each field is in its row.",
        )


def _samples(state: RuleState) -> str:
    shown = [f"{k} {v}" for sample in state.samples[:3] for k, v in sample.items()]
    return ", ".join(shown)


def _lock(step: Step) -> str:
    name = step.lock.replace("_", " ")
    length = f", {step.lock_length}" if step.lock_length else ""
    return f"{name}{length} ({_LOCKS.get(step.lock, 'see the manual')})"


__all__ = ["Story", "StoryFailed", "Told"]
