"""The tables, before and after. What the change adds stands last, as ALTER TABLE puts it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from systems.shared import columns as c

DISCIPLINES = ("account", "producer", "po", "uiEng", "beEng")
STATUSES = ("pending", "approved", "declined")
ROLES = ("account", "producer", "po", "ui_eng", "be_eng")  #: as current_state's columns call them

#: Tables that say when a row was last changed.
_TOUCHED = ("users", "sprints", "current_state", "overrides")


def before() -> sa.MetaData:
    """A person once, whatever they do; two states if one is not current; any request twice."""
    schema = c.metadata()
    users = _users(schema, sa.UniqueConstraint("slack_id", name="users_slack_id_key"))
    sa.Index("idx_users_slack_id", users.c.slack_id)
    sprints = _sprints(schema)
    sa.Index("idx_sprints_sprint_index", sprints.c.sprint_index)
    _current_state(schema, sa.UniqueConstraint("is_current", name="unique_current_state"))
    _overrides(schema, approved=[c.yes_no("approved", default=False)], null=True)
    _audit_logs(schema)
    return schema


def after() -> sa.MetaData:
    """A person once per discipline, one state, a request once, one approved one."""
    schema = c.metadata()
    _users(
        schema,
        sa.Column("position", sa.Integer, nullable=False, server_default="0"),
        c.yes_no("active", default=True),
        sa.UniqueConstraint("slack_id", "discipline", name="users_slack_discipline_unique"),
    )
    _sprints(schema)
    _current_state(schema)
    _requests(schema)
    _audit_logs(schema)
    return schema


def required() -> sa.MetaData:
    """What the application needs: the state's key too, which metadata cannot make."""
    schema = after()
    state = schema.tables["current_state"]
    sa.Index("current_state_one_row", sa.text("1"), unique=True, _table=state)
    return schema


def _requests(schema: sa.MetaData) -> None:
    overrides = _overrides(
        schema,
        c.text("status", default="pending"),
        sa.CheckConstraint(f"status IN {STATUSES}", name="overrides_status_check"),
        sa.UniqueConstraint(
            "sprint_index",
            "role",
            "requested_by",
            "replacement_slack_id",
            name="overrides_unique_request",
        ),
    )
    approved = sa.text("status = 'approved'")
    sa.Index(
        "overrides_one_approved",
        overrides.c.sprint_index,
        overrides.c.role,
        unique=True,
        postgresql_where=approved,
        sqlite_where=approved,
    )


def _users(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> sa.Table:
    return c.table(
        "users",
        schema,
        c.serial(),
        c.text("slack_id"),
        c.text("name"),
        c.text("discipline"),
        c.created_at(),
        c.updated_at(),
        *more,
        sa.CheckConstraint(f"discipline IN {DISCIPLINES}", name="users_discipline_check"),
    )


def _sprints(schema: sa.MetaData) -> sa.Table:
    return c.table(
        "sprints",
        schema,
        c.serial(),
        c.text("sprint_name"),
        c.day("start_date"),
        c.day("end_date"),
        c.integer("sprint_index"),
        c.created_at(),
        c.updated_at(),
        sa.UniqueConstraint("sprint_index", name="sprints_sprint_index_key"),
    )


def _current_state(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> sa.Table:
    return c.table(
        "current_state",
        schema,
        c.serial(),
        c.refers("sprint_index", "sprints.sprint_index", null=True),
        *(c.text(f"{role}_slack_id", null=True) for role in ROLES),
        sa.Column("is_current", sa.Boolean, server_default=sa.true()),
        c.updated_at(),
        *more,
    )


def _overrides(
    schema: sa.MetaData,
    *more: sa.schema.SchemaItem,
    approved: Sequence[sa.Column[bool]] = (),
    null: bool = False,
) -> sa.Table:
    overrides = c.table(
        "overrides",
        schema,
        c.serial(),
        c.integer("sprint_index"),
        c.text("role", null=null),
        c.text("original_slack_id", null=True),
        c.text("replacement_slack_id", null=null),
        c.text("replacement_name", null=True),
        c.text("requested_by", null=null),
        c.text("reason", null=True),
        *approved,
        c.text("approved_by", null=True),
        sa.Column("approval_timestamp", c.moment()),
        c.created_at(),
        c.updated_at(),
        *more,
    )
    sa.Index("idx_overrides_sprint_role", overrides.c.sprint_index, overrides.c.role)
    return overrides


def _audit_logs(schema: sa.MetaData) -> sa.Table:
    """What happened to which row: a reference that no foreign key declares."""
    logs = c.table(
        "audit_logs",
        schema,
        c.serial(),
        c.text("table_name"),
        c.integer("record_id", null=True),
        c.text("operation"),
        sa.Column("old_values", c.json()),
        sa.Column("new_values", c.json()),
        c.text("changed_by", null=True),
        sa.Column("changed_at", c.moment(), nullable=False, server_default=c.now()),
        c.text("reason", null=True),
    )
    sa.Index("idx_audit_logs_table_record", logs.c.table_name, logs.c.record_id)
    return logs


# -- triggers ------------------------------------------------------------------------------------

_FUNCTION = """
CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$"""

_TRIGGER = """
CREATE TRIGGER {table}_set_updated_at BEFORE UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION set_updated_at()"""

#: A BEFORE trigger cannot change the row in SQLite. The condition leaves alone what says itself
#: when it was changed, the trigger's own UPDATE included.
_SQLITE_TRIGGER = """
CREATE TRIGGER {table}_set_updated_at AFTER UPDATE ON {table}
FOR EACH ROW WHEN NEW.updated_at IS OLD.updated_at
BEGIN
    UPDATE {table} SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;
END"""


#: A key with no columns: every row has the same value in its index.
_ONE_ROW = "CREATE UNIQUE INDEX current_state_one_row ON current_state ({})"


def one_row() -> dict[str, Sequence[str]]:
    """What keeps the state the only one, by dialect; SQLAlchemy knows no index on a constant."""
    return {"postgresql": [_ONE_ROW.format("(true)")], "sqlite": [_ONE_ROW.format("(1)")]}


def triggers() -> dict[str, Sequence[str]]:
    """What keeps `updated_at`, by dialect."""
    return {
        "postgresql": [_FUNCTION, *(_TRIGGER.format(table=t) for t in _TOUCHED)],
        "sqlite": [_SQLITE_TRIGGER.format(table=t) for t in _TOUCHED],
    }
