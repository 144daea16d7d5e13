"""The change as an operator makes it: rule files, a mapping, the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systems.execution_data.reports import IMPORT
from tests.support.process import Command, command
from tests.support.sandbox import Sandbox
from tests.systems.support import FOLDER

MAPPING = "facility_of_row.csv"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    said: dict[str, Any]


class Change:
    """In a folder of its own, with the system's rule files in it."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box, self.folder = box, folder
        for name in ("rules.toml", "column.toml"):
            text = (FOLDER / "execution_data" / name).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")

    def write_mapping(self, unknown: int | None = None) -> None:
        """Whose every row is, by its author; of rows of the import, if somebody has found out."""
        with (self.folder / MAPPING).open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(("id", "facility_id"))
            for number, author in self.box.rows("SELECT id, created_by FROM execution_data"):
                if author != IMPORT:
                    out.writerow((number, int(author[1:4])))
                elif unknown is not None:
                    out.writerow((number, unknown))

    @contextmanager
    def started(self, verb: str, *words: str, rules: str = "rules.toml") -> Iterator[Command]:
        words = (verb, "--url", self.box.url, "--rules", rules, "--json", *words)
        with command(*words, folder=self.folder) as running:
            yield running

    def run(self, verb: str, *words: str, rules: str = "rules.toml", seconds: float = 60) -> Ended:
        with self.started(verb, *words, rules=rules) as running:
            code = running.wait(seconds)
            assert code is not None, f"{verb} does not end: {running.said}"
            said = running.said
            return Ended(
                code, json.loads(said[said.index("\n{") + 1 :] if said[0] != "{" else said)
            )

    def plan(self) -> Ended:
        return self.run("plan")

    def apply(self, rules: str = "rules.toml", *words: str, seconds: float = 60) -> Ended:
        return self.run("apply", "--yes", *words, rules=rules, seconds=seconds)

    def verify(self) -> Ended:
        return self.run("verify")

    def undo(self, *words: str) -> Ended:
        return self.run("undo", *words)

    def check(self, saved: Mapping[int, int]) -> None:
        """Every row that was saved is there, and is of the facility that saved it."""
        found = dict(self.box.rows("SELECT id, facility_id FROM execution_data"))
        assert {number: found.get(number) for number in saved} == dict(saved)
