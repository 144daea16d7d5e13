"""What two accountants do at once, for `onerow.race`: each a pair of workers and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from onerow.race import Result, explore
from systems.execution_data import tables as t
from systems.execution_data.claims import Claims
from systems.execution_data.models import Body, Change
from systems.execution_data.naive import NaiveWriter
from systems.execution_data.reading import Reader
from systems.execution_data.scope import FacilityScope
from systems.execution_data.writing import SafeWriter, Writer
from systems.shared.web.errors import Fault

PERIOD, ACTIVITY = 4, 40
MakeWriter = Callable[[sa.Engine], Writer]
Worker = Callable[[Any], None]


def naive(engine: sa.Engine) -> Writer:
    return NaiveWriter(engine)


def safe(engine: sa.Engine) -> Writer:
    """Before, in between and after."""
    return SafeWriter(engine, Reader(FacilityScope.OPTIONAL))


def two_facilities(engine: sa.Engine, make: MakeWriter, **limits: Any) -> Result:
    """Two facilities save the same activity; both must have it then."""
    workers = [_saves(make, facility) for facility in (1, 2)]
    return explore(engine, workers, setup=_without, invariant=_of_each, **limits)


def two_saves(engine: sa.Engine, make: MakeWriter, **limits: Any) -> Result:
    """One facility, twice: one save is a 201, the other a 409, and nothing else happens."""
    workers = [_saves(make, 1), _saves(make, 1)]
    return explore(engine, workers, setup=_without, invariant=_one_with_ledger, **limits)


def two_changes(engine: sa.Engine, make: MakeWriter, **limits: Any) -> Result:
    """Two people of a facility change one row, each another quarter; the ledger tells its sum."""
    workers = [_changes(make, "q1_amount"), _changes(make, "q2_amount")]
    return explore(engine, workers, setup=_with_one, invariant=_one_with_ledger, **limits)


def who(facility: int) -> Claims:
    return Claims(sub=f"f{facility:03d}.accountant1", role="ACCOUNTANT", facility_id=facility)


def _saves(make: MakeWriter, facility: int) -> Worker:
    body = Body(reporting_period_id=PERIOD, activity_id=ACTIVITY, q1_amount=Decimal(100 * facility))

    def save(sessions: Any) -> None:
        try:
            make(_engine(sessions)).create(body, who(facility))
        except Fault as fault:
            if fault.status != 409:
                raise

    save.__name__ = f"facility_{facility}_saves"
    return save


def _changes(make: MakeWriter, quarter: str) -> Worker:
    body = Change.model_validate({quarter: 500})

    def change(sessions: Any) -> None:
        engine = _engine(sessions)
        with engine.connect() as connection:
            number = connection.execute(sa.select(t.REPORTS.c.id).where(*_KEY)).scalar_one()
        make(engine).change(number, body, who(1))

    change.__name__ = f"changes_{quarter}"
    return change


def _engine(sessions: Any) -> sa.Engine:
    engine: sa.Engine = sessions.kw["bind"]
    return engine


_KEY = (t.REPORTS.c.reporting_period_id == PERIOD, t.REPORTS.c.activity_id == ACTIVITY)
_LEDGER = sa.select(sa.func.sum(t.LEDGER.c.amount)).where(
    t.LEDGER.c.execution_data_id == t.REPORTS.c.id
)


def _without(connection: sa.Connection) -> None:
    connection.execute(sa.delete(t.REPORTS).where(*_KEY))


def _with_one(connection: sa.Connection) -> None:
    _without(connection)
    column = t.has_facility(connection, writing=True)
    values: dict[str, Any] = {"reporting_period_id": PERIOD, "activity_id": ACTIVITY}
    values |= {"facility_id": 1} if column else {}
    sql = sa.insert(t.REPORTS).values(values).returning(t.REPORTS.c.id)
    number = connection.execute(sql).scalar_one()
    connection.execute(sa.insert(t.LEDGER).values(t.postings(number, [0, 0, 0, 0])))


def _of_each(connection: sa.Connection) -> bool:
    found = connection.execute(sa.select(sa.func.count()).select_from(t.REPORTS).where(*_KEY))
    return found.scalar_one() == 2


def _one_with_ledger(connection: sa.Connection) -> bool:
    sql = sa.select(t.REPORTS.c.cumulative_balance, _LEDGER.scalar_subquery()).where(*_KEY)
    ((balance, posted),) = connection.execute(sql)
    return bool(balance == posted)
