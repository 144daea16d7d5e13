"""What a step becomes in a revision for SQLite: texts before and after, and the statements."""

from __future__ import annotations

from collections.abc import Mapping

from onerow.emit.code import call
from onerow.emit.parts import ROWS, Part, rows_left
from onerow.emit.shadow import Shadow
from onerow.plan import Plan, Step


def part(step: Step, plan: Plan, shadows: Mapping[str, Shadow]) -> Part:
    if step.kind in ROWS:
        left = rows_left(step, plan)
        return Part(step=step, up=call("_refuse", *left) if left else "")
    shadow = shadows.get(step.id)
    if shadow is None or not shadow.forward:
        return Part(step=step)
    if step.kind == "add_column":
        where = (step.table.name, step.args["column"])
        return Part(
            step=step,
            up=call("_add_column", *where, *shadow.forward),
            down=call("_drop_column", *where, *shadow.back),
        )
    before, after = dict(shadow.before), dict(shadow.after)
    return Part(
        step=step,
        up=call("_change", before, after, shadow.forward),
        down=call("_change", after, before, shadow.back),
    )
