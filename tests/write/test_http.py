"""Problem answers and Idempotency-Key, for FastAPI, Flask and Django."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import fastapi
import flask
import httpx
import pytest
import sqlalchemy as sa
from django.db import connection
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session

from onerow import aio
from onerow.write import (
    NotFound,
    OperationReused,
    SpoolFull,
    Stale,
    create_tables,
    transactional,
    upsert,
)
from onerow.write.http import flask as for_flask
from onerow.write.http import starlette as for_starlette
from onerow.write.http.idempotency import Rules
from onerow.write.http.problem import Answers, problem_of, spooled_problem
from tests.write.django_app import django_app, django_asgi_app
from tests.write.support import USER, User, async_engine_of, count, engine_of, sessions

Client = Callable[..., httpx.Response]
KEY = {"Idempotency-Key": "k1"}


def fastapi_app(engine: sa.Engine, answers: Answers | None = None, **rules: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    for_starlette.install_problem_handlers(app, answers)
    app.add_middleware(
        for_starlette.IdempotencyMiddleware,
        sessions=sessions(engine),
        rules=Rules(**rules),
        answers=answers,
    )

    @app.post("/users", status_code=201)
    def create(request: fastapi.Request, body: dict[str, Any]) -> dict[str, Any]:
        session = getattr(request.state, "onerow_session", None)
        return work(engine, session, body)

    return app


def flask_app(engine: sa.Engine, answers: Answers | None = None, **rules: Any) -> flask.Flask:
    app = flask.Flask("test")
    for_flask.install_problem_handlers(app, answers)
    app.wsgi_app = for_flask.IdempotencyMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, sessions(engine), Rules(**rules), answers=answers
    )

    @app.post("/users")
    def create() -> Any:
        session = flask.request.environ.get("onerow.session")
        return work(engine, session, flask.request.get_json()), 201

    return app


def work(engine: sa.Engine, session: Session | None, body: dict[str, Any]) -> dict[str, Any]:
    """What the applications do: insert a user, or fail as asked."""
    if session is None:
        return transactional(sessions(engine))(insert)(body)
    return insert(session, body)


def insert(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    if body.get("raise") == "stale":
        raise Stale(expected={})
    if body.get("raise") == "bug":
        raise ZeroDivisionError
    user = User(tenant_id=body.get("tenant_id", 1), slug=body["slug"], title=body.get("title"))
    session.add(user)
    session.flush()
    return {"id": user.id}


Make = Callable[..., Client]


@pytest.fixture(params=["fastapi", "flask", "django"])
def make(request: pytest.FixtureRequest, engine: sa.Engine) -> Iterator[Make]:
    """Makes a client of one of the applications."""
    create_tables(engine)
    opened: list[Any] = []

    def build(answers: Answers | None = None, **rules: Any) -> Client:
        if request.param != "fastapi":
            app: Any = (
                flask_app(engine, answers, **rules)
                if request.param == "flask"
                else django_app(engine, lambda s, b: work(engine, s, b), answers, **rules)
            )
            transport: Any = httpx.WSGITransport(app=app, raise_app_exceptions=False)
            client = httpx.Client(transport=transport, base_url="http://test")
            opened.append(client)

            def post(json: Any, headers: Any = None) -> httpx.Response:
                return client.post("/users", json=json, headers=headers)

            return post
        asgi = fastapi_app(engine, answers, **rules)

        def send(json: Any, headers: Any = None) -> httpx.Response:
            async def once() -> httpx.Response:
                asgi_transport = httpx.ASGITransport(app=asgi, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=asgi_transport, base_url="http://t") as c:
                    return await c.post("/users", json=json, headers=headers)

            return asyncio.run(once())

        return send

    yield build
    for client in opened:
        client.close()


# -- problems --------------------------------------------------------------------------------------


def test_conflict_is_409(make: Make) -> None:
    """A duplicate is 409 and names the fields, but neither values nor the constraint."""
    post = make()
    assert post({"slug": "secret"}).status_code == 201
    answer = post({"slug": "secret"})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Exists already",
        "status": 409,
        "kind": "unique",
        "fields": ["tenant_id", "slug"],
    }


def test_errors_of_djangos_orm(sqlite_url: str) -> None:
    """A conflict that Django's own ORM wraps is answered like any other."""

    def work(_session: Any, body: dict[str, Any]) -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE one (id integer PRIMARY KEY)")
            cursor.execute("INSERT INTO one VALUES (1)")
            cursor.execute("INSERT INTO one VALUES (1)")
        return {}

    with engine_of(sqlite_url) as engine:
        transport = httpx.WSGITransport(app=django_app(engine, work))
        with httpx.Client(transport=transport, base_url="http://test") as client:
            answer = client.post("/users", json={})
    connection.close()
    assert (answer.status_code, answer.json()["kind"]) == (409, "primary_key")


