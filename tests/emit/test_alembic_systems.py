"""The five systems' rules as revisions, run by Alembic."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.util import CommandError

from onerow import api
from tests.emit.support import Environment, current, lint, schema
from tests.support.sandbox import Sandbox
from tests.systems.support import NAMES, before, made, rules

each = pytest.mark.parametrize("name", NAMES)


def _emptied(box: Sandbox) -> None:
    """No rows, so nothing that only `onerow apply` could mend."""
    tables = [t for t in box.contents() if "alembic" not in t]
    if not box.sqlite:
        box.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        return
    for table in tables:
        box.execute(f"PRAGMA foreign_keys = OFF; DELETE FROM {table}")


@each
def test_up_down_and_up_again(every_url: str, name: str, tmp_path: Path) -> None:
    """Alembic leads to the schema that apply leads to, and back to the one before, twice."""
    box, env = made(every_url, before(name, 60)), Environment(tmp_path, every_url)
    given = rules(name, tmp_path, 60)
    api.write_alembic(every_url, api.make_plan(every_url, given), env.folder)
    lint(env.files)
    _emptied(box)
    env.upgrade("first")
    first = schema(box)
    assert api.apply(every_url, given).status == "done"
    applied = schema(box)
    assert api.undo(every_url).status == "undone"
    assert schema(box) == first

    for _ in range(2):
        env.upgrade()
        assert current(box) == env.heads
        assert schema(box) == applied
        assert [p for p in api.verify(every_url, given) if not p.ok] == []
        env.downgrade()
        assert schema(box) == first


@each
def test_rows_are_left_to_apply(db_url: str, name: str, tmp_path: Path) -> None:
    """No revision moves a row: it stops, names the command, and goes on when that was run."""
    box, env = made(db_url, before(name, 60)), Environment(tmp_path, db_url)
    given = rules(name, tmp_path, 60)
    api.write_alembic(db_url, api.make_plan(db_url, given), env.folder)
    rows = {t: len(r) for t, r in box.contents().items()}
    with pytest.raises(CommandError, match=r"^\d+ (group|row).*Run `onerow apply` first"):
        env.upgrade()
    assert rows.items() <= {t: len(r) for t, r in box.contents().items()}.items()
    assert api.apply(db_url, given).status == "done"
    mended = rows_of(box)
    env.upgrade()
    assert current(box) == env.heads
    assert rows_of(box) == mended
    assert [p for p in api.verify(db_url, given) if not p.ok] == []


def rows_of(box: Sandbox) -> object:
    """All rows but Alembic's."""
    return {t: r for t, r in box.contents().items() if "alembic" not in t}
