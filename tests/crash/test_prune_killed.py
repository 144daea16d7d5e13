"""SIGKILL at every moment of `onerow archive prune`, and of an undo that puts newer rows aside."""

from __future__ import annotations

from pathlib import Path

from onerow import api
from tests.crash.scenarios import SCENARIOS
from tests.crash.support import KILLED, Launcher
from tests.support.sandbox import Sandbox

RULES = """
[[key]]
table = "sheet"
columns = ["period", "facility"]
name = "sheet_new"
replaces = ["sheet_old"]
[[column]]
table = "sheet"
name = "place"
type = "integer"
backfill = { value = 7 }
"""
SHEET = """
CREATE TABLE sheet (id integer PRIMARY KEY, period integer, facility integer);
CREATE TABLE ledger (id integer PRIMARY KEY, sheet_id integer NOT NULL REFERENCES sheet);
CREATE UNIQUE INDEX sheet_old ON sheet (period);
INSERT INTO sheet VALUES (1, 1, 1), (2, 2, 1);
"""
NEWER = """
INSERT INTO sheet VALUES (3, 1, 2, 5), (4, 2, 2, 7), (5, 3, 1, 9);
INSERT INTO ledger VALUES (1, 3), (2, 3), (3, 5);
"""


def archives(box: Sandbox) -> int:
    """Archive tables that are there."""
    if box.sqlite:
        return box.count("sqlite_master WHERE type = 'table' AND name LIKE 'onerow_archive_%'")
    return box.count("pg_tables WHERE schemaname = 'onerow' AND tablename LIKE 'archive_%'")


def test_a_prune_is_whole_or_not_at_all(db_url: str, tmp_path: Path) -> None:
    """Of each run: killed anywhere, its archive is there and listed, or it is gone and said so."""
    box = Sandbox(db_url)
    rules = SCENARIOS["family"].prepare(box, tmp_path)
    runs = []
    for _ in range(2):
        assert api.apply(box.url, rules).status == "done"
        assert api.undo(box.url).status == "undone"
        runs.append(api.status(box.url)[0].id)
    full = archives(box)
    deaths = 0
    with Launcher(tmp_path) as launcher:
        for moment in range(1, 100):
            code = launcher.run("prune", box, moment)
            listed = [a for a in api.archive_list(box.url) if a.prunable]
            assert archives(box) == len(listed)
            kept = {a.run for a in listed}
            for run in set(runs) - kept:
                assert api.undo(box.url, run).status == "refused"
            for run in kept:
                assert api.archive_show(box.url, run)
            if code == 0:
                break
            assert code == KILLED
            deaths += 1
    assert deaths > 5
    assert (full > 0, archives(box)) == (True, 0)


def test_an_undo_that_puts_newer_rows_aside(db_url: str, tmp_path: Path) -> None:
    """Killed again and again: each row that went, and each value, is in the archive, once."""
    box = Sandbox(db_url)
    box.execute(SHEET)
    before = box.schema()
    (tmp_path / "onerow.toml").write_text(RULES)
    assert api.apply(box.url, api.load_rules(tmp_path / "onerow.toml")).status == "done"
    box.execute(NEWER)
    deaths, moment = 0, 1
    with Launcher(tmp_path) as launcher:
        while (code := launcher.run("undo --archive-newer", box, moment)) != 0:
            assert code == KILLED, launcher.said.read_text()
            deaths, moment = deaths + 1, moment + 3
    assert deaths > 2
    assert box.schema() == before
    assert box.rows("SELECT id FROM sheet ORDER BY id") == [(1,), (2,), (5,)]
    assert box.rows("SELECT id FROM ledger") == [(3,)]
    kept = [
        (str(r.table).rpartition(".")[2], r.action, r.row["id"]) for r in api.archive_show(box.url)
    ]
    assert sorted(kept) == [
        ("ledger", "set aside", 1), ("ledger", "set aside", 2), ("sheet", "set aside", 3),
        ("sheet", "set aside", 4), ("sheet", "value set aside", 5),
    ]  # fmt: skip
