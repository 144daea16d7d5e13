"""SIGKILL before, in and after every step of a plan, held there by locks of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from onerow import api
from tests.crash.support import (
    RULES,
    SWAP,
    assert_applied,
    assert_undone,
    ends,
    fill,
    forget,
    onerow,
)
from tests.support.live import transaction, until
from tests.support.process import Command
from tests.support.sandbox import Sandbox

#: Keeps every change of the table's definition waiting, but no reader and no writer.
HOLD_TABLE = "LOCK TABLE parent IN SHARE UPDATE EXCLUSIVE MODE"


def hold_step(step: str) -> str:
    """Keeps whoever wants to write down how the step stands waiting."""
    return f"SELECT 1 FROM onerow.step WHERE step_id = '{step}' FOR UPDATE"


@contextmanager
def held(box: Sandbox, statement: str) -> Iterator[Any]:
    """A lock that another session holds for the length of the block."""
    with transaction(box) as other:
        other.execute(statement)
        yield other


def sessions(box: Sandbox) -> object:
    """Sessions of onerow that the server still has."""
    return box.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onerow'"
        " AND datname = current_database()"
    )


def wait_at(box: Sandbox, process: Command, fragment: str) -> None:
    """Until a session of onerow waits for a lock in a statement like this."""
    until(
        lambda: box.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onerow'"
            " AND datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
            f" AND query LIKE '%{fragment}%'"
        ),
        f"it waits in {fragment} {process.said}",
    )


def wait_for_table(box: Sandbox, process: Command, what: str) -> None:
    """Until somebody waits for a lock on the table."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'parent'::regclass"
    until(lambda: box.value(waiting) or not process.running, f"{what} waits for the table")
    assert process.running, process.said


def kill_before(box: Sandbox, folder: Path, verb: str, step: str) -> None:
    """The step is not begun; on the way back it is, and is not written down."""
    with held(box, hold_step(step)), onerow(verb, box, folder) as process:
        wait_at(box, process, "onerow.step")
        process.kill()


def kill_in(box: Sandbox, folder: Path, verb: str, step: str) -> None:
    """The step is begun, and its first statement waits."""
    with held(box, HOLD_TABLE), onerow(verb, box, folder) as process:
        wait_for_table(box, process, step)
        process.kill()
        until(lambda: not sessions(box), "the server has noticed that nobody is there")


def kill_after(box: Sandbox, folder: Path, verb: str, step: str) -> None:
    """The step has had its effect, and nobody has written that down."""
    with ExitStack() as stack:
        journal = stack.enter_context(transaction(box))
        table = stack.enter_context(held(box, HOLD_TABLE))
        process = stack.enter_context(onerow(verb, box, folder))
        wait_for_table(box, process, step)
        journal.execute(hold_step(step))
        table.execute("COMMIT")
        wait_at(box, process, "onerow.step")
        process.kill()


#: Kinds that change the definition of the table, so that a lock on it holds them up.
DEFINITION = {
    "add_check", "validate_check", "set_not_null", "create_index", "attach_constraint",
    "swap_constraint", "drop_constraint", "drop_index",
}  # fmt: skip
#: Kinds whose way back takes no statement on the table, or none that a lock on it holds up.
NO_WAY_BACK = {"validate_check", "verify", "merge_duplicates", "add_check", "create_index"}


def finish(verb: str, box: Sandbox, folder: Path) -> None:
    with onerow(verb, box, folder) as process:
        assert process.wait() == 0, process.said


ALWAYS = (kill_before, kill_in, kill_after)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_step(pg_url: str, tmp_path: Path) -> None:
    """One run, killed before, in and after each of its steps on the way there, and back."""
    box = Sandbox(pg_url)
    fill(box, groups=40)
    box.execute("ALTER TABLE parent ALTER b SET NOT NULL")
    found = ends(box)
    plan = api.make_plan(box.url, api.parse_rules(RULES))
    assert {"merge_duplicates", "add_check", "validate_check", "set_not_null", "create_index",
            "attach_constraint", "verify", "drop_index"} == {s.kind for s in plan.steps}  # fmt: skip
    # A run must be there before its steps can be held.
    with held(box, "SELECT 1 FROM parent FOR UPDATE"), onerow("apply", box, tmp_path) as process:
        wait_at(box, process, "onerow_batch")
        process.kill()
    for step in plan.steps:
        for kill in ALWAYS if step.kind in DEFINITION else (kill_before,):
            kill(box, tmp_path, "apply", step.id)
    finish("apply", box, tmp_path)
    assert_applied(box, found)
    for step in reversed(plan.steps):
        waits = step.kind in DEFINITION - NO_WAY_BACK
        for kill in (kill_in, kill_after) if waits else (kill_before,):
            kill(box, tmp_path, "undo", step.id)
    finish("undo", box, tmp_path)
    assert_undone(box, found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "old",
    [
        pytest.param(
            "DROP INDEX parent_old; ALTER TABLE parent ADD CONSTRAINT parent_old UNIQUE (a, b, seen)"
            " DEFERRABLE; COMMENT ON CONSTRAINT parent_old ON parent IS 'a constraint';",
            id="constraint",
        ),
        pytest.param("SELECT 1", id="index", marks=pytest.mark.slow),
    ],
)
def test_a_key_that_takes_the_name_of_the_old_one(pg_url: str, tmp_path: Path, old: str) -> None:
    """Killed while they change places, there and back: never without one of them."""
    box = Sandbox(pg_url)
    fill(box, groups=40)
    box.execute(old)
    rules = api.parse_rules(SWAP)
    before = box.state()
    assert api.apply(box.url, rules).status == "done"
    after = box.state()
    assert api.undo(box.url).exit_code == 0
    assert box.state() == before
    swap = next(s.id for s in api.make_plan(box.url, rules).steps if s.kind == "swap_constraint")
    forget(box)
    with held(box, HOLD_TABLE), onerow("apply", box, tmp_path, SWAP) as process:
        wait_for_table(box, process, "the build")
        process.kill()
    for kill in (kill_before, kill_in, kill_after):
        kill(box, tmp_path, "apply", swap)
    finish("apply", box, tmp_path)
    assert box.state() == after
    for kill in (kill_in, kill_after):
        kill(box, tmp_path, "undo", swap)
    finish("undo", box, tmp_path)
    assert box.state() == before
