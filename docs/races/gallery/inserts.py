"""Look, and insert if there is none."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from docs.races.gallery.case import (
    Case,
    at,
    count,
    members,
    plans,
    retried,
    scoped,
    slots,
    teams,
    users,
)


def insert_or_nothing(session: Session, table: sa.Table) -> sa.Executable:
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return kind.insert(table).on_conflict_do_nothing()


def look_then_insert(session: Session) -> None:
    if session.execute(sa.select(users.c.id).where(users.c.email == "a")).first() is None:
        session.execute(users.insert().values(email="a"))
    session.commit()


def look_then_insert_keyed(session: Session) -> None:
    if session.execute(sa.select(members.c.id).where(members.c.email == "a")).first() is None:
        session.execute(members.insert().values(email="a"))
    session.commit()


def insert_and_catch(session: Session) -> None:
    try:
        look_then_insert_keyed(session)
    except IntegrityError:
        session.rollback()


def insert_on_conflict(session: Session) -> None:
    session.execute(insert_or_nothing(session, members).values(email="a"))
    session.commit()


def insert_under_advisory_lock(session: Session) -> None:
    session.execute(sa.select(sa.func.pg_advisory_xact_lock(7)))
    look_then_insert(session)


def insert_under_parent_lock(session: Session) -> None:
    session.execute(sa.select(teams.c.id).where(teams.c.id == 1).with_for_update()).one()
    look_then_insert(session)


def insert_and_take_id(session: Session) -> None:
    new = insert_or_nothing(session, members).values(email="a").returning(members.c.id)
    session.execute(new).scalar_one()
    session.commit()


def insert_and_look_again(session: Session) -> None:
    new = insert_or_nothing(session, members).values(email="a").returning(members.c.id)
    if session.execute(new).first() is None:
        session.execute(sa.select(members.c.id).where(members.c.email == "a")).one()
    session.commit()


def member_by_email(session: Session) -> None:
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = kind.insert(members).values(email="a", phone="1")
    session.execute(new.on_conflict_do_update(index_elements=["email"], set_={"phone": "1"}))
    session.commit()


def member_by_phone(session: Session) -> None:
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    new = kind.insert(members).values(email="b", phone="1")
    session.execute(new.on_conflict_do_update(index_elements=["email"], set_={"phone": "1"}))
    session.commit()


def member_by_any_key(session: Session) -> None:
    session.execute(insert_or_nothing(session, members).values(email="b", phone="1"))
    session.commit()


def plan_without_branch(session: Session) -> None:
    session.execute(insert_or_nothing(session, plans).values(branch=None, name="gold"))
    session.commit()


def scoped_plan(session: Session) -> None:
    session.execute(insert_or_nothing(session, scoped).values(branch=None, name="gold"))
    session.commit()


def merge_member(session: Session) -> None:
    session.execute(
        sa.text(
            "MERGE INTO members m USING (SELECT 'a' AS email) s ON m.email = s.email "
            "WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (email) VALUES (s.email)"
        )
    )
    session.commit()


def take_place(session: Session) -> None:
    session.execute(slots.insert().values(place=1))
    session.commit()


def take_place_and_catch(session: Session) -> None:
    try:
        take_place(session)
    except IntegrityError:
        session.rollback()


def one_user(connection: Connection) -> bool:
    return count(connection, users) == 1


def one_member(connection: Connection) -> bool:
    return count(connection, members) == 1


def one_plan(connection: Connection) -> bool:
    return count(connection, plans) == 1


def one_scoped_plan(connection: Connection) -> bool:
    return count(connection, scoped) == 1


def one_slot(connection: Connection) -> bool:
    return count(connection, slots) == 1


CASES = (
    Case(
        name="Look, then insert",
        told="Both look, neither sees a row, both insert.",
        workers=(look_then_insert, look_then_insert),
        rows={"users": []},
        holds=one_user,
        anomaly="duplicate insert",
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="Look, then insert, with a unique key",
        told="The key keeps the row single; the second writer gets an error that nobody expects.",
        workers=(look_then_insert_keyed, look_then_insert_keyed),
        rows={"members": []},
        holds=one_member,
        anomaly="unhandled duplicate key",
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="The violation caught",
        told="The key, and a writer that takes its violation for what it is: the row is there.",
        workers=(insert_and_catch, insert_and_catch),
        rows={"members": []},
        holds=one_member,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="ON CONFLICT DO NOTHING",
        told="One statement, and the key decides.",
        workers=(insert_on_conflict, insert_on_conflict),
        rows={"members": []},
        holds=one_member,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="An advisory lock around look and insert",
        told="All writers agree on a lock. One that forgets it breaks it again.",
        workers=(insert_under_advisory_lock, insert_under_advisory_lock),
        rows={"users": []},
        holds=one_user,
        postgresql="holds",
    ),
    Case(
        name="The parent's row as the lock",
        told="Those who write children of a team lock the team first.",
        workers=(insert_under_parent_lock, insert_under_parent_lock),
        rows={"users": [], "teams": [{"id": 1}]},
        holds=one_user,
        postgresql="holds",
        sqlite="broken",
    ),
    Case(
        name="SERIALIZABLE, and the transaction again",
        told="The server notices that both looked at what the other wrote, and ends one of them.",
        workers=(retried(at("SERIALIZABLE", look_then_insert)),) * 2,
        rows={"users": []},
        holds=one_user,
        postgresql="holds",
    ),
    Case(
        name="DO NOTHING returns no row",
        told="The loser's INSERT … RETURNING comes back empty, and the code counts on a row.",
        workers=(insert_and_take_id, insert_and_take_id),
        rows={"members": []},
        holds=one_member,
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="Look again after DO NOTHING",
        told="In a new statement, which sees what the winner has committed.",
        workers=(insert_and_look_again, insert_and_look_again),
        rows={"members": []},
        holds=one_member,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="Two unique keys, one named",
        told="ON CONFLICT (email) says nothing about the phone number.",
        workers=(member_by_email, member_by_phone),
        rows={"members": []},
        anomaly="unhandled duplicate key",
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="Two unique keys, none named",
        told="ON CONFLICT without a target minds every key.",
        workers=(insert_on_conflict, member_by_any_key, member_by_any_key),
        rows={"members": []},
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="NULL in the key",
        told="NULLs are distinct: the key does not hold for rows without a branch.",
        workers=(plan_without_branch, plan_without_branch),
        rows={"plans": []},
        holds=one_plan,
        postgresql="broken",
        sqlite="broken",
    ),
    Case(
        name="NULL made a value of the key",
        told="A unique index on coalesce(branch, '') holds for them, too.",
        workers=(scoped_plan, scoped_plan),
        rows={"scoped_plans": []},
        holds=one_scoped_plan,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="MERGE",
        told="MERGE looks and inserts like anybody else: it is no upsert.",
        workers=(merge_member, merge_member),
        rows={"members": []},
        holds=one_member,
        anomaly="unhandled duplicate key",
        since=15,
        postgresql="raised",
    ),
    Case(
        name="A deferred key",
        told="It is checked at COMMIT, so that is where the error comes from.",
        workers=(take_place, take_place),
        rows={"slots": []},
        holds=one_slot,
        anomaly="unhandled duplicate key",
        postgresql="raised",
    ),
    Case(
        name="A deferred key, its violation caught around COMMIT",
        told="The handler must have the COMMIT inside.",
        workers=(take_place_and_catch, take_place_and_catch),
        rows={"slots": []},
        holds=one_slot,
        postgresql="holds",
    ),
)
