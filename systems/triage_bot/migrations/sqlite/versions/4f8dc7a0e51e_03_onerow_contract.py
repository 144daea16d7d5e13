"""Take away what is replaced, now that its successor stands: main.users, main.overrides, main.sprints, main.current_state.

Revision 3 of 3 made by `onerow plan --alembic` of plan 4f8dc7a0e51e. Each step
looks first whether it is done, so this may be run again, and does nothing where
`onerow apply` was. Rows are not moved here: where some would have to be, it stops
and says so. Rows that `onerow apply` merged come back by `onerow undo`.

Revision ID: 4f8dc7a0e51e_03
Revises: 4f8dc7a0e51e_02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "4f8dc7a0e51e_03"
down_revision = "4f8dc7a0e51e_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 15. Fill position of the rows of main.users that were written meanwhile.
    # `onerow apply` does that.
    # 16. Fill active of the rows of main.users that were written meanwhile.
    # `onerow apply` does that.
    # 17. Fill status of the rows of main.overrides that were written meanwhile.
    # `onerow apply` does that.
    # 18. Prove that main.sprints(sprint_index) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, count(*) AS n FROM "main"."sprints" WHERE 1 = 1 GROUP BY "sprint_index" HAVING count(*) > 1) AS g ORDER BY n DESC, k1 LIMIT 1) AS d',
        "{n} group(s) of duplicates in sprints_sprint_index_key of main.sprints. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 19. Prove that main.current_state() is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT count(*) AS n FROM "main"."current_state" WHERE 1 = 1 HAVING count(*) > 1) AS g ORDER BY n DESC LIMIT 1) AS d',
        "{n} group(s) of duplicates in current_state_one_row of main.current_state. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 20. Prove that main.overrides(sprint_index, role) is enforced and that no rows
    # break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, count(*) AS n FROM "main"."overrides" WHERE (status = \'approved\') AND "role" IS NOT NULL GROUP BY "sprint_index", "role" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_one_approved of main.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 21. Prove that main.users(slack_id, discipline) is enforced and that no rows break
    # it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "slack_id" AS k1, "discipline" AS k2, count(*) AS n FROM "main"."users" WHERE 1 = 1 GROUP BY "slack_id", "discipline" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2 LIMIT 1) AS d',
        "{n} group(s) of duplicates in users_slack_discipline_unique of main.users. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 22. Make main.users again, with NULL forbidden in position, with NULL forbidden in
    # active, without users_slack_id_key: one transaction that copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "users": "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer, \"active\" boolean, \n\tCONSTRAINT users_slack_id_key UNIQUE (slack_id), \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
        },
        {
            "users": "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer NOT NULL, \"active\" boolean NOT NULL, \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "users" RENAME TO "onerow_old_users"',
            "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer NOT NULL, \"active\" boolean NOT NULL, \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
            'INSERT INTO "users" ("id", "slack_id", "name", "discipline", "created_at", "updated_at", "position", "active") SELECT "id", "slack_id", "name", "discipline", "created_at", "updated_at", "position", "active" FROM "onerow_old_users"',
            "DELETE FROM sqlite_sequence WHERE name = 'users'",
            "UPDATE sqlite_sequence SET name = 'users' WHERE name = 'onerow_old_users'",
            'DROP TABLE "onerow_old_users"',
            "CREATE INDEX idx_users_slack_id ON users (slack_id)",
            'CREATE UNIQUE INDEX "users_slack_discipline_unique" ON "users" ("slack_id", "discipline")',
            "CREATE TRIGGER users_set_updated_at AFTER UPDATE ON users\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE users SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )
    # 23. Make main.overrides again, with NULL forbidden in status, with NULL forbidden
    # in role, with NULL forbidden in requested_by, with NULL forbidden in
    # replacement_slack_id, with the check overrides_status_check: one transaction that
    # copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "overrides": "CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL\n, \"status\" text)",
        },
        {
            "overrides": 'CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL\n, "status" text NOT NULL, CONSTRAINT "overrides_unique_request_role_not_null" CHECK ("role" IS NOT NULL), CONSTRAINT "overrides_unique_request_requested_by_not_null" CHECK ("requested_by" IS NOT NULL), CONSTRAINT "overrides_unique_request_replacement_slack_id_not_null" CHECK ("replacement_slack_id" IS NOT NULL), CONSTRAINT "overrides_status_check" CHECK (status IN (\'pending\', \'approved\', \'declined\')))',
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "overrides" RENAME TO "onerow_old_overrides"',
            'CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL\n, "status" text NOT NULL, CONSTRAINT "overrides_unique_request_role_not_null" CHECK ("role" IS NOT NULL), CONSTRAINT "overrides_unique_request_requested_by_not_null" CHECK ("requested_by" IS NOT NULL), CONSTRAINT "overrides_unique_request_replacement_slack_id_not_null" CHECK ("replacement_slack_id" IS NOT NULL), CONSTRAINT "overrides_status_check" CHECK (status IN (\'pending\', \'approved\', \'declined\')))',
            'INSERT INTO "overrides" ("id", "sprint_index", "role", "original_slack_id", "replacement_slack_id", "replacement_name", "requested_by", "reason", "approved", "approved_by", "approval_timestamp", "created_at", "updated_at", "status") SELECT "id", "sprint_index", "role", "original_slack_id", "replacement_slack_id", "replacement_name", "requested_by", "reason", "approved", "approved_by", "approval_timestamp", "created_at", "updated_at", "status" FROM "onerow_old_overrides"',
            "DELETE FROM sqlite_sequence WHERE name = 'overrides'",
            "UPDATE sqlite_sequence SET name = 'overrides' WHERE name = 'onerow_old_overrides'",
            'DROP TABLE "onerow_old_overrides"',
            "CREATE INDEX idx_overrides_sprint_role ON overrides (sprint_index, role)",
            'CREATE UNIQUE INDEX "overrides_one_approved" ON "overrides" ("sprint_index", "role") WHERE (status = \'approved\')',
            'CREATE UNIQUE INDEX "overrides_unique_request" ON "overrides" ("sprint_index", "role", "requested_by", "replacement_slack_id")',
            "CREATE TRIGGER overrides_set_updated_at AFTER UPDATE ON overrides\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE overrides SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )
    # 24. Make main.current_state again, without unique_current_state: one transaction
    # that copies every row.
    # Lock: the write lock for a copy of the table.
    _change(
        {
            "current_state": "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT unique_current_state UNIQUE (is_current), \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
        },
        {
            "current_state": "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "current_state" RENAME TO "onerow_old_current_state"',
            "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
            'INSERT INTO "current_state" ("id", "sprint_index", "account_slack_id", "producer_slack_id", "po_slack_id", "ui_eng_slack_id", "be_eng_slack_id", "is_current", "updated_at") SELECT "id", "sprint_index", "account_slack_id", "producer_slack_id", "po_slack_id", "ui_eng_slack_id", "be_eng_slack_id", "is_current", "updated_at" FROM "onerow_old_current_state"',
            "DELETE FROM sqlite_sequence WHERE name = 'current_state'",
            "UPDATE sqlite_sequence SET name = 'current_state' WHERE name = 'onerow_old_current_state'",
            'DROP TABLE "onerow_old_current_state"',
            'CREATE UNIQUE INDEX "current_state_one_row" ON "current_state" ((1))',
            "CREATE TRIGGER current_state_set_updated_at AFTER UPDATE ON current_state\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE current_state SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )
    # 28. Prove that main.overrides(sprint_index, role, requested_by,
    # replacement_slack_id) is enforced and that no rows break it.
    _refuse(
        'SELECT max(groups) FROM (SELECT k1, k2, k3, k4, n AS members, count(*) OVER () AS groups, sum(n - 1) OVER () AS surplus FROM (SELECT "sprint_index" AS k1, "role" AS k2, "requested_by" AS k3, "replacement_slack_id" AS k4, count(*) AS n FROM "main"."overrides" WHERE "role" IS NOT NULL AND "requested_by" IS NOT NULL AND "replacement_slack_id" IS NOT NULL GROUP BY "sprint_index", "role", "requested_by", "replacement_slack_id" HAVING count(*) > 1) AS g ORDER BY n DESC, k1, k2, k3, k4 LIMIT 1) AS d',
        "{n} group(s) of duplicates in overrides_unique_request of main.overrides. Run `onerow apply` first, which mends them without losing any, and then this again.",
    )
    # 30. Drop the index idx_sprints_sprint_index, which sprints_sprint_index_key
    # replaces.
    # Lock: the write lock for a moment.
    _change(
        {
            "idx_sprints_sprint_index": "CREATE INDEX idx_sprints_sprint_index ON sprints (sprint_index)",
        },
        {"idx_sprints_sprint_index": None},
        ('DROP INDEX "idx_sprints_sprint_index"',),
    )
    # 31. Drop the index idx_users_slack_id, which users_slack_discipline_unique
    # replaces.
    # Lock: the write lock for a moment.
    _change(
        {"idx_users_slack_id": "CREATE INDEX idx_users_slack_id ON users (slack_id)"},
        {"idx_users_slack_id": None},
        ('DROP INDEX "idx_users_slack_id"',),
    )


def downgrade() -> None:
    _change(
        {"idx_users_slack_id": None},
        {"idx_users_slack_id": "CREATE INDEX idx_users_slack_id ON users (slack_id)"},
        ("CREATE INDEX idx_users_slack_id ON users (slack_id)",),
    )
    _change(
        {"idx_sprints_sprint_index": None},
        {
            "idx_sprints_sprint_index": "CREATE INDEX idx_sprints_sprint_index ON sprints (sprint_index)",
        },
        ("CREATE INDEX idx_sprints_sprint_index ON sprints (sprint_index)",),
    )
    _change(
        {
            "current_state": "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
        },
        {
            "current_state": "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT unique_current_state UNIQUE (is_current), \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "current_state" RENAME TO "onerow_old_current_state"',
            "CREATE TABLE current_state (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER, \n\taccount_slack_id TEXT, \n\tproducer_slack_id TEXT, \n\tpo_slack_id TEXT, \n\tui_eng_slack_id TEXT, \n\tbe_eng_slack_id TEXT, \n\tis_current BOOLEAN DEFAULT 1, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tCONSTRAINT unique_current_state UNIQUE (is_current), \n\tCONSTRAINT current_state_sprint_index_fkey FOREIGN KEY(sprint_index) REFERENCES sprints (sprint_index)\n)",
            'INSERT INTO "current_state" ("id", "sprint_index", "account_slack_id", "producer_slack_id", "po_slack_id", "ui_eng_slack_id", "be_eng_slack_id", "is_current", "updated_at") SELECT "id", "sprint_index", "account_slack_id", "producer_slack_id", "po_slack_id", "ui_eng_slack_id", "be_eng_slack_id", "is_current", "updated_at" FROM "onerow_old_current_state"',
            "DELETE FROM sqlite_sequence WHERE name = 'current_state'",
            "UPDATE sqlite_sequence SET name = 'current_state' WHERE name = 'onerow_old_current_state'",
            'DROP TABLE "onerow_old_current_state"',
            'CREATE UNIQUE INDEX "current_state_one_row" ON "current_state" ((1))',
            "CREATE TRIGGER current_state_set_updated_at AFTER UPDATE ON current_state\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE current_state SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )
    _change(
        {
            "overrides": 'CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime(\'%Y-%m-%d %H:%M:%f000\', \'now\')) NOT NULL\n, "status" text NOT NULL, CONSTRAINT "overrides_unique_request_role_not_null" CHECK ("role" IS NOT NULL), CONSTRAINT "overrides_unique_request_requested_by_not_null" CHECK ("requested_by" IS NOT NULL), CONSTRAINT "overrides_unique_request_replacement_slack_id_not_null" CHECK ("replacement_slack_id" IS NOT NULL), CONSTRAINT "overrides_status_check" CHECK (status IN (\'pending\', \'approved\', \'declined\')))',
        },
        {
            "overrides": "CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL\n, \"status\" text)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "overrides" RENAME TO "onerow_old_overrides"',
            "CREATE TABLE overrides (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tsprint_index INTEGER NOT NULL, \n\trole TEXT, \n\toriginal_slack_id TEXT, \n\treplacement_slack_id TEXT, \n\treplacement_name TEXT, \n\trequested_by TEXT, \n\treason TEXT, \n\tapproved BOOLEAN DEFAULT 0 NOT NULL, \n\tapproved_by TEXT, \n\tapproval_timestamp DATETIME, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL\n, \"status\" text)",
            'INSERT INTO "overrides" ("id", "sprint_index", "role", "original_slack_id", "replacement_slack_id", "replacement_name", "requested_by", "reason", "approved", "approved_by", "approval_timestamp", "created_at", "updated_at", "status") SELECT "id", "sprint_index", "role", "original_slack_id", "replacement_slack_id", "replacement_name", "requested_by", "reason", "approved", "approved_by", "approval_timestamp", "created_at", "updated_at", "status" FROM "onerow_old_overrides"',
            "DELETE FROM sqlite_sequence WHERE name = 'overrides'",
            "UPDATE sqlite_sequence SET name = 'overrides' WHERE name = 'onerow_old_overrides'",
            'DROP TABLE "onerow_old_overrides"',
            "CREATE INDEX idx_overrides_sprint_role ON overrides (sprint_index, role)",
            'CREATE UNIQUE INDEX "overrides_one_approved" ON "overrides" ("sprint_index", "role") WHERE (status = \'approved\')',
            'CREATE UNIQUE INDEX "overrides_unique_request" ON "overrides" ("sprint_index", "role", "requested_by", "replacement_slack_id")',
            "CREATE TRIGGER overrides_set_updated_at AFTER UPDATE ON overrides\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE overrides SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )
    _change(
        {
            "users": "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer NOT NULL, \"active\" boolean NOT NULL, \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
        },
        {
            "users": "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer, \"active\" boolean, \n\tCONSTRAINT users_slack_id_key UNIQUE (slack_id), \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
        },
        (
            "PRAGMA legacy_alter_table = ON",
            'ALTER TABLE "users" RENAME TO "onerow_old_users"',
            "CREATE TABLE users (\n\tid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, \n\tslack_id TEXT NOT NULL, \n\tname TEXT NOT NULL, \n\tdiscipline TEXT NOT NULL, \n\tcreated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \n\tupdated_at DATETIME DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')) NOT NULL, \"position\" integer, \"active\" boolean, \n\tCONSTRAINT users_slack_id_key UNIQUE (slack_id), \n\tCONSTRAINT users_discipline_check CHECK (discipline IN ('account', 'producer', 'po', 'uiEng', 'beEng'))\n)",
            'INSERT INTO "users" ("id", "slack_id", "name", "discipline", "created_at", "updated_at", "position", "active") SELECT "id", "slack_id", "name", "discipline", "created_at", "updated_at", "position", "active" FROM "onerow_old_users"',
            "DELETE FROM sqlite_sequence WHERE name = 'users'",
            "UPDATE sqlite_sequence SET name = 'users' WHERE name = 'onerow_old_users'",
            'DROP TABLE "onerow_old_users"',
            "CREATE INDEX idx_users_slack_id ON users (slack_id)",
            'CREATE UNIQUE INDEX "users_slack_discipline_unique" ON "users" ("slack_id", "discipline")',
            "CREATE TRIGGER users_set_updated_at AFTER UPDATE ON users\nFOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at\nBEGIN\n    UPDATE users SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;\nEND",
            "PRAGMA legacy_alter_table = OFF",
        ),
    )


def _sql(statement: str) -> sa.TextClause:
    """SQL as it stands: a colon is no parameter."""
    return sa.text(statement.replace(":", "\\:"))


def _ask(question: str) -> Any:
    """The first value of an answer, None where there is none."""
    if op.get_context().as_sql:
        raise CommandError(
            "This revision looks at the SQLite file before it changes it, which it cannot do"
            " with --sql. Run it without."
        )
    return op.get_bind().execute(_sql(question)).scalar()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _refuse(question: str, told: str) -> None:
    """Stop while there are rows that `onerow apply` mends without losing any."""
    count = _ask(question)
    if count:
        raise CommandError(told.replace("{n}", f"{count:,}"))


def _text(name: str) -> str | None:
    found = _ask(f"SELECT sql FROM sqlite_master WHERE name = {_literal(name)}")
    return str(found) if found is not None else None


def _change(
    before: Mapping[str, str | None], after: Mapping[str, str | None], statements: tuple[str, ...]
) -> None:
    """Run statements that give objects other texts, unless they have them.

    None is the text of what is not there.
    """
    now = {name: _text(name) for name in {**before, **after}}
    if all(now[name] == text for name, text in after.items()):
        return
    for name, text in before.items():
        if now[name] != text:
            raise CommandError(
                f"{name} is not what it was where the plan was made: it is {now[name]!r}."
            )
    _all_or_nothing(statements)


def _all_or_nothing(statements: tuple[str, ...]) -> None:
    with op.get_context().autocommit_block():
        keys = _ask("PRAGMA foreign_keys")
        op.execute("PRAGMA foreign_keys = OFF")
        op.execute("BEGIN IMMEDIATE")
        try:
            broken = _ask("SELECT count(*) FROM pragma_foreign_key_check")
            for statement in statements:
                op.execute(_sql(statement))
            if _ask("SELECT count(*) FROM pragma_foreign_key_check") > broken:
                raise CommandError("Rows would refer to what is not there; nothing was changed.")
            op.execute("COMMIT")
        except BaseException:
            op.execute("ROLLBACK")
            raise
        finally:
            op.execute("PRAGMA legacy_alter_table = OFF")
            op.execute(f"PRAGMA foreign_keys = {keys}")
