"""`verify`: the report on a database's lineage."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import sqlalchemy as sa

from onerow import Population, load_rules
from systems.report_weeks.judging import Report, judge
from systems.report_weeks.survey import WEEKS, survey
from systems.shared.address import open_engine
from systems.shared.errors import SystemFailure, SystemRefusal

RULES = Path(__file__).with_name("rules.toml")


def first_day() -> date:
    """The day from which the rule file wants every completed week to say its execution."""
    (rule,) = (r for r in load_rules(RULES).rules if isinstance(r, Population))
    return date.fromisoformat(str(rule.since))


def verify(url: str, since: date | None = None) -> Report:
    """Look at a database; nothing is changed.

    Args:
        since: weeks completed from this day on must carry their execution; the rule file's day
            if absent.

    Raises:
        SystemRefusal: there is no table of weeks.
        SystemFailure: the database cannot be reached.
    """
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(WEEKS):
                raise SystemRefusal(f"There is no table {WEEKS}. `before` and `after` make it.")
            return judge(survey(connection, since or first_day()))
    except sa.exc.DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise SystemFailure(f"The database cannot be used: {said}") from error
    finally:
        engine.dispose()
