"""What the documentation shows is tried: programs and commands run, excerpts are of real output.

A comment before a block of code says what to do with it:

    <!-- file: NAME -->        it is the content of that file
    <!-- run -->               a program is run; of a console the commands, their output compared
    <!-- run at the end -->    the same, after the other blocks of the page
    <!-- demo -->              every piece of it (between lines of "...") is in what the demo says

The blocks of a page share one folder, in their order. With ONEROW_UPDATE_DOCS=1 the output of
commands is written into the page instead of being compared.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from onerow import rulefile
from onerow.demo import demo

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
UPDATE = bool(os.environ.get("ONEROW_UPDATE_DOCS"))
WIDTH = 88

_BLOCK = re.compile(
    r"<!-- (?P<what>file|run at the end|run|demo)(?:: (?P<name>\S+))? -->\n"
    r"```(?P<language>\w+)\n(?P<text>.*?)```\n",
    re.DOTALL,
)
#: What differs from run to run, and what stands for it on the page.
_VARIES = {
    r"\b\d{8}-[0-9a-f]{8}\b": "20261120-1f0c8a3e",
    r"\bPlan [0-9a-f]{12}\b": "Plan 5a1f0c8a3e90",
    r"\b\d+(\.\d+)? (ms|s)\b": "2 ms",
    r"\bSQLite \d+\.\d+\.\d+": "SQLite 3.40.1",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC": "2026-11-20 14:00:00 UTC",
    r"\n(?=/srv/app)": " ",
}


@dataclass(frozen=True)
class Block:
    what: str
    name: str | None
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["what"], m["name"], m["language"], m["text"]) for m in found]


def uniform(text: str, folder: Path) -> str:
    """The text with what varies replaced, and without blanks at the ends of lines."""
    text = text.replace(str(folder), "/srv/app")
    for pattern, instead in _VARIES.items():
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


def loosely(text: str) -> str:
    """The text without the widths of columns, which follow what varies."""
    return re.sub(r" +", " ", re.sub("─+", "─", text))


def call(words: list[str], folder: Path) -> str:
    environment = {**os.environ, "COLUMNS": str(WIDTH), "NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def console(text: str, folder: Path) -> str:
    """The block with the output that its commands have now."""
    out = []
    for line in text.splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line[2:])
            assert program == "onerow", line
            said = call(["-m", "onerow", *words], folder)
            assert said, line
            out.append(f"{line}\n{said}")
    return uniform("\n".join(out), folder)


@pytest.mark.parametrize("page", [p for p in PAGES if "<!-- run" in p.read_text()], ids=str)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """Programs run, and commands answer as the page says."""
    for block in sorted(blocks(page), key=lambda b: b.what == "run at the end"):
        if block.what == "file" and block.name:
            (tmp_path / block.name).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            call(["-c", block.text], tmp_path)
        elif block.language == "console":
            now = console(block.text, tmp_path)
            if UPDATE:
                content = page.read_text(encoding="utf-8")
                page.write_text(content.replace(block.text, now, 1), encoding="utf-8")
            else:
                assert loosely(block.text) == loosely(now)


def squeezed(text: str) -> str:
    """Text without line breaks, numbers and hashes."""
    text = re.sub(r"\b[0-9a-f]{12}\b|\b\d{8}-[0-9a-f]{8}\b|\d[\d.,]*", "#", text)
    return " ".join(text.split())


@pytest.fixture(scope="session")
def told() -> str:
    out = io.StringIO()
    assert demo(out=Console(file=out, width=80, color_system=None)) == 0
    return squeezed(out.getvalue())


def excerpts() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks(page):
            if block.what == "demo":
                for number, piece in enumerate(re.split(r"^ *\.\.\.$", block.text, flags=re.M)):
                    yield pytest.param(piece, id=f"{page.name}-{number}")


@pytest.mark.pg
@pytest.mark.parametrize("piece", list(excerpts()))
def test_excerpts_are_of_the_demo(piece: str, told: str) -> None:
    """What a page shows of the demo is in the demo's output, whatever the numbers."""
    assert squeezed(piece) in told


def sections() -> dict[str, list[str]]:
    """Section of the rule file -> its fields, those of nested sections with a dot."""
    tables = {k: (f"[[{k}]]", v) for k, v in rulefile.SECTIONS.items()}
    tables |= {
        "database": ("[database]", rulefile.DatabaseSection),
    }
    assert set(tables) == set(rulefile.RuleFile.model_fields)
    fields = {head: list(section.model_fields) for head, section in tables.values()}
    fields["[[column]]"] += [f"backfill.{f}" for f in rulefile.Backfill.model_fields]
    return fields


@pytest.mark.parametrize(("head", "fields"), list(sections().items()))
def test_every_field_of_the_rule_file_is_told(head: str, fields: list[str]) -> None:
    """The reference has a section for every kind of rule, and names its fields and no others."""
    page = (ROOT / "docs" / "rule-file.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `(\[\[?\w+\]\]?)`.*$", page, flags=re.M)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[head]
    cells = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", text.split("\n### ")[0], flags=re.M)
    assert sorted(re.findall(r"`([\w.]+)`", " ".join(cells))) == sorted(fields)


def test_every_example_of_the_rule_file_is_read() -> None:
    """The examples of the reference are rule files."""
    page = (ROOT / "docs" / "rule-file.md").read_text(encoding="utf-8")
    for text in re.findall(r"```toml\n(.*?)```", page, flags=re.S):
        rulefile.parse_rules(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of ours leads to a file that is there, and to a place in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert f'id="{anchor}"' in file.read_text(encoding="utf-8"), target
