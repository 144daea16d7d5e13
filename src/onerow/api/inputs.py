"""What the functions are given, read: rule files, plan files, addresses, the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from onerow.catalog import read_snapshot
from onerow.database import Database, errors, expand
from onerow.errors import PlanFileError, RuleFileError
from onerow.plan import Plan
from onerow.rulefile import Rules, parse_rules
from onerow.rules import Column, Key, Reference, Rule, rule_from_dict
from onerow.schema import Snapshot

DEFAULT_RULES = "onerow.toml"

Address = str | Database | Engine  #: where a database is


def load_rules(path: str | Path) -> Rules:
    """Read a rule file. Raises RuleFileError when it is not there, not TOML or not understood."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuleFileError(
            f"There is no rule file {str(path)!r}.", hint="`onerow init URL` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFileError(f"The rule file {str(path)!r} cannot be read: {error}.") from error
    return parse_rules(text, str(path))


def rules_of(rules: Rules | Iterable[Rule] | str | Path | None) -> Rules:
    if rules is None:
        return load_rules(DEFAULT_RULES)
    if isinstance(rules, str | Path):
        return load_rules(rules)
    return rules if isinstance(rules, Rules) else Rules(rules=tuple(rules))


def rules_from(tables: Iterable[Mapping[str, Any]], source: str | Path = "") -> Rules:
    """Rules from tables of the rule file, each with its `kind` (`key`, `reference`, ...).

    Args:
        source: the file that they stand in; file names in rules are relative to its folder.

    Raises:
        RuleError: an unknown kind or field, or a value that cannot be.
    """
    return Rules(rules=tuple(map(rule_from_dict, tables)), source=str(source))


def open_database(url: Address | None, rules: Rules | None = None) -> Database:
    """The database that is meant: the one given, else the rule file's.

    Of an engine its address is taken, and nothing else: onerow works on connections of its own.

    Raises:
        UrlError: there is none.
    """
    if isinstance(url, Database):
        return url
    if isinstance(url, Engine):
        plain = "sqlite" if url.dialect.name == "sqlite" else "postgresql"
        return Database(url.url.set(drivername=plain).render_as_string(hide_password=False))
    text = url if url is not None else (rules.url if rules else None)
    return Database(expand(text or ""))


def snapshot(database: Database, rules: Rules | None = None) -> Snapshot:
    """The catalog as it is now, in the schemas that the rules speak of."""
    schemas = list(rules.schemas) if rules and rules.schemas else None
    with errors(database):
        first = read_snapshot(database.engine, schemas=schemas)
        named = _schemas_named(rules.rules if rules else (), first)
        if not named:
            return first
        return read_snapshot(database.engine, schemas=[*first.schemas, *named])


def _schemas_named(rules: Iterable[Rule], known: Snapshot) -> list[str]:
    """Schemas outside of the search path that a rule names with its table."""
    rules = tuple(rules)
    texts = [r.table for r in rules]
    texts += [t for r in rules if isinstance(r, Key) for t in r.also_referenced_by]
    texts += [r.to for r in rules if isinstance(r, Reference)]
    texts += [r.references for r in rules if isinstance(r, Column) and r.references]
    return [
        s
        for s in known.other_schemas
        if s not in known.schemas and any(t.startswith((f"{s}.", f'"{s}".')) for t in texts)
    ]


def rules_if_any(rules: Rules | Iterable[Rule] | str | Path | None) -> Rules:
    if rules is None and not Path(DEFAULT_RULES).exists():
        return Rules()
    return rules_of(rules)


def base_of(rules: Rules) -> str:
    """The folder of the rule file, where it is one."""
    return str(Path(rules.source).parent) if rules.source else ""


def load_plan(path: str | Path) -> Plan:
    """Read a plan file. Raises PlanFileError when it is not there, or is none."""
    try:
        return Plan.from_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanFileError(
            f"There is no plan file {str(path)!r}.", hint="`onerow plan --out FILE` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileError(f"The plan file {str(path)!r} cannot be read: {error}.") from error