async def test_django_under_asgi(pg_url: str) -> None:
    """Django's ASGI application is guarded, and run again for what passes, by Starlette's middleware."""
    with engine_of(pg_url) as engine:
        create_tables(engine)
        calls: list[int] = []

        def work(session: Any, body: dict[str, Any]) -> dict[str, Any]:
            calls.append(1)
            done = insert(session, body)
            if len(calls) == 1:
                session.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
            return done

        transport = httpx.ASGITransport(app=django_asgi_app(engine, work))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            first = await client.post("/users", json={"slug": "a"}, headers=KEY)
            again = await client.post("/users", json={"slug": "a"}, headers=KEY)
        assert (first.status_code, again.json(), len(calls)) == (201, first.json(), 2)
        assert count(engine, User) == 1


def test_exposed_and_replaced(make: Make) -> None:
    """An application may show more, and may say it in its own words per constraint."""
    mine = {"status": 400, "title": "Taken", "error": "CONFLICT"}
    post = make(Answers(on={("tenant_id", "slug"): mine}, expose=True))
    post({"slug": "a"})
    answer = post({"slug": "a"})
    found = answer.json()
    assert (answer.status_code, found["title"], found["error"]) == (400, "Taken", "CONFLICT")
    assert found["values"] == {"tenant_id": 1, "slug": "a"}


def test_own_form(make: Make) -> None:
    """The whole body may have the application's own form."""
    form = Answers(
        body=lambda p: {"statusCode": p.status, "message": p.title}, media_type="application/json"
    )
    post = make(form)
    post({"slug": "a"})
    assert post({"slug": "a"}).json() == {"statusCode": 409, "message": "Exists already"}


def test_missing_value_is_400(make: Make) -> None:
    """NOT NULL is the client's mistake."""
    answer = make()({"slug": None})
    assert (answer.status_code, answer.json()["fields"]) == (400, ["slug"])


def test_stale_is_409_or_412(make: Make) -> None:
    """A stale row is 412 when the request had If-Match, else 409."""
    post = make()
    assert post({"raise": "stale"}).status_code == 409
    assert post({"raise": "stale"}, {"If-Match": '"3"'}).status_code == 412


def test_other_errors_pass(make: Make) -> None:
    """What is no database error stays a 500 of the application."""
    assert make()({"raise": "bug"}).status_code == 500


def test_table_of_problems() -> None:
    """Each error has its status, and what passes says when to come back."""
    found = [
        problem_of(e)
        for e in (NotFound(), OperationReused(), SpoolFull(), ConnectionResetError(), KeyError())
    ]
    assert [p and p.status for p in found] == [404, 422, 503, 503, None]
    assert found[3] is not None
    assert found[3].headers == {"Retry-After": "1"}
    assert spooled_problem().status == 202


def test_bad_values_and_privileges(pg_url: str) -> None:
    """Data exceptions are 400 and missing privileges 403."""
    with engine_of(pg_url) as engine, engine.connect() as connection:
        statuses = []
        for statement in (
            "SELECT 'x'::integer",
            "SET ROLE pg_monitor; CREATE TABLE public.nope (a int)",
        ):
            with pytest.raises(sa.exc.DBAPIError) as caught:
                connection.exec_driver_sql(statement)
            connection.rollback()
            problem = problem_of(caught.value)
            statuses.append(problem and problem.status)
    assert statuses == [400, 403]


# -- Idempotency-Key -------------------------------------------------------------------------------


