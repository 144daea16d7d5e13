"""The tables as the application sees them, and the keys that it writes by."""

from __future__ import annotations

from onerow import Key
from systems.report_weeks import schema

_BEFORE, _AFTER = schema.before(), schema.after()

EXECUTIONS = _AFTER.tables["workflow_executions"]
#: Columns that they have before and after: the server works on both.
COLLECTIONS = _BEFORE.tables["report_data_collections"]
WEEKS = _BEFORE.tables["report_data_weeks"]
#: With the columns of a claim, which only the change brings.
CLAIMED = _AFTER.tables["report_data_weeks"]

#: A request is one collection, also while the database does not keep the key yet.
ONE_REQUEST = Key(COLLECTIONS, *schema.REQUEST, transitional=True)
ONE_COLLECTION = Key(COLLECTIONS, "id")
ONE_WEEK = Key(WEEKS, "id")

OPEN = ("pending", "running")  #: of a week that is still to be done
ENDED = ("completed", "failed")  #: of a collection that a runner has nothing to do for
