"""The first rule file: what `onerow init` writes, from what it can find out by itself."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from onerow.catalog import read_snapshot
from onerow.checks import ask, judge, proposals, questions, select
from onerow.checks.base import ENGINES, Answers, Context, Probe
from onerow.checks.questions import Spread
from onerow.database import Database, errors
from onerow.errors import RuleError
from onerow.finding import Finding
from onerow.keys import BoundKey, bind_key
from onerow.probes import context_of, read_statistics, run_probes
from onerow.report.words import clean, count
from onerow.rules import Key, rule_from_dict
from onerow.schema import PARTITIONED, Snapshot, Table
from onerow.sql import comma

#: The checks whose findings say which key is meant.
LOOKED_FOR = ("U103", "U110", "U111", "U112")
TIMEOUT_SECONDS = 5.0  #: for one question
BUDGET_SECONDS = 30.0  #: for all of them
_MOST_CANDIDATES = 40
_WIDTH = 94

#: Columns that are mostly unique by what they are, and those that are so within a tenant.
_NAMES = frozenset(
    {
        "email", "email_address", "username", "user_name", "login", "uuid", "guid", "external_id",
        "public_id", "isbn", "sku", "handle", "slug", "code",
    }
)  # fmt: skip
_WITHIN = frozenset({"slug", "code", "sku", "handle", "username", "external_id"})
_SCOPES = (
    "tenant_id", "organization_id", "organisation_id", "org_id", "account_id", "workspace_id",
    "company_id", "shop_id", "site_id", "project_id",
)  # fmt: skip
#: Tables that by their names may be meant to hold one row.
_SINGLE = frozenset(
    {
        "settings", "config", "configuration", "state", "app_settings", "app_config", "app_state",
        "application_settings", "global_settings", "system_settings", "site_settings",
        "current_state", "current_settings", "singleton",
    }
)  # fmt: skip
_FEW = 5  #: rows that such a table has at most
_FEWEST = 20  #: rows from which being unique means something
_MOST_SURPLUS = 0.05
_LIKELY = 0.8  #: share of distinct values, by the statistics

_EXAMPLE = """\
[[key]]
table = "membership_plans"
columns = ["tenant_id", "scope_key", "name"]     # [] is a table of one row at most
where = "status = 'ACTIVE'"                      # the rows that it speaks of
nulls = "equal"                                  # distinct | equal | forbidden
ignore_case = ["name"]
keep = "latest updated_at"                       # latest, earliest COLUMN; max, min EXPR; first
merge = { default = "fill", visits = "sum" }     # fill: what is NULL comes from the next best row
children = { notes = "merge" }                   # merge | keep | error, where children collide
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One proposed key."""

    rule: Mapping[str, Any]
    remark: str
    active: bool  #: rows prove it; otherwise it is written as a comment
    weight: int = 0  #: surplus rows: what is shown where there are too many


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """A rule file to begin with.

    Attributes:
        text: of the file.
        active: rules that are in force in it.
        candidates: rules that stand in it as comments.
        tables: how many were looked at.
        unseen: what could not be looked at, and why.
    """

    text: str
    active: int
    candidates: int
    tables: int
    unseen: tuple[str, ...] = ()


def starter_rules(database: Database) -> str:
    """The text of a commented `onerow.toml` for a database.

    Raises:
        DatabaseError: it cannot be reached or read.
    """
    return look(database).text


def look(database: Database) -> Starter:
    """Look at a database and propose keys: catalog first, statistics next, then few questions.

    Raises:
        DatabaseError: it cannot be reached or read.
    """
    snapshot = _whole_snapshot(database)
    context = context_of(snapshot, statistics=read_statistics(database, snapshot))
    inquiry = ask(context, select(only=LOOKED_FOR))
    named = [*_named(context), *_single(context)]
    probes = [*inquiry.probes, *(questions.spread(b, context) for b in named)]
    answers = run_probes(database, probes, snapshot, timeout=TIMEOUT_SECONDS, budget=BUDGET_SECONDS)
    findings, _ = judge(context, inquiry, answers)
    found = [*_of_findings(findings, context), *_of_names(named, context, answers)]
    return _starter(context, _ordered(found), _unseen(probes, answers))


def _whole_snapshot(database: Database) -> Snapshot:
    """All schemas, whatever the search path says: nobody has told us yet which ones matter."""
    with errors(database):
        first = read_snapshot(database.engine)
        if not first.other_schemas:
            return first
        return read_snapshot(database.engine, schemas=[*first.schemas, *first.other_schemas])


# -- what is proposed ---------------------------------------------------------------------------


def _of_findings(findings: Iterable[Finding], context: Context) -> Iterator[Section]:
    for finding in findings:
        if finding.fix is None or finding.fix.rule is None:
            continue
        groups = finding.evidence.groups if finding.evidence else 0
        section = Section(
            rule=finding.fix.rule,
            remark=f"{finding.message} ({finding.check})",
            active=groups > 0,
            weight=finding.evidence.rows if finding.evidence else 0,
        )
        yield _checked(section, context)


def _checked(section: Section, context: Context) -> Section:
    """A rule that could not be planned is no more than a remark."""
    try:
        rule = rule_from_dict(section.rule)
        assert isinstance(rule, Key)
        bound = bind_key(rule, context.snapshot)
        context.talk.create_unique_index(bound, bound.name)
    except RuleError as error:
        return replace(section, active=False, remark=f"{section.remark} {error.message}")
    obstacle = _obstacle(bound.table)
    if obstacle:
        return replace(section, active=False, remark=f"{section.remark} {obstacle}")
    return section


def _obstacle(table: Table) -> str:
    """What somebody must do first."""
    if not table.row_identity:
        return "Rows can be merged only where something tells them apart: it needs a primary key."
    if table.kind == PARTITIONED or table.inherited_by:
        return "Its rows are spread over several tables, and no key can be built across them yet."
    return ""


def _named(context: Context) -> Iterator[BoundKey]:
    """Columns that are unique by what they are called, and are not known not to be."""
    for table in context.tables:
        referring = {c for fk in table.foreign_keys for c in fk.columns}
        for column in table.columns:
            if column.name.casefold() not in _NAMES or column.name in referring:
                continue
            bound = _candidate(table, column.name, context)
            share = context.distinct_share(table, column.name)
            if bound is not None and (len(bound.parts) > 1 or share is None or share >= _LIKELY):
                yield bound


def _single(context: Context) -> Iterator[BoundKey]:
    """Tables of one row, by their names: not those with a row for each user, or for each name."""
    for table in context.tables:
        names = {c.name.casefold() for c in table.columns}
        for_each = names & {*_SCOPES, "user_id", "key", "name", "owner_id"}
        if table.name.casefold() not in _SINGLE or for_each:
            continue
        bound = proposals.bound(table, proposals.on(table, (), context), context)
        if bound is not None and not proposals.is_enforced(table, (), context):
            yield bound


def _candidate(table: Table, column: str, context: Context) -> BoundKey | None:
    names = {c.name.casefold(): c.name for c in table.columns}
    scope = next((names[s] for s in _SCOPES if s in names), None)
    within = scope is not None and column.casefold() in _WITHIN
    columns = [scope, column] if within and scope else [column]
    if proposals.is_enforced(table, columns, context):
        return None
    return proposals.bound(table, proposals.on(table, columns, context), context)


def _of_names(named: Iterable[BoundKey], context: Context, answers: Answers) -> Iterator[Section]:
    for bound in named:
        found = questions.read_spread(bound, answers[questions.spread(bound, context)])
        unique = found.rows >= _FEWEST and found.share <= _MOST_SURPLUS
        if unique if bound.parts else found.rows <= _FEW:
            section = Section(
                rule=proposals.rule(bound.key),
                remark=_remark(bound, found),
                active=False,
                weight=found.surplus,
            )
            yield _checked(section, context)


def _remark(bound: BoundKey, found: Spread) -> str:
    if not bound.parts:
        rows = count(found.rows, "row") if found.rows else "no row yet"
        return f"{bound.table}: {rows}. Is it a table of one row? Nothing keeps a second one out."
    if not found.groups:
        return f"{bound}: {count(found.rows, 'row')}, no two alike, and no key says so."
    repeat = "repeats" if found.groups == 1 else "repeat"
    return (
        f"{bound}: {count(found.rows, 'row')}, {count(found.groups, 'value')} {repeat}"
        f" ({count(found.surplus, 'row')} too many), and no key keeps them apart."
    )


def _ordered(found: Iterable[Section]) -> list[Section]:
    """Each key once, the proven ones first; of the others those with most to say."""
    unique: dict[tuple[str, ...], Section] = {}
    for section in found:
        rule = section.rule
        place = (rule["table"], *rule["columns"], str(rule.get("where", "")))
        known = unique.get(place)
        if known is None or (section.active and not known.active):
            unique[place] = section
    by_table = lambda s: (s.rule["table"], s.rule["columns"])  # noqa: E731
    active = sorted((s for s in unique.values() if s.active), key=by_table)
    rest = sorted((s for s in unique.values() if not s.active), key=lambda s: -s.weight)
    return [*active, *sorted(rest[:_MOST_CANDIDATES], key=by_table)]


def _unseen(probes: Sequence[Probe], answers: Answers) -> tuple[str, ...]:
    reasons = (f"{p.about}: {answers[p].reason}" for p in probes if answers[p].reason)
    return tuple(dict.fromkeys(reasons))


# -- the text -----------------------------------------------------------------------------------


def _starter(context: Context, sections: Sequence[Section], unseen: tuple[str, ...]) -> Starter:
    active = [s for s in sections if s.active]
    rest = [s for s in sections if not s.active]
    parts = [
        _head(context, unseen),
        _database(context.snapshot),
        *map(_section, active),
        *([_comment("Guesses. Take the marks away from what is meant.")] if rest else []),
        *map(_section, rest),
        _comment("An example of what else there is:") + _commented(_EXAMPLE),
    ]
    return Starter(
        text="\n".join(parts),
        active=len(active),
        candidates=len(rest),
        tables=len(context.tables),
        unseen=unseen,
    )


def _head(context: Context, unseen: tuple[str, ...]) -> str:
    snapshot = context.snapshot
    name = PurePath(snapshot.database).name
    engine = f"{ENGINES[snapshot.dialect]} {snapshot.version_text.partition(' ')[0]}"
    text = (
        f"The rules of {name} ({engine}), begun by `onerow init` from"
        f" {count(len(context.tables), 'table')}. What stands here without a mark is proven by"
        " rows; read it all the same. `onerow check` tells where the rules stand, `onerow plan`"
        " what would be done, and neither changes anything."
    )
    missed = "".join(_comment(f"Not looked at: {u}.") for u in unseen[:5])
    more = len(unseen) - 5
    return _comment(text) + missed + (_comment(f"Nor {count(more, 'other')}.") if more > 0 else "")


def _database(snapshot: Snapshot) -> str:
    lines = ["[database]", 'url = "${DATABASE_URL}"']
    if snapshot.dialect == "postgresql":
        used = {t.schema for t in snapshot if t.asked}
        schemas = [s for s in snapshot.schemas if s in used] or [*snapshot.search_path][:1]
        lines += [f"schemas = {toml(schemas)}"] if schemas else []
    return "\n".join(lines) + "\n"


def _section(section: Section) -> str:
    rule = {k: v for k, v in section.rule.items() if k != "kind"}
    rule.setdefault("keep", "first")
    rule.setdefault("merge", {"default": "fill"})
    lines = ["[[key]]", *(f"{name} = {toml(value)}" for name, value in rule.items())]
    text = "\n".join(lines) + "\n"
    return _comment(section.remark) + (text if section.active else _commented(text))


def _comment(text: str) -> str:
    """Lines that begin with a mark; TOML takes no control characters, not even here."""
    lines = textwrap.wrap(clean(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


def _bare(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").isalnum() else toml(name)


def toml(value: Any) -> str:
    """A value of the rule file. JSON's escapes are TOML's too, but for DEL."""
    if isinstance(value, Mapping):
        pairs = comma(f"{_bare(str(k))} = {toml(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{comma(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