def test_replayed(make: Make, engine: sa.Engine) -> None:
    """The second request with one key gets the first one's answer, and nothing is done twice."""
    post = make()
    first, second = post({"slug": "a"}, KEY), post({"slug": "a"}, KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert count(engine, User) == 1


def test_reused_with_other_payload(make: Make) -> None:
    """One key with another payload is 422."""
    post = make()
    post({"slug": "a"}, KEY)
    assert post({"slug": "b"}, KEY).status_code == 422


def test_callers_do_not_meet(make: Make, engine: sa.Engine) -> None:
    """Two callers may use the same key."""
    post = make()
    for who in ("one", "two"):
        assert post({"slug": who}, {**KEY, "Authorization": who}).status_code == 201
    assert count(engine, User) == 2


def test_required(make: Make) -> None:
    """Where a key is required its lack is 400, and so is a bad one."""
    post = make(required=True)
    assert post({"slug": "a"}).status_code == 400
    assert post({"slug": "a"}, {"Idempotency-Key": "x" * 300}).status_code == 400
    assert make(required=lambda method, path: path == "/other")({"slug": "a"}).status_code == 201


def test_errors_are_not_kept(make: Make, engine: sa.Engine) -> None:
    """A refused request did nothing, so its key may be used again."""
    post = make()
    post({"slug": "a"})
    assert post({"slug": "a"}, KEY).status_code == 409
    with engine.begin() as connection:
        connection.execute(sa.delete(User))
    assert post({"slug": "a"}, KEY).status_code == 201


def test_too_large(make: Make) -> None:
    """A body over the limit is refused, not read into memory for ever."""
    assert make(max_body=10)({"slug": "a" * 100}, KEY).status_code == 413


def test_in_flight(pg_url: str) -> None:
    """While the first request is at work the second is 409 with Retry-After."""
    with engine_of(pg_url, pool_size=4) as engine:
        create_tables(engine)
        app = flask.Flask("slow")
        inside, go = threading.Event(), threading.Event()
        app.wsgi_app = for_flask.IdempotencyMiddleware(  # type: ignore[method-assign]
            app.wsgi_app, sessions(engine)
        )

        @app.post("/slow")
        def slow() -> Any:
            inside.set()
            go.wait(10)
            return {"done": True}

        answers: list[Any] = []

        def call() -> None:
            answers.append(app.test_client().post("/slow", headers=KEY))

        thread = threading.Thread(target=call)
        thread.start()
        inside.wait(10)
        second = app.test_client().post("/slow", headers=KEY)
        other = for_flask.IdempotencyMiddleware(app.wsgi_app.app, sessions(engine))
        app.wsgi_app = other  # type: ignore[method-assign]
        third = app.test_client().post("/slow", headers=KEY)  # as from another process
        go.set()
        thread.join()
    assert [second.status_code, third.status_code] == [409, 409]
    assert second.headers["Retry-After"] == "1"
    assert answers[0].status_code == 200


async def test_async_sessions(db_url: str) -> None:
    """The middleware works with an async_sessionmaker, and many requests of one key are one."""
    with engine_of(db_url) as engine:
        create_tables(engine)
        async_engine = async_engine_of(db_url)
        app = fastapi.FastAPI()
        for_starlette.install_problem_handlers(app)
        app.add_middleware(
            for_starlette.IdempotencyMiddleware, sessions=async_sessionmaker(async_engine)
        )

        @app.post("/hit")
        async def hit(request: fastapi.Request) -> dict[str, int]:
            session = request.state.onerow_session
            values = {"tenant_id": 1, "slug": "a", "hits": 1}
            written = await aio.upsert(session, USER, values, update={"hits": User.hits + 1})
            return {"hits": written.row.hits}

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            posts = (client.post("/hit", headers=KEY) for _ in range(10))
            answers = await asyncio.gather(*posts)
            again = await client.post("/hit", headers=KEY)
        await async_engine.dispose()
        assert {a.status_code for a in answers} <= {200, 409}
        assert again.json() == {"hits": 1}
        assert count(engine, User) == 1


def test_retried_inside(pg_url: str) -> None:
    """A request whose transaction fails for something that passes is run again by the server."""
    with engine_of(pg_url) as engine:
        create_tables(engine)
        app = flask.Flask("flaky")
        for_flask.install_problem_handlers(app)
        app.wsgi_app = for_flask.IdempotencyMiddleware(  # type: ignore[method-assign]
            app.wsgi_app, sessions(engine)
        )
        calls = []

        @app.post("/flaky")
        def flaky() -> Any:
            session = flask.request.environ["onerow.session"]
            calls.append(1)
            upsert(session, USER, {"tenant_id": 1, "slug": "a"})
            if len(calls) == 1:
                session.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
            return {"calls": len(calls)}

        answer = app.test_client().post("/flaky", headers=KEY)
        assert (answer.status_code, answer.json, count(engine, User)) == (200, {"calls": 2}, 1)
