"""What a type checker must refuse: each marked line is an error of its own. Never run."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from onerow import Key, Retry, advance, aio, bulk_upsert, get_or_create, transactional, upsert


def wrong(session: Session, sessions: sessionmaker[Session], key: Key) -> None:
    upsert(session, key, [1])  # WRONG
    upsert(session, key, {}, other_keys="ignore")  # WRONG
    get_or_create(session, key, {}, default={})  # WRONG
    bulk_upsert(session, key, [], duplicates="all")  # WRONG
    advance(session, key, {}, {"n": 4})  # WRONG
    Retry(on=("everything",))  # WRONG
    aio.upsert("session", key, {})  # WRONG

    @transactional(sessions)
    def place(session: Session, a: int) -> str:
        return ""

    place("a")  # WRONG
    place(1) + 1  # WRONG
