"""What is measured: figures, their targets, and the page that shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.common import Line, number
from bench.page import BEGIN, END, write_page
from bench.subjects import subjects

MACHINE = {"date": "2026-01-01", "cores": "2", "memory": "4 GiB", "python": "3.11"}


def figure(**more: Any) -> dict[str, Any]:
    line = Line(what="merge", against="by hand", ours=[1.0, 3.0, 2.0], other=[8.0], target=0.3)
    return {**line.to_dict(), "full_size": True, "command": "python -m bench merge", **more}


def test_a_ratio_is_of_medians() -> None:
    """A disturbed round does not count."""
    line = Line(what="w", ours=[1.0, 9.0, 2.0], other=[4.0, 40.0, 4.0], target=0.5)
    assert (line.value, line.met, line.shown) == (0.5, True, "0.50 ×")


def test_the_worst_round_counts_where_it_must() -> None:
    """The longest of all batches, not a middling one."""
    line = Line(what="w", ours=[10.0, 200.0, 20.0], unit="ms", target=150, worst=True)
    assert (line.value, line.met, line.shown) == (200.0, False, "200 ms")


def test_without_a_target_nothing_is_met() -> None:
    """It is told all the same."""
    assert Line(what="w", ours=[1.0]).met is None


def test_what_was_cancelled_is_a_bound() -> None:
    """The other way would have taken longer."""
    assert Line(what="w", ours=[1.0], other=[100.0], bound=True).shown == "< 0.010 ×"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0042, "0.0042"), (0.5, "0.50"), (12.34, "12.3"), (1234, "1,234")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """As many as mean something."""
    assert number(value) == text


def test_a_page_without_a_place_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written over."""
    page = tmp_path / "p.md"
    page.write_text("words\n")
    with pytest.raises(SystemExit, match="lacks the lines"):
        write_page(page, [figure()], MACHINE)
    assert page.read_text() == "words\n"


def test_a_table_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    """What is around it stays."""
    page = tmp_path / "p.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(page, [figure(), figure(full_size=False)], MACHINE)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    row = "| merge | by hand | 0.25 × | ≤ 0.30 × | met | `python -m bench merge` |"
    assert row in text
    assert "met (small)" in text


def test_every_subject_says_what_it_measures() -> None:
    """One line each."""
    assert all(s.told and s.options.rounds for s in subjects().values())


def test_a_subject_runs(tmp_path: Path) -> None:
    """Small, from the command line, with its figures as JSON; a missed target is exit code 1."""
    out = tmp_path / "figures.json"
    words = ["merge", "--rows", "3000", "--rounds", "1", "--json", str(out)]
    done = subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    merge, undo = json.loads(out.read_text())["figures"]
    assert merge["what"] == "merge with archive, 3k rows, 1%, postgresql, default"
    assert merge["ours"][0] > 0 < merge["other"][0]
    assert undo["against"] == "the merge it undoes"
    assert done.returncode == (0 if merge["met"] and undo["met"] else 1)
