"""As a user would: a small application written from the documentation, under load and a crash."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import flask
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from onerow import Key, Retry, get_or_create, transactional, upsert
from onerow.testing import postgres
from onerow.write import create_tables
from onerow.write.http.flask import IdempotencyMiddleware, install_problem_handlers
from tests.write.support import sync_url


class Base(DeclarativeBase):
    pass


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    used: Mapped[int] = mapped_column(default=0)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    tag_id: Mapped[int] = mapped_column(sa.ForeignKey("tags.id"))


TAG = Key(Tag, "name")


def application(engine: sa.Engine) -> flask.Flask:
    """Notes with tags; a note is posted once per Idempotency-Key, a tag is counted."""
    sessions = sessionmaker(engine)
    app = flask.Flask("notes")
    install_problem_handlers(app)
    app.wsgi_app = IdempotencyMiddleware(app.wsgi_app, sessions)  # type: ignore[method-assign]

    def add(session: Session, text: str, name: str) -> int:
        get_or_create(session, TAG, {"name": name})
        values = {"name": name, "used": 1}
        tag = upsert(session, TAG, values, update={"used": Tag.used + 1}).row
        note = Note(text=text, tag_id=tag.id)
        session.add(note)
        session.flush()
        return note.id

    @app.post("/notes")
    def post() -> Any:
        body = flask.request.get_json()
        session = flask.request.environ.get("onerow.session")
        if session is not None:
            return {"id": add(session, body["text"], body["tag"])}, 201
        place = transactional(sessions, retry=Retry(attempts=10))(add)
        return {"id": place(body["text"], body["tag"])}, 201

    return app


def test_64_clients_and_a_restart() -> None:
    """64 clients repeat each request until it is answered; the server is killed in between."""
    with postgres() as server:
        engine = sa.create_engine(sync_url(server.url), pool_size=16, max_overflow=0)
        Base.metadata.create_all(engine)
        create_tables(engine)
        app = application(engine)
        statuses: Counter[int] = Counter()
        done: list[int] = []

        def client(n: int) -> None:
            http = app.test_client()
            for i in range(5):
                body = {"text": f"{n}-{i}", "tag": f"t{(n + i) % 7}"}
                for _ in range(200):
                    answer = http.post("/notes", json=body, headers={"Idempotency-Key": f"{n}-{i}"})
                    statuses[answer.status_code] += 1
                    if answer.status_code == 201:
                        done.append(answer.json["id"])
                        break
                    time.sleep(0.05)

        threads = [threading.Thread(target=client, args=(n,)) for n in range(64)]
        for t in threads:
            t.start()
        while len(done) < 60:
            time.sleep(0.005)
        server.kill()
        server.restart()
        for t in threads:
            t.join()
        with engine.connect() as connection:
            notes = connection.execute(sa.select(Note.text, sa.func.count()).group_by(Note.text))
            used = connection.execute(sa.select(sa.func.sum(Tag.used), sa.func.count())).one()
            per_note = dict(notes.all())  # type: ignore[arg-type]
        engine.dispose()
    assert set(statuses) <= {201, 409, 503}
    assert len(done) == 320 == len(set(done)) == len(per_note)
    assert set(per_note.values()) == {1}
    assert tuple(used) == (320, 7)
