"""Execution data served for the measurement: `python -m bench.execution_server safe|bare URL`.

The bare one is the same application with the statement that one writes by hand.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from fastapi import FastAPI

from systems.execution_data.app import build, make
from systems.execution_data.claims import Claims
from systems.execution_data.models import QUARTERS, Body
from systems.execution_data.reading import Reader
from systems.execution_data.scope import FacilityScope
from systems.execution_data.writing import Done, SafeWriter
from systems.shared.web.application import Serving
from systems.shared.web.errors import Fault
from systems.shared.web.server import serve

INSERT = """
    INSERT INTO execution_data (reporting_period_id, activity_id, facility_id, q1_amount, q2_amount,
        q3_amount, q4_amount, cumulative_balance, comment, created_by)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (reporting_period_id, activity_id, facility_id) DO NOTHING
    RETURNING id, created_at, updated_at"""
LEDGER = """
    INSERT INTO execution_ledger (execution_data_id, quarter, amount)
    VALUES (%s, 1, %s), (%s, 2, %s), (%s, 3, %s), (%s, 4, %s)"""


@dataclass(frozen=True, slots=True)
class BareWriter(SafeWriter):
    """POST by hand; the rest is not measured."""

    def create(self, body: Body, who: Claims) -> Done:
        values = body.changes() | {"facility_id": body.facility_id}
        values["cumulative_balance"] = sum(values[q] for q in QUARTERS)
        names = ("reporting_period_id", "activity_id", "facility_id", *QUARTERS)
        given = tuple(values[n] for n in (*names, "cumulative_balance", "comment"))
        with self.engine.begin() as connection:
            row = connection.exec_driver_sql(INSERT, (*given, who.sub)).mappings().one_or_none()
            if row is None:
                raise Fault(409)
            postings = tuple(v for q in QUARTERS for v in (row["id"], values[q]))
            connection.exec_driver_sql(LEDGER, postings)
        return Done({**values, **row}, None)


def bare(serving: Serving) -> FastAPI:
    reader = Reader(FacilityScope.REQUIRED)
    return build(serving, reader, BareWriter(serving.engine, reader))


if __name__ == "__main__":
    serve({"safe": make, "bare": bare}[sys.argv[1]], sys.argv[2], "127.0.0.1", 0, False, True)
