"""A plan as revisions of Alembic: Python text, which says what it does and brings what it needs.

The ids are made of the plan's, so writing the same plan again makes the same files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from onerow.emit import postgresql, sqlite
from onerow.emit.code import WIDTH, helpers, source
from onerow.emit.parts import CONTRACT, EXPAND, ONLINE, Group, Part, grouped, rows_left
from onerow.emit.shadow import Shadow
from onerow.plan import Plan, Step
from onerow.report.words import clean, lock
from onerow.sql import comma

TITLES = {
    EXPAND: "Add what the rules need, and hold new rows to them",
    ONLINE: "Build keys and look at old rows while writers write",
    CONTRACT: "Take away what is replaced, now that its successor stands",
    "": "Look whether the rules hold",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A file of Alembic's, but for what it comes after."""

    id: str
    name: str  #: of the file
    text: str  #: with `DOWN` where the id of the one before stands

    def after(self, down: str | None) -> str:
        """The text of the file."""
        return self.text.replace(_DOWN_NAME, down or "").replace(_DOWN, source(down))


_DOWN, _DOWN_NAME = "onerow:down_revision", "onerow:down_name"


def revisions(plan: Plan, shadows: Mapping[str, Shadow]) -> tuple[Revision, ...]:
    """Static revisions: they need Alembic, and neither onerow nor its journal.

    Args:
        shadows: for SQLite, what each step does to the stored texts, by step id.

    Raises:
        PlanFileError: a step that a static revision cannot hold.
    """

    def part(step: Step) -> Part:
        if plan.dialect == "sqlite":
            return sqlite.part(step, plan, shadows)
        return postgresql.part(step, plan)

    groups = grouped(plan, part)
    return tuple(_static(plan, group, n, len(groups)) for n, group in enumerate(groups, 1))


def _static(plan: Plan, group: Group, number: int, of: int) -> Revision:
    numbers = {step.id: n for n, step in enumerate(plan.steps, 1)}
    up = "".join(_told(plan, p, numbers[p.step.id]) + p.up for p in group.parts)
    down = "".join(p.down for p in reversed(group.parts))
    imports, pasted = helpers(plan.dialect, _called(up + down))
    tables = comma(dict.fromkeys(str(p.step.table) for p in group.parts))
    told = [
        f"{TITLES[group.what]}: {tables}.",
        "",
        *_wrapped(
            f"Revision {number} of {of} made by `onerow plan --alembic` of plan {plan.id}. Each"
            " step looks first whether it is done, so this may be run again, and does nothing"
            " where `onerow apply` was. Rows are not moved here: where some would have to be, it"
            " stops and says so. Rows that `onerow apply` merged come back by `onerow undo`."
        ),
    ]
    body = f"def upgrade() -> None:\n{up or _pass}\n\ndef downgrade() -> None:\n{down or _pass}" + (
        f"\n\n{pasted}" if pasted else ""
    )
    return _revision(f"{plan.id}_{number:02}", group.what or "look", told, imports, body)


_pass = "    pass\n"


def _revision(id: str, name: str, told: list[str], imports: str, body: str) -> Revision:
    doc = clean("\n".join(told), lines=True).replace("\\", "\\\\").replace('"""', "'''")
    head = f'"""{doc}\n\nRevision ID: {id}\nRevises: {_DOWN_NAME}\n"""\n\n'
    head += imports or "from __future__ import annotations\n"
    facts = (
        f'\nrevision = "{id}"\ndown_revision = {_DOWN}\nbranch_labels = None\ndepends_on = None\n'
    )
    return Revision(id=id, name=f"{id}_onerow_{name}.py", text=f"{head}{facts}\n\n{body}")


def _called(body: str) -> set[str]:
    lines = (line.strip() for line in body.splitlines())
    return {line.partition("(")[0] for line in lines if line.startswith("_")}


def _told(plan: Plan, part: Part, number: int) -> str:
    """The step as a comment."""
    step = part.step
    if step.kind == "verify" and not part.up:
        return ""
    lines = _wrapped(f"{number}. {step.sentence}")
    if step.lock != "none" and part.up:
        lines += _wrapped(f"Lock: {lock(step.lock, step.lock_length)}.")
    if step.kind == "backfill" and not part.up and rows_left(step, plan) is None:
        lines += ["`onerow apply` does that."]
    return "".join(f"    # {line}\n" for line in lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        clean(text), WIDTH - 6, break_long_words=False, break_on_hyphens=False
    ) or [""]


# -- calling onerow -----------------------------------------------------------------------------

_CALLING = """RULES = {rules}


def _rules() -> onerow.Rules:
    if op.get_context().as_sql:
        raise CommandError("This revision calls onerow, and cannot be run with --sql.")
    return onerow.rules_from(RULES, __file__)


def upgrade() -> None:
    # onerow works on connections of its own; Alembic's must hold no lock meanwhile.
    rules = _rules()
    with op.get_context().autocommit_block():
        outcome = onerow.apply(op.get_bind().engine, rules)
    if outcome.status != "done":
        raise CommandError(f"onerow {{outcome.status}}: {{outcome.message}}")


def downgrade() -> None:
    rules = _rules()
    with op.get_context().autocommit_block():
        outcome = onerow.undo(op.get_bind().engine, rules=rules)
    if outcome.status != "undone":
        raise CommandError(f"onerow {{outcome.status}}: {{outcome.message}}")
    for row in outcome.left_alone:
        logging.getLogger("alembic.runtime.migration").warning("left alone: %s", row)
"""

_IMPORTS = """from __future__ import annotations

import logging

from alembic import op
from alembic.util import CommandError

import onerow
"""


def calling(plan: Plan, rules: tuple[Mapping[str, object], ...]) -> Revision:
    """One revision that calls onerow: rows are merged and filled, and come back with a downgrade.

    Args:
        rules: as tables of the rule file, file names relative to the revision's folder.
    """
    steps = [f"{n}. {step.sentence}" for n, step in enumerate(plan.steps, 1)]
    told = [
        f"Make the rules hold: {comma(dict.fromkeys(str(s.table) for s in plan.steps))}.",
        "",
        *_wrapped(
            "Made by `onerow plan --alembic --with-onerow`. It plans anew on each database, and"
            " may be run again after a kill. Where the plan was made, the steps were:"
        ),
        "",
        *(line for step in steps for line in _wrapped(step)),
    ]
    body = _CALLING.format(rules=source([dict(r) for r in rules]))
    return _revision(f"{plan.id}_00", "apply", told, _IMPORTS, body)
