"""One makes what another takes away."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from docs.races.gallery.case import Case, pages, players, teams


def restore_page(session: Session) -> None:
    session.execute(pages.update().values(deleted=False).where(pages.c.slug == "home"))
    session.commit()


def create_page(session: Session) -> None:
    live = sa.select(pages.c.id).where(pages.c.slug == "home", ~pages.c.deleted)
    if session.execute(live).first() is None:
        session.execute(pages.insert().values(slug="home", deleted=False))
    session.commit()


def restore_page_or_leave(session: Session) -> None:
    try:
        restore_page(session)
    except IntegrityError:
        session.rollback()


def create_page_or_leave(session: Session) -> None:
    try:
        create_page(session)
    except IntegrityError:
        session.rollback()


def add_player(session: Session) -> None:
    if session.execute(sa.select(teams.c.id).where(teams.c.id == 1)).first() is not None:
        session.execute(players.insert().values(team_id=1))
    session.commit()


def delete_team(session: Session) -> None:
    if session.execute(sa.select(players.c.id).where(players.c.team_id == 1)).first() is None:
        session.execute(teams.delete().where(teams.c.id == 1))
    session.commit()


def add_player_under_lock(session: Session) -> None:
    team = sa.select(teams.c.id).where(teams.c.id == 1).with_for_update(key_share=True, read=True)
    if session.execute(team).first() is not None:
        session.execute(players.insert().values(team_id=1))
    session.commit()


def delete_team_under_lock(session: Session) -> None:
    session.execute(sa.select(teams.c.id).where(teams.c.id == 1).with_for_update()).one()
    delete_team(session)


def one_live_page(connection: Connection) -> bool:
    live = sa.select(sa.func.count()).where(~pages.c.deleted)
    return connection.execute(live).scalar_one() == 1


def no_orphan(connection: Connection) -> bool:
    orphans = sa.select(players.c.id).where(players.c.team_id.not_in(sa.select(teams.c.id)))
    return connection.execute(orphans).first() is None


DELETED = {"pages": [{"slug": "home", "deleted": True}]}
TEAM = {"teams": [{"id": 1}], "players": []}

CASES = (
    Case(
        name="Restore against create",
        told="A page is restored while another of its name is made; the key refuses one of them.",
        workers=(restore_page, create_page),
        rows=DELETED,
        holds=one_live_page,
        anomaly="unhandled duplicate key",
        postgresql="raised",
        sqlite="raised",
    ),
    Case(
        name="Restore against create, the violation caught",
        told="Whoever comes second finds a live page, which is what both wanted.",
        workers=(restore_page_or_leave, create_page_or_leave),
        rows=DELETED,
        holds=one_live_page,
        postgresql="holds",
        sqlite="holds",
    ),
    Case(
        name="A child for a parent that goes",
        told="Both look before they write, and the foreign key refuses whoever comes second.",
        workers=(add_player, delete_team),
        rows=TEAM,
        holds=no_orphan,
        anomaly="unhandled foreign key violation",
        postgresql="raised",
        sqlite="broken",
    ),
    Case(
        name="The parent locked by both",
        told="FOR KEY SHARE for the child's writer, FOR UPDATE for the parent's end.",
        workers=(add_player_under_lock, delete_team_under_lock),
        rows=TEAM,
        holds=no_orphan,
        postgresql="holds",
        sqlite="broken",
    ),
)
