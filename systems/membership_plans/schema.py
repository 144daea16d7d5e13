"""The tables, before and after. What the change adds stands last, as ALTER TABLE puts it."""

from __future__ import annotations

import sqlalchemy as sa

from systems.shared import columns as c

OLD_KEY = "membership_plans_tenant_id_branch_id_name_key"
NEW_KEY = "membership_plans_one_active_name"

#: What a plan must be, in words that both engines understand.
CHECKS = {
    "membership_plans_scope_check": (
        "(scope = 'TENANT' AND branch_id IS NULL) OR (scope = 'BRANCH' AND branch_id IS NOT NULL)"
    ),
    "membership_plans_duration_check": (
        "(duration_type = 'DAYS' AND duration_value BETWEEN 1 AND 730)"
        " OR (duration_type = 'MONTHS' AND duration_value BETWEEN 1 AND 24)"
    ),
    "membership_plans_price_check": "price >= 0",
    "membership_plans_currency_check": (
        "length(currency) = 3 AND trim(currency, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') = ''"
    ),
}
SCOPE_KEY = "coalesce(branch_id, 'TENANT')"


def before() -> sa.MetaData:
    """NULL is never equal to NULL: the key does not see the plans of a whole tenant."""
    schema = _tenants()
    _plans(schema, sa.UniqueConstraint("tenant_id", "branch_id", "name", name=OLD_KEY))
    _members(schema)
    return schema


def after() -> sa.MetaData:
    """One active plan per name, whatever its case, in a tenant or in a branch."""
    schema = _tenants()
    key = sa.Column("scope_key", sa.Text, c.Generated(SCOPE_KEY), nullable=False)
    plans = _plans(schema, key, *_checks())
    active = sa.text("status = 'ACTIVE'")
    sa.Index(
        NEW_KEY,
        plans.c.tenant_id,
        plans.c.scope,
        plans.c.scope_key,
        sa.func.lower(plans.c.name),
        unique=True,
        postgresql_where=active,
        sqlite_where=active,
    )
    members = _members(schema)
    sa.Index("ix_members_membership_plan_id", members.c.membership_plan_id)
    return schema


def _checks() -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(text, name=name) for name, text in CHECKS.items()]


def _tenants() -> sa.MetaData:
    schema = c.metadata()
    c.table(
        "tenants", schema, c.text_id(), c.text("name"), c.text("default_currency", default="EUR")
    )
    branches = c.table(
        "branches",
        schema,
        c.text_id(),
        c.refers("tenant_id", "tenants.id"),
        c.text("name"),
        c.yes_no("is_active", default=True),
    )
    sa.Index("ix_branches_tenant_id", branches.c.tenant_id)
    return schema


def _plans(schema: sa.MetaData, *more: sa.schema.SchemaItem) -> sa.Table:
    return c.table(
        "membership_plans",
        schema,
        c.text_id(),
        c.refers("tenant_id", "tenants.id"),
        c.text("scope"),
        c.refers("branch_id", "branches.id", null=True),
        c.text("name"),
        c.text("description", null=True),
        c.text("duration_type"),
        c.integer("duration_value"),
        sa.Column("price", c.Money(10), nullable=False),
        c.text("currency"),
        c.integer("max_freeze_days", null=True),
        c.yes_no("auto_renew", default=False),
        c.text("status", default="ACTIVE"),
        c.integer("sort_order", null=True),
        c.created_at(),
        c.updated_at(),
        *more,
    )


def _members(schema: sa.MetaData) -> sa.Table:
    """The reference to the plan has no index: nobody had to delete a plan that members have."""
    members = c.table(
        "members",
        schema,
        c.text_id(),
        c.refers("tenant_id", "tenants.id"),
        c.refers("branch_id", "branches.id", null=True),
        c.refers("membership_plan_id", "membership_plans.id", null=True),
        c.text("status", default="ACTIVE"),
        c.day("membership_start_date", null=True),
        c.day("membership_end_date", null=True),
        sa.Column("membership_price_at_purchase", c.Money(10)),
    )
    sa.Index("ix_members_tenant_id", members.c.tenant_id)
    return members
