"""Whole applications as workers: their requests race as they would in production."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from onerow import Key
from onerow.race import explore, one_row


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "app_accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


ONE_ACCOUNT = one_row(Key(Account, "email"))


def setup(connection: Connection) -> None:
    connection.execute(sa.delete(Account))


@pytest.fixture(params=["pg", "lite"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    Base.metadata.create_all(found)
    return found


def flask_app(engine: Engine) -> Any:
    """Registration as tutorials have it: refuse an address that is there, else add it."""
    from flask import Flask, request

    app = Flask("accounts")
    sessions = sessionmaker(engine)

    @app.post("/accounts")
    def register() -> tuple[dict[str, Any], int]:
        email = request.get_json()["email"]
        with sessions() as session:
            if session.scalar(sa.select(Account).where(Account.email == email)):
                return {"error": "taken"}, 409
            session.add(Account(email=email))
            session.commit()
        return {"email": email}, 201

    return app


def fastapi_app(engine: Engine) -> Any:
    """The same with a session by dependency, in a thread pool."""
    from fastapi import Depends, FastAPI, HTTPException

    app = FastAPI()
    sessions = sessionmaker(engine)

    def session() -> Any:
        with sessions() as opened:
            yield opened

    @app.post("/accounts", status_code=201)
    def register(body: dict[str, str], db: Session = Depends(session)) -> dict[str, str]:
        if db.scalar(sa.select(Account).where(Account.email == body["email"])):
            raise HTTPException(409)
        db.add(Account(email=body["email"]))
        db.commit()
        return body

    return app


def test_flask_application(engine: Engine) -> None:
    """Two requests to one Flask application: the duplicate is found by its test client."""
    app = flask_app(engine)

    def post(_factory: Any) -> None:
        answer = app.test_client().post("/accounts", json={"email": "a"})
        assert answer.status_code in (201, 409)

    result = explore(engine, [post, post], setup=setup, invariant=ONE_ACCOUNT)
    assert result.verdict == "broken"
    assert result.failure is not None
    assert result.failure.anomaly == "duplicate insert"


def test_application_with_its_own_engine(pg: Engine) -> None:
    """An application keeps its engine: it is gated as well, and none of our settings stay in it."""
    Base.metadata.create_all(pg)
    own = sa.create_engine(pg.url)
    app = flask_app(own)

    def post(_factory: Any) -> None:
        assert app.test_client().post("/accounts", json={"email": "a"}).status_code in (201, 409)

    assert explore(pg, [post, post], setup=setup, invariant=ONE_ACCOUNT).verdict == "broken"
    with own.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW deadlock_timeout").scalar() == "1s"
    own.dispose()


def test_fastapi_application(engine: Engine) -> None:
    """Two requests to one FastAPI application, whose handlers run in threads of its own."""
    import httpx

    app = fastapi_app(engine)

    async def request() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return int((await client.post("/accounts", json={"email": "a"})).status_code)

    def post(_factory: Any) -> None:
        assert asyncio.run(request()) in (201, 409)

    result = explore(engine, [post, post], setup=setup, invariant=ONE_ACCOUNT)
    assert result.verdict == "broken", result
    assert result.failure is not None
    assert result.failure.anomaly == "duplicate insert"
