"""The rule file: TOML text to rules, with errors that say what, where and what to do.

Reading the file is the caller's; this is pure.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onerow.errors import RuleError, RuleFileError, nearest
from onerow.rules import CHILD_POLICIES, NULL_MODES, ORPHAN_POLICIES, POLICIES, Rule, rule_from_dict

Names = list[Annotated[str, Field(min_length=1)]]
Words = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DatabaseSection(_Section):
    url: str | None = None
    schemas: Names | None = None


class Backfill(_Section):
    value: Any = None
    sql: str | None = None
    csv: str | None = None
    key: str | None = None


class ColumnSection(_Section):
    table: Words
    name: Words
    type: Words
    not_null: bool = False
    references: str | None = None
    on_delete: str = "no action"
    backfill: Backfill | None = None
    generated: str | None = None


class KeySection(_Section):
    table: Words
    columns: Names
    name: Words | None = None
    replaces: Names = []
    where: str | None = None
    nulls: Literal["distinct", "equal", "forbidden"] = "distinct"
    ignore_case: Names = []
    keep: str = "first"
    merge: dict[str, str] = {}
    children: dict[str, str] = {}
    also_referenced_by: Names = []
    guard: bool = False


class ReferenceSection(_Section):
    table: Words
    columns: Names
    to: Words
    name: Words | None = None
    on_delete: str = "no action"
    orphans: str = "report"
    index: bool = False


class PopulationSection(_Section):
    table: Words
    column: Words
    name: Words | None = None
    where: str | None = None
    since: str | None = None
    by: str | None = None
    rate: float = 1.0


class IndexSection(_Section):
    table: Words
    columns: Names
    name: Words | None = None
    where: str | None = None


class ConstraintSection(_Section):
    table: Words
    name: Words
    check: Words


class RuleFile(_Section):
    database: DatabaseSection = DatabaseSection()
    column: list[ColumnSection] = []
    key: list[KeySection] = []
    reference: list[ReferenceSection] = []
    population: list[PopulationSection] = []
    index: list[IndexSection] = []
    constraint: list[ConstraintSection] = []


#: In the order in which they depend on each other.
SECTIONS: Mapping[str, type[_Section]] = {
    "column": ColumnSection,
    "reference": ReferenceSection,
    "key": KeySection,
    "population": PopulationSection,
    "index": IndexSection,
    "constraint": ConstraintSection,
}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "nulls": NULL_MODES,
    "merge": POLICIES,
    "children": CHILD_POLICIES,
    "orphans": ORPHAN_POLICIES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A rule file that was read."""

    rules: tuple[Rule, ...] = ()
    url: str | None = None
    schemas: tuple[str, ...] | None = None
    source: str = ""


def parse_rules(text: str, source: str = "onerow.toml") -> Rules:
    """Read a rule file.

    Args:
        text: its content.
        source: what to call it in errors.

    Raises:
        RuleFileError: not TOML, an unknown or missing field, a value of the wrong type.
        RuleError: a rule that contradicts itself, an unknown policy.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleFileError(f"{source} is not TOML: {error}.") from error
    try:
        parsed = RuleFile.model_validate(data)
    except ValidationError as error:
        raise RuleFileError(_explain(error, source)) from error
    return Rules(
        rules=tuple(_rules(parsed, source)),
        url=parsed.database.url,
        schemas=tuple(parsed.database.schemas) if parsed.database.schemas else None,
        source=source,
    )


def _rules(parsed: RuleFile, source: str) -> Iterator[Rule]:
    for kind in SECTIONS:
        for number, section in enumerate(getattr(parsed, kind), 1):
            values = section.model_dump(exclude_none=True, exclude_defaults=True)
            values["columns" if "columns" in type(section).model_fields else "table"] = (
                section.columns if hasattr(section, "columns") else section.table
            )
            try:
                yield rule_from_dict({"kind": kind, **values})
            except RuleError as error:
                where = f"{source}: [[{kind}]] number {number}: "
                raise RuleError(where + error.message, hint=error.hint) from error


def _explain(error: ValidationError, source: str) -> str:
    """Every mistake in a line of its own, with the nearest known name."""
    return "\n".join(f"{source}: {_one(e)}" for e in error.errors())


def _one(detail: Any) -> str:
    path = detail["loc"]
    where = _place(path[:-1])
    name = str(path[-1])
    if detail["type"] == "extra_forbidden":
        known = _known_fields(path)
        advice = nearest(name, known) or f"Known are {', '.join(sorted(known))}."
        return f"{where}unknown field {name!r}. {advice}"
    if detail["type"] == "missing":
        return f"{where}{name!r} is missing."
    if detail["type"] == "literal_error":
        advice = nearest(str(detail["input"]), _CHOICES.get(name, ()))
        return f"{where}{name} = {detail['input']!r} is unknown: {detail['msg'].lower()}. {advice}"
    return f"{_place(path)}{detail['msg'].lower()}."


def _place(path: tuple[int | str, ...]) -> str:
    """`[[key]] number 2, merge: ` from ('key', 1, 'merge')."""
    if not path:
        return ""
    head, *rest = path
    text = f"[[{head}]]" if head in SECTIONS else f"[{head}]"
    for part in rest:
        text += f" number {part + 1}" if isinstance(part, int) else f", {part}"
    return text + ": "


def _known_fields(path: tuple[int | str, ...]) -> list[str]:
    if len(path) == 1:
        return list(RuleFile.model_fields)
    sections: dict[str, type[_Section]] = {
        **SECTIONS,
        "database": DatabaseSection,
    }
    section = sections.get(str(path[0]))
    if len(path) > 3 and path[2] == "backfill":
        return list(Backfill.model_fields)
    return list(section.model_fields) if section else []
